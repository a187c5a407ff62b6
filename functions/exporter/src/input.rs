//! What the function can be invoked with.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// A decoded event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The hourly rule fired at that time.
    Tick { time: DateTime<Utc> },
}

/// The parts of an EventBridge event that matter here; by "Events" in the EventBridge user guide.
#[derive(Deserialize)]
struct Scheduled {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    time: DateTime<Utc>,
}

/// Why an event is none of ours. The text says what would be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0}; the exporter takes the scheduled event of an EventBridge rule: {{\"source\": \"aws.events\", \"detail-type\": \"Scheduled Event\", \"time\": \"2026-11-21T11:01:00Z\"}}"
)]
pub(crate) struct NotForUs(String);

/// Reads an event.
///
/// # Errors
/// If it is anything but a scheduled event of EventBridge with a time: a tick is never guessed from the clock alone.
pub(crate) fn decode(payload: Value) -> Result<Input, NotForUs> {
    let scheduled: Scheduled = serde_json::from_value(payload).map_err(|error| NotForUs(error.to_string()))?;
    match (scheduled.source.as_str(), scheduled.detail_type.as_str()) {
        ("aws.events", "Scheduled Event") => Ok(Input::Tick { time: scheduled.time }),
        (source, detail_type) => Err(NotForUs(format!("this is a {detail_type:?} from {source:?}"))),
    }
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
    fn anything_else_is_refused_with_what_was_expected() {
        for event in [
            json!({}),
            json!(null),
            json!("tick"),
            json!({ "source": "aws.events", "detail-type": "Scheduled Event" }),
            json!({ "source": "aws.events", "detail-type": "Scheduled Event", "time": "noon" }),
            json!({ "source": "aws.s3", "detail-type": "Object Created", "time": "2026-11-21T11:01:00Z" }),
        ] {
            let refusal = decode(event.clone()).unwrap_err().to_string();
            assert!(refusal.contains("Scheduled Event"), "{event}: {refusal}");
        }
    }
}
