//! How far a check has come, for people who wait for it.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_millis(100);

/// Counts bytes and, on a terminal, shows them on standard error.
#[derive(Debug)]
pub struct Progress {
    /// When it was last shown. None if nobody would see it.
    shown: Option<Mutex<Instant>>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Shows nothing.
    pub fn hidden() -> Self {
        Self { shown: None, done: AtomicU64::new(0), total: AtomicU64::new(0) }
    }

    /// Shows progress if standard error is a terminal.
    pub fn on_terminal() -> Self {
        let shown = std::io::stderr().is_terminal().then(|| Mutex::new(Instant::now()));
        Self { shown, ..Self::hidden() }
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Where another thread is showing it, this one goes on.
        let Some(Ok(mut shown)) = self.shown.as_ref().map(Mutex::try_lock) else { return };
        if shown.elapsed() >= INTERVAL {
            *shown = Instant::now();
            let total = self.total.load(Ordering::Relaxed).max(done).max(1);
            let megabytes = |bytes: u64| bytes / 1_000_000;
            let percent = done.saturating_mul(100) / total;
            // An unwritable terminal is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{percent:3} % of {} MB checked\x1b[K", megabytes(total));
        }
    }

    /// Removes what is shown.
    pub fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
