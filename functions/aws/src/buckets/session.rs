//! What an assumed session is called and what it may do.

use audit_log_core::{object::tenant_folder, schedule::Window, settings::TenantConfig, tenant::TenantId, timestamp};
use serde_json::json;

/// The longest session name that STS takes.
const NAME_MAX: usize = 64;

/// `<tenant>-<from>-<to>`, for the customer's CloudTrail. The window stands whole; the tenant is cut to what is left.
///
/// Every character of a tenant id is one that STS allows in a `RoleSessionName` (`[\w+=,.@-]`, 2 to 64 characters).
pub(super) fn name(tenant: &TenantId, window: Window) -> String {
    named(tenant, &format!("{}-{}", timestamp::compact(window.from), timestamp::compact(window.to)))
}

/// `<tenant>-connectivity-check`, cut in the same way.
pub(super) fn name_of_check(tenant: &TenantId) -> String {
    named(tenant, "connectivity-check")
}

fn named(tenant: &TenantId, purpose: &str) -> String {
    let left = NAME_MAX - purpose.len() - 1;
    let tenant: String = tenant.as_str().chars().take(left).collect();
    format!("{tenant}-{purpose}")
}

/// The inline session policy. A session has no more rights than this and the role have in common, so even a role that
/// is open too wide lets one tenant's delivery reach no other tenant's folder, nor read or delete anything.
///
/// The use of a KMS key is limited to S3 in the bucket's region. Without a key in the settings any key is meant, since
/// the bucket may encrypt with one by default; the role's own rights decide. S3 needs `kms:Decrypt` beside
/// `kms:GenerateDataKey` for multipart uploads (by "Protecting data using SSE-KMS" in the S3 user guide).
pub(super) fn policy(config: &TenantConfig) -> String {
    let partition = config.role.partition();
    let folder = tenant_folder(&config.prefix, &config.tenant);
    let via = format!("s3.{}.{}", config.region, partition.dns_suffix());
    let key = config.kms_key.as_ref().map_or("*", |key| key.as_str());
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
                "Resource": format!("arn:{partition}:s3:::{}/{folder}*", config.bucket),
            },
            {
                "Effect": "Allow",
                "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                "Resource": key,
                "Condition": { "StringEquals": { "kms:ViaService": via } },
            },
        ],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use audit_log_core::{settings::Draft, tenant::Platform};

    use super::*;

    fn config(draft: Draft, tenant: &str, partition: &str) -> TenantConfig {
        let arn = format!("arn:{partition}:lambda:x:111111111111:function:exporter");
        let text = |text: &str| Some(text.to_owned());
        let draft = Draft {
            external_id: text("external"),
            role_arn: Some(format!("arn:{partition}:iam::222222222222:role/audit")),
            bucket: draft.bucket.or_else(|| text("acme-audit")),
            frequency_hours: text("1"),
            ..draft
        };
        draft.check(&TenantId::parse(tenant).unwrap(), &Platform::from_function_arn(&arn).unwrap()).unwrap()
    }

    #[test]
    fn a_session_is_named_after_tenant_and_window_and_the_window_is_never_cut() {
        let window =
            Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() };
        let name = |tenant: &str| name(&TenantId::parse(tenant).unwrap(), window);
        assert_eq!(name("acme"), "acme-20261121T100000Z-20261121T110000Z");
        assert_eq!(name(&"x".repeat(64)), format!("{}-20261121T100000Z-20261121T110000Z", "x".repeat(30)));
        assert_eq!(name(&"x".repeat(64)).len(), 64);
        assert_eq!(name_of_check(&TenantId::parse("acme").unwrap()), "acme-connectivity-check");
    }

    #[test]
    fn a_session_reaches_one_tenants_folder_in_every_partition() {
        for (partition, region, via) in [
            ("aws", "eu-west-1", "s3.eu-west-1.amazonaws.com"),
            ("aws-cn", "cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
            ("aws-us-gov", "us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"),
        ] {
            let draft =
                Draft { region: Some(region.to_owned()), prefix: Some("security".to_owned()), ..Draft::default() };
            let policy: serde_json::Value = serde_json::from_str(&policy(&config(draft, "acme", partition))).unwrap();
            assert_eq!(
                policy["Statement"][0]["Resource"],
                format!("arn:{partition}:s3:::acme-audit/security/audit-logs/tenant=acme/*")
            );
            assert_eq!(policy["Statement"][0]["Action"], json!(["s3:PutObject", "s3:AbortMultipartUpload"]));
            assert_eq!(policy["Statement"][1]["Condition"]["StringEquals"]["kms:ViaService"], via);
            assert_eq!(policy["Statement"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_session_uses_the_settings_key_alone_where_there_is_one() {
        let key = "arn:aws:kms:eu-west-1:222222222222:key/1234";
        let draft =
            Draft { region: Some("eu-west-1".to_owned()), kms_key_arn: Some(key.to_owned()), ..Draft::default() };
        let policy: serde_json::Value = serde_json::from_str(&policy(&config(draft, "acme", "aws"))).unwrap();
        assert_eq!(policy["Statement"][1]["Resource"], key);
    }

    /// STS takes at most 2,048 characters of inline policy.
    #[test]
    fn the_longest_policy_fits() {
        let draft = Draft {
            region: Some("ap-southeast-1".to_owned()),
            bucket: Some("b".repeat(63)),
            prefix: Some("p".repeat(256)),
            kms_key_arn: Some(format!("arn:aws:kms:ap-southeast-1:222222222222:key/{}", "k".repeat(64))),
            ..Draft::default()
        };
        assert!(policy(&config(draft, &"x".repeat(64), "aws")).len() < 2048);
    }
}
