//! port-forward's SPDY inside a WebSocket: the bytes of binary messages are the bytes of the SPDY connection.
//!
//! SPDY itself is spoken between the client and the container runtime; here it is only unwrapped. Upstream:
//! k8s.io/apiserver/pkg/util/proxy, TunnelingHandler.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::TUNNEL_BUFFER_BYTES;
use super::idle::{self, IDLE_TIMEOUT, Watched};
use crate::websocket::{self, CLOSE_NORMAL, CLOSE_PROTOCOL_ERROR, Event, Kind};

/// Pings that wait for the writer; more are left unanswered, the next will do.
const PINGS_WAITING_MAX: usize = 4;
/// For the client to close after we have.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Carries bytes both ways until one side has ended: half of a SPDY connection is of no use.
pub(super) async fn serve<S, N>(client: S, node: N)
where
    S: AsyncRead + AsyncWrite + Unpin,
    N: AsyncRead + AsyncWrite + Unpin,
{
    let (client, activity) = Watched::new(client);
    let (from_client, to_client) = tokio::io::split(client);
    let mut reader = websocket::Reader::new(from_client);
    let mut writer = websocket::Writer::new(to_client);
    let (from_node, to_node) = tokio::io::split(node);
    let (ping, pings) = mpsc::channel(PINGS_WAITING_MAX);
    let code = tokio::select! {
        // The other direction's bytes have no reader any more.
        code = inward(&mut reader, to_node, ping) => code,
        code = outward(from_node, &mut writer, pings) => code,
        () = idle::passed(&activity, IDLE_TIMEOUT) => Some(CLOSE_NORMAL),
    };
    let Some(code) = code else { return };
    if writer.close(code).await.is_ok() {
        let gone = async { while let Ok(Some(_)) = reader.next().await {} };
        let _ = tokio::time::timeout(FINISH_TIMEOUT, gone).await;
    }
}

/// The code to close with; none if the client is gone.
async fn inward<R, W>(
    reader: &mut websocket::Reader<R>,
    mut to_node: W,
    ping: mpsc::Sender<bytes::Bytes>,
) -> Option<u16>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        match reader.next().await {
            Ok(Some(Event::Piece(piece))) if piece.is_text => return Some(CLOSE_PROTOCOL_ERROR),
            Ok(Some(Event::Piece(piece))) => {
                if to_node.write_all(&piece.bytes).await.is_err() || to_node.flush().await.is_err() {
                    return Some(CLOSE_NORMAL);
                }
            }
            Ok(Some(Event::Ping(payload))) => {
                let _ = ping.try_send(payload);
            }
            Ok(Some(Event::Pong)) => {}
            Ok(Some(Event::Close)) => return Some(CLOSE_NORMAL),
            Ok(None) | Err(websocket::ReadError::Io(_)) => return None,
            Err(websocket::ReadError::Protocol(_)) => return Some(CLOSE_PROTOCOL_ERROR),
        }
    }
}

async fn outward<R, W>(
    mut from_node: R,
    writer: &mut websocket::Writer<W>,
    mut pings: mpsc::Receiver<bytes::Bytes>,
) -> Option<u16>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; TUNNEL_BUFFER_BYTES];
    loop {
        let count = tokio::select! {
            // A ping that is not taken now stays in the channel.
            Some(payload) = pings.recv() => {
                writer.send(Kind::Pong, &[&payload]).await.ok()?;
                continue;
            }
            // A read that is dropped has read nothing.
            count = from_node.read(&mut buffer) => count,
        };
        match count {
            Ok(0) | Err(_) => return Some(CLOSE_NORMAL),
            Ok(count) => writer.send(Kind::Binary, &[&buffer[..count]]).await.ok()?,
        }
    }
}
