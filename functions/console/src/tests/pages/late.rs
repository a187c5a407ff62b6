//! Pages that take too long.

use std::time::Duration;

use axum::routing::post;

use super::*;
use crate::{ANSWER_TIMEOUT, pages::guarded};

#[tokio::test(start_paused = true)]
async fn a_page_that_takes_too_long_is_answered_by_one_that_says_so() {
    let takes_a_minute = post(async || tokio::time::sleep(Duration::from_secs(60)).await);
    let router = guarded(Router::new().route("/settings/verify", takes_a_minute));
    for (partly, words) in [(false, "<a href=\"../\">Try again</a>"), (true, "<div class=\"alert bad\"")] {
        let request = Request::builder().method("POST").uri("/settings/verify");
        let request = if partly { request.header("hx-request", "true") } else { request };
        let began = tokio::time::Instant::now();
        let answer = router.clone().oneshot(request.body(HttpBody::empty()).unwrap()).await.unwrap();
        assert!(began.elapsed() < ANSWER_TIMEOUT, "before the answer that is none of a page's");
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, text };
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "5"));
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("hx-retarget"), if partly { "#notice" } else { "" });
        assert!(answer.text.contains(words), "{}", answer.text);
    }
}
