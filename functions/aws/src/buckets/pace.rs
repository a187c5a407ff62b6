//! How fast roles are assumed: STS has one quota for an account and region, and whoever exceeds it is refused for all.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::FinalizerInterceptorContextRef, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{config_bag::ConfigBag, error::metadata::ProvideErrorMetadata as _};

use tokio::time::{Instant, sleep_until};

use crate::errors::is_throttle;

/// How much slower than asked for it gets at most.
const SLOWEST: u32 = 32;

/// Lets so many through a second, one after the other; fewer for a while once STS has asked for fewer.
#[derive(Debug)]
pub struct Pace {
    fastest: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    interval: Duration,
    next: Option<Instant>,
    slowed_down: Option<Instant>,
}

impl Pace {
    /// So many a second.
    pub fn per_second(turns: NonZeroU32) -> Self {
        let fastest = Duration::from_secs(1) / turns.get();
        Self { fastest, state: Mutex::new(State { interval: fastest, next: None, slowed_down: None }) }
    }

    /// Waits for a turn. Turns come in the order in which they are asked for.
    pub async fn turn(&self) {
        let turn = {
            let now = Instant::now();
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = state.next.unwrap_or(now).max(now);
            state.next = Some(turn + state.interval);
            turn
        };
        sleep_until(turn).await;
    }

    /// Takes notice of how a turn went: half as fast after a refusal (those of one second count once), and little by
    /// little faster after each that went well. That is how TCP finds out how much a line takes.
    fn heard(&self, throttled: bool) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !throttled {
            state.interval = (state.interval - state.interval / 32).max(self.fastest);
        } else if state.slowed_down.is_none_or(|at| now - at >= Duration::from_secs(1)) {
            state.interval = (state.interval * 2).min(self.fastest * SLOWEST);
            state.slowed_down = Some(now);
        }
    }
}

/// Tells a pace how each attempt went.
#[derive(Debug)]
pub(super) struct Listening(pub(super) Arc<Pace>);

#[dyn_dispatch_hint]
impl Intercept for Listening {
    fn name(&self) -> &'static str {
        "Listening"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(went) = context.output_or_error() {
            let code = went
                .as_ref()
                .err()
                .and_then(|error| error.as_operation_error()?.downcast_ref::<AssumeRoleError>()?.code());
            self.0.heard(code.is_some_and(is_throttle));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_gets_slower_when_it_is_asked_to_and_finds_back() {
        let pace = Pace::per_second(NonZeroU32::new(10).unwrap());
        let ten_turns = async || {
            let started = Instant::now();
            for _ in 0..10 {
                pace.turn().await;
            }
            started.elapsed().as_millis()
        };
        ten_turns().await;
        for _ in 0..5 {
            pace.heard(true);
        }
        ten_turns().await;
        let slow = ten_turns().await;
        assert!((1_900..2_100).contains(&slow), "of refusals in one second, one counts: {slow}");
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pace.heard(true);
        }
        ten_turns().await;
        let slowest = ten_turns().await;
        assert!((31_000..33_000).contains(&slowest), "it never stands still: {slowest}");
        for _ in 0..200 {
            pace.heard(false);
        }
        ten_turns().await;
        let found_back = ten_turns().await;
        assert!((900..1_100).contains(&found_back), "{found_back}");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_spread_and_those_that_nobody_took_are_gone() {
        let pace = Pace::per_second(NonZeroU32::new(10).unwrap());
        let started = Instant::now();
        for _ in 0..11 {
            pace.turn().await;
        }
        let millis = started.elapsed().as_millis();
        assert!((1_000..1_020).contains(&millis), "{millis}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let later = Instant::now();
        for _ in 0..11 {
            pace.turn().await;
        }
        assert!(later.elapsed().as_millis() >= 1_000, "a pause is no credit");
    }
}
