//! Requests that a node's agent or a Pod answers: logs, exec, attach, port-forward, and everything under `proxy`.
//!
//! Dials the agent's HTTPS API with the API server's own client certificate, puts the question in the kubelet's terms
//! ([`NodeCall`]) and passes everything on: bodies are streamed, and after a 101 the two connections are
//! joined byte by byte, so SPDY and the runtimes' WebSocket protocols are spoken between the client and the container
//! runtime alone. What runtimes do not speak is translated here: v5 WebSockets ([`channels`]), SPDY inside a WebSocket
//! ([`spdy_tunnel`]), logs as WebSocket messages ([`messages`]). One connection a request: they are few, long, and most of
//! them end in an upgrade. It does not know which Pod is where, nor who may ask, nor how a failure before the handshake is told:
//! it names it ([`NodeProxyError`]). Matches upstream's UpgradeAwareHandler, StreamTranslatorHandler and TunnelingHandler.

mod call;
mod channels;
mod dial;
mod error;
mod idle;
pub mod messages;
mod spdy_tunnel;
mod upgrade;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use process::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::{self, Body};
use crate::websocket;
pub use call::NodeCall;
pub use dial::{Backend, DIAL_TIMEOUT, NodeAddress, Transport};
pub use error::{FailureClass, NodeProxyError};
use upgrade::Wanted;

/// Time until an agent begins to answer; it may have to ask the container runtime first.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Upgraded connections at once; each holds two sockets and two buffers.
pub const TUNNELS_MAX: usize = 1_024;
/// Answers that are passed on at once: logs that are followed, and proxied requests.
pub const ANSWERS_MAX: usize = 1_024;
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
/// Headers of a WebSocket handshake, which is this server's where it does not pass it on.
const HANDSHAKE: [HeaderName; 4] = [
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
];
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Cheap to clone; clones share the limits.
#[derive(Clone)]
pub struct NodeProxy {
    dialer: dial::Dialer,
    shutdown: Shutdown,
    tunnels: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// A question to an agent that is asked by this server, not passed on.
struct Agent<'a> {
    proxy: &'a NodeProxy,
    backend: &'a Backend,
    node: &'a NodeAddress,
    /// Path and query.
    target: &'a str,
}

impl NodeProxy {
    /// `tls` trusts the agents' CA and shows the kubelet-client certificate; upgraded connections end with `shutdown`.
    pub fn new(tls: Arc<rustls::ClientConfig>, shutdown: Shutdown) -> NodeProxy {
        NodeProxy {
            dialer: dial::Dialer::new(tls),
            shutdown,
            tunnels: Arc::new(Semaphore::new(TUNNELS_MAX)),
            answers: Arc::new(Semaphore::new(ANSWERS_MAX)),
        }
    }

    /// The answer, whatever its status. `request` is the client's: its query is put into the kubelet's
    /// terms, its connection is upgraded if it wants that and the other side agrees.
    pub async fn forward(
        &self,
        backend: &Backend,
        call: &NodeCall,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, NodeProxyError> {
        let wanted = upgrade::wanted(call, &request)?;
        let limit = if wanted == Wanted::Nothing { &self.answers } else { &self.tunnels };
        let permit = Arc::clone(limit).try_acquire_owned().map_err(|_| NodeProxyError::TooManyTunnels)?;
        let target = call.path_and_query(request.uri().query().unwrap_or_default());
        if wanted == Wanted::Nothing {
            let outgoing = outgoing(backend, call, &target, None, request)?;
            let answer = self.exchange(backend, outgoing, call.answer_timeout()).await?;
            return Ok(passed_on(answer, permit));
        }
        // Taken now: the client's connection changes hands only after our 101 has been written.
        let client = hyper::upgrade::on(&mut request);
        match wanted {
            Wanted::Nothing | Wanted::Joined => {
                let protocol = request.headers().get(header::UPGRADE).cloned();
                let outgoing = outgoing(backend, call, &target, protocol, request)?;
                let mut answer = self.exchange(backend, outgoing, call.answer_timeout()).await?;
                if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                    return Ok(passed_on(answer, permit));
                }
                let agent = hyper::upgrade::on(&mut answer);
                let shutdown = self.shutdown.clone();
                // Ends with either connection or with the server.
                tokio::spawn(async move {
                    upgrade::join(client, agent, shutdown).await;
                    drop(permit);
                });
                let (parts, _) = answer.into_parts();
                Ok(Response::from_parts(parts, body::empty()))
            }
            Wanted::Channels => self.channels(backend, target, client, permit, &request),
            Wanted::Spdy(protocols) => {
                let asked = std::mem::take(request.headers_mut());
                self.spdy_tunnel(backend, &target, client, permit, &asked, &protocols).await
            }
            Wanted::LogMessages => self.log_messages(backend, call, &target, client, permit, request).await,
        }
    }

    /// exec and attach over v5: the handshake first, then the node.
    fn channels(
        &self,
        backend: &Backend,
        target: String,
        client: OnUpgrade,
        permit: OwnedSemaphorePermit,
        request: &Request<Body>,
    ) -> Result<Response<Body>, NodeProxyError> {
        let accepted = websocket::accept(request.headers(), Some(upgrade::V5))?;
        let streams = channels::Streams::parse(request.uri().query().unwrap_or_default());
        let (proxy, backend) = (self.clone(), backend.clone());
        self.spawn(client, permit, move |client| async move {
            let agent = Agent { proxy: &proxy, backend: &backend, node: &backend.address, target: &target };
            channels::serve(client, streams, &agent).await;
        });
        Ok(accepted)
    }

