use super::*;
use crate::audit::classes::ClassColumns;
use crate::audit::entry::{ColumnsEntry, Entry};
use crate::audit::glob::Glob;
use crate::audit::record::rfc3339;
use std::time::{Duration, UNIX_EPOCH};

fn traps() -> Classes {
    Classes::new(vec![ClassColumns {
        class: "trap".to_owned(),
        level: None,
        columns: vec![["crm", "vip_customers", "*"].map(|name| match name {
            "*" => Glob::Pieces(vec![String::new(); 2]),
            name => Glob::Exact(name.to_owned()),
        })],
    }])
}

/// A statement of ann's.
fn statement(seq: u64, at: u64) -> Entry {
    Entry {
        seq,
        time: rfc3339(UNIX_EPOCH + Duration::from_secs(at)),
        event: "statement".to_owned(),
        db_user: Some("ann".to_owned()),
        ..Entry::default()
    }
}

fn lookup(seq: u64, at: u64, rows: u64) -> Entry {
    Entry {
        lookups: vec!["crm.contacts.phone".to_owned()],
        rows: Some(rows),
        ..statement(seq, at)
    }
}

fn read(seq: u64, at: u64, rows: u64) -> Entry {
    Entry {
        rows: Some(rows),
        bytes: Some(rows * 100),
        ..statement(seq, at)
    }
}

/// The alarms that a stream raises, and the records that raised them.
fn alarms(entries: impl IntoIterator<Item = Entry>) -> Vec<(Kind, u64)> {
    alarms_with(&Thresholds::default(), entries)
}

fn alarms_with(
    thresholds: &Thresholds,
    entries: impl IntoIterator<Item = Entry>,
) -> Vec<(Kind, u64)> {
    let mut detector = Detector::default();
    let traps = traps();
    entries
        .into_iter()
        .filter_map(|entry| Observed::of_entry(&entry))
        .flat_map(|observed| detector.take(&observed, &traps, thresholds))
        .map(|alarm| (alarm.kind, alarm.seq))
        .collect()
}

const DAY: u64 = 86_400;

#[test]
fn sixty_lookups_within_a_minute_are_an_alarm_and_within_an_hour_are_not() {
    let fast = (1..=100).map(|seq| lookup(seq, 600 + seq / 2, 1));
    assert_eq!(alarms(fast), [(Kind::Enumeration, 60)]);
    let slow = (1..=100).map(|seq| lookup(seq, 600 + seq * 36, 1));
    assert_eq!(alarms(slow), []);
}

#[test]
fn what_is_many_is_measured_by_what_the_person_usually_does() {
    // Two lookups a minute for an hour, then 25 within one.
    let usual = (0..60).flat_map(|minute| (0..2).map(move |second| (minute * 60 + second, 1)));
    let burst = (0..25).map(|second| (7200 + second, 1));
    let stream = |usual: Vec<(u64, u64)>| {
        let all = usual.into_iter().chain(burst.clone());
        let numbered = all.zip(1..).map(|((at, rows), seq)| lookup(seq, at, rows));
        alarms(numbered.collect::<Vec<_>>())
    };
    assert_eq!(stream(usual.collect()), [(Kind::Enumeration, 120 + 20)]);
    // Ten a minute are usual for this one.
    let busy = (0..60).flat_map(|minute| (0..10).map(move |second| (minute * 60 + second, 1)));
    assert_eq!(stream(busy.collect()), []);
}

#[test]
fn lookups_that_find_nothing_are_probing() {
    let stream = |hits: u64| {
        let lookups =
            (1..=40).map(move |seq| lookup(seq, 600 + seq * 14, u64::from(seq % 10 < hits)));
        alarms(lookups)
    };
    assert_eq!(stream(1), [(Kind::Probing, 20)]);
    assert_eq!(stream(5), []);
}

#[test]
fn an_alarm_about_the_same_is_not_raised_again_at_once() {
    let stream = (1..=3600).map(|seq| lookup(seq, 600 + seq / 2, 1));
    let raised = alarms(stream);
    assert_eq!(
        raised.len(),
        3,
        "half an hour at one in ten minutes: {raised:?}"
    );
}

#[test]
fn far_more_than_usual_within_an_hour_and_a_day_is_an_alarm_each_once() {
    // Ten working days of eight hours with 200 rows each.
    let hours = (0..10).flat_map(|day| (0..8).map(move |hour| day * DAY + hour * 3600));
    let usual: Vec<(u64, u64)> = hours.map(|at| (at, 200)).collect();
    let theft = (0..100).map(|number| (10 * DAY + number * 30, 100));
    let stream = |theft: Vec<(u64, u64)>| {
        let all = usual.iter().copied().chain(theft);
        alarms(all.zip(1..).map(|((at, rows), seq)| read(seq, at, rows)))
    };
    let raised = stream(theft.collect());
    assert_eq!(raised, [(Kind::Volume, 80 + 10), (Kind::Volume, 80 + 80)]);
    assert_eq!(stream(vec![(10 * DAY, 900)]), [], "below the least");
}

#[test]
fn of_a_newcomer_nothing_is_unusual_yet_and_writes_take_nothing_out() {
    let newcomer = (1..=20).map(|seq| read(seq, seq * 3600, 50_000));
    assert_eq!(alarms(newcomer), []);
    let usual = (1..=100).map(|seq| read(seq, seq * 3600, 10));
    let import = Entry {
        bytes: Some(0),
        ..read(101, 101 * 3600, 1_000_000)
    };
    assert_eq!(alarms(usual.chain([import])), []);
}

