//! Decodes the events that the function is invoked with.

use audit_log_core::{tenant::TenantId, verification::VerificationRequest};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use chrono::{DateTime, Datelike as _, Utc};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, PartialEq)]
pub(crate) enum Input {
    /// The hourly rule fired at that time.
    Tick {
        time: DateTime<Utc>,
    },
    /// A tick has sent tenants through the queue.
    Batches(Vec<SqsMessage>),
    /// The rule for the hourly check fired at that time.
    Check {
        time: DateTime<Utc>,
    },
    /// A change in the console has left a notification in the tenant's outbox.
    Publish {
        tenant: TenantId,
    },
    /// An admin has asked for a retry or a replay. Any run that comes to the tenant goes on with its replay.
    Export {
        tenant: TenantId,
    },
    Verify(Box<VerificationRequest>),
}

/// The fields of an EventBridge event that are needed here; by "Events" in the EventBridge user guide.
#[derive(Deserialize)]
struct Scheduled {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    time: DateTime<Utc>,
}

/// The requests of this system's own rule and console. Their fields are checked by those who use them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Request {
    Check { time: DateTime<Utc> },
    Publish { tenant_id: String },
    Export { tenant_id: String },
    Replay { tenant_id: String },
    Verify(Box<VerificationRequest>),
}

/// Why an event is refused. The text says which events are accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0}; the exporter takes the scheduled event of an EventBridge rule, {{\"source\": \"aws.events\", \"detail-type\": \"Scheduled Event\", \"time\": \"2026-11-21T11:01:00Z\"}}, {{\"check\": {{\"time\": \"2026-11-21T11:31:00Z\"}}}}, {{\"publish\": {{\"tenantId\": \"…\"}}}}, {{\"export\": {{\"tenantId\": \"…\"}}}}, {{\"replay\": {{\"tenantId\": \"…\"}}}}, an event of the export queue, or a connection to verify, {{\"verify\": {{\"tenantId\", \"roleArn\", \"externalId\", \"bucket\", \"region\", \"prefix\", \"encryption\", \"kmsKeyArn\", \"bucketOwner\"}}}}"
)]
pub(crate) struct UnsupportedEvent(String);

/// # Errors
/// If it is none of the inputs, or its time is not in the years 1970 to 9999: a tick is never guessed from the clock alone.
pub(crate) fn decode(payload: Value) -> Result<Input, UnsupportedEvent> {
    if let Some(name) =
        ["check", "publish", "export", "replay", "verify"].into_iter().find(|name| payload.get(name).is_some())
    {
        let request = serde_json::from_value(payload).map_err(|error| {
            // serde's text may hold a value, and this one is logged.
            let has_no_value = ["unknown field", "missing field", "invalid value: map"];
            let text = error.to_string();
            let is_harmless = has_no_value.iter().any(|start| text.starts_with(start));
            UnsupportedEvent(if is_harmless { text } else { format!("{name:?} is not an object of the right texts") })
        })?;
        return match request {
            Request::Check { time } => Ok(Input::Check { time: plausible(time)? }),
            Request::Publish { tenant_id } => Ok(Input::Publish { tenant: parse_id(&tenant_id)? }),
            Request::Export { tenant_id } | Request::Replay { tenant_id } => {
                Ok(Input::Export { tenant: parse_id(&tenant_id)? })
            }
            Request::Verify(request) => Ok(Input::Verify(request)),
        };
    }
    if payload.get("Records").is_some() {
        let SqsEvent { records, .. } = serde_json::from_value(payload)
            .map_err(|_| UnsupportedEvent("\"Records\" is not the list of a queue's messages".to_owned()))?;
        let is_sqs = records.iter().all(|record| record.event_source.as_deref() == Some("aws:sqs"));
        return is_sqs
            .then_some(Input::Batches(records))
            .ok_or_else(|| UnsupportedEvent("these Records are not of SQS".to_owned()));
    }
    let scheduled: Scheduled = serde_json::from_value(payload).map_err(|error| UnsupportedEvent(error.to_string()))?;
    match (scheduled.source.as_str(), scheduled.detail_type.as_str()) {
        ("aws.events", "Scheduled Event") => Ok(Input::Tick { time: plausible(scheduled.time)? }),
        (source, detail_type) => Err(UnsupportedEvent(format!("this is a {detail_type:?} from {source:?}"))),
    }
}

