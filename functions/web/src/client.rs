//! From where a request was sent, for audit events.

use std::net::IpAddr;

use audit_log_core::system_events::Client;
use http::{header, request::Parts};
use lambda_http::{RequestExt as _, request::RequestContext};

use crate::origin::ThroughCdn;

/// Longer ones are cut.
const MAX_USER_AGENT_CHARS: usize = 256;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The access token has the token id.
pub(crate) fn client(parts: &Parts, token_id: Option<&str>) -> Client {
    let user_agent = parts.headers.get(header::USER_AGENT).map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.chars().take(MAX_USER_AGENT_CHARS).collect()
    });
    Client { ip_address: ip_address(parts), user_agent, token_id: token_id.map(str::to_owned) }
}

/// The sender of the TCP connection to the API, which no client can choose. Behind CloudFront, that is CloudFront, which
/// appends the address of its own client to X-Forwarded-For ("Request and response behavior for custom origins", section
/// "Client IP addresses", in the CloudFront developer guide). API Gateway may append CloudFront's. All entries before are
/// the client's own.
fn ip_address(parts: &Parts) -> Option<String> {
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok();
    let peer = match parts.extensions.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref().and_then(parse),
        _ => None,
    };
    let viewer = || {
        let lines = parts.headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|value| value.to_str().ok());
        let mut entries = lines.flat_map(|line| line.rsplit(',')).map(parse);
        entries.find(|entry| *entry != peer).flatten()
    };
    let is_through_cdn = parts.extensions.get::<ThroughCdn>().is_some();
    viewer().filter(|_| is_through_cdn).or(peer).map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::Request, routing::any};
    use lambda_http::LambdaEvent;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        invocation,
        origin::{self, OriginSecret},
    };

    const SECRET: &str = "the-secret-of-cloudfront";
    const PEER: &str = "198.51.100.9";

    /// The client of a request from that peer, as an event has it.
    async fn seen(secret: Option<&str>, headers: Value) -> Value {
        let secret = OriginSecret::from_lookup(|_| secret.map(str::to_owned)).unwrap();
        let echo = async |request: Request| {
            let (parts, _) = request.into_parts();
            serde_json::to_string(&client(&parts, Some("t-1"))).unwrap()
        };
        let router = origin::guard(Router::new().fallback(any(echo)), secret);
        let request = json!({
            "version": "2.0", "rawPath": "/v1/connector", "rawQueryString": "", "headers": headers,
            "requestContext": {
                "domainName": "api.test", "stage": "$default", "timeEpoch": 0,
                "http": { "method": "GET", "path": "/v1/connector", "sourceIp": PEER },
            },
            "isBase64Encoded": false,
        });
        let event = LambdaEvent::new(serde_json::from_value(request).unwrap(), lambda_http::Context::default());
        let answer = serde_json::to_value(invocation::answer(router, event).await.unwrap()).unwrap();
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_client_can_not_choose_its_address() {
        for forged in ["203.0.113.7", "203.0.113.7, 192.0.2.1", PEER, "not an address", ""] {
            let client = seen(None, json!({ "x-forwarded-for": forged })).await;
            assert_eq!(client["ipAddress"], PEER, "{forged}");
        }
        // CloudFront appends the viewer's address, and API Gateway perhaps CloudFront's.
        for (forwarded, address) in [
            ("203.0.113.7", "203.0.113.7"),
            ("192.0.2.1, 203.0.113.7", "203.0.113.7"),
            ("192.0.2.1, 203.0.113.7, 198.51.100.9", "203.0.113.7"),
            ("198.51.100.9, 2001:db8::7,198.51.100.9", "2001:db8::7"),
            ("192.0.2.1, nonsense", PEER),
            ("", PEER),
        ] {
            let headers = json!({ "x-forwarded-for": forwarded, "x-origin-secret": SECRET });
            assert_eq!(seen(Some(SECRET), headers).await["ipAddress"], address, "{forwarded}");
        }
    }

    #[tokio::test]
    async fn a_user_agent_is_cut_and_the_token_id_is_kept() {
        let client = seen(None, json!({ "user-agent": "x".repeat(5000) })).await;
        assert_eq!(client, json!({ "ipAddress": PEER, "userAgent": "x".repeat(256), "tokenId": "t-1" }));
        assert_eq!(seen(None, json!({})).await, json!({ "ipAddress": PEER, "tokenId": "t-1" }));
    }
}
