//! A logged-in session from its first ReadyForQuery to its end: both pumps, and who is told what when one side goes.
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::audit::{Event, Record};
use crate::export::Purse;
use crate::policy::compiled::RolePolicy;
use crate::session::claim::Naming;
use crate::session::denial;
use crate::session::drain::{Leaving, drained};
use crate::session::host::{Host, Limits};
use crate::session::ledger::{Ledger, Sent};
use crate::session::on_wake::OnWake;
use crate::session::question::Asks;
use crate::session::record::Recorder;
use crate::session::scrub::{self, Reach};
use crate::session::shared::{Encodings, Shared, State};
use crate::session::to_client::results;
use crate::session::to_client::{ToClient, ToClientEnd, is_reported, strings_do_not_conform};
use crate::session::to_server::{ToServer, ToServerEnd};
use crate::sql::plan::SessionFacts;
use crate::sql::template::SessionValues;
use crate::wire::error::{ERROR_RESPONSE, ErrorFields, NOTICE_RESPONSE};
use crate::wire::frame::{self, FrameError, HEADER_LEN, Side, back, front, put_frame};

/// How long a client that is told FATAL may take to read it.
const LINGER: Duration = Duration::from_secs(2);
/// What a client may still send in that time, in bytes.
const LINGER_BYTES: usize = 1 << 20;
/// Beyond the time for running transactions: for a client that does not take its last words.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// All that a session starts with.
#[derive(Debug)]
pub struct Opening {
    pub restricted: bool,
    /// The role's rules are on trial: its statements are planned for as if they were in force.
    pub trial: bool,
    pub role: Arc<RolePolicy>,
    /// The database user.
    pub user: String,
    /// What row rules name of the session.
    pub values: Arc<SessionValues>,
    /// How statements say who they are for.
    pub naming: Arc<Naming>,
    pub encodings: Encodings,
    /// `standard_conforming_strings` as the server reported it.
    pub strings_conform: bool,
    /// Session, client, user, role and database.
    pub template: Record,
    /// Read from the client after its login.
    pub client_bytes: BytesMut,
    /// Frames for the client that end with the first ReadyForQuery.
    pub pending: BytesMut,
    pub limits: Limits,
}

/// How a session ended. The label goes on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// The client said good-bye or closed its connection.
    Client,
    /// The client's connection broke.
    ClientLost,
    /// The server closed its connection.
    Server,
    /// The client broke the protocol.
    Protocol,
    /// pgveil ended the session: a shutdown, a violation, a record that could not be written.
    Stopped,
}

impl SessionEnd {
    pub const ALL: [SessionEnd; 5] = [
        SessionEnd::Client,
        SessionEnd::ClientLost,
        SessionEnd::Server,
        SessionEnd::Protocol,
        SessionEnd::Stopped,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            SessionEnd::Client => "client closed",
            SessionEnd::ClientLost => "client lost",
            SessionEnd::Server => "server closed",
            SessionEnd::Protocol => "protocol violation",
            SessionEnd::Stopped => "stopped",
        }
    }
}

/// Runs a session to its end.
pub async fn relay<H, C, S>(
    host: Arc<H>,
    opening: Box<Opening>,
    client: C,
    server: S,
    drain: watch::Receiver<Leaving>,
) -> SessionEnd
where
    H: Host,
    C: AsyncRead + AsyncWrite + Unpin + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let limits = opening.limits;
    let client_waits = opening.client_bytes.is_empty();
    let shared = Shared::new(first_state(&opening, host.purse()), client_waits);
    let mut logout = Logout {
        host: &host,
        shared: &shared,
        end: SessionEnd::Stopped,
    };
    let grace = limits.drain + DRAIN_GRACE;
    let over = pin!(out_of_time(drain.clone(), grace));
    let mut over = OnWake::new(over);
    logout.end = tokio::select! {
        biased;
        end = session(&host, &shared, opening, client, server, drain) => end,
        () = &mut over => SessionEnd::Stopped,
    };
    logout.end
}

/// Puts the end of a session on record however it comes, and with it the statement that was running: also where the
/// session is dropped in the middle of a result because pgveil ends.
struct Logout<'a, H: Host> {
    host: &'a Arc<H>,
    shared: &'a Shared,
    end: SessionEnd,
}

impl<H: Host> Drop for Logout<'_, H> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let sqlstate = match self.end {
            SessionEnd::Stopped => "57P01",
            _ => "08006",
        };
        results::end_running(&**self.host, &mut state, sqlstate);
        let record = Record {
            message: Some(self.end.label().to_owned()),
            ..state.recorder.event(Event::Logout)
        };
        if let Err(error) = self.host.record(&record, false) {
            tracing::error!(%error, "a logout is not on record");
        }
    }
}

