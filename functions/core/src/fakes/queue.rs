//! A queue in memory.

use super::{Fakes, Op};
use crate::{batch::Batch, failure::Failure, ports::Queue};

impl Queue for Fakes {
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
