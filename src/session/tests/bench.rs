//! A session between two pipes: the test is the client and the server, frame by frame.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::audit::sealed::{Clear, Sealed};
use crate::audit::{Event, Record};
use crate::policy::compiled::{ColumnMask, MaskSql, RolePolicy};
use crate::session::asker::Asker;
use crate::session::claim::Claim;
use crate::session::denial;
use crate::session::drain::Leaving;
use crate::session::exports::{Decision, Excess};
use crate::session::fixtures;
use crate::session::host::{Host, Limits, Planned, Settling, Standing, Unavailable, Unrecorded};
use crate::session::relay::{Opening, SessionEnd, relay};
use crate::session::shared::Encodings;
use crate::session::statements::{self, Epoch};
use crate::sql::plan::SessionFacts;
use crate::wire::error::ErrorFields;
use crate::wire::frame::put_frame;

/// Nothing in these tests takes that long unless it hangs.
const HANGS: Duration = Duration::from_secs(10);
/// Of the pipes: small enough that every larger message blocks its writer in between.
const PIPE: usize = 4096;
/// The masked column: relation and number.
pub const MASKED: (u32, i16) = (500, 3);
pub const LIMIT: u64 = 2;
pub const STATEMENT_BYTES: u64 = 10_000;

/// Plans by [`fixtures`], keeps records in memory.
#[derive(Debug)]
pub struct FakeHost {
    role: Arc<RolePolicy>,
    pub records: Mutex<Vec<Record>>,
    /// Texts planned, with their search path.
    pub planned: Mutex<Vec<(String, String)>>,
    pub spool_full: AtomicBool,
    /// Records are kept only when [`FakeHost::synced`] has a permit.
    pub waits_for_disk: AtomicBool,
    /// Closed: the disk has failed.
    pub synced: Semaphore,
    unsettled: AtomicBool,
    pub cancelled: Semaphore,
    /// A permit ends the session.
    pub dismissed: Semaphore,
    /// Lets a cancel come to its end.
    pub cancel_done: Arc<Semaphore>,
}

impl Host for Arc<FakeHost> {
    async fn plan(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        claim: Arc<Claim>,
    ) -> Result<Planned, Unavailable> {
        let mut plan = fixtures::plan(&text);
        if text.contains("PATHWISE") {
            plan.text = Some(format!("SELECT from {}", facts.search_path).into());
        }
        let entry = (text.to_string(), facts.search_path.clone());
        self.planned.lock().unwrap().push(entry);
        Ok(Planned {
            plan: Arc::new(plan),
            standing: self.standing(claim).await?,
        })
    }

    async fn standing(&self, _: Arc<Claim>) -> Result<Standing, Unavailable> {
        Ok(Standing {
            role: self.role.clone(),
            asker: Arc::new(Asker {
                masked_outside: 0,
                role: Some("agent".into()),
                person: "tester".into(),
                app_user: None,
                purpose: None,
                values: Arc::default(),
                outside: [].into(),
                purse: None,
                is_known: true,
                is_one_of_many: false,
                key: Default::default(),
            }),
            epoch: Epoch::default(),
        })
    }

    fn holds(&self) -> bool {
        true
    }

    async fn dismissed(&self) {
        self.dismissed.acquire().await.unwrap().forget();
    }

    async fn parameter_objection(
        &self,
        _oid: crate::catalog::Oid,
        _: Arc<Claim>,
    ) -> Option<crate::sql::plan::Refusal> {
        None
    }

    async fn schema_changed(&self) {}

    fn seal(&self, _clear: &Clear) -> Option<Sealed> {
        None
    }

    fn can_record(&self) -> bool {
        true
    }

    fn record(&self, record: &Record, _protected: bool) -> Result<(), Unrecorded> {
        if self.spool_full.load(Ordering::SeqCst) {
            return Err(Unrecorded("disk full".to_owned()));
        }
        self.records.lock().unwrap().push(record.clone());
        let waits = self.waits_for_disk.load(Ordering::SeqCst);
        self.unsettled.store(waits, Ordering::SeqCst);
        Ok(())
    }

