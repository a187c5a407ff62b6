//! Tests of AssumeRole: the requests, and what the errors mean.

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
        (Reply::sts(403, "RegionDisabledException"), Code::PlatformDenied, 1),
        (Reply::sts(400, "PackedPolicyTooLarge"), Code::Rejected, 1),
        (Reply::ok("<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>"), Code::Rejected, 1),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("AssumeRole", [reply]);
        let failure = open(&aws, &config(Draft::default())).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (code, audit_log_core::failure::Party::Platform), "{case}");
        assert_eq!(aws.sent("AssumeRole").len(), tries as usize, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_retried_until_it_succeeds() {
    let throttled = || Reply::sts(400, "Throttling");
    let aws = Aws::new().on("AssumeRole", [throttled(), throttled(), stub::role_credentials()]);
    open(&aws, &config(Draft::default())).await.unwrap();
    assert_eq!(aws.sent("AssumeRole").len(), 3);
}
