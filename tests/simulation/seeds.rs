//! Plays a few hundred seeds, and compares the README with the code. `make simulate` plays more seeds.

use audit_log_simulation::{bugs::Bug, play};

#[test]
fn no_seed_has_a_violation() {
    for seed in 0..300 {
        let verdict = play(seed, false).unwrap();
        assert_eq!(verdict.violation, None, "make simulate SEED={seed} shows how");
    }
}

#[test]
fn a_seed_always_has_the_same_trace() {
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| play(seed, true).unwrap());
        assert!(first.trace.len() > 20);
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}

#[test]
fn the_readme_lists_every_planted_bug() {
    let readme = include_str!("README.md");
    let is_seed = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let cells = readme.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | "));
    let listed: Vec<&str> = cells.filter(|(_, seed)| is_seed(seed)).map(|(bug, _)| bug).collect();
    let planted: Vec<String> = Bug::ALL.iter().map(|bug| format!("`{bug:?}` | {}", bug.what())).collect();
    assert_eq!(listed, planted);
}
