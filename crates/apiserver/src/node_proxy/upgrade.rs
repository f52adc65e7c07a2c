//! Upgrades: what a request wants its connection turned into, and two connections joined into one.

use http::{HeaderMap, Request, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use process::Shutdown;

use super::idle::{self, IDLE_TIMEOUT, Watched};
use super::{NodeCall, NodeProxyError, TUNNEL_BUFFER_BYTES};
use crate::body::Body;
use crate::websocket::{self, listed};

/// exec and attach with channels that can be closed one by one.
pub(super) const V5: &str = "v5.channel.k8s.io";
/// What stands before the SPDY protocol's name where SPDY goes through a WebSocket.
pub(super) const TUNNEL_PREFIX: &str = "SPDY/3.1+";
const TUNNEL_SUFFIX: &str = ".k8s.io";

/// WebSocket protocols that the container runtimes' streaming servers speak (k8s.io/apiserver wsstream):
/// containerd 1.6 and 1.7 know no v5, and no SPDY inside WebSocket for port-forward.
const RUNTIMES_PROTOCOLS: [&str; 5] = [
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "portforward.k8s.io",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An answer.
    Nothing,
    /// Bytes both ways, as the agent's end understands them.
    Joined,
    /// exec or attach over a v5 WebSocket: to be put into SPDY.
    Channels,
    /// SPDY through a WebSocket; the SPDY protocols that are offered.
    Spdy(Vec<String>),
    /// A log as WebSocket messages.
    LogMessages,
}

/// What the request wants, if it may.
pub(super) fn wanted(call: &NodeCall, request: &Request<Body>) -> Result<Wanted, NodeProxyError> {
    let headers = request.headers();
    if !is_upgrade(headers) {
        return if call.is_stream() { Err(NodeProxyError::UpgradeRequired) } else { Ok(Wanted::Nothing) };
    }
    if request.extensions().get::<OnUpgrade>().is_none() {
        return Err(NodeProxyError::NotUpgradable);
    }
    if !websocket::is_asked_for(headers) {
        return Ok(match call {
            NodeCall::Logs { .. } => Wanted::Nothing,
            NodeCall::Exec { .. }
            | NodeCall::Attach { .. }
            | NodeCall::PortForward { .. }
            | NodeCall::Plain { .. } => Wanted::Joined,
        });
    }
    let offered = || websocket::offered(headers);
    let tunnels: Vec<String> = offered()
        .filter(|name| name.ends_with(TUNNEL_SUFFIX))
        .filter_map(|name| name.strip_prefix(TUNNEL_PREFIX).map(str::to_owned))
        .collect();
    match call {
        NodeCall::Logs { .. } => Ok(Wanted::LogMessages),
        NodeCall::Exec { .. } | NodeCall::Attach { .. } if offered().any(|name| name == V5) => {
            Ok(Wanted::Channels)
        }
        NodeCall::PortForward { .. } if !tunnels.is_empty() => Ok(Wanted::Spdy(tunnels)),
        NodeCall::Exec { .. } | NodeCall::Attach { .. } | NodeCall::PortForward { .. } => {
            let spoken =
                offered().next().is_none() || offered().any(|name| RUNTIMES_PROTOCOLS.contains(&name));
            if spoken {
                return Ok(Wanted::Joined);
            }
            Err(NodeProxyError::WebSocketProtocol { offered: offered().map(str::to_owned).collect() })
        }
        NodeCall::Plain { .. } => Ok(Wanted::Joined),
    }
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        && listed(headers, header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// Carries bytes both ways until both sides have ended, one has failed, nothing has moved for too long, or the
/// server stops.
pub(super) async fn join(client: OnUpgrade, agent: OnUpgrade, shutdown: Shutdown) {
    let opened = futures::future::try_join(client, agent);
    let (client, agent) = tokio::select! {
        // Nothing has been carried yet.
        () = shutdown.cancelled() => return,
        opened = opened => match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(%error, "a connection was not upgraded");
                return;
            }
        },
    };
    let (mut client, activity) = Watched::new(TokioIo::new(client));
    let mut agent = TokioIo::new(agent);
    let copied = tokio::io::copy_bidirectional_with_sizes(
        &mut client,
        &mut agent,
        TUNNEL_BUFFER_BYTES,
        TUNNEL_BUFFER_BYTES,
    );
    tokio::select! {
        // Bytes on their way when the server stops are lost with the connection, as they would be anyway.
        () = shutdown.cancelled() => {}
        () = idle::passed(&activity, IDLE_TIMEOUT) => tracing::debug!("a stream to a node was idle for too long"),
        copied = copied => {
            if let Err(error) = copied {
                tracing::debug!(%error, "a stream to a node ended");
            }
        }
    }
}
