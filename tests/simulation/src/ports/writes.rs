//! Calls that change something. They may take effect twice, or after the run has given them up or died.

use std::{fmt::Debug, future::pending, sync::Arc, time::Duration};

use audit_log_core::failure::{Code, Failure};

use super::{Fate, Ports};
use crate::facts::Put;

/// How long after it was given up a write to a table, the queue or the bus may take effect.
const MAX_WRITE_DELAY_MS: u32 = 10_000;

/// How long after it was given up S3 may store an object.
const MAX_PUT_DELAY_MS: u32 = 20 * 60_000;

/// A call that changes something, which can take effect at any later time.
pub(super) struct Request<R> {
    ports: Ports,
    what: &'static str,
    of: String,
    put: Option<Put>,
    /// Takes whether the call was given up before.
    apply: Arc<dyn Fn(bool) -> Result<R, Failure> + Send + Sync>,
}

impl<R> Clone for Request<R> {
    fn clone(&self) -> Self {
        let Self { ports, what, of, put, apply } = self;
        Self { ports: ports.clone(), what, of: of.clone(), put: put.clone(), apply: Arc::clone(apply) }
    }
}

pub(super) struct Answer<R> {
    pub(super) result: Result<R, Failure>,
    /// An attempt that was given up may still take effect.
    pub(super) in_doubt: bool,
}

/// A request that was sent. If the run dies, it may take effect later, or never.
struct InFlight<R: Debug + Send + 'static> {
    request: Option<Request<R>>,
    number: u64,
}

impl<R: Debug + Send + 'static> Request<R> {
    pub(super) fn new(
        ports: &Ports,
        what: &'static str,
        of: String,
        apply: impl Fn(bool) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { ports: ports.clone(), what, of, put: None, apply: Arc::new(apply) }
    }

    /// The request stores an object.
    pub(super) fn storing(self, put: Put) -> Self {
        Self { put: Some(put), ..self }
    }

    fn apply(&self, is_given_up: bool) -> Result<R, Failure> {
        let result = (self.apply)(is_given_up);
        let Self { ports, what, of, .. } = self;
        let how = if is_given_up { "takes effect late, " } else { "" };
        ports.say(|| format!("{what} {of}: {how}{result:?}"));
        ports.world.check_step();
        result
    }

    /// Takes effect at a later time. The run does not get the result.
    pub(super) fn apply_later(self) {
        let world = Arc::clone(&self.ports.world);
        let latest = match &self.put {
            None => MAX_WRITE_DELAY_MS,
            // Some are early, and meet other runs and other files of the same window.
            Some(_) => [MAX_WRITE_DELAY_MS, MAX_PUT_DELAY_MS][usize::from(world.roll(3) > 0)],
        };
        let after = Duration::from_millis(u64::from(world.roll(latest)));
        let mut in_flight = InFlight::new(self);
        world.spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(request) = in_flight.arrive() {
                let _ = request.apply(true);
            }
        });
    }
}

impl<R: Debug + Send + 'static> InFlight<R> {
    fn new(request: Request<R>) -> Self {
        let mut facts = request.ports.world.facts();
        facts.requests += 1;
        let number = facts.requests;
        if let Some(put) = &request.put {
            facts.in_flight.insert(number, put.clone());
        }
        drop(facts);
        Self { number, request: Some(request) }
    }

    /// Ends the flight: the request takes effect now, or never.
    fn arrive(&mut self) -> Option<Request<R>> {
        let request = self.request.take()?;
        request.ports.world.facts().in_flight.remove(&self.number);
        Some(request)
    }
}

impl<R: Debug + Send + 'static> Drop for InFlight<R> {
    fn drop(&mut self) {
        let Some(request) = self.arrive() else { return };
        // After the verdict, nothing goes on.
        if request.ports.world.violation().is_none() && request.ports.world.roll(3) > 0 {
            request.ports.say(|| format!("{} {}: is in flight when the run ends", request.what, request.of));
            request.apply_later();
        }
    }
}

impl Ports {
    /// Makes a call that changes something.
    pub(super) async fn write_with_faults<R: Debug + Send + 'static>(&self, request: Request<R>) -> Answer<R> {
        let world = &self.world;
        world.delay().await;
        let fate = self.roll_fate();
        let say = |what: &str| self.say(|| format!("{} {}: {what}", request.what, request.of));
        let given_up = |result| Answer { result: Err(result), in_doubt: true };
        if fate == Fate::Fails {
            say("fails");
            return Answer { result: Err(self.roll_failure()), in_doubt: false };
        }
        let mut in_flight = InFlight::new(request.clone());
        world.delay().await;
        match fate {
            Fate::Hangs => {
                say("hangs");
                return pending().await;
            }
            Fate::GivenUp => {
                say("is given up while it is in flight");
                request.clone().apply_later();
                world.delay().await;
                match world.roll(3) {
                    0 => {
                        in_flight.arrive();
                        return given_up(no_answer());
                    }
                    1 => {
                        in_flight.arrive();
                        say("is repeated, and fails");
                        return given_up(self.roll_failure());
                    }
                    _ => say("is repeated"),
                }
            }
            Fate::Twice => {
                let _ = request.apply(false);
                say("once more");
                world.delay().await;
            }
            Fate::Well | Fate::Fails | Fate::LosesReply => {}
        }
        in_flight.arrive();
        let result = request.apply(false);
        if fate == Fate::LosesReply {
            say("has no answer");
        }
        world.delay().await;
        if fate == Fate::LosesReply { given_up(no_answer()) } else { Answer { result, in_doubt: fate != Fate::Well } }
    }
}

fn no_answer() -> Failure {
    Failure::new(Code::Unavailable, "No answer came in time.")
}
