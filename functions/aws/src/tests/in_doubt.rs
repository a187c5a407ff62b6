//! Whether S3 may still store an object by a request that was given up.

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

fn of_200_with_an_error() -> Reply {
    Reply::s3(200, "InternalError", "We encountered an internal error. Please try again.")
}

/// Ways in which a request can go, with whether the object is stored in the end, and whether it is in doubt.
fn ways(ok: &Reply) -> Vec<(Vec<Reply>, bool, bool)> {
    vec![
        (vec![ok.clone()], true, false),
        (vec![denied()], false, false),
        (vec![Reply::s3(301, "PermanentRedirect", "")], false, false),
        (vec![Reply::s3(400, "RequestTimeout", "Your socket connection was not read from."), ok.clone()], true, false),
        // The first of two attempts may be carried out later, whatever came of the second.
        (vec![busy(), ok.clone()], true, true),
        (vec![busy(), denied()], false, true),
        (vec![Reply::Silence, ok.clone()], true, true),
        (vec![Reply::Silence, denied()], false, true),
        (vec![Reply::Lost, ok.clone()], true, true),
        (vec![Reply::Lost, denied()], false, true),
        // A clear answer to the first is none to the second.
        (vec![Reply::s3(400, "RequestTimeout", "Your socket connection was not read from."), Reply::Lost], false, true),
        // None of them has had a clear answer.
        (vec![busy()], false, true),
        (vec![Reply::Lost], false, true),
        (vec![Reply::Silence], false, true),
    ]
}

/// The stub, answering an operation with one reply after the other, and with the last one from then on.
fn replying(aws: Aws, operation: &'static str, replies: Vec<Reply>) -> Aws {
    aws.answering(operation, move |_, nth| replies[nth.min(replies.len() - 1)].clone())
}

#[tokio::test(start_paused = true)]
async fn a_put_is_in_doubt_unless_each_of_its_attempts_had_a_clear_answer() {
    for (replies, is_stored, in_doubt) in ways(&Reply::ok("")) {
        let case = format!("{replies:?}");
        // The probe for the bucket's owner.
        let aws = replying(Aws::new().on("AbortMultipartUpload", [denied()]), "PutObject", replies);
        let finish = finish(&aws, CHECKED).await;
        assert_eq!((finish.result.is_ok(), finish.in_doubt), (is_stored, in_doubt), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_is_in_doubt_unless_each_of_its_attempts_had_a_clear_answer() {
    let completed = Reply::ok(COMPLETED);
    let mut ways = ways(&completed);
    ways.push((vec![of_200_with_an_error(), completed], true, true));
    ways.push((vec![of_200_with_an_error()], false, true));
    for (replies, is_stored, in_doubt) in ways {
        let case = format!("{replies:?}");
        let aws = replying(s3(), "CompleteMultipartUpload", replies);
        let finish = finish(&aws, &two_parts()).await;
        assert_eq!((finish.result.is_ok(), finish.in_doubt), (is_stored, in_doubt), "{case}");
    }
}

/// They make nothing visible.
#[tokio::test(start_paused = true)]
async fn neither_a_part_nor_the_beginning_of_an_upload_is_ever_in_doubt() {
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
