use super::*;
use crate::audit::fixture::{Dir, record};
use crate::audit::spool::PUBLIC_KEY_FILE;
use crate::audit::{Spool, SpoolSettings};

/// A chain of 12 records and some checkpoints in several segments.
struct Chain(Dir);

impl Chain {
    fn new() -> Self {
        Chain::of(12)
    }

    fn of(records: usize) -> Self {
        let chain = Chain(Dir::new());
        let spool = chain.spool();
        for number in 2..=records {
            let record = record(&format!("SELECT {number}"));
            spool.append(&record).expect("appended");
        }
        drop(spool);
        chain
    }

    fn spool(&self) -> Spool {
        let settings = SpoolSettings {
            segment_bytes: 1900,
            ..SpoolSettings::default()
        };
        Spool::open(self.0.path(), settings).expect("opened")
    }

    fn key(&self) -> PublicKey {
        PublicKey::read(&self.0.path().join(PUBLIC_KEY_FILE)).expect("a key")
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.0.path().join(segment::file_name(segment))
    }

    fn lines(&self, segment: u64) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(segment)).expect("read");
        text.lines().map(str::to_owned).collect()
    }

    fn edit(&self, segment: u64, change: impl FnOnce(&mut Vec<String>)) {
        let mut lines = self.lines(segment);
        change(&mut lines);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.path(segment), text).expect("written");
    }

    fn signed(&self) -> Expectation {
        Expectation {
            keys: vec![self.key()],
            ..Expectation::default()
        }
    }

    fn verify(&self) -> Result<Report, VerifyError> {
        verify(self.0.path(), &self.signed())
    }

    /// File name and line of the first broken place, and what is said about it.
    fn broken(&self) -> (String, u64, Fault) {
        match self.verify() {
            Err(VerifyError::Broken {
                file, line, fault, ..
            }) => {
                let name = file.file_name().expect("a name").to_string_lossy().into();
                (name, line, fault)
            }
            other => panic!("expected a broken place, got {other:?}"),
        }
    }
}

fn in_file(segment: u64) -> String {
    segment::file_name(segment)
}

#[test]
fn an_untouched_chain_is_sound() {
    let chain = Chain::new();
    let report = chain.verify().expect("sound");
    assert_eq!(report.records, 12 + report.checkpoints);
    assert_eq!((report.first, report.last), (1, report.records));
    assert!(report.segments >= 3, "{report:?}");
    assert_eq!(report.keys, [chain.key().id()]);
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let chain = Chain::new();
    let bytes = std::fs::read(chain.path(2)).expect("read");
    let mut line = 1;
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        std::fs::write(chain.path(2), &changed).expect("written");
        let (file, at, _) = chain.broken();
        assert_eq!((file, at), (in_file(2), line), "byte {place}");
        line += u64::from(bytes[place] == b'\n');
    }
}

#[test]
fn a_changed_text_is_called_changed() {
    let chain = Chain::new();
    chain.edit(2, |lines| lines[1] = lines[1].replace("SELECT", "DELETE"));
    assert_eq!(
        chain.broken(),
        (in_file(2), 2, Fault::Line(LineError::Changed))
    );
}

#[test]
fn a_line_of_something_else_is_named() {
    let chain = Chain::new();
    chain.edit(1, |lines| lines.insert(1, "hello".to_owned()));
    assert_eq!(
        chain.broken(),
        (in_file(1), 2, Fault::Line(LineError::Layout))
    );
}

#[test]
fn a_missing_record_is_named() {
    let chain = Chain::new();
    chain.edit(1, |lines| {
        lines.remove(1);
    });
    assert_eq!(
        chain.broken(),
        (in_file(1), 2, Fault::Missing { from: 2, to: 2 })
    );
}

#[test]
fn missing_first_and_last_records_of_a_segment_are_named() {
    let chain = Chain::new();
    chain.edit(1, |lines| {
        lines.remove(0);
    });
    assert_eq!(
        chain.broken(),
        (in_file(1), 1, Fault::MissingStart { to: 1 })
    );
    let chain = Chain::new();
    let count = chain.lines(1).len() as u64;
    chain.edit(1, |lines| {
        lines.pop();
    });
    let gap = Fault::Missing {
        from: count,
        to: count,
    };
    assert_eq!(chain.broken(), (in_file(2), 1, gap));
}

#[test]
fn a_doubled_record_is_named() {
    let chain = Chain::new();
    chain.edit(1, |lines| lines.insert(2, lines[1].clone()));
    assert_eq!(chain.broken(), (in_file(1), 3, Fault::Doubled { seq: 2 }));
}

