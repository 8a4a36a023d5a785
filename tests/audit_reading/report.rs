//! `pgveil audit report` as a command.
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use crate::story;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, statements: u64) -> Folder {
        let path =
            std::env::temp_dir().join(format!("pgveil-report-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        story::write(&path.join("audit"), statements, 30);
        fs::write(path.join("policy.yaml"), story::POLICY).expect("written");
        let config = "upstream: { host: 127.0.0.1, catalog_user: { name: pgveil } }\n\
                      policies: policy.yaml\naudit: { dir: audit }\n";
        fs::write(path.join("pgveil.yaml"), config).expect("written");
        Folder(path)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_pgveil"))
            .arg("audit")
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .expect("pgveil runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}");
        output
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // `PGVEIL_KEEP_REPORT` leaves it there, to be looked at.
        if std::env::var_os("PGVEIL_KEEP_REPORT").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

#[test]
fn a_report_is_one_file_that_needs_no_other_in_both_languages() {
    let folder = Folder::new("page", 10_000);
    for (language, title) in [
        ("en", "Access to personal and sensitive data"),
        ("zh", "个人与敏感数据访问报告"),
    ] {
        let name = format!("{language}.html");
        folder.run(&[
            "report", "--out", &name, "--lang", language, "--zone", "+08:00",
        ]);
        let page = folder.text(&name);
        assert!(page.contains(&format!("<h1>{title}</h1>")));
        assert!(page.contains("<svg ") && page.contains("crm.contacts"));
        let foreign = ["src=", "href=", "url(", "@import", "<script", "http://"];
        let without_namespace = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for needle in foreign {
            assert!(!without_namespace.contains(needle), "{needle}");
        }
    }
    let page = folder.text("en.html");
    assert!(page.contains("legal: leo.qian approved"), "both signatures");
    assert!(page.contains("dpo: dora.he approved"));
    assert!(page.contains("dpo: dora.he rejected"));
    assert!(page.contains("Call-back campaign Q4, contract CN-2291"));
    assert!(page.contains("none is missing, changed or out of place"));
}

#[test]
fn tables_hold_what_the_record_does() {
    let folder = Folder::new("tables", 5_000);
    folder.run(&["report", "--csv", "tables"]);
    let uses = folder.text("tables/uses.csv");
    let counted: u64 = uses
        .lines()
        .filter(|line| line.contains(",phone,"))
        .filter_map(|line| line.split(',').nth(3)?.parse::<u64>().ok())
        .sum();
    let found = folder.run(&[
        "search",
        "--class",
        "phone",
        "--event",
        "statement",
        "--format",
        "json",
    ]);
    let found = String::from_utf8_lossy(&found.stdout).lines().count() as u64;
    assert_eq!(counted, found);
    assert!(counted > 2_000);
    let exports = folder.text("tables/exports.csv");
    assert_eq!(exports.lines().count(), 3, "{exports}");
}

#[test]
fn a_broken_chain_is_said_at_the_top() {
    let folder = Folder::new("broken", 1_000);
    let segment = folder.0.join("audit/audit-000001.jsonl");
    let text = fs::read_to_string(&segment).expect("read");
    let lines: Vec<&str> = text.lines().collect();
    let kept: Vec<&str> = lines
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 500)
        .map(|(_, line)| *line)
        .collect();
    fs::write(&segment, kept.join("\n") + "\n").expect("written");
    let page = folder.run(&["report"]).stdout;
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("The record is broken"));
    assert!(
        page.contains("records 501 to 501 are missing"),
        "it names the place"
    );
}

/// `cargo nextest run --test audit_reading --run-ignored only --no-capture a_million`; `PGVEIL_RECORDS` asks for another
/// number than a million, `PGVEIL_TEST_BINARY` names a release build.
#[test]
#[ignore = "takes minutes; prints speed and memory"]
fn a_million_records_are_searched_and_reported_on_in_bounded_memory() {
    let records = std::env::var("PGVEIL_RECORDS").map_or(1_000_000, |count| {
        count.parse().expect("PGVEIL_RECORDS is a number")
    });
    // Sessions begin and end, exports are asked for: that much of it are statements.
    let folder = Folder::new("million", records / 100 * 93);
    let bytes: u64 = fs::read_dir(folder.0.join("audit"))
        .expect("the spool")
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    for arguments in [
        &[
            "search",
            "--person",
            "zhou.xin",
            "--verdict",
            "refuse",
            "--format",
            "json",
        ][..],
        &["search", "--format", "json"],
        &["report", "--out", "report.html"],
        &["verify"],
    ] {
        let start = Instant::now();
        let output = Command::new("/usr/bin/time")
            .args(["-f", "%M KiB at most, %U s user"])
            .arg(crate::support::pgveil::command().get_program())
            .arg("audit")
            .args(arguments)
            .current_dir(&folder.0)
            .output();
        let Ok(output) = output else {
            panic!("/usr/bin/time is needed");
        };
        let told = String::from_utf8_lossy(&output.stderr);
        println!(
            "{arguments:?}: {:.1} s over {} MiB, {}",
            start.elapsed().as_secs_f64(),
            bytes >> 20,
            told.trim()
        );
        assert_eq!(output.status.code(), Some(0));
        let peak: u64 = told
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(u64::MAX);
        assert!(peak < 200 * 1024, "{peak} KiB");
    }
}
