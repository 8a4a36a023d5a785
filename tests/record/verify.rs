//! `pgveil audit verify` as a command: what it prints and how it exits.
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::SystemTime;

use pgveil::audit::{Event, Record, Spool, SpoolSettings};

struct Folder(PathBuf);

impl Folder {
    /// A folder with a configuration and a chain of four records.
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("pgveil-verify-cli-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let folder = Folder(path);
        let spool = Spool::open(&folder.dir(), SpoolSettings::default()).expect("opened");
        for _ in 0..3 {
            spool
                .append(&Record::new(Event::Statement, SystemTime::now()))
                .expect("appended");
        }
        folder
    }

    fn dir(&self) -> PathBuf {
        self.0.join("var/audit")
    }

    fn edit(&self, change: impl FnOnce(String) -> String) {
        let segment = self.dir().join("audit-000001.jsonl");
        let text = fs::read_to_string(&segment).expect("read");
        fs::write(&segment, change(text)).expect("written");
    }

    fn verify(&self, arguments: &[&str]) -> (i32, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_pgveil"))
            .args(["audit", "verify", "--dir"])
            .arg(self.dir())
            .args(arguments)
            .output()
            .expect("pgveil runs");
        let text =
            String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.code().expect("an exit code"), text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_sound_chain_exits_with_0_and_prints_the_hash_to_note() {
    let folder = Folder::new("sound");
    let (code, text) = folder.verify(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with(
            "the audit chain is sound: 4 records (1 to 4) in 1 segment\nno signature was checked yet: the chain has no checkpoint\nlast hash: "
        ),
        "{text}"
    );
    let hash = text.trim().rsplit(' ').next().expect("a hash").to_owned();
    assert_eq!(folder.verify(&["--through", &hash]).0, 0);
    folder.edit(|text| {
        text.lines()
            .take(3)
            .map(|line| format!("{line}\n"))
            .collect()
    });
    let (code, text) = folder.verify(&["--through", &hash]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("records were cut off its end"), "{text}");
}

#[test]
fn a_changed_record_exits_with_1_and_names_its_place() {
    let folder = Folder::new("changed");
    folder.edit(|text| {
        text.replacen(
            "\"seq\":3,\"schema_version\":1",
            "\"seq\":3,\"schema_version\":2",
            1,
        )
    });
    let (code, text) = folder.verify(&[]);
    assert_eq!(code, 1);
    assert!(
        text.contains("audit-000001.jsonl:3: the record was changed"),
        "{text}"
    );
    let (code, text) = folder.verify(&["--format", "json"]);
    assert_eq!(code, 1);
    let json: serde_json::Value = serde_json::from_str(&text).expect("json");
    assert_eq!(
        (json["sound"].as_bool(), json["line"].as_u64()),
        (Some(false), Some(3))
    );
}

#[test]
fn a_directory_without_records_is_an_error_of_the_environment() {
    let folder = Folder::new("empty");
    fs::remove_dir_all(folder.dir()).expect("removed");
    let (code, text) = folder.verify(&[]);
    assert_eq!(code, 1);
    assert!(text.starts_with("error: "), "{text}");
}

#[test]
fn wrong_usage_exits_with_2() {
    let folder = Folder::new("usage");
    assert_eq!(folder.verify(&["--through", "x"]).0, 2);
    assert_eq!(folder.verify(&["--config", "pgveil.yaml"]).0, 2);
}

#[test]
fn a_pipe_closed_early_is_no_crash() {
    let folder = Folder::new("pipe");
    let shell = format!(
        "'{}' completions bash | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_pgveil")
    );
    let status = Command::new("bash")
        .args(["-c", &shell])
        .current_dir(&folder.0)
        .status()
        .expect("bash");
    assert_ne!(status.code(), Some(101), "a panic");
}
