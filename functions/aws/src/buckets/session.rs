//! The names and policies of assumed sessions.

use audit_log_core::{
    object::tenant_folder,
    schedule::Window,
    settings::TenantConfig,
    tenant::{Encryption, KmsKeyArn, TenantId},
    timestamp,
};
use serde_json::json;

/// STS takes 2 to 64 of the characters `[\w+=,.@-]` as a `RoleSessionName`. All characters of a tenant id are among them.
const MAX_NAME_CHARACTERS: usize = 64;

/// `<tenant>-<from>-<to>`, for the customer's CloudTrail. Only the tenant is cut if the name is too long.
pub(super) fn export_name(tenant: &TenantId, window: Window) -> String {
    name(tenant, &format!("{}-{}", timestamp::compact(window.from), timestamp::compact(window.to)))
}

/// `<tenant>-connectivity-check`, cut in the same way.
pub(super) fn check_name(tenant: &TenantId) -> String {
    name(tenant, "connectivity-check")
}

fn name(tenant: &TenantId, purpose: &str) -> String {
    let max = MAX_NAME_CHARACTERS - purpose.len() - 1;
    let tenant: String = tenant.as_str().chars().take(max).collect();
    format!("{tenant}-{purpose}")
}

/// The inline session policy. A session has only the rights that both this and the role give. So a delivery can't reach
/// another tenant's folder, read or delete, whatever the role allows.
///
/// KMS keys can be used only through S3 in the bucket's region, and with SSE-S3 not at all. Where the bucket's default
/// applies and the settings name no key, the policy allows any, since that default may be a key; the rights of the role
/// decide. S3 needs `kms:Decrypt` beside `kms:GenerateDataKey` for multipart uploads ("Protecting data using SSE-KMS" in
/// the S3 user guide).
pub(super) fn policy(config: &TenantConfig) -> String {
    let partition = config.role.partition();
    let folder = tenant_folder(&config.prefix, &config.tenant);
    let via = format!("s3.{}.{}", config.region, partition.dns_suffix());
    let key = match &config.encryption {
        Encryption::Bucket(None) => Some("*"),
        encryption => encryption.kms_key().map(KmsKeyArn::as_str),
    };
    let write = json!({
        "Effect": "Allow",
        "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
        "Resource": format!("arn:{partition}:s3:::{}/{folder}*", config.bucket),
    });
    let encrypt = key.map(|key| {
        json!({
            "Effect": "Allow",
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": key,
            "Condition": { "StringEquals": { "kms:ViaService": via } },
        })
    });
    let statements: Vec<_> = [Some(write), encrypt].into_iter().flatten().collect();
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
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
    fn a_session_name_has_tenant_and_window_and_the_window_is_never_cut() {
        let window =
            Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() };
        let name = |tenant: &str| export_name(&TenantId::parse(tenant).unwrap(), window);
        assert_eq!(name("acme"), "acme-20261121T100000Z-20261121T110000Z");
        assert_eq!(name(&"x".repeat(64)), format!("{}-20261121T100000Z-20261121T110000Z", "x".repeat(30)));
        assert_eq!(name(&"x".repeat(64)).len(), 64);
        assert_eq!(check_name(&TenantId::parse("acme").unwrap()), "acme-connectivity-check");
    }

    #[test]
    fn a_session_reaches_one_tenants_folder_in_every_partition() {
        for (partition, region, via) in [
            ("aws", "eu-west-1", "s3.eu-west-1.amazonaws.com"),
            ("aws-cn", "cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
            ("aws-eusc", "eusc-de-east-1", "s3.eusc-de-east-1.amazonaws.eu"),
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
    fn a_session_can_use_only_the_key_of_the_settings_and_none_with_sse_s3() {
        const KEY: &str = "arn:aws:kms:eu-west-1:222222222222:key/1234";
        for (encryption, key, allowed) in [
            ("bucket", None, Some("*")),
            ("bucket", Some(KEY), Some(KEY)),
            ("sse-kms", Some(KEY), Some(KEY)),
            ("sse-s3", None, None),
        ] {
            let draft = Draft {
                region: Some("eu-west-1".to_owned()),
                encryption: Some(encryption.to_owned()),
                kms_key_arn: key.map(str::to_owned),
                ..Draft::default()
            };
            let policy: serde_json::Value = serde_json::from_str(&policy(&config(draft, "acme", "aws"))).unwrap();
            let keys = policy["Statement"].as_array().unwrap()[1..].iter().map(|statement| &statement["Resource"]);
            assert_eq!(keys.collect::<Vec<_>>(), Vec::from_iter(allowed), "{encryption} {key:?}");
        }
    }

    /// STS takes up to 2,048 characters of inline policy.
    #[test]
    fn the_longest_policy_fits() {
        let draft = Draft {
            region: Some("us-east-1".to_owned()),
            bucket: Some("B".repeat(255)),
            prefix: Some("p".repeat(256)),
            kms_key_arn: Some(format!("arn:aws:kms:us-east-1:222222222222:key/{}", "k".repeat(64))),
            ..Draft::default()
        };
        assert!(policy(&config(draft, &"x".repeat(64), "aws")).len() < 2048);
    }
}
