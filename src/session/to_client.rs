//! The pump from the server to the client: attributes what comes back, counts it, records it, and only then lets it
//! go on.
mod decisions;
mod errors;
pub mod results;
mod stored;
pub mod traps;
mod unasked;

pub use self::unasked::{is_reported, strings_do_not_conform};

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::audit::{Event, Record};
use crate::auth::restrict;
use crate::export::LimitKind;
use crate::policy::system::closes_serializable;
use crate::session::burst::Burst;
use crate::session::denial;
use crate::session::drain::{Drain, Leaving, drained, passed};
use crate::session::host::{Host, Limits};
use crate::session::ledger::{Answer, Unexpected};
use crate::session::on_wake::OnWake;
use crate::session::settings::Touched;
use crate::session::shared::{Shared, State};
use crate::wire::error::{ERROR_RESPONSE, ErrorFields};
use crate::wire::frame::{Header, Side, back};

/// How the pump to the client ended.
#[derive(Debug)]
pub enum ToClientEnd {
    /// The server has closed its connection and the client has got all it sent, and pgveil's last word.
    ServerClosed,
    /// pgveil ended the session and has told the client.
    Stopped,
    /// The client takes nothing any more.
    ClientLost(io::Error),
}

/// Why the client did not get what was for it.
enum SendError {
    Client(io::Error),
    Unrecorded,
}

/// What becomes of the walk after a frame.
enum Flow {
    Next,
    /// The rest of the frame is needed.
    Wait,
    /// The cancel of a stopped export must have arrived first.
    Cancelling,
    /// A row is one too many by this limit; whether it goes out has to be decided.
    Deciding {
        limit: LimitKind,
        weight: u64,
    },
    /// The session ends with these words.
    End(Box<ErrorFields>),
}

pub struct ToClient<'a, H: Host> {
    host: &'a Arc<H>,
    shared: &'a Shared,
    limits: Limits,
    burst: Burst,
    /// The cancel of a statement whose export was stopped.
    cancel: Option<JoinHandle<()>>,
    /// COPY TO STDOUT sends binary data, which ends in a trailer.
    copies_binary: bool,
    /// The command tag of a Query that went to the server in parts: it is the client's once its transaction has ended well.
    tag: Option<BytesMut>,
}

impl<'a, H: Host> ToClient<'a, H> {
    pub fn new(host: &'a Arc<H>, shared: &'a Shared, limits: Limits) -> Self {
        ToClient {
            host,
            shared,
            limits,
            burst: Burst::new(Side::Server, BytesMut::new()),
            cancel: None,
            copies_binary: false,
            tag: None,
        }
    }