    fn settling(&self) -> Option<Settling<'_>> {
        if !self.unsettled.swap(false, Ordering::SeqCst) {
            return None;
        }
        Some(Box::pin(async {
            match self.synced.acquire().await {
                Ok(permit) => {
                    permit.forget();
                    Ok(())
                }
                Err(_) => Err(Unrecorded("disk failed".to_owned())),
            }
        }))
    }

    fn purse(&self) -> Option<Arc<crate::export::Purse>> {
        None
    }

    fn grants_clear(&self) -> bool {
        false
    }

    async fn clear_plan(
        &self,
        _: Arc<str>,
        _: Arc<SessionFacts>,
        _: Excess,
        _: bool,
    ) -> Option<(Arc<crate::sql::plan::Plan>, statements::Clear)> {
        None
    }

    async fn has_clear(&self, _: Excess) -> bool {
        false
    }

    async fn redeem(&self, _: Excess, _: statements::Clear) -> Option<statements::Granted> {
        None
    }

    async fn exceeded(&self, excess: Excess) -> Decision {
        let way_out = denial::nobody_signs(excess.limit, LIMIT);
        let words = denial::of_export(excess.limit, LIMIT, "agent", way_out);
        Decision::Stop(Box::new(words), None)
    }

    fn cancel(&self) -> impl Future<Output = ()> + Send + 'static {
        let host = self.clone();
        async move {
            host.cancelled.add_permits(1);
            host.cancel_done.acquire().await.unwrap().forget();
        }
    }
}

/// What pgveil asks the server on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Path,
    Login,
    Temporary,
}

pub struct Bench {
    pub client: DuplexStream,
    pub server: DuplexStream,
    pub host: Arc<FakeHost>,
    pub drain: watch::Sender<Leaving>,
    task: JoinHandle<SessionEnd>,
}

/// One message, as text where it is text.
pub type Frame = (char, Vec<u8>);

pub fn frame(tag: char, body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_frame(&mut out, tag as u8, body.as_ref());
    out.to_vec()
}

pub fn query(text: &str) -> Vec<u8> {
    frame('Q', format!("{text}\0"))
}

pub fn parse(name: &str, text: &str) -> Vec<u8> {
    frame('P', format!("{name}\0{text}\0\0\0"))
}

pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    frame('B', format!("{portal}\0{statement}\0\0\0\0\0\0\0"))
}

pub fn execute(portal: &str) -> Vec<u8> {
    frame('E', format!("{portal}\0\0\0\0\0"))
}

pub fn error(sqlstate: &str, message: &str) -> Vec<u8> {
    ErrorFields::error(sqlstate, message).frame(b'E').to_vec()
}

pub fn complete(tag: &str) -> Vec<u8> {
    frame('C', format!("{tag}\0"))
}

pub fn ready(status: char) -> Vec<u8> {
    frame('Z', [status as u8])
}

pub fn row(value: &str) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_i16(1);
    body.put_i32(value.len() as i32);
    body.put_slice(value.as_bytes());
    frame('D', body)
}

/// A RowDescription of one column.
pub fn columns(name: &str, relation: u32, column: i16) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_i16(1);
    body.put_slice(name.as_bytes());
    body.put_u8(0);
    body.put_u32(relation);
    body.put_i16(column);
    body.put_slice(&[0; 12]);
    frame('T', body)
}

/// What the server says up to its first ReadyForQuery.
fn greeting() -> Vec<u8> {
    [
        frame('R', [0; 4]),
        frame('S', "server_encoding\0UTF8\0"),
        frame('K', [1; 8]),
        ready('I'),
    ]
    .concat()
}

async fn gets_all(stream: &mut DuplexStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    let read = timeout(HANGS, stream.read_exact(&mut got)).await;
    read.expect("in time").expect("open");
    assert_eq!(got, expected);
}

