//! Attacks on manifests, and on the end of the chain.

use audit_log_verify::finding::Kind;

use crate::{
    Case, NONE, at, data,
    folder::{Folder, Signer, TENANT, WindowPlan, hash, manifest_path, path},
    long_ago, text,
};

#[test]
fn the_head_must_be_that_of_a_trusted_manifest_of_the_chain() {
    let mut case = Case::hours(6).head().from("11:00:00");
    (3..6).for_each(|window| case.remove_window(window));
    case.finds([Kind::Cut]);
    let (from, to) = long_ago();
    let last = case.folder.windows[5].text.clone();
    case.add(manifest_path(from, to, ""), Signer::new("platform").sign(&last));
    assert!(case.finds([Kind::Cut]).head.sha256.is_some());
    // A final delivery isn't in the chain.
    let mut case = Case::with_final(3);
    case.head = Some(hash(case.folder.finals[0].text.as_bytes()));
    case.finds([Kind::Cut]);
}

#[test]
fn no_manifest_may_be_missing_between_the_windows_and_the_head() {
    let mut case = Case::hours(6).head().to("12:00:00");
    assert!(case.finds(NONE).to_string().contains("nothing up to 2026-11-21T16:00:00Z was cut off"));
    case.remove_window(3);
    case.finds([Kind::Cut]);
    case.add(case.folder.windows[3].manifest.clone(), "garbage");
    case.finds([Kind::Cut]);
}

#[test]
fn an_old_head_says_nothing_of_what_is_newer() {
    let mut case = Case::hours(6);
    case.head = Some(hash(case.folder.windows[2].text.as_bytes()));
    let report = case.finds(NONE).to_string();
    assert!(report.contains("nothing up to 2026-11-21T13:00:00Z was cut off"), "{report}");
    assert!(report.contains("3 windows are newer than the head that was given"), "{report}");
    let report = case.from("14:00:00").finds(NONE).to_string();
    assert!(report.contains("of an earlier window") && !report.contains("was cut off: the head"), "{report}");
}

#[test]
fn a_final_delivery_continues_a_manifest_of_its_place() {
    let mut case = Case::with_final(5);
    case.finds(NONE);
    (3..5).for_each(|window| case.remove_window(window));
    let report = case.finds([Kind::ManifestMissing]);
    assert!(report.findings[0].detail.contains("2026-11-21T13:00:00Z to 2026-11-21T15:00:00Z"), "{report}");
    (0..3).for_each(|window| case.remove_window(window));
    let report = case.finds([Kind::PredecessorAbsent]);
    assert_eq!(report.status(), 2);
    assert!(report.to_string().starts_with("NO WINDOW COULD BE CHECKED"), "{report}");
    // One of another place.
    let plan = WindowPlan { files: vec![5], has_final: true, ..WindowPlan::default() };
    let mut case = Case::hours(5);
    let other = Folder::new(TENANT, "2026-11-21T11:00:00Z", &[plan], &case.signers);
    case.folder.files.extend(other.files.into_iter().filter(|(path, _)| path.contains("final")));
    case.finds([Kind::ChainBroken]);
}

#[test]
fn an_untrusted_manifest_says_nothing_on_behalf_of_the_platform() {
    // Before the first window: that one doesn't begin anew.
    let (from, to) = (at("09:00:00"), at("10:00:00"));
    let mut case = Case::hours(3);
    case.add(manifest_path(from, to, ""), text("window", from, to, "", &[&path(from, to, "0001", "json")]));
    case.finds([Kind::ManifestUnsigned]);
    let (from, to) = long_ago();
    let mut case = Case::hours(3);
    case.add(manifest_path(from, to, ""), "garbage");
    case.finds([Kind::ManifestChanged]);
    // Amended: no word of a gap, of a cause, and of files.
    let (from, to) = (at("10:00:00"), at("11:00:00"));
    let amends = format!("amends {} other-files\n", hash(b""));
    let mut case = Case::hours(3);
    case.add(
        manifest_path(from, to, ".amended-1"),
        text("window", from, to, &amends, &[&path(from, to, "0001", "json")]),
    );
    case.finds([Kind::ManifestUnsigned]);
    // Final: nothing will ever confirm it.
    let (from, to) = (at("13:00:00"), at("13:20:00"));
    let mut case = Case::hours(3);
    case.add(manifest_path(from, to, ".final"), text("final", from, to, "", &[&path(from, to, "final_0001", "json")]));
    let report = case.finds([Kind::ManifestUnsigned]);
    assert!(report.findings[0].detail.contains("--to 2026-11-21T13:00:00Z"), "{report}");
    case.to("13:00:00").finds(NONE);
}

