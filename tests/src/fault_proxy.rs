//! A proxy between a process and the local AWS that names and counts calls, and injects a fault into one of them.
//!
//! It forwards requests byte for byte, the signed `Host` included, so that signatures stay valid.

mod call;
mod errors;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub use call::{Call, CallName, Service};

use crate::LocalAws;
use crate::server::Server;

const DELAY: Duration = Duration::from_millis(400);

/// Between the first half of a body and the reset.
const RESET_DELAY: Duration = Duration::from_millis(50);

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process is killed (SIGKILL), and the call isn't forwarded.
    KillBefore,
    /// AWS carries the call out, and the process is killed (SIGKILL) before the answer.
    KillAfter,
    /// The call takes longer.
    Delay,
    /// The connection is reset, and the call isn't forwarded.
    Reset,
    /// AWS carries the call out, and the connection is reset before the answer.
    LoseAnswer,
    /// The same, and the retry is denied: the process never learns that AWS carried the call out.
    LoseAnswerAndDenyRetry,
    /// The connection is reset in the middle of the answer's body.
    Truncate,
    InternalError,
    /// AWS throttles the call, in the form of the service.
    Throttle,
    /// AWS denies access, which isn't retried.
    Deny,
    /// `DynamoDB` reports a conflict with another transaction.
    Conflict,
    /// S3 answers 200 with an error in the body.
    LateError,
}

impl Fault {
    #[must_use]
    pub fn kills(self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfter)
    }

    fn is_after(self) -> bool {
        matches!(self, Self::KillAfter | Self::LoseAnswer | Self::LoseAnswerAndDenyRetry | Self::Truncate)
    }
}

/// The proxy of one process.
#[derive(Debug)]
pub struct FaultProxy {
    server: Server,
    state: Arc<ProxyState>,
}

/// What the proxy saw.
#[derive(Debug)]
pub struct ProxyLog {
    /// In the order of their arrival.
    pub calls: Vec<Call>,
    /// Whether the planned call was among them.
    pub hit: bool,
}

#[derive(Debug)]
struct ProxyState {
    upstream: String,
    plan: Option<(Call, Fault)>,
    denied: fn(&CallName) -> bool,
    traffic: Mutex<Traffic>,
    in_flight: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Traffic {
    kill_target: Option<Pid>,
    calls: Vec<Call>,
    counts: HashMap<CallName, usize>,
    hit: bool,
    /// Nothing is forwarded anymore.
    closed: bool,
}

impl ProxyState {
    fn fault(&self, call: &Call) -> Option<Fault> {
        let (planned, fault) = self.plan.as_ref().filter(|(planned, _)| planned.name == call.name)?;
        let retried = *fault == Fault::LoseAnswerAndDenyRetry && call.nth == planned.nth + 1;
        if retried { Some(Fault::Deny) } else { Some(*fault).filter(|_| call.nth == planned.nth) }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a call as in flight until it is dropped.
struct InFlight<'a>(&'a watch::Sender<usize>);

impl<'a> InFlight<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl FaultProxy {
    /// Starts the proxy, with the fault of `plan`. It answers calls that are `denied` as if AWS denied them.
    pub async fn start(aws: &LocalAws, plan: Option<(Call, Fault)>, denied: fn(&CallName) -> bool) -> Result<Self> {
        let upstream = aws.endpoint().trim_start_matches("http://").to_owned();
        let in_flight = watch::Sender::new(0);
        let state = Arc::new(ProxyState { upstream, plan, denied, traffic: Mutex::default(), in_flight });
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let state = Arc::clone(&shared);
            async move { handle(&state, request).await }
        })
        .await?;
        Ok(Self { server, state })
    }

    /// The endpoint URL for all AWS services.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Sets the process that a planned kill ends.
    pub fn set_kill_target(&self, process: u32) -> Result<()> {
        let pid = Pid::from_raw(process.try_into()?).context("no process has this id")?;
        self.state.traffic().kill_target = Some(pid);
        Ok(())
    }

    /// Stops forwarding and waits for calls in flight: no call of this process reaches AWS after that.
    pub async fn finish(self) -> Result<ProxyLog> {
        self.state.traffic().closed = true;
        self.state.in_flight.subscribe().wait_for(|count| *count == 0).await?;
        let mut traffic = self.state.traffic();
        Ok(ProxyLog { calls: std::mem::take(&mut traffic.calls), hit: traffic.hit })
    }
}

async fn handle(state: &ProxyState, request: Request<Incoming>) -> io::Result<Answer> {
    let _in_flight = InFlight::begin(&state.in_flight);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let name = CallName::from_request(&parts, &body);
    let fault = {
        let mut traffic = state.traffic();
        if traffic.closed {
            return Err(connection_reset());
        }
        let nth = traffic.counts.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
        let call = Call { name: name.clone(), nth: *nth };
        let fault = state.fault(&call);
        traffic.calls.push(call);
        traffic.hit |= fault.is_some();
        if let Some(fault) = fault
            && fault.kills()
        {
            // Other calls of the process that weren't forwarded yet end with it.
            traffic.closed = true;
            if fault == Fault::KillBefore {
                kill(&traffic)?;
            }
        }
        fault
    };
    let request = Request::from_parts(parts, Full::new(body));
    let Some(fault) = fault else { return full(answer(state, &name, request).await?) };
    if let Some(answer) = errors::response(fault, &name) {
        return full(answer);
    }
    if fault == Fault::Delay {
        tokio::time::sleep(DELAY).await;
    } else if !fault.is_after() {
        return Err(connection_reset());
    }
    let answer = answer(state, &name, request).await?;
    match fault {
        Fault::KillAfter => {
            kill(&state.traffic())?;
            Err(connection_reset())
        }
        Fault::LoseAnswer | Fault::LoseAnswerAndDenyRetry => Err(connection_reset()),
        Fault::Truncate => Ok(truncated(answer)),
        _ => full(answer),
    }
}

fn kill(traffic: &Traffic) -> io::Result<()> {
    let kill_target = traffic.kill_target.ok_or_else(|| io::Error::other("no kill target is set"))?;
    Ok(kill_process(kill_target, Signal::KILL)?)
}

fn connection_reset() -> io::Error {
    io::Error::other("the connection is reset")
}

/// AWS's answer, or a denial.
async fn answer(state: &ProxyState, name: &CallName, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>> {
    match errors::response(Fault::Deny, name).filter(|_| (state.denied)(name)) {
        Some(refusal) => Ok(refusal),
        None => forward(state, request).await,
    }
}

/// Forwards a call on its own connection.
async fn forward(state: &ProxyState, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>> {
    let stream = TcpStream::connect(&state.upstream).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}

#[allow(clippy::unnecessary_wraps, reason = "used where an answer may fail")]
fn full(answer: Response<Bytes>) -> io::Result<Answer> {
    Ok(answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed()))
}

/// The answer's headers and the first half of its body, then a reset.
fn truncated(answer: Response<Bytes>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let first = body.slice(..body.len() / 2);
    let frames = stream::iter([Ok(Frame::data(first))]).chain(stream::once(async {
        tokio::time::sleep(RESET_DELAY).await;
        Err(connection_reset())
    }));
    Response::from_parts(parts, BodyExt::boxed(StreamBody::new(Box::pin(frames))))
}
