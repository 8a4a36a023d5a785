//! `pgveil audit search` as a command: what it prints and how it exits.
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use pgveil::audit::{Event, Record, Spool, SpoolSettings, VerdictRecord};

struct Folder(PathBuf);

impl Folder {
    /// A spool of several segments, a record of ann's in every tenth place.
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("pgveil-search-cli-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let settings = SpoolSettings {
            segment_bytes: 20_000,
            ..SpoolSettings::default()
        };
        let folder = Folder(path);
        let spool = Spool::open(&folder.0, settings).expect("opened");
        for number in 0..200_u64 {
            let person = if number % 10 == 0 { "ann" } else { "=bob" };
            let record = Record {
                session: Some(number),
                db_user: Some(person.into()),
                role: Some("agent".into()),
                kind: Some("SELECT".into()),
                reads: vec!["crm.contacts".to_owned()].into(),
                masked: vec!["crm.contacts.phone".to_owned()].into(),
                verdict: Some(VerdictRecord::Rewrite),
                rows: Some(number),
                ..Record::new(
                    Event::Statement,
                    SystemTime::UNIX_EPOCH + Duration::from_secs(number * 3600),
                )
            };
            spool.append(&record).expect("appended");
        }
        folder
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgveil"));
        command.args(["audit", "search"]).args(arguments);
        command.current_dir(&self.0);
        command
    }

    fn search(&self, arguments: &[&str]) -> String {
        let output = self
            .command(arguments)
            .args(["--dir", "."])
            .output()
            .expect("pgveil runs");
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        String::from_utf8(output.stdout).expect("utf-8")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn records_are_found_over_all_segments_in_three_forms() {
    let folder = Folder::new("forms");
    let json = folder.search(&["--person", "ann", "--format", "json"]);
    assert_eq!(json.lines().count(), 20);
    assert!(json.lines().all(|line| line.starts_with("{\"hash\":")));
    let table = folder.search(&["--person", "ann"]);
    assert_eq!(table.lines().count(), 21, "{table}");
    assert!(table.contains("1970-01-01 10:00:00 ann "), "{table}");
    let csv = folder.search(&["--person", "=*", "--format", "csv", "--limit", "2"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(lines[1].contains(",'=bob,"), "no formula: {csv}");
}

#[test]
fn a_time_begins_and_ends_it_and_nothing_found_is_no_failure() {
    let folder = Folder::new("times");
    let span = [
        "--from",
        "1970-01-02",
        "--to",
        "1970-01-03",
        "--format",
        "json",
    ];
    assert_eq!(folder.search(&span).lines().count(), 24);
    assert_eq!(
        folder.search(&["--class", "phone"]),
        "",
        "no policy is at hand"
    );
    assert_eq!(folder.search(&["--person", "eve"]), "");
}

#[test]
fn the_policy_of_the_configuration_tells_the_classes_of_columns() {
    let folder = Folder::new("classes");
    let policy = "version: 1\ndata: { phone: { columns: [crm.contacts.phone] } }\n\
                  roles: { dpo: { who: [{ db_user: dpo }], unmasked: true } }\n";
    fs::write(folder.0.join("policy.yaml"), policy).expect("written");
    let config = "upstream: { host: 127.0.0.1, catalog_user: { name: pgveil } }\n\
                  policies: policy.yaml\naudit: { dir: . }\n";
    fs::write(folder.0.join("pgveil.yaml"), config).expect("written");
    for (class, expected) in [("phone", 200), ("salary", 0)] {
        let output = folder
            .command(&["--class", class, "--format", "json"])
            .output()
            .expect("pgveil runs");
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let found = String::from_utf8_lossy(&output.stdout).lines().count();
        assert_eq!(found, expected, "{class}");
    }
}

#[test]
fn what_is_written_later_is_followed() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::new("follow");
    let mut command = folder.command(&[
        "--dir", ".", "--event", "policy", "--follow", "--format", "json",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("pgveil runs");
    let spool = Spool::open(&folder.0, SpoolSettings::default()).expect("opened");
    spool
        .append(&Record::new(Event::Policy, SystemTime::now()))
        .expect("appended");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("output"))
        .read_line(&mut line)
        .expect("a line");
    child.kill().expect("ended");
    child.wait().expect("ended");
    assert!(line.contains("\"event\":\"policy\""), "{line}");
}

#[test]
fn a_damaged_record_is_named() {
    let folder = Folder::new("damaged");
    let segment = folder.0.join("audit-000001.jsonl");
    let text = fs::read_to_string(&segment).expect("read");
    fs::write(&segment, text.replacen("\"rows\":7}", "\"rows\":9}", 1)).expect("written");
    let output = folder
        .command(&["--dir", "."])
        .output()
        .expect("pgveil runs");
    assert_eq!(output.status.code(), Some(1));
    let told = errors(&output);
    assert!(told.contains("audit-000001.jsonl at byte "), "{told}");
    assert!(told.contains("pgveil audit verify"), "{told}");
}
