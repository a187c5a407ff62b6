//! `audit-log-verify`: proves offline that a copy of audit logs is complete and unchanged. See `--help`.
#![forbid(unsafe_code)]

use std::{fs, io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};
use audit_log_verify::{
    Request,
    arguments::{Command, HELP, Options},
    check,
    key::Keys,
    progress::Progress,
};

/// Something kept the check from being made.
const NOT_CHECKED: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::from_arguments(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("audit-log-verify: {error:#}\n\naudit-log-verify --help explains everything.");
            return NOT_CHECKED.into();
        }
    };
    let (text, status) = match &command {
        Command::Help => (HELP.to_owned(), 0),
        Command::Version => (format!("audit-log-verify {}\n", env!("CARGO_PKG_VERSION")), 0),
        Command::Check(options) => match run(options) {
            Ok(checked) => checked,
            Err(error) => {
                eprintln!("audit-log-verify: {error:#}");
                if !options.json {
                    return NOT_CHECKED.into();
                }
                let document = serde_json::json!({"result": "unchecked", "error": format!("{error:#}")});
                (format!("{document:#}\n"), NOT_CHECKED)
            }
        },
    };
    // A report that nobody could read is none.
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => status.into(),
        Err(error) => {
            eprintln!("audit-log-verify: can't write the report: {error}");
            NOT_CHECKED.into()
        }
    }
}

/// Returns the report and the exit status.
fn run(options: &Options) -> Result<(String, u8)> {
    let mut keys = Keys::default();
    for path in &options.keys {
        let text = fs::read_to_string(path).with_context(|| format!("can't read the key {}", path.display()))?;
        keys.add(&text).with_context(|| format!("the key {}", path.display()))?;
    }
    let request = Request { keys, range: options.range, head: options.head, strict: options.strict };
    let progress = Progress::on_terminal();
    let report = check(&options.folder, &request, &progress);
    progress.clear();
    let report = report?;
    let text = if options.json { report.to_json()? + "\n" } else { report.to_string() };
    Ok((text, report.status()))
}
