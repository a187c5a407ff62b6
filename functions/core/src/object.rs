//! The exported object: its key, headers and bytes. Every name in a customer's bucket is made here.

mod encoder;

pub use encoder::{Encoder, Finished};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::{
    schedule::Window,
    settings::TenantConfig,
    tenant::{Compression, Prefix, TenantId},
    timestamp,
};

/// Returns the folder of all of a tenant's objects: `[<prefix>/]audit-logs/tenant=<id>/`. The credentials of a delivery
/// are limited to it.
pub fn tenant_folder(prefix: &Prefix, tenant: &TenantId) -> String {
    let slash = if prefix.as_str().is_empty() { "" } else { "/" };
    format!("{prefix}{slash}audit-logs/tenant={tenant}/")
}

/// The folder, in a tenant's own, of what the system writes beside data. No name in it has the extension of data: a reader of all
/// `**/*.json`, `*.ndjson` or `*.gz` must find data alone, since a file outside the folders `dt=…` breaks it.
const SYSTEM_FOLDER: &str = "_audit-log-export/";

/// Returns a key that a role limited to the tenant's folder can't write. It is in a folder like that of a tenant whose id goes on,
/// so that a role for all tenants' folders (`audit-logs/*`, `audit-logs/tenant=*`) and one without the slash (`tenant=acme*`) are
/// noticed too. Always the same for a tenant: if a role may put but not delete, each daily check would leave another object
/// otherwise.
pub fn key_outside_folder(prefix: &Prefix, tenant: &TenantId) -> String {
    let (folder, name) = (tenant_folder(prefix, tenant), probe_name(tenant));
    format!("{}{name}/{name}", folder.trim_end_matches('/'))
}

/// Returns a key that a role limited to the prefix can't write. It is next to the prefix, so that a policy without the
/// slash (`security*` for `security/*`) is noticed too. None without a prefix, since no key is outside then.
pub fn key_outside_prefix(prefix: &Prefix, tenant: &TenantId) -> Option<String> {
    (!prefix.as_str().is_empty()).then(|| format!("{prefix}{}", probe_name(tenant)))
}

/// The name of an object outside a tenant's folder. Engines skip names that begin with an underscore. The hash keeps it different
/// from the customer's own names.
fn probe_name(tenant: &TenantId) -> String {
    let hash: String = sha256(tenant.as_str().as_bytes()).chars().take(32).collect();
    format!("_audit-log-export-probe-{hash}")
}

/// Which of a window's manifests one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestClass {
    Regular,
    /// Of a window that was delivered again with other bytes; counts from 1.
    Amended(u32),
    /// Of a window of a final delivery.
    Final,
}

