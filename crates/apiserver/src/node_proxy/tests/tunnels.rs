//! SPDY inside a WebSocket, and logs as its messages.

use super::socket::{BINARY, CLOSE, Socket};
use super::*;

const TEXT: u8 = 0x1;

#[tokio::test]
async fn port_forwards_spdy_is_unwrapped_for_the_agent_and_wrapped_for_the_client() {
    let call = NodeCall::PortForward { namespace: "default".into(), pod: "p".into() };
    let world = world(call).await;
    let (mut socket, chosen) = Socket::open(&world, "SPDY/3.1+portforward.k8s.io", "").await;
    assert_eq!(chosen, "SPDY/3.1+portforward.k8s.io");
    for word in [&b"hello"[..], b"again"] {
        socket.send(BINARY, word).await;
        assert_eq!(socket.next().await, (BINARY, word.to_vec()));
    }
    socket.send(CLOSE, &1000_u16.to_be_bytes()).await;
    assert_eq!(socket.next().await, (CLOSE, 1000_u16.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn log_comes_as_messages_binary_or_base64() {
    let call = NodeCall::Logs { namespace: "default".into(), pod: "p".into(), container: "c".into() };
    let world = world(call).await;
    let first = b"GET /containerLogs/default/p/c?follow=true\n";
    let (mut socket, chosen) = Socket::open(&world, "binary.k8s.io", "follow=true").await;
    assert_eq!((chosen.as_str(), socket.next().await), ("binary.k8s.io", (BINARY, first.to_vec())));
    let (mut socket, chosen) = Socket::open(&world, "base64.binary.k8s.io", "follow=true").await;
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, first).into_bytes();
    assert_eq!((chosen.as_str(), socket.next().await), ("base64.binary.k8s.io", (TEXT, encoded)));
}
