//! Lambda's Runtime API: hands a program one invocation and takes its answer.
//!
//! By "Using the Lambda runtime API for custom runtimes" in the Lambda developer guide.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot};

use crate::server::{Reply, Server, body, reply};

/// How long an invocation may take, by the deadline that programs are told; Lambda's own longest.
pub const TIMEOUT: Duration = Duration::from_secs(900);

/// One program's Runtime API.
#[derive(Debug)]
pub struct Runtime {
    pub(super) server: Server,
    events: UnboundedSender<Bytes>,
    said: UnboundedReceiver<Said>,
}

/// What a program says, and when.
#[derive(Debug)]
pub enum Said {
    /// It asks for an invocation: it is ready.
    Next(Instant),
    /// It answers one. Nothing is answered to it until the sender goes, so that it can be looked at as it is.
    Answer {
        /// What it answers.
        body: Bytes,
        /// Whether that is an error.
        failed: bool,
        /// When it came.
        at: Instant,
        /// What the program waits for.
        hold: oneshot::Sender<()>,
    },
    /// It has ended instead.
    Ended(ExitStatus),
}

struct State {
    function_arn: String,
    events: Mutex<UnboundedReceiver<Bytes>>,
    said: UnboundedSender<Said>,
}

impl Runtime {
    pub(super) async fn start(function_arn: &str) -> Result<Self> {
        let (events, waiting) = unbounded_channel();
        let (saying, said) = unbounded_channel();
        let function_arn = function_arn.to_owned();
        let state = Arc::new(State { function_arn, events: Mutex::new(waiting), said: saying });
        let server = Server::start(move |request| {
            let state = Arc::clone(&state);
            async move { Ok(answer(&state, request).await) }
        })
        .await?;
        Ok(Self { server, events, said })
    }

    /// Hands the program an event.
    ///
    /// # Errors
    /// When nobody is there to take it.
    pub fn invoke(&self, event: &serde_json::Value) -> Result<()> {
        self.events.send(Bytes::from(event.to_string())).context("the Runtime API has ended")
    }

    /// What the program says next.
    pub(super) async fn said(&mut self) -> Result<Said> {
        self.said.recv().await.context("the Runtime API has ended")
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    match (request.method().clone(), &words[..]) {
        (Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => next(state).await,
        (Method::POST, ["2018-06-01", "runtime", "invocation", _, "response"]) => done(state, request, false).await,
        (
            Method::POST,
            ["2018-06-01", "runtime", "invocation", _, "error"] | ["2018-06-01", "runtime", "init", "error"],
        ) => done(state, request, true).await,
        _ => reply(StatusCode::NOT_FOUND, "application/json", "{}"),
    }
}

async fn next(state: &State) -> Reply {
    let mut events = state.events.lock().await;
    drop(state.said.send(Said::Next(Instant::now())));
    // Without an event it stays open, until the program or the server goes.
    let Some(event) = events.recv().await else { return reply(StatusCode::GONE, "application/json", "{}") };
    let deadline = SystemTime::now() + TIMEOUT;
    let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header("lambda-runtime-invoked-function-arn", &state.function_arn)
        .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0")
        .body(Full::new(event))
        .unwrap_or_default()
}

async fn done(state: &State, request: Request<Incoming>, failed: bool) -> Reply {
    let at = Instant::now();
    let body = body(request).await;
    let (hold, released) = oneshot::channel();
    drop(state.said.send(Said::Answer { body, failed, at, hold }));
    drop(released.await);
    reply(StatusCode::ACCEPTED, "application/json", r#"{"status":"OK"}"#)
}
