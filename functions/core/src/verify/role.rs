//! AWS's answers when the role is assumed with the right external ID, with a wrong one and without any.
//!
//! IAM is eventually consistent: a role that a customer created a moment ago is refused for some seconds, and by some of
//! AWS's hosts longer than by others ("Changes that I make are not always immediately visible" in the IAM user guide). Such
//! a refusal proves nothing about the external ID.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::before;
use crate::{
    failure::{Code, Failure},
    ports::{Access, Probes},
    settings::Connection,
    tenant::ExternalId,
};

/// Between two tries of what AWS refuses.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// So many rounds of refusals in a row count, each followed by a success with the right external ID.
const ROUNDS_THAT_COUNT: u32 = 2;

/// If the role is refused once more between the successes, enough rounds remain.
const MAX_REPEATED_ROUNDS: u32 = 3;

pub(super) struct RoleProbe<'a, P> {
    pub(super) probes: &'a P,
    pub(super) connection: &'a Connection,
    pub(super) wrong: ExternalId,
    /// A call that isn't answered by then is inconclusive.
    pub(super) deadline: Instant,
}

pub(super) struct Answers {
    pub(super) with_right: Result<(), Failure>,
    pub(super) with_wrong: Access,
    pub(super) without: Access,
    /// AWS refused the right external ID, and took it at another time.
    pub(super) is_new: bool,
}

impl<P: Probes> RoleProbe<'_, P> {
    /// Asks for each once or, if `retry_for` isn't zero, as often as a role needs that may be seconds old: a refused role is
    /// tried again for that time. The host that refuses a wrong external ID may be another one than the host that knows the
    /// role, so refusals count only if they repeat between successes.
    pub(super) async fn ask(&self, retry_for: Duration) -> Answers {
        let mut answers = self.ask_once_known(Instant::now() + retry_for).await;
        if retry_for.is_zero() || answers.with_right.is_err() {
            return answers;
        }
        let mut rounds = 1;
        for _ in 0..MAX_REPEATED_ROUNDS {
            if (answers.with_wrong, answers.without) != (Access::Refused, Access::Refused) {
                return answers;
            }
            self.pause().await;
            (answers.with_wrong, answers.without) = self.with_wrong_and_without().await;
            match self.with_right().await {
                Ok(()) => rounds += 1,
                Err(failure) if failure.code == Code::AssumeRoleDenied => (rounds, answers.is_new) = (0, true),
                Err(failure) => return answers.without_refusals(failure.code),
            }
            if rounds == ROUNDS_THAT_COUNT {
                return answers;
            }
        }
        answers.without_refusals(Code::AssumeRoleDenied)
    }

    /// Tries a refused role again until then.
    async fn ask_once_known(&self, until: Instant) -> Answers {
        let mut was_refused = false;
        let with_right = loop {
            let with_right = self.with_right().await;
            let is_refused = with_right.as_ref().is_err_and(|failure| failure.code == Code::AssumeRoleDenied);
            if !is_refused || Instant::now() + RETRY_INTERVAL > until {
                break with_right;
            }
            was_refused = true;
            self.pause().await;
        };
        // Only now: AWS also refuses a role that it doesn't know yet.
        let (with_wrong, without) = self.with_wrong_and_without().await;
        let is_new = was_refused && with_right.is_ok();
        Answers { with_right, with_wrong, without, is_new }
    }

    pub(super) async fn pause(&self) {
        sleep_until(self.deadline.min(Instant::now() + RETRY_INTERVAL)).await;
    }

    async fn with_right(&self) -> Result<(), Failure> {
        before(self.deadline, self.probes.assume(self.connection, Some(&self.connection.external_id))).await
    }

    async fn with_wrong_and_without(&self) -> (Access, Access) {
        let (with_wrong, without) = futures::join!(
            before(self.deadline, self.probes.assume(self.connection, Some(&self.wrong))),
            before(self.deadline, self.probes.assume(self.connection, None)),
        );
        (with_wrong.into(), without.into())
    }
}

impl Answers {
    /// The refusals count as unclear, for this reason.
    fn without_refusals(self, code: Code) -> Self {
        let unclear = |access| if access == Access::Refused { Access::Unclear(code) } else { access };
        Self { with_wrong: unclear(self.with_wrong), without: unclear(self.without), ..self }
    }
}