fn parse_id(text: &str) -> Result<TenantId, UnsupportedEvent> {
    TenantId::parse(text).map_err(|invalid| UnsupportedEvent(invalid.to_string()))
}

/// Refuses times from which no hours can be counted, or whose year is not written with four digits.
fn plausible(time: DateTime<Utc>) -> Result<DateTime<Utc>, UnsupportedEvent> {
    let is_plausible = (1970..=9999).contains(&time.year());
    is_plausible.then_some(time).ok_or_else(|| UnsupportedEvent("\"time\" is not in the years 1970 to 9999".to_owned()))
}

#[cfg(test)]
mod tests {
    use audit_log_core::settings::Draft;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scheduled_event_is_a_tick_at_its_own_time() {
        let event = json!({
            "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
            "source": "aws.events", "account": "111111111111", "time": "2026-11-21T11:01:00Z",
            "region": "us-east-1", "resources": ["arn:aws:events:us-east-1:111111111111:rule/hourly"], "detail": {},
        });
        assert_eq!(decode(event), Ok(Input::Tick { time: "2026-11-21T11:01:00Z".parse().unwrap() }));
    }

    #[test]
    fn a_check_has_a_time_and_nothing_else() {
        let time = "2026-11-21T11:31:00Z";
        assert_eq!(decode(json!({ "check": { "time": time } })), Ok(Input::Check { time: time.parse().unwrap() }));
        for event in [
            json!({ "check": {} }),
            json!({ "check": time }),
            json!({ "check": { "time": "noon" } }),
            json!({ "check": { "time": time, "tenants": [] } }),
            json!({ "check": { "time": time }, "source": "aws.events", "detail-type": "Scheduled Event", "time": time }),
        ] {
            let refusal = decode(event.clone()).unwrap_err().to_string();
            assert!(refusal.contains(r#"{"check": {"time": "2026"#), "{event}: {refusal}");
        }
    }

    #[test]
    fn a_request_to_publish_or_to_export_names_one_tenant_and_nothing_else() {
        let tenant = || TenantId::parse("acme").unwrap();
        for (name, expected) in [
            ("publish", Input::Publish { tenant: tenant() }),
            ("export", Input::Export { tenant: tenant() }),
            ("replay", Input::Export { tenant: tenant() }),
        ] {
            assert_eq!(decode(json!({ name: { "tenantId": "acme" } })), Ok(expected));
            for event in [
                json!({ name: {} }),
                json!({ name: null }),
                json!({ name: "acme" }),
                json!({ name: { "tenantId": "" } }),
                json!({ name: { "tenantId": "acme#0" } }),
                json!({ name: { "tenantId": ["acme"] } }),
                json!({ name: { "tenantId": "acme", "kind": "failed" } }),
                json!({ name: { "tenantId": "acme" }, "source": "aws.events" }),
                json!({ name: { "tenantId": "acme" }, "verify": { "tenantId": "acme" } }),
            ] {
                let refusal = decode(event.clone()).unwrap_err().to_string();
                assert!(refusal.contains(&format!(r#"{{"{name}": {{"tenantId": "…"}}}}"#)), "{event}: {refusal}");
            }
        }
    }

    #[test]
    fn an_implausible_time_is_refused() {
        for (time, is_accepted) in [
            ("-262143-01-01T00:31:00Z", false),
            ("1969-12-31T23:59:59Z", false),
            ("1970-01-01T00:00:00Z", true),
            ("9999-12-31T23:59:59Z", true),
            ("+10000-01-01T00:00:00Z", false),
        ] {
            let tick = json!({ "source": "aws.events", "detail-type": "Scheduled Event", "time": time });
            for event in [tick, json!({ "check": { "time": time } })] {
                let refused = decode(event.clone()).map_err(|refusal| refusal.to_string());
                assert_eq!(refused.is_ok(), is_accepted, "{event}");
                assert!(refused.err().is_none_or(|it| it.contains("in the years 1970 to 9999")), "{event}");
            }
        }
    }

    #[test]
    fn a_connection_to_verify_may_be_without_a_bucket() {
        let text = |text: &str| Some(text.to_owned());
        let (role_arn, external_id) = (text("arn:aws:iam::222222222222:role/audit"), text("3f6c1d2e"));
        let draft = Draft { role_arn, external_id, ..Draft::default() };
        let body = json!({ "tenantId": "acme", "roleArn": "arn:aws:iam::222222222222:role/audit", "externalId": "3f6c1d2e", "bucket": null });
        let expected =
            Input::Verify(Box::new(VerificationRequest { tenant_id: "acme".to_owned(), draft: draft.clone() }));
        assert_eq!(decode(json!({ "verify": body })), Ok(expected));

        let (bucket, region, prefix) = (text("acme-audit"), text("eu-west-1"), text("security"));
        let (encryption, kms_key_arn, bucket_owner) = (text("sse-kms"), text("arn:aws:kms:x"), text("333333333333"));
        let draft = Draft { bucket, region, prefix, encryption, kms_key_arn, bucket_owner, ..draft };
        let body = json!({
            "tenantId": "acme", "roleArn": "arn:aws:iam::222222222222:role/audit", "externalId": "3f6c1d2e",
            "bucket": "acme-audit", "region": "eu-west-1", "prefix": "security", "encryption": "sse-kms",
            "kmsKeyArn": "arn:aws:kms:x", "bucketOwner": "333333333333",
        });
        let expected = Input::Verify(Box::new(VerificationRequest { tenant_id: "acme".to_owned(), draft }));
        assert_eq!(decode(json!({ "verify": body })), Ok(expected));
    }

    #[test]
    fn messages_of_a_queue_are_batches() {
        let event = json!({ "Records": [{
            "messageId": "2e1424d4-f796-459a-8184-9c92662be6da", "body": "{}", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:111111111111:exports", "awsRegion": "us-east-1",
        }] });
        let Ok(Input::Batches(messages)) = decode(event) else { panic!("no batches") };
        assert_eq!(messages[0].message_id.as_deref(), Some("2e1424d4-f796-459a-8184-9c92662be6da"));
    }

    #[test]
    fn a_malformed_verification_is_refused_without_repeating_its_values() {
        for (event, words) in [
            (json!({ "verify": { "tenantId": "acme", "externalID": "secret-id" } }), "unknown field `externalID`"),
            (json!({ "verify": { "externalId": "secret-id" } }), "missing field `tenantId`"),
            (json!({ "verify": { "tenantId": "acme" }, "tick": true }), "a single key"),
            (json!({ "verify": "secret-id" }), "an object of the right texts"),
            (json!({ "verify": { "tenantId": "acme", "externalId": ["secret-id"] } }), "an object of the right texts"),
            (json!({ "verify": null }), "an object of the right texts"),
        ] {
            let refusal = decode(event).unwrap_err().to_string();
            assert!(refusal.contains(words) && refusal.contains("\"roleArn\""), "{refusal}");
            assert!(!refusal.contains("secret-id"), "{refusal}");
        }
    }

    #[test]
    fn any_other_event_is_refused_with_a_list_of_the_accepted_ones() {
        for event in [
            json!({}),
            json!(null),
            json!("tick"),
            json!({ "source": "aws.events", "detail-type": "Scheduled Event" }),
            json!({ "source": "aws.events", "detail-type": "Scheduled Event", "time": "noon" }),
            json!({ "Records": [{ "eventSource": "aws:s3", "s3": {} }] }),
            json!({ "Records": "aws:sqs" }),
            json!({ "source": "aws.s3", "detail-type": "Object Created", "time": "2026-11-21T11:01:00Z" }),
        ] {
            let refusal = decode(event.clone()).unwrap_err().to_string();
            for input in [
                "Scheduled Event",
                "\"check\"",
                "\"publish\"",
                "\"export\"",
                "\"replay\"",
                "the export queue",
                "\"verify\"",
            ] {
                assert!(refusal.contains(input), "{event}: {refusal}");
            }
        }
    }
}
