//! Records as lines of a file or of standard output.
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tokio::sync::oneshot;

use super::batch::Message;
use super::target::{Delivered, Failure};

/// A thread that writes: neither a pipe that nobody reads nor a disk that hangs holds anything else up, the end of the
/// process included.
pub struct Lines {
    jobs: SyncSender<Job>,
}

struct Job {
    lines: Vec<u8>,
    done: oneshot::Sender<io::Result<()>>,
}

impl Lines {
    /// Appends to a file, and to the one that takes its name when it is rotated.
    pub fn file(path: &Path) -> Result<Lines, String> {
        let mut log = LogFile {
            path: path.to_owned(),
            open: None,
        };
        Lines::write(move |lines| log.append(lines))
    }

    pub fn stdout() -> Result<Lines, String> {
        Lines::write(|lines| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines)?;
            stdout.flush()
        })
    }

    fn write(write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> Result<Lines, String> {
        let (jobs, waiting) = sync_channel(1);
        std::thread::Builder::new()
            .name("pgveil-sink".to_owned())
            .spawn(move || work(&waiting, write))
            .map_err(|error| error.to_string())?;
        Ok(Lines { jobs })
    }

    pub async fn deliver(&mut self, messages: &[Message]) -> Result<Delivered, Failure> {
        let mut lines = Vec::new();
        for message in messages {
            lines.extend_from_slice(&message.body);
            lines.push(b'\n');
        }
        let (done, written) = oneshot::channel();
        match self.jobs.try_send(Job { lines, done }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Failure::new("what was written before is still waiting"));
            }
            Err(TrySendError::Disconnected(_)) => return Err(Failure::new("the writer ended")),
        }
        match written.await {
            Ok(Ok(())) => Ok(Delivered::default()),
            Ok(Err(error)) => Err(Failure::new(error.to_string())),
            Err(_) => Err(Failure::new("the writer ended")),
        }
    }
}

fn work(jobs: &Receiver<Job>, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
    for job in jobs {
        // Nobody waits any more for what took too long: it is sent again.
        if job.done.is_closed() {
            continue;
        }
        let _ = job.done.send(write(&job.lines));
    }
}

/// A file that others may move away.
struct LogFile {
    path: PathBuf,
    open: Option<File>,
}

impl LogFile {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut file = match self.open.take().filter(|file| self.is_in_place(file)) {
            Some(file) => file,
            None => self.open()?,
        };
        file.write_all(lines)?;
        file.sync_data()?;
        self.open = Some(file);
        Ok(())
    }

    fn is_in_place(&self, file: &File) -> bool {
        match (file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(ours), Ok(named)) => ours.ino() == named.ino() && ours.dev() == named.dev(),
            _ => false,
        }
    }

    fn open(&self) -> io::Result<File> {
        if let Ok(there) = std::fs::metadata(&self.path)
            && !there.is_file()
        {
            return Err(io::Error::other("this is not a file"));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        // What was cut off by a full disk or a crash stays a line of its own.
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != [b'\n'] {
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    }
}
