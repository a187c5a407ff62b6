//! How fast roles are assumed: STS has one quota for an account and region, and whoever exceeds it is refused for all.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Lets so many through a second, one after the other.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many a second.
    pub fn per_second(turns: NonZeroU32) -> Self {
        Self { interval: Duration::from_secs(1) / turns.get(), next: Mutex::new(None) }
    }

    /// Waits for a turn. Turns come in the order in which they are asked for.
    pub async fn turn(&self) {
        let turn = {
            let now = Instant::now();
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = next.unwrap_or(now).max(now);
            *next = Some(turn + self.interval);
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
