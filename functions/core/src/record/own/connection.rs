//! What a daily check of a tenant's connection has to tell.

use super::by_the_system;
use crate::{
    drift::{Checked, News},
    record::{NewEvent, Stamp},
    tenant::TenantId,
};

/// Something is wrong with the connection that was not known, or is right again. Of one day's check there is one event.
pub fn connection_checked(tenant: &TenantId, stamp: Stamp, news: News, found: &Checked) -> NewEvent {
    let action = match news {
        News::Drifted => "Connection Drifted",
        News::Restored => "Connection Restored",
    };
    let day = found.turn.date_naive().to_string();
    by_the_system(tenant, stamp, &day, action, &found.info().into())
}
