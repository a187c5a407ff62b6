//! What an attacker writes is refused or has one meaning, and never stops the program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic outside its own function too")]

mod folder;

use std::sync::LazyLock;

use audit_log_verify::{
    key::Keys,
    manifest::Manifest,
    names::{DataName, ManifestName},
    note::{Note, Signature},
    window::instant,
};
use folder::{Folder, Signer, TENANT, WindowPlan};
use proptest::{prelude::*, sample::Index};

static SIGNER: LazyLock<[Signer; 1]> = LazyLock::new(|| [Signer::new("platform")]);

/// Notes and names as the platform writes them.
static FOLDER: LazyLock<Folder> = LazyLock::new(|| {
    let plan = WindowPlan { late: 2, is_amended: true, has_final: true, files: vec![1, 2], ..WindowPlan::default() };
    Folder::new(TENANT, "2026-11-21T10:00:00Z", &[WindowPlan::default(), plan], &SIGNER[..])
});

/// Some changes to a text: pieces of it or of others are put, removed, or repeated somewhere.
fn changed(seeds: Vec<String>) -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "\0",
        "ü",
        "— ",
        "+",
        "/",
        "..",
        "_",
        "0",
        "-1",
        "99999999999999999999",
        "Z",
        "T",
        "none",
        "window",
        "final",
        "previous ",
        "amends ",
        "gap yes",
        "late_",
        "final_",
        ".gz",
        ".json",
        "dt=",
        "9999-12-31T23:59:59Z",
    ]);
    let change = (any::<Index>(), 0..40_usize, prop_oneof![pieces.prop_map(str::to_owned), ".{0,3}"], any::<bool>());
    (prop::sample::select(seeds), prop::collection::vec(change, 0..4)).prop_map(|(seed, changes)| {
        let mut chars: Vec<char> = seed.chars().collect();
        for (at, count, piece, repeats) in changes {
            let at = at.index(chars.len() + 1);
            let end = (at + count).min(chars.len());
            let put: Vec<char> = if repeats {
                chars[at..end].iter().copied().chain(piece.chars()).collect()
            } else {
                piece.chars().collect()
            };
            let end = if repeats { at } else { end };
            chars.splice(at..end, put);
        }
        chars.into_iter().collect()
    })
}

fn texts() -> Vec<String> {
    let folder = &*FOLDER;
    [&folder.windows, &folder.amended, &folder.finals].into_iter().flatten().map(|it| it.text.clone()).collect()
}

fn notes() -> Vec<String> {
    texts().iter().map(|text| SIGNER[0].sign(text)).collect()
}

/// Writes a manifest as the format says.
fn written(it: &Manifest) -> String {
    let Manifest { tenant, window, events, late, malformed, .. } = it;
    let (kind, gap) = (if it.is_final { "final" } else { "window" }, if it.gap { "yes" } else { "no" });
    let previous = it.previous.map_or("none".to_owned(), |previous| previous.to_string());
    let amends = it.amends.as_ref().map(|(hash, cause)| format!("amends {hash} {cause}\n")).unwrap_or_default();
    let files: String = it.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
    format!(
        "audit-log-export manifest v1\ntenant {tenant}\n{kind} {} {}\nevents {events} late {late} malformed {malformed} gap {gap}\n\
         previous {previous}\n{amends}{files}",
        instant(window.from),
        instant(window.to)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_manifest_is_written_one_way_only(text in changed(texts())) {
        if let Ok(manifest) = Manifest::parse(&text) {
            prop_assert_eq!(written(&manifest), text);
        }
    }

    #[test]
    fn only_what_the_platform_signed_is_valid(note in changed(notes())) {
        let mut keys = Keys::default();
        keys.add(&SIGNER[0].verifier_key()).unwrap();
        if let Ok(Note { text, signature: Signature::Valid { .. } }) = Note::open(note.as_bytes(), &keys) {
            prop_assert!(texts().iter().any(|signed| signed == text), "{note}");
        }
    }

    #[test]
    fn bytes_are_no_valid_note(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let is_valid = matches!(Note::open(&bytes, &Keys::default()), Ok(Note { signature: Signature::Valid { .. }, .. }));
        prop_assert!(!is_valid);
    }

    #[test]
    fn a_name_gives_the_path_that_it_was_read_from(path in changed(FOLDER.files.keys().cloned().collect())) {
        let name = path.rsplit('/').next().unwrap();
        if let Some(data) = DataName::parse(&path) {
            prop_assert!(data.path().ends_with(&format!("/{name}")), "{}", data.path());
            prop_assert_eq!(DataName::parse(&data.path()), Some(data));
        }
        if let Some(manifest) = ManifestName::parse(&path) {
            prop_assert!(manifest.path().ends_with(&format!("/{name}")), "{}", manifest.path());
        }
    }

    #[test]
    fn keys_are_read_or_refused(text in changed(vec![SIGNER[0].pem(), SIGNER[0].verifier_key()])) {
        let _ = Keys::default().add(&text);
    }
}