#[test]
fn every_threshold_is_what_the_settings_say() {
    let mut thresholds = Thresholds::default();
    thresholds.enumeration.per_minute = 7;
    let fast: Vec<Entry> = (1..=50).map(|seq| lookup(seq, 600 + seq / 2, 1)).collect();
    assert_eq!(alarms(fast.clone()), []);
    assert_eq!(
        alarms_with(&thresholds, fast),
        [(Kind::Enumeration, 7)],
        "per_minute"
    );

    // Two lookups a minute for an hour, then 25 within one.
    let minutes = (0..60).flat_map(|minute| (0..2).map(move |second| minute * 60 + second));
    let all = minutes.chain((0..25).map(|second| 7200 + second));
    let burst: Vec<Entry> = all.zip(1..).map(|(at, seq)| lookup(seq, at, 1)).collect();
    let with = |least, times_usual| {
        let mut thresholds = Thresholds::default();
        (
            thresholds.enumeration.least,
            thresholds.enumeration.times_usual,
        ) = (least, times_usual);
        alarms_with(&thresholds, burst.clone())
    };
    assert_eq!(with(10, 5), [(Kind::Enumeration, 120 + 10)]);
    assert_eq!(with(26, 5), []);
    assert_eq!(with(2, 12), [(Kind::Enumeration, 120 + 24)]);

    let mut thresholds = Thresholds::default();
    (thresholds.probing.least, thresholds.probing.empty) = (10, 50);
    let half: Vec<Entry> = (1..=40)
        .map(|seq| lookup(seq, 600 + seq * 14, seq % 2))
        .collect();
    assert_eq!(alarms(half.clone()), []);
    assert_eq!(alarms_with(&thresholds, half), [(Kind::Probing, 10)]);

    let days = (0..10).flat_map(|day| (0..8).map(move |hour| day * DAY + hour * 3600));
    let usual = days.map(|at| (at, 20)).chain([(10 * DAY, 70)]);
    let usual: Vec<Entry> = usual
        .zip(1..)
        .map(|((at, rows), seq)| read(seq, at, rows))
        .collect();
    assert_eq!(alarms(usual.clone()), []);
    let mut thresholds = Thresholds::default();
    (thresholds.volume.per_hour, thresholds.volume.times_usual) = (60, 3);
    assert_eq!(
        alarms_with(&thresholds, usual.clone()),
        [(Kind::Volume, 81)]
    );
    thresholds.volume.times_usual = 4;
    assert_eq!(alarms_with(&thresholds, usual), []);
}

#[test]
fn touching_a_trap_is_an_alarm_at_once_in_whatever_way() {
    let column = || vec!["crm.vip_customers.phone".to_owned()];
    let touching = [
        Entry {
            classes: vec!["trap".to_owned()],
            ..statement(1, 0)
        },
        Entry {
            masked: column(),
            ..statement(1, 0)
        },
        Entry {
            lookups: column(),
            ..statement(1, 0)
        },
        Entry {
            event: "refusal".to_owned(),
            columns: ColumnsEntry {
                filtered: column(),
                ..ColumnsEntry::default()
            },
            ..statement(1, 0)
        },
        Entry {
            columns: ColumnsEntry {
                projected: vec!["crm.vip_customers.*".to_owned()],
                ..ColumnsEntry::default()
            },
            ..statement(1, 0)
        },
    ];
    for entry in touching {
        assert_eq!(
            alarms([entry.clone()]),
            [(Kind::Honeytoken, 1)],
            "{entry:?}"
        );
    }
    let elsewhere = Entry {
        masked: vec!["crm.contacts.phone".to_owned()],
        ..statement(1, 0)
    };
    assert_eq!(alarms([elsewhere]), []);
}

#[test]
fn a_trap_touched_in_a_loop_raises_one_alarm_a_minute() {
    let stream = (0..300).map(|second| Entry {
        classes: vec!["trap".to_owned()],
        ..statement(second + 1, 1000 + second)
    });
    assert_eq!(alarms(stream).len(), 5);
}

#[test]
fn alarms_raise_no_alarms() {
    let alarm = Entry {
        event: "alarm".to_owned(),
        classes: vec!["trap".to_owned()],
        lookups: vec!["crm.contacts.phone".to_owned()],
        ..statement(1, 0)
    };
    assert_eq!(alarms(std::iter::repeat_n(alarm, 1000)), []);
}

#[test]
fn a_violation_is_an_alarm() {
    let violation = Entry {
        event: "violation".to_owned(),
        ..statement(9, 0)
    };
    assert_eq!(alarms([violation]), [(Kind::Violation, 9)]);
}

#[test]
fn what_is_remembered_outlives_a_restart() {
    let stream: Vec<Entry> = (1..=100).map(|seq| lookup(seq, 600 + seq / 2, 1)).collect();
    let traps = traps();
    let mut detector = Detector::default();
    let mut raised = Vec::new();
    for entry in &stream {
        let observed = Observed::of_entry(entry).expect("a statement");
        raised.extend(detector.take(&observed, &traps, &Thresholds::default()));
        let kept = serde_json::to_string(&detector).expect("json");
        detector = serde_json::from_str(&kept).expect("read again");
    }
    let raised: Vec<_> = raised.iter().map(|alarm| (alarm.kind, alarm.seq)).collect();
    assert_eq!(raised, alarms(stream));
}

#[test]
fn a_label_is_the_name_in_json() {
    for kind in Kind::ALL {
        assert_eq!(serde_json::to_value(kind).expect("json"), kind.label());
    }
}
