//! How to verify what was exported: the box on the status page, the public keys as files, and docs/proof.md as a page.

use std::sync::LazyLock;

use audit_log_core::{manifest::UsedKey, ports::ManifestKeys as _, records::ManifestState, timestamp};
use audit_log_web::{
    caller::Read,
    problem::{Code, Problem},
};
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::header;

use super::{
    document::{self, rendered},
    error_page::ErrorPage,
    session::{Session, Visitor},
    text::{When, shown},
};
use crate::{
    app::{App, Backend},
    exports::Receipt,
    manifest_keys,
};

static DOCUMENT: LazyLock<String> = LazyLock::new(|| rendered(include_str!("../../../../docs/proof.md")));

/// Where the system's own objects are in a tenant's folder.
const MANIFESTS: &str = "_audit-log-export/manifests/";

/// Needs no session: it has nothing of a tenant, and auditors may have no account here.
pub(super) async fn page(visitor: Visitor) -> Response {
    document::page(visitor.layout("Proof"), &DOCUMENT)
}

/// What a tenant needs to verify its exports.
pub(super) struct Proof {
    /// SHA-256 of the last window's manifest.
    pub(super) head: String,
    /// The key in use comes first. None if the keys can't be read.
    pub(super) keys: Option<Vec<KeyView>>,
    /// Copies the tenant's folder and verifies it. None if the folder of the last window isn't known.
    pub(super) commands: Option<String>,
    /// Whether the last window is delivered without a signature.
    pub(super) is_unsigned: bool,
}

pub(super) struct KeyView {
    pub(super) id: String,
    /// SHA-256 of the key, of which the id is the beginning.
    pub(super) fingerprint: String,
    pub(super) name: String,
    pub(super) file: String,
    pub(super) since: When,
    pub(super) until: Option<When>,
}

impl Proof {
    /// Reads the keys. `last` is the receipt of the last window, whose place has the head.
    pub(super) async fn load<B: Backend>(app: &App<B>, head: String, last: Option<&Receipt>) -> Self {
        // The rest of the status is of use without them.
        let keys = app.settings().manifest_keys().await.ok();
        let keys: Option<Vec<KeyView>> = keys.map(|keys| keys.into_iter().map(KeyView::from).collect());
        let manifest = last.and_then(|receipt| Some((receipt, receipt.manifest.as_ref()?)));
        let commands =
            manifest.and_then(|(receipt, manifest)| commands(&receipt.bucket, &manifest.key, &head, keys.as_deref()?));
        Self {
            head,
            keys,
            commands,
            is_unsigned: manifest.is_some_and(|(_, manifest)| manifest.state == ManifestState::Unsigned.as_str()),
        }
    }
}

/// Returns the commands that copy the folder of a manifest and verify it. `None` if the manifest is in no tenant's folder.
fn commands(bucket: &str, manifest: &str, head: &str, keys: &[KeyView]) -> Option<String> {
    let (folder, _) = manifest.rsplit_once(MANIFESTS)?;
    // The verifier takes the tenant from the folder's name.
    let copy = folder.trim_end_matches('/').rsplit('/').next()?;
    let url = format!("s3://{bucket}/{folder}");
    let mut verify = vec!["audit-log-verify"];
    verify.extend(keys.iter().flat_map(|key| ["--key", &key.file]));
    // Quoting fails only for NUL, which no key has.
    let sync = shlex::try_join(["aws", "s3", "sync", &url, copy]).ok()?;
    let [verify, rest] = [verify, vec!["--head", head, copy]].map(shlex::try_join::<Vec<&str>>);
    Some(format!("{sync}\n{} \\\n  {}", verify.ok()?, rest.ok()?))
}

fn file_name(key_id: &str) -> String {
    format!("manifest-key-{key_id}.pem")
}

impl From<UsedKey> for KeyView {
    fn from(UsedKey { key, first_used_at, retired_at }: UsedKey) -> Self {
        let minute = |at| When::minute(&timestamp::seconds(at));
        Self {
            file: file_name(&key.hex_id()),
            id: key.hex_id(),
            fingerprint: key.fingerprint(),
            name: shown(&key.name, 200),
            since: minute(first_used_at),
            until: retired_at.map(minute),
        }
    }
}

/// A public key as a file.
pub(super) async fn key<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    Path(name): Path<String>,
) -> Result<Response, ErrorPage> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let mut keys = manifest_keys::read(&app).await.map_err(refuse)?.into_iter();
    let Some(key) = keys.find(|key| file_name(&key.key_id) == name) else {
        return Err(refuse(Problem::new(Code::NotFound, "There is no such key.")));
    };
    let attachment = format!("attachment; filename=\"{name}\"");
    let headers =
        [(header::CONTENT_TYPE, "application/x-pem-file".to_owned()), (header::CONTENT_DISPOSITION, attachment)];
    Ok((headers, key.pem).into_response())
}
