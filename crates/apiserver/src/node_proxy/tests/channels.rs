//! exec over a v5 WebSocket against a container that is reached over SPDY.

use serde_json::Value;

use super::socket::{BINARY, CLOSE, Socket, frame, receive};
use super::*;

const V5: &str = "v5.channel.k8s.io, v4.channel.k8s.io";
const END_OF_STDIN: &[u8] = &[255, 0];
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

async fn open(query: &str) -> (Socket, World) {
    let world = world(call()).await;
    let (socket, chosen) = Socket::open(&world, V5, query).await;
    assert_eq!(chosen, "v5.channel.k8s.io");
    (socket, world)
}

/// The Status that ends the session, and the close after it.
async fn end(socket: &mut Socket) -> Value {
    let mut json = Vec::new();
    loop {
        match socket.next().await {
            (BINARY, message) if message[0] == 3 => json.extend_from_slice(&message[1..]),
            (CLOSE, code) => {
                assert_eq!(code, 1000_u16.to_be_bytes());
                return serde_json::from_slice(&json).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn stdin_and_its_end_reach_the_container_and_its_output_and_status_the_client() {
    let (mut socket, _world) = open("command=exit%3D7&stdin=true&stdout=true&stderr=true").await;
    assert_eq!(socket.next().await, (BINARY, vec![1]), "an empty message tells that the session is open");
    socket.send(BINARY, b"\0hello").await;
    assert_eq!(socket.next().await, (BINARY, b"\x01hello".to_vec()));
    socket.send(BINARY, END_OF_STDIN).await;
    assert_eq!(socket.next().await, (BINARY, b"\x01end".to_vec()));
    let status = end(&mut socket).await;
    assert_eq!((&status["status"], &status["reason"]), (&"Failure".into(), &"NonZeroExitCode".into()));
    assert_eq!(status["details"]["causes"][0]["message"], "7");
}

#[tokio::test]
async fn terminals_size_goes_on_its_own_stream_and_pings_are_answered() {
    let (mut socket, _world) = open("stdin=true&stdout=true&tty=true").await;
    assert_eq!(socket.next().await, (BINARY, vec![1]));
    socket.send(PING, b"?").await;
    assert_eq!(socket.next().await, (PONG, b"?".to_vec()));
    let size = br#"{"Width":80,"Height":24}"#;
    socket.send(BINARY, &[&[4], &size[..]].concat()).await;
    assert_eq!(socket.next().await, (BINARY, [&[1], &size[..]].concat()));
}

#[tokio::test]
async fn much_data_goes_both_ways_at_once_unharmed() {
    let (socket, _world) = open("stdin=true&stdout=true").await;
    let sent: Vec<u8> = (0..4_000_000_u32).map(|at| (at / 7) as u8).collect();
    let (mut from, mut to) = (socket.from, socket.to);
    let input = sent.clone();
    let writes = tokio::spawn(async move {
        for piece in input.chunks(30_000) {
            to.write_all(&frame(BINARY, &[&[0], piece].concat())).await.unwrap();
        }
        to.write_all(&frame(BINARY, END_OF_STDIN)).await.unwrap();
        to
    });
    let mut got = Vec::new();
    loop {
        let (opcode, message) = receive(&mut from).await;
        match (opcode, message.first()) {
            (BINARY, Some(1)) => got.extend_from_slice(&message[1..]),
            (BINARY, Some(3)) => {}
            _ => break,
        }
    }
    writes.await.unwrap();
    assert!(got.strip_suffix(b"end") == Some(&sent[..]), "{} of {} bytes", got.len(), sent.len());
}

#[tokio::test]
async fn agents_refusal_is_told_on_the_status_channel() {
    let call = NodeCall::Exec { namespace: "default".into(), pod: "p".into(), container: "refused".into() };
    let world = world(call).await;
    let (mut socket, _) = Socket::open(&world, V5, "stdout=true").await;
    assert_eq!(socket.next().await, (BINARY, vec![1]));
    let status = end(&mut socket).await;
    assert_eq!(status["message"], "Internal error occurred: unable to upgrade connection: no such container");
}

#[tokio::test]
async fn container_that_is_lost_without_a_word_is_no_success() {
    let (mut socket, _world) = open("command=vanish&stdin=true&stdout=true").await;
    assert_eq!(socket.next().await, (BINARY, vec![1]));
    socket.send(BINARY, END_OF_STDIN).await;
    let status = end(&mut socket).await;
    assert_eq!(
        (&status["status"], &status["message"]),
        (
            &"Failure".into(),
            &"Internal error occurred: error reading from error stream: unexpected EOF".into()
        )
    );
}

#[tokio::test]
async fn session_ends_with_its_client_and_counts_no_more() {
    let (mut socket, world) = open("stdin=true&stdout=true").await;
    assert_eq!(socket.next().await, (BINARY, vec![1]));
    assert_eq!(world.proxy.tunnels.available_permits(), TUNNELS_MAX - 1);
    drop(socket);
    let all = world.proxy.tunnels.acquire_many(u32::try_from(TUNNELS_MAX).unwrap());
    drop(
        tokio::time::timeout(std::time::Duration::from_secs(10), all)
            .await
            .expect("it is given back")
            .unwrap(),
    );
}

#[tokio::test]
async fn frame_that_no_client_may_send_ends_the_session_with_an_error() {
    let (mut socket, _world) = open("stdin=true&stdout=true").await;
    assert_eq!(socket.next().await, (BINARY, vec![1]));
    socket.to.write_all(&[0x82, 0x01, b'a']).await.unwrap();
    assert_eq!(socket.next().await, (CLOSE, 1002_u16.to_be_bytes().to_vec()));
}
