//! The deployed API, called with the tokens of the platform's own identity provider.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use tokio::{process::Command, sync::RwLock};

/// What the token must allow.
const PERMISSIONS: [&str; 2] = ["audit-logs:admin", "events:write"];

pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    tenant: String,
    token_command: String,
    /// The names of the claims.
    tenant_claim: String,
    permissions_claim: String,
    /// The last token.
    token: Mutex<Option<String>>,
    /// Read-locked by each request until its answer is there.
    in_flight: Arc<RwLock<()>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Null if the body is empty or not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// The body, or an error with the reason of a refusal.
    pub(crate) fn ok(self) -> Result<Value> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let [code, detail] = ["code", "detail"].map(|name| self.body[name].as_str().unwrap_or_default().to_owned());
        let errors = self.body.get("errors").map(|errors| format!(" {errors}")).unwrap_or_default();
        bail!("the API answered {} {code}: {detail}{errors}", self.status)
    }
}

impl Api {
    pub(crate) fn new(base: &str, tenant: &str, token_command: &str, claims: [&str; 2]) -> Result<Self> {
        let [tenant_claim, permissions_claim] = claims.map(str::to_owned);
        let http = reqwest::Client::builder().timeout(Duration::from_secs(35)).build()?;
        let (base, tenant, token_command) = (base.to_owned(), tenant.to_owned(), token_command.to_owned());
        let (token, in_flight) = (Mutex::default(), Arc::default());
        Ok(Self { http, base, tenant, token_command, tenant_claim, permissions_claim, token, in_flight })
    }

    /// Gets a new token, and refuses one that is for another tenant: the acceptance test would act on a real one.
    pub(crate) async fn new_token(&self) -> Result<String> {
        let mut command = Command::new("bash");
        command.args(["-c", &self.token_command]).env("TENANT_ID", &self.tenant);
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
        ensure!(output.status.success(), "TOKEN_COMMAND failed ({})", output.status);
        let token = String::from_utf8(output.stdout).context("TOKEN_COMMAND printed no text")?.trim().to_owned();
        let claims = claims(&token).context("TOKEN_COMMAND printed no JSON Web Token")?;
        let tenant = claim(&claims, &self.tenant_claim).and_then(Value::as_str);
        ensure!(
            tenant == Some(self.tenant.as_str()),
            "the token is for the tenant {tenant:?} and not for {:?}: TOKEN_COMMAND must print one for $TENANT_ID",
            self.tenant
        );
        let permissions = match claim(&claims, &self.permissions_claim) {
            Some(Value::Array(permissions)) => permissions.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(permissions)) => permissions.split_whitespace().collect(),
            _ => Vec::new(),
        };
        for permission in PERMISSIONS {
            ensure!(permissions.contains(&permission), "the token lacks the permission {permission}");
        }
        *self.token.lock().map_err(|_| anyhow!("the token is lost"))? = Some(token.clone());
        Ok(token)
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let known = self.token.lock().map_err(|_| anyhow!("the token is lost"))?.clone();
        if let Some(token) = known {
            let answer = self.send_with(&token, method, path, body).await?;
            // A token may be valid for less time than a run takes.
            if answer.status != 401 {
                return Ok(answer);
            }
        }
        self.send_with(&self.new_token().await?, method, path, body).await
    }

    async fn send_with(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let request = self.http.request(method.parse()?, format!("{}{path}", self.base)).bearer_auth(token);
        let mut request = request.header("if-match", "*");
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let in_flight = Arc::clone(&self.in_flight).read_owned().await;
        // A task, which goes on when the caller is interrupted: the API carries the request out all the same.
        let answer = tokio::spawn(async move {
            let _in_flight = in_flight;
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
        });
        let (status, text) = answer.await?.with_context(|| format!("{method} {path}"))?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or_default() })
    }

    /// Waits until every request has its answer, or none in time: a step that was interrupted may have left one, and what it
    /// writes must be there when things are removed.
    pub(crate) async fn settle(&self) {
        drop(self.in_flight.write().await);
    }
}

/// The claims of a token, unchecked.
fn claims(token: &str) -> Option<Value> {
    let claims = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// By "Access tokens" in docs/deployment.md.
fn claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn accept(claims: &str, names: [&str; 2]) -> Result<(), String> {
        let command = format!("echo head.{}.signature", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let api = Api::new("http://127.0.0.1:1", "acme", &command, names).unwrap();
        api.new_token().await.map(drop).map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn a_token_is_used_only_for_its_own_tenant_and_with_both_permissions() {
        let names = ["tenant_id", "permissions"];
        let both = r#"["audit-logs:admin", "events:write"]"#;
        let accepted = accept(&format!(r#"{{"tenant_id": "acme", "permissions": {both}}}"#), names).await;
        assert_eq!(accepted, Ok(()));
        let nested = r#"{"app": {"tenant": "acme"}, "scope": "openid events:write audit-logs:admin"}"#;
        assert_eq!(accept(nested, ["/app/tenant", "scope"]).await, Ok(()));

        for (claims, words) in [
            (format!(r#"{{"tenant_id": "real", "permissions": {both}}}"#), r#"is for the tenant Some("real")"#),
            (format!(r#"{{"permissions": {both}}}"#), "is for the tenant None"),
            (
                r#"{"tenant_id": "acme", "permissions": ["events:write"]}"#.to_owned(),
                "lacks the permission audit-logs:admin",
            ),
            (r#"{"tenant_id": "acme"}"#.to_owned(), "lacks the permission"),
            ("no JSON".to_owned(), "no JSON Web Token"),
        ] {
            let refused = accept(&claims, names).await.unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[tokio::test]
    async fn the_command_for_tokens_gets_the_tenant_and_may_fail() {
        let api = Api::new("http://127.0.0.1:1", "acme", "test $TENANT_ID = acme && exit 7", ["a", "b"]).unwrap();
        let refused = api.new_token().await.unwrap_err().to_string();
        assert!(refused.contains("exit status: 7"), "{refused}");
    }
}
