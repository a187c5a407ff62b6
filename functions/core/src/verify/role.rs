//! AWS's answers when the role is assumed with the right external ID, with wrong ones and without any.
//!
//! IAM is eventually consistent: a role that a customer created a moment ago is refused for some seconds, and by some of
//! AWS's hosts longer than by others ("Changes that I make are not always immediately visible" in the IAM user guide). Such
//! a refusal proves nothing about the external ID.

use std::time::Duration;

use futures::future::join_all;
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
    pub(super) decoys: Vec<Decoy>,
    /// A call that isn't answered by then is inconclusive.
    pub(super) deadline: Instant,
}

/// What the role must refuse.
pub(super) struct Decoy {
    external_id: Option<ExternalId>,
    /// Words that follow "can be assumed".
    how: &'static str,
}

impl Decoy {
    /// Each catches a trust policy that compares less than the whole external ID. In a rotation both external IDs are
    /// tried: the trust policy may list both. `salt` is unpredictable for customers.
    pub(super) fn all(connection: &Connection, salt: &str) -> Vec<Self> {
        let mut decoys = vec![Self { external_id: None, how: "without any external ID" }];
        for right in [&connection.external_id].into_iter().chain(&connection.pending_external_id) {
            let wrong = [
                (Some(right.same_shape(salt)), "with a random external ID of the same length"),
                (Some(right.first_changed()), "with another first character of the external ID"),
                (Some(right.last_changed()), "with another last character of the external ID"),
                (right.extended(), "with a character appended to the external ID"),
            ];
            let decoy = |(external_id, how)| Some(Self { external_id: Some(external_id?), how });
            decoys.extend(wrong.into_iter().filter_map(decoy));
        }
        decoys
    }
}

pub(super) struct Answers {
    /// The external ID with which the role can be assumed.
    pub(super) with_right: Result<ExternalId, Failure>,
    /// For each decoy its words and the answer.
    pub(super) to_decoys: Vec<(&'static str, Access)>,
    /// AWS refused the right external ID, and took it at another time.
    pub(super) is_new: bool,
}

impl<P: Probes> RoleProbe<'_, P> {
    /// Asks for each once or, if `retry_for` isn't zero, as often as a role needs that may be seconds old: a refused role is
    /// tried again for that time. The host that refuses a wrong external ID may be another one than the host that knows the
    /// role, so refusals count only if they repeat between successes.
    pub(super) async fn ask(&self, retry_for: Duration) -> Answers {
        let mut answers = self.ask_once_known(Instant::now() + retry_for).await;
        let right = match &answers.with_right {
            Ok(right) if !retry_for.is_zero() => right.clone(),
            _ => return answers,
        };
        let mut rounds = 1;
        for _ in 0..MAX_REPEATED_ROUNDS {
            if answers.to_decoys.iter().any(|(_, access)| *access != Access::Refused) {
                return answers;
            }
            self.pause().await;
            answers.to_decoys = self.with_decoys().await;
            match self.with(Some(&right)).await {
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
        let to_decoys = self.with_decoys().await;
        let is_new = was_refused && with_right.is_ok();
        Answers { with_right, to_decoys, is_new }
    }

    pub(super) async fn pause(&self) {
        sleep_until(self.deadline.min(Instant::now() + RETRY_INTERVAL)).await;
    }

    /// In a rotation the pending external ID comes first, so that a role that takes both ends the rotation.
    async fn with_right(&self) -> Result<ExternalId, Failure> {
        let Connection { external_id: current, pending_external_id: pending, .. } = self.connection;
        let is_denied = |failure: &Failure| failure.code == Code::AssumeRoleDenied;
        let mut unclear = None;
        if let Some(pending) = pending {
            match self.with(Some(pending)).await {
                Ok(()) => return Ok(pending.clone()),
                Err(failure) => unclear = Some(failure).filter(|failure| !is_denied(failure)),
            }
        }
        let with_current = self.with(Some(current)).await.map(|()| current.clone());
        // The current one's refusal counts only if the pending one was refused, too.
        with_current.map_err(|failure| unclear.filter(|_| is_denied(&failure)).unwrap_or(failure))
    }

    async fn with_decoys(&self) -> Vec<(&'static str, Access)> {
        let ask = async |decoy: &Decoy| (decoy.how, self.with(decoy.external_id.as_ref()).await.into());
        join_all(self.decoys.iter().map(ask)).await
    }

    async fn with(&self, external_id: Option<&ExternalId>) -> Result<(), Failure> {
        before(self.deadline, self.probes.assume(self.connection, external_id)).await
    }
}

impl Answers {
    /// The refusals count as unclear, for this reason.
    fn without_refusals(mut self, code: Code) -> Self {
        for (_, access) in &mut self.to_decoys {
            if *access == Access::Refused {
                *access = Access::Unclear(code);
            }
        }
        self
    }
}
