//! `make bench-verifier`: the verifier's time and peak memory on a year of hourly windows, beside `sha256sum` twice.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is no part of the program, and stops where something can't be measured"
)]

#[path = "../tests/folder/mod.rs"]
mod folder;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::folder::{Folder, Signer, TENANT, WindowPlan};

const WINDOWS_OF_A_MONTH: usize = 730;
const WINDOWS_OF_A_YEAR: usize = 8_760;
/// So that a year has one gigabyte.
const EVENTS_PER_WINDOW: usize = 358;
const REPEATS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verifier, scratch] = &arguments[..] else { panic!("usage: bench <the verifier> <folder for data>") };
    fs::create_dir_all(scratch).unwrap();
    let scratch = tempfile::Builder::new().prefix("verifier-").tempdir_in(scratch).unwrap();
    let signer = [Signer::new("111122223333.eu-west-1.audit-log-export")];
    let key = scratch.path().join("key.pem");
    fs::write(&key, signer[0].pem()).unwrap();
    println!("{:<30} {:>9} {:>10} {:>10} {:>15} {:>9}", "", "MB", "windows", "verifier", "sha256sum x 2", "peak MiB");
    for (title, windows, extension) in [
        ("a month, json", WINDOWS_OF_A_MONTH, "json"),
        ("a year, json", WINDOWS_OF_A_YEAR, "json"),
        ("a year, json.gz", WINDOWS_OF_A_YEAR, "json.gz"),
    ] {
        let tenant = scratch.path().join(format!("{windows} {extension}/tenant={TENANT}"));
        let bytes = generate(&tenant, windows, extension, &signer);
        let (mut verified, mut summed, mut peak) = (Vec::new(), Vec::new(), 0);
        // The first run fills the disk's cache.
        for repeat in 0..=REPEATS {
            let (time, memory) = verify(Path::new(verifier), &key, &tenant, windows);
            let sums = sum(&tenant) + sum(&tenant);
            if repeat > 0 {
                verified.push(time);
                summed.push(sums);
                peak = peak.max(memory);
            }
        }
        let (verified, summed) = (median(verified), median(summed));
        println!(
            "{title:<30} {:>9} {windows:>10} {:>8.2} s {:>13.2} s {:>9.1}",
            bytes / 1_000_000,
            verified.as_secs_f64(),
            summed.as_secs_f64(),
            f64::from(peak) / 1024.0
        );
    }
}

/// Writes window after window, and returns the bytes of all data.
fn generate(tenant: &Path, windows: usize, extension: &'static str, signers: &[Signer]) -> u64 {
    let mut at: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    let plan = WindowPlan { files: vec![EVENTS_PER_WINDOW], extension, ..WindowPlan::default() };
    let (mut folder, mut bytes) = (Folder::empty(), 0);
    for _ in 0..windows {
        folder.deliver(TENANT, &plan, at, at + TimeDelta::hours(1), signers);
        at += TimeDelta::hours(1);
        folder.write(tenant);
        bytes += folder.data().iter().map(|path| folder.files[path].len() as u64).sum::<u64>();
        folder.files.clear();
        // Only the last one is named by the next.
        folder.windows.drain(..folder.windows.len() - 1);
    }
    bytes
}

/// Returns the time and the peak memory in KiB.
fn verify(verifier: &Path, key: &Path, tenant: &Path, windows: usize) -> (Duration, u32) {
    let started = Instant::now();
    let mut child =
        Command::new(verifier).arg("--json").arg("--key").arg(key).arg(tenant).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = started.elapsed();
    let report = child.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["windows"]["valid"], windows, "{report:#}");
    (time, peak)
}

fn sum(tenant: &Path) -> Duration {
    let started = Instant::now();
    let command = "find . -name '*json*' -print0 | xargs -0 sha256sum > /dev/null";
    let status = Command::new("sh").args(["-c", command]).current_dir(tenant).status().unwrap();
    assert!(status.success());
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
