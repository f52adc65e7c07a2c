//! Requests that a node's agent answers: logs, exec, attach and port-forward.
//!
//! Dials the agent's HTTPS API with the API server's own client certificate, puts the question in the kubelet's terms
//! ([`NodeCall`]) and passes everything on: bodies are streamed, and after a 101 the two connections are
//! joined byte by byte, so SPDY and WebSocket are spoken between the client and the container runtime alone.
//! One connection a request: they are few, long, and most of them end in an upgrade. It does not know
//! which Pod is where, nor who may ask, nor how a failure is told: it names it ([`NodeProxyError`]).
//! Matches upstream's UpgradeAwareHandler and pkg/registry/core/pod's locations.

mod call;
mod upgrade;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use process::Shutdown;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::body::{self, Body};
pub use call::NodeCall;
use upgrade::Wanted;

/// Time to reach an agent, TLS included: a node that is up answers in milliseconds, and a person waits.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time until an agent begins to answer; it may have to ask the container runtime first.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Joined connections at once; each holds two sockets and two buffers.
pub const TUNNELS_MAX: usize = 1_024;
/// Each direction's buffer of a joined connection.
const TUNNEL_BUFFER_BYTES: usize = 16 * 1024;

/// Headers that concern one connection only (RFC 9110 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
];

/// Where an agent listens: the node's InternalIP and `status.daemonEndpoints.kubeletEndpoint.Port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    /// An IP address or a name; the agent's certificate must be valid for it.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why there is no answer from the node. [`NodeProxyError::told`] is the text for the client.
#[derive(Debug, thiserror::Error)]
pub enum NodeProxyError {
    #[error("{0} is not an address")]
    Address(NodeAddress),
    #[error("dial tcp {address}")]
    Dial {
        address: NodeAddress,
        #[source]
        source: std::io::Error,
    },
    #[error("TLS with {address}")]
    Tls {
        address: NodeAddress,
        #[source]
        source: std::io::Error,
    },
    #[error("{address} does not answer")]
    Silent { address: NodeAddress },
    #[error("HTTP with {address}")]
    Exchange {
        address: NodeAddress,
        #[source]
        source: hyper::Error,
    },
    #[error("the node's answer cannot be passed on")]
    Answer(#[source] http::Error),
    /// The client asked to upgrade a connection that cannot be (HTTP/2, or a call inside the process).
    #[error("this connection cannot be upgraded")]
    NotUpgradable,
    /// No WebSocket protocol that container runtimes speak was offered; clients fall back to SPDY.
    #[error("no supported WebSocket protocol was offered: {offered:?}")]
    WebSocketProtocol { offered: Vec<String> },
    #[error("too many streams to nodes are open")]
    TooManyTunnels,
}

/// What a failure is, for the one who builds the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The node could not be reached or made no sense; upstream answers 500, a gateway 502.
    Node,
    /// The request cannot be served as it is: 400.
    Request,
    /// Too much at once: 429.
    Busy,
}

impl NodeProxyError {
    pub fn class(&self) -> FailureClass {
        match self {
            NodeProxyError::Address(_)
            | NodeProxyError::Dial { .. }
            | NodeProxyError::Tls { .. }
            | NodeProxyError::Silent { .. }
            | NodeProxyError::Exchange { .. }
            | NodeProxyError::Answer(_) => FailureClass::Node,
            NodeProxyError::NotUpgradable | NodeProxyError::WebSocketProtocol { .. } => FailureClass::Request,
            NodeProxyError::TooManyTunnels => FailureClass::Busy,
        }
    }

    /// The failure and its cause in one line, as upstream tells the client; names no more than the address.
    pub fn told(&self) -> String {
        let mut text = match self.class() {
            FailureClass::Node => format!("error dialing backend: {self}"),
            FailureClass::Request | FailureClass::Busy => self.to_string(),
        };
        if let Some(cause) = std::error::Error::source(self) {
            text.push_str(": ");
            text.push_str(&cause.to_string());
        }
        text
    }
}

/// Cheap to clone; clones share the limit.
#[derive(Clone)]
pub struct NodeProxy {
    tls: TlsConnector,
    shutdown: Shutdown,
    tunnels: Arc<Semaphore>,
}

