//! A batch: the message that sends due tenants to another invocation.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::timestamp;

/// Few enough that one invocation exports them soon.
const MAX_TENANTS_PER_BATCH: usize = 25;

/// Tenants to export for a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The hour of the tick that found them due.
    pub tick: DateTime<Utc>,
    /// Their ids, as the index lists them.
    pub tenants: Vec<String>,
}

/// The body of a message.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    tick: String,
    tenants: Vec<String>,
}

/// The error for a message that is no batch. Its text repeats nothing of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body of a message is {{\"tick\": \"2026-11-21T11:00:00Z\", \"tenants\": [\"…\"]}} and nothing else")]
pub struct InvalidBatch;

impl Batch {
    pub fn to_body(&self) -> String {
        let body = Message { tick: timestamp::seconds(self.tick), tenants: self.tenants.clone() };
        // Serializing strings into memory can't fail.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Parses what [`Self::to_body`] writes.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(body: &str) -> Result<Self, InvalidBatch> {
        let Message { tick, tenants } = serde_json::from_str(body).map_err(|_| InvalidBatch)?;
        Ok(Self { tick: timestamp::parse_seconds(&tick).ok_or(InvalidBatch)?, tenants })
    }

    pub(crate) fn split(tick: DateTime<Utc>, tenants: &[String]) -> Vec<Self> {
        let batches = tenants.len().div_ceil(MAX_TENANTS_PER_BATCH);
        // Tenants are assigned in turns. In a small last batch, or in one batch of the longest due, all could fail for reasons
        // of their own, and it would look as if the platform had failed.
        let of_batch = |nth| tenants.iter().skip(nth).step_by(batches).cloned().collect();
        (0..batches).map(|nth| Self { tick, tenants: of_batch(nth) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_parsed_as_it_was_written_and_nothing_else_is() {
        let batch = Batch { tick: "2026-11-21T11:00:00Z".parse().unwrap(), tenants: vec!["acme".to_owned()] };
        assert_eq!(batch.to_body(), r#"{"tick":"2026-11-21T11:00:00Z","tenants":["acme"]}"#);
        assert_eq!(Batch::parse(&batch.to_body()), Ok(batch));
        for body in [
            "",
            "{}",
            r#"{"tick":"2026-11-21T11:00:00Z"}"#,
            r#"{"tick":"noon","tenants":["acme"]}"#,
            r#"{"tick":"2026-11-21T11:00:00Z","tenants":"acme"}"#,
            r#"{"tick":"2026-11-21T11:00:00Z","tenants":["acme"],"bucket":"other"}"#,
        ] {
            assert_eq!(Batch::parse(body), Err(InvalidBatch), "{body}");
        }
    }
}
