//! Messages between a process and its successor: a letter, a number that the answer repeats, a length, a body.
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// Longer than any record.
const MAX_BODY: usize = 64 << 20;
const HEADER: usize = 13;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// From the successor: it could begin.
    Ready,
    /// To it: it has its turn. [`Turn`], then the sockets.
    Turn,
    /// From it: it serves.
    Serving,
    /// From it: it is to end, and nobody listens any more.
    Leaving,
    /// To it: records to be appended.
    Append,
    /// From it: they are kept.
    Appended,
    /// From it: they could not be.
    NotAppended,
    /// From it: a cancel request that may be for a session of the old process.
    Cancel,
    /// To it: whether it was.
    Cancelled,
}

impl Kind {
    const ALL: [(u8, Kind); 9] = [
        (b'R', Kind::Ready),
        (b'T', Kind::Turn),
        (b'S', Kind::Serving),
        (b'L', Kind::Leaving),
        (b'A', Kind::Append),
        (b'a', Kind::Appended),
        (b'n', Kind::NotAppended),
        (b'C', Kind::Cancel),
        (b'c', Kind::Cancelled),
    ];

    fn letter(self) -> u8 {
        let known = Self::ALL.iter().find(|(_, kind)| *kind == self);
        known.map_or(0, |(letter, _)| *letter)
    }
}

/// What a successor has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Sessions of the old process have numbers up to this one.
    pub sessions: u64,
    /// What each of the sockets that follow is for.
    pub sockets: Vec<Use>,
}

/// What a listening socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    Sessions,
    Admin,
    Console,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    pub id: u64,
    pub body: Vec<u8>,
}

/// Writes a message whole.
///
/// # Errors
/// The other side is gone.
pub fn send(mut stream: &UnixStream, kind: Kind, id: u64, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.push(kind.letter());
    bytes.extend(id.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    stream.write_all(&bytes)
}

/// Reads a message and no byte beyond it.
///
/// # Errors
/// The other side is gone, or says what nobody understands.
pub fn receive(mut stream: &UnixStream) -> io::Result<Message> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let [letter, id @ .., a, b, c, d] = header;
    let known = Kind::ALL.iter().find(|(known, _)| *known == letter);
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let (Some((_, kind)), true) = (known, length <= MAX_BODY) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message of another version",
        ));
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Message {
        kind: *kind,
        id: u64::from_be_bytes(id),
        body,
    })
}

/// Sends a socket along with one byte.
///
/// # Errors
/// The other side is gone.
pub fn send_socket(stream: &UnixStream, socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket];
    if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no room for a socket"));
    }
    sendmsg(
        stream,
        &[IoSlice::new(b"F")],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one.
///
/// # Errors
/// The other side is gone, or sent none.
pub fn receive_socket(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    recvmsg(stream, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    sockets
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no socket came"))
}

/// Several records as one body.
pub fn pack(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(bodies.iter().map(|body| body.len() + 4).sum());
    for body in bodies {
        packed.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        packed.extend(body);
    }
    packed
}

/// [`pack`] undone; `None` where it is not one.
pub fn unpack(mut packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    while let Some((length, rest)) = packed.split_first_chunk() {
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        bodies.push(body.to_vec());
        packed = rest;
    }
    packed.is_empty().then_some(bodies)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn messages_and_sockets_arrive_in_turn() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        send(&here, Kind::Turn, 7, b"body").expect("sent");
        send_socket(&here, listener.as_fd()).expect("sent");
        send(&here, Kind::Append, 8, &pack(&[b"a".to_vec(), Vec::new()])).expect("sent");
        drop((here, listener));
        let turn = receive(&there).expect("received");
        assert_eq!(
            (turn.kind, turn.id, &*turn.body),
            (Kind::Turn, 7, &b"body"[..])
        );
        let listener = TcpListener::from(receive_socket(&there).expect("received"));
        assert_eq!(listener.local_addr().expect("an address"), address);
        let append = receive(&there).expect("received");
        let bodies = unpack(&append.body).expect("records");
        assert_eq!(bodies, [b"a".to_vec(), Vec::new()]);
        assert!(receive(&there).is_err(), "nobody is there any more");
        // The connection waits in the queue that both had.
        TcpStream::connect(address).expect("not refused");
        listener.accept().expect("accepted");
    }

    #[test]
    fn what_nobody_understands_is_an_error() {
        let (mut here, there) = UnixStream::pair().expect("a pair");
        here.write_all(&[b'?'; HEADER]).expect("sent");
        assert!(receive(&there).is_err());
        assert_eq!(unpack(b"\0\0\0\x05ab"), None);
        assert_eq!(unpack(b"\0\0"), None);
    }
}
