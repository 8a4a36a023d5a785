//! What one read brought, and which of it goes on: the relay's core.
//!
//! Frames are forwarded as the bytes they came in. A burst that is forwarded whole is one contiguous slice and one
//! write. As soon as a frame is replaced or left out, the burst's output is gathered in a second buffer. A frame that is
//! longer than what has been read is forwarded in parts, so a row of 1 GiB passes through [`READ_BUFFER`] bytes. While
//! nothing comes, no buffer is held.
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::wire::frame::{self, FrameError, HEADER_LEN, Header, Side};

/// Bytes that a pump reads at a time.
pub const READ_BUFFER: usize = 64 * 1024;
/// ... where nothing was waiting before. PostgreSQL sends 8 KiB at a time (`PQ_SEND_BUFFER_SIZE`); a read that fills less
/// than it was given tells that nothing more is there, without another system call.
const FIRST_READ: usize = 16 * 1024;
/// A buffer that grew past this for one long statement is given back.
const KEPT_BUFFER: usize = 4 * READ_BUFFER;

/// Reads without a wait between them after which the other sessions of the thread are let in: half a MiB, which takes about
/// a millisecond to look through.
const IN_A_ROW: u32 = 8;

/// What becomes of the bytes of a frame that have not been read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Forward(usize),
    Discard(usize),
}

/// The bytes read from one side and not yet written to the other.
///
/// `buffer[..start]` has been copied to `gathered` or left out, `buffer[start..at]` is forwarded as it is,
/// `buffer[at..]` has not been looked at.
#[derive(Debug)]
pub struct Burst {
    side: Side,
    buffer: BytesMut,
    start: usize,
    at: usize,
    gathered: BytesMut,
    rest: Rest,
    /// More was waiting than was read.
    reads_much: bool,
    /// What of the last frame is missing in what was written.
    cut: usize,
    /// Large reads since anybody was waited for.
    in_a_row: u32,
}

impl Burst {
    /// `read`: bytes of this side that have been read already.
    pub fn new(side: Side, read: BytesMut) -> Self {
        Burst {
            side,
            buffer: read,
            start: 0,
            at: 0,
            gathered: BytesMut::new(),
            rest: Rest::Forward(0),
            reads_much: false,
            cut: 0,
            in_a_row: 0,
        }
    }

    /// Reads more; 0 at the end of the stream. Cancel safe.
    ///
    /// As long as nothing comes it holds no buffer: what comes first is read onto the stack, and into a buffer of its own
    /// only where more was waiting than fits there.
    pub async fn fill<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> io::Result<usize> {
        self.in_a_row = match self.reads_much {
            true => self.in_a_row + 1,
            false => 0,
        };
        if self.in_a_row > IN_A_ROW {
            self.in_a_row = 0;
            tokio::task::yield_now().await;
        }
        let count = poll_fn(|context| match self.reads_much {
            true => self.read_much(reader, context),
            false => self.read_first(reader, context),
        })
        .await?;
        self.continue_frame();
        Ok(count)
    }

    fn read_first<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut first = [MaybeUninit::uninit(); FIRST_READ];
        let mut first = ReadBuf::uninit(&mut first);
        let polled = Pin::new(reader).poll_read(context, &mut first);
        let read = first.filled();
        match polled {
            Poll::Ready(Ok(())) => {
                self.reads_much = read.len() == FIRST_READ;
                self.buffer.extend_from_slice(read);
                Poll::Ready(Ok(read.len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.give_back();
                Poll::Pending
            }
        }
    }

    fn read_much<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.buffer.reserve(READ_BUFFER);
        let polled = pin!(reader.read_buf(&mut self.buffer)).poll(context);
        if polled.is_pending() {
            self.reads_much = false;
            self.give_back();
        }
        polled
    }

