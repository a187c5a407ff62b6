//! ARNs, buckets and other names from tenants: an accepted name prints as it was read, and can't mean another's resource.

use std::{fmt::Display, net::Ipv4Addr};

use audit_log_core::{
    object::tenant_folder,
    tenant::{
        AccountId, BucketName, EventShards, ExternalId, Frequency, Invalid, KmsKeyArn, Platform, Prefix, Region,
        RoleArn, TenantId,
    },
};

/// Parses a text as each kind of name. It is accepted if it is a role, a key or a bucket.
pub fn check(data: &[u8]) -> bool {
    let text = &*String::from_utf8_lossy(data);
    check_number(text);
    check_name(text);
    check_prefix(text);
    // An array, since `||` would skip some.
    [check_role(text), check_key(text), check_bucket(text)].contains(&true)
}

/// Returns an accepted name, or checks that the reason of a refusal can be shown and logged.
pub(crate) fn accepted<T>(read: Result<T, Invalid>) -> Option<T> {
    if let Err(Invalid(reason)) = &read {
        assert!(!reason.is_empty() && reason.len() < 1000, "the reason is empty or too long");
        assert!(!reason.chars().any(char::is_control), "the reason has a line break");
    }
    read.ok()
}

fn check_printed(name: impl Display, text: &str) {
    assert_eq!(name.to_string(), text, "the name was changed");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "an invalid character");
}

fn check_role(text: &str) -> bool {
    let Some(role) = accepted(RoleArn::parse(text)) else { return false };
    check_printed(role.as_str(), text);
    let prefix = format!("arn:{}:iam::{}:role/", role.partition(), role.account());
    assert!(text.starts_with(&prefix), "another account or partition");
    check_account(role.account());
    let name = text.rsplit('/').next().unwrap_or_default();
    assert!((1..=64).contains(&name.len()) && !name.contains([':', '*', '?', '$']), "not a role's name");
    true
}

fn check_key(text: &str) -> bool {
    let Some(key) = accepted(KmsKeyArn::parse(text)) else { return false };
    check_printed(&key, text);
    let region = key.region();
    let account = text.split(':').nth(4).unwrap_or_default();
    assert!(text.starts_with(&format!("arn:{}:kms:{region}:{account}:key/", region.partition())), "another region");
    check_account(&AccountId::parse(account).expect("the account was checked"));
    assert!(!text.contains(['*', '?', '$']) && text.matches('/').count() == 1, "a policy would read it differently");
    true
}

fn check_bucket(text: &str) -> bool {
    let Some(bucket) = accepted(BucketName::parse(text)) else { return false };
    check_printed(&bucket, text);
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    assert!(text.bytes().all(in_path) && (3..=255).contains(&text.len()), "not a bucket's name");
    let in_host = |byte: u8| in_path(byte) && !byte.is_ascii_uppercase() && byte != b'_';
    for region in Region::all().filter(|region| accepted(bucket.check_in(*region)).is_some()) {
        let is_host = text.bytes().all(in_host) && text.len() <= 63;
        assert!(is_host || region.as_str() == "us-east-1", "not a bucket's name in {region}");
    }
    assert!(text.parse::<Ipv4Addr>().is_err(), "an IP address");
    true
}

fn check_prefix(text: &str) {
    let Some(prefix) = accepted(Prefix::parse(text)) else { return };
    assert_eq!(Prefix::parse(prefix.as_str()).as_ref(), Ok(&prefix), "normalizing twice changes it");
    assert_eq!(prefix.as_str().replace('/', ""), text.replace('/', ""), "more than slashes was removed");
    let acme = TenantId::parse("acme").expect("a tenant");
    let folder = tenant_folder(&prefix, &acme);
    assert!(folder.starts_with(prefix.as_str()) && folder.ends_with("audit-logs/tenant=acme/"));
    check_object_key(&folder);
}

fn check_name(text: &str) {
    if let Some(tenant) = accepted(TenantId::parse(text)) {
        check_printed(&tenant, text);
        assert!(!text.contains(['/', '#', '.', ':']), "it could name another tenant's folder or key");
    }
    if let Some(id) = accepted(ExternalId::parse(text)) {
        check_printed(&id, text);
        assert_eq!(format!("{id:?}"), "ExternalId(…)", "logs would show it");
        assert_ne!(id.decoy("salt"), id);
    }
    if let Some(account) = accepted(AccountId::parse(text)) {
        check_printed(&account, text);
        check_account(&account);
    }
    if let Some(region) = accepted(Region::parse(text)) {
        check_printed(region, text);
    }
    if let Some(platform) = accepted(Platform::from_function_arn(text)) {
        assert!(text.starts_with(&format!("arn:{}:lambda:", platform.partition)), "another partition");
        check_account(&platform.account);
    }
}

fn check_number(text: &str) {
    if let Some(frequency) = accepted(Frequency::parse(text)) {
        assert!((1..=24).contains(&frequency.hours()));
        assert_eq!(Frequency::parse(&frequency.hours().to_string()), Ok(frequency));
    }
    if let Some(shards) = accepted(EventShards::parse(text)) {
        assert!((1..=64).contains(&shards.count()));
        assert_eq!(EventShards::parse(&shards.count().to_string()), Ok(shards));
    }
}

fn check_account(account: &AccountId) {
    let text = account.as_str();
    assert!(text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()), "not an account ID");
}

/// By "Naming Amazon S3 objects" in the Amazon S3 user guide: at most 1,024 bytes, of characters that need no special
/// handling, besides the `=` of the folders, and no part that a client would resolve.
pub(crate) fn check_object_key(key: &str) {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"!_.'()-/=".contains(&byte);
    assert!(key.len() <= 1024 && key.bytes().all(safe), "not a safe object key: {key:?}");
    let folders = key.strip_suffix('/').unwrap_or(key).split('/');
    assert!(folders.into_iter().all(|part| !matches!(part, "" | "." | "..")), "a client would resolve {key:?}");
}