#[test]
fn an_untrusted_manifest_from_before_the_range_is_no_predecessor() {
    let (from, to) = (at("10:00:00"), at("11:00:00"));
    let mut case = Case::hours(4).from("11:00:00");
    case.finds(NONE);
    case.remove_window(0);
    case.finds([Kind::PredecessorAbsent]);
    case.add(manifest_path(from, to, ""), text("window", from, to, "", &[&path(from, to, "0001", "json")]));
    case.finds([Kind::PredecessorAbsent]);
}

#[test]
fn only_the_files_of_the_last_version_are_of_this_place() {
    let mut plans = vec![WindowPlan::default(); 4];
    plans[1].late = 2;
    let mut case = Case::new(&plans);
    case.folder.amend_elsewhere(1, &case.signers[0]);
    let report = case.finds([Kind::Amended]);
    assert_eq!((report.windows.valid, report.windows.files, report.windows.late), (4, 4, 0));
    // Without it, the first manifest stands, whose files are elsewhere.
    let amended = case.folder.amended[0].manifest.clone();
    case.folder.files.remove(&amended);
    case.finds([Kind::FileMissing, Kind::FileChanged]);
}

#[test]
fn amended_manifests_are_ordered_by_what_they_amend() {
    let mut plans = vec![WindowPlan::default(); 4];
    plans[1].late = 2;
    let amended = || {
        let mut case = Case::new(&plans);
        (0..2).for_each(|_| case.folder.amend(1, &case.signers[0]));
        case
    };
    let case = amended();
    let report = case.finds([Kind::Amended]);
    assert_eq!((report.windows.valid, report.windows.files), (4, 5), "the late file is still listed");
    assert!(report.not_proved().iter().any(|line| line.contains("nothing names a later one")), "{report}");
    let [one, two] = [0, 1].map(|at| case.folder.amended[at].manifest.clone());
    let late = case.folder.windows[1].files[0].clone();

    let mut swapped = amended();
    let (a, b) = (swapped.folder.files[&one].clone(), swapped.folder.files[&two].clone());
    swapped.add(&one, b);
    swapped.add(&two, a);
    swapped.finds([Kind::ManifestMoved, Kind::ManifestMoved, Kind::Amended]);
    let mut renumbered = amended();
    renumbered.folder.rename(&two, &two.replacen("-2", "-7", 1));
    renumbered.finds([Kind::ManifestMoved, Kind::Amended]);
    let mut deleted = amended();
    deleted.folder.rename(&two, &one);
    deleted.finds([Kind::ManifestMissing, Kind::Amended]);
    let mut deleted = amended();
    deleted.folder.files.remove(&one);
    deleted.finds([Kind::ManifestMissing, Kind::Amended]);
    let mut changed = amended();
    changed.folder.files.remove(&late);
    changed.finds([Kind::FileMissing, Kind::Amended]);
    let mut unlisted = amended();
    unlisted.folder.amend_elsewhere(1, &unlisted.signers[0]);
    unlisted.add(&late, data());
    unlisted.finds([Kind::FileUnlisted, Kind::Amended]);
    let mut broken = amended();
    broken.add(&one, "garbage");
    broken.finds([Kind::ManifestChanged, Kind::Amended]);
    let mut broken = amended();
    broken.add(&two, "garbage");
    broken.finds([Kind::ManifestChanged]);
}
