//! Why S3 refuses an object, and whose it is to mend.

use audit_log_core::failure::Party;

use super::*;
use crate::tests::stub::Sent;

fn access_denied() -> Reply {
    Reply::s3(403, "AccessDenied", "Access Denied")
}

fn no_such_upload() -> Reply {
    Reply::s3(404, "NoSuchUpload", "The specified multipart upload does not exist.")
}

/// S3 that refuses the object, and answers the probe by whether it names the owner.
fn probed(with_owner: Reply, without_owner: Reply) -> Aws {
    let probe = move |sent: &Sent, _| {
        let named = sent.header("x-amz-expected-bucket-owner").is_some();
        if named { with_owner.clone() } else { without_owner.clone() }
    };
    Aws::new().on("PutObject", [access_denied()]).answering("AbortMultipartUpload", probe)
}

#[tokio::test(start_paused = true)]
async fn a_bucket_of_another_account_is_told_from_missing_rights() {
    let aws = probed(access_denied(), no_such_upload());
    let failure = store(&aws, CHECKED).await.unwrap_err();
    assert_eq!((failure.code, failure.party), (Code::BucketOwnerMismatch, Party::Customer));
    assert_eq!(
        failure.message,
        "The bucket acme-audit does not belong to the account 222222222222; nothing was written to it."
    );
    // The only request that does not name the owner aborts an upload that never was.
    assert_eq!(aws.operations(), ["PutObject", "AbortMultipartUpload", "AbortMultipartUpload"]);
    assert!(aws.sent("AbortMultipartUpload").iter().all(|probe| probe.line.contains("uploadId=no-such-upload")));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_not_clearly_about_the_owner_is_about_rights() {
    let unclear = || Reply::s3(404, "NoSuchBucket", "The specified bucket does not exist");
    for (with_owner, without_owner, probes) in [
        // Neither may be aborted: the role lacks rights, whoever owns the bucket.
        (access_denied(), access_denied(), 2),
        // Aborting is allowed, and the owner is right: only putting is refused.
        (no_such_upload(), no_such_upload(), 1),
        (no_such_upload(), access_denied(), 1),
        // No clear answer to one of both.
        (unclear(), no_such_upload(), 1),
        (access_denied(), unclear(), 2),
    ] {
        let case = format!("{with_owner:?} {without_owner:?}");
        let aws = probed(with_owner, without_owner);
        let failure = store(&aws, CHECKED).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::AccessDenied, Party::Customer), "{case}");
        assert_eq!(aws.sent("AbortMultipartUpload").len(), probes, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_object_for_a_bucket_of_another_account_is_told_too() {
    let aws = probed(access_denied(), no_such_upload()).on("CreateMultipartUpload", [access_denied()]);
    assert_eq!(refused(&aws, &vec![b'-'; crate::buckets::PART_BYTES + 1]).await, Some(Code::BucketOwnerMismatch));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_in_another_region_is_named_with_its_region() {
    let redirect = || {
        Reply::s3(
            301,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the endpoint.",
        )
    };
    let malformed = || {
        let message = "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-2'";
        Reply::s3(400, "AuthorizationHeaderMalformed", message)
    };
    let region = |reply: Reply| reply.with_header("x-amz-bucket-region", "us-east-2");
    for (reply, place) in [
        (region(redirect()), "is in us-east-2"),
        (redirect(), "is in another region"),
        (region(Reply::AwsError { status: 301, headers: Vec::new(), body: String::new() }), "is in us-east-2"),
        (region(Reply::s3(307, "TemporaryRedirect", "")), "is in us-east-2"),
        (region(malformed()), "is in us-east-2"),
        (malformed(), "is in another region"),
    ] {
        let aws = Aws::new().on("PutObject", [reply]);
        let failure = store(&aws, CHECKED).await.unwrap_err();
        let message = format!("The bucket acme-audit {place}, but the settings say eu-west-1.");
        assert_eq!(failure, Failure::new(Code::WrongRegion, message));
        assert_eq!(aws.operations(), ["PutObject"], "events go nowhere but where the settings say");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_is_the_keys_matter_and_not_the_buckets() {
    let denied = "User: arn:aws:sts::222222222222:assumed-role/audit/acme is not authorized to perform: kms:GenerateDataKey \
                  on resource: arn:aws:kms:eu-west-1:222222222222:key/1 because no identity-based policy allows it";
    for reply in [
        Reply::s3(403, "AccessDenied", denied),
        Reply::s3(400, "KMS.DisabledException", "arn:aws:kms:eu-west-1:222222222222:key/1 is disabled."),
        Reply::s3(400, "KMS.NotFoundException", "Key 'arn:aws:kms:eu-west-1:222222222222:key/1' does not exist"),
        Reply::s3(400, "KMS.KMSInvalidStateException", "The key is pending deletion."),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("PutObject", [reply]);
        let failure = store(&aws, CHECKED).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::KmsDenied, Party::Customer), "{case}");
        assert_eq!(aws.operations(), ["PutObject"], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_ended_are_not_the_customers_matter() {
    for reply in [
        Reply::s3(400, "ExpiredToken", "The provided token has expired."),
        Reply::s3(400, "TokenRefreshRequired", "The provided token must be refreshed."),
    ] {
        let aws = Aws::new().on("PutObject", [reply]);
        let failure = store(&aws, CHECKED).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::CredentialsExpired, Party::Platform));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_an_unknown_kind_is_named_by_its_code_alone() {
    for (code, named) in [("SomethingNew", "SomethingNew"), ("&lt;script&gt;", "an unknown code")] {
        let aws = Aws::new().on("PutObject", [Reply::s3(400, code, "tenant-token and all that")]);
        let failure = store(&aws, CHECKED).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::Rejected, Party::Platform));
        assert!(failure.message.starts_with(&format!("AWS answered {named} while ")), "{}", failure.message);
    }
}
