//! A few hundred seeds with every test run; `make simulate` plays as many as there is time for.

use audit_log_simulation::play;

#[test]
fn nothing_is_lost_misplaced_or_told_wrong_in_any_of_these_seeds() {
    for seed in 0..300 {
        let verdict = play(seed, false).unwrap();
        assert_eq!(verdict.violation, None, "make simulate SEED={seed} shows how it came to this");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| play(seed, true).unwrap());
        assert!(first.trace.len() > 20);
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}
