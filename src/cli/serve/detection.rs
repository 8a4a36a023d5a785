//! The thread that looks at every record as it comes and raises alarms.
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::CliError;
use super::super::audit::classes;
use super::journal::Journal;
use crate::audit::Record;
use crate::audit::classes::Classes;
use crate::audit::incident::closing;
use crate::audit::watch::Watch;
use crate::session::proxy::Proxy;

/// How often new records are looked for.
const LOOK: Duration = Duration::from_millis(200);
/// How often what is remembered is written down.
const SAVE: Duration = Duration::from_secs(15);
/// How often closings of incidents are looked for.
const CLOSINGS: Duration = Duration::from_secs(1);
/// How often a failure that stays is said again.
const SAY: Duration = Duration::from_secs(60);

/// Runs until [`Detection::end`].
pub struct Detection {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

/// Starts to look at the records of the journal's spool.
///
/// # Errors
/// The spool or the file of an incident cannot be read.
pub fn start(journal: &Journal, proxy: &Arc<Proxy>) -> Result<Detection, CliError> {
    let thresholds = proxy.settings.load().audit.alarms;
    let watch = Watch::open(&journal.spool, thresholds).map_err(CliError::environment)?;
    let worker = Worker {
        watch,
        journal: journal.clone(),
        proxy: Arc::clone(proxy),
        traps: (String::new(), Classes::default()),
        said: None,
    };
    let (stop, stopped) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("detection".to_owned())
        .spawn(move || worker.run(&stopped))
        .map_err(|error| CliError::Environment(format!("threads cannot be started: {error}")))?;
    Ok(Detection { stop, thread })
}

impl Detection {
    /// Looks at what is left and ends. Blocks.
    pub fn end(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the detection thread had failed");
        }
    }
}

struct Worker {
    watch: Watch,
    journal: Journal,
    proxy: Arc<Proxy>,
    /// The classes with an alarm of the policy of that version.
    traps: (String, Classes),
    /// When a failure was said last.
    said: Option<Instant>,
}

impl Worker {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        let mut saved = Instant::now();
        let mut looked = None;
        loop {
            self.catch_up();
            if looked.is_none_or(|looked: Instant| looked.elapsed() >= CLOSINGS) {
                self.record_closings();
                looked = Some(Instant::now());
            }
            if saved.elapsed() >= SAVE {
                self.save();
                saved = Instant::now();
            }
            if stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
                self.catch_up();
                return self.save();
            }
        }
    }

    /// Looks at all that has come.
    fn catch_up(&mut self) {
        loop {
            let before = self.watch.behind();
            let worked = self.round();
            let behind = self.watch.behind();
            self.journal.metrics.detection_behind(behind);
            if !worked || behind == 0 || behind == before {
                return;
            }
        }
    }

    fn round(&mut self) -> bool {
        let thresholds = self.proxy.settings.load().audit.alarms;
        self.watch.set_thresholds(thresholds);
        let policy = self.proxy.policy.load();
        if self.traps.0 != policy.version() {
            self.traps = (policy.version().to_owned(), classes::with_alarm(&policy));
        }
        let journal = &self.journal;
        let mut raise = |record: &Record| {
            tracing::warn!(
                alarm = record.alarm.as_ref().map(|alarm| alarm.alarm),
                message = record.message.as_deref(),
                "alarm"
            );
            journal.write(record).map_err(|error| error.to_string())
        };
        match self.watch.round(&self.traps.1, &mut raise) {
            Ok(kinds) => {
                for kind in kinds {
                    journal.metrics.alarm(kind.label());
                }
                true
            }
            Err(error) => {
                self.say(&error);
                false
            }
        }
    }

    /// Incidents that somebody has closed since: who, and why.
    fn record_closings(&mut self) {
        let dir = self.journal.spool.dir().to_owned();
        let pending = match closing::pending(&dir) {
            Ok(pending) => pending,
            Err(error) => return self.say(&error),
        };
        for closing in pending {
            let written = self.journal.write(&closing.record());
            let done = written.map_err(|error| error.to_string());
            let done = done.and_then(|()| closing.recorded().map_err(|error| error.to_string()));
            if let Err(error) = done {
                return self.say(&error);
            }
        }
    }

    fn save(&mut self) {
        if let Err(error) = self.watch.save() {
            self.say(&error);
        }
    }

    fn say(&mut self, error: &dyn std::fmt::Display) {
        if self.said.is_none_or(|said| said.elapsed() >= SAY) {
            tracing::error!(%error, "records cannot be looked at for alarms");
            self.said = Some(Instant::now());
        }
    }
}
