//! Lambda's Runtime API for one process, by "Using the Lambda runtime API for custom runtimes" in the Lambda developer guide.

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

/// An invocation's deadline; the longest that Lambda allows.
pub const TIMEOUT: Duration = Duration::from_secs(900);

#[derive(Debug)]
pub struct Runtime {
    pub(super) server: Server,
    invocations: UnboundedSender<Bytes>,
    process_events: UnboundedReceiver<ProcessEvent>,
}

/// What a process does.
#[derive(Debug)]
pub enum ProcessEvent {
    /// It requested an invocation.
    Ready(Instant),
    /// It answered an invocation.
    Answered {
        body: Bytes,
        /// Whether the answer is an error.
        failed: bool,
        at: Instant,
        /// The process waits until this is dropped, so that it can be measured.
        hold: oneshot::Sender<()>,
    },
    Exited(ExitStatus),
}

struct State {
    function_arn: String,
    invocations: Mutex<UnboundedReceiver<Bytes>>,
    process_events: UnboundedSender<ProcessEvent>,
}

impl Runtime {
    pub(super) async fn start(function_arn: &str) -> Result<Self> {
        let (invocations, queued) = unbounded_channel();
        let (sender, process_events) = unbounded_channel();
        let function_arn = function_arn.to_owned();
        let state = Arc::new(State { function_arn, invocations: Mutex::new(queued), process_events: sender });
        let server = Server::start(move |request| {
            let state = Arc::clone(&state);
            async move { Ok(answer(&state, request).await) }
        })
        .await?;
        Ok(Self { server, invocations, process_events })
    }

    /// Queues an event for the process.
    pub fn invoke(&self, event: &serde_json::Value) -> Result<()> {
        self.invocations.send(Bytes::from(event.to_string())).context("the Runtime API has ended")
    }

    pub(super) async fn next_event(&mut self) -> Result<ProcessEvent> {
        self.process_events.recv().await.context("the Runtime API has ended")
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
    let mut invocations = state.invocations.lock().await;
    drop(state.process_events.send(ProcessEvent::Ready(Instant::now())));
    // Without an event, the request stays open until the process or the server ends.
    let Some(event) = invocations.recv().await else { return reply(StatusCode::GONE, "application/json", "{}") };
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
    drop(state.process_events.send(ProcessEvent::Answered { body, failed, at, hold }));
    drop(released.await);
    reply(StatusCode::ACCEPTED, "application/json", r#"{"status":"OK"}"#)
}
