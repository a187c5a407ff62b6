//! Calls that change something. They may land twice, or after they were given up: by the run, or because it has died.

use std::{fmt::Debug, future::pending, sync::Arc, time::Duration};

use audit_log_core::failure::{Code, Failure};

use super::{Fate, Ports};
use crate::world::Put;

/// How late a write to a table, an index or a bus lands after it was given up, in milliseconds.
pub(super) const LATEST_WRITE_MS: u32 = 10_000;

/// How late S3 stores an object of a request that was given up.
pub(super) const LATEST_PUT_MS: u32 = 20 * 60_000;

/// A call that changes something, with all that it needs to land at any later time.
pub(super) struct Request<R> {
    ports: Ports,
    what: &'static str,
    of: String,
    put: Option<Put>,
    /// Is told whether the call was given up before.
    land: Arc<dyn Fn(bool) -> Result<R, Failure> + Send + Sync>,
}

impl<R> Clone for Request<R> {
    fn clone(&self) -> Self {
        let Self { ports, what, of, put, land } = self;
        Self { ports: ports.clone(), what, of: of.clone(), put: put.clone(), land: Arc::clone(land) }
    }
}

/// What comes back of a call.
pub(super) struct Answer<R> {
    pub(super) result: Result<R, Failure>,
    /// Whether an attempt that was given up may still land.
    pub(super) in_doubt: bool,
}

/// A request between its sending and its landing. If the run dies meanwhile, it may land later, or never.
struct OnItsWay<R: Debug + Send + 'static> {
    request: Option<Request<R>>,
    number: u64,
}

impl<R: Debug + Send + 'static> Request<R> {
    pub(super) fn new(
        ports: &Ports,
        what: &'static str,
        of: String,
        land: impl Fn(bool) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { ports: ports.clone(), what, of, put: None, land: Arc::new(land) }
    }

    /// The same, of an object.
    pub(super) fn storing(self, put: Put) -> Self {
        Self { put: Some(put), ..self }
    }

    fn land(&self, is_given_up: bool) -> Result<R, Failure> {
        let result = (self.land)(is_given_up);
        let Self { ports, what, of, .. } = self;
        let how = if is_given_up { "lands after all, " } else { "" };
        ports.say(|| format!("{what} {of}: {how}{result:?}"));
        ports.world.look();
        result
    }

    /// Lands at some later time, and nobody hears of it.
    pub(super) fn land_later(self) {
        let world = Arc::clone(&self.ports.world);
        let latest = match &self.put {
            None => LATEST_WRITE_MS,
            // Early ones, too: they meet other runs and other files of the same window.
            Some(_) => [LATEST_WRITE_MS, LATEST_PUT_MS][usize::from(world.roll(3) > 0)],
        };
        let after = Duration::from_millis(u64::from(world.roll(latest)));
        let mut on_its_way = OnItsWay::new(self);
        world.spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(request) = on_its_way.arrive() {
                let _ = request.land(true);
            }
        });
    }
}

impl<R: Debug + Send + 'static> OnItsWay<R> {
    fn new(request: Request<R>) -> Self {
        let mut facts = request.ports.world.facts();
        facts.puts += 1;
        let number = facts.puts;
        if let Some(put) = &request.put {
            facts.on_their_way.insert(number, put.clone());
        }
        drop(facts);
        Self { number, request: Some(request) }
    }

    /// It has landed, or never will.
    fn arrive(&mut self) -> Option<Request<R>> {
        let request = self.request.take()?;
        request.ports.world.facts().on_their_way.remove(&self.number);
        Some(request)
    }
}

impl<R: Debug + Send + 'static> Drop for OnItsWay<R> {
    fn drop(&mut self) {
        let Some(request) = self.arrive() else { return };
        // With the verdict, everything ends at once.
        if request.ports.world.violation().is_none() && request.ports.world.roll(3) > 0 {
            request.ports.say(|| format!("{} {}: is on its way when the run ends", request.what, request.of));
            request.land_later();
        }
    }
}

impl Ports {
    /// Makes a call that changes something.
    pub(super) async fn writes<R: Debug + Send + 'static>(&self, request: Request<R>) -> Answer<R> {
        let world = &self.world;
        world.delay().await;
        let fate = self.fate();
        let say = |what: &str| self.say(|| format!("{} {}: {what}", request.what, request.of));
        let given_up = |result| Answer { result: Err(result), in_doubt: true };
        if fate == Fate::Fails {
            say("fails");
            return Answer { result: Err(self.failure()), in_doubt: false };
        }
        let mut on_its_way = OnItsWay::new(request.clone());
        world.delay().await;
        match fate {
            Fate::Hangs => {
                say("hangs");
                return pending().await;
            }
            Fate::GivenUp => {
                say("is given up while it is on its way");
                request.clone().land_later();
                world.delay().await;
                match world.roll(3) {
                    0 => {
                        on_its_way.arrive();
                        return given_up(no_answer());
                    }
                    1 => {
                        on_its_way.arrive();
                        say("is repeated, and fails");
                        return given_up(self.failure());
                    }
                    _ => say("is repeated"),
                }
            }
            Fate::Twice => {
                let _ = request.land(false);
                say("once more");
                world.delay().await;
            }
            Fate::Well | Fate::Fails | Fate::LosesReply => {}
        }
        on_its_way.arrive();
        let result = request.land(false);
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
