//! Reading a window's events.

use anyhow::{Result, ensure};
use audit_log_core::{
    event::{Body, StoredEvent},
    filter::{CopyFilter, Filter},
    ports::{EventRange, Events, Page},
    schedule::Window,
    tenant::TenantId,
};

use crate::{
    local::on_local_aws,
    world::{Recorded, World, clock, id, window},
};

on_both_worlds! {
    events_come_in_the_order_of_their_keys_whatever_the_order_of_writing
    a_window_includes_its_start_and_not_its_end
    only_the_tenants_own_shard_is_read
    reading_continues_right_after_the_cursor
    a_window_of_many_pages_is_read_completely_and_in_order
    an_event_is_read_byte_for_byte
    an_item_without_a_text_is_not_skipped
    a_window_without_events_has_one_empty_page
    an_event_is_read_as_soon_as_it_is_written
    a_search_is_sent_the_events_whose_copies_pass_and_those_without_copies
    a_search_goes_on_after_pages_of_which_nothing_is_sent
}

fn event(recorded_at_id: &str, text: &str) -> StoredEvent {
    StoredEvent { recorded_at_id: recorded_at_id.to_owned(), body: Body::Text(text.to_owned()) }
}

async fn record(world: &impl World, tenant: &TenantId, keys: &[&str]) -> Result<()> {
    for key in keys {
        world.put_event(tenant, 0, key, Recorded::Text(format!("{{\"of\":\"{key}\"}}"))).await?;
    }
    Ok(())
}

/// All pages of a shard's window, read by their cursors.
async fn pages(world: &impl World, tenant: &TenantId, shard: u16, window: Window) -> Result<Vec<Page>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = world.events().page(EventRange { tenant, shard, window, after: after.as_deref() }).await?;
        ensure!(page.more_after.is_none() || page.more_after > after, "the cursor doesn't advance: {after:?}");
        after.clone_from(&page.more_after);
        pages.push(page);
        if after.is_none() {
            return Ok(pages);
        }
    }
}

async fn all(world: &impl World, tenant: &TenantId, shard: u16, window: Window) -> Result<Vec<StoredEvent>> {
    Ok(pages(world, tenant, shard, window).await?.into_iter().flat_map(|page| page.events).collect())
}

pub(crate) async fn keys(world: &impl World, tenant: &TenantId, window: Window) -> Result<Vec<String>> {
    Ok(all(world, tenant, 0, window).await?.into_iter().map(|event| event.recorded_at_id).collect())
}

async fn events_come_in_the_order_of_their_keys_whatever_the_order_of_writing(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let in_order = [
        "2026-11-20T10:00:00.001Z#b",
        "2026-11-20T10:30:00.000Z#A",
        "2026-11-20T10:30:00.000Z#B",
        "2026-11-20T10:30:00.000Z#a",
        "2026-11-20T10:30:00.000Z#a1",
        "2026-11-20T10:30:00.000Z#\u{e9}",
        "2026-11-20T10:30:00.010Z#a",
        "2026-11-20T10:30:00.100Z#a",
        "2026-11-20T10:59:59.999Z#z",
    ];
    let mut written = in_order;
    written.reverse();
    written.swap(1, 6);
    record(world, &acme, &written).await?;
    assert_eq!(keys(world, &acme, window("10:00", "11:00")?).await?, in_order);
    Ok(())
}

async fn a_window_includes_its_start_and_not_its_end(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let edges = [
        "2026-11-20T09:59:59.999Z#before",
        "2026-11-20T10:00:00.000Z#first",
        "2026-11-20T10:59:59.999Z#last",
        "2026-11-20T11:00:00.000Z#",
        "2026-11-20T11:00:00.000Z#first-of-the-next",
        "2026-11-20T11:00:00.001Z#after",
    ];
    record(world, &acme, &edges).await?;
    assert_eq!(keys(world, &acme, window("10:00", "11:00")?).await?, edges[1..3]);
    // Adjacent windows together have every event once.
    let mut tiled = Vec::new();
    for (from, to) in [("09:00", "10:00"), ("10:00", "11:00"), ("11:00", "12:00")] {
        tiled.extend(keys(world, &acme, window(from, to)?).await?);
    }
    assert_eq!(tiled, edges);
    Ok(())
}

