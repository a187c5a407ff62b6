//! The report: a table, `report.json` with all figures, and `report.svg` with those that have a target.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::Result;
use audit_log_tests::project::repository;
use serde::Serialize;
use serde_json::json;

/// `≥` or `≤`, and the bound.
pub(crate) type Target = Option<(char, f64)>;

#[derive(Default)]
pub(crate) struct Report(Vec<Figure>);

#[derive(Serialize)]
struct Figure {
    what: String,
    unit: &'static str,
    /// One for each repeat, in ascending order.
    values: Vec<f64>,
    median: f64,
    target: Target,
    met: Option<bool>,
}

impl Report {
    /// Prints and stores a figure, and returns its median.
    pub(crate) fn add(&mut self, what: String, unit: &'static str, mut values: Vec<f64>, target: Target) -> f64 {
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
        let met = target.map(|(sign, bound)| if sign == '≥' { median >= bound } else { median <= bound });
        let figure = Figure { what, unit, values, median, target, met };
        let spread = match &figure.values[..] {
            [least, .., most] => format!("({} to {})", figure.show(*least), figure.show(*most)),
            _ => String::new(),
        };
        let (what, shown, wanted) = (&figure.what, figure.show(median), figure.wanted());
        let mark = met.map_or("", |met| if met { "✓" } else { "✗" });
        println!("{}", format!("    {what:<44} {shown:>10} {spread:<24} {wanted:<9} {mark}").trim_end());
        self.0.push(figure);
        median
    }

    pub(crate) fn write(&self, quick: bool) -> Result<()> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or(std::env::consts::ARCH, |(_, model)| model);
        let cores = std::thread::available_parallelism()?;
        let commit = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(repository()).output();
        let commit =
            commit.map_or_else(|_| "unknown".to_owned(), |it| String::from_utf8_lossy(&it.stdout).into_owned());
        let (commit, date) = (commit, chrono::Utc::now().format("%Y-%m-%d"));
        let quick = if quick { ", quick and less exact" } else { "" };
        let machine = format!("{model} ({cores} cores), commit {}, {date}{quick}", commit.trim());
        let folder = repository().join("target/bench");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("report.json"), format!("{:#}\n", json!({ "machine": machine, "figures": self.0 })))?;
        fs::write(folder.join("report.svg"), self.svg(&machine))?;
        println!("\n  {machine}\n  target/bench/report.json has all figures, target/bench/report.svg shows them");
        Ok(())
    }

    /// A bar for each figure with a target, which is the line.
    fn svg(&self, machine: &str) -> String {
        let (mut bars, mut y) = (String::new(), 64);
        for figure in &self.0 {
            let Some((_, bound)) = figure.target else { continue };
            let fill = if figure.met == Some(true) { "#15803d" } else { "#c2410c" };
            let (width, text) = ((figure.median / bound).clamp(0.0, 2.0) * 180.0, y + 14);
            let (what, shown, wanted) = (&figure.what, figure.show(figure.median), figure.wanted());
            // Writing into a text can't fail.
            let _ = writeln!(
                bars,
                r#"<text x="290" y="{text}" text-anchor="end">{what}</text><text x="680" y="{text}">{shown} ({wanted})</text>
<rect x="300" y="{y}" width="{width:.0}" height="18" fill="{fill}"/>"#
            );
            y += 26;
        }
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {}" font-family="system-ui, sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/><text x="20" y="26" font-size="18">What the exporter costs</text>
<text x="20" y="46" font-size="11">{machine}</text>
{bars}<path d="M480 58V{y}" stroke="#6b7280" stroke-dasharray="4 3"/>
</svg>
"##,
            y + 16
        )
    }
}

impl Figure {
    fn wanted(&self) -> String {
        self.target.map_or(String::new(), |(sign, bound)| format!("{sign} {}", self.show(bound)))
    }

    /// With three digits.
    fn show(&self, value: f64) -> String {
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        format!("{value:.digits$} {}", self.unit).trim_end().to_owned()
    }
}
