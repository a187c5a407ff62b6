//! The public keys that verify manifests. An auditor reads them without an access token.

use audit_log_core::{manifest::UsedKey, ports::ManifestKeys as _, timestamp};
use audit_log_web::{body::Json, problem::Problem};
use axum::extract;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Backend};

/// A key that has signed manifests of this platform.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestKey {
    /// The first four bytes of SHA-256 of the key's DER, in lower-case hex.
    pub(crate) key_id: String,
    /// The name in signatures: account, region and stack.
    pub(crate) name: String,
    /// The key as verifiers of signed notes take it: name, key id and base64, with a plus sign between.
    pub(crate) verifier_key: String,
    /// The key as `openssl` takes it.
    pub(crate) pem: String,
    /// When it first signed a manifest.
    pub(crate) first_used_at: String,
    /// When another key took over. Null for the key in use.
    pub(crate) retired_at: Option<String>,
}

/// All keys that have signed manifests.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManifestKeys {
    /// The key in use comes first, then those that were retired last. Empty if none has signed yet.
    pub(crate) keys: Vec<ManifestKey>,
}

/// The public keys that verify the manifests of all tenants. Old keys stay listed. Needs no access token.
#[utoipa::path(get, path = "/v1/manifest-keys", operation_id = "listManifestKeys", tag = "Exports", security(()), responses(
    (status = 200, description = "The keys", body = ManifestKeys),
))]
pub(crate) async fn list<B: Backend>(
    extract::State(app): extract::State<App<B>>,
) -> Result<Json<ManifestKeys>, Problem> {
    Ok(Json(ManifestKeys { keys: read(&app).await? }))
}

pub(crate) async fn read<B: Backend>(app: &App<B>) -> Result<Vec<ManifestKey>, Problem> {
    Ok(app.settings().manifest_keys().await?.into_iter().map(ManifestKey::from).collect())
}

impl From<UsedKey> for ManifestKey {
    fn from(UsedKey { key, first_used_at, retired_at }: UsedKey) -> Self {
        Self {
            key_id: key.hex_id(),
            verifier_key: key.verifier_key(),
            pem: key.pem(),
            name: key.name,
            first_used_at: timestamp::seconds(first_used_at),
            retired_at: retired_at.map(timestamp::seconds),
        }
    }
}
