//! Tests of searches: filters, order, pages and budgets.

use chrono::TimeDelta;
use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::{
    event::{Body, StoredEvent},
    fakes::{Fakes, Fault, Op},
};

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn at(minute: i64) -> DateTime<Utc> {
    "2026-11-21T10:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute)
}

/// An event in that minute of the hour.
fn put(fakes: &Fakes, shard: u16, minute: i64, event: &str) {
    let recorded_at_id = format!("{}#{minute}", crate::timestamp::millis(at(minute)));
    fakes.put_event(&acme(), shard, StoredEvent { recorded_at_id, body: Body::Text(event.to_owned()) });
}

fn event(action: &str, log_type: &str, email: &str, note: &str) -> String {
    format!(
        r#"{{"id":"{note}","action":"{action}","logType":"{log_type}","user":{{"id":"u","email":"{email}"}},"additionalInfo":{{"note":"{note}"}}}}"#
    )
}

fn five_events() -> Fakes {
    let fakes = Fakes::default();
    for (minute, event) in [
        (1, event("Login", "Authentication", "ada@acme.example", "first")),
        (2, event("Login", "Authentication", "bob@acme.example", "second")),
        (3, event("Scan Now", "Scan", "ada@acme.example", "Third Ünique")),
        (4, event("Logout", "Authentication", "ada@acme.example", "fourth")),
        (5, event("Login", "Authentication", "ada@acme.example", "fifth")),
    ] {
        put(&fakes, 0, minute, &event);
    }
    fakes
}

fn hour() -> Search {
    let window = Window { from: at(0), to: at(60) };
    Search::all(window)
}

const WIDE_LIMITS: SearchLimits<'_> =
    SearchLimits { most: 100, bytes: 1 << 20, scanned_bytes: 1 << 20, sent_bytes: 1 << 20, should_stop: &|| false };

/// Ends after the first page of each shard.
const FIRST_PAGES: SearchLimits<'_> = SearchLimits { scanned_bytes: 1, ..WIDE_LIMITS };

fn page_of(fakes: &Fakes, search: &Search, before: Option<&str>, limits: SearchLimits<'_>) -> SearchPage {
    let acme = acme();
    let scope = Scope { tenant: &acme, shards: EventShards::parse("2").unwrap() };
    super::search(fakes, scope, search, before, limits).now_or_never().unwrap().unwrap()
}

fn count(fakes: &Fakes, search: &Search, limits: SearchLimits<'_>) -> Summary {
    let acme = acme();
    let scope = Scope { tenant: &acme, shards: EventShards::ONE };
    summarize(fakes, scope, search, limits).now_or_never().unwrap().unwrap().1
}

fn first_page(fakes: &Fakes, search: &Search, limits: SearchLimits<'_>) -> SearchPage {
    let acme = acme();
    let scope = Scope { tenant: &acme, shards: EventShards::parse("2").unwrap() };
    summarize(fakes, scope, search, limits).now_or_never().unwrap().unwrap().0
}

fn ids(page: &SearchPage) -> Vec<&str> {
    page.events.iter().map(|found| found.columns.id.as_str()).collect()
}

fn except<const N: usize>(values: [&str; N]) -> Filter {
    Filter { except: Filter::only(values).only, ..Filter::default() }
}

fn counts(values: &ValueCounts) -> Vec<(&str, u64)> {
    values.most_frequent().into_iter().map(|counted| (counted.value, counted.events)).collect()
}

