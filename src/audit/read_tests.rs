use super::*;
use crate::audit::fixture::{Dir, record};
use crate::audit::{Spool, SpoolSettings};

fn spool(dir: &Dir, segment_bytes: u64) -> Spool {
    let settings = SpoolSettings {
        segment_bytes,
        ..SpoolSettings::default()
    };
    Spool::open(dir.path(), settings).expect("the spool opens")
}

fn texts(reader: &mut Reader) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(line) = reader.next().expect("read") {
        let entry = line.entry().expect("an entry");
        assert_eq!(entry.seq, line.link.seq);
        texts.extend(entry.text);
    }
    texts
}

#[test]
fn a_reader_goes_on_where_the_spool_does_over_every_segment() {
    let dir = Dir::new();
    let spool = spool(&dir, 3000);
    let mut reader = Reader::from_start(dir.path()).expect("opened");
    let mut read = Vec::new();
    let mut written = Vec::new();
    for count in 0..40 {
        let text = format!("SELECT {count}");
        spool.append(&record(&text)).expect("appended");
        written.push(text);
        if count % 3 == 0 {
            read.extend(texts(&mut reader));
            assert_eq!(read, written);
        }
    }
    read.extend(texts(&mut reader));
    assert_eq!(read, written);
    assert!(reader.position().segment > 3);
}

#[test]
fn a_position_is_enough_to_go_on() {
    let dir = Dir::new();
    let spool = spool(&dir, 3000);
    for count in 0..20 {
        spool.append(&record(&count.to_string())).expect("appended");
    }
    let mut all = Reader::from_start(dir.path()).expect("opened");
    let mut seqs = Vec::new();
    let mut from = all.position();
    loop {
        let mut reader = Reader::new(dir.path(), from);
        match reader.next().expect("read") {
            Some(line) => {
                seqs.push(line.link.seq);
                from = line.next;
            }
            None => break,
        }
    }
    let mut expected = Vec::new();
    while let Some(line) = all.next().expect("read") {
        expected.push(line.link.seq);
    }
    assert_eq!(seqs, expected);
}

#[test]
fn a_line_that_is_not_whole_is_not_there_and_may_be_replaced() {
    let dir = Dir::new();
    let spool = spool(&dir, 1 << 20);
    spool.append(&record("one")).expect("appended");
    let mut reader = Reader::from_start(dir.path()).expect("opened");
    texts(&mut reader);
    let path = dir.path().join(segment::file_name(1));
    let whole = std::fs::read(&path).expect("read");
    for end in [3, 80] {
        let mut torn = whole.clone();
        torn.extend_from_slice(&vec![b'x'; end]);
        std::fs::write(&path, torn).expect("written");
        assert!(reader.next().expect("read").is_none());
    }
    std::fs::write(&path, whole).expect("written");
    spool.append(&record("two")).expect("appended");
    assert_eq!(texts(&mut reader), ["two"]);
}

#[test]
fn records_that_may_be_taken_back_are_not_read() {
    let dir = Dir::new();
    let spool = spool(&dir, 1 << 20);
    let kept = Arc::new(AtomicU64::new(1));
    let mut reader = Reader::from_start(dir.path())
        .expect("opened")
        .up_to(Arc::clone(&kept));
    spool.append(&record("one")).expect("appended");
    assert!(texts(&mut reader).is_empty());
    kept.store(2, Ordering::Release);
    assert_eq!(texts(&mut reader), ["one"]);
}

#[test]
fn a_changed_byte_and_a_removed_segment_are_told() {
    let dir = Dir::new();
    let spool = spool(&dir, 3000);
    for count in 0..20 {
        spool.append(&record(&count.to_string())).expect("appended");
    }
    let path = dir.path().join(segment::file_name(2));
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let mut reader = Reader::new(
        dir.path(),
        Position {
            segment: 2,
            offset: 0,
        },
    );
    assert!(matches!(reader.next(), Err(ReadError::Damaged { .. })));
    std::fs::remove_file(dir.path().join(segment::file_name(1))).expect("removed");
    let mut reader = Reader::new(
        dir.path(),
        Position {
            segment: 1,
            offset: 0,
        },
    );
    assert!(matches!(
        reader.next(),
        Err(ReadError::Removed {
            segment: 1,
            first: 2
        })
    ));
}

#[test]
fn a_time_finds_its_segment() {
    let dir = Dir::new();
    let spool = spool(&dir, 3000);
    for count in 0..20 {
        let mut record = record(&count.to_string());
        record.time = std::time::SystemTime::now();
        spool.append(&record).expect("appended");
    }
    let mut all = Reader::from_start(dir.path()).expect("opened");
    let mut time = String::new();
    while let Some(line) = all.next().expect("read") {
        let entry = line.entry().expect("an entry");
        if entry.text.as_deref() == Some("11") {
            time = entry.time;
        }
    }
    let mut reader = Reader::since(dir.path(), &Bound::Time(time)).expect("opened");
    assert!(reader.position().segment > 1);
    let found = texts(&mut reader);
    assert!(found.contains(&"11".to_owned()), "{found:?}");
    assert!(!found.contains(&"0".to_owned()), "{found:?}");
}
