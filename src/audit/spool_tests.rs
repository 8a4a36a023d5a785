use super::*;
use crate::audit::segment;
use crate::audit::verify::{self, Expectation};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A directory of its own that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("pgveil-spool-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Dir(path)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.0.join(segment::file_name(number))
    }

    fn open(&self) -> Spool {
        Spool::open(&self.0, SpoolSettings::default()).expect("the spool opens")
    }

    fn verified(&self) -> verify::Report {
        verify::verify(&self.0, &Expectation::default()).expect("the chain is sound")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(text: &str) -> Record {
    Record {
        text: Some(text.into()),
        ..Record::new(Event::Statement, SystemTime::UNIX_EPOCH)
    }
}

fn small_segments() -> SpoolSettings {
    SpoolSettings {
        segment_bytes: 1500,
        ..SpoolSettings::default()
    }
}

#[test]
fn a_new_directory_begins_a_chain_of_its_own() {
    let (one, two) = (Dir::new(), Dir::new());
    one.open();
    two.open();
    assert_eq!(one.verified().records, 1);
    assert_ne!(one.verified().head, two.verified().head);
}

#[test]
fn a_restart_continues_the_chain() {
    let dir = Dir::new();
    dir.open().append(&record("SELECT 1")).expect("appended");
    let again = dir.open().append(&record("SELECT 2")).expect("appended");
    assert_eq!(again.seq, 3);
    assert_eq!(dir.verified().head, again.hash);
}

#[test]
fn the_chain_goes_on_from_segment_to_segment() {
    let dir = Dir::new();
    let spool = Spool::open(&dir.0, small_segments()).expect("opened");
    for count in 0..30 {
        spool
            .append(&record(&format!("SELECT {count}")))
            .expect("appended");
    }
    let report = dir.verified();
    assert_eq!((report.records, report.first, report.last), (31, 1, 31));
    assert!(report.segments > 3, "{report:?}");
    for (_, path) in segment::list(&dir.0).expect("listed") {
        assert!(path.metadata().expect("metadata").len() <= 1500);
    }
}

#[test]
fn a_second_process_is_kept_out() {
    let dir = Dir::new();
    let first = dir.open();
    let second = Spool::open(&dir.0, SpoolSettings::default());
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
    drop(first);
    dir.open();
}

#[test]
fn a_crash_at_every_byte_is_recovered() {
    let whole = Dir::new();
    let spool = whole.open();
    let before = spool.append(&record("SELECT 1")).expect("appended");
    let sound = std::fs::metadata(whole.segment(1)).expect("metadata").len();
    spool
        .append_all(&[record("SELECT 2"), record("SELECT 3")])
        .expect("appended");
    drop(spool);
    let bytes = std::fs::read(whole.segment(1)).expect("read");

    for end in sound as usize..=bytes.len() {
        let dir = Dir::new();
        std::fs::create_dir_all(&dir.0).expect("created");
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
    let whole = Dir::new();
    whole.open();
    let bytes = std::fs::read(whole.segment(1)).expect("read");
    for end in 0..bytes.len() {
        let dir = Dir::new();
        std::fs::create_dir_all(&dir.0).expect("created");
        std::fs::write(dir.segment(1), &bytes[..end]).expect("written");
        dir.open();
        assert_eq!(dir.verified().records, if end == 0 { 1 } else { 2 });
    }
}

#[test]
fn a_crash_between_two_segments_is_recovered() {
    let dir = Dir::new();
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
    let dir = Dir::new();
    dir.open();
    let len = std::fs::metadata(dir.segment(1)).expect("metadata").len();
    let mut bytes = std::fs::read(dir.segment(1)).expect("read");
    bytes.extend_from_slice(b"{\"hash\":\"12");
    std::fs::write(dir.segment(1), &bytes).expect("written");
    dir.open();
    let aside = dir.0.join(format!("audit-000001.jsonl.torn-{len}"));
    assert_eq!(std::fs::read(aside).expect("kept"), b"{\"hash\":\"12");
}

#[test]
fn a_changed_last_record_stops_the_start() {
    let dir = Dir::new();
    dir.open().append(&record("SELECT 1")).expect("appended");
    let text = std::fs::read_to_string(dir.segment(1)).expect("read");
    std::fs::write(dir.segment(1), text.replace("SELECT 1", "SELECT 2")).expect("written");
    let error = Spool::open(&dir.0, SpoolSettings::default()).expect_err("refused");
    let message = error.to_string();
    assert!(message.contains("audit-000001.jsonl"), "{message}");
    assert!(message.contains("pgveil audit verify"), "{message}");
}

#[test]
fn a_full_disk_leaves_a_sound_chain_at_every_byte() {
    let measure = Dir::new();
    let spool = measure.open();
    let before = spool.end().segment.len();
    spool.append(&record("SELECT 1")).expect("appended");
    let needed = spool.end().segment.len() - before;

    let dir = Dir::new();
    let spool = dir.open();
    for room in 0..needed {
        spool.end().segment.room = Some(room);
        let error = spool.append(&record("SELECT 1")).expect_err("no room");
        assert!(matches!(error, SpoolError::Write { .. }));
        assert_eq!(dir.verified().records, 1, "{room}");
        assert!(!spool.is_healthy());
    }
    spool.end().segment.room = None;
    assert_eq!(spool.append(&record("SELECT 1")).expect("room").seq, 2);
    assert!(spool.is_healthy());
    assert_eq!(dir.verified().records, 2);
}

#[test]
fn a_full_disk_at_the_change_of_segments_leaves_a_sound_chain() {
    let dir = Dir::new();
    let settings = SpoolSettings {
        segment_bytes: 1,
        ..SpoolSettings::default()
    };
    let spool = Spool::open(&dir.0, settings).expect("opened");
    // A name that is taken stands for a disk that has no room for another file.
    std::fs::create_dir(dir.segment(2)).expect("created");
    spool.append(&record("SELECT 1")).expect_err("no segment");
    std::fs::remove_dir(dir.segment(2)).expect("removed");
    assert_eq!(spool.append(&record("SELECT 1")).expect("room").seq, 2);
    assert_eq!(dir.verified().segments, 2);
}

#[test]
fn records_of_many_threads_form_one_chain() {
    for ack in [Ack::Written, Ack::Synced] {
        let dir = Dir::new();
        let settings = SpoolSettings {
            ack,
            segment_bytes: 4000,
        };
        let spool = Arc::new(Spool::open(&dir.0, settings).expect("opened"));
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
        assert_eq!(dir.verified().records, 201);
        if ack == Ack::Synced {
            assert_eq!(spool.unsynced(), 0);
        }
    }
}

#[test]
fn synced_appends_work_inside_and_outside_of_a_runtime() {
    let dir = Dir::new();
    let settings = SpoolSettings {
        ack: Ack::Synced,
        ..SpoolSettings::default()
    };
    let spool = Spool::open(&dir.0, settings).expect("opened");
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
    let dir = Dir::new();
    let spool = dir.open();
    spool.append(&record("SELECT 1")).expect("appended");
    assert_eq!(spool.unsynced(), 2);
    spool.sync().expect("synced");
    assert_eq!(spool.unsynced(), 0);
}

#[test]
fn a_segment_taken_away_while_writing_is_noticed() {
    let dir = Dir::new();
    let spool = dir.open();
    assert!(spool.is_healthy());
    std::fs::remove_file(dir.segment(1)).expect("removed");
    assert!(!spool.is_healthy());
}

#[test]
fn only_the_owner_reads_the_records() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    dir.open();
    let mode = |path: &Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&dir.0), 0o700);
    assert_eq!(mode(&dir.segment(1)), 0o600);
}