async fn only_the_tenants_own_shard_is_read(world: &impl World) -> Result<()> {
    let key = "2026-11-20T10:30:00.000Z#1";
    // One id begins with the other, and one looks like the other with a shard.
    let events = [("acme", 0), ("acme", 1), ("acme", 10), ("acme-2", 0), ("acme_0", 0), ("ACME", 0)];
    for (tenant, shard) in events {
        world.put_event(&id(tenant)?, shard, key, Recorded::Text(format!("{tenant} {shard}"))).await?;
    }
    for (tenant, shard) in events {
        let read = all(world, &id(tenant)?, shard, window("10:00", "11:00")?).await?;
        assert_eq!(read, [event(key, &format!("{tenant} {shard}"))]);
    }
    assert_eq!(all(world, &id("acme")?, 2, window("10:00", "11:00")?).await?, []);
    Ok(())
}

async fn reading_continues_right_after_the_cursor(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let stored =
        ["2026-11-20T10:10:00.000Z#a", "2026-11-20T10:10:00.000Z#b", "2026-11-20T10:20:00.000Z#a"].map(str::to_owned);
    record(world, &acme, &stored.each_ref().map(String::as_str)).await?;
    let window = window("10:00", "11:00")?;
    // The last cursor is of a deleted event.
    for (after, expected) in [
        (&stored[0][..], &stored[1..]),
        (&stored[1], &stored[2..]),
        (&stored[2], &[]),
        ("2026-11-20T10:10:00.000Z#aa", &stored[1..]),
    ] {
        let page = world.events().page(EventRange { tenant: &acme, shard: 0, window, after: Some(after) }).await?;
        let keys: Vec<_> = page.events.into_iter().map(|event| event.recorded_at_id).collect();
        assert_eq!((&keys[..], page.more_after), (expected, None), "after {after}");
    }
    Ok(())
}

/// More than 2 MB. DynamoDB ends a page at 1 MB.
async fn a_window_of_many_pages_is_read_completely_and_in_order(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let mut expected = Vec::new();
    for number in 0..25 {
        let key = format!("2026-11-20T10:00:{number:02}.000Z#{number}");
        let text = format!("{{\"n\":{number},\"padding\":\"{}\"}}", "x".repeat(90_000));
        world.put_event(&acme, 0, &key, Recorded::Text(text.clone())).await?;
        expected.push(event(&key, &text));
    }
    let pages = pages(world, &acme, 0, window("10:00", "11:00")?).await?;
    ensure!(pages.len() > 2, "expected several pages: {}", pages.len());
    for page in &pages {
        let last = page.events.last().map(|event| &event.recorded_at_id);
        ensure!(page.more_after.is_none() || page.more_after.as_ref() == last, "the cursor isn't the last event");
    }
    let read: Vec<_> = pages.into_iter().flat_map(|page| page.events).collect();
    ensure!(read == expected, "events are missing, doubled or out of order");
    Ok(())
}

async fn an_event_is_read_byte_for_byte(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let texts = [
        "{\"name\":\"J\u{fc}rgen \u{2603} \u{1f600}\",\"n\":1.00,\"n\":1e400}",
        "  { \"pretty\" :\r\n\t[ 1 , 2 ] }\n",
        "{\"escaped\":\"\\u0000\\ud800 \u{2028} \u{0}\"}",
        "not JSON at all",
        "{}",
    ];
    let mut expected = Vec::new();
    for (number, text) in texts.into_iter().enumerate() {
        let key = format!("2026-11-20T10:00:00.000Z#{number}");
        world.put_event(&acme, 0, &key, Recorded::Text(text.to_owned())).await?;
        expected.push(event(&key, text));
    }
    assert_eq!(all(world, &acme, 0, window("10:00", "11:00")?).await?, expected);
    Ok(())
}