impl NodeProxy {
    /// `tls` trusts the agents' CA and shows the kubelet-client certificate; joined connections end with `shutdown`.
    pub fn new(tls: Arc<rustls::ClientConfig>, shutdown: Shutdown) -> NodeProxy {
        NodeProxy { tls: TlsConnector::from(tls), shutdown, tunnels: Arc::new(Semaphore::new(TUNNELS_MAX)) }
    }

    /// The agent's answer, whatever its status. `request` is the client's: its query is put into the kubelet's
    /// terms, its connection is upgraded if it wants that and the agent agrees.
    pub async fn forward(
        &self,
        node: &NodeAddress,
        call: &NodeCall,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, NodeProxyError> {
        let wanted = upgrade::wanted(&request)?;
        let permit = match wanted {
            Wanted::Nothing => None,
            Wanted::Upgrade => {
                let permit = self.tunnels.clone().try_acquire_owned();
                Some(permit.map_err(|_| NodeProxyError::TooManyTunnels)?)
            }
        };
        // Taken now: the client's connection changes hands only after our 101 has been written.
        let client = permit.is_some().then(|| hyper::upgrade::on(&mut request));

        let target = call.path_and_query(request.uri().query().unwrap_or_default());
        let outgoing = outgoing(node, &target, wanted, request).map_err(NodeProxyError::Answer)?;
        let mut answer = self.exchange(node, outgoing).await?;

        if let (Some(client), Some(permit), StatusCode::SWITCHING_PROTOCOLS) =
            (client, permit, answer.status())
        {
            let agent = hyper::upgrade::on(&mut answer);
            let shutdown = self.shutdown.clone();
            // Ends with either connection or with the server.
            tokio::spawn(async move {
                upgrade::join(client, agent, shutdown).await;
                drop(permit);
            });
            let (parts, _) = answer.into_parts();
            return Ok(Response::from_parts(parts, body::empty()));
        }
        let (mut parts, answer) = answer.into_parts();
        remove_hop_by_hop(&mut parts.headers);
        Ok(Response::from_parts(parts, body::boxed(answer)))
    }

    async fn exchange(
        &self,
        node: &NodeAddress,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, NodeProxyError> {
        let stream = match tokio::time::timeout(DIAL_TIMEOUT, self.dial(node)).await {
            Ok(dialled) => dialled?,
            Err(_) => {
                let source = std::io::Error::new(std::io::ErrorKind::TimedOut, "i/o timeout");
                return Err(NodeProxyError::Dial { address: node.clone(), source });
            }
        };
        let failed = |source| NodeProxyError::Exchange { address: node.clone(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // Ends when the answer's body has been read or dropped, or when the connection has been upgraded.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a node ended");
            }
        });
        match tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(NodeProxyError::Silent { address: node.clone() }),
        }
    }

    async fn dial(&self, node: &NodeAddress) -> Result<TlsStream<TcpStream>, NodeProxyError> {
        let name =
            ServerName::try_from(node.host.clone()).map_err(|_| NodeProxyError::Address(node.clone()))?;
        let stream = TcpStream::connect((node.host.as_str(), node.port))
            .await
            .map_err(|source| NodeProxyError::Dial { address: node.clone(), source })?;
        // A keystroke in exec must not wait for the next one; failing to say so only costs that.
        let _ = stream.set_nodelay(true);
        self.tls
            .connect(name, stream)
            .await
            .map_err(|source| NodeProxyError::Tls { address: node.clone(), source })
    }
}

/// The client's request as the agent gets it: without the client's credentials, with the headers of streams.
fn outgoing(
    node: &NodeAddress,
    target: &str,
    wanted: Wanted,
    request: Request<Body>,
) -> Result<Request<Body>, http::Error> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    let protocol = headers.get(header::UPGRADE).cloned();
    remove_hop_by_hop(&mut headers);
    for credential in [header::AUTHORIZATION, header::COOKIE] {
        headers.remove(credential);
    }
    headers.insert(header::HOST, HeaderValue::try_from(node.to_string())?);
    if let (Wanted::Upgrade, Some(protocol)) = (wanted, protocol) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    let mut outgoing = Request::builder().method(parts.method).uri(target).body(body)?;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
