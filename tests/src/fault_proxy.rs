//! Stands between a program and the local AWS, names and counts the calls that pass, and does something to one of them.
//!
//! What passes is passed on byte for byte, the signed `Host` included, so that what is signed holds.

mod answers;
mod call;

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

pub use call::{Call, Name, Service};

use crate::LocalAws;
use crate::server::Server;

/// So long a delayed call is held up.
const DELAY: Duration = Duration::from_millis(400);

/// So long the first half of a body gets to arrive.
const HALF_ARRIVES: Duration = Duration::from_millis(50);

/// What is done to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The program is killed by SIGKILL, and AWS never hears of the call.
    KillBefore,
    /// AWS does what it is asked to, and the program is killed by SIGKILL before it hears of that.
    KillAfter,
    /// It takes longer.
    Delay,
    /// The connection is reset, and AWS never hears of the call.
    Reset,
    /// AWS does what it is asked to, and the connection is reset before it answers.
    LoseAnswer,
    /// The same, and the retry is refused for good: the program never learns what AWS has done.
    LoseForGood,
    /// The connection is reset in the middle of the answer's body.
    Truncate,
    /// AWS answers 500.
    InternalError,
    /// AWS asks for fewer requests, as the service does that.
    Throttle,
    /// AWS refuses it for good.
    Deny,
    /// `DynamoDB` has met another transaction on the same items.
    Conflict,
    /// S3 answers 200, and then with an error in the body.
    LateError,
}

impl Fault {
    /// Whether the program is killed.
    #[must_use]
    pub fn kills(self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfter)
    }

    fn is_after(self) -> bool {
        matches!(self, Self::KillAfter | Self::LoseAnswer | Self::LoseForGood | Self::Truncate)
    }
}

/// The proxy of one run of a program.
#[derive(Debug)]
pub struct FaultProxy {
    server: Server,
    run: Arc<Run>,
}

/// What has passed.
#[derive(Debug)]
pub struct Passed {
    /// Every call, in the order in which they came.
    pub calls: Vec<Call>,
    /// Whether the planned one was among them.
    pub hit: bool,
}

#[derive(Debug)]
struct Run {
    upstream: String,
    plan: Option<(Call, Fault)>,
    refused: fn(&Name) -> bool,
    seen: Mutex<Seen>,
    on_their_way: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Seen {
    victim: Option<Pid>,
    calls: Vec<Call>,
    counts: HashMap<Name, usize>,
    hit: bool,
    /// Nothing is passed on any more.
    over: bool,
}

impl Run {
    fn fault(&self, call: &Call) -> Option<Fault> {
        let (planned, fault) = self.plan.as_ref().filter(|(planned, _)| planned.name == call.name)?;
        let retried = *fault == Fault::LoseForGood && call.nth == planned.nth + 1;
        if retried { Some(Fault::Deny) } else { Some(*fault).filter(|_| call.nth == planned.nth) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts down, however the call ends.
struct OnItsWay<'a>(&'a watch::Sender<usize>);

impl<'a> OnItsWay<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl FaultProxy {
    /// Begins to pass calls on, but for the planned one. Those that are `refused` never come to AWS, which stands for an
    /// AWS that has been told to refuse them.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start(aws: &LocalAws, plan: Option<(Call, Fault)>, refused: fn(&Name) -> bool) -> Result<Self> {
        let upstream = aws.endpoint().trim_start_matches("http://").to_owned();
        let on_their_way = watch::Sender::new(0);
        let run = Arc::new(Run { upstream, plan, refused, seen: Mutex::default(), on_their_way });
        let passing = Arc::clone(&run);
        let server = Server::start(move |request| {
            let run = Arc::clone(&passing);
            async move { pass(&run, request).await }
        })
        .await?;
        Ok(Self { server, run })
    }

    /// The endpoint URL that stands for all of AWS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Names the process that a planned kill ends.
    ///
    /// # Errors
    /// When that is no process id.
    pub fn aim_at(&self, process: u32) -> Result<()> {
        let pid = Pid::from_raw(process.try_into()?).context("no process has this id")?;
        self.run.seen().victim = Some(pid);
        Ok(())
    }

    /// Passes nothing on any more, and waits for what is on its way: nothing of this run comes to AWS after that.
    ///
    /// # Errors
    /// Never, as long as the proxy lives.
    pub async fn end(self) -> Result<Passed> {
        self.run.seen().over = true;
        self.run.on_their_way.subscribe().wait_for(|count| *count == 0).await?;
        let mut seen = self.run.seen();
        Ok(Passed { calls: std::mem::take(&mut seen.calls), hit: seen.hit })
    }
}

/// One call.
async fn pass(run: &Run, request: Request<Incoming>) -> io::Result<Answer> {
    let _on_its_way = OnItsWay::begin(&run.on_their_way);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let name = Name::of(&parts, &body);
    let fault = {
        let mut seen = run.seen();
        if seen.over {
            return Err(broken());
        }
        let nth = seen.counts.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
        let call = Call { name: name.clone(), nth: *nth };
        let fault = run.fault(&call);
        seen.calls.push(call);
        seen.hit |= fault.is_some();
        if let Some(fault) = fault
            && fault.kills()
        {
            // Whatever it has sent beside this call and was not taken yet dies with it.
            seen.over = true;
            if fault == Fault::KillBefore {
                kill(&seen)?;
            }
        }
        fault
    };
    let request = Request::from_parts(parts, Full::new(body));
    let Some(fault) = fault else { return whole(ask(run, &name, request).await?) };
    if let Some(answer) = answers::instead(fault, &name) {
        return whole(answer);
    }
    if fault == Fault::Delay {
        tokio::time::sleep(DELAY).await;
    } else if !fault.is_after() {
        return Err(broken());
    }
    let answer = ask(run, &name, request).await?;
    match fault {
        Fault::KillAfter => {
            kill(&run.seen())?;
            Err(broken())
        }
        Fault::LoseAnswer | Fault::LoseForGood => Err(broken()),
        Fault::Truncate => Ok(half(answer)),
        _ => whole(answer),
    }
}

fn kill(seen: &Seen) -> io::Result<()> {
    let victim = seen.victim.ok_or_else(|| io::Error::other("no process was aimed at"))?;
    Ok(kill_process(victim, Signal::KILL)?)
}

fn broken() -> io::Error {
    io::Error::other("broken off")
}

/// What AWS answers, be it a refusal that was agreed on.
async fn ask(run: &Run, name: &Name, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>> {
    match answers::instead(Fault::Deny, name).filter(|_| (run.refused)(name)) {
        Some(refusal) => Ok(refusal),
        None => forward(run, request).await,
    }
}

/// Asks AWS, on a connection of the call's own.
async fn forward(run: &Run, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>> {
    let stream = TcpStream::connect(&run.upstream).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}

#[allow(clippy::unnecessary_wraps, reason = "it stands where an answer may fail")]
fn whole(answer: Response<Bytes>) -> io::Result<Answer> {
    Ok(answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed()))
}

/// The answer's headers and the first half of its body, and then a reset.
fn half(answer: Response<Bytes>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let first = body.slice(..body.len() / 2);
    let frames = stream::iter([Ok(Frame::data(first))]).chain(stream::once(async {
        tokio::time::sleep(HALF_ARRIVES).await;
        Err(broken())
    }));
    Response::from_parts(parts, BodyExt::boxed(StreamBody::new(Box::pin(frames))))
}
