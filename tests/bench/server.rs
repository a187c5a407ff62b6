//! A small and fast AWS on the loopback interface: as much of DynamoDB, STS and S3 as an export needs, over HTTP/1.1.

pub(crate) mod dynamodb;
mod s3;

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::world::World;

/// What is answered.
pub(crate) type Reply = Response<Full<Bytes>>;

/// A server that ends with its value.
pub(crate) struct Server {
    pub(crate) address: String,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Answers requests on a free port.
    pub(crate) async fn start<Answering>(
        answer: impl Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    ) -> Result<Self>
    where
        Answering: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Without this, the last segment of an answer waits for the acknowledgement of the one before.
                drop(stream.set_nodelay(true));
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answering = answer(request);
                    async move { Ok::<_, Infallible>(answering.await) }
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .half_close(true)
                    .serve_connection(TokioIo::new(stream), service);
                // A connection that breaks is the client's matter: what it missed, the trial shows.
                tokio::spawn(async move { drop(serving.await) });
            }
        });
        Ok(Self { address, accepting })
    }

    /// An AWS that holds a world.
    pub(crate) async fn aws(world: &Arc<World>) -> Result<Self> {
        let world = Arc::clone(world);
        Self::start(move |request| aws(Arc::clone(&world), request)).await
    }
}

async fn aws(world: Arc<World>, request: Request<Incoming>) -> Reply {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some(operation) = target.and_then(|target| target.rsplit_once('.')).map(|(_, name)| name.to_owned()) {
        return dynamodb::answer(&world, &operation, &body(request).await).await;
    }
    if request.uri().path() == "/" {
        return sts(&world, &body(request).await);
    }
    s3::answer(&world, request).await
}

/// The whole body; what breaks off is empty, and then refused for that.
pub(crate) async fn body(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

/// An answer of a type.
pub(crate) fn reply(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let builder = Response::builder().status(status).header("content-type", content_type);
    builder.body(Full::new(body.into())).unwrap_or_default()
}

/// Notes that a client asked for something that this AWS does not know: then the trial does not count.
fn unknown(world: &World, what: String) -> Reply {
    let refusal =
        format!(r#"{{"__type":"com.amazon.coral.validate#ValidationException","message":"unknown: {what}"}}"#);
    world.seen().unknown.push(what);
    reply(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", refusal)
}

fn sts(world: &World, body: &[u8]) -> Reply {
    let body = String::from_utf8_lossy(body);
    if !body.contains("Action=AssumeRole") {
        return unknown(world, "a request to STS other than AssumeRole".to_owned());
    }
    world.count("AssumeRole");
    reply(StatusCode::OK, "text/xml", ASSUMED)
}

/// By "AssumeRole" in the STS API reference. Far from its expiry, whatever the clock says.
const ASSUMED: &str = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROAEXAMPLEEXAMPLEXMP:tenant</AssumedRoleId>
      <Arn>arn:aws:sts::222222222222:assumed-role/audit/tenant</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAEXAMPLEEXAMPLEXM</AccessKeyId>
      <SecretAccessKey>not-a-secret-not-a-secret-not-a-secret-n</SecretAccessKey>
      <SessionToken>not-a-token</SessionToken>
      <Expiration>2099-01-01T00:00:00Z</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</AssumeRoleResponse>"#;
