//! exec and attach over a WebSocket whose channels can be closed one by one (v5), put into SPDY.
//!
//! Container runtimes speak SPDY, where the end of stdin can be said; the WebSocket protocols that they know cannot say it.
//! A message's first byte names its channel: 0 stdin, 1 stdout, 2 stderr, 3 the Status at the end, 4 the terminal's size;
//! 255 closes the channel that the next byte names. Bytes are passed on as they come, so that each side's slowness is felt
//! by the other; nothing is queued. What goes wrong on the node after the handshake is told on channel 3.
//! Upstream: k8s.io/apiserver/pkg/util/proxy, StreamTranslatorHandler; the Status is passed on as the runtime wrote it.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::idle::{self, IDLE_TIMEOUT, Watched};
use super::{Agent, NodeProxyError};
use crate::body;
use crate::error::ApiError;
use crate::spdy;
use crate::websocket::{self, CLOSE_NORMAL, CLOSE_PROTOCOL_ERROR, Kind};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// The version of the SPDY streams' protocol: the first whose error stream carries a Status.
const SPDY_STREAMS: &str = "v4.channel.k8s.io";
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// After the last word, for a slow client to read what is under way: upstream's time.
const FINISH_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Pings of one side that wait for the other's writer; more are left unanswered, the next will do.
const PINGS_WAITING_MAX: usize = 4;
/// Of an agent's refusal: an error in words.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// Which streams the session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Streams {
    /// As the client's query says; a terminal has one output.
    pub fn parse(query: &str) -> Streams {
        let asked = |wanted: &str| {
            let mut given = form_urlencoded::parse(query.as_bytes());
            given.find(|(name, _)| name == wanted).is_some_and(|(_, value)| super::call::is_true(&value))
        };
        let tty = asked("tty");
        Streams { stdin: asked("stdin"), stdout: asked("stdout"), stderr: asked("stderr") && !tty, tty }
    }

    /// The channel that an empty message on tells that the session is open: upstream's choice.
    fn first_writable(self) -> u8 {
        match (self.stdout, self.stderr) {
            (true, _) => STDOUT,
            (false, true) => STDERR,
            (false, false) => STATUS,
        }
    }
}

/// How a session ended, for the log.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client went away")]
    Client,
    #[error("write to the client")]
    Write(#[source] std::io::Error),
    #[error("write to the node")]
    Node(#[source] std::io::Error),
    #[error("the client does not speak the protocol")]
    Protocol(#[source] websocket::ReadError),
}

/// Serves the client's side of a session on `client`, after the 101.
pub(super) async fn serve<S>(client: S, streams: Streams, agent: &Agent<'_>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (client, activity) = Watched::new(client);
    let (from_client, to_client) = tokio::io::split(client);
    let mut reader = websocket::Reader::new(from_client);
    let mut writer = websocket::Writer::new(to_client);
    let session = async {
        writer.send(Kind::Binary, &[&[streams.first_writable()]]).await.map_err(Ended::Write)?;
        let failure = match connect(agent).await {
            Ok(node) => run(&mut reader, &mut writer, node, streams).await?,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            writer.send(Kind::Binary, &[&[STATUS], &failure]).await.map_err(Ended::Write)?;
        }
        writer.close(CLOSE_NORMAL).await.map_err(Ended::Write)?;
        // Closing now could reset the connection under what the client has still to read.
        let gone = async { while let Ok(Some(_)) = reader.next().await {} };
        let _ = tokio::time::timeout(FINISH_TIMEOUT, gone).await;
        Ok(())
    };
    let ended = tokio::select! {
        ended = session => ended,
        // Both sides have been silent: there is nothing to lose.
        () = idle::passed(&activity, IDLE_TIMEOUT) => Ok(()),
    };
    if let Err(ended) = ended {
        if matches!(ended, Ended::Protocol(_)) {
            let _ = writer.close(CLOSE_PROTOCOL_ERROR).await;
        }
        tracing::debug!(error = &ended as &dyn std::error::Error, "a session with a container ended");
    }
}

/// The agent's connection as SPDY, or the Status that says why there is none.
async fn connect(agent: &Agent<'_>) -> Result<hyper::upgrade::Upgraded, Vec<u8>> {
    let told = |text: String| ApiError::internal(text).to_json();
    let mut headers = HeaderMap::new();
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(SPDY_STREAMS));
    let sent = agent.upgrade(Method::POST, spdy::PROTOCOL, headers).await;
    let failed = |error: &NodeProxyError| {
        let target = agent.target;
        told(format!("error sending request: Post \"https://{}{target}\": {}", agent.node, error.cause()))
    };
    let mut answer = sent.map_err(|error| failed(&error))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let text = body::beginning(body::boxed(answer.into_body()), REFUSAL_BYTES_MAX).await;
        let is_status = serde_json::from_slice::<serde_json::Value>(&text)
            .is_ok_and(|value| value.get("kind").is_some_and(|kind| kind == "Status"));
        if is_status {
            return Err(text.to_vec());
        }
        let text = String::from_utf8_lossy(&text);
        return Err(told(format!("unable to upgrade connection: {}", text.trim_end())));
    }
    hyper::upgrade::on(&mut answer)
        .await
        .map_err(|error| told(format!("unable to upgrade connection: {error}")))
}