#[test]
fn reordered_records_are_named() {
    let chain = Chain::new();
    chain.edit(1, |lines| lines.swap(1, 2));
    let fault = Fault::Reordered {
        expected: 2,
        found: 3,
    };
    assert_eq!(chain.broken(), (in_file(1), 2, fault));
}

#[test]
fn reordering_across_segments_is_named() {
    let chain = Chain::new();
    let (one, two) = (chain.lines(1)[1].clone(), chain.lines(2)[0].clone());
    chain.edit(1, |lines| lines[1] = two);
    chain.edit(2, |lines| lines[0] = one);
    let (file, line, fault) = chain.broken();
    assert_eq!((file, line), (in_file(1), 2));
    assert!(matches!(fault, Fault::Reordered { expected: 2, .. }));
}

#[test]
fn a_record_cut_off_at_any_byte_is_named() {
    let chain = Chain::new();
    let report = chain.verify().expect("sound");
    let last = chain.path(report.segments);
    let bytes = std::fs::read(&last).expect("read");
    let line = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    let start = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    for end in start + 1..bytes.len() {
        std::fs::write(&last, &bytes[..end]).expect("written");
        assert_eq!(
            chain.broken(),
            (in_file(report.segments), line, Fault::NoNewline),
            "{end}"
        );
    }
}

#[test]
fn a_record_cut_off_in_the_middle_of_a_segment_is_named() {
    let chain = Chain::new();
    chain.edit(1, |lines| lines[1].truncate(100));
    assert_eq!(
        chain.broken(),
        (in_file(1), 2, Fault::Line(LineError::Truncated))
    );
}

#[test]
fn a_missing_segment_is_named() {
    let chain = Chain::new();
    std::fs::remove_file(chain.path(2)).expect("removed");
    let fault = Fault::MissingSegment { number: 2 };
    assert_eq!(chain.broken(), (in_file(3), 1, fault));
    let chain = Chain::new();
    let to = chain.lines(1).len() as u64;
    std::fs::remove_file(chain.path(1)).expect("removed");
    assert_eq!(chain.broken(), (in_file(2), 1, Fault::MissingStart { to }));
}

