use super::*;
use crate::audit::SpoolSettings;
use crate::audit::classes::ClassColumns;
use crate::audit::fixture::Dir;
use crate::audit::glob::Glob;

fn traps() -> Classes {
    let column = ["crm", "vip", "phone"].map(|name| Glob::Exact(name.to_owned()));
    Classes::new(vec![ClassColumns {
        class: "trap".to_owned(),
        level: None,
        columns: vec![column],
    }])
}

fn spool(dir: &Dir) -> Spool {
    Spool::open(dir.path(), SpoolSettings::default()).expect("the spool opens")
}

fn touch(user: &str) -> Record {
    Record {
        db_user: Some(user.into()),
        role: Some("agent".into()),
        reads: vec!["crm.vip".to_owned()].into(),
        masked: vec!["crm.vip.phone".to_owned()].into(),
        rows: Some(3),
        ..Record::new(Event::Statement, SystemTime::now())
    }
}

fn round(watch: &mut Watch, spool: &Spool) -> Vec<Kind> {
    let mut raise = |record: &Record| spool.append(record).map(drop).map_err(|e| e.to_string());
    watch.round(&traps(), &mut raise).expect("a round")
}

/// Alarms on record, with the records that raised them.
fn on_record(dir: &Dir) -> Vec<(String, Vec<u64>)> {
    let mut reader = Reader::from_start(dir.path()).expect("opened");
    let mut alarms = Vec::new();
    while let Some(line) = reader.next().expect("read") {
        alarms.extend(line.entry().expect("an entry").alarm);
    }
    let alarms = alarms.into_iter();
    alarms.map(|alarm| (alarm.alarm, alarm.records)).collect()
}

#[test]
fn an_alarm_after_an_incident_was_closed_opens_another() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    round(&mut watch, &spool);
    spool.append(&touch("eve")).expect("appended");
    round(&mut watch, &spool);
    let first = incident::list(dir.path()).expect("listed").remove(0);
    incident::close(dir.path(), &first, &incident::Closed::default()).expect("closed");
    let mut later = touch("eve");
    later.time += Duration::from_secs(2 * trap::QUIET);
    spool.append(&later).expect("appended");
    assert_eq!(round(&mut watch, &spool), [Kind::Honeytoken]);
    let incidents = incident::list(dir.path()).expect("listed");
    assert_eq!(incidents.len(), 2);
    assert!(incidents.iter().all(|incident| incident.alarms == 1));
}

#[test]
fn a_touched_trap_is_on_record_and_opens_an_incident_with_the_record_as_evidence() {
    let dir = Dir::new();
    let spool = spool(&dir);
    spool.append(&touch("before")).expect("appended");
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    assert_eq!(round(&mut watch, &spool), [], "nobody watched then");
    let touched = spool.append(&touch("eve")).expect("appended");
    spool.append(&touch("eve")).expect("appended");
    assert_eq!(round(&mut watch, &spool), [Kind::Honeytoken]);
    assert_eq!(round(&mut watch, &spool), [], "alarms raise none");
    assert_eq!(watch.behind(), 0);
    assert_eq!(
        on_record(&dir),
        [("honeytoken".to_owned(), vec![touched.seq])]
    );
    let incidents = incident::list(dir.path()).expect("read");
    let [incident] = incidents.as_slice() else {
        panic!("one incident: {incidents:?}");
    };
    assert_eq!(incident.person, "eve");
    assert_eq!((incident.alarms, incident.rows), (1, 6));
    assert!(incident.classes.contains("trap"));
    let evidence: Vec<u64> = incident.evidence.iter().map(|one| one.seq).collect();
    assert_eq!(evidence, [touched.seq, touched.seq + 1]);
    assert_eq!(incident.evidence[0].hash, touched.hash.to_string());
    let mut reader = Reader::new(dir.path(), incident.evidence[1].position);
    let line = reader.next().expect("read").expect("the record");
    assert_eq!(line.link.seq, touched.seq + 1);
}

#[test]
fn after_a_crash_nothing_is_raised_twice_and_nothing_is_forgotten() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    round(&mut watch, &spool);
    watch.save().expect("saved");
    spool.append(&touch("eve")).expect("appended");
    assert_eq!(round(&mut watch, &spool), [Kind::Honeytoken]);
    // The state that was written is older than the alarm; another record came while nobody watched.
    drop(watch);
    spool.append(&touch("mallory")).expect("appended");
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    assert_eq!(round(&mut watch, &spool), [Kind::Honeytoken], "of mallory");
    assert_eq!(on_record(&dir).len(), 2);
    let incidents = incident::list(dir.path()).expect("read");
    let alarms: Vec<u64> = incidents.iter().map(|incident| incident.alarms).collect();
    assert_eq!(alarms, [1, 1]);
}

