//! SPDY/3.1 from the client's side, as far as streams of a container need it.
//!
//! The container runtimes' streaming servers speak SPDY through one Go library (moby/spdystream): every stream is opened
//! by the client with a few headers, data flows both ways, and flow control is TCP's alone (WINDOW_UPDATE is
//! neither sent nor heeded there, so neither here). Headers that the server sends are skipped: a reply's are empty. Headers
//! sent are compressed only in form (stored blocks), so that no dictionary is needed.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Of an HTTP `Upgrade` header.
pub const PROTOCOL: &str = "SPDY/3.1";

/// Read at once; also the longest piece of a stream.
const BUFFER_BYTES: usize = 16 * 1024;
const HEADER_BYTES: usize = 8;
/// A data frame's longest payload: its length has 24 bits.
const DATA_BYTES_MAX: usize = 0xff_ffff;
/// Longest payload of a control frame whose content matters (PING, RST_STREAM: 4 and 8 bytes).
const CONTROL_BYTES_MAX: u32 = 64;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

const FLAG_FIN: u8 = 0x01;

/// What the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Data {
        stream: u32,
        bytes: Bytes,
    },
    /// The server sends no more on this stream: it is finished or reset.
    End {
        stream: u32,
    },
    /// To be answered with [`Writer::pong`].
    Ping(u32),
    /// The server is about to close the connection.
    GoAway,
}

