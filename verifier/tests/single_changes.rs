//! Any valid folder is valid, and each single change to one is reported as what it is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic outside its own function too")]

mod folder;

use std::{collections::BTreeSet, sync::LazyLock};

use audit_log_verify::{
    Request, check,
    finding::{Kind, Severity},
    key::Keys,
    progress::Progress,
    report::Report,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use folder::{Delivered, Folder, Previous, Signer, TENANT, WindowPlan, hash, manifest_path, path};
use proptest::{prelude::*, sample::Index};

const START: &str = "2026-11-21T20:00:00Z";
const NAME: &str = "111122223333.eu-west-1.audit-log-export";

/// An old and a new key of the platform, and one of somebody else by the same name.
static SIGNERS: LazyLock<[Signer; 3]> = LazyLock::new(|| [Signer::new(NAME), Signer::new(NAME), Signer::new(NAME)]);

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.add(&SIGNERS[0].verifier_key()).unwrap();
    keys.add(&SIGNERS[1].verifier_key()).unwrap();
    keys
}

fn build(plans: &[WindowPlan]) -> Folder {
    Folder::new(TENANT, START, plans, &SIGNERS[..])
}

fn verify(folder: &Folder, head: Option<String>) -> Report {
    let root = tempfile::tempdir().unwrap();
    let tenant = root.path().join(format!("tenant={TENANT}"));
    folder.write(&tenant);
    let head = head.map(|head| head.parse().unwrap());
    let request = Request { keys: keys(), head, ..Request::default() };
    check(&tenant, &request, &Progress::hidden()).unwrap()
}

fn errors(report: &Report) -> BTreeSet<Kind> {
    let kinds = report.findings.iter().map(|finding| finding.kind);
    kinds.filter(|kind| kind.severity() != Severity::Notice).collect()
}

fn assert_errors(folder: &Folder, expected: impl IntoIterator<Item = Kind>) -> Report {
    let report = verify(folder, None);
    let expected: BTreeSet<Kind> = expected.into_iter().collect();
    assert_eq!(errors(&report), expected, "{report}");
    assert_eq!(report.status(), u8::from(!expected.is_empty()), "{report}");
    report
}

fn window_plan() -> impl Strategy<Value = WindowPlan> {
    let extension = prop::sample::select(vec!["json", "ndjson", "json.gz", "ndjson.gz"]);
    let files = prop_oneof![Just(vec![0]), prop::collection::vec(1..4_usize, 1..4)];
    let minutes = prop::sample::select(vec![60, 60, 60, 23, 120]);
    let rarely = || prop::bool::weighted(0.2);
    (minutes, files, rarely(), rarely(), extension, any::<bool>(), rarely(), rarely()).prop_map(
        |(minutes, files, late, gap, extension, is_ocsf, is_unsigned, is_amended)| WindowPlan {
            minutes,
            files,
            late: if late { 3 } else { 0 },
            gap,
            extension,
            is_ocsf,
            signer: if is_unsigned { None } else { Some(0) },
            is_amended,
            ..WindowPlan::default()
        },
    )
}

/// Hours to two days, with a change of the key in between and sometimes a final delivery at the end.
fn plans() -> impl Strategy<Value = Vec<WindowPlan>> {
    (prop::collection::vec(window_plan(), 4..16), any::<Index>(), any::<bool>()).prop_map(
        |(mut plans, rotation, has_final)| {
            let rotation = rotation.index(plans.len());
            for plan in &mut plans[rotation..] {
                plan.signer = plan.signer.map(|_| 1);
            }
            plans[0].late = 0;
            // Nothing confirms an unsigned one at the end.
            let last = plans.last_mut().unwrap();
            last.signer = Some(1);
            last.has_final = has_final;
            plans
        },
    )
}

/// What is found if a window's manifest says nothing any more: it alone confirmed an unsigned one right before. Amended ones name
/// what they amend, and its predecessor.
fn unconfirmed(plans: &[WindowPlan], window: usize) -> Vec<Kind> {
    if plans[window].is_amended { vec![] } else { unconfirmed_by_all(plans, window) }
}

