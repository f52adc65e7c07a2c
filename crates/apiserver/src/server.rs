//! The server: its parts, and its one door for requests.
//!
//! [`Server::handle`] is everything that happens to every request: who asks, may they, which part answers, and the headers
//! that every answer has. In-process components come through the same door as the network ([`Server::client_for`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;
use process::{Clock, Metrics, Shutdown};
use store::Store;

use crate::access::token::{Issuer, KeyError};
use crate::access::{Authorizer, User};
use crate::allotment::{self, Allotment, ServiceRange};
use crate::body::{self, Body, BoxError};
use crate::call::OpenWatches;
use crate::error::ApiError;
use crate::fairness::Fairness;
use crate::node_proxy::NodeProxy;
use crate::policy;
use crate::window::Windows;
use crate::{bootstrap, expiry, own_service};

/// What a server is told from outside.
#[derive(Clone)]
pub struct Config {
    pub clock: Arc<dyn Clock>,
    /// How to reach nodes (kubelet-client certificate); without it logs and exec answer 503.
    pub node_tls: Option<Arc<rustls::ClientConfig>>,
    /// Who signs service accounts' tokens; without one, a key that ends with the process and its tokens with it.
    pub issuer: Option<Arc<Issuer>>,
    /// The process's other numbers, shown at `/metrics` beside the server's own.
    pub metrics: Option<Metrics>,
    /// Where Services get their addresses from.
    pub service_range: ServiceRange,
    /// The CA whose certificates name clients, as PEM: what servers that ask this one about their callers are to trust.
    pub client_ca_pem: Option<String>,
    /// Where Pods and nodes reach this server; without it the Service `kubernetes` leads nowhere.
    pub advertised: Option<SocketAddr>,
}

impl Config {
    /// What a server that stands alone is told: no nodes to reach, no address to tell.
    pub fn new(clock: Arc<dyn Clock>) -> Config {
        Config {
            clock,
            node_tls: None,
            issuer: None,
            metrics: None,
            service_range: ServiceRange::usual(),
            client_ca_pem: None,
            advertised: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no key for service accounts' tokens could be made")]
    Key(#[source] KeyError),
    #[error("the stored objects could not be read")]
    Read(#[source] store::ReadError),
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
    pub(crate) inner: Arc<Inner>,
    /// Stops the background tasks when the last clone has gone.
    _tasks: Arc<Background>,
}

/// What requests work with.
pub struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) windows: Arc<Windows>,
    pub(crate) config: Config,
    pub(crate) authorizer: Authorizer,
    pub(crate) allotment: Allotment,
    pub(crate) issuer: Arc<Issuer>,
    /// Absent where the server has no certificate for nodes.
    pub(crate) node_proxy: Option<NodeProxy>,
    /// Open watches.
    pub(crate) watches: OpenWatches,
    pub(crate) fairness: Fairness,
    /// Answers by verb, resource and code.
    pub(crate) counted: Mutex<BTreeMap<(&'static str, String, u16), u64>>,
    /// The built-in roles are stored; until then the policy is theirs alone, and not worked out at each of them.
    pub(crate) policy_is_stored: AtomicBool,
    /// Ends watches and the background tasks.
    pub(crate) ending: Shutdown,
}

struct Background(Shutdown);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

impl Server {
    /// Reads what is stored, writes the built-in objects that are missing, and is ready to answer.
    pub async fn new(store: Arc<dyn Store>, config: Config) -> Result<Server, StartError> {
        let windows = Arc::new(Windows::load(Arc::clone(&store)).await.map_err(StartError::Read)?);
        let ending = Shutdown::new();
        let node_proxy = config.node_tls.clone().map(|tls| NodeProxy::new(tls, ending.clone()));
        let issuer = match config.issuer.clone() {
            Some(issuer) => issuer,
            None => Arc::new(Issuer::ephemeral().map_err(StartError::Key)?),
        };
        let inner = Arc::new(Inner {
            store,
            issuer,
            node_proxy,
            authorizer: Authorizer::new(Arc::new(policy::Pods(Arc::clone(&windows)))),
            windows: Arc::clone(&windows),
            allotment: Allotment::new(config.service_range),
            config,
            watches: OpenWatches::default(),
            fairness: Fairness::new(),
            counted: Mutex::default(),
            policy_is_stored: AtomicBool::new(false),
            ending,
        });
        // The tasks outlive `ending`: windows are fed until the last request of the drain has been answered.
        let tasks = Shutdown::new();
        let server = Server { inner: Arc::clone(&inner), _tasks: Arc::new(Background(tasks.clone())) };
        tokio::spawn(windows.follow(tasks.clone()));
        let none = BTreeMap::new();
        let suspects = inner.allotment.sweep(&*inner.store, &inner.windows, &none).await;
        let suspects = suspects.map_err(StartError::Read)?;
        bootstrap::run(&inner).await?;
        inner.policy_is_stored.store(true, Ordering::Release);
        inner.refresh_policy();
        tokio::spawn(allotment::run(Arc::clone(&inner), suspects, tasks.clone()));
        tokio::spawn(own_service::run(Arc::clone(&inner), tasks.clone()));
        tokio::spawn(policy::follow(Arc::clone(&inner), tasks.clone()));
        tokio::spawn(expiry::run(inner, tasks));
        Ok(server)
    }

    /// The router as a tower service; the request's user is its [`User`] extension.
    pub fn service(&self) -> Service {
        Service { server: self.clone(), user: None }
    }

    /// The router with every request made by `user`.
    pub fn service_for(&self, user: User) -> Service {
        Service { server: self.clone(), user: Some(user) }
    }

    /// A client in this process: the same routes and the same authorization as over the network, no socket.
    pub fn client_for(&self, user: User) -> kube::Client {
        kube::Client::new(self.service_for(user), "default")
    }

    /// Ends every watch, so that their clients go elsewhere.
    pub fn end_watches(&self) {
        self.inner.ending.trigger();
    }

    /// How often watchers of a resource have been woken.
    pub fn wakes(&self, plural: &str) -> u64 {
        self.inner.windows.window(plural).map_or(0, |window| window.wakes())
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        crate::route::handle(Arc::clone(&self.inner), request).await
    }

    /// For tests of what time does: every event is forgotten.
    pub fn forget_events(&self) {
        for window in self.inner.windows.all() {
            window.forget();
        }
    }
}

impl Inner {
    /// Reads roles and bindings again.
    pub(crate) fn refresh_policy(&self) {
        if !self.policy_is_stored.load(Ordering::Acquire) {
            return;
        }
        self.authorizer.replace(policy::read(&self.windows));
    }
}

/// The router as a [`tower::Service`].
#[derive(Clone)]
pub struct Service {
    server: Server,
    user: Option<User>,
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
        let mut request = request.map(body::boxed);
        if let Some(user) = &self.user {
            request.extensions_mut().insert(user.clone());
        }
        Box::pin(async move { Ok(crate::route::handle(Arc::clone(&server.inner), request).await) })
    }
}
