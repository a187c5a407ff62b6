//! What the function can be invoked with.

use audit_log_core::{settings::Draft, tenant::TenantId, verification::VerificationRequest};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use chrono::{DateTime, Datelike as _, Utc};
use serde::Deserialize;
use serde_json::Value;

/// A decoded event.
#[derive(Debug, PartialEq)]
pub(crate) enum Input {
    /// The hourly rule fired at that time.
    Tick { time: DateTime<Utc> },
    /// A tick has handed tenants over.
    Batches(Vec<SqsMessage>),
    /// The rule for the hourly check fired at that time.
    Check { time: DateTime<Utc> },
    /// A change in the console has left a notification in a tenant's outbox.
    Publish { tenant: TenantId },
    /// Someone wants to know whether a connection would work.
    Verify(Box<VerificationRequest>),
}

/// The parts of an EventBridge event that matter here; by "Events" in the EventBridge user guide.
#[derive(Deserialize)]
struct Scheduled {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    time: DateTime<Utc>,
}

/// What the rule for the hourly check makes of its event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    check: Checked,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked {
    time: DateTime<Utc>,
}

/// What the console sends after a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    publish: Published,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Published {
    tenant_id: String,
}

/// The body of a verification. Nothing but its shape is checked here: what its fields hold is the core's matter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verification {
    verify: Connection,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Connection {
    tenant_id: String,
    role_arn: Option<String>,
    external_id: Option<String>,
    bucket: Option<String>,
    region: Option<String>,
    prefix: Option<String>,
    kms_key_arn: Option<String>,
    bucket_owner: Option<String>,
}

impl From<Verification> for Input {
    fn from(Verification { verify }: Verification) -> Self {
        let Connection { tenant_id, role_arn, external_id, bucket, region, prefix, kms_key_arn, bucket_owner } = verify;
        let draft =
            Draft { role_arn, external_id, bucket, region, prefix, kms_key_arn, bucket_owner, ..Draft::default() };
        Self::Verify(Box::new(VerificationRequest { tenant_id, draft }))
    }
}

/// Why an event is none of ours. The text says what would be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0}; the exporter takes the scheduled event of an EventBridge rule, {{\"source\": \"aws.events\", \"detail-type\": \"Scheduled Event\", \"time\": \"2026-11-21T11:01:00Z\"}}, {{\"check\": {{\"time\": \"2026-11-21T11:31:00Z\"}}}}, {{\"publish\": {{\"tenantId\": \"…\"}}}}, an event of the export queue, or a connection to verify, {{\"verify\": {{\"tenantId\", \"roleArn\", \"externalId\", \"bucket\", \"region\", \"prefix\", \"kmsKeyArn\", \"bucketOwner\"}}}}"
)]
pub(crate) struct NotForUs(String);

/// Reads an event.
///
/// # Errors
/// If it is anything but a connection to verify, an hourly check, a tenant whose outbox is to be published, messages of a
/// queue, or a scheduled event of EventBridge with a time in the years 1970 to 9999: a tick is never guessed from the clock
/// alone.
pub(crate) fn decode(payload: Value) -> Result<Input, NotForUs> {
    if payload.get("verify").is_some() {
        let verification: Verification = serde_json::from_value(payload).map_err(|error| {
            // serde's text may hold a value, and this one ends in the log.
            NotForUs(match error.to_string() {
                text if text.starts_with("unknown field") || text.starts_with("missing field") => text,
                _ => "\"verify\" is an object of texts".to_owned(),
            })
        })?;
        return Ok(verification.into());
    }
    if payload.get("check").is_some() {
        let Check { check: Checked { time } } =
            serde_json::from_value(payload).map_err(|error| NotForUs(error.to_string()))?;
        return Ok(Input::Check { time: plausible(time)? });
    }
    if payload.get("publish").is_some() {
        let Publish { publish: Published { tenant_id } } =
            serde_json::from_value(payload).map_err(|error| NotForUs(error.to_string()))?;
        let tenant = TenantId::parse(&tenant_id).map_err(|invalid| NotForUs(invalid.to_string()))?;
        return Ok(Input::Publish { tenant });
    }
    if payload.get("Records").is_some() {
        let SqsEvent { records, .. } = serde_json::from_value(payload)
            .map_err(|_| NotForUs("\"Records\" is not the list of a queue's messages".to_owned()))?;
        let ours = records.iter().all(|record| record.event_source.as_deref() == Some("aws:sqs"));
        return if ours {
            Ok(Input::Batches(records))
        } else {
            Err(NotForUs("these Records are not of SQS".to_owned()))
        };
    }
    let scheduled: Scheduled = serde_json::from_value(payload).map_err(|error| NotForUs(error.to_string()))?;
    match (scheduled.source.as_str(), scheduled.detail_type.as_str()) {
        ("aws.events", "Scheduled Event") => Ok(Input::Tick { time: plausible(scheduled.time)? }),
        (source, detail_type) => Err(NotForUs(format!("this is a {detail_type:?} from {source:?}"))),
    }
}