/// The numbers of the SPDY streams; zero where there is none.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    error: u32,
    stdin: u32,
    stdout: u32,
    stderr: u32,
    resize: u32,
}

/// Carries the session until the container's side has ended. The Status that is missing then, if one is.
async fn run<R, W>(
    reader: &mut websocket::Reader<R>,
    writer: &mut websocket::Writer<W>,
    node: hyper::upgrade::Upgraded,
    streams: Streams,
) -> Result<Option<Vec<u8>>, Ended>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (from_node, to_node) = tokio::io::split(TokioIo::new(node));
    let from_node = spdy::Reader::new(from_node);
    let mut to_node = spdy::Writer::new(to_node);
    let numbers = open(&mut to_node, streams).await.map_err(Ended::Node)?;
    let (ping_client, pings_of_client) = mpsc::channel(PINGS_WAITING_MAX);
    let (ping_node, pings_of_node) = mpsc::channel(PINGS_WAITING_MAX);
    tokio::select! {
        // What the client has sent and the node has not taken goes with the session: its end is the client's doing.
        ended = inward(reader, to_node, numbers, ping_client, pings_of_node) => Err(ended),
        // The container has ended; what the client still sends has no reader.
        status = outward(from_node, writer, numbers, ping_node, pings_of_client) => status,
    }
}

async fn open<W: AsyncWrite + Unpin>(to: &mut spdy::Writer<W>, streams: Streams) -> std::io::Result<Numbers> {
    // The order is client-go's; servers wait until all have come.
    let mut numbers = Numbers { error: 0, stdin: 0, stdout: 0, stderr: 0, resize: 0 };
    for (name, wanted, number) in [
        ("error", true, &mut numbers.error),
        ("stdin", streams.stdin, &mut numbers.stdin),
        ("stdout", streams.stdout, &mut numbers.stdout),
        ("stderr", streams.stderr, &mut numbers.stderr),
        ("resize", streams.tty, &mut numbers.resize),
    ] {
        if wanted {
            *number = to.open(&[("streamtype", name)]).await?;
        }
    }
    Ok(numbers)
}