async fn an_item_without_a_text_is_not_skipped(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let recorded = [Recorded::Text("{}".to_owned()), Recorded::Nothing, Recorded::Number(42)];
    for (number, event) in recorded.into_iter().enumerate() {
        world.put_event(&acme, 0, &format!("2026-11-20T10:00:00.000Z#{number}"), event).await?;
    }
    let read = all(world, &acme, 0, window("10:00", "11:00")?).await?;
    let keys: Vec<_> = read.iter().map(|event| &event.recorded_at_id[25..]).collect();
    assert_eq!(keys, ["0", "1", "2"]);
    assert_eq!(read[0].body, Body::Text("{}".to_owned()));
    let [Body::NoText(_), Body::NoText(number)] = [&read[1].body, &read[2].body] else {
        anyhow::bail!("expected no texts: {read:?}")
    };
    ensure!(number.contains(r#""event":{"N":"42"}"#), "the value is lost: {number}");
    Ok(())
}

async fn a_window_without_events_has_one_empty_page(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    record(world, &acme, &["2026-11-20T10:30:00.000Z#a"]).await?;
    assert_eq!(pages(world, &acme, 0, window("11:00", "12:00")?).await?, [Page::default()]);
    assert_eq!(pages(world, &id("unknown")?, 0, window("10:00", "11:00")?).await?, [Page::default()]);
    Ok(())
}

async fn an_event_is_read_as_soon_as_it_is_written(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let mut written = Vec::new();
    for number in 0..20 {
        let key = format!("2026-11-20T10:00:{number:02}.000Z#a");
        record(world, &acme, &[&key]).await?;
        written.push(key);
        assert_eq!(keys(world, &acme, window("10:00", "11:00")?).await?, written);
    }
    Ok(())
}

async fn a_search_is_sent_the_events_whose_copies_pass_and_those_without_copies(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let texts = [
        r#"{"action":"Login","logType":"Authentication"}"#,
        r#"{"action":"login","logType":"Authentication"}"#,
        r#"{"action":"Logout","logType":"Authentication"}"#,
        r#"{"action":"Login"}"#,
        r#"{"logType":"Scan"}"#,
        r#"{"action":7,"logType":"Scan"}"#,
        "no JSON",
    ];
    for (number, text) in texts.iter().enumerate() {
        let key = format!("2026-11-20T10:00:00.000Z#{number}");
        world.put_event(&acme, 0, &key, Recorded::Text((*text).to_owned())).await?;
    }
    let only = |values: &[&str]| Filter { only: values.iter().map(|&it| it.to_owned()).collect(), except: Vec::new() };
    let except = |values: &[&str]| Filter { except: only(values).only, only: Vec::new() };
    let login_but_not = Filter { except: vec!["Login".to_owned()], ..only(&["Login", "Logout"]) };
    for (actions, log_types, expected) in [
        (only(&[]), only(&[]), "6543210"),
        (only(&["Login"]), only(&[]), "65430"),
        (only(&["Login", "Logout"]), only(&[]), "654320"),
        (except(&["Login"]), only(&[]), "65421"),
        (login_but_not, only(&[]), "6542"),
        (only(&["Login"]), only(&["Authentication"]), "630"),
        (only(&[]), except(&["Authentication", "Alert"]), "6543"),
        (only(&["unheard of"]), except(&["Scan"]), "6"),
    ] {
        let range = EventRange { tenant: &acme, shard: 0, window: window("10:00", "11:00")?, after: None };
        let filter = CopyFilter { actions: &actions, log_types: &log_types };
        let page = world.events().page_back(range, 100, Some(filter)).await?;
        let sent: String = page.events.iter().map(|event| &event.recorded_at_id[25..]).collect();
        assert_eq!(sent, expected, "{actions:?} {log_types:?}");
        assert!(page.more_after.is_none() && page.scanned.events == 7 && page.scanned.bytes > 0, "{page:?}");
    }
    Ok(())
}

async fn a_search_goes_on_after_pages_of_which_nothing_is_sent(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    for number in 0..7 {
        let action = if number == 1 { "Login" } else { "Logout" };
        let text = format!(r#"{{"action":"{action}"}}"#);
        world.put_event(&acme, 0, &format!("2026-11-20T10:0{number}:00.000Z#{number}"), Recorded::Text(text)).await?;
    }
    let (actions, log_types) = (Filter::only(["Login"]), Filter::default());
    let filter = CopyFilter { actions: &actions, log_types: &log_types };
    // As a search begins: before the end of the window, which no event has as its key.
    let (mut after, mut sent, mut read) = ("2026-11-20T11:00:00.000Z".to_owned(), Vec::new(), 0);
    loop {
        let range = EventRange { tenant: &acme, shard: 0, window: window("10:00", "11:00")?, after: Some(&after) };
        let page = world.events().page_back(range, 2, Some(filter)).await?;
        read += page.scanned.events;
        sent.push(page.events.len());
        let Some(more_after) = page.more_after else { break };
        ensure!(more_after < after, "the cursor doesn't advance: {after}");
        after = more_after;
    }
    assert_eq!((sent, read), (vec![0, 0, 1, 0], 7));
    Ok(())
}

/// The exported object has the whole item, so that the service that broke the contract can be found.
#[test]
fn an_item_without_a_text_comes_with_all_its_attributes() -> Result<()> {
    on_local_aws(async |world| {
        let acme = id("acme")?;
        world.put_event(&acme, 0, "2026-11-20T10:00:00.000Z#1", Recorded::Nothing).await?;
        let read = all(world, &acme, 0, Window { from: clock("10:00")?, to: clock("11:00")? }).await?;
        let item = r#"{"recorded_at_id":{"S":"2026-11-20T10:00:00.000Z#1"},"tenant_shard":{"S":"acme#0"}}"#;
        assert_eq!(read[0].body, Body::NoText(item.to_owned()));
        Ok(())
    })
}