fn first_state(opening: &Opening, purse: Option<Arc<Purse>>) -> State {
    State {
        restricted: opening.restricted,
        naming: Arc::clone(&opening.naming),
        owners: Default::default(),
        astray: false,
        ledger: Ledger::new(State::rules(opening.restricted, &opening.role, purse)),
        recorder: Recorder::new(opening.template.clone()),
        role: opening.role.clone(),
        facts: Arc::new(SessionFacts {
            search_path: "\"$user\", public".to_owned(),
            user: opening.user.clone(),
            values: Arc::clone(&opening.values),
            ..SessionFacts::default()
        }),
        is_other_user: false,
        dirty: opening.restricted || opening.trial,
        temporary_dirty: false,
        foreseen: None,
        made: Default::default(),
        own: None,
        reason: None,
        own_failures: 0,
        touched: Default::default(),
        unsettled: false,
        encodings: opening.encodings.clone(),
        schema_changed: false,
        muted: false,
        dropping: false,
        cancelling: false,
        last_word: None,
        ending: false,
    }
}

async fn out_of_time(mut drain: watch::Receiver<Leaving>, limit: Duration) {
    drained(&mut drain).await;
    sleep(limit).await;
}

async fn session<H, C, S>(
    host: &Arc<H>,
    shared: &Shared,
    opening: Box<Opening>,
    client: C,
    server: S,
    drain: watch::Receiver<Leaving>,
) -> SessionEnd
where
    H: Host,
    C: AsyncRead + AsyncWrite + Unpin + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut client_read, mut client_write) = split(client);
    let (mut server_read, mut server_write) = split(server);
    let limits = opening.limits;
    let client_bytes = opening.client_bytes.clone();
    let trial = opening.trial;

    // On the heap, so that it is given back.
    let greeting = greet(host, shared, opening, &mut client_write, &mut server_write);
    if let Err(end) = Box::pin(greeting).await {
        say_goodbye(shared, &mut server_write).await;
        linger(&mut client_read, &mut client_write).await;
        return end;
    }

    let mut to_client = ToClient::new(host, shared, limits);
    let mut to_server = ToServer::new(host, shared, limits, trial, client_bytes);
    let down = to_client.run(&mut server_read, &mut client_write, drain);
    let up = to_server.run(&mut client_read, &mut server_write);
    let (mut down, mut up) = (OnWake::new(Box::pin(down)), OnWake::new(Box::pin(up)));
    let (mut end, down_end) = tokio::select! {
        biased;
        ended = &mut down => (None, Some(ended)),
        ended = &mut up => (Some(ended), None),
    };
    drop(up);
    let (down_end, client_end) = match (down_end, end.take()) {
        (Some(down_end), _) => (down_end, None),
        (None, Some(ToServerEnd::ClientLost(error))) => (ToClientEnd::ClientLost(error), None),
        (None, Some(up_end)) => {
            let side = client_side_ended(shared, up_end, &mut server_write).await;
            // Where nothing is under way, the server has nothing to say but its end.
            let waits = side.is_some() && shared.lock().ledger.is_quiescent();
            match waits {
                true => match timeout(LINGER, &mut down).await {
                    Ok(down_end) => (down_end, side),
                    Err(_) => (ToClientEnd::ServerClosed, side),
                },
                false => ((&mut down).await, side),
            }
        }
        (None, None) => return SessionEnd::Stopped,
    };
    drop(down);
    let end = match (down_end, client_end) {
        (ToClientEnd::ClientLost(error), _) => {
            tracing::debug!(%error, "client lost");
            SessionEnd::ClientLost
        }
        (_, Some(end)) => end,
        (ToClientEnd::ServerClosed, None) => SessionEnd::Server,
        (ToClientEnd::Stopped, None) => SessionEnd::Stopped,
    };
    say_goodbye(shared, &mut server_write).await;
    linger(&mut client_read, &mut client_write).await;
    end
}

/// Nothing more comes from the client: the server is told, and what it still has to say goes to the client.
async fn client_side_ended<W: AsyncWrite + Unpin>(
    shared: &Shared,
    ended: ToServerEnd,
    server: &mut W,
) -> Option<SessionEnd> {
    match ended {
        ToServerEnd::Terminated => Some(SessionEnd::Client),
        // Without a good-bye the server gets none either: in the middle of a COPY it would be a message out of place.
        ToServerEnd::ClientClosed => {
            shared.lock().ending = true;
            let _ = timeout(LINGER, server.shutdown()).await;
            Some(SessionEnd::Client)
        }
        ToServerEnd::Violated(words) => {
            say_goodbye(shared, server).await;
            shared.lock().last_word = Some(*words);
            Some(SessionEnd::Protocol)
        }
        ToServerEnd::Dismissed => {
            say_goodbye(shared, server).await;
            shared.lock().last_word = Some(denial::of_dismissal());
            Some(SessionEnd::Stopped)
        }
        ToServerEnd::ServerLost(error) | ToServerEnd::ClientLost(error) => {
            tracing::debug!(%error, "server lost");
            None
        }
    }
}

