//! The page for a customer's cloud engineer: docs/obstacles.md, as HTML. It says what in an AWS account refuses deliveries.

use std::sync::LazyLock;

use axum::response::Response;

use super::{
    document::{self, rendered},
    session::Visitor,
};

static DOCUMENT: LazyLock<String> = LazyLock::new(|| rendered(include_str!("../../../../docs/obstacles.md")));

/// Needs no session: it has nothing of a tenant, and an AWS administrator may have no account here.
pub(super) async fn page(visitor: Visitor) -> Response {
    document::page(visitor.layout("Obstacles"), &DOCUMENT)
}

/// Where the page has more about a failure's code: a fragment, or nothing for the whole page. `None` if it has nothing.
pub(crate) fn place(code: &str) -> Option<&'static str> {
    match code {
        "access_denied" | "account_problem" => Some(""),
        "assume_role_denied" => Some("#the-roles-trust-policy"),
        "bucket_owner_mismatch" => Some("#a-bucket-in-another-account"),
        "kms_denied" => Some("#kms-keys"),
        "kms_throttled" => Some("#the-request-quota-of-kms"),
        "object_ownership" => Some("#object-ownership-and-acls"),
        "region_not_enabled" => Some("#regions-that-have-to-be-enabled"),
        "sts_region_disabled" => Some("#a-region-that-is-switched-off-in-sts"),
        "wrong_region" => Some("#the-buckets-region"),
        _ => None,
    }
}
