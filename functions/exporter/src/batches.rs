//! Decodes the queue's messages, which hold batches of due tenants, and answers which of them failed.
//!
//! The queue delivers a failed message again and in the end moves it to the dead-letter queue; by "Handling errors for an SQS
//! event source in Lambda" in the Lambda developer guide.

use audit_log_core::batch::Batch;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};

pub(crate) struct Messages {
    pub(crate) batches: Vec<Batch>,
    /// The message ids of the batches.
    ids: Vec<Option<String>>,
    unreadable: Vec<Option<String>>,
}

impl Messages {
    pub(crate) fn read(messages: Vec<SqsMessage>) -> Self {
        let mut read = Self { batches: Vec::new(), ids: Vec::new(), unreadable: Vec::new() };
        for SqsMessage { message_id, body, .. } in messages {
            match Batch::parse(body.as_deref().unwrap_or_default()) {
                Ok(batch) => {
                    read.batches.push(batch);
                    read.ids.push(message_id);
                }
                Err(reason) => {
                    tracing::error!(message_id, %reason, "a message is refused");
                    read.unreadable.push(message_id);
                }
            }
        }
        read
    }

    /// Names each message that failed; `failed` has the indexes of batches.
    pub(crate) fn answer(&self, failed: &[usize]) -> SqsBatchResponse {
        let failed = failed.iter().filter_map(|index| self.ids.get(*index));
        let mut response = SqsBatchResponse::default();
        for message_id in self.unreadable.iter().chain(failed) {
            let mut failure = BatchItemFailure::default();
            // A message without an id can't be named. A blank name fails the whole batch, so that nothing is lost.
            failure.item_identifier = message_id.clone().unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: Option<&str>, body: &str) -> SqsMessage {
        let mut message = SqsMessage::default();
        (message.message_id, message.body) = (id.map(str::to_owned), Some(body.to_owned()));
        message
    }

    fn failed_ids(response: &SqsBatchResponse) -> Vec<&str> {
        response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
    }

    #[test]
    fn only_unreadable_and_failed_messages_are_delivered_again() {
        let body = |tenant: &str| format!(r#"{{"tick":"2026-11-21T11:00:00Z","tenants":["{tenant}"]}}"#);
        let messages = Messages::read(vec![
            message(Some("a"), &body("acme")),
            message(Some("b"), "no batch"),
            message(Some("c"), &body("globex")),
            message(None, &body("initech")),
        ]);
        assert_eq!(messages.batches.len(), 3);
        assert_eq!(failed_ids(&messages.answer(&[])), ["b"]);
        assert_eq!(failed_ids(&messages.answer(&[1])), ["b", "c"]);
        assert_eq!(failed_ids(&messages.answer(&[2])), ["b", ""]);
    }
}
