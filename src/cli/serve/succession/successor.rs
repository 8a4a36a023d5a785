//! The old process's side: it starts its successor, lets go, and speaks through it as long as it has sessions.
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::link::{self, Kind, Turn, Use};
use crate::audit::chain::Hash;
use crate::audit::spool::Appended;
use crate::audit::spool::succession::{Successor, SuccessorError};
use crate::wire::startup::CancelRequest;

/// The longest that a successor may take to find out whether it could begin.
const REHEARSAL: Duration = Duration::from_secs(120);
/// From the end of what it says to its own.
const ENDING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);
/// The argument by which it knows what it is.
pub const ARGUMENT: &str = "--successor";

/// The program and its arguments as they were at the start: an upgrade puts another file in the program's place.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// # Errors
    /// The operating system does not say.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        if !arguments.iter().any(|argument| argument == ARGUMENT) {
            arguments.push(ARGUMENT.into());
        }
        Ok(Program {
            path: std::env::current_exe()?,
            arguments,
        })
    }
}

/// A process that could begin, or is finding out. Killed when it is dropped before its turn.
pub struct Candidate {
    process: Option<Child>,
    stream: UnixStream,
}

impl Candidate {
    /// Starts it, with standard output and error where those of this process are.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(program: &Program) -> io::Result<Candidate> {
        let (stream, end) = UnixStream::pair()?;
        let process = Command::new(&program.path)
            .args(&program.arguments)
            // It would not take the service manager's watchdog for its own.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(end)))
            .spawn()?;
        Ok(Candidate {
            process: Some(process),
            stream,
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// Waits until it could begin.
    ///
    /// # Errors
    /// It has ended, and its output says why; or it takes too long.
    pub async fn ready(&self) -> io::Result<()> {
        let stream = self.stream.try_clone()?;
        stream.set_read_timeout(Some(REHEARSAL))?;
        let message = tokio::task::spawn_blocking(move || link::receive(&stream)).await;
        match message.map_err(io::Error::other)? {
            Ok(message) if message.kind == Kind::Ready => self.stream.set_read_timeout(None),
            Ok(_) => Err(io::Error::other("it says something else")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(io::Error::other("it has ended; its output says why"))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes it the one that records go to. Until [`Heir::turn`] they wait.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn adopt(mut self, cancel: CancelHere) -> io::Result<Arc<Heir>> {
        let heir = Arc::new(Heir {
            process: Mutex::new(self.process.take()),
            stream: self.stream.try_clone()?,
            writing: Mutex::new(()),
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            stage: watch::Sender::new(Stage::Starting),
        });
        let (reader, runtime) = (Arc::clone(&heir), Handle::current());
        std::thread::Builder::new()
            .name("successor".to_owned())
            .spawn(move || reader.read(&cancel, &runtime))?;
        Ok(heir)
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            end(process);
        }
    }
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// Cancels what a session of this process runs; whether there was one.
pub type CancelHere = Arc<
    dyn Fn(CancelRequest) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync,
>;

/// How far a successor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Starting,
    Serving,
    /// It is to end, in good order, and does not listen any more.
    Leaving,
    /// It has ended in good order.
    Left,
    /// It has ended otherwise.
    Lost,
}

impl Stage {
    fn is_over(self) -> bool {
        matches!(self, Stage::Left | Stage::Lost)
    }
}

/// The process that has what was this one's.
pub struct Heir {
    process: Mutex<Option<Child>>,
    stream: UnixStream,
    writing: Mutex<()>,
    waiting: Mutex<HashMap<u64, mpsc::Sender<Result<Appended, SuccessorError>>>>,
    next: AtomicU64,
    stage: watch::Sender<Stage>,
}

impl std::fmt::Debug for Heir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heir")
    }
}

impl Heir {
    /// Keeps records back until it is dropped: they are sent after the turn.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells it that it is its turn, with the sockets.
    ///
    /// # Errors
    /// It is gone.
    pub fn turn(
        &self,
        _held: &MutexGuard<'_, ()>,
        sessions: u64,
        sockets: &[(Use, OwnedFd)],
    ) -> io::Result<()> {
        let turn = Turn {
            sessions,
            sockets: sockets.iter().map(|(purpose, _)| *purpose).collect(),
        };
        link::send(&self.stream, Kind::Turn, 0, &serde_json::to_vec(&turn)?)?;
        for (_, socket) in sockets {
            link::send_socket(&self.stream, socket.as_fd())?;
        }
        Ok(())
    }

    /// Waits until it is beyond that stage; gives the one that it has reached then. Cancel safe.
    pub async fn beyond(&self, stage: Stage) -> Stage {
        let mut stages = self.stage.subscribe();
        // The sender is here.
        stages
            .wait_for(|reached| *reached != stage)
            .await
            .map_or(Stage::Lost, |reached| *reached)
    }

    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Ends it.
    pub fn give_up(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = process.as_mut() {
            end(process);
        }
    }

    fn read(self: &Arc<Self>, cancel: &CancelHere, runtime: &Handle) {
        while let Ok(message) = link::receive(&self.stream) {
            match message.kind {
                Kind::Serving => {
                    self.stage.send_replace(Stage::Serving);
                }
                Kind::Leaving => {
                    self.stage.send_replace(Stage::Leaving);
                }
                Kind::Appended => self.answer(message.id, appended(&message.body)),
                Kind::NotAppended => {
                    let reason = String::from_utf8_lossy(&message.body).into_owned();
                    self.answer(message.id, Err(SuccessorError::Failed(reason)));
                }
                Kind::Cancel => self.cancel(&message, cancel, runtime),
                other => tracing::warn!(?other, "the successor says what only an old process says"),
            }
        }
        // Its locks are free when it has ended, and not before.
        self.reap();
        self.stage.send_modify(|stage| {
            *stage = match stage {
                Stage::Leaving => Stage::Left,
                _ => Stage::Lost,
            };
        });
        // Who waits finds that nobody will answer.
        self.waiting().clear();
    }

    fn reap(&self) {
        let began = Instant::now();
        while began.elapsed() < ENDING {
            let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = process.as_mut().map(Child::try_wait);
            if !matches!(ended, Some(Ok(None))) {
                return;
            }
            drop(process);
            std::thread::sleep(LOOK);
        }
    }

    fn cancel(self: &Arc<Self>, message: &link::Message, cancel: &CancelHere, runtime: &Handle) {
        let Some((pid, key)) = message.body.split_first_chunk() else {
            return;
        };
        let found = cancel(CancelRequest {
            pid: i32::from_be_bytes(*pid),
            key: Bytes::copy_from_slice(key),
        });
        let (id, heir) = (message.id, Arc::clone(self));
        runtime.spawn(async move {
            let found = u8::from(found.await);
            let _writing = heir.hold();
            let _ = link::send(&heir.stream, Kind::Cancelled, id, &[found]);
        });
    }

    fn answer(&self, id: u64, answer: Result<Appended, SuccessorError>) {
        if let Some(tell) = self.waiting().remove(&id) {
            let _ = tell.send(answer);
        }
    }

    fn waiting(
        &self,
    ) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Result<Appended, SuccessorError>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Successor for Heir {
    fn append(&self, bodies: &[Vec<u8>]) -> Result<Appended, SuccessorError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = mpsc::channel();
        self.waiting().insert(id, tell);
        let sent = {
            let _writing = self.hold();
            link::send(&self.stream, Kind::Append, id, &link::pack(bodies))
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "the successor does not take records");
        }
        // The reader takes everybody off the list once the process has ended; who comes later finds that out here.
        if self.stage().is_over() {
            self.waiting().remove(&id);
        }
        told.recv().unwrap_or(Err(SuccessorError::Gone))
    }
}

fn appended(body: &[u8]) -> Result<Appended, SuccessorError> {
    let wrong = || SuccessorError::Failed("its answer is not understood".to_owned());
    let (seq, hash) = body.split_first_chunk().ok_or_else(wrong)?;
    Ok(Appended {
        seq: u64::from_be_bytes(*seq),
        hash: Hash::parse(hash).ok_or_else(wrong)?,
    })
}
