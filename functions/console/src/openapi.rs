//! The OpenAPI document of this API, generated from its handlers and types.

use audit_log_web::problem::Problem;
use axum::response::IntoResponse;
use http::header;
use utoipa::{
    Modify, OpenApi, ToSchema as _,
    openapi::{
        self, Content, ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{connector, exports, logs, manifest_keys, replays, retry, rotation, settings, status, verification};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Audit log export",
        description = "Connects a tenant's own S3 bucket, verifies it, sets the schedule, and reads the tenant's audit \
            logs. The tenant comes from the access token alone. Refusals are problem details (RFC 9457) with stable \
            codes."
    ),
    paths(
        connector::read,
        connector::connect,
        connector::disconnect,
        rotation::start,
        rotation::cancel,
        settings::read,
        settings::save,
        verification::verify,
        exports::list,
        retry::retry,
        replays::create,
        replays::read,
        replays::delete,
        replays::read_preview,
        manifest_keys::list,
        status::read,
        logs::list,
        logs::summary,
        logs::csv
    ),
    components(schemas(Problem)),
    modifiers(&CommonResponses)
)]
struct Api;

/// Adds the access token, and to each operation the refusals that it shares with others.
struct CommonResponses;

impl Modify for CommonResponses {
    fn modify(&self, api: &mut openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = api.components.get_or_insert_default();
        components.security_schemes.insert("token".to_owned(), SecurityScheme::Http(scheme).into());
        api.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
        for item in api.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                add_refusals(operation);
            }
        }
    }
}

fn add_refusals(operation: &mut Operation) {
    let parameters = operation.parameters.is_some() || operation.request_body.is_some();
    let body = operation.request_body.is_some();
    // An operation with a security requirement of its own is public.
    let token = operation.security.is_none();
    for (applies, status, description) in [
        (parameters, "400", "The request can't be read. The parameter or the place is named"),
        (token, "401", "An access token is missing, has expired, or isn't valid"),
        (token, "403", "The access token lacks the permission"),
        (body, "413", "The body is too large"),
        (body, "415", "The body is not sent as JSON"),
        (true, "503", "The service is unavailable. Retry-After says when to try again"),
    ] {
        if applies {
            operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(refusal(description)));
        }
    }
}

fn refusal(description: &str) -> Response {
    let content: Content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

/// As JSON.
pub fn document() -> String {
    // Strings and numbers always serialize.
    Api::openapi().to_pretty_json().unwrap_or_default()
}

/// Needs no access token.
pub(crate) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}