    /// Runs until one side ends. Once `drain` says so, ends the session when it has been idle for a while, or when its time is
    /// up.
    /// Not cancel safe.
    pub async fn run<R, W>(
        &mut self,
        server: &mut R,
        client: &mut W,
        mut drain: watch::Receiver<Leaving>,
    ) -> ToClientEnd
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut drain_of: Option<Drain> = None;
        // Neither comes to pass more than once in a session's life.
        let (draining, dismissed) = (pin!(drained(&mut drain)), pin!(self.host.dismissed()));
        let (mut draining, mut dismissed) = (OnWake::new(draining), OnWake::new(dismissed));
        loop {
            let flow = self.walk();
            self.shared.progress.notify_one();
            match self.send(client).await {
                Ok(()) => {}
                Err(SendError::Client(error)) => return ToClientEnd::ClientLost(error),
                Err(SendError::Unrecorded) => return self.stop(client, &denial::of_audit()).await,
            }
            match flow {
                Flow::End(words) => return self.stop(client, &words).await,
                Flow::Cancelling => {
                    self.await_cancel().await;
                    continue;
                }
                Flow::Deciding { limit, weight } => {
                    self.decide(limit, weight).await;
                    continue;
                }
                Flow::Next | Flow::Wait => {}
            }
            let idle = drain_of.is_some() && self.is_idle();
            if let Some(drain) = &mut drain_of
                && drain.is_due(Instant::now(), idle)
            {
                return self.stop(client, &shutdown()).await;
            }
            let look = drain_of.as_ref().map(Drain::next);
            tokio::select! {
                // A server that goes on and on must not keep the others from being heard.
                biased;
                leaving = &mut draining, if drain_of.is_none() => {
                    drain_of = Some(Drain::begin(Instant::now(), self.limits.drain, leaving));
                }
                () = &mut dismissed => {
                    return self.stop(client, &denial::of_dismissal()).await;
                }
                () = passed(look) => {}
                read = self.burst.fill(server) => match read {
                    Ok(0) | Err(_) => return self.server_closed(client).await,
                    Ok(_) => {
                        if let Some(drain) = &mut drain_of {
                            drain.stirred();
                        }
                    }
                },
            }
        }
    }

    /// Writes what goes on, once the records that it is told after are kept.
    async fn send<W: AsyncWrite + Unpin>(&mut self, client: &mut W) -> Result<(), SendError> {
        if let Some(settling) = self.host.settling()
            && let Err(error) = settling.await
        {
            tracing::error!(%error, "the session is ended");
            self.burst.abandon();
            return Err(SendError::Unrecorded);
        }
        self.burst.flush(client).await.map_err(SendError::Client)
    }

    /// The server waits for a new statement outside a transaction, everything it said has been passed on, and nothing
    /// that the client said is being decided on.
    fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        self.burst.is_empty()
            && self.shared.client_waits()
            && state.ledger.is_quiescent()
            && state.own.is_none()
            && !matches!(state.ledger.transaction(), Some(b'T' | b'E'))
    }

    async fn await_cancel(&mut self) {
        if let Some(cancel) = self.cancel.take()
            && let Err(error) = cancel.await
        {
            tracing::error!(%error, "the cancel of a stopped export failed");
        }
    }

    /// Ends what runs, on record too, and says the last words, if a message can be begun at all.
    async fn stop<W: AsyncWrite + Unpin>(
        &mut self,
        client: &mut W,
        words: &ErrorFields,
    ) -> ToClientEnd {
        {
            let mut state = self.shared.lock();
            if !state.ledger.is_quiescent() {
                tokio::spawn(self.host.cancel());
            }
            results::end_running(&**self.host, &mut state, &words.sqlstate);
        }
        if self.burst.at_boundary() {
            self.burst.put(&words.frame(ERROR_RESPONSE));
            if let Some(settling) = self.host.settling()
                && let Err(error) = settling.await
            {
                // The words are about no record.
                tracing::error!(%error, "the last statement of a session is not on record");
            }
            if let Err(error) = self.burst.flush(client).await {
                return ToClientEnd::ClientLost(error);
            }
        }
        ToClientEnd::Stopped
    }

    async fn server_closed<W: AsyncWrite + Unpin>(&mut self, client: &mut W) -> ToClientEnd {
        let words = {
            let mut state = self.shared.lock();
            results::end_running(&**self.host, &mut state, "08006");
            match (state.last_word.take(), state.ending) {
                (Some(words), _) => Some(words),
                (None, true) => None,
                (None, false) => Some(server_lost()),
            }
        };
        match words {
            Some(words) => match self.stop(client, &words).await {
                ToClientEnd::Stopped => ToClientEnd::ServerClosed,
                other => other,
            },
            None => ToClientEnd::ServerClosed,
        }
    }

    /// Looks at every frame that has been read.
    fn walk(&mut self) -> Flow {
        let shared = self.shared;
        let mut state = shared.lock();
        while self.burst.at_boundary() {
            let header = match self.burst.header() {
                Ok(Some(header)) => header,
                Ok(None) => return Flow::Wait,
                Err(error) => return end(ErrorFields::fatal("08P01", error.to_string())),
            };
            match self.frame(&mut state, header) {
                Flow::Next => {}
                other => return other,
            }
        }
        Flow::Next
    }

    fn frame(&mut self, state: &mut State, header: Header) -> Flow {
        match header.tag {
            back::DATA_ROW | back::COPY_DATA => self.row(state, header),
            back::ROW_DESCRIPTION => self.columns(state, header),
            back::ERROR_RESPONSE => self.error(state, header),
            back::NOTICE_RESPONSE => self.notice(state, header),
            back::READY_FOR_QUERY => self.ready(state, header),
            back::PARAMETER_STATUS => self.parameter(state, header),
            back::NOTIFICATION_RESPONSE => self.notification(state, header),
            _ => self.other(state, header),
        }
    }

    /// Forwards a frame, unless the client thinks that the server skips what it is doing.
    fn pass(&mut self, state: &State, header: Header) -> Flow {
        if state.muted {
            self.burst.discard(header);
        } else {
            self.burst.forward(header);
        }
        Flow::Next
    }

    /// A message that nothing accounts for: what is not understood is not let through to a restricted role.
    fn unexpected(&mut self, state: &mut State, header: Header, error: Unexpected) -> Flow {
        if !state.restricted {
            tracing::warn!(%error, "unattributed message of the server");
            state.astray = true;
            return self.pass(state, header);
        }
        self.violation(state, error.to_string())
    }

    fn violation(&mut self, state: &mut State, what: String) -> Flow {
        tracing::error!(what, "violation: the session is ended");
        let record = Record {
            message: Some(what),
            ..state.recorder.event(Event::Violation)
        };
        // The session ends in any case; that the record could not be written is in the log and the metrics.
        let _ = self.host.record(&record, true);
        end(denial::of_violation())
    }

    fn other(&mut self, state: &mut State, header: Header) -> Flow {
        if header.tag != back::FUNCTION_CALL_RESPONSE && self.burst.body(header).is_none() {
            return Flow::Wait;
        }
        if let Some(deciding) = self.stored(state, header) {
            return deciding;
        }
        self.compare(state, header);
        match state.ledger.answer(header.tag, 0) {
            Ok(Answer::Own) => {
                if header.tag == back::COMMAND_COMPLETE
                    && let Some(own) = state.own.as_mut()
                {
                    own.ended += 1;
                }
                self.burst.discard(header);
                Flow::Next
            }
            Ok(Answer::Ended(mut running)) => self.ended(state, header, &mut running),
            // NoData
            Ok(Answer::Columns(statement)) => {
                results::described(statement.as_ref());
                self.pass(state, header)
            }
            Ok(Answer::Checked(statement)) => {
                results::described(statement.as_ref());
                self.burst.discard(header);
                Flow::Next
            }
            Ok(_) => {
                match header.tag {
                    back::COPY_OUT_RESPONSE => {
                        self.copies_binary =
                            self.burst.body(header).and_then(|body| body.first()) == Some(&1);
                    }
                    // The client would not know that its data is awaited.
                    back::COPY_IN_RESPONSE if state.muted => return end(denial::of_violation()),
                    _ => {}
                }
                self.pass(state, header)
            }
            Err(error) => self.unexpected(state, header, error),
        }
    }

    /// Takes what the server says of a statement that pgveil asks about.
    fn compare(&self, state: &mut State, header: Header) {
        let describes = matches!(
            header.tag,
            back::PARAMETER_DESCRIPTION | back::ROW_DESCRIPTION | back::NO_DATA
        );
        if describes && let Some(body) = self.burst.body(header) {
            state.ledger.compare(header.tag, body);
        }
    }

    fn ready(&mut self, state: &mut State, header: Header) -> Flow {
        if self.cancel.is_some() {
            return Flow::Cancelling;
        }
        let Some(status) = self.burst.body(header).map(|body| body.first().copied()) else {
            return Flow::Wait;
        };
        let status = status.unwrap_or(b'I');
        let flow = match state.ledger.answer(header.tag, status) {
            Ok(Answer::OwnReady) => self.own_ready(state, header),
            Ok(_) => {
                state.muted = false;
                state.cancelling = false;
                if let Some(tag) = self.tag.take() {
                    self.burst.put(&tag);
                }
                self.burst.forward(header);
                Flow::Next
            }
            Err(error) => return self.unexpected(state, header, error),
        };
        state.made.ready(status);
        let quiescent = state.ledger.is_quiescent();
        if status == b'I' && state.touched.any() {
            let touched = state.touched;
            state.dirty |= state.rereads(touched);
            state.temporary_dirty |= touched.temporary;
            // What is still under way is none of the transaction that has ended.
            if quiescent {
                state.touched = Touched::default();
            }
        }
        if quiescent {
            state.unsettled = false;
            state.nothing_contested();
        }
        flow
    }

    fn own_ready(&mut self, state: &mut State, header: Header) -> Flow {
        self.burst.discard(header);
        let Some(mut own) = state.own.take() else {
            return Flow::Next;
        };
        let then = own.then.take();
        if let Some(verbosity) = own.verbosity.take()
            && let Err(words) = restrict::check_setting("client_min_messages", &verbosity)
        {
            return Flow::End(words);
        }
        if let Some(isolation) = own.isolation.take()
            && closes_serializable(&state.role)
            && let Err(words) = restrict::check_isolation(&isolation)
        {
            return Flow::End(words);
        }
        match own.search_path.take().filter(|_| own.is_complete()) {
            Some(search_path) => state.learn(own, search_path),
            None => {
                state.own_failures += 1;
                state.astray |= !state.restricted;
            }
        }
        let Some(ready) = then else {
            return Flow::Next;
        };
        // It stands in the place of pgveil's own.
        if state.own_failures > 0 {
            return end(ErrorFields::fatal(
                "08006",
                "pgveil: the session's search_path could not be read",
            ));
        }
        self.burst.put(&ready);
        Flow::Next
    }
}

fn end(words: ErrorFields) -> Flow {
    Flow::End(Box::new(words))
}

/// As PostgreSQL's own backend says it on a fast shutdown.
fn shutdown() -> ErrorFields {
    ErrorFields::fatal(
        "57P01",
        "terminating connection due to administrator command",
    )
}

fn server_lost() -> ErrorFields {
    ErrorFields::fatal("08006", "server closed the connection unexpectedly").with_detail(
        "The connection between pgveil and the PostgreSQL server ended while the session was open.",
    )
}
