//! What a daily check of a tenant's connection announces.

use super::by_the_system;
use crate::{
    drift::{Checked, News},
    notification::Kind,
    outbox::Announcement,
    record::Stamp,
    tenant::TenantId,
};

/// Something is wrong with the connection that was not known, or is right again. Of one day's check there is one event.
pub fn connection_checked(tenant: &TenantId, stamp: Stamp, news: News, found: &Checked) -> Announcement {
    let (action, kind) = match news {
        News::Drifted => ("Connection Drifted", Kind::Drifted),
        News::Restored => ("Connection Restored", Kind::Restored),
    };
    let day = found.turn.date_naive().to_string();
    let info = found.info();
    let event = by_the_system(tenant, stamp, &day, action, &info.clone().into());
    Announcement::new(event, kind, found.at, info)
}
