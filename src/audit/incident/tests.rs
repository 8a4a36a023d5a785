use super::*;
use crate::audit::detect::Kind;
use crate::audit::fixture::Dir;

fn alarm(person: &str, seq: u64) -> Alarm {
    Alarm {
        kind: Kind::Honeytoken,
        person: person.to_owned(),
        seq,
        message: "a statement touched a column of trap".to_owned(),
        classes: vec!["trap".to_owned()],
    }
}

fn evidence(seq: u64) -> Evidence {
    Evidence {
        seq,
        hash: format!("{seq:064x}"),
        time: String::new(),
        position: Position {
            segment: 1,
            offset: 0,
        },
    }
}

/// 2026-11-22T07:21:36Z
const NOW: u64 = 1_795_332_096;

#[test]
fn the_clock_runs_for_72_hours_from_the_first_alarm() {
    let incident = Incident::open(&alarm("eve", 4711), "c", "k", NOW);
    assert_eq!(incident.id, "20261122-4711");
    assert_eq!(incident.opened, "2026-11-22T07:21:36.000000Z");
    assert_eq!(incident.notify_by, "2026-11-25T07:21:36.000000Z");
}

#[test]
fn alarms_about_the_same_person_within_a_day_belong_together() {
    let mut incident = Incident::open(&alarm("eve", 1), "c", "k", NOW);
    incident.add(&alarm("eve", 1), &Entry::default(), evidence(1), NOW);
    assert!(incident.takes(&alarm("eve", 2), NOW + STAYS_OPEN - 1));
    assert!(!incident.takes(&alarm("eve", 2), NOW + STAYS_OPEN));
    assert!(!incident.takes(&alarm("ann", 2), NOW));
    let violation = Alarm {
        kind: Kind::Violation,
        ..alarm("eve", 2)
    };
    assert!(!incident.takes(&violation, NOW));
}

#[test]
fn a_file_holds_what_the_records_say_in_bounded_size() {
    let dir = Dir::new();
    let mut incident = Incident::open(&alarm("eve", 1), "c", "k", NOW);
    for seq in 1..=2 * MAX_EVIDENCE as u64 {
        let entry = Entry {
            time: rfc3339(UNIX_EPOCH + Duration::from_secs(NOW + seq)),
            db_user: Some(format!("user{seq}")),
            client_addr: "10.0.0.9:5000".parse().ok(),
            reads: vec!["crm.vip".to_owned()],
            rows: Some(2),
            ..Entry::default()
        };
        incident.add(&alarm("eve", seq), &entry, evidence(seq), NOW + seq);
        // Looked at again after a crash.
        incident.add(&alarm("eve", 1), &entry, evidence(1), NOW + seq);
    }
    assert_eq!(incident.alarms, 2 * MAX_EVIDENCE as u64);
    assert_eq!(incident.rows, 4 * MAX_EVIDENCE as u64);
    assert_eq!(incident.evidence.len(), MAX_EVIDENCE);
    assert_eq!(incident.evidence_beyond, MAX_EVIDENCE as u64);
    assert_eq!(incident.db_users.len(), MAX_NAMES);
    assert!(incident.client_addresses.contains("10.0.0.9"));
    save(dir.path(), &incident).expect("saved");
    assert_eq!(find(dir.path(), &incident.id).expect("found"), incident);
    assert_eq!(list(dir.path()).expect("listed"), [incident]);
    for unknown in ["x", "../../etc/passwd", "20261122-9", ""] {
        let found = find(dir.path(), unknown);
        assert!(matches!(found, Err(IncidentError::Unknown(_))), "{unknown}");
    }
}

#[test]
fn only_the_owner_reads_an_incident() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let incident = Incident::open(&alarm("eve", 1), "c", "k", NOW);
    save(dir.path(), &incident).expect("saved");
    let mode = |path: PathBuf| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    let folder = dir.path().join(FOLDER);
    assert_eq!(mode(folder.join("20261122-1.json")), 0o600);
    assert_eq!(mode(folder), 0o700);
}