impl Bench {
    /// An unrestricted session that has been greeted.
    pub async fn unrestricted() -> Self {
        let mut bench = Self::start(false, PIPE);
        bench.client_is_greeted().await;
        bench
    }

    /// A restricted session that has been greeted.
    pub async fn restricted() -> Self {
        let mut bench = Self::start(true, PIPE);
        bench.answers_search_path("public", 'I').await;
        bench.client_is_greeted().await;
        bench
    }

    pub async fn client_is_greeted(&mut self) {
        gets_all(&mut self.client, &greeting()).await;
    }

    pub fn start(restricted: bool, pipe: usize) -> Self {
        Self::started(restricted, pipe, false)
    }

    /// A restricted session all of whose records wait for the disk.
    pub fn start_waiting_for_disk() -> Self {
        Self::started(true, PIPE, true)
    }

    fn started(restricted: bool, pipe: usize, waits_for_disk: bool) -> Self {
        let mask = ColumnMask {
            class: "phone".into(),
            sql: MaskSql::from_template("NULL"),
            lookup: false,
            parts: Vec::new(),
        };
        let role = Arc::new(RolePolicy {
            name: "agent".into(),
            unmasked: !restricted,
            export: Arc::new(crate::policy::ExportRule {
                rows: restricted.then_some(LIMIT),
                ..Default::default()
            }),
            masks: HashMap::from([(MASKED.0, HashMap::from([(MASKED.1, mask)]))]),
            ..RolePolicy::default()
        });
        let host = Arc::new(FakeHost {
            role: role.clone(),
            records: Mutex::default(),
            planned: Mutex::default(),
            spool_full: AtomicBool::new(false),
            waits_for_disk: AtomicBool::new(waits_for_disk),
            synced: Semaphore::new(0),
            unsettled: AtomicBool::new(false),
            cancelled: Semaphore::new(0),
            dismissed: Semaphore::new(0),
            cancel_done: Arc::new(Semaphore::new(0)),
        });
        let opening = Opening {
            restricted,
            trial: false,
            role,
            user: "tester".to_owned(),
            values: Arc::default(),
            naming: Arc::default(),
            encodings: Encodings {
                client: "UTF8".to_owned(),
                server: "UTF8".to_owned(),
            },
            strings_conform: true,
            template: Record::new(Event::Login, SystemTime::UNIX_EPOCH),
            client_bytes: BytesMut::new(),
            pending: BytesMut::from(&greeting()[..]),
            limits: Limits {
                statement_bytes: STATEMENT_BYTES,
                drain: Duration::from_secs(3600),
            },
        };
        let (client, proxy_client) = duplex(pipe);
        let (server, proxy_server) = duplex(pipe);
        let (drain, draining) = watch::channel(Leaving::No);
        let session = relay(
            Arc::new(host.clone()),
            Box::new(opening),
            proxy_client,
            proxy_server,
            draining,
        );
        Bench {
            client,
            server,
            host,
            drain,
            task: tokio::spawn(session),
        }
    }

    pub async fn client_sends(&mut self, frames: &[Vec<u8>]) {
        send(&mut self.client, frames).await;
    }

    pub async fn server_sends(&mut self, frames: &[Vec<u8>]) {
        send(&mut self.server, frames).await;
    }

