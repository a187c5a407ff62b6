//! The program itself: folders, keys, ranges, exit status and what it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic outside its own function too")]

mod folder;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use folder::{Folder, Signer, TENANT, WindowPlan, events, path};
use serde_json::Value;
use tempfile::TempDir;

const START: &str = "2026-11-21T10:00:00Z";

/// A folder on disk, as it was copied from a bucket.
struct Copy {
    root: TempDir,
    signer: Signer,
    folder: Folder,
}

impl Copy {
    fn new(plans: &[WindowPlan]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let signers = [Signer::new("platform.example")];
        let folder = Folder::new(TENANT, START, plans, &signers);
        let [signer] = signers;
        fs::write(root.path().join("key.pem"), signer.pem()).unwrap();
        let copy = Self { root, signer, folder };
        copy.folder.write(&copy.tenant());
        copy
    }

    fn hours(count: usize) -> Self {
        Self::new(&vec![WindowPlan::default(); count])
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn tenant(&self) -> PathBuf {
        self.path("bucket/audit-logs/tenant=acme")
    }

    fn verify_at(&self, folder: &Path, arguments: &[&str]) -> (i32, String, String) {
        let program = Command::new(env!("CARGO_BIN_EXE_audit-log-verify"))
            .arg("--key")
            .arg(self.path("key.pem"))
            .args(arguments)
            .arg(folder)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (program.status.code().unwrap(), text(program.stdout), text(program.stderr))
    }

    fn verify(&self, arguments: &[&str]) -> (i32, String) {
        let (status, report, errors) = self.verify_at(&self.tenant(), arguments);
        assert_eq!(errors, "", "nothing is shown where there is no terminal");
        (status, report)
    }

    /// The kinds that JSON lists.
    fn kinds(&self, arguments: &[&str]) -> (i32, Vec<String>) {
        let (status, report) = self.verify(&[arguments, &["--json"]].concat());
        let report: Value = serde_json::from_str(&report).unwrap();
        let kinds =
            report["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap().to_owned());
        (status, kinds.collect())
    }
}

#[test]
fn a_report_says_what_was_proved_and_what_was_not() {
    let mut plans = vec![WindowPlan::default(); 24];
    plans[3].gap = true;
    plans[5].signer = None;
    let copy = Copy::new(&plans);
    let (status, report) = copy.verify(&[]);
    assert_eq!(status, 0, "{report}");
    for part in [
        "VALID: audit logs of the tenant acme in ",
        "24 of 24 windows valid from 2026-11-21T10:00:00Z to 2026-11-22T10:00:00Z; 1 window is marked incomplete; 1 window is \
         proved by a later signature.\n",
        "24 windows: 48 events and 0 late arrivals in 24 files, each byte as signed",
        "no window and no file is missing from 2026-11-21T10:00:00Z to 2026-11-22T10:00:00Z",
        "the chain begins at 2026-11-21T10:00:00Z with the tenant's first manifest",
        "  the key ",
        "the key's SHA-256 is ",
        "Not proved\n  that nothing was cut off at the end: give --head",
        "incomplete (1)",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
    let (status, report) = copy.verify(&["--head", &copy.folder.head()]);
    assert!(
        status == 0 && report.contains("nothing up to 2026-11-22T10:00:00Z was cut off: the head that was given"),
        "{report}"
    );
}

#[test]
fn findings_are_capped_in_words_and_complete_in_json() {
    let copy = Copy::hours(30);
    for path in copy.folder.data().iter().take(15) {
        fs::remove_file(copy.tenant().join(path)).unwrap();
    }
    let (status, report) = copy.verify(&[]);
    assert_eq!(status, 1);
    assert!(report.starts_with("INVALID") && report.contains("15 of 30 windows valid"), "{report}");
    assert!(report.contains("file_missing (15)") && report.contains("… and 5 more"), "{report}");
    assert_eq!(copy.kinds(&[]), (1, vec!["file_missing".to_owned(); 15]));
}

#[test]
fn the_json_document_has_the_summary() {
    let copy = Copy::hours(2);
    let (_, report) = copy.verify(&["--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["result"], "valid");
    assert_eq!(report["tenant"], TENANT);
    assert_eq!(report["range"]["to"], "2026-11-21T12:00:00Z");
    assert_eq!(report["windows"]["valid"], 2);
    assert_eq!(report["begins"], "first_manifest");
    assert_eq!(report["head"]["sha256"], copy.folder.head());
    assert_eq!(report["keys"][0]["manifests"], 2);
    let (id, sha256) = (report["keys"][0]["keyId"].as_str().unwrap(), report["keys"][0]["sha256"].as_str().unwrap());
    assert!(sha256.len() == 64 && sha256.starts_with(id), "{sha256} is not of {id}");
    assert!(report["findings"].as_array().unwrap().is_empty());
    fs::remove_file(copy.tenant().join(&copy.folder.data()[0])).unwrap();
    let (_, found) = copy.verify(&["--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["findings"][0]["severity"], &found["result"]), (&Value::from("error"), &Value::from("invalid")));
    assert_eq!(report["notProved"].as_array().unwrap().len(), 2, "{report:#}");
}

#[test]
fn a_folder_above_is_searched_for_the_only_tenant() {
    let copy = Copy::hours(2);
    // The platform's probe is no tenant.
    let probe = "bucket/audit-logs/tenant=acme_audit-log-export-probe-822b33ad87c148a0a20a5ba7cd5ebcaa";
    fs::create_dir(copy.path(probe)).unwrap();
    assert_eq!(copy.verify_at(&copy.path("bucket"), &[]).0, 0);
    let other = copy.path("bucket/other/tenant=globex");
    fs::create_dir_all(&other).unwrap();
    let (status, _, error) = copy.verify_at(&copy.path("bucket"), &[]);
    assert!(status == 2 && error.contains("tenant=acme") && error.contains("tenant=globex"), "{error}");
    let (status, _, error) = copy.verify_at(&other, &[]);
    assert!(status == 2 && error.contains("no manifest"), "{error}");
    let (status, _, error) = copy.verify_at(&copy.path("bucket/other/tenant=globex/.."), &[]);
    assert!(status == 2 && error.contains("no manifest"), "{error}");
    let (status, _, error) = copy.verify_at(&copy.path("none"), &[]);
    assert!(status == 2 && error.contains("can't open"), "{error}");
}

#[test]
fn a_copy_under_another_name_is_checked_too() {
    let copy = Copy::hours(2);
    let renamed = copy.path("my logs");
    fs::rename(copy.tenant(), &renamed).unwrap();
    assert_eq!(copy.verify_at(&renamed, &[]).0, 0);
    let (status, _, error) = copy.verify_at(&copy.path("bucket"), &[]);
    assert!(status == 2 && error.contains("none below"), "{error}");
}

#[test]
fn manifests_of_another_tenant_prove_nothing() {
    let copy = Copy::hours(2);
    fs::rename(copy.tenant(), copy.path("tenant=globex")).unwrap();
    let (status, report, _) = copy.verify_at(&copy.path("tenant=globex"), &[]);
    assert!(status == 1 && report.contains("manifest_moved (2)"), "{report}");
}

#[test]
fn what_keeps_a_check_from_being_made_is_said_in_json_too() {
    let copy = Copy::hours(1);
    let (status, document, error) = copy.verify_at(&copy.path("none"), &["--json"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert!(status == 2 && document["result"] == "unchecked" && error.contains("can't open"));
    let (status, _, error) = copy.verify_at(&copy.tenant(), &["--key", "/none"]);
    assert!(status == 2 && error.contains("can't read the key"), "{error}");
    fs::write(copy.path("empty"), "").unwrap();
    let (status, _, error) = copy.verify_at(&copy.tenant(), &["--key", copy.path("empty").to_str().unwrap()]);
    assert!(status == 2 && error.contains("no key"), "{error}");
    let program = Command::new(env!("CARGO_BIN_EXE_audit-log-verify")).arg(copy.tenant()).output().unwrap();
    assert_eq!(program.status.code(), Some(2));
    assert!(String::from_utf8(program.stderr).unwrap().contains("GET /v1/manifest-keys"));
}

#[test]
fn a_verifier_key_counts_for_its_own_name_alone() {
    let copy = Copy::hours(2);
    fs::write(copy.path("key.pem"), copy.signer.verifier_key()).unwrap();
    assert_eq!(copy.verify(&[]).0, 0);
    fs::write(copy.path("key.pem"), copy.signer.verifier_key().replacen("platform", "other", 1)).unwrap();
    assert_eq!(copy.kinds(&[]), (1, vec!["unknown_key".to_owned(); 2]));
}

#[test]
fn a_range_must_be_covered() {
    let copy = Copy::hours(5);
    let cases = [
        ("--from=2026-11-21T12:00:00Z", 0, 3),
        ("--to=2026-11-21T12:00:00Z", 0, 2),
        ("--from=2026-11-21T09:00:00Z", 1, 5),
        ("--to=2026-11-21T16:00:00Z", 1, 5),
        ("--from=2026-11-21T12:30:00Z", 0, 3),
        ("--from=2027-01-01", 1, 0),
    ];
    for (argument, status, windows) in cases {
        let (found, report) = copy.verify(&[argument, "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!((found, &report["windows"]["total"]), (status, &Value::from(windows)), "{argument}: {report:#}");
        assert_eq!(report["findings"].as_array().unwrap().iter().any(|it| it["kind"] == "not_covered"), status == 1);
    }
}

#[test]
fn what_is_outside_the_range_does_not_matter() {
    let mut plans = vec![WindowPlan::default(); 6];
    plans[2].late = 2;
    plans[4].previous = folder::Previous::None;
    let copy = Copy::new(&plans);
    fs::remove_file(copy.tenant().join(&copy.folder.windows[0].files[0])).unwrap();
    assert_eq!(copy.kinds(&[]), (1, vec!["chain_restarted".to_owned(), "file_missing".to_owned()]));
    assert_eq!(copy.kinds(&["--from=2026-11-21T11:00:00Z"]).1, ["chain_restarted"]);
    assert_eq!(copy.kinds(&["--from=2026-11-21T11:00:00Z", "--to=2026-11-21T14:00:00Z"]), (0, vec![]));
    // A late file of the window before is listed by the next window's manifest.
    assert_eq!(copy.kinds(&["--from=2026-11-21T11:00:00Z", "--to=2026-11-21T12:00:00Z"]), (0, vec![]));
    assert_eq!(copy.kinds(&["--from=2026-11-21T14:00:00Z"]), (0, vec![]), "it begins with the new chain");
}

#[test]
fn files_from_before_the_first_manifest_are_not_proved() {
    let copy = Copy::hours(2);
    let old = path("2026-11-20T10:00:00Z".parse().unwrap(), "2026-11-20T11:00:00Z".parse().unwrap(), "0001", "json");
    fs::create_dir_all(copy.tenant().join("dt=2026-11-20")).unwrap();
    fs::write(copy.tenant().join(old), "[\n{}\n]\n").unwrap();
    assert_eq!(copy.kinds(&[]), (0, vec!["before_chain".to_owned()]));
}

#[test]
fn a_first_manifest_that_continues_another_is_a_notice() {
    let copy = Copy::hours(3);
    let first = &copy.folder.windows[0];
    fs::remove_file(copy.tenant().join(&first.manifest)).unwrap();
    fs::remove_file(copy.tenant().join(&first.files[0])).unwrap();
    assert_eq!(copy.kinds(&[]), (0, vec!["predecessor_absent".to_owned()]));
    let (_, report) = copy.verify(&[]);
    assert!(report.contains("the chain begins at 2026-11-21T11:00:00Z, but the tenant's did earlier"), "{report}");
}

#[test]
fn an_unsigned_manifest_at_the_end_needs_the_head() {
    let mut plans = vec![WindowPlan::default(); 3];
    plans[1].signer = None;
    plans[2].signer = None;
    let copy = Copy::new(&plans);
    assert_eq!(copy.kinds(&[]), (1, vec!["manifest_unsigned".to_owned(); 2]));
    assert_eq!(copy.kinds(&["--head", &copy.folder.head()]), (0, vec!["unsigned_in_chain".to_owned(); 2]));
}

#[test]
fn who_can_not_sign_can_not_make_it_look_like_the_platforms_fault() {
    let copy = Copy::hours(4);
    let (a, b) = (&copy.folder.windows[1], &copy.folder.windows[2]);
    let (from, to) = (a.from + chrono::TimeDelta::minutes(15), b.from + chrono::TimeDelta::minutes(15));
    let added = copy.tenant().join(folder::manifest_path(from, to, ""));
    fs::write(&added, "garbage").unwrap();
    assert_eq!(copy.kinds(&[]), (1, vec!["manifest_changed".to_owned()]));
    let file = path(from, to, "0001", "json");
    let instants = ["%Y-%m-%dT%H:%M:%SZ"; 2].iter().zip([from, to]).map(|(format, at)| at.format(format).to_string());
    let window = format!("window {}", instants.collect::<Vec<_>>().join(" "));
    let text = a.text.lines().map(|line| match line {
        line if line.starts_with("window ") => window.clone(),
        line if line.contains("  dt=") => format!("{}  {file}", folder::hash(b"[\n{}\n]\n")),
        line => line.to_owned(),
    });
    let text: String = text.map(|line| line + "\n").collect();
    fs::write(&added, text).unwrap();
    fs::write(copy.tenant().join(file), "[\n{}\n]\n").unwrap();
    assert_eq!(copy.kinds(&[]), (1, vec!["manifest_unsigned".to_owned(), "file_unlisted".to_owned()]));
}

#[test]
fn links_are_not_followed_and_files_of_operating_systems_are_ignored() {
    let copy = Copy::hours(3);
    let data = copy.folder.data();
    let (file, outside) = (copy.tenant().join(&data[1]), copy.path("outside.json"));
    fs::rename(&file, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &file).unwrap();
    fs::write(copy.tenant().join(".DS_Store"), "").unwrap();
    std::os::unix::fs::symlink("/", copy.tenant().join("root")).unwrap();
    let kinds = ["file_missing", "file_unlisted", "operating_system_file"].map(str::to_owned);
    assert_eq!(copy.kinds(&[]), (1, kinds.to_vec()));
}

#[test]
fn dates_outside_their_window_are_a_notice() {
    let copy = Copy::hours(2);
    let late = events("2026-11-21T09:59:59.999Z".parse().unwrap(), 2, "late");
    let data = folder::encode(&late, "json");
    let window = &copy.folder.windows[1];
    let text = window.text.replacen(&folder::hash(&copy.folder.files[&window.files[0]]), &folder::hash(&data), 1);
    fs::write(copy.tenant().join(&window.files[0]), data).unwrap();
    fs::write(copy.tenant().join(&window.manifest), copy.signer.sign(&text)).unwrap();
    assert_eq!(copy.kinds(&[]), (0, vec!["dates_outside".to_owned()]));
    assert!(copy.verify(&[]).1.contains("2 events, from 2026-11-21T09:59:59Z to 2026-11-21T10:00:00Z"));
}

#[test]
fn a_further_signature_is_a_notice() {
    let copy = Copy::hours(2);
    let manifest = copy.tenant().join(&copy.folder.windows[0].manifest);
    let note = fs::read_to_string(&manifest).unwrap() + "— witness.example AAAAAAAA\n";
    fs::write(&manifest, note).unwrap();
    assert_eq!(copy.kinds(&[]), (0, vec!["other_signature".to_owned()]));
}

#[test]
fn help_and_version_need_nothing_else() {
    for (argument, begin) in [("--help", "Proves, offline"), ("--version", "audit-log-verify ")] {
        let program = Command::new(env!("CARGO_BIN_EXE_audit-log-verify")).arg(argument).output().unwrap();
        assert!(program.status.success() && String::from_utf8(program.stdout).unwrap().starts_with(begin));
    }
}
