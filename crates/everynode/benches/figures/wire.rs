//! Requests as bytes over TLS: a client that costs little itself and decodes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where the server is and who asks.
#[derive(Clone)]
pub struct Door {
    address: String,
    tls: Arc<rustls::ClientConfig>,
}

impl Door {
    pub fn new(config: &kube::Config) -> Result<Door> {
        let uri = &config.cluster_url;
        let address = format!("{}:{}", uri.host().context("no host")?, uri.port_u16().unwrap_or(443));
        Ok(Door { address, tls: Arc::new(config.rustls_client_config()?) })
    }

    async fn dial(&self, protocol: &[u8]) -> Result<TokioIo<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let mut tls = self.tls.as_ref().clone();
        tls.alpn_protocols = vec![protocol.to_vec()];
        let name = rustls_pki_types::ServerName::try_from("127.0.0.1")?;
        Ok(TokioIo::new(TlsConnector::from(Arc::new(tls)).connect(name, stream).await?))
    }

    /// A connection that answers one request after the other, as kube-rs and most clients hold them in a pool.
    pub async fn one_by_one(&self) -> Result<OneByOne> {
        let (send, connection) = http1::handshake(self.dial(b"http/1.1").await?).await?;
        tokio::spawn(connection);
        Ok(OneByOne(send))
    }

    /// A connection with many requests at once, as client-go holds it.
    pub async fn many(&self) -> Result<Many> {
        let (send, connection) = http2::handshake(TokioExecutor::new(), self.dial(b"h2").await?).await?;
        tokio::spawn(connection);
        Ok(Many(send))
    }
}

pub struct OneByOne(http1::SendRequest<Full<Bytes>>);

impl OneByOne {
    /// Sends a request and reads its answer to the end.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes> {
        self.0.ready().await?;
        whole(self.0.send_request(request).await?).await
    }
}

#[derive(Clone)]
pub struct Many(http2::SendRequest<Full<Bytes>>);

impl Many {
    pub async fn open(&mut self, mut request: Request<Full<Bytes>>) -> Result<Incoming> {
        *request.uri_mut() = format!("https://127.0.0.1{}", request.uri()).parse()?;
        self.0.ready().await?;
        let answer = self.0.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            bail!("{}", answer.status());
        }
        Ok(answer.into_body())
    }
}

async fn whole(answer: http::Response<Incoming>) -> Result<Bytes> {
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

pub fn get(path: &str) -> Result<Request<Full<Bytes>>> {
    Ok(Request::get(path)
        .header(header::HOST, "127.0.0.1")
        .header(header::ACCEPT, "application/json")
        .body(Full::default())?)
}

pub fn post(path: &str, json: Vec<u8>) -> Result<Request<Full<Bytes>>> {
    Ok(Request::post(path)
        .header(header::HOST, "127.0.0.1")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(json))?)
}

pub fn merge_patch(path: &str, json: Vec<u8>) -> Result<Request<Full<Bytes>>> {
    Ok(Request::patch(path)
        .header(header::HOST, "127.0.0.1")
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(Full::from(json))?)
}

/// `count` requests made by number from `first` on, over `concurrency` connections.
pub async fn storm(
    door: &Door,
    concurrency: usize,
    first: usize,
    count: usize,
    request: impl Fn(usize) -> Result<Request<Full<Bytes>>> + Clone + Send + 'static,
) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(first));
    let mut workers = Vec::with_capacity(concurrency);
    for _ in 0..concurrency {
        let mut connection = door.one_by_one().await?;
        let (next, request) = (Arc::clone(&next), request.clone());
        workers.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= first + count {
                    return anyhow::Ok(());
                }
                connection.ask(request(number)?).await?;
            }
        }));
    }
    for worker in workers {
        worker.await??;
    }
    Ok(())
}
