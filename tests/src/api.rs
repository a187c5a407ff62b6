//! A client of the platform's HTTP API, with tokens of a test issuer.

use anyhow::{Context as _, Result, ensure};
use audit_log_web::issuer::TestIssuer;
use serde_json::Value;

#[derive(Debug)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    issuer: TestIssuer,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The header; empty if there is none.
    pub etag: String,
    /// Null if the body is empty or not JSON.
    pub body: Value,
}

impl Answer {
    /// The body, or an error with the reason of a refusal.
    pub fn ok(self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "refused with {}: {:#}", self.status, self.body);
        Ok(self.body)
    }
}

impl Api {
    pub(crate) fn new(base: String, issuer: TestIssuer) -> Result<Self> {
        // Ignores the developer's proxy.
        Ok(Self { http: reqwest::Client::builder().no_proxy().build()?, base, issuer })
    }

    /// The URL, without a slash at the end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A token that is valid for an hour.
    #[must_use]
    pub fn token(&self, tenant: &str, permissions: &[&str]) -> String {
        self.issuer.token_for(tenant, permissions)
    }

    /// Sends a request as a tenant's admin.
    pub async fn admin(&self, tenant: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let token = self.token(tenant, &["audit-logs:admin"]);
        self.send(&token, method, path, &[("if-match", "*")], body).await
    }

    /// Sends a request; without a token if it is empty.
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
