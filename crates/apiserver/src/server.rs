//! The server: its parts, the one door for requests, and who it is to in-process components.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use process::{Clock, Shutdown};
use store::Store;

use crate::body::{self, Body, BoxError};
use crate::error::ApiError;

/// What a server is told from outside.
#[derive(Clone)]
pub struct Config {
    pub clock: Arc<dyn Clock>,
    /// How to reach nodes (kubelet-client certificate); without it logs and exec answer 503.
    pub node_tls: Option<Arc<rustls::ClientConfig>>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the stored objects could not be read")]
    Read(#[source] store::ReadError),
    #[error("the stored objects could not be watched")]
    Watch(#[source] store::WatchError),
    #[error("a built-in object could not be written: {what}")]
    Bootstrap {
        what: String,
        #[source]
        source: ApiError,
    },
}

/// The API server; cheap to clone, all clones are one server.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    _store: Arc<dyn Store>,
    _config: Config,
    ending: Shutdown,
}

impl Server {
    /// Reads what is stored, writes the built-in objects that are missing, and is ready to answer.
    pub async fn new(store: Arc<dyn Store>, config: Config) -> Result<Server, StartError> {
        Ok(Server { inner: Arc::new(Inner { _store: store, _config: config, ending: Shutdown::new() }) })
    }

    /// The router as a tower service; the request's user is its `access::User` extension.
    pub fn service(&self) -> Service {
        Service { server: self.clone() }
    }

    /// Ends every watch, so that their clients go elsewhere.
    pub fn end_watches(&self) {
        self.inner.ending.trigger();
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let _ = (&self.inner, request);
        ApiError::unknown_path().into_response()
    }
}

/// The router as a [`tower::Service`].
#[derive(Clone)]
pub struct Service {
    server: Server,
}

impl<B> tower::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.server.clone();
        let request = request.map(body::boxed);
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}