/// The reading half.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    buffer: BytesMut,
    frame: Option<Frame>,
    /// Told after the data that it came with.
    ended: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Frame {
    Data { stream: u32, fin: bool, left: u32 },
    Control { kind: u16, fin: bool, length: u32 },
    Skip { left: u32 },
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(from: R) -> Reader<R> {
        Reader { from, buffer: BytesMut::with_capacity(BUFFER_BYTES), frame: None, ended: None }
    }

    /// The next event; nothing at the end of the connection. Dropping the future loses nothing: what was read is kept.
    pub async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(stream) = self.ended.take() {
                return Ok(Some(Event::End { stream }));
            }
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            self.buffer.reserve(BUFFER_BYTES);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Event>> {
        loop {
            let Some(frame) = self.frame.or_else(|| self.header()) else { return Ok(None) };
            self.frame = Some(frame);
            let at_hand = |left: u32| left.min(u32::try_from(self.buffer.len()).unwrap_or(u32::MAX));
            match frame {
                Frame::Data { stream, fin, left } => {
                    let count = at_hand(left).min(BUFFER_BYTES as u32);
                    if count == 0 && left > 0 {
                        return Ok(None);
                    }
                    let bytes = self.buffer.split_to(count as usize).freeze();
                    let left = left - count;
                    self.frame = (left > 0).then_some(Frame::Data { stream, fin, left });
                    if left == 0 && fin {
                        self.ended = Some(stream);
                    }
                    match (bytes.is_empty(), self.ended.take()) {
                        (true, Some(stream)) => return Ok(Some(Event::End { stream })),
                        (true, None) => {}
                        (false, ended) => {
                            self.ended = ended;
                            return Ok(Some(Event::Data { stream, bytes }));
                        }
                    }
                }
                Frame::Skip { left } => {
                    let count = at_hand(left);
                    self.buffer.advance(count as usize);
                    self.frame = (left > count).then_some(Frame::Skip { left: left - count });
                    if left > count {
                        return Ok(None);
                    }
                }
                Frame::Control { kind, fin, length } => {
                    if self.buffer.len() < length as usize {
                        return Ok(None);
                    }
                    self.frame = None;
                    let mut payload = self.buffer.split_to(length as usize);
                    if let Some(event) = control(kind, fin, &mut payload)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    fn header(&mut self) -> Option<Frame> {
        if self.buffer.len() < HEADER_BYTES {
            return None;
        }
        let first = self.buffer.get_u32();
        let second = self.buffer.get_u32();
        let (fin, length) = (second.to_be_bytes()[0] & FLAG_FIN != 0, second & 0x00ff_ffff);
        if first & 0x8000_0000 == 0 {
            return Some(Frame::Data { stream: first, fin, left: length });
        }
        let kind = (first & 0xffff) as u16;
        Some(match kind {
            RST_STREAM | PING | GOAWAY if length <= CONTROL_BYTES_MAX => Frame::Control { kind, fin, length },
            // A reply or headers that end the stream name it in their first four bytes.
            SYN_REPLY | HEADERS if fin && length <= CONTROL_BYTES_MAX => Frame::Control { kind, fin, length },
            _ => Frame::Skip { left: length },
        })
    }
}

fn control(kind: u16, fin: bool, payload: &mut BytesMut) -> io::Result<Option<Event>> {
    if kind == GOAWAY {
        return Ok(Some(Event::GoAway));
    }
    let number = payload.try_get_u32().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(match kind {
        RST_STREAM => Some(Event::End { stream: number & 0x7fff_ffff }),
        SYN_REPLY | HEADERS if fin => Some(Event::End { stream: number & 0x7fff_ffff }),
        // The server's own pings are even; an odd one would be an answer to ours.
        PING if number % 2 == 0 => Some(Event::Ping(number)),
        _ => None,
    })
}

/// The writing half.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    frame: Vec<u8>,
    /// Streams opened so far.
    opened: u32,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub fn new(to: W) -> Writer<W> {
        Writer { to, frame: Vec::new(), opened: 0 }
    }

    /// Opens a stream; its number. Names of headers are lower case.
    pub async fn open(&mut self, headers: &[(&str, &str)]) -> io::Result<u32> {
        let block = compressed(&header_block(headers), self.opened == 0);
        let stream = self.opened * 2 + 1;
        self.opened += 1;
        let mut payload = Vec::with_capacity(10 + block.len());
        payload.extend_from_slice(&stream.to_be_bytes());
        // Associated with no other stream, highest priority, no credential.
        payload.extend_from_slice(&[0; 6]);
        payload.extend_from_slice(&block);
        self.control(SYN_STREAM, &payload).await?;
        Ok(stream)
    }

    /// Sends on a stream; `fin` says that nothing more will come.
    pub async fn data(&mut self, stream: u32, bytes: &[u8], fin: bool) -> io::Result<()> {
        debug_assert!(bytes.len() <= DATA_BYTES_MAX);
        let flags = if fin { FLAG_FIN } else { 0 };
        self.frame.clear();
        self.frame.extend_from_slice(&stream.to_be_bytes());
        self.frame.extend_from_slice(&((u32::from(flags) << 24) | bytes.len() as u32).to_be_bytes());
        self.frame.extend_from_slice(bytes);
        self.write().await
    }

    pub async fn pong(&mut self, number: u32) -> io::Result<()> {
        self.control(PING, &number.to_be_bytes()).await
    }

    async fn control(&mut self, kind: u16, payload: &[u8]) -> io::Result<()> {
        self.frame.clear();
        self.frame.extend_from_slice(&[0x80, 3]);
        self.frame.extend_from_slice(&kind.to_be_bytes());
        self.frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        self.frame.extend_from_slice(payload);
        self.write().await
    }

    async fn write(&mut self) -> io::Result<()> {
        self.to.write_all(&self.frame).await?;
        self.to.flush().await
    }
}

/// Name and value pairs, each with its length (SPDY/3 2.6.10).
fn header_block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = (headers.len() as u32).to_be_bytes().to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(&(text.len() as u32).to_be_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    block
}

/// A piece of a zlib stream that holds `block` as it is. Ends with an empty block, as a sync flush does: the reader
/// then has everything without looking further.
fn compressed(block: &[u8], is_first: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + 16);
    if is_first {
        // Deflate with the smallest window, without dictionary.
        out.extend_from_slice(&[0x78, 0x01]);
    }
    for part in block.chunks(usize::from(u16::MAX)).chain([&[][..]]) {
        let length = part.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn stream_is_opened_with_headers_that_zlib_reads() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        assert_eq!(writer.open(&[("streamtype", "error")]).await.unwrap(), 1);
        assert_eq!(writer.open(&[("streamtype", "stdin")]).await.unwrap(), 3);
        writer.data(3, b"hi", true).await.unwrap();
        let mut zlib = Vec::new();
        let mut rest = &out[..];
        for stream in [1, 3_u32] {
            assert_eq!(rest[..4], [0x80, 3, 0, 1]);
            let length = u32::from_be_bytes(rest[4..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], stream.to_be_bytes());
            zlib.extend_from_slice(&rest[18..8 + length]);
            rest = &rest[8 + length..];
        }
        assert_eq!(rest, b"\0\0\0\x03\x01\0\0\x02hi");
        let mut headers = vec![0; 54];
        flate2::read::ZlibDecoder::new(&zlib[..]).read_exact(&mut headers).unwrap();
        let block = |value: &str| [b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05", value.as_bytes()].concat();
        assert_eq!(headers[..27], block("error")[..]);
        assert_eq!(headers[27..], block("stdin")[..]);
    }

    #[tokio::test]
    async fn servers_frames_are_read_in_pieces_of_any_size() {
        let long = vec![7; 40_000];
        let mut sent = Vec::new();
        // A reply with compressed headers, a window update and settings: nothing to know.
        sent.extend_from_slice(b"\x80\x03\x00\x02\0\0\0\x08\0\0\0\x01abcd");
        sent.extend_from_slice(b"\x80\x03\x00\x09\0\0\0\x08\0\0\0\x01\0\0\xff\xff");
        sent.extend_from_slice(b"\0\0\0\x05\0\0\x9c\x40");
        sent.extend_from_slice(&long);
        sent.extend_from_slice(b"\x80\x03\x00\x06\0\0\0\x04\0\0\0\x02");
        sent.extend_from_slice(b"\0\0\0\x01\x01\0\0\x03end");
        sent.extend_from_slice(b"\x80\x03\x00\x03\0\0\0\x08\0\0\0\x05\0\0\0\x05");
        sent.extend_from_slice(b"\0\0\0\x07\x01\0\0\0");
        sent.extend_from_slice(b"\x80\x03\x00\x07\0\0\0\x08\0\0\0\x07\0\0\0\0");
        for size in [1, 3, 1_000, sent.len()] {
            let pieces = sent.chunks(size).map(|piece| io::Result::Ok(Bytes::copy_from_slice(piece)));
            let mut reader = Reader::new(tokio_util::io::StreamReader::new(futures::stream::iter(
                pieces.collect::<Vec<_>>(),
            )));
            let (mut five, mut others) = (Vec::new(), Vec::new());
            let mut end = Vec::new();
            while let Some(event) = reader.next().await.unwrap() {
                match event {
                    Event::Data { stream: 5, bytes } => five.extend_from_slice(&bytes),
                    Event::Data { stream: 1, bytes } => end.extend_from_slice(&bytes),
                    other => others.push(other),
                }
            }
            assert!(five == long, "pieces of {size}");
            assert_eq!(end, b"end");
            let ended = |stream| Event::End { stream };
            assert_eq!(others, [Event::Ping(2), ended(1), ended(5), ended(7), Event::GoAway]);
        }
    }
}
