//! From AuthenticationOk to the first ReadyForQuery: what the server tells about the session.
use bytes::{Bytes, BytesMut};

use super::failure::{Blame, Failure};
use super::frames::{Frame, Peer};
use crate::wire::cancel::CancelHandle;
use crate::wire::error::ErrorFields;
use crate::wire::startup::{MAX_CANCEL_KEY, SHORT_CANCEL_KEY};

/// Most bytes the server may send between AuthenticationOk and ReadyForQuery.
const MAX_PENDING: usize = 1024 * 1024;

/// A session the server is ready to serve.
#[derive(Debug)]
pub struct Ready {
    /// What the client has not got yet, from AuthenticationOk to ReadyForQuery, with pgveil's own cancel key.
    pub pending: BytesMut,
    /// ParameterStatus, in order.
    pub parameters: Vec<(String, String)>,
    /// 0 where the server sent no BackendKeyData.
    pub backend_pid: i32,
    pub cancel: CancelHandle,
}

/// Reads until ReadyForQuery. `pending` is what precedes it for the client (AuthenticationOk); `register` turns the
/// backend's process id and key into the client-facing key.
///
/// For a restricted role, notices that a function raised (they carry CONTEXT: a login event trigger may have put
/// data in them) are left out, and an error with CONTEXT loses its texts.
pub async fn until_ready(
    server: &mut Peer,
    mut pending: BytesMut,
    restricted: bool,
    register: impl Fn(i32, Bytes) -> Result<CancelHandle, Failure>,
) -> Result<Ready, Failure> {
    let mut parameters = Vec::new();
    let mut cancel = CancelHandle::none();
    let mut backend_pid = 0;
    loop {
        let frame = next(server).await?;
        if pending.len() + frame.bytes().len() > MAX_PENDING {
            return Err(Failure::server_protocol(format!(
                "more than {MAX_PENDING} bytes before ReadyForQuery"
            )));
        }
        match frame.tag() {
            b'S' => parameters.push(parameter_status(frame.body())?),
            b'K' => {
                let (pid, key) = backend_key(frame.body())?;
                backend_pid = pid;
                cancel = register(pid, key)?;
                pending.extend_from_slice(&cancel.backend_key_data().unwrap_or_default());
                continue;
            }
            b'N' if restricted && carries_context(&frame) => continue,
            b'N' => {}
            b'E' => return Err(refused(&frame, restricted).after(&pending)),
            b'Z' => {
                pending.extend_from_slice(&frame.bytes());
                return Ok(Ready {
                    pending,
                    parameters,
                    backend_pid,
                    cancel,
                });
            }
            tag => {
                return Err(Failure::server_protocol(format!(
                    "message type {tag:#04x} before ReadyForQuery"
                )));
            }
        }
        pending.extend_from_slice(&frame.bytes());
    }
}

/// The server's next frame; the end of its connection is a failure that the client is told of.
pub(super) async fn next(server: &mut Peer) -> Result<Frame, Failure> {
    use super::frames::FrameReadError as Error;
    server.next().await.map_err(|error| match error {
        Error::Length { .. } => Failure::server_protocol(error),
        _ => Failure::server_gone(
            "the database server closed the connection during login",
            error,
        ),
    })
}

fn carries_context(frame: &Frame) -> bool {
    // What cannot be taken apart is treated as if it did.
    ErrorFields::parse(frame.body()).map_or(true, |fields| fields.context.is_some())
}

fn refused(frame: &Frame, restricted: bool) -> Failure {
    let failure = Failure::from_server(frame);
    if !restricted || failure.fields.context.is_none() {
        return failure;
    }
    let fields = ErrorFields::fatal(
        &failure.fields.sqlstate,
        "pgveil: the database server refused the session",
    );
    Failure::new(Blame::Server, fields).because(failure.fields.message)
}

fn parameter_status(body: &[u8]) -> Result<(String, String), Failure> {
    let mut parts = body.split(|&byte| byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(value), Some(b""), None) => Ok((
            String::from_utf8_lossy(name).into_owned(),
            String::from_utf8_lossy(value).into_owned(),
        )),
        _ => Err(Failure::server_protocol("malformed ParameterStatus")),
    }
}

fn backend_key(body: &[u8]) -> Result<(i32, Bytes), Failure> {
    let split = body.split_first_chunk::<4>();
    let (pid, key) = split.ok_or_else(|| Failure::server_protocol("malformed BackendKeyData"))?;
    if !(SHORT_CANCEL_KEY..=MAX_CANCEL_KEY).contains(&key.len()) {
        let cause = format!("BackendKeyData with a key of {} bytes", key.len());
        return Err(Failure::server_protocol(cause));
    }
    Ok((i32::from_be_bytes(*pid), Bytes::copy_from_slice(key)))
}
