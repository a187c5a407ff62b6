//! Plays a few hundred seeds, and compares the README with the code. `make simulate` plays more seeds.

use audit_log_core::notification::SOURCE;
use audit_log_simulation::{bugs::Bug, play};
use serde_json::json;

#[test]
fn no_seed_has_a_violation_or_a_notification_that_its_published_schema_refuses() {
    let schema = serde_json::from_str(include_str!("../../functions/schema/notifications.json")).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    for seed in 0..300 {
        let verdict = play(seed, false).unwrap();
        assert_eq!(verdict.violation, None, "make simulate SEED={seed} shows how");
        for notification in verdict.notifications {
            let (detail_type, detail) = (notification.kind.detail_type(), notification.detail());
            let event = json!({ "source": SOURCE, "detail-type": detail_type, "detail": detail });
            assert!(schema.is_valid(&event), "seed {seed}: {event}");
        }
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