    #[track_caller]
    pub fn client_gets<'a>(&'a mut self, expected: &[u8]) -> impl Future<Output = ()> + 'a {
        gets("client", &mut self.client, expected.to_vec())
    }

    #[track_caller]
    pub fn server_gets<'a>(&'a mut self, expected: &[u8]) -> impl Future<Output = ()> + 'a {
        gets("server", &mut self.server, expected.to_vec())
    }

    /// The next message is an error; its fields.
    pub async fn client_gets_error(&mut self) -> ErrorFields {
        let (tag, body) = next(&mut self.client).await.expect("an error");
        assert_eq!(tag, 'E', "{:?}", String::from_utf8_lossy(&body));
        ErrorFields::parse(&body).unwrap()
    }

    pub async fn server_gets_any(&mut self) -> Frame {
        next(&mut self.server).await.expect("a message")
    }

    /// Takes pgveil's own question in.
    pub async fn server_is_asked_for_the_search_path(&mut self) -> Asked {
        let mut tags = String::new();
        let mut asked = None;
        while !tags.ends_with('S') {
            let (tag, body) = self.server_gets_any().await;
            if tag == 'P' {
                let text = String::from_utf8_lossy(&body).into_owned();
                asked = Some(match text {
                    text if text.contains("\0SHOW search_path\0") => Asked::Path,
                    text if text.contains("'client_min_messages'") => Asked::Login,
                    text if text.contains("pg_my_temp_schema()") => Asked::Temporary,
                    other => panic!("asked {other}"),
                });
            }
            tags.push(tag);
        }
        assert_eq!(tags, "CPBECCS");
        asked.expect("a question")
    }

    /// Answers pgveil's own question.
    pub async fn answers_search_path(&mut self, path: &str, status: char) {
        let rows = match self.server_is_asked_for_the_search_path().await {
            Asked::Path => vec![row(path)],
            Asked::Login => vec![row(&format!("p{path}")), row("mnotice")],
            Asked::Temporary => panic!("not asked for the search path alone"),
        };
        self.answers(&rows, status).await;
    }

    /// Answers a question that was asked, with these rows.
    pub async fn answers(&mut self, rows: &[Vec<u8>], status: char) {
        let begin = [frame('3', ""), frame('1', ""), frame('2', "")];
        let end = [
            complete("SHOW"),
            frame('3', ""),
            frame('3', ""),
            ready(status),
        ];
        self.server_sends(&[&begin[..], rows, &end[..]].concat())
            .await;
    }

    pub async fn client_is_closed(&mut self) {
        assert_eq!(next(&mut self.client).await, None);
    }

    /// No message comes to the server any more, not even Terminate.
    pub async fn server_is_closed(&mut self) {
        assert_eq!(next(&mut self.server).await, None);
    }

    /// The session's end, the pipes of the test being closed.
    pub async fn ends(self) -> SessionEnd {
        drop(self.client);
        drop(self.server);
        timeout(HANGS, self.task).await.expect("an end").unwrap()
    }

    /// The events on record so far, with the statement's kind.
    pub fn records(&self) -> Vec<String> {
        let records = self.host.records.lock().unwrap();
        records
            .iter()
            .map(|record| {
                let kind = record.kind.as_deref().unwrap_or_default();
                format!("{} {kind}", record.event.label()).trim().to_owned()
            })
            .collect()
    }

    pub fn last_record(&self) -> Record {
        let records = self.host.records.lock().unwrap();
        records.last().expect("a record").clone()
    }
}

async fn send(stream: &mut DuplexStream, frames: &[Vec<u8>]) {
    let bytes = frames.concat();
    let sent = timeout(HANGS, stream.write_all(&bytes)).await;
    sent.expect("taken").expect("open");
}

pub async fn next(stream: &mut DuplexStream) -> Option<Frame> {
    let read = async {
        let mut head = [0u8; 5];
        if stream.read_exact(&mut head[..1]).await.is_err() {
            return None;
        }
        stream.read_exact(&mut head[1..]).await.expect("a head");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await.expect("a body");
        Some((head[0] as char, body))
    };
    timeout(HANGS, read).await.expect("a message in time")
}

#[track_caller]
fn gets<'a>(
    who: &'static str,
    stream: &'a mut DuplexStream,
    expected: Vec<u8>,
) -> impl Future<Output = ()> + 'a {
    let place = std::panic::Location::caller();
    async move {
        let (tag, body) = next(stream).await.expect("a message");
        let got = frame(tag, &body);
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(&expected),
            "the {who}, at {place}"
        );
        assert_eq!(got, expected, "the {who}, at {place}");
    }
}
