//! A small HTTP/1.1 server on the loopback interface.

use std::error::Error;
use std::io;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A response without streaming.
pub type Reply = Response<Full<Bytes>>;

/// A server that stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// `127.0.0.1:<port>`
    pub address: String,
    accept_task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept_task.abort();
    }
}

impl Server {
    /// Serves requests on a free port. An error instead of a response, or in its body, resets the connection.
    pub async fn start<Fut, B>(
        answer: impl Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    ) -> Result<Self>
    where
        Fut: Future<Output = io::Result<Response<B>>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let accept_task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Without this, the last segment of a response waits for the acknowledgement of the previous one.
                drop(stream.set_nodelay(true));
                // Clients close connections. Closing one here resets it.
                drop(stream.set_zero_linger());
                let answer = answer.clone();
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .half_close(true)
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                // The test shows what a client misses if its connection breaks.
                tokio::spawn(async move { drop(serving.await) });
            }
        });
        Ok(Self { address, accept_task })
    }
}

/// The whole body; empty if the connection breaks.
pub async fn body(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

pub fn reply(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let builder = Response::builder().status(status).header("content-type", content_type);
    builder.body(Full::new(body.into())).unwrap_or_default()
}