/// From the client to the node, until one of them is gone.
async fn inward<R, W>(
    reader: &mut websocket::Reader<R>,
    mut to_node: spdy::Writer<W>,
    numbers: Numbers,
    pings_of_client: mpsc::Sender<bytes::Bytes>,
    mut pings_of_node: mpsc::Receiver<u32>,
) -> Ended
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut channel = None;
    let mut stdin_open = numbers.stdin != 0;
    loop {
        let event = tokio::select! {
            // A ping that is not taken now stays in the channel.
            Some(number) = pings_of_node.recv() => {
                if let Err(error) = to_node.pong(number).await {
                    return Ended::Node(error);
                }
                continue;
            }
            // The reader keeps what it has read.
            event = reader.next() => event,
        };
        let piece = match event {
            Ok(Some(websocket::Event::Piece(piece))) => piece,
            Ok(Some(websocket::Event::Ping(payload))) => {
                let _ = pings_of_client.try_send(payload);
                continue;
            }
            Ok(Some(websocket::Event::Pong)) => continue,
            Ok(Some(websocket::Event::Close) | None) | Err(websocket::ReadError::Io(_)) => {
                return Ended::Client;
            }
            Err(error) => return Ended::Protocol(error),
        };
        if piece.starts {
            channel = None;
        }
        let mut bytes = piece.bytes;
        if channel.is_none() {
            if bytes.is_empty() {
                continue;
            }
            channel = Some(bytes.split_to(1)[0]);
        }
        let sent = match channel {
            Some(STDIN) if stdin_open && !bytes.is_empty() => {
                to_node.data(numbers.stdin, &bytes, false).await
            }
            Some(RESIZE) if numbers.resize != 0 && !bytes.is_empty() => {
                to_node.data(numbers.resize, &bytes, false).await
            }
            Some(CLOSE) if bytes.first() == Some(&STDIN) && stdin_open => {
                stdin_open = false;
                to_node.data(numbers.stdin, &[], true).await
            }
            // Another channel, which a client has nothing to say on.
            _ => Ok(()),
        };
        if let Err(error) = sent {
            return Ended::Node(error);
        }
    }
}

/// From the node to the client, until the node's streams have ended.
async fn outward<R, W>(
    mut from_node: spdy::Reader<R>,
    writer: &mut websocket::Writer<W>,
    numbers: Numbers,
    pings_of_node: mpsc::Sender<u32>,
    mut pings_of_client: mpsc::Receiver<bytes::Bytes>,
) -> Result<Option<Vec<u8>>, Ended>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut open: Vec<u32> =
        [numbers.error, numbers.stdout, numbers.stderr].into_iter().filter(|number| *number != 0).collect();
    let mut has_status = false;
    while !open.is_empty() {
        let event = tokio::select! {
            // A ping that is not taken now stays in the channel.
            Some(payload) = pings_of_client.recv() => {
                writer.send(Kind::Pong, &[&payload]).await.map_err(Ended::Write)?;
                continue;
            }
            // The reader keeps what it has read.
            event = from_node.next() => event,
        };
        match event {
            Ok(Some(spdy::Event::Data { stream, bytes })) => {
                let channel = match stream {
                    number if number == numbers.error => STATUS,
                    number if number == numbers.stdout => STDOUT,
                    number if number == numbers.stderr => STDERR,
                    _ => continue,
                };
                has_status |= channel == STATUS;
                writer.send(Kind::Binary, &[&[channel], &bytes]).await.map_err(Ended::Write)?;
            }
            Ok(Some(spdy::Event::End { stream })) => open.retain(|number| *number != stream),
            Ok(Some(spdy::Event::Ping(number))) => {
                let _ = pings_of_node.try_send(number);
            }
            // The streams' own ends come first or follow.
            Ok(Some(spdy::Event::GoAway)) => {}
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "a node's stream broke");
                break;
            }
        }
    }
    // Upstream takes a connection that ends without a word for success.
    let lost = "error reading from error stream: unexpected EOF";
    Ok((!has_status).then(|| ApiError::internal(lost).to_json()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_has_one_output_and_the_first_channel_is_told() {
        let shell = Streams::parse("command=sh&stdin=true&stdout=1&stderr=true&tty=true");
        assert_eq!(shell, Streams { stdin: true, stdout: true, stderr: false, tty: true });
        assert_eq!(shell.first_writable(), STDOUT);
        assert_eq!(Streams::parse("stderr=true").first_writable(), STDERR);
        assert_eq!(Streams::parse("stdin=true").first_writable(), STATUS);
    }
}
