//! Lambda's Runtime API: hands a program one invocation and takes its answer.
//!
//! By "Using the Lambda runtime API for custom runtimes" in the Lambda developer guide.

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

/// The function that the programs are told they are.
pub(crate) const FUNCTION: &str = "exporter";

/// How long an invocation may take, by the deadline that programs are told; Lambda's own longest.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(900);

/// One program's Runtime API.
pub(crate) struct Runtime {
    pub(crate) server: Server,
    events: UnboundedSender<Bytes>,
    said: UnboundedReceiver<Said>,
}

/// What a program says, and when.
pub(crate) enum Said {
    /// It asks for an invocation: it is ready.
    Next(Instant),
    /// It answers one. Nothing is answered to it until the sender goes, so that it can be looked at as it is.
    Answer { body: Bytes, failed: bool, at: Instant, hold: oneshot::Sender<()> },
}

struct State {
    events: Mutex<UnboundedReceiver<Bytes>>,
    said: UnboundedSender<Said>,
}

impl Runtime {
    pub(crate) async fn start() -> Result<Self> {
        let (events, waiting) = unbounded_channel();
        let (saying, said) = unbounded_channel();
        let state = Arc::new(State { events: Mutex::new(waiting), said: saying });
        let server = Server::start(move |request| answer(Arc::clone(&state), request)).await?;
        Ok(Self { server, events, said })
    }

    /// Hands the program an event.
    pub(crate) fn invoke(&self, event: &serde_json::Value) -> Result<()> {
        self.events.send(Bytes::from(event.to_string())).context("the Runtime API has ended")
    }

    /// What the program says next.
    pub(crate) async fn said(&mut self) -> Result<Said> {
        self.said.recv().await.context("the Runtime API has ended")
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    match (request.method().clone(), &words[..]) {
        (Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => next(&state).await,
        (Method::POST, ["2018-06-01", "runtime", "invocation", _, "response"]) => done(&state, request, false).await,
        (
            Method::POST,
            ["2018-06-01", "runtime", "invocation", _, "error"] | ["2018-06-01", "runtime", "init", "error"],
        ) => done(&state, request, true).await,
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
        .header(
            "lambda-runtime-invoked-function-arn",
            format!("arn:aws:lambda:eu-central-1:111111111111:function:{FUNCTION}"),
        )
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
