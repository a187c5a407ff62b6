//! A small HTTP/1.1 server on the loopback interface, for whatever a test or the bench puts behind it.

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

/// What is answered as a whole.
pub type Reply = Response<Full<Bytes>>;

/// A server that ends with its value.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, as `127.0.0.1:<port>`.
    pub address: String,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Answers requests on a free port. An error in the place of an answer, or in its body, resets the connection.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start<Answering, B>(
        answer: impl Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    ) -> Result<Self>
    where
        Answering: Future<Output = io::Result<Response<B>>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Without this, the last segment of an answer waits for the acknowledgement of the one before.
                drop(stream.set_nodelay(true));
                // Clients close their connections; one that is closed from here is broken off.
                drop(stream.set_zero_linger());
                let answer = answer.clone();
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .half_close(true)
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                // A connection that breaks is the client's matter: what it missed, the test shows.
                tokio::spawn(async move { drop(serving.await) });
            }
        });
        Ok(Self { address, accepting })
    }
}

/// The whole body; what breaks off is empty.
pub async fn body(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

/// An answer of a type.
pub fn reply(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let builder = Response::builder().status(status).header("content-type", content_type);
    builder.body(Full::new(body.into())).unwrap_or_default()
}
