//! What the way in over HTTP is, for programs: an OpenAPI document.

use serde_json::Value;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        self, Components,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use audit_log_web::problem::Problem;

use crate::{
    http::{Recorded, Refusal},
    schema,
};

/// The name of the schema of an event.
const AUDIT_EVENT: &str = "AuditEvent";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Recording audit events",
        description = "Takes a tenant's audit events in. The tenant is the one that the access token is bound to.",
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
#[allow(dead_code, reason = "only its schema is of use: the events are read one by one")]
struct RecordEvents {
    /// From 1 to 500 events.
    #[schema(min_items = 1, max_items = 500)]
    events: Vec<AuditEvent>,
}

/// Stands for the published schema.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its name is of use")]
struct AuditEvent {}

/// Record events
///
/// Each event that is as it should be is stored, also if others of the request are not. Two events with one id are one
/// event. Stored events are exported with the deliveries of the tenant.
#[utoipa::path(
    post,
    path = "/v1/events",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the ids of events that come without one follow from it, so that the same request can be sent again and doubles nothing.", pattern = "^[A-Za-z0-9_.:-]{1,128}$"),
    ),
    request_body(content = RecordEvents, description = "At most 4 MiB."),
    responses(
        (status = 200, description = "Every event is stored.", body = Recorded),
        (status = 400, description = "The body or a header can't be read. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "There is no access token that counts. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the permission events:write. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON. Nothing is stored.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Some events are not as they should be: results says of each what became of it, and the others are stored. Without results, the number of events is wrong and nothing is stored.", body = Refusal, content_type = "application/problem+json"),
        (status = 503, description = "Some events could not be stored; results says which. Without results, none is.", body = Refusal, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "In seconds."))),
    ),
    security(("accessToken" = [])),
)]
#[allow(dead_code, reason = "it stands for the handler, which is generic")]
fn record_events() {}

/// The schema of an event
///
/// As JSON Schema (draft 2020-12), with the log types and actions that are in force.
#[utoipa::path(
    get,
    path = "/v1/events/schema.json",
    responses((status = 200, description = "A JSON Schema.", body = Object, content_type = "application/json")),
    security(()),
)]
#[allow(dead_code, reason = "it stands for a closure")]
fn schema_of_events() {}

/// This document
#[utoipa::path(
    get,
    path = "/v1/events/openapi.json",
    responses((status = 200, description = "An OpenAPI document.", body = Object, content_type = "application/json")),
    security(()),
)]
#[allow(dead_code, reason = "it stands for a closure")]
fn this_document() {}

/// The document.
pub fn document() -> Value {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    let mut event: Value = serde_json::from_str(schema::AUDIT_EVENT).unwrap_or_default();
    // Inside of an OpenAPI document a schema is of its dialect, and has no name of its own.
    if let Some(members) = event.as_object_mut() {
        members.retain(|name, _| !name.starts_with('$'));
    }
    document["components"]["schemas"][AUDIT_EVENT] = event;
    document
}
