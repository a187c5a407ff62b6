//! Keys that are downloaded when they are needed, and again when that seems worth it.
//!
//! An issuer changes its keys by publishing new ones, so a token with an unknown `kid` is a reason to look; but anyone
//! can make one up, so it is one only once a minute. A set that can't be fetched, or is none, replaces nothing.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::DecodingKey;
use reqwest::{Client, StatusCode, Url, redirect};
use tokio::sync::{Mutex, RwLock};

use super::{KeySet, NotAKeySet, Wanted};
use crate::authority::Refusal;

/// After this, keys are fetched again: the longest time that a key which its owner took back goes on counting.
const FRESH_FOR: TimeDelta = TimeDelta::hours(1);

/// How long keys go on counting while no others can be fetched.
const GOOD_FOR: TimeDelta = TimeDelta::hours(24);

/// Between two downloads.
const PAUSE: TimeDelta = TimeDelta::seconds(60);

/// Between two downloads while there are no keys that count, and so nobody can be let in.
const PAUSE_WITHOUT_KEYS: TimeDelta = TimeDelta::seconds(5);

const TIMEOUT: Duration = Duration::from_secs(5);

/// In bytes.
const MAX_KEY_SET_BYTES: usize = 256 << 10;

/// Keys from a URL.
#[derive(Debug)]
pub(crate) struct Download {
    url: Url,
    client: Client,
    current: RwLock<Option<Arc<Fetched>>>,
    /// When the last download began; held during one, so that all who want it share it.
    last_try: Mutex<Option<DateTime<Utc>>>,
}

#[derive(Debug)]
struct Fetched {
    set: KeySet,
    at: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
enum NotFetched {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer is longer than any set of keys")]
    TooLong,
    #[error(transparent)]
    NotAKeySet(#[from] NotAKeySet),
}

impl Download {
    /// # Errors
    /// If there is no TLS to fetch with.
    pub(super) fn new(url: Url) -> Result<Self, reqwest::Error> {
        // A redirect could lead anywhere, without TLS even; where keys are is for the settings to say.
        let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none());
        // Without TLS the URL is this very machine's, where no proxy leads.
        let client = if url.scheme() == "https" { client.https_only(true) } else { client.no_proxy() };
        Ok(Self { url, client: client.build()?, current: RwLock::default(), last_try: Mutex::default() })
    }

    /// The one key that a token can have been signed with, downloaded if need be.
    pub(super) async fn find(&self, wanted: Wanted<'_>, now: DateTime<Utc>) -> Result<DecodingKey, Refusal> {
        if let Some(fetched) = self.current().await.filter(|fetched| fetched.is_from_within(FRESH_FOR, now)) {
            match fetched.set.find(wanted) {
                Err(Refusal::UnknownKey) => {}
                found => return found,
            }
        }
        self.find_anew(wanted, now).await
    }

    /// The same, after another download, unless there has just been one.
    pub(super) async fn find_anew(&self, wanted: Wanted<'_>, now: DateTime<Utc>) -> Result<DecodingKey, Refusal> {
        self.refresh(now).await;
        match self.current().await.filter(|fetched| fetched.is_from_within(GOOD_FOR, now)) {
            Some(fetched) => fetched.set.find(wanted),
            None => Err(Refusal::KeysUnavailable),
        }
    }

    async fn current(&self) -> Option<Arc<Fetched>> {
        self.current.read().await.clone()
    }

    /// Looks for other keys than the known ones, unless someone has just done so; whoever waited for that has them.
    async fn refresh(&self, now: DateTime<Utc>) {
        let mut last_try = self.last_try.lock().await;
        let current = self.current().await.filter(|fetched| fetched.is_from_within(GOOD_FOR, now));
        let pause = if current.is_some() { PAUSE } else { PAUSE_WITHOUT_KEYS };
        if last_try.is_some_and(|last_try| (now - last_try).abs() < pause) {
            return;
        }
        *last_try = Some(now);
        match self.fetch().await {
            Ok(set) => *self.current.write().await = Some(Arc::new(Fetched { set, at: now })),
            Err(error) => tracing::warn!(
                reason = %error,
                url = %self.url,
                known_since = current.map(|fetched| fetched.at.timestamp()),
                "the token issuer's keys could not be fetched"
            ),
        }
    }

    async fn fetch(&self) -> Result<KeySet, NotFetched> {
        let mut response = self.client.get(self.url.clone()).send().await?;
        if response.status() != StatusCode::OK {
            return Err(NotFetched::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_KEY_SET_BYTES {
                return Err(NotFetched::TooLong);
            }
        }
        Ok(KeySet::parse(&body)?)
    }
}

impl Fetched {
    /// Whether it is that young; the clock may have been set back since.
    fn is_from_within(&self, age: TimeDelta, now: DateTime<Utc>) -> bool {
        (now - self.at).abs() < age
    }
}
