//! Whole folders: which tenant, how many files, and what the report counts.

use audit_log_verify::finding::Kind;

use crate::{
    Case,
    folder::{Folder, TENANT, WindowPlan},
};

#[test]
fn any_number_of_files_has_a_report_of_a_bounded_length() {
    let mut case = Case::hours(1);
    (0..10_050).for_each(|at| case.add(format!("dt=2026-11-21/{at}"), ""));
    let report = case.check();
    assert_eq!((report.of_kind(Kind::FileUnlisted).count(), report.omitted[&Kind::FileUnlisted]), (10_000, 50));
    assert!(report.to_string().contains("file_unlisted (10,050)"), "{report}");
}

#[test]
fn a_folder_without_a_name_has_one_tenant() {
    let mut case = Case::hours(2);
    assert_eq!(case.try_check("copy").unwrap().tenant, TENANT);
    let other = Folder::new("globex", "2026-11-22T10:00:00Z", &[WindowPlan::default()], &case.signers);
    case.folder.files.extend(other.files);
    let error = case.try_check("copy").unwrap_err();
    assert!(error.contains("acme, globex"), "{error}");
    assert_eq!(case.check().of_kind(Kind::ManifestMoved).count(), 1);
}

#[test]
fn a_folder_whose_manifests_were_all_deleted_is_invalid_if_something_was_asked_for() {
    let mut case = Case::hours(2);
    case.folder.files.retain(|path, _| path.starts_with("dt="));
    assert!(case.try_check("tenant=acme").unwrap_err().contains("no manifest"));
    let case = case.head();
    assert_eq!(case.check().of_kind(Kind::Cut).count(), 1);
    let case = Case { head: None, ..case }.from("10:00:00");
    let report = case.check();
    assert_eq!((report.of_kind(Kind::NotCovered).count(), report.status()), (1, 1));
}

#[test]
fn the_use_of_keys_and_what_was_read_are_said_of_all_trusted_manifests() {
    let mut case = Case::with_final(3);
    case.folder.amend(1, &case.signers[0]);
    let report = case.finds([Kind::Amended]);
    assert_eq!(report.keys[0].manifests, 5, "three windows, an amended one and a final delivery");
    let is_final = |path: &&String| path.contains("_final_");
    let bytes = |files: Vec<&String>| files.iter().map(|path| case.folder.files[*path].len() as u64).sum::<u64>();
    let data = case.folder.data();
    assert_eq!(report.final_deliveries.bytes, bytes(data.iter().filter(is_final).collect()));
    assert_eq!(report.windows.bytes, bytes(data.iter().filter(|path| !is_final(path)).collect()));
}
