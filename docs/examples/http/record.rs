//! Records audit events over HTTP. Needs `rand`, `reqwest` (with a TLS feature, as by default), `serde_json`, and `tokio`
//! (`macros`, `rt-multi-thread`, `time`).

use std::{env, error::Error, time::Duration};

use reqwest::{Client, StatusCode, header};
use serde_json::{Value, json};

const ATTEMPTS: u32 = 7;
const RETRIED: [u16; 5] = [429, 500, 502, 503, 504];

struct Answer {
    status: StatusCode,
    text: String,
    retry_after: u64,
}

async fn post(http: &Client, body: String, api: &str, token: &str) -> reqwest::Result<Answer> {
    let request = http.post(format!("{api}/v1/events")).bearer_auth(token).body(body);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let answer = request.timeout(Duration::from_secs(35)).send().await?; // the API answers within 30 seconds
    let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
    Ok(Answer { status: answer.status(), retry_after: retry_after.unwrap_or(0), text: answer.text().await? })
}

/// Sends events, each with an id of its own, and returns the result of each.
async fn record(http: &Client, events: &[Value], api: &str, token: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let body = json!({ "events": events }).to_string();
    let mut attempt = 0;
    loop {
        let (failure, retry_after) = match post(http, body.clone(), api, token).await {
            Ok(Answer { status, text, .. }) if !RETRIED.contains(&status.as_u16()) => {
                let mut answer: Value = serde_json::from_str(&text).unwrap_or_default();
                if let Some(Value::Array(results)) = answer.get_mut("results").map(Value::take) {
                    return Ok(results);
                }
                let refusal = format!("the request is refused, {status}: {text}");
                return Err(format!("{refusal}; an earlier attempt may have stored events").into());
            }
            Ok(Answer { status, text, retry_after }) => (format!("{status}: {text}"), retry_after),
            Err(malformed) if malformed.is_builder() => return Err(malformed.into()),
            Err(lost) => (format!("{lost:?}"), 0),
        };
        if attempt == ATTEMPTS - 1 {
            return Err(format!("keep the events with their ids, and send them later: {failure}").into());
        }
        let backoff = Duration::from_millis(rand::random_range(500..1_000) << attempt);
        tokio::time::sleep(backoff.max(Duration::from_secs(retry_after))).await;
        attempt += 1;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let login = json!({
        "id": format!("{:032x}", rand::random::<u128>()),
        "logType": "Authentication",
        "action": "Login",
        "user": { "id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example" },
        "additionalInfo": { "ip": "192.0.2.7", "mfa": true },
    });
    for result in record(&Client::new(), &[login], &env::var("API")?, &env::var("EVENTS_TOKEN")?).await? {
        // Correct an event that is refused: sending it again doesn't help.
        let text = |name: &str| result[name].as_str().unwrap_or_default();
        println!("{} {}", text("status"), text("reason"));
    }
    Ok(())
}
