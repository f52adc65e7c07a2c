//! A WebSocket client for tests.

use hyper::upgrade::Upgraded;
use tokio::io::ReadHalf;
use tokio::io::WriteHalf;

use super::*;

pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;

pub struct Socket {
    pub from: ReadHalf<TokioIo<Upgraded>>,
    pub to: WriteHalf<TokioIo<Upgraded>>,
}

/// What a client sends: masked, which is zero here.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(payload.len()).unwrap() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        middle => {
            frame.push(0x80 | 126);
            frame.extend(middle.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

impl Socket {
    /// A handshake that must succeed; also the chosen protocol.
    pub async fn open(world: &World, protocol: &'static str, query: &str) -> (Socket, String) {
        let mut headers = websocket(protocol).to_vec();
        headers.push(("Sec-WebSocket-Version", "13"));
        headers.push(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="));
        let mut answer = ask(world, &headers, query).await;
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        let chosen = answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        let chosen = chosen.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let (from, to) = tokio::io::split(TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap()));
        (Socket { from, to }, chosen)
    }

    pub async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.to.write_all(&frame(opcode, payload)).await.unwrap();
    }

    /// The next message: its opcode and payload.
    pub async fn next(&mut self) -> (u8, Vec<u8>) {
        receive(&mut self.from).await
    }
}

pub async fn receive(from: &mut ReadHalf<TokioIo<Upgraded>>) -> (u8, Vec<u8>) {
    let opcode = from.read_u8().await.unwrap() & 0x0f;
    let length = match from.read_u8().await.unwrap() {
        126 => usize::from(from.read_u16().await.unwrap()),
        127 => usize::try_from(from.read_u64().await.unwrap()).unwrap(),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await.unwrap();
    (opcode, payload)
}
