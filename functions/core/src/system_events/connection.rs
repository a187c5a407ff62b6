//! What a daily check of a tenant's connection announces.

use super::by_the_system;
use crate::{
    new_event::Stamp,
    notification::Kind,
    outbox::Announcement,
    records::{ConnectionChange, ConnectionCheck},
    tenant::TenantId,
};

/// Something is wrong with the connection that was not known, or is right again. Of one day's check there is one event.
pub fn connection_checked(
    tenant: &TenantId,
    stamp: Stamp,
    news: ConnectionChange,
    found: &ConnectionCheck,
) -> Announcement {
    let (action, kind) = match news {
        ConnectionChange::Drifted => ("Connection Drifted", Kind::Drifted),
        ConnectionChange::Restored => ("Connection Restored", Kind::Restored),
    };
    let day = found.turn.date_naive().to_string();
    let info = found.info();
    let event = by_the_system(tenant, stamp, &day, action, &info.clone().into());
    Announcement::new(event, kind, found.at, info)
}
