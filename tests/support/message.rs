//! A raw wire client: sends any bytes, reads frames as they are. Knows only as much of the protocol as tests need.
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{PATIENCE, scram};

/// A message with its tag and without its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            formatter,
            "{} {:?}",
            char::from(self.tag),
            String::from_utf8_lossy(&self.body)
        )
    }
}

impl Frame {
    /// A field of an ErrorResponse or NoticeResponse: `b'C'` is the SQLSTATE, `b'M'` the message.
    pub fn field(&self, code: u8) -> Option<String> {
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        self.body
            .split(|byte| *byte == 0)
            .find_map(|field| match field.split_first() {
                Some((first, rest)) if *first == code => Some(text(rest)),
                _ => None,
            })
    }

    /// The columns of a DataRow; NULL is `None`.
    pub fn columns(&self) -> Vec<Option<Vec<u8>>> {
        let mut rest = &self.body[2..];
        let count = u16::from_be_bytes([self.body[0], self.body[1]]);
        (0..count)
            .map(|_| {
                let (length, after) = rest.split_at(4);
                let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
                rest = after;
                let length = usize::try_from(length).ok()?;
                let (value, after) = rest.split_at(length);
                rest = after;
                Some(value.to_vec())
            })
            .collect()
    }

    /// The whole message as it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        frame(self.tag, &self.body)
    }
}

/// A frontend or backend message on the wire.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A startup packet of protocol 3.`minor`.
pub fn startup(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = (0x0003_0000 | u32::from(minor)).to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    untagged(&body)
}

/// A message without a tag: startup, SSLRequest, CancelRequest.
pub fn untagged(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 4).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// The code of a CancelRequest (protocol 3.0).
pub const CANCEL: u32 = 80_877_102;

pub fn query(text: &str) -> Vec<u8> {
    frame(b'Q', &[text.as_bytes(), b"\0"].concat())
}

pub fn parse(statement: &str, text: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [statement.as_bytes(), b"\0", text.as_bytes(), b"\0"].concat();
    body.extend_from_slice(&(types.len() as u16).to_be_bytes());
    body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
    frame(b'P', &body)
}

/// Binds text parameters; `result_format` 0 is text, 1 binary.
pub fn bind(
    portal: &str,
    statement: &str,
    parameters: &[Option<&str>],
    result_format: u16,
) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0"].concat();
    body.extend_from_slice(&0u16.to_be_bytes());
    body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        match parameter {
            Some(value) => {
                body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                body.extend_from_slice(value.as_bytes());
            }
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&result_format.to_be_bytes());
    frame(b'B', &body)
}

/// Describes a statement (`b'S'`) or portal (`b'P'`).
pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

/// Closes a statement (`b'S'`) or portal (`b'P'`).
pub fn close(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[&[kind], name.as_bytes(), b"\0"].concat())
}

pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    frame(
        b'E',
        &[portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat(),
    )
}

pub fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

pub fn flush() -> Vec<u8> {
    frame(b'H', b"")
}

pub fn terminate() -> Vec<u8> {
    frame(b'X', b"")
}

/// What the server tells a session that has just logged in.
#[derive(Debug, Default)]
pub struct Session {
    pub parameters: Vec<(String, String)>,
    pub backend_pid: u32,
    pub secret: Vec<u8>,
}

/// A connection on which any bytes can be sent. Reads give up after [`PATIENCE`].
pub struct Client {
    pub stream: TcpStream,
    pub session: Session,
}

impl Client {
    /// Connects and sends nothing.
    pub fn connect(port: u16) -> Client {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("cannot connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("nodelay");
        Client {
            stream,
            session: Session::default(),
        }
    }

    /// Connects and logs in by protocol 3.0 with whatever the server asks for, up to the first ReadyForQuery.
    pub fn login(port: u16, user: &str, password: &str, database: &str) -> Client {
        Client::try_login(
            port,
            user,
            password,
            &[("user", user), ("database", database)],
        )
        .unwrap_or_else(|refused| panic!("login refused: {refused:?}"))
    }

    /// As [`Client::login`], with all startup parameters given; an ErrorResponse comes back as `Err`.
    pub fn try_login(
        port: u16,
        user: &str,
        password: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Client, Frame> {
        let mut client = Client::connect(port);
        client.send_raw(&startup(0, parameters));
        let mut frame = scram::answer(&mut client, user, password);
        loop {
            match frame.tag {
                b'E' => return Err(frame),
                b'S' => {
                    let mut texts = frame
                        .body
                        .split(|byte| *byte == 0)
                        .map(|text| String::from_utf8_lossy(text).into_owned());
                    client.session.parameters.push((
                        texts.next().unwrap_or_default(),
                        texts.next().unwrap_or_default(),
                    ));
                }
                b'K' => {
                    client.session.backend_pid =
                        u32::from_be_bytes(frame.body[..4].try_into().expect("a pid"));
                    client.session.secret = frame.body[4..].to_vec();
                }
                b'Z' => return Ok(client),
                _ => {}
            }
            frame = client.read().expect("the server closed during login");
        }
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("cannot send");
    }

    pub fn send(&mut self, tag: u8, body: &[u8]) {
        self.send_raw(&frame(tag, body));
    }

    /// Sends messages in one piece, as a pipelining driver does.
    pub fn send_all(&mut self, messages: &[Vec<u8>]) {
        self.send_raw(&messages.concat());
    }

    /// The next frame; `None` where the server closed the connection. Panics where nothing comes within [`PATIENCE`].
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 5];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if ended(&error) => return None,
            Err(error) => panic!("cannot read: {error}"),
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; length.checked_sub(4).expect("a length below 4") as usize];
        self.stream
            .read_exact(&mut body)
            .expect("the server closed within a frame");
        Some(Frame { tag: head[0], body })
    }

    /// The answer of one byte to SSLRequest or GSSENCRequest.
    pub fn read_byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.stream.read_exact(&mut byte) {
            Ok(()) => Some(byte[0]),
            Err(error) if ended(&error) => None,
            Err(error) => panic!("cannot read: {error}"),
        }
    }

    /// All frames up to and with the next ReadyForQuery, or up to the end of the connection.
    pub fn read_until_ready(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.read() {
            let ready = frame.tag == b'Z';
            frames.push(frame);
            if ready {
                break;
            }
        }
        frames
    }

    /// A simple query and everything that answers it.
    /// Sends each group in one write and reads the answers to it, up to a ReadyForQuery for each Query and Sync.
    pub fn exchange(&mut self, groups: &[Vec<Vec<u8>>]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for group in groups {
            let ends = |message: &&Vec<u8>| matches!(message.first(), Some(b'Q' | b'S'));
            self.send_all(group);
            for _ in group.iter().filter(ends) {
                frames.extend(self.read_until_ready());
            }
        }
        frames
    }

    pub fn query(&mut self, text: &str) -> Vec<Frame> {
        self.send_raw(&query(text));
        self.read_until_ready()
    }

    /// Asks at a port for what the session runs to be cancelled; returns when the request has been seen to.
    pub fn cancel(&self, port: u16) {
        let mut body = CANCEL.to_be_bytes().to_vec();
        body.extend(self.session.backend_pid.to_be_bytes());
        body.extend(&self.session.secret);
        let mut canceller = Client::connect(port);
        canceller.send_raw(&untagged(&body));
        while canceller.read_byte().is_some() {}
    }

    /// Closes the sending side: the server sees the end.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

fn ended(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}

/// The tags of frames as a text: `"TDDCZ"`.
pub fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag)).collect()
}
