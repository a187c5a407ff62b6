//! Downloads the issuer's keys when they are needed, and again when they may have changed.
//!
//! An issuer rotates its keys by publishing new ones, so a token with an unknown `kid` causes a download. Anyone can send
//! such a token, so there is at most one download a minute. A failed download, or one that is not a key set, replaces
//! nothing.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::DecodingKey;
use reqwest::{Client, StatusCode, Url, redirect};
use tokio::sync::{Mutex, RwLock};

use super::{KeyQuery, KeySet, KeySetError};
use crate::token_error::TokenError;

/// The longest time that a key which its owner has revoked is still trusted.
const REFRESH_AFTER: TimeDelta = TimeDelta::hours(1);

/// How long keys are trusted while downloads fail.
const MAX_AGE: TimeDelta = TimeDelta::hours(24);

const MIN_DOWNLOAD_INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// Shorter, since no token is accepted without keys.
const MIN_DOWNLOAD_INTERVAL_WITHOUT_KEYS: TimeDelta = TimeDelta::seconds(5);

const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(5);

const MAX_KEY_SET_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct DownloadedKeys {
    url: Url,
    client: Client,
    current: RwLock<Option<Arc<Download>>>,
    /// When the last download began. Locked during a download, so that concurrent requests share it.
    last_attempt: Mutex<Option<DateTime<Utc>>>,
}

#[derive(Debug)]
struct Download {
    set: KeySet,
    at: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
enum DownloadError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    #[error("the answer is longer than {MAX_KEY_SET_BYTES} bytes")]
    TooLong,
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

impl DownloadedKeys {
    /// # Errors
    /// If TLS is not available.
    pub(super) fn new(url: Url) -> Result<Self, reqwest::Error> {
        // A redirect could lead anywhere, even without TLS. Only the settings say where keys are.
        // No connection is kept: until the next download, Lambda may freeze the function, and the connection may be dead then.
        let client =
            Client::builder().timeout(DOWNLOAD_TIMEOUT).redirect(redirect::Policy::none()).pool_max_idle_per_host(0);
        // A URL without TLS is this machine's, which no proxy reaches.
        let client = if url.scheme() == "https" { client.https_only(true) } else { client.no_proxy() };
        Ok(Self { url, client: client.build()?, current: RwLock::default(), last_attempt: Mutex::default() })
    }

    pub(super) async fn find(&self, query: KeyQuery<'_>, now: DateTime<Utc>) -> Result<DecodingKey, TokenError> {
        if let Some(download) = self.newer_than(REFRESH_AFTER, now).await {
            match download.set.find(query) {
                Err(TokenError::UnknownKey) => {}
                found => return found,
            }
        }
        self.refresh_and_find(query, now).await
    }

    pub(super) async fn refresh_and_find(
        &self,
        query: KeyQuery<'_>,
        now: DateTime<Utc>,
    ) -> Result<DecodingKey, TokenError> {
        self.refresh(now).await;
        match self.newer_than(MAX_AGE, now).await {
            Some(download) => download.set.find(query),
            None => Err(TokenError::KeysUnavailable),
        }
    }

    /// Returns the last download unless it is older. The clock may have been set back since.
    async fn newer_than(&self, age: TimeDelta, now: DateTime<Utc>) -> Option<Arc<Download>> {
        self.current.read().await.clone().filter(|download| (now - download.at).abs() < age)
    }

    /// Downloads the keys unless the last attempt was a moment ago. A request that waited for another's download uses it.
    async fn refresh(&self, now: DateTime<Utc>) {
        let mut last_attempt = self.last_attempt.lock().await;
        let current = self.newer_than(MAX_AGE, now).await;
        let interval = if current.is_some() { MIN_DOWNLOAD_INTERVAL } else { MIN_DOWNLOAD_INTERVAL_WITHOUT_KEYS };
        if last_attempt.is_some_and(|at| (now - at).abs() < interval) {
            return;
        }
        *last_attempt = Some(now);
        match self.download().await {
            Ok(set) => *self.current.write().await = Some(Arc::new(Download { set, at: now })),
            Err(error) => tracing::warn!(
                reason = %error,
                url = %self.url,
                known_since = current.map(|download| download.at.timestamp()),
                "download of the token issuer's keys failed"
            ),
        }
    }

    async fn download(&self) -> Result<KeySet, DownloadError> {
        let mut response = self.client.get(self.url.clone()).send().await?;
        if response.status() != StatusCode::OK {
            return Err(DownloadError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_KEY_SET_BYTES {
                return Err(DownloadError::TooLong);
            }
        }
        Ok(KeySet::parse(&body)?)
    }
}
