//! Spaces calls out that have one quota for an account in a region: AssumeRole of STS and Sign of KMS. Beyond it, AWS refuses
//! everybody.

use std::{
    error::Error,
    marker::PhantomData,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::FinalizerInterceptorContextRef, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{config_bag::ConfigBag, error::metadata::ProvideErrorMetadata};
use tokio::time::{Instant, sleep_until};

use crate::errors::is_throttle;

/// How many times slower than configured the pace gets at most.
const MAX_SLOWDOWN: u32 = 32;

/// The rate of calls. It slows down when AWS throttles, as TCP does when a line is full: the SDK's own retries stop waiting once
/// their shared budget is used up, and a whole fleet would fail at full speed.
#[derive(Debug)]
pub struct Pace {
    min_interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    interval: Duration,
    next_slot: Option<Instant>,
    slowed_at: Option<Instant>,
}

impl Pace {
    pub fn per_second(calls: NonZeroU32) -> Self {
        let min_interval = Duration::from_secs(1) / calls.get();
        Self { min_interval, state: Mutex::new(State { interval: min_interval, next_slot: None, slowed_at: None }) }
    }

    /// Waits until another call may be sent. Callers are served in the order in which they ask.
    pub async fn wait_for_slot(&self) {
        let slot = {
            let now = Instant::now();
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = state.next_slot.unwrap_or(now).max(now);
            state.next_slot = Some(slot + state.interval);
            slot
        };
        sleep_until(slot).await;
    }

    /// Halves the rate after a throttle, at most once a second, and raises it by a 32nd after each other answer.
    fn adapt(&self, throttled: bool) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !throttled {
            state.interval = (state.interval - state.interval / 32).max(self.min_interval);
        } else if state.slowed_at.is_none_or(|at| now - at >= Duration::from_secs(1)) {
            state.interval = (state.interval * 2).min(self.min_interval * MAX_SLOWDOWN);
            state.slowed_at = Some(now);
        }
    }
}

/// Adapts the pace to the answer of each attempt, retries included. `E` is the operation's error.
#[derive(Debug)]
pub(crate) struct AdaptPace<E> {
    pace: Arc<Pace>,
    error: PhantomData<fn() -> E>,
}

impl<E> AdaptPace<E> {
    pub(crate) fn new(pace: &Arc<Pace>) -> Self {
        Self { pace: Arc::clone(pace), error: PhantomData }
    }
}

#[dyn_dispatch_hint]
impl<E: ProvideErrorMetadata + Error + Send + Sync + 'static> Intercept for AdaptPace<E> {
    fn name(&self) -> &'static str {
        "AdaptPace"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(answer) = context.output_or_error() {
            let code = answer.as_ref().err().and_then(|error| error.as_operation_error()?.downcast_ref::<E>()?.code());
            self.pace.adapt(code.is_some_and(is_throttle));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn time_of_calls(pace: &Pace, calls: u32) -> u128 {
        let started = Instant::now();
        for _ in 0..calls {
            pace.wait_for_slot().await;
        }
        started.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn throttles_slow_the_pace_down_and_answers_restore_it() {
        let pace = Pace::per_second(NonZeroU32::new(10).unwrap());
        time_of_calls(&pace, 10).await;
        for _ in 0..5 {
            pace.adapt(true);
        }
        time_of_calls(&pace, 10).await;
        let slow = time_of_calls(&pace, 10).await;
        assert!((1_900..2_100).contains(&slow), "throttles within one second count once: {slow}");
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pace.adapt(true);
        }
        time_of_calls(&pace, 10).await;
        let slowest = time_of_calls(&pace, 10).await;
        assert!((31_000..33_000).contains(&slowest), "it never stops: {slowest}");
        for _ in 0..200 {
            pace.adapt(false);
        }
        time_of_calls(&pace, 10).await;
        let restored = time_of_calls(&pace, 10).await;
        assert!((900..1_100).contains(&restored), "{restored}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_spaced_out_and_a_pause_is_no_credit() {
        let pace = Pace::per_second(NonZeroU32::new(10).unwrap());
        let first = time_of_calls(&pace, 11).await;
        assert!((1_000..1_020).contains(&first), "{first}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let later = time_of_calls(&pace, 11).await;
        assert!(later >= 1_000, "{later}");
    }
}
