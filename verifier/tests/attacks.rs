//! Attacks by somebody who can write to the bucket and has no key, each with what the report must say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic outside its own function too")]

mod folder;

use audit_log_verify::{Request, chain::Range, check, finding::Kind, key::Keys, progress::Progress, report::Report};
use chrono::{DateTime, TimeDelta, Utc};
use folder::{Delivered, Folder, Signer, TENANT, WindowPlan, encode, events, hash, manifest_path, path};

const START: &str = "2026-11-21T10:00:00Z";
const NONE: [Kind; 0] = [];

/// A tenant's folder with the key that signed it.
struct Case {
    folder: Folder,
    signers: [Signer; 1],
    range: Range,
    head: Option<String>,
    strict: bool,
}

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-21T{text}Z").parse().unwrap()
}

/// Long before the folder's first window.
fn long_ago() -> (DateTime<Utc>, DateTime<Utc>) {
    let from = "2020-01-01T00:00:00Z".parse().unwrap();
    (from, from + TimeDelta::hours(1))
}

fn data() -> Vec<u8> {
    encode(&events(at("12:10:00"), 3, "evil"), "json")
}

/// A text that anyone can write.
fn text(kind: &str, from: DateTime<Utc>, to: DateTime<Utc>, amends: &str, files: &[&str]) -> Vec<u8> {
    let written = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let files: String = files.iter().map(|file| format!("{}  {file}\n", hash(&data()))).collect();
    let (from, to) = (written(from), written(to));
    format!(
        "audit-log-export manifest v1\ntenant {TENANT}\n{kind} {from} {to}\nevents 3 late 0 malformed 0 gap yes\n\
         previous none\n{amends}{files}"
    )
    .into_bytes()
}

impl Case {
    fn new(plans: &[WindowPlan]) -> Self {
        let signers = [Signer::new("platform")];
        let folder = Folder::new(TENANT, START, plans, &signers);
        Self { folder, signers, range: Range::default(), head: None, strict: false }
    }

    fn hours(count: usize) -> Self {
        Self::new(&vec![WindowPlan::default(); count])
    }

    fn with_final(count: usize) -> Self {
        let mut plans = vec![WindowPlan::default(); count];
        plans[count - 1].has_final = true;
        Self::new(&plans)
    }

    fn from(mut self, from: &str) -> Self {
        self.range.from = Some(at(from));
        self
    }

    fn to(mut self, to: &str) -> Self {
        self.range.to = Some(at(to));
        self
    }

    fn head(mut self) -> Self {
        self.head = Some(self.folder.head());
        self
    }

    fn add(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.folder.files.insert(path.into(), bytes.into());
    }

    fn remove(&mut self, delivered: &Delivered) {
        delivered.files.iter().chain([&delivered.manifest]).for_each(|path| drop(self.folder.files.remove(path)));
    }

    fn remove_window(&mut self, window: usize) {
        self.remove(&self.folder.windows[window].clone());
    }

    fn try_check(&self, folder: &str) -> Result<Report, String> {
        let root = tempfile::tempdir().unwrap();
        let tenant = root.path().join(folder);
        self.folder.write(&tenant);
        let mut keys = Keys::default();
        keys.add(&self.signers[0].verifier_key()).unwrap();
        let head = self.head.as_ref().map(|head| head.parse().unwrap());
        let request = Request { keys, range: self.range, head, strict: self.strict };
        check(&tenant, &request, &Progress::hidden()).map_err(|error| error.to_string())
    }

    fn check(&self) -> Report {
        self.try_check(&format!("tenant={TENANT}")).unwrap()
    }

    /// Asserts which kinds are found, one for each finding.
    fn finds(&self, kinds: impl IntoIterator<Item = Kind>) -> Report {
        let report = self.check();
        let found: Vec<Kind> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(found, kinds.into_iter().collect::<Vec<_>>(), "{report}");
        report
    }
}

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
    let amends = format!("amends {} replay\n", hash(b""));
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
    let mut broken = amended();
    broken.add(&one, "garbage");
    broken.finds([Kind::ManifestChanged, Kind::Amended]);
    let mut broken = amended();
    broken.add(&two, "garbage");
    broken.finds([Kind::ManifestChanged]);
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
