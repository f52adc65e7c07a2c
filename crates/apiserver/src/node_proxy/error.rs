//! Why there is no answer from a node or a Pod.

use super::dial::{NodeAddress, in_gos_words};
use crate::websocket::HandshakeError;

/// Why there is no answer. [`NodeProxyError::told`] is the text for the client.
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
    #[error("the request cannot be passed on")]
    Request(#[from] http::Error),
    /// exec, attach and port-forward are nothing but an upgrade. The words are upstream's.
    #[error("Upgrade request required")]
    UpgradeRequired,
    /// The client asked to upgrade a connection that cannot be (HTTP/2, or a call inside the process).
    #[error("this connection cannot be upgraded")]
    NotUpgradable,
    #[error("WebSocket handshake")]
    Handshake(#[from] HandshakeError),
    /// No WebSocket protocol that container runtimes speak was offered; clients fall back to SPDY.
    #[error("no supported WebSocket protocol was offered: {offered:?}")]
    WebSocketProtocol { offered: Vec<String> },
    #[error("too many streams to nodes are open")]
    TooManyTunnels,
}

/// What a failure is, for the one who builds the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The other side could not be reached or made no sense.
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
            | NodeProxyError::Exchange { .. } => FailureClass::Node,
            NodeProxyError::Request(_)
            | NodeProxyError::UpgradeRequired
            | NodeProxyError::NotUpgradable
            | NodeProxyError::Handshake(_)
            | NodeProxyError::WebSocketProtocol { .. } => FailureClass::Request,
            NodeProxyError::TooManyTunnels => FailureClass::Busy,
        }
    }

    /// The failure with its cause in one line; names no more than the address.
    pub fn cause(&self) -> String {
        match self {
            NodeProxyError::Dial { source, .. } | NodeProxyError::Tls { source, .. } => {
                format!("{self}: {}", in_gos_words(source))
            }
            NodeProxyError::Exchange { source, .. } => format!("{self}: {source}"),
            NodeProxyError::Handshake(source) => source.to_string(),
            NodeProxyError::Request(source) => format!("{self}: {source}"),
            NodeProxyError::Address(_)
            | NodeProxyError::Silent { .. }
            | NodeProxyError::UpgradeRequired
            | NodeProxyError::NotUpgradable
            | NodeProxyError::WebSocketProtocol { .. }
            | NodeProxyError::TooManyTunnels => self.to_string(),
        }
    }

    /// As upstream tells the client of a stream.
    pub fn told(&self) -> String {
        match self.class() {
            FailureClass::Node => format!("error dialing backend: {}", self.cause()),
            FailureClass::Request | FailureClass::Busy => self.cause(),
        }
    }
}