#[test]
fn every_filter_narrows_and_a_filter_with_several_values_widens() {
    let fakes = five_events();
    for (search, expected) in [
        (hour(), vec!["fifth", "fourth", "Third Ünique", "second", "first"]),
        (Search { actions: Filter::only(["Login"]), ..hour() }, vec!["fifth", "second", "first"]),
        (Search { actions: Filter::only(["Login", "Logout"]), ..hour() }, vec!["fifth", "fourth", "second", "first"]),
        (Search { actions: Filter::only(["login"]), ..hour() }, vec![]),
        (Search { log_types: Filter::only(["scan"]), ..hour() }, vec![]),
        (Search { users: Filter::only(["BOB@acme.example"]), ..hour() }, vec!["second"]),
        (
            Search { actions: Filter::only(["Login"]), users: Filter::only(["ada@acme.example"]), ..hour() },
            vec!["fifth", "first"],
        ),
        (Search { log_types: Filter::only(["Scan"]), ..hour() }, vec!["Third Ünique"]),
        (Search { text: "üNIQUE scan".to_owned(), ..hour() }, vec!["Third Ünique"]),
        (Search { text: "note".to_owned(), ..hour() }, vec![]),
        (Search { window: Window { from: at(2), to: at(4) }, ..hour() }, vec!["Third Ünique", "second"]),
    ] {
        assert_eq!(ids(&page_of(&fakes, &search, None, WIDE_LIMITS)), expected, "{search:?}");
    }
}

#[test]
fn a_value_is_left_out_whichever_name_of_the_user_it_is() {
    let fakes = five_events();
    for (search, expected) in [
        (Search { actions: except(["login", "Logout"]), ..hour() }, vec!["fifth", "Third Ünique", "second", "first"]),
        (Search { actions: except(["Login", "Logout"]), ..hour() }, vec!["Third Ünique"]),
        (Search { users: except(["ADA@acme.example"]), ..hour() }, vec!["second"]),
        (Search { users: except(["u"]), ..hour() }, vec![]),
        (
            Search { log_types: except(["Scan"]), actions: Filter::only(["Login"]), ..hour() },
            vec!["fifth", "second", "first"],
        ),
        (Search { actions: Filter { only: vec!["Login".to_owned()], ..except(["Login"]) }, ..hour() }, vec![]),
        (
            Search { actions: except(["unheard of", ""]), ..hour() },
            vec!["fifth", "fourth", "Third Ünique", "second", "first"],
        ),
    ] {
        assert_eq!(ids(&page_of(&fakes, &search, None, WIDE_LIMITS)), expected, "{search:?}");
        let expected = u64::try_from(expected.len()).unwrap();
        assert_eq!(count(&fakes, &search, WIDE_LIMITS).total, expected, "{search:?}");
    }
    let summary = count(&fakes, &Search { actions: except(["Login"]), ..hour() }, WIDE_LIMITS);
    assert_eq!(
        counts(&summary.actions),
        [("Login", 3), ("Logout", 1), ("Scan Now", 1)],
        "values that are left out are counted"
    );
    assert_eq!(counts(&summary.log_types), [("Authentication", 1), ("Scan", 1)]);
}

