//! Tests of invocations with Lambda's payloads.

use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;

use super::{
    queue::{batch, message_body},
    *,
};

impl Bench {
    async fn invoke(&self, payload: &Value, left: TimeDelta) -> Result<Value, String> {
        let mut context = Context::default();
        let now = start() + TimeDelta::milliseconds(self.clock.load(Relaxed));
        context.deadline = u64::try_from((now + left).timestamp_millis()).unwrap();
        let payload = RawValue::from_string(payload.to_string()).unwrap();
        let answer = crate::invocation::handle(&self.store, &self.router, LambdaEvent::new(payload, context)).await;
        answer.map(|answer| serde_json::from_str(answer.get()).unwrap()).map_err(|error| error.to_string())
    }

    /// By "Create AWS Lambda proxy integrations for HTTP APIs" in the API Gateway developer guide.
    fn request(&self, body: &Value) -> Value {
        let bearer = format!("Bearer {}", self.token("acme"));
        json!({
            "version": "2.0", "routeKey": "POST /v1/events", "rawPath": "/v1/events", "rawQueryString": "",
            "headers": { "authorization": bearer, "content-type": "application/json", "host": "api.test" },
            "requestContext": {
                "accountId": "111111111111", "apiId": "a", "domainName": "api.test", "domainPrefix": "api",
                "http": {
                    "method": "POST", "path": "/v1/events", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                    "userAgent": "curl",
                },
                "requestId": "r", "routeKey": "POST /v1/events", "stage": "$default",
                "time": "21/Nov/2026:10:03:12 +0000", "timeEpoch": 1_795_255_392_345_u64,
            },
            "body": body.to_string(), "isBase64Encoded": false,
        })
    }
}

const MINUTE: TimeDelta = TimeDelta::minutes(1);

#[tokio::test]
async fn a_request_of_an_http_api_gets_an_http_response() {
    let bench = Bench::new();
    let answer = bench.invoke(&bench.request(&json!({ "events": [login("l-1")] })), MINUTE).await.unwrap();
    assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&json!(200), &json!(false)));
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!((statuses(&body), bench.ids("acme")), (vec!["recorded"], vec!["l-1".to_owned()]));

    let answer = bench.invoke(&bench.request(&json!({ "events": [7] })), MINUTE).await.unwrap();
    assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&json!(422), &json!(false)));
    assert_eq!(answer["headers"]["content-type"], "application/problem+json");
}

#[tokio::test]
async fn a_batch_of_a_queue_is_answered_with_its_failed_messages() {
    let bench = Bench::new();
    let answer = bench.invoke(&batch(&[message_body("acme", &scan()), "hello".to_owned()]), MINUTE).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "m-1" }] }));
    let answer = bench.invoke(&batch(&[message_body("acme", &scan())]), MINUTE).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
}

#[tokio::test]
async fn close_to_its_deadline_the_function_answers_without_starting_writes() {
    let bench = Bench::new();
    let soon = TimeDelta::seconds(2);
    let answer = bench.invoke(&batch(&[message_body("acme", &scan())]), soon).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "m-0" }] }));
    let answer = bench.invoke(&bench.request(&json!({ "events": [login("l-1")] })), soon).await.unwrap();
    assert_eq!((&answer["statusCode"], &answer["headers"]["retry-after"]), (&json!(503), &json!("5")));
    assert!(bench.recorder.started.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_before_its_api_times_out_even_if_the_function_may_run_longer() {
    let bench = Bench::new();
    *bench.recorder.hangs.lock().unwrap() = true;
    let start_time = tokio::time::Instant::now();
    let answer = bench.invoke(&bench.request(&json!({ "events": [login("l-1")] })), MINUTE * 15).await.unwrap();
    assert_eq!(answer["statusCode"], 503);
    assert!(start_time.elapsed() < std::time::Duration::from_secs(29), "{:?}", start_time.elapsed());
}

#[tokio::test]
async fn any_other_event_is_refused_without_repeating_it() {
    let bench = Bench::new();
    let mut foreign = batch(&["secret".to_owned()]);
    foreign["Records"][0]["eventSource"] = json!("aws:sns");
    let mut damaged = batch(&["x".to_owned()]);
    damaged["Records"][0]["body"] = json!(["secret"]);
    for event in [
        foreign,
        damaged,
        json!({ "Records": [] }),
        json!({ "Records": "secret" }),
        json!({ "requestContext": { "elb": {} }, "httpMethod": "POST", "body": "secret" }),
        json!({ "source": "aws.events", "detail-type": "Scheduled Event" }),
        json!({ "secret": 1 }),
        json!("secret"),
        json!(null),
    ] {
        let refusal = bench.invoke(&event, MINUTE).await.unwrap_err();
        assert!(refusal.contains("aws:sqs") && refusal.contains("HTTP API"), "{event}: {refusal}");
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}