#[test]
fn a_record_replaced_together_with_its_hash_is_named_at_the_next() {
    let chain = Chain::new();
    chain.edit(1, |lines| {
        let link = chain::unseal(lines[1].as_bytes()).expect("sound");
        let mut forged = Vec::new();
        chain::seal(&mut forged, link.prev, link.seq, br#"{"event":"stop"}"#);
        forged.pop();
        lines[1] = String::from_utf8(forged).expect("utf-8");
    });
    assert_eq!(chain.broken(), (in_file(1), 3, Fault::Unlinked { seq: 3 }));
}

#[test]
fn the_segments_of_another_chain_do_not_fit() {
    let (ours, other) = (Chain::new(), Chain::new());
    std::fs::copy(other.path(2), ours.path(2)).expect("copied");
    let (file, line, fault) = ours.broken();
    assert_eq!((file, line), (in_file(2), 1));
    assert!(matches!(fault, Fault::Unlinked { .. }));
}

#[test]
fn a_first_record_that_begins_no_chain_is_named() {
    let chain = Chain::new();
    chain.edit(1, |lines| {
        let link = chain::unseal(lines[1].as_bytes()).expect("sound");
        let mut forged = Vec::new();
        chain::seal(
            &mut forged,
            link.hash,
            1,
            br#"{"event":"chain","chain":"x"}"#,
        );
        forged.pop();
        lines[0] = String::from_utf8(forged).expect("utf-8");
    });
    assert_eq!(chain.broken(), (in_file(1), 1, Fault::Genesis));
}

#[test]
fn an_end_cut_off_at_a_line_shows_against_a_noted_hash() {
    let chain = Chain::new();
    let report = chain.verify().expect("sound");
    let noted = Expectation {
        through: Some(report.head),
        ..Expectation::default()
    };
    verify(chain.0.path(), &noted).expect("the chain contains its head");
    std::fs::remove_file(chain.path(report.segments)).expect("removed");
    chain.verify().expect("nothing else shows it");
    assert!(matches!(
        verify(chain.0.path(), &noted),
        Err(VerifyError::Broken {
            fault: Fault::NotReached { .. },
            ..
        })
    ));
}

#[test]
fn a_chain_whose_old_segments_are_archived_is_checked_from_where_it_begins() {
    let chain = Chain::new();
    std::fs::remove_file(chain.path(1)).expect("removed");
    let partial = Expectation {
        partial: true,
        ..Expectation::default()
    };
    let report = verify(chain.0.path(), &partial).expect("sound");
    assert!(report.first > 1);
    assert!(report.last > 12);
}

#[test]
fn a_directory_without_a_chain_is_an_error() {
    let chain = Chain::new();
    for (_, path) in segment::list(chain.0.path()).expect("listed") {
        std::fs::remove_file(path).expect("removed");
    }
    assert!(matches!(chain.verify(), Err(VerifyError::Empty { .. })));
}

#[test]
fn a_message_names_file_line_and_fault() {
    let chain = Chain::new();
    chain.edit(2, |lines| lines[1] = lines[1].replace("SELECT", "DELETE"));
    let message = chain.verify().expect_err("broken").to_string();
    assert!(
        message.ends_with("audit-000002.jsonl:2: the record was changed: its bytes do not have the hash it carries"),
        "{message}"
    );
}

/// The chain as somebody would have it who may write the files and has not got the key: all lines of a segment from one
/// on computed anew, their text changed.
fn computed_anew(chain: &Chain, segment: u64, from: usize) {
    chain.edit(segment, |lines| {
        let mut prev = chain::unseal(lines[from - 1].as_bytes())
            .expect("sound")
            .hash;
        for line in lines.iter_mut().skip(from) {
            let link = chain::unseal(line.as_bytes()).expect("sound");
            let body = line[chain::SEALED..].split_once(',').expect("a body").1;
            let body = format!("{{{}", body.replace("SELECT", "DELETE"));
            let mut forged = Vec::new();
            prev = chain::seal(&mut forged, prev, link.seq, body.as_bytes());
            forged.pop();
            *line = String::from_utf8(forged).expect("utf-8");
        }
    });
}

#[test]
fn a_chain_computed_anew_without_the_key_shows_at_the_next_checkpoint() {
    let chain = Chain::new();
    chain.spool().checkpoint().expect("signed");
    let report = chain.verify().expect("sound");
    computed_anew(&chain, report.segments, 1);
    let (_, _, fault) = chain.broken();
    let seq = report.last;
    assert_eq!(fault, Fault::Checkpoint { seq });
}

#[test]
fn a_checkpoint_that_another_key_signed_is_named() {
    let (chain, other) = (Chain::new(), Chain::new());
    let expectation = Expectation {
        keys: vec![other.key()],
        ..Expectation::default()
    };
    let error = verify(chain.0.path(), &expectation).expect_err("another key");
    assert!(error.to_string().contains(chain.key().id()), "{error}");
    let both = Expectation {
        keys: vec![other.key(), chain.key()],
        ..Expectation::default()
    };
    verify(chain.0.path(), &both).expect("one of the keys signed");
}

#[test]
fn a_chain_that_goes_on_without_signatures_is_named() {
    let chain = Chain::of(3);
    chain.spool().checkpoint().expect("signed");
    let signed = chain.verify().expect("sound");
    let mut lines = Vec::new();
    let (mut prev, mut seq) = (signed.head, signed.last);
    for _ in 0..MAX_UNSIGNED {
        seq += 1;
        prev = chain::seal(&mut lines, prev, seq, br#"{"event":"statement"}"#);
    }
    let segment = chain.path(signed.segments);
    let mut bytes = std::fs::read(&segment).expect("read");
    bytes.extend_from_slice(&lines);
    std::fs::write(&segment, bytes).expect("written");
    chain.verify().expect("as many may be unsigned yet");
    let mut one_more = std::fs::read(&segment).expect("read");
    chain::seal(&mut one_more, prev, seq + 1, br#"{"event":"stop"}"#);
    std::fs::write(&segment, one_more).expect("written");
    let (_, _, fault) = chain.broken();
    let from = signed.last + 1;
    assert_eq!(fault, Fault::Unsigned { from, to: seq + 1 });
}

#[test]
fn a_part_of_a_chain_is_checked_from_a_segment_to_a_record() {
    let chain = Chain::new();
    let expectation = Expectation {
        from_segment: Some(2),
        to: Some(Bound::Seq(11)),
        ..chain.signed()
    };
    let report = verify(chain.0.path(), &expectation).expect("sound");
    assert_eq!(report.first, chain.lines(1).len() as u64 + 1);
    assert_eq!(report.last, 10);
}

#[test]
fn the_event_of_a_line_is_found_where_a_text_names_another() {
    let chain = Chain(Dir::new());
    let spool = chain.spool();
    spool
        .append(&record("SELECT '\"event\":\"checkpoint\"'"))
        .expect("appended");
    let lines = chain.lines(1);
    assert_eq!(event(lines[0].as_bytes()), Some(&b"chain"[..]));
    assert_eq!(event(lines[1].as_bytes()), Some(&b"statement"[..]));
    chain.verify().expect("sound");
}
