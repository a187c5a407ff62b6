//! Tests of AssumeRole: the requests, and what the errors mean.

use audit_log_core::failure::Party;
use serde_json::json;

use super::*;
use crate::clients::MAX_ATTEMPTS;

/// The fields of a form, decoded.
fn form(body: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (decode(name), decode(value))).unwrap();
    body.split('&').map(pair).collect()
}

#[tokio::test(start_paused = true)]
async fn a_role_is_assumed_for_one_window_and_one_folder_with_the_external_id() {
    let aws = Aws::new();
    open(&aws, &config(Draft::default())).await.unwrap();
    let [request] = &aws.sent("AssumeRole")[..] else { panic!("not one request") };
    assert_eq!(request.line, "POST https://sts.eu-central-1.amazonaws.com/", "the regional endpoint");
    let mut form = form(&request.body);
    let policy = form.iter().position(|(name, _)| name == "Policy").map(|at| form.remove(at).1).unwrap();
    form.sort();
    let expected = [
        ("Action", "AssumeRole"),
        ("DurationSeconds", "900"),
        ("ExternalId", "3f6c1d2e-external"),
        ("RoleArn", "arn:aws:iam::222222222222:role/audit"),
        ("RoleSessionName", "acme-20261121T100000Z-20261121T110000Z"),
        ("Version", "2011-06-15"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    assert_eq!(
        policy["Statement"][0],
        json!({
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": "arn:aws:s3:::acme-audit/security/audit-logs/tenant=acme/*",
        })
    );
}

fn rotating() -> TenantConfig {
    config(Draft { pending_external_id: Some("9b0e7a44-pending".to_owned()), ..Draft::default() })
}

/// The external IDs of the requests, in order.
fn external_ids(aws: &Aws) -> Vec<String> {
    let of = |sent: &stub::Sent| {
        form(&sent.body).into_iter().find_map(|(name, value)| (name == "ExternalId").then_some(value))
    };
    aws.sent("AssumeRole").iter().filter_map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn in_a_rotation_a_refused_role_is_assumed_with_the_pending_external_id() {
    const BOTH: [&str; 2] = ["3f6c1d2e-external", "9b0e7a44-pending"];
    let denied = || Reply::sts(403, "AccessDenied");
    for (replies, expected, asked) in [
        (vec![stub::role_credentials()], None, &BOTH[..1]),
        (vec![denied(), stub::role_credentials()], None, &BOTH),
        (vec![denied(), denied()], Some(Code::AssumeRoleDenied), &BOTH),
        // The platform's failure counts: the role may take the pending one.
        (vec![denied(), Reply::sts(403, "RegionDisabledException")], Some(Code::StsRegionDisabled), &BOTH),
        // Only a refusal leads to the pending one.
        (vec![Reply::sts(403, "RegionDisabledException")], Some(Code::StsRegionDisabled), &BOTH[..1]),
    ] {
        let case = format!("{replies:?}");
        let reply = move |_: &stub::Sent, earlier: usize| replies[earlier].clone();
        let aws = Aws::new().answering("AssumeRole", reply);
        assert_eq!(open(&aws, &rotating()).await.err().map(|failure| failure.code), expected, "{case}");
        assert_eq!(external_ids(&aws), asked, "{case}");
        // The two requests differ in nothing else.
        let others = |sent: &stub::Sent| {
            form(&sent.body).into_iter().filter(|(name, _)| name != "ExternalId").collect::<Vec<_>>()
        };
        let sent = aws.sent("AssumeRole");
        assert!(sent.windows(2).all(|pair| others(&pair[0]) == others(&pair[1])), "{case}");
    }
    let aws = Aws::new().on("AssumeRole", [denied()]);
    assert!(open(&aws, &config(Draft::default())).await.is_err());
    assert_eq!(external_ids(&aws), BOTH[..1], "there is no rotation");
}

#[tokio::test(start_paused = true)]
async fn requests_to_s3_have_the_tenants_credentials_and_those_to_sts_the_exporters() {
    let aws = Aws::new().on("PutObject", [Reply::ok("")]);
    store(&aws, BODY).await.unwrap();
    let signed_by = |operation: &str, credential: &str| {
        let request = aws.sent(operation).remove(0);
        let authorization = request.header("authorization").unwrap().to_owned();
        assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={credential}/")), "{authorization}");
        (authorization, request.header("x-amz-security-token").map(str::to_owned))
    };
    assert_eq!(signed_by("AssumeRole", "AKIAPLATFORM").1, None);
    let (authorization, token) = signed_by("PutObject", "ASIATENANT");
    assert_eq!(token.as_deref(), Some("tenant-token"));
    assert!(authorization.contains("/eu-west-1/s3/aws4_request"), "signed for another region: {authorization}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_role_is_the_customers_failure_and_not_retried() {
    let aws = Aws::new().on("AssumeRole", [Reply::sts(403, "AccessDenied")]);
    let failure = open(&aws, &config(Draft::default())).await.unwrap_err();
    assert_eq!(failure.code, Code::AssumeRoleDenied);
    assert!(failure.message.contains("arn:aws:iam::222222222222:role/audit"), "{}", failure.message);
    assert_eq!(aws.sent("AssumeRole").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_errors_of_sts_are_the_platforms_failures() {
    for (reply, code, tries) in [
        (Reply::sts(400, "Throttling"), Code::Throttled, MAX_ATTEMPTS),
        (Reply::sts(500, "InternalFailure"), Code::Unavailable, MAX_ATTEMPTS),
        (Reply::sts(503, "ServiceUnavailable"), Code::Unavailable, MAX_ATTEMPTS),
        (Reply::Lost, Code::Unavailable, MAX_ATTEMPTS),
        (Reply::sts(403, "ExpiredTokenException"), Code::CredentialsExpired, 1),
        (Reply::sts(403, "InvalidClientTokenId"), Code::PlatformDenied, 1),
        (Reply::sts(400, "PackedPolicyTooLarge"), Code::Unexpected, 1),
        (Reply::ok("<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>"), Code::Unexpected, 1),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("AssumeRole", [reply]);
        let failure = open(&aws, &config(Draft::default())).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (code, Party::Platform), "{case}");
        assert_eq!(aws.sent("AssumeRole").len(), tries as usize, "{case}");
    }
}

/// The stub's exporter has the account 111111111111 and the role 222222222222.
#[tokio::test(start_paused = true)]
async fn a_region_that_is_off_in_sts_is_the_failure_of_the_account_that_aws_names() {
    let off_for = |account: &str| {
        let message = format!(
            "STS is not activated in this region for account:{account}. Your account administrator can activate STS in \
             this region using the IAM Console."
        );
        Reply::sts_saying(403, "RegionDisabledException", &message)
    };
    let of_customer = Failure::new(
        Code::StsRegionDisabled,
        "STS is not active in eu-central-1 for the account 222222222222, so the platform can't assume the role \
         arn:aws:iam::222222222222:role/audit.",
    );
    let of_platform =
        Failure::new(Code::PlatformDenied, "STS is not active in eu-central-1 for the platform's own account.");
    for (reply, failure) in [
        (off_for("222222222222"), &of_customer),
        (off_for("111111111111"), &of_platform),
        // AWS documents that the region must be active for the role's account.
        (Reply::sts(403, "RegionDisabledException"), &of_customer),
    ] {
        let aws = Aws::new().on("AssumeRole", [reply]);
        assert_eq!(open(&aws, &config(Draft::default())).await.unwrap_err(), *failure);
        assert_eq!(aws.sent("AssumeRole").len(), 1);
    }
    assert_eq!((of_customer.party, of_platform.party), (Party::Customer, Party::Platform));
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_refused_by_a_policy_of_the_platform_is_the_platforms_failure() {
    let refused = |reason: &str| {
        let user = "User: arn:aws:sts::111111111111:assumed-role/audit-log-exporter/x";
        let message = format!(
            "{user} is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::222222222222:role/audit {reason}"
        );
        Aws::new().on("AssumeRole", [Reply::sts_saying(403, "AccessDenied", &message)])
    };
    for (reason, code, named) in [
        ("with an explicit deny in a service control policy", Code::PlatformDenied, "SCP"),
        ("because no permissions boundary allows the sts:AssumeRole action", Code::PlatformDenied, "boundary"),
        ("because no identity-based policy allows the sts:AssumeRole action", Code::PlatformDenied, "own role"),
        ("with an explicit deny in an identity-based policy", Code::PlatformDenied, "own role"),
        ("because no VPC endpoint policy allows the sts:AssumeRole action", Code::PlatformDenied, "VPC endpoint"),
        ("with an explicit deny in a resource control policy", Code::AssumeRoleDenied, "RCP"),
        ("because no resource-based policy allows the sts:AssumeRole action", Code::AssumeRoleDenied, "external ID"),
    ] {
        let failure = open(&refused(reason), &config(Draft::default())).await.unwrap_err();
        assert_eq!(failure.code, code, "{reason}");
        assert!(failure.message.contains(named), "{}", failure.message);
    }
    // With an organization that the exporter's own policy denies.
    for (reason, code, named) in [
        ("with an explicit deny in an identity-based policy", Code::ConfigInvalid, "the platform's own organization"),
        ("because no identity-based policy allows the sts:AssumeRole action", Code::PlatformDenied, "own role"),
    ] {
        let aws = refused(reason).sdk_config();
        let buckets = AssumedBuckets::new(&aws, Pace::per_second(NonZeroU32::MAX), Budget::new(4 * PART_BYTES), true);
        let failure = buckets.open(&config(Draft::default()), window()).await.unwrap_err();
        assert_eq!(failure.code, code, "{reason}");
        assert!(failure.message.contains(named), "{}", failure.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_retried_until_it_succeeds() {
    let throttled = || Reply::sts(400, "Throttling");
    let aws = Aws::new().on("AssumeRole", [throttled(), throttled(), stub::role_credentials()]);
    open(&aws, &config(Draft::default())).await.unwrap();
    assert_eq!(aws.sent("AssumeRole").len(), 3);
}
