//! A bus in memory.

use super::{Memory, Op};
use crate::{failure::Failure, notice::Notice, ports::Bus};

impl Bus for Memory {
    async fn publish(&self, notices: &[Notice]) -> Vec<(usize, Failure)> {
        let mut unpublished = Vec::new();
        for (at, notice) in notices.iter().enumerate() {
            match self.pass(Op::Publish, notice.tenant.as_str()).await {
                Ok(()) => self.state().notices.push(notice.clone()),
                Err(failure) => unpublished.push((at, failure)),
            }
        }
        unpublished
    }
}
