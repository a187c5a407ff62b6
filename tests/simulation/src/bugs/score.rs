//! How many of the planted bugs are caught.

use super::{Bug, plant};

/// A bug, and the first seed that catches it.
#[derive(Debug, Clone)]
pub struct Score {
    /// Which.
    pub bug: Bug,
    /// The first seed that fails with it, and why.
    pub caught: Option<(u64, String)>,
}

/// Plays seeds with a bug planted, until one fails.
///
/// # Errors
/// If this machine can't run them.
pub fn score(bug: Bug, seeds: u64) -> Result<Score, std::io::Error> {
    plant(Some(bug));
    let played = (0..seeds).find_map(|seed| match crate::play(seed, false) {
        Ok(verdict) => verdict.violation.map(|violation| Ok((seed, violation))),
        Err(error) => Some(Err(error)),
    });
    plant(None);
    Ok(Score { bug, caught: played.transpose()? })
}
