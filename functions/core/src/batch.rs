//! A batch of due tenants: the message that hands them to another invocation.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::timestamp;

/// How many tenants a batch has at most: few enough that one invocation is done with them soon.
const TENANTS_PER_BATCH: usize = 25;

/// Tenants to be exported for a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The hour of the tick that found them due.
    pub tick: DateTime<Utc>,
    /// Their ids, as the index lists them.
    pub tenants: Vec<String>,
}

/// A batch as a message holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    tick: String,
    tenants: Vec<String>,
}

/// Why a message holds no batch. The text says what it should hold, and repeats nothing of what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body of a message is {{\"tick\": \"2026-11-21T11:00:00Z\", \"tenants\": [\"…\"]}} and nothing else")]
pub struct InvalidBatch;

impl Batch {
    /// The body of a message.
    pub fn to_body(&self) -> String {
        let body = Body { tick: timestamp::seconds(self.tick), tenants: self.tenants.clone() };
        // Serialising texts into memory has no way to fail.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Reads what [`Self::to_body`] writes.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(body: &str) -> Result<Self, InvalidBatch> {
        let Body { tick, tenants } = serde_json::from_str(body).map_err(|_| InvalidBatch)?;
        Ok(Self { tick: timestamp::parse_seconds(&tick).ok_or(InvalidBatch)?, tenants })
    }

    pub(crate) fn split(tick: DateTime<Utc>, tenants: &[String]) -> Vec<Self> {
        let batches = tenants.len().div_ceil(TENANTS_PER_BATCH);
        // Dealt like cards: in a small remainder, or in one batch of those who have waited longest, each could fail for a
        // reason of its own, and it would look as if nothing worked.
        let of_batch = |nth| tenants.iter().skip(nth).step_by(batches).cloned().collect();
        (0..batches).map(|nth| Self { tick, tenants: of_batch(nth) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written_and_nothing_else_is() {
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
