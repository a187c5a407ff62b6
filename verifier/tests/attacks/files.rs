//! Attacks with data files, and with manifests that list them.

use audit_log_verify::finding::Kind;

use crate::{
    Case, NONE, at, data,
    folder::{WindowPlan, manifest_path, path},
    long_ago, text,
};

#[test]
fn only_trusted_manifests_list_files() {
    let (from, to) = long_ago();
    let late = path(at("12:10:00"), at("13:10:00"), "late_0001", "json");
    let mut case = Case::hours(4).from("11:00:00");
    case.add(late.clone(), data());
    case.add(manifest_path(from, to, ""), text("window", from, to, "", &[&path(from, to, "0001", "json"), &late]));
    case.finds([Kind::FileUnlisted]);
    // A text that is well-formed.
    let late = path(at("12:59:00"), at("13:00:00"), "late_0001", "json");
    let mut case = Case::hours(4).to("13:00:00");
    case.add(late.clone(), data());
    let (from, to) = (at("13:00:00"), at("13:30:00"));
    case.add(manifest_path(from, to, ""), text("window", from, to, "", &[&path(from, to, "0001", "json"), &late]));
    case.finds([Kind::FileUnlisted]);
}

#[test]
fn a_file_among_the_data_is_no_manifest_whatever_its_name_says() {
    let (from, to) = long_ago();
    let own = manifest_path(from, to, "");
    let name = own.rsplit('/').next().unwrap().to_owned();
    let unsigned = text("window", from, to, "", &[&path(from, to, "0001", "json")]);
    for place in ["dt=2026-11-21/", "dt=2020-01-01/", ""] {
        for bytes in [data(), unsigned.clone()] {
            let mut case = Case::hours(4).from("11:00:00");
            case.add(format!("{place}{name}"), bytes);
            case.finds([Kind::FileUnlisted]);
        }
    }
    // In another day's folder, its name says nothing either.
    let mut case = Case::hours(4).from("11:00:00");
    case.add(own.replacen("2020", "2021", 1), data());
    case.finds([Kind::ManifestChanged]);
    // A manifest of the platform is known by its signature.
    let mut case = Case::hours(4).from("11:00:00");
    let genuine = case.folder.files[&case.folder.windows[0].manifest].clone();
    case.add(format!("dt=2026-11-21/{name}"), genuine);
    case.finds([Kind::ManifestMoved]);
}

#[test]
fn a_manifest_outside_the_range_hides_no_file_in_it() {
    let mut case = Case::hours(4).from("11:00:00");
    case.add(manifest_path(at("10:00:00"), at("10:50:00"), ".final"), "garbage");
    case.add(path(at("10:30:00"), at("13:30:00"), "final_0001", "json"), data());
    case.finds([Kind::FileUnlisted]);
    // In it, it hides only what is its own.
    let mut case = Case::hours(4).from("11:00:00");
    case.add(manifest_path(at("11:00:00"), at("11:50:00"), ".final"), "garbage");
    case.add(path(at("11:00:00"), at("11:50:00"), "final_0001", "json"), data());
    case.finds([Kind::ManifestChanged]);
    case.add(path(at("11:30:00"), at("13:30:00"), "final_0001", "json"), data());
    case.finds([Kind::ManifestChanged, Kind::FileUnlisted]);
}

#[test]
fn late_files_in_the_range_are_checked_although_a_later_manifest_lists_them() {
    let mut plans = vec![WindowPlan::default(); 5];
    plans[2].late = 3;
    let case = || Case::new(&plans).to("12:00:00");
    let late = case().folder.windows[2].files[0].clone();
    case().finds(NONE);
    let mut changed = case();
    changed.add(late.clone(), data());
    changed.finds([Kind::FileChanged]);
    let mut gone = case();
    gone.folder.files.remove(&late);
    gone.finds([Kind::FileMissing]);
    // Without that manifest, they can't be.
    gone.remove_window(2);
    let report = gone.finds(NONE);
    assert!(report.not_proved().iter().any(|line| line.contains("late arrivals of the last 15 minutes")), "{report}");
}

#[test]
fn files_from_before_the_chain_end_before_it() {
    let mut case = Case::hours(4);
    case.add(path(at("09:00:00"), at("10:00:00"), "0001", "json"), data());
    case.finds([Kind::BeforeChain]);
    case.add(path(at("09:30:00"), at("10:30:00"), "0001", "json"), data());
    case.finds([Kind::FileUnlisted, Kind::BeforeChain]);
}

#[test]
fn unproved_files_are_counted_first_and_are_errors_if_asked() {
    let mut case = Case::with_final(3);
    // A window that was being delivered when the place was left, and a later one that wasn't.
    case.add(path(at("13:00:00"), at("14:00:00"), "0001", "json"), data());
    assert!(case.finds([Kind::Leftover]).to_string().starts_with("VALID, with 1 file that is not proved: "));
    case.add(path(at("10:00:00"), at("11:00:00"), "0002", "json"), data());
    assert!(case.finds([Kind::Leftover; 2]).to_string().starts_with("VALID, with 2 files that are not proved: "));
    case.strict = true;
    let report = case.finds([Kind::Leftover; 2]);
    assert_eq!(report.status(), 1);
    assert!(report.to_string().contains("\nWrong\n\n  leftover (2)"), "{report}");
    case.strict = false;
    case.add(path(at("13:30:00"), at("14:00:00"), "0001", "json"), data());
    case.finds([Kind::FileUnlisted, Kind::Leftover, Kind::Leftover]);
    let mut case = Case::hours(3);
    case.add(path(at("13:00:00"), at("14:00:00"), "0001", "json"), data());
    assert!(case.finds([Kind::FileUnlisted]).findings[0].detail.contains("is being delivered"));
}

#[test]
fn files_of_macos_are_no_manifests() {
    let mut case = Case::hours(3);
    let name = case.folder.windows[1].manifest.replacen("/2026112", "/._2026112", 1);
    case.add(name, *b"\0\x05\x16\x07");
    case.finds([Kind::OperatingSystemFile]);
}

#[test]
fn a_file_that_is_too_large_is_not_the_platforms() {
    let mut case = Case::hours(3);
    case.add("_audit-log-export/connectivity-check", vec![b'x'; 1025]);
    case.finds([Kind::FileUnlisted]);
    let mut case = Case::hours(3);
    let (from, to) = long_ago();
    case.add(manifest_path(from, to, ".final"), vec![b'x'; 4 * 1024 * 1024 + 1]);
    assert!(case.finds([Kind::ManifestChanged]).findings[0].detail.contains("too large"));
}
