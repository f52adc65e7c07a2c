//! A body as WebSocket messages: each piece of a log that comes from the node, each line of a watch.
//!
//! Upstream: wsstream.Reader, with its protocols for logs: binary messages, or their base64 as text for browsers that
//! cannot read binary.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite};

use super::idle::{self, IDLE_TIMEOUT, Watched};
use crate::body::Body;
use crate::websocket::{self, CLOSE_NORMAL, Event, Kind};

const BINARY: &str = "binary.k8s.io";
const BASE64: &str = "base64.binary.k8s.io";
/// For the client to close after we have.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Binary,
    Base64,
    /// Each line of a piece is a text; pieces end with lines.
    Lines,
}

/// The subprotocol to answer with and how its messages are written; nothing if none of the offered is spoken.
pub(super) fn choose<'a>(mut offered: impl Iterator<Item = &'a str>) -> Option<(Option<&'a str>, Encoding)> {
    let Some(first) = offered.next() else { return Some((None, Encoding::Binary)) };
    std::iter::once(first).chain(offered).find_map(|name| match name {
        BINARY => Some((Some(name), Encoding::Binary)),
        BASE64 => Some((Some(name), Encoding::Base64)),
        _ => None,
    })
}

/// Sends the body until its end, or until the client goes.
pub async fn serve<S>(client: S, mut body: Body, encoding: Encoding)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (client, activity) = Watched::new(client);
    let (from_client, to_client) = tokio::io::split(client);
    let mut reader = websocket::Reader::new(from_client);
    let mut writer = websocket::Writer::new(to_client);
    loop {
        let frame = tokio::select! {
            // The reader keeps what it has read; a client has nothing to say here.
            event = reader.next() => match event {
                Ok(Some(Event::Ping(payload))) => match writer.send(Kind::Pong, &[&payload]).await {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                Ok(Some(Event::Piece(_) | Event::Pong)) => continue,
                Ok(Some(Event::Close)) => break,
                Ok(None) | Err(_) => return,
            },
            // A frame that has not come stays in the body.
            frame = body.frame() => frame,
            () = idle::passed(&activity, IDLE_TIMEOUT) => break,
        };
        let Some(Ok(frame)) = frame else { break };
        let Ok(bytes) = frame.into_data() else { continue };
        let sent = match encoding {
            Encoding::Binary => writer.send(Kind::Binary, &[&bytes]).await,
            Encoding::Base64 => writer.send(Kind::Text, &[STANDARD.encode(&bytes).as_bytes()]).await,
            Encoding::Lines => lines(&mut writer, &bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
    if writer.close(CLOSE_NORMAL).await.is_ok() {
        let gone = async { while let Ok(Some(_)) = reader.next().await {} };
        let _ = tokio::time::timeout(FINISH_TIMEOUT, gone).await;
    }
}

async fn lines<W: AsyncWrite + Unpin>(
    writer: &mut websocket::Writer<W>,
    piece: &[u8],
) -> std::io::Result<()> {
    for line in piece.split_inclusive(|byte| *byte == b'\n') {
        writer.send(Kind::Text, &[line]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_protocol_that_is_spoken_is_chosen_and_none_is_binary() {
        assert_eq!(choose([].into_iter()), Some((None, Encoding::Binary)));
        assert_eq!(
            choose(["x", "base64.binary.k8s.io", "binary.k8s.io"].into_iter()),
            Some((Some("base64.binary.k8s.io"), Encoding::Base64))
        );
        assert_eq!(choose(["v4.channel.k8s.io"].into_iter()), None);
    }
}
