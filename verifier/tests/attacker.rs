//! Somebody who can write to the bucket and has no key makes up to three changes. A folder that is still valid holds, in the
//! time that was asked for, what was delivered, or the report names the file that doesn't.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic outside its own function too")]

mod folder;

use std::{collections::BTreeSet, sync::LazyLock};

use audit_log_verify::{
    Request,
    chain::Range,
    check,
    finding::Kind,
    key::Keys,
    names::{DataName, ManifestName},
    progress::Progress,
    report::Report,
    window::Window,
};
use chrono::{DateTime, TimeDelta, Utc};
use folder::{Delivered, Folder, Signer, TENANT, WindowPlan, encode, events, hash, manifest_path, path};
use proptest::{prelude::*, sample::Index};

const START: &str = "2026-11-21T20:00:00Z";
const MANIFESTS: &str = "_audit-log-export/manifests/";

/// The platform's key, and the attacker's.
static SIGNERS: LazyLock<[Signer; 2]> = LazyLock::new(|| [Signer::new("platform"), Signer::new("platform")]);

/// A quarter of an hour, counted from the first window's beginning.
type Quarter = i64;

/// What the attacker does.
#[derive(Debug, Clone)]
enum Change {
    /// Flips a bit.
    Flip(Index, Index),
    Delete(Index),
    Rename(Index, Index),
    CopyOver(Index, Index),
    StripSignature(Index),
    /// Deletes the manifest and the files of a window, or of a final delivery.
    DeleteDelivery(Index),
    /// Deletes all from a window on.
    CutTail(Index),
    AddData {
        from: Quarter,
        quarters: i64,
        class: &'static str,
        day: bool,
    },
    AddManifest {
        from: Quarter,
        quarters: i64,
        class: &'static str,
        place: u8,
        content: Hostile,
    },
}

