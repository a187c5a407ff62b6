//! Describes the HTTP API as an OpenAPI document.

use serde_json::Value;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        self, Components,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use audit_log_core::ingestion::EVENT_SCHEMA;
use audit_log_web::problem::Problem;

use crate::answer::{Recorded, Refusal};

const AUDIT_EVENT: &str = "AuditEvent";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Recording audit events",
        description = "Records a tenant's audit events. The access token decides which tenant that is.",
    ),
    paths(record_events, schema_of_events, this_document),
    components(schemas(Problem)),
    modifiers(&AccessToken),
)]
struct Api;

struct AccessToken;

impl Modify for AccessToken {
    fn modify(&self, api: &mut openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("An access token with the permission events:write."));
        let scheme = SecurityScheme::Http(scheme.build());
        api.components.get_or_insert_with(Components::new).add_security_scheme("accessToken", scheme);
    }
}

/// The events of a request.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used: the events are parsed one by one")]
struct RecordEvents {
    /// From 1 to 500 events.
    #[schema(min_items = 1, max_items = 500)]
    events: Vec<AuditEvent>,
}

/// A placeholder for the published schema.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its name is used")]
struct AuditEvent {}

/// Record events
///
/// Each valid event is stored, even if others in the request are not valid. Two events of yours with the same id are one event.
/// Stored events are exported to the tenant's bucket.
#[utoipa::path(
    post,
    path = "/v1/events",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Gives events without an id the same ids each time, so that you can send the same request again without storing events twice.", pattern = "^[A-Za-z0-9_.:-]{1,128}$"),
    ),
    request_body(content = RecordEvents, description = "At most 4 MiB."),
    responses(
        (status = 200, description = "Every event is stored.", body = Recorded),
        (status = 400, description = "The body or a header can't be read. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "There is no valid access token. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the permission events:write. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Some events are refused, and the others are stored; results has the outcome of each. Without results, the number of events is wrong and nothing is stored.", body = Refusal, content_type = "application/problem+json"),
        (status = 503, description = "Some events could not be stored; results says which. Without results, none is stored.", body = Refusal, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "In seconds."))),
    ),
    security(("accessToken" = [])),
)]
#[allow(dead_code, reason = "a placeholder for the handler, which is generic")]
fn record_events() {}

/// The schema of an event
///
/// A JSON Schema (draft 2020-12) with the accepted log types and actions.
#[utoipa::path(
    get,
    path = "/v1/events/schema.json",
    responses((status = 200, description = "A JSON Schema.", body = Object, content_type = "application/json")),
    security(()),
)]
#[allow(dead_code, reason = "a placeholder for a closure")]
fn schema_of_events() {}

/// This document
#[utoipa::path(
    get,
    path = "/v1/events/openapi.json",
    responses((status = 200, description = "An OpenAPI document.", body = Object, content_type = "application/json")),
    security(()),
)]
#[allow(dead_code, reason = "a placeholder for a closure")]
fn this_document() {}

pub fn document() -> Value {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    let mut event: Value = serde_json::from_str(EVENT_SCHEMA).unwrap_or_default();
    // In an OpenAPI document, a schema has the document's dialect and no id of its own.
    if let Some(members) = event.as_object_mut() {
        members.retain(|name, _| !name.starts_with('$'));
    }
    document["components"]["schemas"][AUDIT_EVENT] = event;
    document
}
