//! Frames of the login: small, whole, and read one at a time without a byte beyond.
//!
//! After login the relay walks headers and streams bodies; here each frame is looked at, so it is held whole. Reading
//! never goes past the frame's end: what follows belongs to the session.
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::wire::stream::Stream;

/// Longest frame a client may send before it is logged in, in bytes after the tag: PostgreSQL's
/// `PG_MAX_AUTH_TOKEN_LENGTH` (GSS tokens can be that long).
pub const MAX_CLIENT_FRAME: usize = 65_535;
/// Longest frame taken from the server before the session begins, in bytes after the tag.
pub const MAX_SERVER_FRAME: usize = 128 * 1024;

const HEADER: usize = 5;

/// One frame: tag, length, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    tag: u8,
    bytes: Bytes,
}

impl Frame {
    /// Builds a frame around a body of less than 4 GiB.
    pub fn new(tag: u8, body: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(HEADER + body.len());
        bytes.put_u8(tag);
        bytes.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
        bytes.put_slice(body);
        Frame {
            tag,
            bytes: bytes.freeze(),
        }
    }

    pub fn tag(&self) -> u8 {
        self.tag
    }

    /// What follows the length.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// The whole frame as it came.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameReadError {
    /// Between two frames.
    #[error("the connection was closed")]
    Closed,
    #[error("the connection was closed inside a message")]
    Truncated,
    #[error("message type {tag:#04x} has the invalid length {length}")]
    Length { tag: u8, length: u32 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads frames from one peer.
#[derive(Debug)]
pub struct FrameReader {
    partial: BytesMut,
    max: usize,
}

impl FrameReader {
    /// `max` limits the length word.
    pub fn new(max: usize) -> Self {
        FrameReader {
            partial: BytesMut::new(),
            max,
        }
    }

    /// The next frame. Cancel safe: what was read stays for the next call.
    pub async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Frame, FrameReadError> {
        loop {
            let (tag, wanted) = self.wanted()?;
            let missing = wanted - self.partial.len();
            if missing == 0 {
                let bytes = self.partial.split().freeze();
                return Ok(Frame { tag, bytes });
            }
            let mut room = (&mut self.partial).limit(missing);
            if stream.read_buf(&mut room).await? == 0 {
                return Err(match self.partial.is_empty() {
                    true => FrameReadError::Closed,
                    false => FrameReadError::Truncated,
                });
            }
        }
    }

    /// The tag and how many bytes the frame has, as far as can be told from what is there.
    fn wanted(&self) -> Result<(u8, usize), FrameReadError> {
        let mut header = &self.partial[..];
        if header.len() < HEADER {
            return Ok((0, HEADER));
        }
        let tag = header.get_u8();
        let length = header.get_u32();
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        match (4..=self.max).contains(&size) {
            true => Ok((tag, 1 + size)),
            false => Err(FrameReadError::Length { tag, length }),
        }
    }
}

/// One side of a login: its stream, and what was read of a frame.
#[derive(Debug)]
pub struct Peer {
    pub stream: Stream,
    frames: FrameReader,
    /// A frame may have been sent in part: nothing well-formed can follow it.
    sending: bool,
}

impl Peer {
    pub fn client(stream: Stream) -> Self {
        Self::new(stream, MAX_CLIENT_FRAME)
    }

    pub fn server(stream: Stream) -> Self {
        Self::new(stream, MAX_SERVER_FRAME)
    }

    fn new(stream: Stream, max: usize) -> Self {
        Peer {
            stream,
            frames: FrameReader::new(max),
            sending: false,
        }
    }

    /// The next frame. Cancel safe.
    pub async fn next(&mut self) -> Result<Frame, FrameReadError> {
        self.frames.next(&mut self.stream).await
    }

    /// Sends whole frames. Not cancel safe, see [`Peer::farewell`].
    pub async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.sending = true;
        self.stream.write_all(frames).await?;
        self.stream.flush().await?;
        self.sending = false;
        Ok(())
    }

    /// The stream, and the bytes read of a frame that is not whole yet.
    pub fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.frames.partial)
    }

    /// Tells the peer why it ends, unless a frame was cut off while being sent, and closes.
    pub async fn farewell(self, last: &[u8]) {
        let last = if self.sending { &[] } else { last };
        self.stream.farewell(last).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_whole_from_single_bytes_and_nothing_is_read_beyond() {
        let two = [
            Frame::new(b'p', b"secret\0").bytes(),
            Frame::new(b'X', b"").bytes(),
        ]
        .concat();
        let mut pieces = one_by_one(&two);
        let mut reader = FrameReader::new(100);
        let first = reader.next(&mut pieces).await.unwrap();
        assert_eq!((first.tag(), first.body()), (b'p', b"secret\0".as_slice()));
        assert!(reader.partial.is_empty());
        let second = reader.next(&mut pieces).await.unwrap();
        assert_eq!((second.tag(), second.body()), (b'X', b"".as_slice()));
        let end = reader.next(&mut pieces).await;
        assert!(matches!(end, Err(FrameReadError::Closed)));
    }

    /// A reader that hands out one byte at a time.
    fn one_by_one(bytes: &[u8]) -> impl AsyncRead + Unpin {
        struct OneByOne(Bytes);
        impl AsyncRead for OneByOne {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                let available = self.0.len().min(1);
                let byte = self.0.split_to(available);
                buf.put_slice(&byte);
                std::task::Poll::Ready(Ok(()))
            }
        }
        OneByOne(Bytes::copy_from_slice(bytes))
    }

    #[tokio::test]
    async fn lengths_below_4_and_over_the_limit_are_errors() {
        for length in [0u32, 3, 101, 0x8000_0000, u32::MAX] {
            let bytes = [b"p".as_slice(), &length.to_be_bytes()].concat();
            let result = FrameReader::new(100).next(&mut bytes.as_slice()).await;
            let is_refused =
                matches!(result, Err(FrameReadError::Length { length: l, .. }) if l == length);
            assert!(is_refused, "{length}");
        }
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_told_from_one_between_frames() {
        let whole = Frame::new(b'p', b"abc").bytes();
        for end in 0..whole.len() {
            let mut cut = &whole[..end];
            let error = FrameReader::new(100).next(&mut cut).await.unwrap_err();
            match end {
                0 => assert!(matches!(error, FrameReadError::Closed)),
                _ => assert!(matches!(error, FrameReadError::Truncated)),
            }
        }
    }
}
