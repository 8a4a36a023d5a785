use super::*;
use crate::audit::Reader;
use crate::audit::fixture::{Dir, record};
use crate::audit::segment;
use crate::audit::verify::{self, Expectation};

/// Where a test's spool lives.
struct Place(Dir);

impl Place {
    fn new() -> Self {
        Place(Dir::new())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path().join(segment::file_name(number))
    }

    fn open(&self) -> Spool {
        Spool::open(self.path(), SpoolSettings::default()).expect("the spool opens")
    }

    fn verified(&self) -> verify::Report {
        let key = PublicKey::read(&self.path().join(PUBLIC_KEY_FILE)).expect("a key");
        let expectation = Expectation {
            keys: vec![key],
            ..Expectation::default()
        };
        verify::verify(self.path(), &expectation).expect("the chain is sound")
    }

    /// Events of the records in their order.
    fn events(&self) -> Vec<String> {
        let mut reader = Reader::from_start(self.path()).expect("opened");
        let mut events = Vec::new();
        while let Some(line) = reader.next().expect("read") {
            events.push(line.entry().expect("an entry").event);
        }
        events
    }
}

fn small_segments() -> SpoolSettings {
    SpoolSettings {
        segment_bytes: 2500,
        ..SpoolSettings::default()
    }
}

#[test]
fn a_new_directory_begins_a_chain_of_its_own() {
    let (one, two) = (Place::new(), Place::new());
    one.open();
    two.open();
    assert_eq!(one.verified().records, 1);
    assert_ne!(one.verified().head, two.verified().head);
}

#[test]
fn a_restart_continues_the_chain() {
    let dir = Place::new();
    dir.open().append(&record("SELECT 1")).expect("appended");
    let again = dir.open().append(&record("SELECT 2")).expect("appended");
    assert_eq!(again.seq, 3);
    assert_eq!(dir.verified().head, again.hash);
}

#[test]
fn the_chain_goes_on_from_segment_to_segment() {
    let dir = Place::new();
    let spool = Spool::open(dir.path(), small_segments()).expect("opened");
    for count in 0..30 {
        spool
            .append(&record(&format!("SELECT {count}")))
            .expect("appended");
    }
    let report = dir.verified();
    // And a checkpoint at the beginning of each segment but the first.
    let checkpoints = report.segments - 1;
    assert_eq!((report.records, report.first), (31 + checkpoints, 1));
    assert_eq!(report.checkpoints, checkpoints);
    assert!(report.segments > 3, "{report:?}");
    for (_, path) in segment::list(dir.path()).expect("listed") {
        assert!(path.metadata().expect("metadata").len() <= 2500);
    }
}

#[test]
fn a_second_process_is_kept_out() {
    let dir = Place::new();
    let first = dir.open();
    let second = Spool::open(dir.path(), SpoolSettings::default());
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
    drop(first);
    dir.open();
}

#[test]
fn a_crash_at_every_byte_is_recovered() {
    let whole = Place::new();
    let spool = whole.open();
    let before = spool.append(&record("SELECT 1")).expect("appended");
    let sound = std::fs::metadata(whole.segment(1)).expect("metadata").len();
    spool
        .append_all(&[record("SELECT 2"), record("SELECT 3")])
        .expect("appended");
    drop(spool);
    let bytes = std::fs::read(whole.segment(1)).expect("read");

    for end in sound as usize..=bytes.len() {
        let dir = Place::new();
        std::fs::create_dir_all(dir.path()).expect("created");
        std::fs::write(dir.segment(1), &bytes[..end]).expect("written");
        dir.open().append(&record("SELECT 4")).expect("appended");

        let text = std::fs::read_to_string(dir.segment(1)).expect("read");
        let whole_lines = bytes[..end].iter().filter(|byte| **byte == b'\n').count();
        let torn = bytes[end - 1] != b'\n';
        let report = dir.verified();
        assert!(report.records > before.seq);
        assert_eq!(
            report.records as usize,
            whole_lines + usize::from(torn) + 1,
            "{end}"
        );
        assert_eq!(text.contains("\"event\":\"recovered\""), torn, "{end}");
    }
}

#[test]
fn a_crash_in_the_first_record_begins_the_chain_anew() {
    let whole = Place::new();
    whole.open();
    let bytes = std::fs::read(whole.segment(1)).expect("read");
    for end in 0..bytes.len() {
        let dir = Place::new();
        std::fs::create_dir_all(dir.path()).expect("created");
        std::fs::write(dir.segment(1), &bytes[..end]).expect("written");
        dir.open();
        assert_eq!(dir.verified().records, if end == 0 { 1 } else { 2 });
    }
}

