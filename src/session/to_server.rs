//! The pump from the client to the server: decides about every text before it goes on.
mod anew;
mod circumstances;
mod extended;
mod grants;
mod inner;
mod named_settings;
mod refusals;
mod stores;
mod texts;
mod told;
mod trial;
mod vetting;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::session::burst::Burst;
use crate::session::denial;
use crate::session::host::{Host, Limits};
use crate::session::ledger::Sent;
use crate::session::messages;
use crate::session::shared::Shared;
use crate::session::statements::Source;
use crate::sql::plan::Reason;
use crate::wire::error::ErrorFields;
use crate::wire::frame::{Header, Malformed, Side, front, put_frame};

/// How the pump to the server ended.
#[derive(Debug)]
pub enum ToServerEnd {
    /// The client said good-bye; the server has been told.
    Terminated,
    /// The client's side of the connection is closed.
    ClientClosed,
    /// The client's connection broke: nobody is left to answer.
    ClientLost(io::Error),
    /// The client broke the protocol: it is told so after what the server still has to say.
    Violated(Box<ErrorFields>),
    /// The session's user has another role by now, or none.
    Dismissed,
    /// The server takes nothing any more; what it has said may say why.
    ServerLost(io::Error),
}

/// What becomes of the walk after a frame.
enum Flow {
    Next,
    /// More of the frame is needed.
    Wait,
    End(ToServerEnd),
}

/// Where a message of the client stands.
enum Place {
    /// The client has been told of an error that the server does not know of: what it sends up to the Sync is skipped here.
    Dropped,
    /// Behind extended-protocol messages without a Sync.
    MidBatch,
    /// Everywhere else.
    First,
}

pub struct ToServer<'a, H: Host> {
    host: &'a Arc<H>,
    shared: &'a Shared,
    limits: Limits,
    restricted: bool,
    /// The role's rules are on trial: texts run as they are, and what would have been decided goes on record.
    trial: bool,
    burst: Burst,
    masked: grants::Masked,
    /// When the client was heard last.
    heard: Instant,
}

impl<'a, H: Host> ToServer<'a, H> {
    /// `read`: bytes of the client that have been read already.
    pub fn new(
        host: &'a Arc<H>,
        shared: &'a Shared,
        limits: Limits,
        trial: bool,
        read: BytesMut,
    ) -> Self {
        let restricted = shared.lock().restricted;
        ToServer {
            host,
            shared,
            limits,
            restricted,
            trial,
            burst: Burst::new(Side::Client, read),
            masked: grants::Masked::default(),
            heard: Instant::now(),
        }
    }

