//! Frames to a client: unmasked, one a message.

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
    Close,
    Pong,
}

impl Kind {
    const fn opcode(self) -> u8 {
        match self {
            Kind::Text => 0x1,
            Kind::Binary => 0x2,
            Kind::Close => 0x8,
            Kind::Pong => 0xa,
        }
    }
}

/// The writing half.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    frame: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub fn new(to: W) -> Writer<W> {
        Writer { to, frame: Vec::new() }
    }

    /// One message, of its parts in order. Not to be dropped half-way: the peer would see a torn frame.
    pub async fn send(&mut self, kind: Kind, parts: &[&[u8]]) -> std::io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.frame.clear();
        self.frame.push(0x80 | kind.opcode());
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..126), _) => self.frame.push(short),
            (_, Ok(middle)) => {
                self.frame.push(126);
                self.frame.extend_from_slice(&middle.to_be_bytes());
            }
            _ => {
                self.frame.push(127);
                self.frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        parts.iter().for_each(|part| self.frame.extend_from_slice(part));
        self.to.write_all(&self.frame).await?;
        self.to.flush().await
    }

    /// Says that nothing more will come.
    pub async fn close(&mut self, code: u16) -> std::io::Result<()> {
        self.send(Kind::Close, &[&code.to_be_bytes()]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lengths_are_written_in_their_shortest_form() {
        for (length, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xff, 0xff]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            Writer::new(&mut out).send(Kind::Binary, &[&vec![b'x'; length]]).await.unwrap();
            assert_eq!(out[..header.len()], header);
            assert_eq!(out.len(), header.len() + length);
        }
    }
}
