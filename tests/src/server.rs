//! A small HTTP/1.1 server on the loopback interface.

use std::error::Error;
use std::io;
use std::sync::Arc;

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
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

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
        Self::start_with(None, answer).await
    }

    /// As [`Server::start`], over TLS if there is an acceptor.
    pub async fn start_with<Fut, B>(
        tls: Option<TlsAcceptor>,
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
                let (answer, tls) = (service_fn(answer.clone()), tls.clone());
                // The test shows what a client misses if its connection breaks.
                tokio::spawn(async move {
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).half_close(true);
                    let Some(tls) = tls else { return drop(http.serve_connection(TokioIo::new(stream), answer).await) };
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(http.serve_connection(TokioIo::new(stream), answer).await);
                    }
                });
            }
        });
        Ok(Self { address, accept_task })
    }
}

/// For [`Server::start_with`], with a certificate and its key in PEM.
pub fn acceptor(pem: &str) -> Result<TlsAcceptor> {
    let (certificate, key) =
        (CertificateDer::from_pem_slice(pem.as_bytes())?, PrivateKeyDer::from_pem_slice(pem.as_bytes())?);
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The whole body; empty if the connection breaks.
pub async fn body(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

pub fn reply(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let builder = Response::builder().status(status).header("content-type", content_type);
    builder.body(Full::new(body.into())).unwrap_or_default()
}
