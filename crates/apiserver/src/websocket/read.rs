//! Frames from a client, as pieces of messages.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Read at once; also the longest piece.
const BUFFER_BYTES: usize = 16 * 1024;
/// A control frame's longest payload (RFC 6455 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What has arrived of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// It begins a message.
    pub starts: bool,
    /// It ends a message.
    pub ends: bool,
    /// The message is text.
    pub is_text: bool,
    pub bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Piece(Piece),
    Ping(Bytes),
    Pong,
    /// The client will send no more.
    Close,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("read from a WebSocket")]
    Io(#[source] std::io::Error),
    /// What the client sent is no WebSocket frame that a client may send.
    #[error("WebSocket protocol: {0}")]
    Protocol(&'static str),
}

/// The reading half.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    buffer: BytesMut,
    frame: Option<Frame>,
    /// Set within a message: whether it is text.
    message: Option<bool>,
    /// The next piece begins its message.
    starts: bool,
}

/// A frame whose header has been read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    is_final: bool,
    opcode: u8,
    left: u64,
    mask: [u8; 4],
    /// Where in the mask the next byte is.
    turn: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(from: R) -> Reader<R> {
        let buffer = BytesMut::with_capacity(BUFFER_BYTES);
        Reader { from, buffer, frame: None, message: None, starts: false }
    }

    /// The next event; nothing at the end of the connection. Dropping the future loses nothing: what was read is kept.
    pub async fn next(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            self.buffer.reserve(BUFFER_BYTES);
            if self.from.read_buf(&mut self.buffer).await.map_err(ReadError::Io)? == 0 {
                return Ok(None);
            }
        }
    }

    /// An event out of what has been read.
    fn take(&mut self) -> Result<Option<Event>, ReadError> {
        if self.frame.is_none() {
            self.frame = self.header()?;
        }
        let Some(mut frame) = self.frame else { return Ok(None) };
        let at_hand = self.buffer.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX));
        if frame.opcode >= 0x8 {
            if (at_hand as u64) < frame.left {
                return Ok(None);
            }
            self.frame = None;
            let payload = self.unmasked(at_hand, &mut frame);
            return Ok(Some(match frame.opcode {
                0x8 => Event::Close,
                0x9 => Event::Ping(payload),
                _ => Event::Pong,
            }));
        }
        if at_hand == 0 && frame.left > 0 {
            return Ok(None);
        }
        let bytes = self.unmasked(at_hand.min(BUFFER_BYTES), &mut frame);
        let is_text = self.message.unwrap_or_default();
        let ends = frame.left == 0 && frame.is_final;
        let piece = Piece { starts: std::mem::take(&mut self.starts), ends, is_text, bytes };
        self.frame = (frame.left > 0).then_some(frame);
        if ends {
            self.message = None;
        }
        Ok(Some(Event::Piece(piece)))
    }

    fn unmasked(&mut self, count: usize, frame: &mut Frame) -> Bytes {
        let mut bytes = self.buffer.split_to(count);
        for byte in bytes.iter_mut() {
            *byte ^= frame.mask[frame.turn];
            frame.turn = (frame.turn + 1) % frame.mask.len();
        }
        frame.left -= count as u64;
        bytes.freeze()
    }

    /// The next frame's header, if it is there whole.
    fn header(&mut self) -> Result<Option<Frame>, ReadError> {
        let [first, second, ..] = self.buffer[..] else { return Ok(None) };
        let length_bytes = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if second & 0x80 == 0 {
            return Err(ReadError::Protocol("a client's frame is not masked"));
        }
        if first & 0x70 != 0 {
            return Err(ReadError::Protocol("reserved bits are set"));
        }
        if self.buffer.len() < 2 + length_bytes + 4 {
            return Ok(None);
        }
        self.buffer.advance(2);
        let left = match length_bytes {
            0 => u64::from(second & 0x7f),
            2 => u64::from(self.buffer.get_u16()),
            _ => self.buffer.get_u64(),
        };
        let mut mask = [0; 4];
        self.buffer.copy_to_slice(&mut mask);
        let frame = Frame { is_final: first & 0x80 != 0, opcode: first & 0x0f, left, mask, turn: 0 };
        match frame.opcode {
            0x0 if self.message.is_none() => return Err(ReadError::Protocol("nothing is to be continued")),
            0x0 => {}
            0x1 | 0x2 if self.message.is_some() => {
                return Err(ReadError::Protocol("a message begins within another"));
            }
            0x1 | 0x2 => {
                self.message = Some(frame.opcode == 0x1);
                self.starts = true;
            }
            0x8..=0xa if !frame.is_final || frame.left > CONTROL_BYTES_MAX => {
                return Err(ReadError::Protocol("a control frame is too long or in fragments"));
            }
            0x8..=0xa => {}
            _ => return Err(ReadError::Protocol("unknown opcode")),
        }
        if frame.left > i64::MAX as u64 {
            return Err(ReadError::Protocol("a frame is longer than any can be"));
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(0x80 | u8::try_from(short).unwrap()),
            middle @ 126..65_536 => {
                out.push(0x80 | 126);
                out.extend(u16::try_from(middle).unwrap().to_be_bytes());
            }
            long => {
                out.push(0x80 | 127);
                out.extend((long as u64).to_be_bytes());
            }
        }
        out.extend(mask);
        out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        out
    }

    async fn all(bytes: &[u8]) -> Result<Vec<Event>, ReadError> {
        let mut reader = Reader::new(bytes);
        let mut events = Vec::new();
        while let Some(event) = reader.next().await? {
            events.push(event);
        }
        Ok(events)
    }

    fn messages(events: Vec<Event>) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        for event in events {
            let Event::Piece(piece) = event else { continue };
            if piece.starts {
                messages.push(Vec::new());
            }
            messages.last_mut().unwrap().extend_from_slice(&piece.bytes);
        }
        messages
    }

    #[tokio::test]
    async fn fragments_with_a_ping_between_them_are_one_message() {
        let sent = [frame(0x02, b"one "), frame(0x89, b"?"), frame(0x80, b"two"), frame(0x88, b"")].concat();
        let piece = |starts, ends, bytes: &'static [u8]| {
            Event::Piece(Piece { starts, ends, is_text: false, bytes: Bytes::from_static(bytes) })
        };
        assert_eq!(
            all(&sent).await.unwrap(),
            [
                piece(true, false, b"one "),
                Event::Ping(Bytes::from_static(b"?")),
                piece(false, true, b"two"),
                Event::Close
            ]
        );
    }

    #[tokio::test]
    async fn what_no_client_may_send_is_refused() {
        for (sent, why) in [
            (vec![0x82, 0x01, b'a'], "a client's frame is not masked"),
            (frame(0xc2, b"a"), "reserved bits are set"),
            (frame(0x80, b"a"), "nothing is to be continued"),
            ([frame(0x02, b"a"), frame(0x82, b"b")].concat(), "a message begins within another"),
            (frame(0x83, b""), "unknown opcode"),
            (frame(0x89, &[0; 126]), "a control frame is too long or in fragments"),
            (frame(0x09, b""), "a control frame is too long or in fragments"),
        ] {
            let error = all(&sent).await.unwrap_err();
            assert!(matches!(error, ReadError::Protocol(said) if said == why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn messages_of_any_length_arrive_whole_and_in_order(lengths in prop::collection::vec(0_usize..200_000, 1..4)) {
            let sent: Vec<Vec<u8>> = lengths.iter().map(|length| (0..*length).map(|at| at as u8).collect()).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|message| frame(0x82, message)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let got = messages(runtime.block_on(all(&bytes)).unwrap());
            prop_assert!(got == sent);
        }
    }
}
