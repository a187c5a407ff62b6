//! The exported object: its key, its headers and its bytes. The one owner of every name in a customer's bucket.

mod encoder;

pub use encoder::{Encoder, Finished};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::{
    schedule::Window,
    settings::TenantConfig,
    tenant::{Compression, Format, Prefix, TenantId},
    timestamp,
};

/// The version of the exported objects' schema, as each object's metadata has it.
pub const SCHEMA_VERSION: &str = "1";

/// The folder that holds everything of one tenant, with the slash at its end: `[<prefix>/]audit-logs/tenant=<id>/`.
/// A delivery's credentials reach no further.
pub fn tenant_folder(prefix: &Prefix, tenant: &TenantId) -> String {
    let slash = if prefix.as_str().is_empty() { "" } else { "/" };
    format!("{prefix}{slash}audit-logs/tenant={tenant}/")
}

/// A key that no role limited to this folder may write: right beside it, where a policy that forgot the slash
/// (`security*` for `security/*`) reaches, too. None without a prefix, since then there is no outside. `unique` keeps
/// it from ever being a key of the customer's own.
pub fn key_outside(prefix: &Prefix, unique: &str) -> Option<String> {
    (!prefix.as_str().is_empty()).then(|| format!("{prefix}-connectivity-check-{unique}.json"))
}

/// What an object is called and how it is labelled, before there are any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSpec {
    /// The object's key.
    pub key: String,
    /// Its Content-Type.
    pub content_type: &'static str,
    /// Its user-defined metadata, names without `x-amz-meta-`.
    pub metadata: [(&'static str, String); 4],
}

impl ObjectSpec {
    /// The window's object number `file`, counted from 1.
    pub fn new(config: &TenantConfig, window: Window, file: u32) -> Self {
        Self::named(config, window, &format!("{file:04}"))
    }

    /// The object number `file` of a minute that is delivered again, since some of its events came too late for their
    /// window.
    pub fn late(config: &TenantConfig, minute: Window, file: u32) -> Self {
        Self::named(config, minute, &format!("late_{file:04}"))
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
                ("schema-version", SCHEMA_VERSION.to_owned()),
            ],
        }
    }

    /// The object that a verified connection leaves behind, labelled as an export of nothing. Its name is always the
    /// same, so that there is never more than one; query engines skip what begins with an underscore.
    pub fn connectivity_check(config: &TenantConfig, at: DateTime<Utc>) -> Self {
        let key = format!("{}_connectivity-check.json", tenant_folder(&config.prefix, &config.tenant));
        Self { key, content_type: Format::Json.content_type(), ..Self::new(config, Window { from: at, to: at }, 1) }
    }
}

/// SHA-256 of some bytes, in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
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

    /// The keys of every format, as docs/exported-objects.md shows them; they may never change.
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
    fn a_prefix_goes_before_the_folders_and_files_are_numbered() {
        let prefixed = spec(&Draft { prefix: Some("security".to_owned()), ..draft() }, 12);
        assert_eq!(
            prefixed.key,
            "security/audit-logs/tenant=acme/dt=2026-11-21/20261121T100000Z_20261121T110000Z_0012.json"
        );
    }

    #[test]
    fn the_key_of_a_check_is_in_the_tenants_folder_and_the_one_outside_is_right_beside_the_prefix() {
        let draft = Draft { prefix: Some("security/saas".to_owned()), format: Some("ndjson".to_owned()), ..draft() };
        let config = draft.check(&TenantId::parse("acme").unwrap(), &platform()).unwrap();
        let check = ObjectSpec::connectivity_check(&config, "2026-11-21T10:00:00Z".parse().unwrap());
        assert_eq!(check.key, "security/saas/audit-logs/tenant=acme/_connectivity-check.json");
        assert_eq!(check.content_type, "application/json");
        let outside = key_outside(&config.prefix, "1234");
        assert_eq!(outside.as_deref(), Some("security/saas-connectivity-check-1234.json"));
        assert_eq!(key_outside(&Prefix::default(), "1234"), None, "there is no outside");
    }

    #[test]
    fn an_object_says_whose_it_is_and_which_window_it_covers() {
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
