//! Tests of whether S3 may still carry out an earlier attempt to store an object.

use super::{
    multipart::{COMPLETED, s3, two_parts},
    *,
};

fn denied() -> Reply {
    Reply::s3(403, "AccessDenied", "Access Denied")
}

fn busy() -> Reply {
    Reply::s3(503, "SlowDown", "Please reduce your request rate.")
}

fn error_with_status_200() -> Reply {
    Reply::s3(200, "InternalError", "We encountered an internal error. Please try again.")
}

/// Replies to a request, with whether the object is stored and whether it is in doubt.
fn cases(ok: &Reply) -> Vec<(Vec<Reply>, bool, bool)> {
    vec![
        (vec![ok.clone()], true, false),
        (vec![denied()], false, false),
        (vec![Reply::s3(301, "PermanentRedirect", "")], false, false),
        (vec![Reply::s3(400, "RequestTimeout", "Your socket connection was not read from."), ok.clone()], true, false),
        // S3 may carry out the first attempt later than the second.
        (vec![busy(), ok.clone()], true, true),
        (vec![busy(), denied()], false, true),
        (vec![Reply::Silence, ok.clone()], true, true),
        (vec![Reply::Silence, denied()], false, true),
        (vec![Reply::Lost, ok.clone()], true, true),
        (vec![Reply::Lost, denied()], false, true),
        // A clear answer to the first attempt doesn't answer the second.
        (vec![Reply::s3(400, "RequestTimeout", "Your socket connection was not read from."), Reply::Lost], false, true),
        // No attempt has a clear answer.
        (vec![busy()], false, true),
        (vec![Reply::Lost], false, true),
        (vec![Reply::Silence], false, true),
    ]
}

fn replying(aws: Aws, operation: &'static str, replies: Vec<Reply>) -> Aws {
    aws.answering(operation, move |_, nth| replies[nth.min(replies.len() - 1)].clone())
}

#[tokio::test(start_paused = true)]
async fn a_put_is_in_doubt_unless_each_of_its_attempts_had_a_clear_answer() {
    for (replies, is_stored, in_doubt) in cases(&Reply::ok("")) {
        let case = format!("{replies:?}");
        // For the diagnosis of the owner.
        let aws = replying(Aws::new().on("AbortMultipartUpload", [denied()]), "PutObject", replies);
        let finish = finish(&aws, BODY).await;
        assert_eq!((finish.result.is_ok(), finish.in_doubt), (is_stored, in_doubt), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_is_in_doubt_unless_each_of_its_attempts_had_a_clear_answer() {
    let completed = Reply::ok(COMPLETED);
    let mut cases = cases(&completed);
    cases.push((vec![error_with_status_200(), completed], true, true));
    cases.push((vec![error_with_status_200()], false, true));
    for (replies, is_stored, in_doubt) in cases {
        let case = format!("{replies:?}");
        let aws = replying(s3(), "CompleteMultipartUpload", replies);
        let finish = finish(&aws, &two_parts()).await;
        assert_eq!((finish.result.is_ok(), finish.in_doubt), (is_stored, in_doubt), "{case}");
    }
}

/// Neither makes an object visible.
#[tokio::test(start_paused = true)]
async fn neither_a_part_nor_the_start_of_an_upload_is_ever_in_doubt() {
    let part = || Reply::ok("").with_header("etag", "\"one\"");
    let aws = s3().on("UploadPart", [Reply::Lost, part(), busy(), part()]);
    assert_eq!(finish(&aws, &two_parts()).await, Finish { result: Ok(()), in_doubt: false });
    for aws in [
        s3().on("UploadPart", [part(), Reply::Lost]),
        s3().on("UploadPart", [Reply::Silence]),
        s3().on("CreateMultipartUpload", [busy()]),
    ] {
        let finish = finish(&aws, &two_parts()).await;
        assert!(finish.result.is_err() && !finish.in_doubt, "{finish:?}");
        assert_eq!(aws.sent("CompleteMultipartUpload").len(), 0);
    }
}