#[test]
fn a_crash_between_two_segments_is_recovered() {
    let dir = Place::new();
    let last = dir.open().append(&record("SELECT 1")).expect("appended");
    for torn in ["", "{\"ha"] {
        std::fs::write(dir.segment(2), torn).expect("written");
        let spool = dir.open();
        assert!(spool.append(&record("SELECT 2")).expect("appended").seq > last.seq);
        drop(spool);
        assert_eq!(dir.verified().segments, 2);
        std::fs::remove_file(dir.segment(2)).expect("removed");
    }
}

#[test]
fn what_was_torn_is_kept_beside_the_segment() {
    let dir = Place::new();
    dir.open();
    let len = std::fs::metadata(dir.segment(1)).expect("metadata").len();
    let mut bytes = std::fs::read(dir.segment(1)).expect("read");
    bytes.extend_from_slice(b"{\"hash\":\"12");
    std::fs::write(dir.segment(1), &bytes).expect("written");
    dir.open();
    let aside = dir.path().join(format!("audit-000001.jsonl.torn-{len}"));
    assert_eq!(std::fs::read(aside).expect("kept"), b"{\"hash\":\"12");
}

#[test]
fn a_changed_last_record_stops_the_start() {
    let dir = Place::new();
    dir.open().append(&record("SELECT 1")).expect("appended");
    let text = std::fs::read_to_string(dir.segment(1)).expect("read");
    std::fs::write(dir.segment(1), text.replace("SELECT 1", "SELECT 2")).expect("written");
    let error = Spool::open(dir.path(), SpoolSettings::default()).expect_err("refused");
    let message = error.to_string();
    assert!(message.contains("audit-000001.jsonl"), "{message}");
    assert!(message.contains("pgveil audit verify"), "{message}");
}

#[test]
fn a_full_disk_leaves_a_sound_chain_at_every_byte() {
    let measure = Place::new();
    let spool = measure.open();
    let before = spool.end().segment.len();
    spool.append(&record("SELECT 1")).expect("appended");
    let needed = spool.end().segment.len() - before;
    // For the record that says how many were lost, besides the one that could not be written.
    let dir = Place::new();
    let spool = dir.open();
    for room in 0..needed {
        spool.end().segment.room = Some(room);
        let error = spool.append(&record("SELECT 1")).expect_err("no room");
        assert!(matches!(error, SpoolError::Write { .. }));
        assert_eq!(dir.verified().records, 1, "{room}");
        assert!(!spool.is_healthy());
    }
    spool.end().segment.room = None;
    assert_eq!(spool.lost(), needed);
    assert_eq!(spool.append(&record("SELECT 1")).expect("room").seq, 3);
    assert!(spool.is_healthy());
    assert_eq!(dir.events(), ["chain", "lost", "statement"]);
    assert_eq!((dir.verified().records, dir.verified().lost), (3, needed));
}

#[test]
fn a_disk_that_has_room_again_is_noticed_without_a_record() {
    let dir = Place::new();
    let spool = dir.open();
    spool.end().segment.room = Some(10);
    spool.append(&record("SELECT 1")).expect_err("no room");
    spool.tend().expect_err("no room");
    assert!(spool.is_failing());
    spool.end().segment.room = None;
    spool.tend().expect("room");
    assert!(!spool.is_failing());
    assert_eq!(dir.events(), ["chain", "lost", "checkpoint"]);
    assert_eq!(dir.verified().lost, 1);
}

#[test]
fn checkpoints_come_after_so_many_records_and_so_much_time_and_no_oftener() {
    let dir = Place::new();
    let settings = SpoolSettings {
        checkpoint_records: 3,
        ..SpoolSettings::default()
    };
    let spool = Spool::open(dir.path(), settings).expect("opened");
    for _ in 0..4 {
        spool.append(&record("SELECT 1")).expect("appended");
        spool.tend().expect("nothing is due");
    }
    let with = [
        "chain",
        "statement",
        "statement",
        "checkpoint",
        "statement",
        "statement",
    ];
    assert_eq!(dir.events(), with);
    assert_eq!(dir.verified().signed, Some(4));
    spool.end().signed_at -= CHECKPOINT_INTERVAL;
    spool.tend().expect("signed");
    spool.end().signed_at -= CHECKPOINT_INTERVAL;
    spool.tend().expect("nothing is due");
    assert_eq!(dir.events().len(), 7);
    assert_eq!(dir.verified().signed, Some(7));
}

#[test]
fn a_segment_that_is_too_old_is_closed_even_where_nothing_happens() {
    let dir = Place::new();
    let spool = dir.open();
    spool.append(&record("SELECT 1")).expect("appended");
    spool.tend().expect("nothing is due");
    assert_eq!(spool.segment(), 1);
    spool.end().since -= SEGMENT_AGE;
    spool.tend().expect("rotated");
    assert_eq!(spool.segment(), 2);
    assert_eq!(dir.events(), ["chain", "statement", "checkpoint"]);
    assert_eq!(dir.verified().segments, 2);
}