    /// Nothing is there to be read: buffers that hold nothing are given back until there is.
    fn give_back(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            self.buffer = BytesMut::new();
        }
        if self.gathered.is_empty() && self.gathered.capacity() > 0 {
            self.gathered = BytesMut::new();
        }
    }

    /// Carries on with a frame whose end had not been read.
    fn continue_frame(&mut self) {
        let unread = self.buffer.len() - self.at;
        match self.rest {
            Rest::Forward(0) | Rest::Discard(0) => {}
            Rest::Forward(missing) => {
                let taken = missing.min(unread);
                self.at += taken;
                self.rest = Rest::Forward(missing - taken);
            }
            Rest::Discard(missing) => {
                let taken = missing.min(unread);
                self.leave_out(taken);
                self.rest = Rest::Discard(missing - taken);
            }
        }
    }

    /// The head of the next frame; `None` while it is not there.
    pub fn header(&self) -> Result<Option<Header>, FrameError> {
        frame::peek(self.side, self.buffer.get(self.at..).unwrap_or_default())
    }

    /// As much of the next frame's body as has been read.
    pub fn seen(&self, header: Header) -> &[u8] {
        let from = self.at + HEADER_LEN;
        let to = self.buffer.len().min(self.at + header.total());
        self.buffer.get(from..to).unwrap_or_default()
    }

    /// The next frame's body, once all of it has been read.
    pub fn body(&self, header: Header) -> Option<&[u8]> {
        let from = self.at + HEADER_LEN;
        self.buffer.get(from..self.at + header.total())
    }

    /// As [`Burst::body`], to be changed in place without changing its length.
    pub fn body_mut(&mut self, header: Header) -> Option<&mut [u8]> {
        let from = self.at + HEADER_LEN;
        self.buffer.get_mut(from..self.at + header.total())
    }

    /// The next frame goes on as it is, also what of it has not been read yet.
    pub fn forward(&mut self, header: Header) {
        let taken = header.total().min(self.buffer.len() - self.at);
        self.at += taken;
        self.rest = Rest::Forward(header.total() - taken);
    }

    /// The next frame is left out, also what of it has not been read yet.
    pub fn discard(&mut self, header: Header) {
        let taken = header.total().min(self.buffer.len() - self.at);
        self.leave_out(taken);
        self.rest = Rest::Discard(header.total() - taken);
    }

    /// Puts bytes of pgveil's own before the next frame. Only at a frame's boundary.
    pub fn put(&mut self, bytes: &[u8]) {
        self.gather();
        self.gathered.extend_from_slice(bytes);
    }

    fn leave_out(&mut self, count: usize) {
        self.gather();
        self.start += count;
        self.at += count;
    }

    fn gather(&mut self) {
        if let Some(kept) = self.buffer.get(self.start..self.at) {
            self.gathered.extend_from_slice(kept);
        }
        self.start = self.at;
    }

    /// Nothing has been read that has not been decided on.
    pub fn is_empty(&self) -> bool {
        self.at == self.buffer.len() && self.at_boundary()
    }

    /// Everything that has been read and decided on is whole frames.
    pub fn at_boundary(&self) -> bool {
        matches!(self.rest, Rest::Forward(0) | Rest::Discard(0))
    }

    /// Writes what goes on, as one slice. Not cancel safe.
    pub async fn flush<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.gathered.is_empty() {
            let kept = self.buffer.get(self.start..self.at).unwrap_or_default();
            if !kept.is_empty() {
                writer.write_all(kept).await?;
                writer.flush().await?;
            }
        } else {
            self.gather();
            writer.write_all(&self.gathered).await?;
            writer.flush().await?;
            self.gathered.clear();
        }
        self.buffer.advance(self.at);
        self.at = 0;
        self.start = 0;
        self.cut = match self.rest {
            Rest::Forward(missing) => missing,
            Rest::Discard(_) => 0,
        };
        self.shrink();
        Ok(())
    }

    /// Forgets all that has not been written, as though it had not been read.
    pub fn abandon(&mut self) {
        self.buffer.clear();
        self.gathered.clear();
        (self.start, self.at) = (0, 0);
        self.rest = Rest::Forward(self.cut);
    }

    fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = BytesMut::new();
        }
        if self.gathered.capacity() > KEPT_BUFFER {
            self.gathered = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::put_frame;

    fn frames(list: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        for (tag, body) in list {
            put_frame(&mut bytes, *tag, body);
        }
        bytes.to_vec()
    }

    /// Feeds `input` in pieces, forwarding `D`, leaving out `N`, replacing `Z` by itself twice.
    async fn relay(input: &[u8], piece: usize) -> Vec<u8> {
        let mut burst = Burst::new(Side::Server, BytesMut::new());
        let mut out = Vec::new();
        for mut chunk in input.chunks(piece) {
            while !chunk.is_empty() {
                burst.fill(&mut chunk).await.unwrap();
            }
            while burst.at_boundary() {
                let Some(header) = burst.header().unwrap() else {
                    break;
                };
                match header.tag {
                    b'D' => burst.forward(header),
                    b'N' => burst.discard(header),
                    _ => {
                        let Some(body) = burst.body(header) else {
                            break;
                        };
                        let twice = frames(&[(header.tag, body), (header.tag, body)]);
                        burst.put(&twice);
                        burst.discard(header);
                    }
                }
            }
            burst.flush(&mut out).await.unwrap();
        }
        out
    }

    #[tokio::test]
    async fn forwarded_replaced_and_left_out_frames_keep_their_order_at_any_read_size() {
        let input = frames(&[
            (b'D', b"one"),
            (b'N', b"noise"),
            (b'D', b""),
            (b'Z', b"I"),
            (b'N', b""),
            (b'D', b"two"),
        ]);
        let expected = frames(&[
            (b'D', b"one"),
            (b'D', b""),
            (b'Z', b"I"),
            (b'Z', b"I"),
            (b'D', b"two"),
        ]);
        for piece in 1..=input.len() {
            assert_eq!(relay(&input, piece).await, expected, "piece {piece}");
        }
    }

    /// Somebody who always has more to say does not keep the thread for themselves.
    #[tokio::test]
    async fn an_endless_stream_lets_others_in() {
        let mut burst = Burst::new(Side::Server, BytesMut::new());
        let mut endless = tokio::io::repeat(0);
        let turns = std::cell::Cell::new(0);
        let others = async {
            loop {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            for _ in 0..100 * IN_A_ROW {
                burst.fill(&mut endless).await.unwrap();
                burst.abandon();
            }
        };
        tokio::select! {
            biased;
            () = reading => {}
            () = others => unreachable!("it never ends"),
        }
        assert!((80..=101).contains(&turns.get()), "{}", turns.get());
    }

    #[tokio::test]
    async fn a_large_frame_passes_through_a_small_buffer() {
        let row = vec![7u8; 10 * READ_BUFFER];
        let input = frames(&[(b'D', &row), (b'D', b"after")]);
        let mut burst = Burst::new(Side::Server, BytesMut::new());
        let mut reader = &input[..];
        let mut out = Vec::new();
        while burst.fill(&mut reader).await.unwrap() > 0 {
            while burst.at_boundary() {
                match burst.header().unwrap() {
                    Some(header) => burst.forward(header),
                    None => break,
                }
            }
            burst.flush(&mut out).await.unwrap();
            assert!(burst.buffer.capacity() <= KEPT_BUFFER);
        }
        assert_eq!(out, input);
    }
}
