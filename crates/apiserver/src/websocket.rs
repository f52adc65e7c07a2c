//! WebSocket (RFC 6455) from the server's side: the handshake, and messages as pieces.
//!
//! A message is never held whole: what has arrived of it is handed on as a [`Piece`], so that a peer's frame of any
//! length costs one buffer. Pings are the caller's to answer, because the caller owns the writing half. No
//! extensions; subprotocols are chosen by the caller. Upstream: golang.org/x/net/websocket and gorilla/websocket, as used
//! by k8s.io/apimachinery's wsstream and k8s.io/apiserver's proxies.

mod read;
mod write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::body::{self, Body};

pub use read::{Event, ReadError, Reader};
pub use write::{Kind, Writer};

/// What the key is hashed with (RFC 6455 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The only version of the protocol.
const VERSION: &str = "13";

/// Codes of a close frame.
pub const CLOSE_NORMAL: u16 = 1000;
pub const CLOSE_PROTOCOL_ERROR: u16 = 1002;

/// Whether the headers ask for a WebSocket.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).map(HeaderValue::as_bytes).unwrap_or_default();
    upgrade.eq_ignore_ascii_case(b"websocket")
        && listed(headers, header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// The subprotocols that the client offers, in its order.
pub fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    listed(headers, header::SEC_WEBSOCKET_PROTOCOL)
}

/// The tokens of a header that is a list.
pub fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim).filter(|token| !token.is_empty()))
}

/// Why a handshake is refused: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("missing or bad WebSocket version: only 13 is spoken")]
    Version,
    #[error("missing WebSocket key")]
    Key,
}

/// The 101 that accepts the handshake, with the chosen subprotocol if there is one.
pub fn accept(headers: &HeaderMap, protocol: Option<&str>) -> Result<Response<Body>, HandshakeError> {
    if !listed(headers, header::SEC_WEBSOCKET_VERSION).any(|version| version == VERSION) {
        return Err(HandshakeError::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if key.is_empty() {
        return Err(HandshakeError::Key);
    }
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(proof) = HeaderValue::from_str(&proof(key)) {
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
    }
    if let Some(Ok(protocol)) = protocol.map(HeaderValue::from_str) {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// What shows the client that its handshake was understood.
fn proof(key: &[u8]) -> String {
    let mut hashed = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hashed.update(key);
    hashed.update(GUID.as_bytes());
    STANDARD.encode(hashed.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let parse = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(parse).collect()
    }

    #[test]
    fn handshake_is_proven_as_the_rfc_shows() {
        let asked = headers(&[
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io"),
        ]);
        assert!(is_asked_for(&asked));
        assert_eq!(offered(&asked).collect::<Vec<_>>(), ["v5.channel.k8s.io", "v4.channel.k8s.io"]);
        let answer = accept(&asked, Some("v5.channel.k8s.io")).unwrap();
        assert_eq!(answer.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()[header::SEC_WEBSOCKET_PROTOCOL], "v5.channel.k8s.io");
    }

    #[test]
    fn handshake_without_key_or_of_another_version_is_refused() {
        let old = headers(&[("sec-websocket-version", "8"), ("sec-websocket-key", "a")]);
        assert_eq!(accept(&old, None).unwrap_err(), HandshakeError::Version);
        let bare = headers(&[("sec-websocket-version", "13")]);
        assert_eq!(accept(&bare, None).unwrap_err(), HandshakeError::Key);
        assert!(!is_asked_for(&headers(&[("upgrade", "SPDY/3.1"), ("connection", "Upgrade")])));
    }
}