#[test]
fn a_key_of_ones_own_signs_and_a_wrong_one_stops_the_start() {
    let dir = Place::new();
    let elsewhere = Dir::new();
    let path = elsewhere.path().join("key.pem");
    let settings = |path: &Path| SpoolSettings {
        key: Some(path.to_owned()),
        ..SpoolSettings::default()
    };
    let error = Spool::open(dir.path(), settings(&path)).expect_err("no such key");
    assert!(error.to_string().contains("key.pem"), "{error}");
    let key = SigningKey::create(&path).expect("made");
    let spool = Spool::open(dir.path(), settings(&path)).expect("opened");
    spool.checkpoint().expect("signed");
    assert_eq!(dir.verified().keys, [key.public().id()]);
    assert!(!dir.path().join(KEY_FILE).exists());
}

#[test]
fn a_restart_knows_its_chain_whichever_segment_is_the_first() {
    let dir = Place::new();
    let chain = dir.open().chain().to_owned();
    let spool = Spool::open(dir.path(), small_segments()).expect("opened");
    for _ in 0..20 {
        spool.append(&record("SELECT 1")).expect("appended");
    }
    drop(spool);
    assert_eq!(dir.open().chain(), chain);
    std::fs::remove_file(dir.segment(1)).expect("removed");
    assert_eq!(dir.open().chain(), chain);
}

#[test]
fn a_full_disk_at_the_change_of_segments_leaves_a_sound_chain() {
    let dir = Place::new();
    let settings = SpoolSettings {
        segment_bytes: 1,
        ..SpoolSettings::default()
    };
    let spool = Spool::open(dir.path(), settings).expect("opened");
    // A name that is taken stands for a disk that has no room for another file.
    std::fs::create_dir(dir.segment(2)).expect("created");
    spool.append(&record("SELECT 1")).expect_err("no segment");
    std::fs::remove_dir(dir.segment(2)).expect("removed");
    spool.append(&record("SELECT 1")).expect("room");
    assert_eq!(dir.events(), ["chain", "checkpoint", "lost", "statement"]);
    assert_eq!(dir.verified().segments, 2);
}

#[test]
fn records_of_many_threads_form_one_chain() {
    for ack in [Ack::Written, Ack::Synced] {
        let dir = Place::new();
        let settings = SpoolSettings {
            ack,
            segment_bytes: 4000,
            ..SpoolSettings::default()
        };
        let spool = Arc::new(Spool::open(dir.path(), settings).expect("opened"));
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let spool = Arc::clone(&spool);
                std::thread::spawn(move || {
                    for count in 0..25 {
                        let text = format!("SELECT {thread}, {count}");
                        spool.append(&record(&text)).expect("appended");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("joined");
        }
        let report = dir.verified();
        assert_eq!(report.records, 201 + report.checkpoints);
        if ack == Ack::Synced {
            assert_eq!(spool.unsynced(), 0);
        }
    }
}

#[test]
fn synced_appends_work_inside_and_outside_of_a_runtime() {
    let dir = Place::new();
    let settings = SpoolSettings {
        ack: Ack::Synced,
        ..SpoolSettings::default()
    };
    let spool = Spool::open(dir.path(), settings).expect("opened");
    for mut runtime in [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ] {
        let runtime = runtime.build().expect("a runtime");
        runtime.block_on(async { spool.append(&record("SELECT 1")).expect("appended") });
    }
    assert_eq!(dir.verified().records, 3);
    assert_eq!(spool.unsynced(), 0);
}

#[test]
fn unsynced_records_are_counted_until_a_sync() {
    let dir = Place::new();
    let spool = dir.open();
    spool.append(&record("SELECT 1")).expect("appended");
    assert_eq!(spool.unsynced(), 2);
    spool.sync().expect("synced");
    assert_eq!(spool.unsynced(), 0);
}

#[test]
fn a_segment_taken_away_while_writing_is_noticed() {
    let dir = Place::new();
    let spool = dir.open();
    assert!(spool.is_healthy());
    std::fs::remove_file(dir.segment(1)).expect("removed");
    assert!(!spool.is_healthy());
}

#[test]
fn only_the_owner_reads_the_records() {
    use std::os::unix::fs::PermissionsExt;
    let place = Dir::new();
    let dir = place.path().join("audit");
    Spool::open(&dir, SpoolSettings::default()).expect("the spool opens");
    let mode = |path: &Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join(segment::file_name(1))), 0o600);
    assert_eq!(mode(&dir.join(KEY_FILE)), 0o600);
}
