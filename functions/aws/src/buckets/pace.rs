//! How fast roles are assumed: STS has one quota for an account in a region, and refuses everybody beyond it.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, state::InMemoryState, state::NotKeyed};
use tokio::sync::Mutex;

/// Tokio's clock, which tests can pause.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        tokio::time::Instant::now().into_std() - self.0
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// Spaces AssumeRole calls out.
///
/// It stays as it is when STS throttles. The SDK then tries the call again, each time after a longer pause with jitter, and
/// the call's tenant keeps its place among `MAX_CONCURRENT_EXPORTS` meanwhile. So the more calls are throttled, the fewer
/// are sent.
#[derive(Debug)]
pub struct Pace {
    limiter: Limiter,
    clock: TokioClock,
    /// Held by the call that is next, since the limiter doesn't know the order of those that wait.
    next: Mutex<()>,
}

impl Pace {
    pub fn per_second(calls: NonZeroU32) -> Self {
        // A timer fires up to a millisecond late. Calls that missed their time by less than 10 ms may follow at once.
        let burst = NonZeroU32::new(calls.get() / 100).unwrap_or(NonZeroU32::MIN);
        let clock = TokioClock(tokio::time::Instant::now().into_std());
        let limiter = RateLimiter::direct_with_clock(Quota::per_second(calls).allow_burst(burst), clock.clone());
        Self { limiter, clock, next: Mutex::new(()) }
    }

    /// Waits until another AssumeRole may be sent. Callers are served in the order in which they ask.
    pub async fn wait_for_sts_slot(&self) {
        let _next = self.next.lock().await;
        while let Err(too_early) = self.limiter.check() {
            tokio::time::sleep(too_early.wait_time_from(self.clock.now())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    async fn time_of_11_calls(pace: &Pace) -> u128 {
        let started = Instant::now();
        for _ in 0..11 {
            pace.wait_for_sts_slot().await;
        }
        started.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_spaced_out_and_a_pause_is_no_credit() {
        let pace = Pace::per_second(NonZeroU32::new(10).unwrap());
        let first = time_of_11_calls(&pace).await;
        assert!((1_000..1_020).contains(&first), "{first}");
        sleep(Duration::from_secs(60)).await;
        let later = time_of_11_calls(&pace).await;
        assert!((1_000..1_020).contains(&later), "{later}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_highest_pace_is_kept_although_timers_are_late() {
        let pace = Pace::per_second(NonZeroU32::new(500).unwrap());
        let started = Instant::now();
        for _ in 0..1_000 {
            pace.wait_for_sts_slot().await;
        }
        let millis = started.elapsed().as_millis();
        assert!((1_985..2_010).contains(&millis), "{millis}");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_served_in_order() {
        let pace = Pace::per_second(NonZeroU32::new(10).unwrap());
        let served = std::sync::Mutex::new(Vec::new());
        let call = async |number: usize| {
            pace.wait_for_sts_slot().await;
            served.lock().unwrap().push(number);
        };
        futures::future::join_all((0..20).map(call)).await;
        assert_eq!(*served.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }
}