/// The same if all manifests of the window are gone.
fn unconfirmed_by_all(plans: &[WindowPlan], window: usize) -> Vec<Kind> {
    let is_unconfirmed = window > 0 && plans[window - 1].signer.is_none() && !plans[window - 1].is_amended;
    is_unconfirmed.then_some(Kind::ManifestUnsigned).into_iter().collect()
}

fn flip(bytes: &mut [u8], at: Index, bit: u8) {
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
}

/// Whether a note's signature is now by another key, by its name or its id.
fn names_another_key(note: &[u8]) -> bool {
    let Ok(note) = std::str::from_utf8(note) else { return false };
    let Some(line) = note.strip_suffix('\n').and_then(|note| note.rsplit_once("\n\n— ")).map(|(_, line)| line) else {
        return false;
    };
    let Some((name, signature)) = line.split_once(' ') else { return false };
    if name.is_empty()
        || name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control())
        || line.contains('\n')
    {
        return false;
    }
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    let ids = [0, 1].map(|signer| SIGNERS[signer].verifier_key().split('+').nth(1).unwrap().to_owned());
    let id: String = signature.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    name != NAME || !ids.contains(&id)
}

/// Whether it is the middle of the chain, so that both neighbors are there.
fn is_within(folder: &Folder, window: usize) -> bool {
    window > 0 && window + 1 < folder.windows.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_folder_is_valid(plans in plans()) {
        let folder = build(&plans);
        let report = verify(&folder, Some(folder.head()));
        prop_assert_eq!(errors(&report), BTreeSet::new(), "{}", report);
        let total = plans.len() as u64;
        prop_assert_eq!((report.windows.total, report.windows.valid), (total, total));
        let amended = plans.iter().filter(|plan| plan.is_amended).count() as u64;
        let events = plans.iter().map(|plan| plan.files.iter().sum::<usize>() as u64).sum::<u64>();
        prop_assert_eq!(report.windows.events, events + amended);
        prop_assert_eq!(report.of_kind(Kind::Incomplete).count(), plans.iter().filter(|plan| plan.gap).count());
        prop_assert_eq!(report.of_kind(Kind::Amended).count() as u64, amended);
        prop_assert_eq!(report.of_kind(Kind::UnsignedInChain).count(), plans.iter().filter(|plan| plan.signer.is_none()).count());
        prop_assert_eq!(report.of_kind(Kind::DatesOutside).count(), 0);
        prop_assert_eq!(report.final_deliveries.valid, u64::from(plans.last().unwrap().has_final));
    }

    #[test]
    fn a_changed_data_file_is_changed(plans in plans(), file in any::<Index>(), how in 0..4, at in any::<Index>(), bit in 0..8_u8) {
        let mut folder = build(&plans);
        let data = folder.data();
        let bytes = folder.files.get_mut(file.get(&data)).unwrap();
        match how {
            0 => flip(bytes, at, bit),
            1 => bytes.truncate(at.index(bytes.len())),
            2 => bytes.push(b'\n'),
            _ => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                let at = at.index(lines.len());
                lines.swap(0, at);
                let reordered = lines.concat();
                prop_assume!(reordered != *bytes);
                *bytes = reordered;
            }
        }
        let report = assert_errors(&folder, [Kind::FileChanged]);
        prop_assert_eq!(report.of_kind(Kind::FileChanged).count(), 1);
    }

    #[test]
    fn a_deleted_data_file_is_missing(plans in plans(), file in any::<Index>()) {
        let mut folder = build(&plans);
        let data = folder.data();
        folder.files.remove(file.get(&data));
        assert_errors(&folder, [Kind::FileMissing]);
    }

    #[test]
    fn a_data_file_elsewhere_is_moved(plans in plans(), file in any::<Index>(), how in 0..4) {
        let mut folder = build(&plans);
        let data = folder.data();
        let path = file.get(&data);
        let (day, name) = path.split_once('/').unwrap();
        let to = match how {
            0 => format!("dt=2026-12-24/{name}"),
            1 => format!("{day}/{name}.bak"),
            2 => name.to_owned(),
            _ => format!("{day}/{}", name.replacen("_00", "_01", 1)),
        };
        folder.rename(path, &to);
        let report = assert_errors(&folder, [Kind::FileMoved]);
        let finding = report.of_kind(Kind::FileMoved).next().unwrap();
        prop_assert_eq!(finding.path.as_deref(), Some(path.as_str()));
        prop_assert!(finding.detail.contains(&to));
    }

    #[test]
    fn two_data_files_that_changed_places_are_moved(plans in plans(), a in any::<Index>(), b in any::<Index>()) {
        let mut folder = build(&plans);
        let data = folder.data();
        let (a, b) = (a.get(&data), b.get(&data));
        prop_assume!(a != b);
        let (one, other) = (folder.files[a].clone(), folder.files[b].clone());
        folder.files.insert(a.clone(), other);
        folder.files.insert(b.clone(), one);
        let report = assert_errors(&folder, [Kind::FileMoved]);
        prop_assert_eq!(report.of_kind(Kind::FileMoved).count(), 2);
    }

    #[test]
    fn a_copy_beside_a_data_file_is_a_leftover(plans in plans(), file in any::<Index>(), extension in any::<bool>()) {
        let mut folder = build(&plans);
        let data = folder.data();
        let path = file.get(&data);
        let copy = if !extension {
            path.replacen("_00", "_01", 1)
        } else if path.ends_with(".gz") {
            path.trim_end_matches(".gz").to_owned()
        } else {
            format!("{path}.gz")
        };
        let bytes = folder.files[path].clone();
        folder.files.insert(copy.clone(), bytes);
        let report = assert_errors(&folder, []);
        prop_assert_eq!(report.of_kind(Kind::Leftover).next().unwrap().path.as_deref(), Some(copy.as_str()));
    }

    #[test]
    fn an_added_file_is_unlisted(plans in plans(), file in any::<Index>(), how in 0..6) {
        let mut folder = build(&plans);
        let data = folder.data();
        let original = file.get(&data);
        let (day, name) = original.split_once('/').unwrap();
        let (first, last) = (&folder.windows[0], &folder.windows[folder.windows.len() - 1]);
        let hour = TimeDelta::hours(1);
        let added = match how {
            0 => format!("dt=2026-12-24/{name}"),
            1 => format!("{day}/{name}.bak"),
            2 => format!("_audit-log-export/{name}"),
            // Not the window's own span.
            3 => path(first.from, first.to - TimeDelta::minutes(1), "0001", "json"),
            4 => path(last.to + hour, last.to + hour * 2, "0001", "json"),
            _ => original.replacen("_000", "_000000", 1),
        };
        let bytes = folder.files[original].clone();
        folder.files.insert(added.clone(), bytes);
        let report = assert_errors(&folder, [Kind::FileUnlisted]);
        prop_assert_eq!(report.of_kind(Kind::FileUnlisted).next().unwrap().path.as_deref(), Some(added.as_str()));
    }

    #[test]
    fn a_changed_manifest_is_changed(plans in plans(), window in any::<Index>(), how in 0..4, at in any::<Index>(), bit in 0..8_u8) {
        let mut folder = build(&plans);
        let window = window.index(plans.len());
        let Delivered { manifest, text, .. } = folder.windows[window].clone();
        let bytes = folder.files.get_mut(&manifest).unwrap();
        let mut expected = vec![Kind::ManifestChanged];
        match how {
            0 => flip(bytes, at, bit),
            1 => {
                let length = at.index(bytes.len());
                bytes.truncate(length);
                // What is left may be a whole text without its signature.
                let is_text = bytes.ends_with(b"\n") && bytes.len() <= text.len() && bytes.windows(7).any(|word| word == b"  dt=20");
                if is_text && bytes.len() == text.len() {
                    expected = vec![];
                } else if is_text && window + 1 == plans.len() {
                    return Ok(());
                }
            }
            2 => bytes.extend_from_slice(b"\n"),
            _ => {
                let text = String::from_utf8(bytes.clone()).unwrap();
                let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
                let at = at.index(lines.len());
                lines.swap(0, at);
                prop_assume!(at != 0);
                *bytes = lines.concat().into_bytes();
            }
        }
        if plans[window].signer.is_some() && how == 0 && names_another_key(bytes) {
            expected = vec![Kind::UnknownKey];
        }
        if expected.is_empty() {
            let is_last = window + 1 == plans.len() && !plans[window].has_final && !plans[window].is_amended;
            expected.extend(is_last.then_some(Kind::ManifestUnsigned));
            // The text is still what it was, so it confirms what was before.
            expected.extend(if is_last { unconfirmed(&plans, window) } else { vec![] });
        } else {
            expected.extend(unconfirmed(&plans, window));
        }
        assert_errors(&folder, expected);
    }

    #[test]
    fn a_deleted_manifest_is_missing(plans in plans(), window in any::<Index>()) {
        let mut folder = build(&plans);
        let window = window.index(plans.len());
        let Delivered { manifest, .. } = folder.windows[window].clone();
        folder.files.remove(&manifest);
        let mut expected = unconfirmed(&plans, window);
        // A final delivery names it as well.
        let is_followed = is_within(&folder, window) || plans[window].has_final;
        if is_followed || plans[window].is_amended {
            expected.push(Kind::ManifestMissing);
        }
        if !is_followed && !plans[window].is_amended {
            expected.push(Kind::FileUnlisted);
        }
        assert_errors(&folder, expected);
    }

    #[test]
    fn a_manifest_elsewhere_is_moved(plans in plans(), window in any::<Index>(), how in 0..4) {
        let mut folder = build(&plans);
        let Delivered { manifest, from, to, .. } = window.get(&folder.windows).clone();
        let hour = TimeDelta::hours(72);
        let to = match how {
            0 => manifest.replacen("manifests/2026-11", "manifests/2026-12", 1),
            1 => manifest_path(from + hour, to + hour, ""),
            2 => format!("{manifest}.txt"),
            _ => format!("dt=2026-11-21/{}", manifest.rsplit('/').next().unwrap()),
        };
        folder.rename(&manifest, &to);
        let report = assert_errors(&folder, [Kind::ManifestMoved]);
        prop_assert_eq!(report.windows.valid, plans.len() as u64);
    }

    #[test]
    fn manifests_that_changed_places_and_copies_are_moved(plans in plans(), a in any::<Index>(), b in any::<Index>(), copy in any::<bool>()) {
        let mut folder = build(&plans);
        let (a, b) = (a.get(&folder.windows).clone(), b.get(&folder.windows).clone());
        prop_assume!(a.manifest != b.manifest);
        let (one, other) = (folder.files[&a.manifest].clone(), folder.files[&b.manifest].clone());
        if copy {
            folder.files.insert(manifest_path(a.from, b.to + TimeDelta::days(9), ""), one);
            let report = assert_errors(&folder, [Kind::ManifestMoved]);
            prop_assert_eq!(report.of_kind(Kind::ManifestMoved).count(), 1);
        } else {
            folder.files.insert(a.manifest, other);
            folder.files.insert(b.manifest, one);
            let report = assert_errors(&folder, [Kind::ManifestMoved]);
            prop_assert_eq!(report.of_kind(Kind::ManifestMoved).count(), 2);
        }
    }

    #[test]
    fn a_manifest_of_another_tenant_is_moved(plans in plans(), window in any::<Index>(), replaces in any::<bool>()) {
        let mut folder = build(&plans);
        let window = window.index(plans.len());
        let other = Folder::new("globex", START, &plans, &SIGNERS[..]);
        let (own, foreign) = (folder.windows[window].manifest.clone(), other.files[&other.windows[window].manifest].clone());
        // An unsigned one says nothing about whose it is.
        prop_assume!(plans[window].signer.is_some());
        if replaces {
            prop_assume!(is_within(&folder, window));
            folder.files.insert(own, foreign);
            let expected = [Kind::ManifestMoved, Kind::ManifestMissing];
            assert_errors(&folder, expected.into_iter().chain(unconfirmed(&plans, window)));
        } else {
            folder.files.insert(format!("{own}.copy.manifest"), foreign);
            assert_errors(&folder, [Kind::ManifestMoved]);
        }
    }

    #[test]
    fn a_manifest_signed_by_another_key_is_unknown(plans in plans(), window in any::<Index>(), changes in any::<bool>()) {
        let mut folder = build(&plans);
        let window = window.index(plans.len());
        let Delivered { manifest, text, .. } = &folder.windows[window];
        let text = if changes { text.replacen(&hash(b"")[..1], "0", 1) } else { text.clone() };
        let note = SIGNERS[2].sign(&text).into_bytes();
        folder.files.insert(manifest.clone(), note);
        assert_errors(&folder, unconfirmed(&plans, window).into_iter().chain([Kind::UnknownKey]));
    }

    #[test]
    fn what_the_platform_signs_wrongly_is_named(mut plans in plans(), window in any::<Index>(), how in 0..6) {
        let window = 2 + window.index(plans.len() - 2);
        // Of an unsigned one, only that it was changed could be said.
        prop_assume!(plans[window - 1].signer.is_some());
        let plan = &mut plans[window];
        plan.is_amended = false;
        let kind = match how {
            0 => {
                plan.previous = Previous::None;
                Kind::ChainRestarted
            }
            1 => {
                plan.previous = Previous::Of(window - 2);
                Kind::ChainForked
            }
            2 => {
                plan.previous = Previous::Absent;
                Kind::ChainBroken
            }
            3 => {
                plan.hole = 30;
                plan.late = 0;
                Kind::WindowGap
            }
            4 => {
                plan.extra_events = 1;
                Kind::EventsDiffer
            }
            _ => {
                plan.is_garbage = true;
                Kind::EventsUnreadable
            }
        };
        assert_errors(&build(&plans), [kind]);
    }

    #[test]
    fn a_tail_that_was_cut_is_seen_with_the_head_alone(plans in plans(), count in any::<Index>()) {
        let mut folder = build(&plans);
        let head = folder.head();
        let left = 1 + count.index(plans.len() - 1);
        let cut = folder.windows[left].from;
        let removed = [&folder.windows, &folder.amended, &folder.finals].into_iter().flatten().filter(|it| it.from >= cut);
        let removed: Vec<String> = removed.flat_map(|it| it.files.iter().chain([&it.manifest])).cloned().collect();
        removed.iter().for_each(|path| drop(folder.files.remove(path)));
        let expected = unconfirmed_by_all(&plans, left);
        let report = assert_errors(&folder, expected.clone());
        prop_assert!(report.not_proved().iter().any(|line| line.contains("--head")));
        let report = verify(&folder, Some(head));
        prop_assert_eq!(errors(&report), expected.into_iter().chain([Kind::Cut]).collect());
    }

    #[test]
    fn what_stands_beside_the_chain_is_checked_too(mut plans in plans(), is_final in any::<bool>(), how in 0..3, at in any::<Index>(), bit in 0..8_u8) {
        let last = plans.last_mut().unwrap();
        last.is_amended = true;
        last.has_final = true;
        let mut folder = build(&plans);
        let side = if is_final { &folder.finals } else { &folder.amended };
        let manifest = side.last().unwrap().manifest.clone();
        match how {
            0 => {
                flip(folder.files.get_mut(&manifest).unwrap(), at, bit);
                let is_unknown = names_another_key(&folder.files[&manifest]);
                assert_errors(&folder, [if is_unknown { Kind::UnknownKey } else { Kind::ManifestChanged }]);
            }
            1 => {
                folder.files.remove(&manifest);
                // Without it, what was delivered again is only not what was delivered first.
                assert_errors(&folder, [if is_final { Kind::FileUnlisted } else { Kind::FileChanged }]);
            }
            _ => {
                folder.rename(&manifest, &manifest.replacen("manifests/2026-11", "manifests/2026-12", 1));
                assert_errors(&folder, [Kind::ManifestMoved]);
            }
        }
    }
}
