//! Upgrades: which ones are passed on, and two connections joined into one.

use http::{Request, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use process::Shutdown;

use super::{NodeProxyError, TUNNEL_BUFFER_BYTES};
use crate::body::Body;

/// WebSocket protocols that the container runtimes' streaming servers speak (k8s.io/apiserver wsstream):
/// containerd 1.6 and 1.7 know no v5, and no SPDY inside WebSocket for port-forward.
const WEBSOCKET_PROTOCOLS: [&str; 5] = [
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "portforward.k8s.io",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    Upgrade,
}

/// Whether the request wants its connection upgraded, and may.
pub(super) fn wanted(request: &Request<Body>) -> Result<Wanted, NodeProxyError> {
    let headers = request.headers();
    let listed = |name| {
        headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(',').map(str::trim).filter(|token| !token.is_empty()))
    };
    if !listed(header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Ok(Wanted::Nothing);
    }
    let Some(protocol) = headers.get(header::UPGRADE) else { return Ok(Wanted::Nothing) };
    if protocol.as_bytes().eq_ignore_ascii_case(b"websocket") {
        // DIFFERS(EXEC): the API server does not translate v5 to what the runtime speaks; a refused
        // handshake makes kubectl use SPDY.
        let offered: Vec<String> = listed(header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect();
        if !offered.is_empty() && !offered.iter().any(|own| WEBSOCKET_PROTOCOLS.contains(&own.as_str())) {
            return Err(NodeProxyError::WebSocketProtocol { offered });
        }
    }
    if request.extensions().get::<OnUpgrade>().is_none() {
        return Err(NodeProxyError::NotUpgradable);
    }
    Ok(Wanted::Upgrade)
}

/// Carries bytes both ways until both sides have ended, one has failed, or the server stops.
pub(super) async fn join(client: OnUpgrade, agent: OnUpgrade, shutdown: Shutdown) {
    let tunnel = async {
        let (client, agent) = futures::future::try_join(client, agent).await.map_err(Ended::Upgrade)?;
        let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
        tokio::io::copy_bidirectional_with_sizes(
            &mut client,
            &mut agent,
            TUNNEL_BUFFER_BYTES,
            TUNNEL_BUFFER_BYTES,
        )
        .await
        .map_err(Ended::Copy)
    };
    tokio::select! {
        // Bytes on their way when the server stops are lost with the connection, as they would be anyway.
        () = shutdown.cancelled() => {}
        ended = tunnel => {
            if let Err(ended) = ended {
                tracing::debug!(error = &ended as &dyn std::error::Error, "a stream to a node ended");
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("a connection was not upgraded")]
    Upgrade(#[source] hyper::Error),
    #[error("a connection broke")]
    Copy(#[source] std::io::Error),
}
