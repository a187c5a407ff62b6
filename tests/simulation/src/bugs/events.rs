//! Bugs in pages of events, and in the places of objects.

use audit_log_core::{
    event::{Body, StoredEvent},
    failure::Failure,
    ports::{EventRange, Page},
    tenant::TenantId,
    timestamp,
};

use super::{Bug, is_planted};
use crate::{plan::TENANTS, world::World};

/// Changes a page by the planted bug.
///
/// # Errors
/// The page's own.
pub fn change_page(world: &World, range: EventRange<'_>, page: Result<Page, Failure>) -> Result<Page, Failure> {
    let mut page = if is_planted(Bug::UnreadableIsEmpty) { page.unwrap_or_default() } else { page? };
    let body = |tenant: &str, key: &str| {
        let state = world.fakes.state();
        state.events.get(&(tenant.to_owned(), range.shard)).and_then(|events| events.get(key).cloned())
    };
    if is_planted(Bug::StalePageToken)
        && let Some(key) = range.after
        && let Some(body) = body(range.tenant.as_str(), key)
    {
        page.events.insert(0, StoredEvent { recorded_at_id: key.to_owned(), body });
    }
    if is_planted(Bug::PageTokenOffByOne) && range.after.is_some() && !page.events.is_empty() {
        page.events.remove(0);
    }
    if is_planted(Bug::WindowLacksItsBegin) {
        let begin = timestamp::millis(range.window.from);
        page.events.retain(|event| !event.recorded_at_id.starts_with(&begin));
    }
    if is_planted(Bug::EmptyPageEnds) && page.events.is_empty() {
        page.more_after = None;
    }
    if is_planted(Bug::OnlyTheFirstShard) && range.shard > 0 {
        page = Page::default();
    }
    if is_planted(Bug::MalformedIsDropped) {
        page.events.retain(|event| matches!(&event.body, Body::Text(text) if text.starts_with('{')));
    }
    if is_planted(Bug::IncompleteOverComplete) {
        let state = world.fakes.state();
        let tenant = state.tenants.get(range.tenant.as_str());
        if tenant.is_some_and(|tenant| tenant.receipts.contains_key(&range.window.to)) {
            page.events.pop();
        }
    }
    if is_planted(Bug::AnothersEvents)
        && let Some(event) = page.events.first_mut()
        && let Some(other) = TENANTS.iter().find(|other| **other != range.tenant.as_str())
    {
        let state = world.fakes.state();
        let of_other = state.events.iter().find(|((of, _), _)| of == other);
        if let Some(body) = of_other.and_then(|(_, events)| events.values().next()) {
            event.body = body.clone();
        }
    }
    Ok(page)
}

/// Moves an object that was just stored to a wrong place.
pub fn misplace(world: &World, tenant: &TenantId, key: &str) {
    if !is_planted(Bug::AnothersFolder) && !is_planted(Bug::AnothersBucket) {
        return;
    }
    let other = TENANTS.iter().find(|other| **other != tenant.as_str()).copied().unwrap_or_default();
    let mut state = world.fakes.state();
    let Some(bucket) = state.buckets.iter().find(|(_, it)| it.contains_key(key)).map(|(name, _)| name.clone()) else {
        return;
    };
    let (target, new_key) = if is_planted(Bug::AnothersFolder) {
        (bucket.clone(), key.replace(&format!("tenant={tenant}/"), &format!("tenant={other}/")))
    } else {
        (format!("{other}-bucket-1"), key.to_owned())
    };
    let object = state.buckets.get_mut(&bucket).and_then(|objects| objects.remove(key));
    if let (Some(object), Some(objects)) = (object, state.buckets.get_mut(&target)) {
        objects.insert(new_key.clone(), object);
        state.stored.push((target, new_key));
    }
    drop(state);
    world.check_step();
}
