//! Property tests: keys, instants, windows and checkpoints are read back as they were written, and different ones differ.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    checkpoint::{Checkpoint, next_number, spec},
    event::User,
    late_arrivals::TrailingCounts,
    new_event::{Activity, NewEvent, Stamp},
    object::{ManifestClass, ObjectSpec},
    records::StoredObject,
    schedule::Window,
    settings::{
        TenantConfig,
        tests::{draft, platform},
    },
    tenant::{Compression, EventShards, Format, Prefix, TenantId},
    timestamp,
};

/// Instants of four-digit years, often close to each other.
fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    let near = 1_795_255_000_000..1_795_255_010_000_i64;
    let far = -62_135_596_800_000..253_402_300_799_999_i64;
    (prop_oneof![near, far], 0..1_000_000_i64).prop_map(|(millis, nanos)| {
        DateTime::from_timestamp_millis(millis).unwrap_or_default() + TimeDelta::nanoseconds(nanos)
    })
}

fn window() -> impl Strategy<Value = Window> {
    let whole = || instant().prop_map(timestamp::whole_seconds);
    (whole(), whole()).prop_map(|(a, b)| Window { from: a.min(b), to: a.max(b) + TimeDelta::seconds(1) })
}

/// A few equal and many different ones.
fn config() -> impl Strategy<Value = TenantConfig> {
    let tenant = prop_oneof![select(vec!["a", "A", "a-1", "a_0001"]).prop_map(str::to_owned), "[A-Za-z0-9_-]{1,64}"];
    let prefix = prop_oneof![
        select(vec!["", "a", "a/audit-logs", "audit-logs/tenant", "dt/late_0001"]).prop_map(str::to_owned),
        "[A-Za-z0-9!_.'()/-]{0,40}".prop_filter("no dots alone", |text| Prefix::parse(text).is_ok()),
    ];
    let format = select(vec![Format::Json, Format::Ndjson]);
    let compression = select(vec![Compression::None, Compression::Gzip]);
    (tenant, prefix, format, compression).prop_map(|(tenant, prefix, format, compression)| {
        let (tenant, prefix) = (TenantId::parse(&tenant).unwrap(), Prefix::parse(&prefix).unwrap());
        let config = draft().check(&tenant, &platform()).unwrap();
        TenantConfig { prefix, format, compression, ..config }
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KeyParts {
    prefix: String,
    tenant: String,
    window: Window,
    late: bool,
    file: u32,
    format: String,
    gzip: bool,
}

fn parts(config: &TenantConfig, window: Window, late: bool, file: u32) -> KeyParts {
    KeyParts {
        prefix: config.prefix.to_string(),
        tenant: config.tenant.to_string(),
        window,
        late,
        file,
        format: config.format.as_str().to_owned(),
        gzip: config.compression == Compression::Gzip,
    }
}

fn key(config: &TenantConfig, window: Window, late: bool, file: u32) -> String {
    let spec = if late { ObjectSpec::late } else { ObjectSpec::new };
    spec(config, window, file).key
}

/// Parses a key by docs/exported-objects.md, as a customer would.
fn parse_key(key: &str) -> Option<KeyParts> {
    // A prefix has no equals sign, so the first one belongs to the tenant.
    let (folder, rest) = key.split_once("tenant=")?;
    let prefix = folder.strip_suffix("audit-logs/")?;
    let (tenant, rest) = rest.split_once("/dt=")?;
    let (day, name) = rest.split_once('/')?;
    let (name, gzip) = name.strip_suffix(".gz").map_or((name, false), |name| (name, true));
    let (name, format) = name.split_once('.')?;
    let (window, number) = name.split_at_checked(33)?;
    let window = parse_window(window)?;
    let number = number.strip_prefix('_')?;
    let (number, late) = number.strip_prefix("late_").map_or((number, false), |number| (number, true));
    (window.from.format("%Y-%m-%d").to_string() == day && number.len() >= 4).then(|| KeyParts {
        prefix: prefix.strip_suffix('/').unwrap_or(prefix).to_owned(),
        tenant: tenant.to_owned(),
        window,
        late,
        file: number.parse().unwrap(),
        format: format.to_owned(),
        gzip,
    })
}

fn class() -> impl Strategy<Value = ManifestClass> {
    prop_oneof![Just(ManifestClass::Regular), Just(ManifestClass::Final), (1..99_u32).prop_map(ManifestClass::Amended)]
}

/// Parses a manifest's key by docs/proof.md: prefix, tenant, window and class.
fn parse_manifest_key(key: &str) -> Option<(String, String, Window, ManifestClass)> {
    let (folder, rest) = key.split_once("tenant=")?;
    let prefix = folder.strip_suffix("audit-logs/")?;
    let (tenant, rest) = rest.split_once("/_audit-log-export/manifests/")?;
    let (day, name) = rest.split_once('/')?;
    let name = name.strip_suffix(".manifest")?;
    let (name, class) = match name.split_once('.') {
        None => (name, ManifestClass::Regular),
        Some((name, "final")) => (name, ManifestClass::Final),
        Some((name, amended)) => (name, ManifestClass::Amended(amended.strip_prefix("amended-")?.parse().ok()?)),
    };
    let window = parse_window(name).filter(|window| window.from.format("%Y-%m-%d").to_string() == day)?;
    Some((prefix.strip_suffix('/').unwrap_or(prefix).to_owned(), tenant.to_owned(), window, class))
}

/// Parses a window as keys have it.
fn parse_window(text: &str) -> Option<Window> {
    let at = |text| Some(chrono::NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?.and_utc());
    let (from, to) = text.split_once('_')?;
    Some(Window { from: at(from)?, to: at(to)? })
}

fn event(at: DateTime<Utc>, id: &str) -> NewEvent {
    let user = User::system();
    let activity = Activity { log_type: "Scan", action: "Scan Now", user: &user };
    let stamp = Stamp { at, retention: None };
    NewEvent::new(&TenantId::parse("acme").unwrap(), stamp, id.to_owned(), activity, &())
}

/// Counts of some events.
fn trailing_counts(window: Window, seconds: &[i64]) -> TrailingCounts {
    let mut counts = TrailingCounts::new(window);
    for ago in seconds {
        counts.add(&event(window.to - TimeDelta::seconds(*ago), "x").recorded_at_id());
    }
    counts
}

proptest! {
    #[test]
    fn a_key_has_its_tenant_window_and_file(config in config(), window in window(), late: bool, file in 1..=u32::MAX) {
        let key = key(&config, window, late, file);
        prop_assert_eq!(parse_key(&key), Some(parts(&config, window, late, file)), "{}", key);
    }

    #[test]
    fn two_objects_have_one_key_only_if_they_are_the_same(
        configs in [config(), config()], windows in [window(), window()], lates: [bool; 2], files in [1..20_000_u32, 1..20_000],
        equal: [bool; 4],
    ) {
        // Often equal in all but one part, so that each part is seen to matter.
        let other = |index: usize| usize::from(!equal[index]);
        let one = (&configs[0], windows[0], lates[0], files[0]);
        let two = (&configs[other(0)], windows[other(1)], lates[other(2)], files[other(3)]);
        let same = parts(one.0, one.1, one.2, one.3) == parts(two.0, two.1, two.2, two.3);
        prop_assert_eq!(key(one.0, one.1, one.2, one.3) == key(two.0, two.1, two.2, two.3), same);
    }

    #[test]
    fn a_manifests_key_has_its_tenant_and_window_and_is_no_data(
        configs in [config(), config()], windows in [window(), window()], classes in [class(), class()], equal: [bool; 3],
    ) {
        let other = |index: usize| usize::from(!equal[index]);
        let all = [(&configs[0], windows[0], classes[0]), (&configs[other(0)], windows[other(1)], classes[other(2)])];
        let keys = all.map(|(config, window, class)| ObjectSpec::manifest(config, window, class).key);
        // Without format and compression: they don't matter to a manifest.
        let parts = all.map(|(it, window, class)| (it.prefix.to_string(), it.tenant.to_string(), window, class));
        prop_assert_eq!(keys[0] == keys[1], parts[0] == parts[1]);
        for (key, parts) in keys.iter().zip(parts) {
            prop_assert_eq!(parse_manifest_key(key), Some(parts), "{}", key);
            prop_assert_eq!(parse_key(key), None, "{}", key);
        }
    }

    #[test]
    fn range_keys_sort_as_their_instants(a in instant(), b in instant(), ids in ["[!-~]{1,12}", "[!-~]{1,12}"]) {
        let [one, two] = [event(a, &ids[0]).recorded_at_id(), event(b, &ids[1]).recorded_at_id()];
        let [a, b] = [a, b].map(|at| at.trunc_subsecs(3));
        prop_assert_eq!(one.cmp(&two), a.cmp(&b).then(ids[0].cmp(&ids[1])));
        prop_assert_eq!(one, format!("{}#{}", timestamp::millis(a), ids[0]));
    }

    #[test]
    fn an_event_is_between_a_windows_bounds_as_texts_if_its_instant_is(at in instant(), window in window(), id in "[!-~]{1,12}") {
        // Also right at the bounds.
        for at in [at, window.from, window.to, window.from - TimeDelta::milliseconds(1), window.to - TimeDelta::nanoseconds(1)] {
            let key = event(at, &id).recorded_at_id();
            let between = (timestamp::millis(window.from)..=timestamp::millis(window.to)).contains(&key);
            prop_assert_eq!(between, window.from <= at && at < window.to, "{} in {}", key, window);
        }
    }

    #[test]
    fn instants_and_windows_are_read_back(at in instant(), window in window()) {
        prop_assert_eq!(timestamp::parse_seconds(&timestamp::seconds(at)), Some(timestamp::whole_seconds(at)));
        prop_assert_eq!(Window::parse_interval(&window.interval()), Some(window));
    }

    #[test]
    fn trailing_counts_are_read_back(window in window(), seconds in vec(1..900_i64, 0..30)) {
        let counts = trailing_counts(window, &seconds);
        prop_assert_eq!(TrailingCounts::parse(&counts.to_text()), Some(counts));
    }

    #[test]
    fn a_checkpoint_is_read_back(
        config in config(), window in window(), version in 0..u64::MAX, shards in 1..=64_u16, keys in vec(option::of(".{0,40}"), 64),
        sizes in vec((any::<u64>(), any::<u64>(), "[0-9a-f]{64}", option::of(0..3_i64)), 0..12), seconds in vec(1..900_i64, 0..9),
        counts: (u64, u64), gap: bool, is_final: bool, max_object_bytes: u64, started in instant(),
    ) {
        let event_shards = EventShards::parse(&shards.to_string()).unwrap();
        let config = TenantConfig { version, event_shards, ..config };
        let mut objects: Vec<StoredObject> = Vec::new();
        // Objects of late arrivals come first.
        for wants_late in [true, false] {
            for (bytes, events, sha256, minute) in sizes.iter().filter(|(_, _, _, minute)| minute.is_some() == wants_late) {
                let minute = minute.map(|ago| Window {
                    from: window.from - TimeDelta::minutes(ago + 1), to: window.from - TimeDelta::minutes(ago),
                });
                let file = next_number(&objects, minute);
                let key = spec(&config, window, minute, is_final, file).key;
                objects.push(StoredObject { key, bytes: *bytes, events: *events, sha256: sha256.clone(), late: minute, last_event: None });
            }
        }
        let checkpoint = Checkpoint {
            window, is_final, version, max_object_bytes, objects, gap,
            read_until: keys[..usize::from(shards)].to_vec(),
            trailing_counts: trailing_counts(window, &seconds),
            late: counts.0,
            malformed: counts.1,
            started: started.trunc_subsecs(3),
        };
        let read = Checkpoint::for_run(checkpoint.to_text(&config).as_deref(), &config, window, is_final, 1, DateTime::default());
        prop_assert_eq!(read, checkpoint);
    }
}
