//! Plays many seeds, one seed with its trace, or planted bugs.

#![allow(clippy::print_stdout, reason = "it is a command-line program")]

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use audit_log_simulation::{
    bugs::{Bug, plant},
    play,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match given[..] {
        ["seed", seed] => parse_number(seed).and_then(play_one),
        ["seeds", count] => parse_number(count).and_then(|count| play_many(0, count)),
        ["bugs", count] => parse_number(count).and_then(play_bugs),
        ["seeds", count, "from", first] => parse_number(count).and_then(|count| play_many(parse_number(first)?, count)),
        _ => Err("simulate seeds <count> [from <first>] | seed <seed> | bugs <seeds>".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn parse_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// Prints the first seed that catches each planted bug.
fn play_bugs(seeds: u64) -> Result<(), String> {
    let (next, missed) = (AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let worker = || {
            while let Some(bug) =
                Bug::ALL.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX))
            {
                plant(Some(*bug));
                let result = (0..seeds).find_map(|seed| match play(seed, false) {
                    Ok(verdict) => verdict.violation.map(|violation| format!("seed {seed:<6} {violation}")),
                    Err(error) => Some(error.to_string()),
                });
                missed.fetch_add(u64::from(result.is_none()), Ordering::Relaxed);
                let result: String = result.unwrap_or_else(|| "NOT CAUGHT".to_owned()).chars().take(110).collect();
                println!("{:<30} {result}", format!("{bug:?}"));
            }
        };
        (0..threads).for_each(|_| drop(scope.spawn(worker)));
    });
    let (all, missed) = (Bug::ALL.len() as u64, missed.into_inner());
    println!("{} of {all} bugs are caught within {seeds} seeds each", all - missed);
    if missed * 20 > all { Err("that is less than 95 %".to_owned()) } else { Ok(()) }
}

/// Prints all that happens in a seed.
fn play_one(seed: u64) -> Result<(), String> {
    let verdict = play(seed, true).map_err(|error| error.to_string())?;
    for line in &verdict.trace {
        println!("{line}");
    }
    match verdict.violation {
        None => {
            println!("seed {seed}: no violation in {} runs and {} windows", verdict.runs, verdict.windows);
            Ok(())
        }
        Some(violation) => Err(format!("seed {seed}: {violation}")),
    }
}

/// After this many failed seeds, the rest is not played.
const MAX_FAILED_SEEDS: u64 = 20;

/// Plays seeds on all processors, and names each that fails.
fn play_many(first: u64, count: u64) -> Result<(), String> {
    let (next, runs, windows) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let (failed, began) = (AtomicU64::new(0), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let worker = || -> Result<(), String> {
        while failed.load(Ordering::Relaxed) < MAX_FAILED_SEEDS {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return Ok(());
            }
            let verdict = play(seed, false).map_err(|error| error.to_string())?;
            runs.fetch_add(verdict.runs, Ordering::Relaxed);
            windows.fetch_add(verdict.windows as u64, Ordering::Relaxed);
            if let Some(violation) = verdict.violation {
                failed.fetch_add(1, Ordering::Relaxed);
                println!("seed {seed}: {violation}\n  make simulate SEED={seed} shows how");
            }
            let done = seed - first + 1;
            if done.is_multiple_of(1_000) {
                println!("{done} of {count} seeds, {:.0} a second", done as f64 / began.elapsed().as_secs_f64());
            }
        }
        Ok(())
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|result| result.unwrap_or_else(|_| Err("a worker panicked".to_owned()))).collect()
    });
    results.into_iter().collect::<Result<(), String>>()?;
    let (runs, windows) = (runs.into_inner(), windows.into_inner());
    let seconds = began.elapsed().as_secs_f64();
    match failed.into_inner() {
        0 => {}
        MAX_FAILED_SEEDS => return Err(format!("{MAX_FAILED_SEEDS} seeds failed, and the rest was not played")),
        failed => return Err(format!("{failed} of {count} seeds failed, in {seconds:.0} s")),
    }
    println!(
        "{count} seeds: no violation in {runs} runs and {windows} windows, in {seconds:.0} s ({:.0} seeds a second)",
        count as f64 / seconds
    );
    Ok(())
}