    /// Runs until the client or the server is gone. Not cancel safe.
    pub async fn run<R, W>(&mut self, client: &mut R, server: &mut W) -> ToServerEnd
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            let flow = match self.walk(server).await {
                Ok(flow) => flow,
                Err(error) => return ToServerEnd::ServerLost(error),
            };
            if let Err(error) = self.flush(server).await {
                return ToServerEnd::ServerLost(error);
            }
            if let Flow::End(end) = flow {
                return end;
            }
            self.shared.set_client_waits(self.burst.is_empty());
            let filled = self.burst.fill(client).await;
            self.shared.set_client_waits(false);
            self.heard = Instant::now();
            match filled {
                Ok(0) => return ToServerEnd::ClientClosed,
                // A client that ends TLS without its close_notify has closed its side and no more.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return ToServerEnd::ClientClosed;
                }
                Err(error) => return ToServerEnd::ClientLost(error),
                Ok(_) => {}
            }
        }
    }

    /// Writes messages of pgveil's own.
    async fn ask<W: AsyncWrite + Unpin>(&self, question: &[u8], server: &mut W) -> io::Result<()> {
        self.shared.set_server_at_boundary(false);
        server.write_all(question).await?;
        server.flush().await?;
        self.shared.set_server_at_boundary(true);
        Ok(())
    }

    /// Writes what has been decided on. In the meantime the connection may end in the middle of a message.
    async fn flush<W: AsyncWrite + Unpin>(&mut self, server: &mut W) -> io::Result<()> {
        self.shared.set_server_at_boundary(false);
        self.burst.flush(server).await?;
        self.shared.set_server_at_boundary(self.burst.at_boundary());
        Ok(())
    }

    async fn walk<W: AsyncWrite + Unpin>(&mut self, server: &mut W) -> io::Result<Flow> {
        while self.burst.at_boundary() {
            let header = match self.burst.header() {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(Flow::Wait),
                Err(error) => return Ok(violated(error.to_string())),
            };
            match self.frame(header, server).await? {
                Flow::Next => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::Next)
    }

    async fn frame<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        if header.tag == front::TERMINATE {
            return Ok(self.terminate(header));
        }
        let mut asked = false;
        let mid_batch = loop {
            if let Some(place) = self.place_of(header) {
                match place {
                    Place::Dropped => {
                        self.burst.discard(header);
                        return Ok(Flow::Next);
                    }
                    Place::MidBatch => break true,
                    Place::First => break false,
                }
            }
            if !asked && self.shared.lock().ledger.is_heavy() {
                // The server keeps its answers back until they fill a buffer.
                asked = true;
                self.put_flush();
            }
            self.flush(server).await?;
            self.shared.progress.notified().await;
        };
        // What is under way may end; nothing is begun.
        if !ends_alone(header.tag) && !self.host.holds() {
            return Ok(Flow::End(ToServerEnd::Dismissed));
        }
        if self.restricted && names(header.tag) && !mid_batch {
            // In the middle of its batch the server cannot be asked, and says nothing of the encoding.
            self.facts(server).await?;
            if self.shared.lock().unsettled {
                self.charset(server).await?;
            }
        }
        match header.tag {
            front::COPY_DATA => {
                self.burst.forward(header);
                Ok(Flow::Next)
            }
            front::QUERY => self.query(header, server).await,
            front::PARSE => self.parse(header, server).await,
            front::BIND => self.bind(header, server).await,
            front::EXECUTE => self.execute(header, server).await,
            front::DESCRIBE | front::CLOSE => self.describe_or_close(header, server).await,
            front::FUNCTION_CALL => Ok(self.function_call(header)),
            _ => Ok(self.control(header)),
        }
    }

    /// Where a message stands; `None`: too much is under way for another one, or what is under way has to end first.
    fn place_of(&self, header: Header) -> Option<Place> {
        let mut state = self.shared.lock();
        if state.ledger.is_full() {
            return None;
        }
        if state.cancelling && !state.ledger.mid_batch() && !ends_alone(header.tag) {
            return None;
        }
        if header.tag == front::SYNC {
            state.dropping = false;
        }
        Some(match (state.dropping, state.ledger.mid_batch()) {
            (true, _) => Place::Dropped,
            (false, true) => Place::MidBatch,
            (false, false) => Place::First,
        })
    }

    fn terminate(&mut self, header: Header) -> Flow {
        if self.burst.body(header).is_none() {
            return Flow::Wait;
        }
        self.shared.lock().ending = true;
        self.burst.forward(header);
        Flow::End(ToServerEnd::Terminated)
    }

    /// Sync, Flush, CopyDone, CopyFail.
    fn control(&mut self, header: Header) -> Flow {
        let empty = matches!(header.tag, front::SYNC | front::FLUSH)
            || (self.restricted && header.tag == front::COPY_DONE);
        if empty && header.body() > 0 {
            return self.malformed(header, Malformed);
        }
        match header.tag {
            front::SYNC => self.push(Sent::Sync),
            front::COPY_DONE | front::COPY_FAIL => self.push(Sent::CopyEnd),
            _ => {}
        }
        self.burst.forward(header);
        Flow::Next
    }

    /// FunctionCall returns data outside of rows: a restricted role gets a Query that fails instead. Both are answered
    /// by an error and ReadyForQuery.
    fn function_call(&mut self, header: Header) -> Flow {
        let refusal = denial::refusal(
            Reason::Protocol,
            "the FunctionCall message is not allowed for this role",
            "its result cannot be masked",
            "call the function in a SELECT",
        );
        if !self.restricted {
            let source = match self.trial {
                true => trial::of_unplanned("FUNCTION CALL", &refusal),
                false => Source::unplanned(),
            };
            self.push(Sent::FunctionCall {
                source,
                denied: None,
            });
            self.burst.forward(header);
            return Flow::Next;
        }
        self.push(Sent::FunctionCall {
            source: Source::unplanned(),
            denied: Some(refusal),
        });
        let mut instead = BytesMut::new();
        messages::put_query(&mut instead, denial::poison().as_bytes());
        self.replace(header, &instead);
        Flow::Next
    }

    /// A message of a known kind whose body is not what the protocol says. The server says itself what is wrong with it,
    /// and goes on as after any error of that kind of message; a restricted session ends, for nothing is let through
    /// that has not been read.
    fn malformed(&mut self, header: Header, malformed: Malformed) -> Flow {
        if self.restricted {
            return violated(malformed.to_string());
        }
        self.shared.lock().astray = true;
        self.push(match header.tag {
            front::QUERY => Sent::Query(Source::unplanned()),
            front::SYNC => Sent::Sync,
            // Whichever it was, the server skips to the Sync after it (`SocketBackend`, tcop/postgres.c).
            _ => Sent::Parse {
                name: self.shared.own_name.as_str().into(),
                source: Source::unplanned(),
            },
        });
        self.burst.forward(header);
        Flow::Next
    }

    fn push(&self, sent: Sent) {
        self.shared.lock().ledger.push(sent, self.heard);
    }

    /// Has the server send what it keeps back.
    fn put_flush(&mut self) {
        let mut asks = BytesMut::new();
        put_frame(&mut asks, front::FLUSH, &[]);
        self.burst.put(&asks);
    }

    fn replace(&mut self, header: Header, instead: &[u8]) {
        self.burst.put(instead);
        self.burst.discard(header);
    }
}

fn violated(what: impl Into<String>) -> Flow {
    let words = ErrorFields::fatal("08P01", what);
    Flow::End(ToServerEnd::Violated(Box::new(words)))
}

/// Messages that name what was made before, and that a batch may begin with.
const fn names(tag: u8) -> bool {
    matches!(
        tag,
        front::BIND | front::EXECUTE | front::DESCRIBE | front::CLOSE
    )
}

/// Messages that begin nothing: they end what is under way, or go on with it.
const fn ends_alone(tag: u8) -> bool {
    matches!(
        tag,
        front::COPY_DATA
            | front::COPY_DONE
            | front::COPY_FAIL
            | front::SYNC
            | front::FLUSH
            | front::CLOSE
    )
}
