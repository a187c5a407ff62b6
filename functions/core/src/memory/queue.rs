//! A queue in memory.

use super::{Memory, Op};
use crate::{export::Batch, failure::Failure, ports::Queue};

impl Queue for Memory {
    async fn send(&self, batches: &[Batch]) -> Vec<(usize, Failure)> {
        let mut unsent = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            match self.pass(Op::Send, batch.tenants.first().map_or("", String::as_str)).await {
                Ok(()) => self.state().queue.push(batch.clone()),
                Err(failure) => unsent.push((at, failure)),
            }
        }
        unsent
    }
}