#[test]
fn a_user_is_counted_under_the_address_or_id_with_the_newest_name() {
    let fakes = Fakes::default();
    for (minute, user) in [
        (1, r#"{"id":"u-1","name":"Ada Byron"}"#),
        (2, r#"{"id":"u-1","name":"Ada Lovelace"}"#),
        (3, r#"{"id":"u-1"}"#),
        (4, r#"{"name":"Bob"}"#),
    ] {
        put(&fakes, 0, minute, &format!(r#"{{"user":{user}}}"#));
    }
    let users = count(&fakes, &hour(), WIDE_LIMITS).users;
    let counted = |value, name, events| Counted { value, name, events };
    assert_eq!(users.most_frequent(), [counted("u-1", "Ada Lovelace", 3), counted("Bob", "", 1)]);
}

#[test]
fn the_histogram_has_the_matching_events_only() {
    let search = Search { actions: Filter::only(["Login"]), ..hour() };
    let summary = count(&five_events(), &search, WIDE_LIMITS);
    let bars: Vec<_> = summary.histogram.bars().collect();
    let with_events: Vec<_> =
        bars.iter().filter(|(_, count)| *count > 0).map(|(bar, count)| (bar.from, *count)).collect();
    assert_eq!((bars.len(), with_events), (30, vec![(at(0), 1), (at(2), 1), (at(4), 1)]));
    assert_eq!(bars.iter().map(|(_, count)| count).sum::<u64>(), summary.total);
}

#[test]
fn malformed_and_unrepresentable_events_are_found() {
    let fakes = Fakes::default();
    put(&fakes, 0, 1, "no JSON");
    put(&fakes, 0, 2, r#"{"user":"ada","action":7,"logType":["x"]}"#);
    let page = page_of(&fakes, &hour(), None, WIDE_LIMITS);
    let columns: Vec<_> = page.events.iter().map(|found| found.columns.action.as_str()).collect();
    assert_eq!(columns, ["7", "Malformed Audit Event"]);
    // Valid JSON that can't be represented as a value.
    put(&fakes, 0, 3, r#"{"id":"x","action":"Login","user":{"name":"half \ud800"},"additionalInfo":{"n":1e400}}"#);
    let logins = Search { actions: Filter::only(["Login"]), text: "1E400".to_owned(), ..hour() };
    let page = page_of(&fakes, &logins, None, WIDE_LIMITS);
    assert_eq!(ids(&page), ["x"]);
    assert_eq!(page.events[0].columns.additional_info, r#"{"n":1e400}"#);
    assert_eq!(counts(&count(&fakes, &hour(), WIDE_LIMITS).actions)[0], ("7", 1));
}

#[test]
fn a_malformed_event_is_found_by_its_columns_and_not_by_its_copies() {
    let fakes = five_events();
    put(&fakes, 0, 6, r#"{"action":"Login","logType":"Scan","action":"Login"}"#);
    for (search, expected) in [
        (Search { actions: Filter::only(["Login"]), ..hour() }, 3),
        (Search { actions: Filter::only(["Login", "Malformed Audit Event"]), ..hour() }, 4),
        (Search { log_types: Filter::only(["System"]), ..hour() }, 1),
        (Search { actions: except(["Login"]), ..hour() }, 3),
    ] {
        assert_eq!(page_of(&fakes, &search, None, WIDE_LIMITS).events.len(), expected, "{search:?}");
    }
}

#[test]
fn a_search_ends_at_its_limits_and_says_where() {
    let mut fakes = five_events();
    let all = page_of(&fakes, &hour(), None, SearchLimits { most: 5, ..WIDE_LIMITS });
    assert_eq!(all.next, None, "a page that the last event fills is the last");
    fakes.page_size = 1;
    let logins = Search { actions: Filter::only(["Login"]), ..hour() };
    let page = page_of(&fakes, &logins, None, FIRST_PAGES);
    assert_eq!((ids(&page), page.scanned.events), (vec!["fifth"], 1));
    let rest = page_of(&fakes, &logins, page.next.as_deref(), WIDE_LIMITS);
    assert_eq!((ids(&rest), &rest.next), (vec!["second", "first"], &None));

    let one = page_of(&fakes, &hour(), None, SearchLimits { bytes: 1, ..WIDE_LIMITS });
    assert_eq!(ids(&one), ["fifth"], "an event that exceeds the limit has its own page");
    assert_eq!(
        ids(&page_of(&fakes, &hour(), one.next.as_deref(), SearchLimits { most: 1, ..WIDE_LIMITS })),
        ["fourth"]
    );
    for limits in [SearchLimits { should_stop: &|| true, ..WIDE_LIMITS }, SearchLimits { sent_bytes: 1, ..WIDE_LIMITS }]
    {
        let page = page_of(&fakes, &hour(), None, limits);
        assert_eq!((ids(&page), page.next.is_some()), (vec!["fifth"], true));
    }
}

#[test]
fn a_search_is_bounded_by_the_bytes_it_reads_and_goes_on_after_them() {
    let mut fakes = Fakes::default();
    fakes.page_size = 5;
    let noise = format!(r#"{{"action":"Noise","note":"{}"}}"#, "x".repeat(10_000));
    (1..50).for_each(|minute| put(&fakes, 0, minute, &noise));
    put(&fakes, 0, 0, &event("Login", "Authentication", "ada@acme.example", "found"));
    let logins = Search { actions: Filter::only(["Login"]), ..hour() };
    let limits = SearchLimits { scanned_bytes: 100_000, ..WIDE_LIMITS };
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let page = page_of(&fakes, &logins, before.as_deref(), limits);
        assert!(page.scanned.bytes < 100_000 + 55_000, "{:?}", page.scanned);
        before = page.next.clone();
        pages.push(page);
        if before.is_none() {
            break;
        }
    }
    let found: Vec<_> = pages.iter().map(|page| page.events.len()).collect();
    assert_eq!(found, [0, 0, 0, 0, 1]);
    let read: u64 = pages.iter().map(|page| page.scanned.events).sum();
    assert_eq!(read, 50, "no event is skipped or read twice");

    let summary = count(&fakes, &hour(), limits);
    assert_eq!((summary.total, summary.cut_at), (10, Some(at(40) + TimeDelta::milliseconds(1))));
}

#[test]
fn a_search_of_many_shards_reads_small_pages() {
    let fakes = Fakes::default();
    (0..64).for_each(|shard| (0..60).for_each(|minute| put(&fakes, shard, minute, "{}")));
    let acme = acme();
    for (shards, expected) in [(1, 1), (64, 64 * 2)] {
        let before = fakes.calls(Op::PageBack);
        let scope = Scope { tenant: &acme, shards: EventShards::parse(&shards.to_string()).unwrap() };
        let limits = SearchLimits { most: 4_000, ..WIDE_LIMITS };
        super::search(&fakes, scope, &hour(), None, limits).now_or_never().unwrap().unwrap();
        assert_eq!(fakes.calls(Op::PageBack) - before, expected, "{shards}");
    }
}

#[test]
fn a_summary_has_the_first_page_and_reads_each_event_once() {
    let mut fakes = five_events();
    let logins = Search { actions: Filter::only(["Login"]), ..hour() };
    for search in [hour(), logins.clone()] {
        for most in 1..=6 {
            for (page_size, limits) in [(0, WIDE_LIMITS), (1, WIDE_LIMITS), (1, FIRST_PAGES), (3, FIRST_PAGES)] {
                fakes.page_size = page_size;
                let limits = SearchLimits { most, ..limits };
                let first = first_page(&fakes, &search, limits);
                assert_eq!(first.events, page_of(&fakes, &search, None, limits).events, "{most} {page_size}");
                let unlimited = SearchLimits { most: 9, ..WIDE_LIMITS };
                let rest = first.next.as_deref().map(|next| page_of(&fakes, &search, Some(next), unlimited));
                let all: Vec<_> = first.events.into_iter().chain(rest.unwrap_or_default().events).collect();
                assert_eq!(all, page_of(&fakes, &search, None, unlimited).events, "{most} {page_size}");
            }
        }
    }
    fakes.page_size = 0;
    let large = first_page(&fakes, &hour(), SearchLimits { bytes: 1, ..WIDE_LIMITS });
    assert_eq!(ids(&large), ["fifth"], "an event that exceeds the limit has its own page");
    let before = fakes.calls(Op::PageBack);
    assert_eq!(first_page(&fakes, &logins, SearchLimits { most: 2, ..WIDE_LIMITS }).scanned.events, 5);
    assert_eq!(fakes.calls(Op::PageBack) - before, 2, "one page of each shard");
}

#[test]
fn a_position_outside_of_the_window_leads_to_no_event_outside() {
    let fakes = five_events();
    let search = Search { window: Window { from: at(2), to: at(4) }, ..hour() };
    for (before, expected) in [
        ("2026-11-21T10:59:00.000Z#x", vec!["Third Ünique", "second"]),
        ("2026-11-21T10:03:00.000Z#3", vec!["second"]),
        ("2026-11-21T09:00:00.000Z#x", vec![]),
        ("", vec![]),
        ("zzz", vec!["Third Ünique", "second"]),
    ] {
        assert_eq!(ids(&page_of(&fakes, &search, Some(before), WIDE_LIMITS)), expected, "{before}");
    }
}

#[test]
fn a_summary_counts_each_filters_values_as_if_it_had_none() {
    let search = Search { actions: Filter::only(["Login"]), users: Filter::only(["ada@acme.example"]), ..hour() };
    let summary = count(&five_events(), &search, WIDE_LIMITS);
    assert_eq!(summary.total, 2);
    assert_eq!(counts(&summary.actions), [("Login", 2), ("Logout", 1), ("Scan Now", 1)]);
    assert_eq!(counts(&summary.users), [("ada@acme.example", 2), ("bob@acme.example", 1)]);
    assert_eq!(counts(&summary.log_types), [("Authentication", 2)]);
    assert_eq!((summary.counted.events, summary.cut_at), (5, None));
}

#[test]
fn an_incomplete_summary_says_from_when_on_it_has_counted() {
    let mut fakes = five_events();
    fakes.page_size = 2;
    let summary = count(&fakes, &hour(), FIRST_PAGES);
    // Another event of that millisecond may not be counted.
    assert_eq!((summary.total, summary.cut_at), (2, Some(at(4) + TimeDelta::milliseconds(1))));
    assert_eq!(count(&fakes, &hour(), WIDE_LIMITS).cut_at, None);
}

#[test]
fn a_failed_read_is_an_error_and_no_empty_page() {
    let fakes = five_events();
    fakes.always(Op::PageBack, None, Failure::new(crate::failure::Code::Unavailable, "no answer"));
    let acme = acme();
    let scope = Scope { tenant: &acme, shards: EventShards::ONE };
    assert!(super::search(&fakes, scope, &hour(), None, WIDE_LIMITS).now_or_never().unwrap().is_err());
    assert!(summarize(&fakes, scope, &hour(), WIDE_LIMITS).now_or_never().unwrap().is_err());
}

#[test]
fn a_search_that_a_busy_partition_ends_goes_on_with_the_next_page() {
    let mut fakes = five_events();
    fakes.page_size = 1;
    let throttled = || Failure::new(crate::failure::Code::Throttled, "too busy");
    let stops = || {
        fakes.always(Op::PageBack, None, throttled());
        false
    };
    let page = page_of(&fakes, &hour(), None, SearchLimits { should_stop: &stops, ..WIDE_LIMITS });
    assert_eq!(ids(&page), ["fifth"]);
    let acme = acme();
    let scope = Scope { tenant: &acme, shards: EventShards::ONE };
    let next = super::search(&fakes, scope, &hour(), page.next.as_deref(), WIDE_LIMITS).now_or_never().unwrap();
    assert_eq!(next.map_err(|failure| failure.code), Err(crate::failure::Code::Throttled));
}

#[test]
fn a_search_reads_little_if_it_finds_enough_and_in_many_places_if_not() {
    let fakes = Fakes::default();
    // A page of 1 MB has some 50 events.
    let note = "x".repeat(20_000);
    for minute in 0..2_000 {
        let action = if minute == 3 { "Rare" } else { "Frequent" };
        put(&fakes, 0, minute, &format!(r#"{{"action":"{action}","note":"{note}"}}"#));
    }
    let limits = SearchLimits { scanned_bytes: 1 << 30, sent_bytes: 1 << 30, ..WIDE_LIMITS };
    let month = Window { from: at(0), to: at(30 * 1_440) };
    for (action, most, found, reads) in [("Frequent", 40, 40, 1..=1), ("Rare", 1, 1, 40..=60)] {
        let before = fakes.calls(Op::PageBack);
        let search = Search { actions: Filter::only([action]), ..Search::all(month) };
        let page = page_of(&fakes, &search, None, SearchLimits { most, ..limits });
        // The second shard is empty.
        let calls = fakes.calls(Op::PageBack) - before - 1;
        assert!(page.events.len() == found && reads.contains(&calls), "{action}: {calls}");
    }
}

/// An event of a random search.
#[derive(Debug, Clone)]
struct Random {
    shard: u16,
    /// After the one before.
    millis: i64,
    action: usize,
    user: usize,
}

const ACTIONS: [&str; 4] = ["Login", "login", "Logout", "Malformed Audit Event"];

fn random_event() -> impl Strategy<Value = Random> {
    let millis = prop_oneof![Just(0), 1..5_i64, 100_000..10_000_000_i64];
    (0..3_u16, millis, 0..5_usize, 0..2_usize).prop_map(|(shard, millis, action, user)| Random {
        shard,
        millis,
        action,
        user,
    })
}

fn random_filter() -> impl Strategy<Value = Filter> {
    let values = || prop::collection::vec(prop::sample::select(&ACTIONS[..]).prop_map(str::to_owned), 0..3);
    (values(), values()).prop_map(|(only, except)| Filter { only, except })
}

proptest! {
    #[test]
    fn the_pages_of_a_search_have_all_matching_events_once_and_newest_first(
        events in prop::collection::vec(random_event(), 0..80),
        actions in random_filter(),
        is_of_user in any::<bool>(),
        most in 1..7_usize,
        scanned_bytes in prop_oneof![Just(1), Just(2_000), Just(1 << 20)],
        page_size in 0..9_usize,
        shards in prop::sample::select(vec!["3", "20"]),
        reads_before_throttle in prop::option::of(0..4),
    ) {
        let mut fakes = Fakes::default();
        fakes.page_size = page_size;
        let mut time = at(0);
        let mut matching = Vec::new();
        for (number, Random { shard, millis, action, user }) in events.iter().enumerate() {
            time += TimeDelta::milliseconds(*millis);
            let name = ACTIONS.get(*action);
            // The last action is malformed, and has the copies of another one.
            let text = match name {
                Some(name) => format!(r#"{{"id":"{number}","action":"{name}","user":{{"name":"{user}"}}}}"#),
                None => r#"{"action":"Login","action":"Logout","user":{"name":"system"}}"#.to_owned(),
            };
            let recorded_at_id = format!("{}#{number:02}", crate::timestamp::millis(time));
            fakes.put_event(&acme(), *shard, StoredEvent { recorded_at_id, body: Body::Text(text) });
            let is_user = !is_of_user || (name.is_some() && *user == 1);
            if actions.passes(name.unwrap_or(&"Malformed Audit Event")) && is_user {
                matching.insert(0, format!("{number:02}"));
            }
        }
        let users = if is_of_user { Filter::only(["1"]) } else { Filter::default() };
        let window = Window { from: at(0), to: time + TimeDelta::milliseconds(1) };
        let search = Search { actions, users, ..Search::all(window) };
        let acme = acme();
        let scope = Scope { tenant: &acme, shards: EventShards::parse(shards).unwrap() };
        // In each round of reads but the first.
        let throttle = || {
            if let Some(reads) = reads_before_throttle {
                fakes.heal();
                (0..reads).for_each(|_| fakes.once(Op::PageBack, None, Fault::After(Box::new(|| {}))));
                fakes.once(Op::PageBack, None, Fault::Fail(Failure::new(crate::failure::Code::Throttled, "too busy")));
            }
            false
        };
        let limits = SearchLimits { most, scanned_bytes, should_stop: &throttle, ..WIDE_LIMITS };
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = super::search(&fakes, scope, &search, before.as_deref(), limits).now_or_never().unwrap().unwrap();
            fakes.heal();
            prop_assert!(page.next != before || before.is_none(), "it goes on");
            found.extend(page.events.into_iter().map(|event| event.position.split('#').nth(1).unwrap().to_owned()));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        prop_assert_eq!(&found, &matching);

        let (page, summary) = summarize(&fakes, scope, &search, limits).now_or_never().unwrap().unwrap();
        let found: Vec<_> = page.events.iter().map(|event| event.position.split('#').nth(1).unwrap()).collect();
        prop_assert_eq!(&found[..], &matching[..found.len()]);
        prop_assert!(page.next.is_some() || found.len() == matching.len());
        let recorded_from = |from| {
            let (mut time, mut number) = (at(0), 0);
            for event in &events {
                time += TimeDelta::milliseconds(event.millis);
                number += u64::from(time >= from);
            }
            number
        };
        match summary.cut_at {
            None => prop_assert_eq!((summary.counted.events, summary.total), (events.len() as u64, matching.len() as u64)),
            Some(from) => {
                prop_assert!(recorded_from(from) <= summary.counted.events);
                prop_assert!(summary.counted.events <= recorded_from(from - TimeDelta::milliseconds(1)));
            }
        }
    }
}