/// An object's key and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSpec {
    pub key: String,
    pub content_type: &'static str,
    /// User-defined metadata; the names are without `x-amz-meta-`.
    pub metadata: [(&'static str, String); 4],
}

impl ObjectSpec {
    /// A window's object; `file` counts from 1.
    pub fn new(config: &TenantConfig, window: Window, file: u32) -> Self {
        Self::named(config, window, &format!("{file:04}"))
    }

    /// An object of a minute that is delivered again because of late arrivals; `file` counts from 1.
    pub fn late(config: &TenantConfig, minute: Window, file: u32) -> Self {
        Self::named(config, minute, &format!("late_{file:04}"))
    }

    /// An object of a final delivery, or of a minute that one delivers again; `file` counts from 1.
    pub fn final_delivery(config: &TenantConfig, window: Window, late: Option<Window>, file: u32) -> Self {
        match late {
            Some(minute) => Self::named(config, minute, &format!("final_late_{file:04}")),
            None => Self::named(config, window, &format!("final_{file:04}")),
        }
    }

    fn named(config: &TenantConfig, window: Window, name: &str) -> Self {
        let folder = tenant_folder(&config.prefix, &config.tenant);
        let day = window.from.format("%Y-%m-%d");
        let extension = config.format.as_str();
        let gz = match config.compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
        };
        Self {
            key: format!("{folder}dt={day}/{window}_{name}.{extension}{gz}"),
            content_type: config.format.content_type(),
            metadata: [
                ("tenant-id", config.tenant.to_string()),
                ("window-from", timestamp::seconds(window.from)),
                ("window-to", timestamp::seconds(window.to)),
                ("schema-version", config.schema.version().to_owned()),
            ],
        }
    }

    /// The object that a verification stores, with the headers of an export. Its name is always the same, so that only
    /// one exists.
    pub fn connectivity_check(config: &TenantConfig, at: DateTime<Utc>) -> Self {
        let key = format!("{}{SYSTEM_FOLDER}connectivity-check", tenant_folder(&config.prefix, &config.tenant));
        Self { key, content_type: "text/plain", ..Self::new(config, Window { from: at, to: at }, 1) }
    }

    /// A window's manifest.
    pub fn manifest(config: &TenantConfig, window: Window, class: ManifestClass) -> Self {
        let folder = tenant_folder(&config.prefix, &config.tenant);
        let day = window.from.format("%Y-%m-%d");
        let class = match class {
            ManifestClass::Regular => String::new(),
            ManifestClass::Amended(number) => format!(".amended-{number}"),
            ManifestClass::Final => ".final".to_owned(),
        };
        let key = format!("{folder}{SYSTEM_FOLDER}manifests/{day}/{window}{class}.manifest");
        Self { key, content_type: "text/plain; charset=utf-8", ..Self::new(config, window, 1) }
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{
        Draft,
        tests::{draft, platform},
    };

    fn spec(draft: &Draft, file: u32) -> ObjectSpec {
        let config = draft.check(&TenantId::parse("acme").unwrap(), &platform()).unwrap();
        let window =
            Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() };
        ObjectSpec::new(&config, window, file)
    }

    /// As in docs/exported-objects.md; these never change.
    const KEYS: [&str; 4] = [
        "audit-logs/tenant=acme/dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.json",
        "audit-logs/tenant=acme/dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.json.gz",
        "audit-logs/tenant=acme/dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.ndjson",
        "audit-logs/tenant=acme/dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.ndjson.gz",
    ];

    #[test]
    fn the_key_of_every_format_is_the_one_in_the_docs() {
        let page = include_str!("../../../docs/exported-objects.md");
        let formats = [("json", "none"), ("json", "gzip"), ("ndjson", "none"), ("ndjson", "gzip")];
        for ((format, compression), key) in formats.into_iter().zip(KEYS) {
            let (format, compression) = (Some(format.to_owned()), Some(compression.to_owned()));
            assert_eq!(spec(&Draft { format, compression, ..draft() }, 1).key, key);
            assert!(page.contains(key), "{key} is not in docs/exported-objects.md");
        }
    }

    #[test]
    fn a_key_begins_with_the_prefix_and_ends_with_the_number_of_the_file() {
        let prefixed = spec(&Draft { prefix: Some("security".to_owned()), ..draft() }, 12);
        assert_eq!(
            prefixed.key,
            "security/audit-logs/tenant=acme/dt=2026-11-21/20261121T100000Z_20261121T110000Z_0012.json"
        );
    }

    #[test]
    fn the_key_of_a_verification_is_in_the_tenants_folder_and_those_outside_are_next_to_folder_and_prefix() {
        let draft = Draft { prefix: Some("security/saas".to_owned()), format: Some("ndjson".to_owned()), ..draft() };
        let config = draft.check(&TenantId::parse("acme").unwrap(), &platform()).unwrap();
        let check = ObjectSpec::connectivity_check(&config, "2026-11-21T10:00:00Z".parse().unwrap());
        assert_eq!(check.key, "security/saas/audit-logs/tenant=acme/_audit-log-export/connectivity-check");
        assert_eq!(check.content_type, "text/plain");
        // printf acme | sha256sum
        const PROBE: &str = "_audit-log-export-probe-822b33ad87c148a0a20a5ba7cd5ebcaa";
        let (tenant, none) = (&config.tenant, Prefix::default());
        assert_eq!(
            key_outside_folder(&config.prefix, tenant),
            format!("security/saas/audit-logs/tenant=acme{PROBE}/{PROBE}")
        );
        assert_eq!(key_outside_folder(&none, tenant), format!("audit-logs/tenant=acme{PROBE}/{PROBE}"));
        assert_eq!(key_outside_prefix(&config.prefix, tenant), Some(format!("security/saas{PROBE}")));
        assert_eq!(key_outside_prefix(&none, tenant), None, "there is no outside");
    }

    #[test]
    fn a_reader_of_all_files_with_an_extension_finds_data_alone() {
        let config = draft().check(&TenantId::parse("acme").unwrap(), &platform()).unwrap();
        let check = ObjectSpec::connectivity_check(&config, "2026-11-21T10:00:00Z".parse().unwrap()).key;
        let prefix = Prefix::parse("security").unwrap();
        let outside = key_outside_prefix(&prefix, &config.tenant).unwrap();
        let window = Window { from: DateTime::UNIX_EPOCH, to: DateTime::UNIX_EPOCH };
        let classes = [ManifestClass::Regular, ManifestClass::Amended(1), ManifestClass::Final];
        let manifests = classes.map(|class| ObjectSpec::manifest(&config, window, class).key);
        for key in manifests.into_iter().chain([check, outside, key_outside_folder(&prefix, &config.tenant)]) {
            let extension = key.rsplit('/').next().unwrap().rsplit_once('.').map(|(_, extension)| extension);
            assert!(extension.is_none_or(|extension| extension == "manifest"), "{key}");
        }
    }

    #[test]
    fn the_metadata_has_the_tenant_and_the_window() {
        let ndjson = spec(&Draft { format: Some("ndjson".to_owned()), ..draft() }, 1);
        assert_eq!(ndjson.content_type, "application/x-ndjson");
        let metadata: Vec<String> = ndjson.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            metadata,
            [
                "tenant-id=acme",
                "window-from=2026-11-21T10:00:00Z",
                "window-to=2026-11-21T11:00:00Z",
                "schema-version=1"
            ]
        );
    }
}
