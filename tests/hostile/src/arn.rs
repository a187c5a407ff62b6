//! Names of AWS that a tenant hands over: what is accepted prints as it was read, and is nobody else's.

use std::{fmt::Display, net::Ipv4Addr};

use audit_log_core::{
    object::tenant_folder,
    tenant::{
        AccountId, BucketName, EventShards, ExternalId, Frequency, Invalid, KmsKeyArn, Platform, Prefix, Region,
        RoleArn, TenantId,
    },
};

/// Takes a text and reads it as each kind of name; it is accepted if it is a role, a key or a bucket.
pub fn check(data: &[u8]) -> bool {
    let text = &*String::from_utf8_lossy(data);
    a_number(text);
    a_name(text);
    a_prefix(text);
    // Not one after the other until one is accepted: each has to be tried.
    [is_role(text), is_key(text), is_bucket(text)].contains(&true)
}

/// What was accepted; of what was not, the reason can be shown and logged.
pub(crate) fn accepted<T>(read: Result<T, Invalid>) -> Option<T> {
    if let Err(Invalid(reason)) = &read {
        assert!(!reason.is_empty() && reason.len() < 1000, "a reason is too long");
        assert!(!reason.chars().any(char::is_control), "a reason breaks its line");
    }
    read.ok()
}

fn prints_as_it_was_read(name: impl Display, text: &str) {
    assert_eq!(name.to_string(), text, "it was read as something else");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "a character that no name has");
}

fn is_role(text: &str) -> bool {
    let Some(role) = accepted(RoleArn::parse(text)) else { return false };
    prints_as_it_was_read(role.as_str(), text);
    let whose = format!("arn:{}:iam::{}:role/", role.partition(), role.account());
    assert!(text.starts_with(&whose), "another account's, or another partition's");
    is_account(role.account());
    let name = text.rsplit('/').next().unwrap_or_default();
    assert!((1..=64).contains(&name.len()) && !name.contains([':', '*', '?', '$']), "no role has that name");
    true
}

fn is_key(text: &str) -> bool {
    let Some(key) = accepted(KmsKeyArn::parse(text)) else { return false };
    prints_as_it_was_read(&key, text);
    let region = key.region();
    let account = text.split(':').nth(4).unwrap_or_default();
    assert!(text.starts_with(&format!("arn:{}:kms:{region}:{account}:key/", region.partition())), "another region's");
    is_account(&AccountId::parse(account).expect("the account was checked"));
    assert!(!text.contains(['*', '?', '$']) && text.matches('/').count() == 1, "a policy would read it otherwise");
    true
}

fn is_bucket(text: &str) -> bool {
    let Some(bucket) = accepted(BucketName::parse(text)) else { return false };
    prints_as_it_was_read(&bucket, text);
    let in_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    assert!(text.bytes().all(in_host) && (3..=63).contains(&text.len()), "no bucket has that name");
    assert!(text.parse::<Ipv4Addr>().is_err(), "an address is no bucket");
    true
}

fn a_prefix(text: &str) {
    let Some(prefix) = accepted(Prefix::parse(text)) else { return };
    assert_eq!(Prefix::parse(prefix.as_str()).as_ref(), Ok(&prefix), "what is normal is normalised again");
    assert_eq!(prefix.as_str().replace('/', ""), text.replace('/', ""), "more than slashes was taken out");
    let acme = TenantId::parse("acme").expect("a tenant");
    let folder = tenant_folder(&prefix, &acme);
    assert!(folder.starts_with(prefix.as_str()) && folder.ends_with("audit-logs/tenant=acme/"));
    is_key_of_s3(&folder);
}

fn a_name(text: &str) {
    if let Some(tenant) = accepted(TenantId::parse(text)) {
        prints_as_it_was_read(&tenant, text);
        assert!(!text.contains(['/', '#', '.', ':']), "it could reach another tenant's folder or key");
    }
    if let Some(id) = accepted(ExternalId::parse(text)) {
        prints_as_it_was_read(&id, text);
        assert_eq!(format!("{id:?}"), "ExternalId(…)", "it would stand in logs");
        assert_ne!(id.another("salt"), id);
    }
    if let Some(account) = accepted(AccountId::parse(text)) {
        prints_as_it_was_read(&account, text);
        is_account(&account);
    }
    if let Some(region) = accepted(Region::parse(text)) {
        prints_as_it_was_read(region, text);
    }
    if let Some(platform) = accepted(Platform::from_function_arn(text)) {
        assert!(text.starts_with(&format!("arn:{}:lambda:", platform.partition)), "another partition's");
        is_account(&platform.account);
    }
}

fn a_number(text: &str) {
    if let Some(frequency) = accepted(Frequency::parse(text)) {
        assert!((1..=24).contains(&frequency.hours()));
        assert_eq!(Frequency::parse(&frequency.hours().to_string()), Ok(frequency));
    }
    if let Some(shards) = accepted(EventShards::parse(text)) {
        assert!((1..=64).contains(&shards.count()));
        assert_eq!(EventShards::parse(&shards.count().to_string()), Ok(shards));
    }
}

fn is_account(account: &AccountId) {
    let text = account.as_str();
    assert!(text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()), "no account has that number");
}

/// By "Naming Amazon S3 objects" in the Amazon S3 user guide: at most 1,024 bytes, of characters that need no special
/// handling (and the `=` of the folders), and no part that a client would resolve.
pub(crate) fn is_key_of_s3(key: &str) {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"!_.'()-/=".contains(&byte);
    assert!(key.len() <= 1024 && key.bytes().all(safe), "no key is written like that: {key:?}");
    let folders = key.strip_suffix('/').unwrap_or(key).split('/');
    assert!(folders.into_iter().all(|part| !matches!(part, "" | "." | "..")), "a client would resolve {key:?}");
}
