//! Marks of committed windows that are stored again.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::schedule::Window;

/// The mark, on a tenant's watermark, of a committed window whose objects may not be what its receipt tells of. Whoever is
/// about to store the window again leaves one, and takes it away once receipt and bucket agree; until then, whoever else
/// has stored something of the window does the same, and where a run was cut off in the middle, the next one finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Doubt {
    /// Of which window.
    pub window: Window,
    /// When it came up, to the nanosecond: this tells the marks of several runs apart.
    pub since: DateTime<Utc>,
}

impl Doubt {
    /// Of a window, from now on.
    pub fn new(window: Window, now: DateTime<Utc>) -> Self {
        Self { window, since: now }
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (window, since) = text.split_once('#')?;
        Some(Self { window: Window::parse_interval(window)?, since: since.parse().ok()? })
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.window.interval(), self.since.to_rfc3339_opts(SecondsFormat::Nanos, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_is_read_back_as_it_was_written() {
        let [from, to] = ["2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"].map(|at| at.parse().unwrap());
        let doubt = Doubt::new(Window { from, to }, "2026-11-21T11:02:03.456789Z".parse().unwrap());
        assert_eq!(doubt.to_string(), "2026-11-21T10:00:00Z/2026-11-21T11:00:00Z#2026-11-21T11:02:03.456789000Z");
        assert_eq!(Doubt::parse(&doubt.to_string()), Some(doubt));
        assert_eq!(Doubt::parse("2026-11-21T10:00:00Z/2026-11-21T11:00:00Z"), None);
    }
}
