//! Looks at every record as it comes, raises alarms and opens incidents.
//!
//! What detectors remember and how far they are is kept in [`STATE_FILE`]. After a crash the records since it was
//! written are looked at again; alarms that are on record already are not raised twice.
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::classes::Classes;
use super::detect::observed::Observed;
use super::detect::{Alarm, Detector, Kind, Thresholds, trap};
use super::durable;
use super::entry::Entry;
use super::incident::{self, Evidence, Incident, IncidentError};
use super::read::{Line, Position, ReadError, Reader};
use super::record::{AlarmRecord, Event, Record};
use super::spool::Spool;
use super::tail::{Follower, Short, View};

/// Under the directory of the spool.
pub const STATE_FILE: &str = "detect.json";
/// Records that are looked at in one round; others come right after.
const ROUND: usize = 10_000;
/// Incidents that are open at the same time; of more, the oldest get no further evidence.
const MAX_OPEN: usize = 500;

/// What is kept over a restart.
#[derive(Serialize, Deserialize)]
struct State {
    /// The chain it belongs to: another has other records at the same place.
    chain: String,
    position: Position,
    /// The last record that was looked at.
    seq: u64,
    detector: Detector,
}

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Incident(#[from] IncidentError),
    #[error("an alarm cannot be put on record: {0}")]
    Record(String),
    #[error("{}: {source}", path.display())]
    State {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Puts a record into the spool that is watched.
pub type Raise<'r> = &'r mut dyn FnMut(&Record) -> Result<(), String>;

pub struct Watch {
    dir: PathBuf,
    chain: String,
    key: String,
    kept: Arc<AtomicU64>,
    reader: Reader,
    /// The newest lines without reading them, ...
    tail: Follower,
    /// ... and those of them that were not looked at.
    shorts: VecDeque<Short>,
    seq: u64,
    /// Alarms of the record after that, which could not be read yet.
    found: Option<Vec<Alarm>>,
    detector: Detector,
    thresholds: Thresholds,
    /// Up to this record nothing is raised: they were there before anybody watched.
    quiet_until: u64,
    /// Alarms that were raised for records after the state was written, before the crash.
    raised: HashSet<(String, u64)>,
    open: VecDeque<Incident>,
    /// Raised, but not on record yet.
    pending: VecDeque<Record>,
}

impl Watch {
    /// Goes on where it was, or begins with what comes now.
    ///
    /// # Errors
    /// The spool or an incident cannot be read.
    pub fn open(spool: &Spool, thresholds: Thresholds) -> Result<Self, WatchError> {
        let dir = spool.dir();
        let tail = spool.follow();
        let head = spool.head().seq;
        let kept = spool.kept();
        let state = read_state(dir, spool.chain());
        let (position, seq, detector, quiet_until) = match state {
            Some(state) => (state.position, state.seq, state.detector, 0),
            // What is usual is learnt from the newest segment at least.
            None => {
                let position = Position {
                    segment: spool.segment(),
                    offset: 0,
                };
                (position, 0, Detector::default(), head)
            }
        };
        let mut watch = Watch {
            dir: dir.to_owned(),
            chain: spool.chain().to_owned(),
            key: spool.public_key().id().to_owned(),
            reader: Reader::new(dir, position).up_to(Arc::clone(&kept)),
            kept,
            tail,
            shorts: VecDeque::new(),
            seq,
            found: None,
            detector,
            thresholds,
            quiet_until,
            raised: HashSet::new(),
            open: VecDeque::new(),
            pending: VecDeque::new(),
        };
        if quiet_until == 0 {
            watch.raised = watch.raised_since(position)?;
        }
        let now = now();
        let incidents = incident::list(dir)?.into_iter();
        watch.open = incidents
            .filter(|incident| now < incident.last_alarm.saturating_add(incident::STAYS_OPEN))
            .collect();
        watch.leave_closed()?;
        Ok(watch)
    }

    /// From the next record on.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    /// Incidents that somebody has closed get nothing more.
    fn leave_closed(&mut self) -> Result<(), WatchError> {
        let mut open = VecDeque::with_capacity(self.open.len());
        for incident in self.open.drain(..) {
            if incident::closed(&self.dir, &incident.id)?.is_none() {
                open.push_back(incident);
            }
        }
        self.open = open;
        Ok(())
    }

    fn raised_since(&self, position: Position) -> Result<HashSet<(String, u64)>, WatchError> {
        let mut reader = Reader::new(&self.dir, position).up_to(Arc::clone(&self.kept));
        let mut raised = HashSet::new();
        loop {
            let line = match reader.next() {
                Ok(Some(line)) => line,
                Ok(None) | Err(ReadError::Removed { .. }) => return Ok(raised),
                Err(error) => return Err(error.into()),
            };
            let Some(alarm) = line.entry().ok().and_then(|entry| entry.alarm) else {
                continue;
            };
            for seq in alarm.records {
                raised.insert((alarm.alarm.clone(), seq));
            }
        }
    }

    /// Records that have not been looked at.
    pub fn behind(&self) -> u64 {
        self.kept.load(Ordering::Acquire).saturating_sub(self.seq)
    }

    /// Looks at what has come. `traps` are the classes with an alarm; `raise` puts an alarm on record. Gives the alarms
    /// that were raised.
    ///
    /// # Errors
    /// What could not be done is tried again the next time.
    pub fn round(&mut self, traps: &Classes, raise: Raise<'_>) -> Result<Vec<Kind>, WatchError> {
        self.put_on_record(raise)?;
        let mut kinds = Vec::new();
        for _ in 0..ROUND {
            if self.passes_short(traps) {
                continue;
            }
            let line = match self.reader.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(ReadError::Removed { first, .. }) => {
                    let position = Position {
                        segment: first,
                        offset: 0,
                    };
                    self.reader = Reader::new(&self.dir, position).up_to(Arc::clone(&self.kept));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.seq = line.link.seq;
            let found = self.found.take();
            let Ok(entry) = line.entry() else { continue };
            let Some(observed) = Observed::of_entry(&entry) else {
                continue;
            };
            let mut alarms = match found {
                Some(alarms) => alarms,
                None => self.detector.take(&observed, traps, &self.thresholds),
            };
            if entry.seq <= self.quiet_until || (alarms.is_empty() && self.open.is_empty()) {
                continue;
            }
            for alarm in &mut alarms {
                if alarm.kind == Kind::Volume {
                    alarm.classes.clone_from(&entry.classes);
                }
            }
            let evidence = evidence(&line, &entry);
            if alarms.is_empty() {
                let dir = self.dir.clone();
                if let Some(incident) = self.touched_again(&observed, traps) {
                    incident.add_record(&entry, evidence);
                    incident::save(&dir, incident)?;
                }
                continue;
            }
            for alarm in alarms {
                if self
                    .raised
                    .contains(&(alarm.kind.label().to_owned(), alarm.seq))
                {
                    continue;
                }
                self.alarm(&alarm, &entry, &evidence)?;
                kinds.push(alarm.kind);
            }
            self.put_on_record(raise)?;
        }
        Ok(kinds)
    }

    /// Goes past the next record where it need not be read: nearly all are like this.
    fn passes_short(&mut self, traps: &Classes) -> bool {
        if self.found.is_some() {
            return false;
        }
        if self.shorts.is_empty() {
            self.shorts = self.tail.take();
        }
        while self
            .shorts
            .front()
            .is_some_and(|short| short.seq <= self.seq + 1)
        {
            let Some(short) = self.shorts.pop_front() else {
                return false;
            };
            if short.seq <= self.seq {
                continue;
            }
            match short.view {
                View::Unknown => return false,
                View::Observed(observed) => {
                    let alarms = self.detector.take(&observed, traps, &self.thresholds);
                    let is_told = short.seq > self.quiet_until
                        && (!alarms.is_empty() || self.touched_again(&observed, traps).is_some());
                    if is_told {
                        self.found = Some(alarms);
                        return false;
                    }
                }
                View::Nothing => {}
            }
            self.seq = short.seq;
            self.reader.pass_to(short.next);
            return true;
        }
        false
    }

    fn alarm(
        &mut self,
        alarm: &Alarm,
        entry: &Entry,
        evidence: &Evidence,
    ) -> Result<(), WatchError> {
        let incident = match alarm.kind.is_breach() {
            true => {
                self.leave_closed()?;
                Some(self.incident(alarm, entry, evidence.clone()))
            }
            false => None,
        };
        let id = incident.as_ref().map(|incident| incident.id.clone());
        self.pending.push_back(record(alarm, entry, id));
        match incident {
            Some(incident) => Ok(incident::save(&self.dir, &incident)?),
            None => Ok(()),
        }
    }

    /// The incident that an alarm belongs to, with it in it.
    fn incident(&mut self, alarm: &Alarm, entry: &Entry, evidence: Evidence) -> Incident {
        let now = now();
        self.open
            .retain(|incident| now < incident.last_alarm.saturating_add(incident::STAYS_OPEN));
        let place = self.open.iter().position(|open| open.takes(alarm, now));
        let mut incident = place
            .and_then(|place| self.open.remove(place))
            .unwrap_or_else(|| Incident::open(alarm, &self.chain, &self.key, now));
        incident.add(alarm, entry, evidence, now);
        if self.open.len() >= MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(incident.clone());
        incident
    }

    /// The open incident that a further touch of a trap belongs to: so soon after the last that it raises no alarm, it is
    /// evidence all the same.
    fn touched_again(&mut self, observed: &Observed, traps: &Classes) -> Option<&mut Incident> {
        let honeytoken = Kind::Honeytoken.label();
        let open =
            self.open.iter_mut().rev().find(|incident| {
                incident.kind == honeytoken && incident.person == *observed.person
            });
        open.filter(|_| !trap::touched(observed, traps).is_empty())
    }

    fn put_on_record(&mut self, raise: Raise<'_>) -> Result<(), WatchError> {
        while let Some(record) = self.pending.front() {
            raise(record).map_err(WatchError::Record)?;
            self.pending.pop_front();
        }
        Ok(())
    }

    /// Writes down how far it is and what it remembers. What is not on record yet is looked at again after a restart.
    ///
    /// # Errors
    /// The disk.
    pub fn save(&self) -> Result<(), WatchError> {
        if !self.pending.is_empty() || self.found.is_some() {
            return Ok(());
        }
        let path = self.dir.join(STATE_FILE);
        let state = StateRef {
            chain: &self.chain,
            position: self.reader.position(),
            seq: self.seq,
            detector: &self.detector,
        };
        serde_json::to_vec(&state)
            .map_err(std::io::Error::from)
            .and_then(|json| durable::replace(&path, &json))
            .map_err(|source| WatchError::State { path, source })
    }
}

/// [`State`] on its way out.
#[derive(Serialize)]
struct StateRef<'w> {
    chain: &'w str,
    position: Position,
    seq: u64,
    detector: &'w Detector,
}

/// What was written down about that chain. A file that cannot be used is as good as none: what is usual is learnt anew.
fn read_state(dir: &Path, chain: &str) -> Option<State> {
    let bytes = std::fs::read(dir.join(STATE_FILE)).ok()?;
    let state: State = serde_json::from_slice(&bytes).ok()?;
    (state.chain == chain).then_some(state)
}

fn evidence(line: &Line<'_>, entry: &Entry) -> Evidence {
    Evidence {
        seq: line.link.seq,
        hash: line.link.hash.to_string(),
        time: entry.time.clone(),
        position: Position {
            offset: line.next.offset.saturating_sub(line.bytes.len() as u64 + 1),
            ..line.next
        },
    }
}

/// The alarm's own record: whose doing, in which session, and which record raised it.
fn record(alarm: &Alarm, entry: &Entry, incident: Option<String>) -> Record {
    let shared = |name: &Option<String>| name.as_deref().map(Arc::from);
    Record {
        session: entry.session,
        client_addr: entry.client_addr,
        db_user: shared(&entry.db_user),
        app_user: shared(&entry.app_user),
        person: shared(&entry.person),
        role: shared(&entry.role),
        application_name: shared(&entry.application_name),
        database: shared(&entry.database),
        classes: alarm
            .classes
            .iter()
            .map(|class| Arc::from(&**class))
            .collect(),
        message: Some(alarm.message.clone()),
        alarm: Some(Box::new(AlarmRecord {
            alarm: alarm.kind.label(),
            incident,
            records: vec![alarm.seq],
        })),
        ..Record::new(Event::Alarm, SystemTime::now())
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