/// Ends the server's side: with Terminate where a message can be begun, by closing in any case.
async fn say_goodbye<W: AsyncWrite + Unpin>(shared: &Shared, server: &mut W) {
    let polite = {
        let mut state = shared.lock();
        let polite = shared.server_at_boundary() && !state.ending;
        state.ending = true;
        polite
    };
    if polite {
        let mut terminate = BytesMut::new();
        put_frame(&mut terminate, front::TERMINATE, &[]);
        // The server may be gone already.
        let _ = timeout(LINGER, server.write_all(&terminate)).await;
    }
    let _ = timeout(LINGER, server.shutdown()).await;
}

/// Closes the client's side so that the last words arrive: closing a socket with unread input makes the kernel send
/// RST, which can destroy them on their way.
async fn linger<R, W>(client_read: &mut R, client_write: &mut W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let polite = async {
        client_write.shutdown().await?;
        let mut dropped = 0;
        let mut buffer = vec![0u8; 8192];
        while dropped < LINGER_BYTES {
            match client_read.read(&mut buffer).await? {
                0 => break,
                count => dropped += count,
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // Nobody is left to tell about a client that does not take its farewell.
    let _ = timeout(LINGER, polite).await;
}

/// Puts the login on record and gives the client what the server has sent; for a restricted role the first
/// ReadyForQuery waits until the search path is known.
async fn greet<H, C, S>(
    host: &Arc<H>,
    shared: &Shared,
    opening: Box<Opening>,
    client: &mut C,
    server: &mut S,
) -> Result<(), SessionEnd>
where
    H: Host,
    C: AsyncWrite + Unpin,
    S: AsyncWrite + Unpin,
{
    let login = shared.lock().recorder.event(Event::Login);
    let mut recorded = host.record(&login, false);
    if let (Ok(()), Some(settling)) = (&recorded, host.settling()) {
        recorded = settling.await;
    }
    if let Err(error) = recorded {
        tracing::error!(%error, "a login is refused");
        return refuse(client, &denial::of_audit()).await;
    }
    if !opening.restricted {
        return write(client, &opening.pending).await;
    }
    if !opening.strings_conform {
        return refuse(client, &strings_do_not_conform()).await;
    }
    let (greeting, ready) = match scrubbed(&opening.pending) {
        Ok(parts) => parts,
        Err(error) => {
            return refuse(client, &ErrorFields::fatal("08P01", error.to_string())).await;
        }
    };
    write(client, &greeting).await?;
    let (mut own, question) = shared.question(Asks::Login);
    own.then = Some(ready);
    {
        let mut state = shared.lock();
        state.own = Some(own);
        state.ledger.push(Sent::Own, Instant::now());
    }
    match write(server, &question).await {
        Ok(()) => Ok(()),
        // The pump to the client finds the server gone and says so.
        Err(_) => Ok(()),
    }
}

async fn refuse<W: AsyncWrite + Unpin>(
    client: &mut W,
    words: &ErrorFields,
) -> Result<(), SessionEnd> {
    write(client, &words.frame(ERROR_RESPONSE)).await?;
    Err(SessionEnd::Stopped)
}

async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> Result<(), SessionEnd> {
    let written = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    written.await.map_err(|_| SessionEnd::ClientLost)
}

/// The server's greeting with its notices scrubbed, and the ReadyForQuery at its end.
fn scrubbed(mut pending: &[u8]) -> Result<(BytesMut, Bytes), FrameError> {
    let mut greeting = BytesMut::with_capacity(pending.len());
    let mut ready = Bytes::new();
    while let Some(header) = frame::peek(Side::Server, pending)? {
        let Some((whole, rest)) = pending.split_at_checked(header.total()) else {
            break;
        };
        match header.tag {
            back::READY_FOR_QUERY => ready = Bytes::copy_from_slice(whole),
            back::NOTICE_RESPONSE => {
                let body = whole.get(HEADER_LEN..).unwrap_or_default();
                if let Ok(fields) = ErrorFields::parse(body) {
                    let words = scrub::notice(&fields, None, Reach::Names);
                    greeting.extend_from_slice(&words.frame(NOTICE_RESPONSE));
                }
            }
            back::PARAMETER_STATUS => {
                let body = whole.get(HEADER_LEN..).unwrap_or_default();
                let name = body.split(|byte| *byte == 0).next().unwrap_or_default();
                if is_reported(name) {
                    greeting.extend_from_slice(whole);
                }
            }
            _ => greeting.extend_from_slice(whole),
        }
        pending = rest;
    }
    Ok((greeting, ready))
}
