//! The report: a table, and `report.json` for programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, TableStyle};
use serde_json::{Value, json};

use crate::options::Programs;
use crate::row::{Measure, Row};

/// A heading and a table for each row.
pub(crate) fn lines(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        lines.push(format!("{}: {}", row.name, row.title));
        lines.push(format!("  {}", row.setting));
        if !row.measures.is_empty() {
            lines.extend(table(&row.measures).lines().map(|line| format!("    {}", line.trim_end())));
        }
        lines.extend(row.notes.iter().map(|note| format!("    {note}")));
        lines.push(String::new());
    }
    lines
}

fn table(measures: &[Measure]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Disabled);
    for Measure { what, shown, wanted, met, .. } in measures {
        let met = match met {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "",
        };
        table.add_row([format!("{what:<20}"), format!("{shown:>34}"), format!("{wanted:>11}"), met.to_owned()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// With machine and versions.
pub(crate) fn json(rows: &[Row], programs: &Programs, quick: bool) -> Value {
    json!({
        "measuredAt": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "quick": quick,
        "machine": machine(),
        "versions": versions(programs),
        "rows": rows,
    })
}

/// Machine, versions and time in a line.
pub(crate) fn caption(report: &Value) -> String {
    let text = |pointer: &str| report.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    let commit: String = text("/versions/commit").chars().take(10).collect();
    let changed = if report["versions"]["changed"] == true { ", changed" } else { "" };
    let quick = if report["quick"] == true { ", quick and less exact" } else { "" };
    format!(
        "{} ({} cores); commit {commit}{changed}; {}, boto3 {}; {}{quick}",
        text("/machine/cpu"),
        report["machine"]["cores"],
        text("/versions/python"),
        text("/versions/boto3"),
        text("/measuredAt")
    )
}

pub(crate) fn write(folder: &Path, name: &str, content: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join(name), content)?)
}

fn machine() -> Value {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    json!({ "cpu": model.map(|(_, model)| model), "cores": cores, "kernel": kernel.trim(), "arch": std::env::consts::ARCH })
}

fn versions(programs: &Programs) -> Value {
    let output_of = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(audit_log_tests::project::repository());
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let python = programs.baseline.path.display().to_string();
    json!({
        "commit": output_of("git", &["rev-parse", "HEAD"]),
        "changed": output_of("git", &["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty()),
        "rustc": output_of("rustc", &["--version"]),
        "python": output_of(&python, &["--version"]),
        "boto3": output_of(&python, &["-c", "import boto3; print(boto3.__version__)"]),
    })
}
