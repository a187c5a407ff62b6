//! The platform's HTTP API, with tokens as the platform's own sign-in would issue them.

use anyhow::{Context as _, Result, ensure};
use audit_log_web::issuer::TestIssuer;
use serde_json::Value;

/// The API of a deployed platform.
#[derive(Debug)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    issuer: TestIssuer,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `ETag`; empty if there is none.
    pub etag: String,
    /// The body; null if it is empty or no JSON.
    pub body: Value,
}

impl Answer {
    /// The body of a good answer.
    ///
    /// # Errors
    /// When it was refused: then with the reason.
    pub fn ok(self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "refused with {}: {:#}", self.status, self.body);
        Ok(self.body)
    }
}

impl Api {
    pub(crate) fn new(base: String, issuer: TestIssuer) -> Result<Self> {
        // The proxy of whoever runs the tests has no business here.
        Ok(Self { http: reqwest::Client::builder().no_proxy().build()?, base, issuer })
    }

    /// Where it is, without a slash at the end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A token of a tenant with some permissions, good for an hour.
    #[must_use]
    pub fn token(&self, tenant: &str, permissions: &[&str]) -> String {
        self.issuer.token_for(tenant, permissions)
    }

    /// A request by a tenant's admin.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn admin(&self, tenant: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let token = self.token(tenant, &["audit-logs:admin"]);
        self.send(&token, method, path, &[("if-match", "*")], body).await
    }

    /// Any request; without a token where that is empty.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        let mut request = self.http.request(method.parse()?, format!("{}{path}", self.base));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        Ok(Answer { status, etag, body: serde_json::from_str(&text).unwrap_or_default() })
    }
}
