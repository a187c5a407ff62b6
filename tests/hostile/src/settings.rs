//! Tenant settings as typed or stored: accepted settings are safe, and saving doesn't change them.

use audit_log_core::{
    object::{ObjectSpec, tenant_folder},
    schedule::Window,
    settings::{Draft, TenantConfig},
    tenant::{AccountId, Partition, Platform, TenantId},
};
use chrono::{DateTime, Utc};

use crate::arn::{accepted, check_object_key};

/// Takes lines of `<field>=<text>`, with the fields' names in the table.
pub fn check(data: &[u8]) -> bool {
    let (tenant, platform) = (tenant(), platform());
    let draft = draft(&String::from_utf8_lossy(data));
    let connection = draft.check_connection(&tenant, &platform);
    match draft.check(&tenant, &platform) {
        Ok(config) => {
            let connection = connection.expect("the connection of valid settings is valid");
            assert_eq!((&connection.external_id, &connection.role), (&config.external_id, &config.role));
            check_ownership(&config, &platform);
            check_object_keys(&config);
            let saved = Draft::from_config(&config, config.version);
            assert_eq!(saved.check(&tenant, &platform), Ok(config), "saving changes the settings");
            true
        }
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused without an error");
            for error in errors.0 {
                accepted::<()>(Err(audit_log_core::tenant::Invalid(error.message)));
            }
            false
        }
    }
}

fn tenant() -> TenantId {
    TenantId::parse("acme").expect("a tenant")
}

fn platform() -> Platform {
    Platform { account: AccountId::parse("111111111111").expect("an account"), partition: Partition::Aws }
}

fn draft(text: &str) -> Draft {
    let mut draft = Draft::default();
    for line in text.split('\n') {
        let Some((field, value)) = line.split_once('=') else { continue };
        let place = match field {
            "external_id" => &mut draft.external_id,
            "pending_external_id" => &mut draft.pending_external_id,
            "role_arn" => &mut draft.role_arn,
            "bucket" => &mut draft.bucket,
            "region" => &mut draft.region,
            "prefix" => &mut draft.prefix,
            "frequency_hours" => &mut draft.frequency_hours,
            "format" => &mut draft.format,
            "compression" => &mut draft.compression,
            "schema" => &mut draft.schema,
            "encryption" => &mut draft.encryption,
            "kms_key_arn" => &mut draft.kms_key_arn,
            "bucket_owner" => &mut draft.bucket_owner,
            "event_shards" => &mut draft.event_shards,
            "version" => &mut draft.version,
            _ => continue,
        };
        *place = Some(value.to_owned());
    }
    draft
}

fn check_ownership(config: &TenantConfig, platform: &Platform) {
    assert_eq!(config.tenant, tenant());
    assert_ne!(*config.role.account(), platform.account, "a role of the platform");
    assert_eq!(config.role.partition(), platform.partition, "the role is in another partition");
    assert_eq!(config.region.partition(), platform.partition, "the region is in another partition");
    if let Some(key) = config.encryption.kms_key() {
        assert_eq!(key.region(), config.region, "the key is in another region");
    }
    let owner = config.expected_bucket_owner();
    assert!(config.bucket_owner.as_ref().is_none_or(|named| named == owner));
    assert!(config.bucket_owner.is_some() || owner == config.role.account());
}

fn check_object_keys(config: &TenantConfig) {
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
    let folder = tenant_folder(&config.prefix, &config.tenant);
    let window = Window { from: at("2026-11-21T10:00:00Z"), to: at("2026-11-22T10:00:00Z") };
    let specs = [
        ObjectSpec::new(config, window, 1),
        ObjectSpec::new(config, window, u32::MAX),
        ObjectSpec::late(config, window, u32::MAX),
        ObjectSpec::connectivity_check(config, window.from),
    ];
    for spec in specs {
        check_object_key(&spec.key);
        assert!(spec.key.starts_with(&folder) && spec.key.len() > folder.len(), "outside the tenant's folder");
    }
}