#[derive(Debug, Clone)]
enum Hostile {
    Garbage,
    /// A text of the attacker's, for this name, that lists a file of its window and one that the attacker added.
    Text(Index),
    /// The text of a delivered manifest: as it is, without signature, or with the attacker's.
    Delivered(Index, u8),
    /// The same of the newest window.
    Newest(u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let index = any::<Index>;
    let spans = (-40..40_i64, 1..14_i64).boxed();
    let classes = prop::sample::select(vec!["0001", "0002", "late_0001", "final_0001", "final_late_0001"]);
    let data = (spans.clone(), classes, prop::bool::weighted(0.9))
        .prop_map(|((from, quarters), class, day)| Change::AddData { from, quarters, class, day })
        .boxed();
    let newest = (0..3_u8).prop_map(Hostile::Newest).boxed();
    let hostile = prop_oneof![
        1 => Just(Hostile::Garbage),
        2 => index().prop_map(Hostile::Text),
        1 => (index(), 0..3_u8).prop_map(|(text, how)| Hostile::Delivered(text, how)),
        1 => newest.clone(),
    ];
    let classes = prop::sample::select(vec!["", ".final", ".amended-1", ".amended-2"]);
    let manifest = |hostile: BoxedStrategy<Hostile>| {
        let parts = (spans.clone(), classes.clone(), 0..6_u8, hostile);
        parts.prop_map(|((from, quarters), class, place, content)| Change::AddManifest {
            from,
            quarters,
            class,
            place,
            content,
        })
    };
    let (copy, manifest) = (manifest(newest), manifest(hostile.boxed()).boxed());
    let change = prop_oneof![
        (index(), index()).prop_map(|(file, at)| Change::Flip(file, at)),
        index().prop_map(Change::Delete),
        (index(), index()).prop_map(|(a, b)| Change::Rename(a, b)),
        (index(), index()).prop_map(|(a, b)| Change::CopyOver(a, b)),
        index().prop_map(Change::StripSignature),
        index().prop_map(Change::DeleteDelivery),
        index().prop_map(Change::CutTail),
        data.clone(),
        manifest.clone(),
    ];
    // Files that help each other are rarely found one by one.
    prop_oneof![
        prop::collection::vec(change, 1..4),
        (data, manifest).prop_map(|(data, manifest)| vec![data, manifest]),
        (index(), copy).prop_map(|(window, copy)| vec![Change::CutTail(window), copy]),
    ]
}

fn instant(quarter: Quarter) -> DateTime<Utc> {
    START.parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(15) * i32::try_from(quarter).unwrap()
}

fn deliveries(folder: &Folder) -> Vec<Delivered> {
    [&folder.windows, &folder.finals, &folder.amended].into_iter().flatten().cloned().collect()
}

fn apply(folder: &mut Folder, delivered: &[Delivered], change: &Change) {
    let paths: Vec<String> = folder.files.keys().cloned().collect();
    if paths.is_empty() {
        return;
    }
    match change {
        Change::Flip(file, at) => {
            let bytes = folder.files.get_mut(file.get(&paths)).unwrap();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 1;
            }
        }
        Change::Delete(file) => drop(folder.files.remove(file.get(&paths))),
        Change::Rename(a, b) => {
            let bytes = folder.files.remove(a.get(&paths)).unwrap();
            folder.files.insert(b.get(&paths).clone(), bytes);
        }
        Change::CopyOver(a, b) => {
            let bytes = folder.files[a.get(&paths)].clone();
            folder.files.insert(b.get(&paths).clone(), bytes);
        }
        Change::StripSignature(which) => {
            let Delivered { manifest, text, .. } = which.get(delivered);
            folder.files.insert(manifest.clone(), text.clone().into_bytes());
        }
        Change::DeleteDelivery(which) => {
            let Delivered { manifest, files, .. } = which.get(delivered);
            files.iter().chain([manifest]).for_each(|path| drop(folder.files.remove(path)));
        }
        Change::CutTail(window) => {
            let from = window.get(&folder.windows).from;
            for Delivered { manifest, files, .. } in delivered.iter().filter(|it| it.from >= from) {
                files.iter().chain([manifest]).for_each(|path| drop(folder.files.remove(path)));
            }
        }
        Change::AddData { from, quarters, class, day } => {
            let (from, to) = (instant(*from), instant(from + quarters));
            let path = path(from, to, class, "json");
            let path = if *day { path } else { path.replacen("dt=", "dt=1", 1) };
            folder.files.entry(path).or_insert_with(|| encode(&events(from, 3, "added"), "json"));
        }
        Change::AddManifest { from, quarters, class, place, content } => {
            let (from, to) = (instant(*from), instant(from + quarters));
            let copy = |it: &Delivered, how| match how {
                0 => SIGNERS[1].sign(&it.text).into_bytes(),
                1 => it.text.clone().into_bytes(),
                _ => folder.files.get(&it.manifest).cloned().unwrap_or_default(),
            };
            let content = match content {
                Hostile::Garbage => b"[\n{}\n]\n".to_vec(),
                Hostile::Text(file) => hostile_text(folder, delivered, (from, to), class, file).into_bytes(),
                Hostile::Delivered(which, how) => copy(which.get(delivered), *how),
                Hostile::Newest(how) => copy(folder.windows.last().unwrap(), *how),
            };
            let own = manifest_path(from, to, class);
            let path = match place {
                0..3 => own,
                3 => own.replacen("manifests/2026", "manifests/2027", 1),
                4 => format!("dt=2026-11-21/{}", own.rsplit('/').next().unwrap()),
                _ => own.rsplit('/').next().unwrap().to_owned(),
            };
            folder.files.insert(path, content);
        }
    }
}

fn hostile_text(
    folder: &Folder,
    delivered: &[Delivered],
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    class: &str,
    file: &Index,
) -> String {
    let is_final = class == ".final";
    let own = path(from, to, if is_final { "final_0001" } else { "0001" }, "json");
    let is_added = |path: &String| !delivered.iter().any(|it| it.files.contains(path));
    let data: Vec<String> = folder.data().into_iter().filter(is_added).collect();
    let mut files = vec![own];
    files.extend((!data.is_empty()).then(|| file.get(&data).clone()));
    let files: Vec<String> = files
        .iter()
        .map(|path| format!("{}  {path}\n", hash(folder.files.get(path).map_or(&b""[..], |bytes| bytes))))
        .collect();
    let written = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let amends = class.starts_with(".amended").then(|| format!("amends {} other-files\n", hash(b"")));
    format!(
        "audit-log-export manifest v1\ntenant {TENANT}\n{} {} {}\nevents 0 late 0 malformed 0 gap no\nprevious none\n{}{}",
        if is_final { "final" } else { "window" },
        written(from),
        written(to),
        amends.unwrap_or_default(),
        files.concat()
    )
}

fn plans() -> impl Strategy<Value = Vec<WindowPlan>> {
    let rarely = || prop::bool::weighted(0.2);
    let window = (rarely(), rarely(), rarely()).prop_map(|(late, is_unsigned, is_amended)| WindowPlan {
        late: if late { 3 } else { 0 },
        signer: if is_unsigned { None } else { Some(0) },
        is_amended,
        ..WindowPlan::default()
    });
    (prop::collection::vec(window, 3..6), any::<bool>()).prop_map(|(mut plans, has_final)| {
        plans[0].late = 0;
        let last = plans.last_mut().unwrap();
        last.signer = Some(0);
        last.has_final = has_final;
        plans
    })
}