#[test]
fn an_alarm_that_cannot_be_recorded_is_recorded_later() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    spool.append(&touch("eve")).expect("appended");
    let mut full = |_: &Record| Err("the disk is full".to_owned());
    assert!(watch.round(&traps(), &mut full).is_err());
    watch.save().expect("nothing to save yet");
    assert!(!dir.path().join(STATE_FILE).exists());
    round(&mut watch, &spool);
    assert_eq!(on_record(&dir).len(), 1);
}

#[test]
fn the_state_of_another_chain_or_a_broken_one_is_no_state() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    round(&mut watch, &spool);
    watch.save().expect("saved");
    let path = dir.path().join(STATE_FILE);
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(read_state(dir.path(), spool.chain()).is_some());
    assert!(read_state(dir.path(), "another").is_none());
    std::fs::write(&path, &text[..text.len() / 2]).expect("written");
    assert!(Watch::open(&spool, Thresholds::default()).is_ok());
}

fn usual() -> Record {
    Record {
        db_user: Some("ann".into()),
        reads: vec!["crm.orders".to_owned()].into(),
        rows: Some(3),
        bytes: Some(90),
        ..Record::new(Event::Statement, SystemTime::now())
    }
}

/// Makes the segment unreadable where the records stand that `write` writes.
fn spoilt(spool: &Spool, dir: &Dir, write: impl FnOnce()) {
    let path = dir
        .path()
        .join(super::super::segment::file_name(spool.segment()));
    let before = std::fs::metadata(&path).expect("there").len() as usize;
    write();
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[before..].fill(b'x');
    std::fs::write(&path, bytes).expect("written");
}

#[test]
fn what_was_just_written_is_not_read_back() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    round(&mut watch, &spool);
    spoilt(&spool, &dir, || {
        for _ in 0..3 {
            spool.append(&usual()).expect("appended");
            spool.checkpoint().expect("signed");
        }
    });
    assert_eq!(round(&mut watch, &spool), []);
    assert_eq!(watch.behind(), 0);
    let touched = spool.append(&touch("eve")).expect("appended");
    assert_eq!(round(&mut watch, &spool), [Kind::Honeytoken]);
    let incidents = incident::list(dir.path()).expect("listed");
    assert_eq!(incidents[0].evidence[0].hash, touched.hash.to_string());
}

#[test]
fn while_an_incident_is_open_evidence_alone_is_read_back() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    round(&mut watch, &spool);
    spool.append(&touch("eve")).expect("appended");
    assert_eq!(round(&mut watch, &spool), [Kind::Honeytoken]);
    spoilt(&spool, &dir, || {
        spool.append(&usual()).expect("appended");
    });
    let again = spool.append(&touch("eve")).expect("appended");
    assert_eq!(round(&mut watch, &spool), []);
    assert_eq!(watch.behind(), 0);
    let incidents = incident::list(dir.path()).expect("listed");
    let evidence = incidents[0].evidence.last().expect("two touches");
    assert_eq!(evidence.seq, again.seq);
}

#[test]
fn an_alarm_whose_record_cannot_be_read_is_not_lost_and_counts_once() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    round(&mut watch, &spool);
    let path = dir.path().join(super::super::segment::file_name(1));
    let sound = std::fs::read(&path).expect("read");
    spool.append(&touch("eve")).expect("appended");
    let whole = std::fs::read(&path).expect("read");
    let mut spoilt = whole.clone();
    spoilt[sound.len()..].fill(b'x');
    spoilt.pop();
    spoilt.push(b'\n');
    std::fs::write(&path, spoilt).expect("written");
    let mut raise = |_: &Record| Ok(());
    for _ in 0..2 {
        let failed = watch.round(&traps(), &mut raise);
        assert!(matches!(failed, Err(WatchError::Read(_))), "{failed:?}");
    }
    std::fs::write(&path, whole).expect("written");
    assert_eq!(round(&mut watch, &spool), [Kind::Honeytoken]);
    assert_eq!(on_record(&dir).len(), 1);
}

#[test]
fn what_is_written_for_another_process_is_looked_at() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    round(&mut watch, &spool);
    let json = |record| serde_json::to_vec(&record).expect("a record is JSON");
    let passed = [json(usual()), json(touch("eve")), json(usual())];
    spool.append_for(&passed).expect("appended");
    spool.append(&usual()).expect("appended");
    assert_eq!(round(&mut watch, &spool), [Kind::Honeytoken]);
    assert_eq!(watch.behind(), 0);
}

#[test]
fn records_that_went_by_are_read() {
    let dir = Dir::new();
    let spool = spool(&dir);
    let mut watch = Watch::open(&spool, Thresholds::default()).expect("watching");
    round(&mut watch, &spool);
    spool.append(&touch("eve")).expect("appended");
    let many = vec![usual(); super::super::tail::MOST + 1];
    spool.append_all(&many).expect("appended");
    let mut kinds = Vec::new();
    while watch.behind() > 0 {
        kinds.extend(round(&mut watch, &spool));
    }
    assert_eq!(kinds, [Kind::Honeytoken]);
}