/// A time that hours can be counted from, back and ahead, and that is written with a year of four digits.
fn plausible(time: DateTime<Utc>) -> Result<DateTime<Utc>, NotForUs> {
    let is_plausible = (1970..=9999).contains(&time.year());
    is_plausible.then_some(time).ok_or_else(|| NotForUs("\"time\" is not in the years 1970 to 9999".to_owned()))
}

#[cfg(test)]
mod tests {
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
    fn a_check_is_told_from_a_tick_by_more_than_its_time() {
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
    fn a_request_to_publish_names_one_tenant_and_nothing_else() {
        let tenant = TenantId::parse("acme").unwrap();
        assert_eq!(decode(json!({ "publish": { "tenantId": "acme" } })), Ok(Input::Publish { tenant }));
        for event in [
            json!({ "publish": {} }),
            json!({ "publish": null }),
            json!({ "publish": "acme" }),
            json!({ "publish": { "tenantId": "" } }),
            json!({ "publish": { "tenantId": "acme#0" } }),
            json!({ "publish": { "tenantId": ["acme"] } }),
            json!({ "publish": { "tenantId": "acme", "kind": "failed" } }),
            json!({ "publish": { "tenantId": "acme" }, "source": "aws.events" }),
        ] {
            let refusal = decode(event.clone()).unwrap_err().to_string();
            assert!(refusal.contains(r#"{"publish": {"tenantId": "…"}}"#), "{event}: {refusal}");
        }
    }

    #[test]
    fn a_time_that_no_clock_shows_is_refused() {
        for (time, is_taken) in [
            ("-262143-01-01T00:31:00Z", false),
            ("1969-12-31T23:59:59Z", false),
            ("1970-01-01T00:00:00Z", true),
            ("9999-12-31T23:59:59Z", true),
            ("+10000-01-01T00:00:00Z", false),
        ] {
            let tick = json!({ "source": "aws.events", "detail-type": "Scheduled Event", "time": time });
            for event in [tick, json!({ "check": { "time": time } })] {
                let refused = decode(event.clone()).map_err(|refusal| refusal.to_string());
                assert_eq!(refused.is_ok(), is_taken, "{event}");
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
        let (kms_key_arn, bucket_owner) = (text("arn:aws:kms:x"), text("333333333333"));
        let draft = Draft { bucket, region, prefix, kms_key_arn, bucket_owner, ..draft };
        let body = json!({
            "tenantId": "acme", "roleArn": "arn:aws:iam::222222222222:role/audit", "externalId": "3f6c1d2e",
            "bucket": "acme-audit", "region": "eu-west-1", "prefix": "security", "kmsKeyArn": "arn:aws:kms:x",
            "bucketOwner": "333333333333",
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
    fn a_malformed_verification_is_refused_without_repeating_what_it_holds() {
        for (event, words) in [
            (json!({ "verify": { "tenantId": "acme", "externalID": "secret-id" } }), "unknown field `externalID`"),
            (json!({ "verify": { "externalId": "secret-id" } }), "missing field `tenantId`"),
            (json!({ "verify": { "tenantId": "acme" }, "tick": true }), "unknown field `tick`"),
            (json!({ "verify": "secret-id" }), "an object of texts"),
            (json!({ "verify": { "tenantId": "acme", "externalId": ["secret-id"] } }), "an object of texts"),
            (json!({ "verify": null }), "an object of texts"),
        ] {
            let refusal = decode(event).unwrap_err().to_string();
            assert!(refusal.contains(words) && refusal.contains("\"roleArn\""), "{refusal}");
            assert!(!refusal.contains("secret-id"), "{refusal}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_was_expected() {
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
            for input in ["Scheduled Event", "\"check\"", "\"publish\"", "the export queue", "\"verify\""] {
                assert!(refusal.contains(input), "{event}: {refusal}");
            }
        }
    }
}