/// The options, as numbers of windows.
fn options() -> impl Strategy<Value = (Option<i64>, Option<i64>, Option<Index>, bool)> {
    let rarely = prop::option::weighted::<std::ops::Range<i64>>;
    (rarely(0.5, 0..5), rarely(0.4, 1..6), prop::option::of(any::<Index>()), any::<bool>())
        .prop_filter("the end is after the beginning", |(from, to, _, _)| {
            from.zip(*to).is_none_or(|(from, to)| from < to)
        })
}

fn data_window(path: &str) -> Option<Window> {
    DataName::parse(path).filter(|name| name.path() == path).map(|name| name.window)
}

/// What of the delivery may be gone without an error. `head` is the end of the window whose manifest is the head.
fn may_be_gone(
    it: &Delivered,
    path: &str,
    folder: &Folder,
    report: &Report,
    range: Range,
    head: Option<DateTime<Utc>>,
) -> bool {
    // Nothing names final deliveries and amended manifests.
    if !it.manifest.ends_with("Z.manifest") {
        return true;
    }
    let includes =
        |window: &Window| range.from.is_none_or(|from| from < window.to) && range.to.is_none_or(|to| window.from < to);
    let window = ManifestName::parse(&it.manifest).unwrap().window;
    let is_cut = report.range.is_some_and(|range| window.from >= range.to) && head.is_none_or(|head| window.to > head);
    let is_earlier = report.range.is_some_and(|range| window.to <= range.from)
        && report.findings.iter().any(|finding| finding.kind == Kind::PredecessorAbsent);
    let is_next = !includes(&window) && path.contains("_late_") && !folder.files.contains_key(&it.manifest);
    is_cut || is_earlier || is_next
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_valid_is_what_was_delivered((plans, again, changes, (from, to, head, strict)) in (plans(), prop::option::of(any::<Index>()), changes(), options())) {
        let mut original = Folder::new(TENANT, START, &plans, &SIGNERS[..]);
        if let Some(window) = again {
            original.amend(window.index(plans.len()), &SIGNERS[0]);
        }
        let delivered = deliveries(&original);
        let mut folder = original.clone();
        changes.iter().for_each(|change| apply(&mut folder, &delivered, change));
        let range = Range { from: from.map(|hour| instant(hour * 4)), to: to.map(|hour| instant(hour * 4)) };
        let head = head.map(|head| head.get(&original.windows));
        let root = tempfile::tempdir().unwrap();
        let tenant = root.path().join(format!("tenant={TENANT}"));
        folder.write(&tenant);
        let mut keys = Keys::default();
        keys.add(&SIGNERS[0].pem()).unwrap();
        let given = head.map(|head| hash(head.text.as_bytes()).parse().unwrap());
        let Ok(report) = check(&tenant, &Request { keys, range, head: given, strict }, &Progress::hidden()) else { return Ok(()) };
        if report.status() != 0 {
            return Ok(());
        }
        for finding in report.of_kind(Kind::BeforeChain) {
            prop_assert!(finding.window.unwrap().to <= report.range.unwrap().from, "{report}");
        }
        let named: BTreeSet<&str> = report.findings.iter().filter_map(|finding| finding.path.as_deref()).collect();
        let includes = |window: &Window| range.from.is_none_or(|from| from < window.to) && range.to.is_none_or(|to| window.from < to);
        for (path, bytes) in folder.files.iter().filter(|(path, _)| !path.starts_with(MANIFESTS)) {
            let is_other_time = data_window(path).is_some_and(|window| !includes(&window));
            let is_check = path == "_audit-log-export/connectivity-check";
            let is_delivered = original.files.get(path) == Some(bytes);
            prop_assert!(is_other_time || is_check || is_delivered || named.contains(path.as_str()), "{path}\n{report}");
            prop_assert!(!strict || is_other_time || is_check || is_delivered, "strict: {path}\n{report}");
        }
        // Where an old head stands, what it proves ends there.
        let end = head.map(|head| head.to);
        for it in &delivered {
            for path in it.files.iter().filter(|path| data_window(path).is_some_and(|window| includes(&window))) {
                let is_there = folder.files.contains_key(path);
                prop_assert!(is_there || may_be_gone(it, path, &folder, &report, range, end), "{path} is gone\n{report}");
            }
        }
    }
}
