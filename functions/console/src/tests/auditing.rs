//! What the audit events say of the requests that caused them, and which other requests are audit events.

use super::*;

/// Sends a request of a client with a name and a token with an id.
async fn send(world: &World, permission: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    let mut claims = world.issuer.claims("acme", &[permission]);
    claims["jti"] = "t-1".into();
    let headers = [("user-agent", "curl/8.9.1"), ("if-match", "*"), ("x-forwarded-for", "192.0.2.1")];
    world.send(&world.issuer.token(&claims), method, path, &headers, body).await
}

#[tokio::test]
async fn every_act_of_an_admin_is_recorded_with_client_and_token() {
    let world = World::new();
    for (method, path, body) in [
        ("GET", "/v1/connector", None),
        ("PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))),
        ("PUT", "/v1/export-settings", Some(settings("acme"))),
        ("POST", "/v1/export-settings/verify", None),
        ("POST", "/v1/connector/external-id", None),
        ("DELETE", "/v1/connector/external-id", None),
        ("GET", "/v1/audit-logs.csv", None),
        ("DELETE", "/v1/connector", None),
    ] {
        let answer = send(&world, ADMIN, method, path, body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
    }
    for action in [
        "External ID Viewed",
        "Connection Check Passed",
        "Connector Connected",
        "Export Settings Changed",
        "External ID Rotation Started",
        "External ID Rotation Cancelled",
        "Audit Logs Downloaded",
        "Connector Disconnected",
    ] {
        let events = world.recorded("acme", action);
        assert!(!events.is_empty(), "{action}");
        for event in events {
            let client = json!({ "userAgent": "curl/8.9.1", "tokenId": "t-1" });
            assert_eq!(event["additionalInfo"]["client"], client, "{action}");
        }
    }
}

#[tokio::test]
async fn only_the_first_look_at_an_external_id_is_recorded() {
    let world = World::new();
    for _ in 0..3 {
        assert_eq!(world.admin("acme", "GET", "/v1/connector", None).await.status, 200);
    }
    world.onboard("acme").await;
    assert_eq!(world.recorded("acme", "External ID Viewed").len(), 1);
    assert!(world.recorded("globex", "External ID Viewed").is_empty());
    assert!(world.recorded("acme", "External ID Viewed")[0]["user"]["email"] == "ada@acme.example");
}

#[tokio::test]
async fn a_connection_check_names_the_whole_destination() {
    let world = World::with("acme").await;
    let key = "arn:aws:kms:eu-west-1:222222222222:key/11111111-2222-3333-4444-555555555555";
    let body = json!({
        "bucket": "acme-audit-logs", "region": "eu-west-1", "prefix": "security", "encryption": "sse-kms",
        "kmsKeyArn": key, "bucketOwner": "222222222222",
    });
    let answer = world.admin("acme", "POST", "/v1/export-settings/verify", Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let events = world.recorded("acme", "Connection Check Passed");
    let info = events.iter().map(|event| &event["additionalInfo"]).find(|info| info["purpose"] == "check").unwrap();
    let destination = ["bucket", "region", "prefix", "kmsKeyArn", "bucketOwner"].map(|name| info[name].clone());
    assert_eq!(destination, ["acme-audit-logs", "eu-west-1", "security", key, "222222222222"]);
}

#[tokio::test]
async fn a_download_is_recorded_with_its_period_filters_and_size_before_it_is_answered() {
    let world = World::with("acme").await;
    world.event("acme", 5, "Login");
    world.event("acme", 4, "Logout");
    let path = "/v1/audit-logs.csv?from=2026-11-21&to=2026-11-22&action=Login&q=ada";
    assert_eq!(send(&world, READ, "GET", path, None).await.status, 200);
    let events = world.recorded("acme", "Audit Logs Downloaded");
    let expected = json!({
        "from": "2026-11-21T00:00:00.000Z", "to": "2026-11-22T00:00:00.000Z",
        "filters": { "action": ["Login"], "q": "ada" }, "events": 1,
        "client": { "userAgent": "curl/8.9.1", "tokenId": "t-1" },
    });
    assert_eq!(events.iter().map(|event| &event["additionalInfo"]).collect::<Vec<_>>(), [&expected]);

    let broken = Failure::new(Code::Unavailable, "DynamoDB does not answer.");
    world.fakes.once(Op::Record, None, Fault::Fail(broken));
    let refused = world.get("acme", path).await;
    assert_eq!(refused.refusal(), (503, "unavailable".to_owned()), "nothing leaves unrecorded");
    // A list is no download, nor is a refused one.
    assert_eq!(world.get("acme", "/v1/audit-logs").await.status, 200);
    assert_eq!(world.get("acme", "/v1/audit-logs.csv?bom=yes").await.status, 400);
    assert_eq!(world.recorded("acme", "Audit Logs Downloaded").len(), 1);
}

#[tokio::test]
async fn every_answer_is_kept_by_nobody_and_taken_for_nothing_else() {
    let world = World::with("acme").await;
    let mut answers = vec![world.send("", "GET", "/openapi.json", &[], None).await];
    for (method, path, _) in refusals::operations() {
        answers.push(world.admin("acme", &method, &path, None).await);
        answers.push(world.send("", &method, &path, &[], None).await);
    }
    answers.push(world.admin("acme", "GET", "/v1/nothing", None).await);
    answers.push(world.admin("acme", "PATCH", "/v1/connector", None).await);
    for answer in answers {
        let headers = ["cache-control", "x-content-type-options", "strict-transport-security"];
        let values = headers.map(|name| answer.header(name));
        assert_eq!(values, ["no-store", "nosniff", "max-age=31536000"], "{} {}", answer.status, answer.text);
    }
}