    async fn spdy_tunnel(
        &self,
        backend: &Backend,
        target: &str,
        client: OnUpgrade,
        permit: OwnedSemaphorePermit,
        asked: &HeaderMap,
        protocols: &[String],
    ) -> Result<Response<Body>, NodeProxyError> {
        let agent = Agent { proxy: self, backend, node: &backend.address, target };
        let mut headers = HeaderMap::new();
        for protocol in protocols {
            headers.append(PROTOCOL_VERSION, HeaderValue::try_from(protocol).map_err(http::Error::from)?);
        }
        let mut answer = agent.upgrade(Method::POST, crate::spdy::PROTOCOL, headers).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(passed_on(answer, permit));
        }
        let chosen = answer.headers().get(PROTOCOL_VERSION).and_then(|value| value.to_str().ok());
        let chosen = chosen.map(|protocol| format!("{}{protocol}", upgrade::TUNNEL_PREFIX));
        let accepted = websocket::accept(asked, chosen.as_deref())?;
        let node = hyper::upgrade::on(&mut answer);
        self.spawn(client, permit, move |client| async move {
            match node.await {
                Ok(node) => spdy_tunnel::serve(client, TokioIo::new(node)).await,
                Err(error) => tracing::debug!(%error, "a node's connection was not upgraded"),
            }
        });
        Ok(accepted)
    }

    async fn log_messages(
        &self,
        backend: &Backend,
        call: &NodeCall,
        target: &str,
        client: OnUpgrade,
        permit: OwnedSemaphorePermit,
        request: Request<Body>,
    ) -> Result<Response<Body>, NodeProxyError> {
        let offered: Vec<String> = websocket::offered(request.headers()).map(str::to_owned).collect();
        let Some((protocol, encoding)) = messages::choose(offered.iter().map(String::as_str)) else {
            return Err(NodeProxyError::WebSocketProtocol { offered });
        };
        let accepted = websocket::accept(request.headers(), protocol)?;
        let mut outgoing = outgoing(backend, call, target, None, request)?;
        HANDSHAKE.iter().for_each(|name| drop(outgoing.headers_mut().remove(name)));
        let answer = self.exchange(backend, outgoing, call.answer_timeout()).await?;
        if !answer.status().is_success() {
            return Ok(passed_on(answer, permit));
        }
        let log = body::boxed(answer.into_body());
        self.spawn(client, permit, move |client| messages::serve(client, log, encoding));
        Ok(accepted)
    }

    /// Serves an upgraded connection until it ends, or the server does.
    fn spawn<F>(
        &self,
        client: OnUpgrade,
        permit: OwnedSemaphorePermit,
        serve: impl FnOnce(TokioIo<hyper::upgrade::Upgraded>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let shutdown = self.shutdown.clone();
        // Ends with either connection or with the server.
        tokio::spawn(async move {
            let served = async {
                match client.await {
                    Ok(client) => serve(TokioIo::new(client)).await,
                    Err(error) => tracing::debug!(%error, "a client's connection was not upgraded"),
                }
            };
            tokio::select! {
                // Bytes on their way when the server stops are lost with the connection, as they would be anyway.
                () = shutdown.cancelled() => {}
                () = served => {}
            }
            drop(permit);
        });
    }

    async fn exchange(
        &self,
        backend: &Backend,
        request: Request<Body>,
        answer_timeout: Option<Duration>,
    ) -> Result<Response<Incoming>, NodeProxyError> {
        let address = &backend.address;
        let stream = self.dialer.dial(backend).await?;
        let failed = |source| NodeProxyError::Exchange { address: address.clone(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // Ends when the answer's body has been read or dropped, or when the connection has been upgraded.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a node ended");
            }
        });
        let answer = sender.send_request(request);
        let Some(limit) = answer_timeout else { return answer.await.map_err(failed) };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(NodeProxyError::Silent { address: address.clone() }),
        }
    }
}

impl Agent<'_> {
    /// Asks the agent to upgrade to `protocol`; its answer, whatever it is.
    async fn upgrade(
        &self,
        method: Method,
        protocol: &'static str,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, NodeProxyError> {
        let mut request = Request::builder().method(method).uri(self.target).body(body::empty())?;
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.insert(header::HOST, host(self.node)?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(protocol));
        self.proxy.exchange(self.backend, request, Some(ANSWER_TIMEOUT)).await
    }
}

/// The answer as the client gets it, while it counts as one.
fn passed_on(answer: Response<Incoming>, permit: OwnedSemaphorePermit) -> Response<Body> {
    let (mut parts, answer) = answer.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    let counted = answer.map_frame(move |frame| {
        // Held as long as the body is.
        let _ = &permit;
        frame
    });
    Response::from_parts(parts, body::boxed(counted))
}

/// The client's request as the other side gets it: without the client's credentials, with the headers of streams.
fn outgoing(
    backend: &Backend,
    call: &NodeCall,
    target: &str,
    protocol: Option<HeaderValue>,
    request: Request<Body>,
) -> Result<Request<Body>, NodeProxyError> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    remove_hop_by_hop(&mut headers);
    headers.remove(header::AUTHORIZATION);
    if call.is_for_agent() {
        headers.remove(header::COOKIE);
        headers.insert(header::HOST, host(&backend.address)?);
    } else if let Some(authority) = parts.uri.authority() {
        // HTTP/2 has no Host header; Pods see the name that the client used.
        headers.insert(header::HOST, HeaderValue::try_from(authority.as_str()).map_err(http::Error::from)?);
    } else if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, host(&backend.address)?);
    }
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    let mut outgoing = Request::builder().method(parts.method).uri(target).body(body)?;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

fn host(address: &NodeAddress) -> Result<HeaderValue, http::Error> {
    Ok(HeaderValue::try_from(address.to_string())?)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
