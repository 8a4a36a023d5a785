//! A honeytoken is touched: alarm, incident, evidence that somebody else can check.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::pgveil::command;
use crate::support::{Config, Options, PATIENCE, Pgveil, Postgres};

/// Stands in every trap's row: no record, alarm or incident holds it.
const CANARY: &str = "canary-13899990000";

const POLICY: &str = "version: 1
data:
  phone: { level: 3, columns: [crm.contacts.phone] }
  trap: { level: 5, columns: [crm.vip.phone], alarm: true }
roles:
  agent:
    who: [{ db_user: agent }]
    mask: { phone: { show: { last: 4 } }, trap: redact }
  dpo: { who: [{ db_user: dpo }], unmasked: true }
unmatched: deny
";

fn start() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!(
            "CREATE SCHEMA crm; CREATE TABLE crm.contacts (id int PRIMARY KEY, phone text);
             INSERT INTO crm.contacts SELECT n, '1380000' || n FROM generate_series(1, 50) n;
             CREATE TABLE crm.vip (id int PRIMARY KEY, phone text); INSERT INTO crm.vip VALUES (1, '{CANARY}');
             CREATE ROLE agent LOGIN; CREATE ROLE dpo LOGIN;
             GRANT USAGE ON SCHEMA crm TO agent, dpo; GRANT SELECT ON ALL TABLES IN SCHEMA crm TO agent, dpo"
        ),
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set("audit", "{ dir: var/audit, checkpoint_interval: 1s }");
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn audit(pgveil: &Pgveil, arguments: &[&str]) -> Output {
    command()
        .arg("audit")
        .args(arguments)
        .current_dir(pgveil.folder())
        .output()
        .expect("pgveil runs")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Asks again until there is an answer; panics where there is none in good time.
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn alarms(pgveil: &Pgveil) -> Vec<String> {
    let lines = pgveil.audit_lines().into_iter();
    lines
        .filter(|line| line.contains("\"event\":\"alarm\""))
        .collect()
}

/// The ids of incidents, by person.
fn incidents(pgveil: &Pgveil) -> Vec<(String, String)> {
    let output = audit(
        pgveil,
        &[
            "incidents",
            "list",
            "--dir",
            "var/audit",
            "--format",
            "json",
        ],
    );
    assert!(output.status.success(), "{}", told(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).expect("json");
            let field = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
            (field("person"), field("id"))
        })
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(|entry| entry.path())
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn a_touched_honeytoken_is_an_alarm_within_seconds_an_incident_and_evidence_that_verifies() {
    let (_server, mut pgveil) = start();
    let run = |pgveil: &Pgveil, user: &str, text: &str| pgveil.sql(user, "postgres", text);
    run(&pgveil, "agent", "SELECT id, phone FROM crm.contacts").expect("rows");
    run(&pgveil, "agent", "SELECT id FROM crm.vip").expect("the trap's neighbour is no trap");
    run(&pgveil, "agent", "SELECT pg_read_file('/etc/passwd')").expect_err("refused");
    run(&pgveil, "agent", "SELECT * FROM crm.vip").expect("masked rows");
    wait_for("alarm", || (!alarms(&pgveil).is_empty()).then_some(()));
    let raised = alarms(&pgveil);
    assert_eq!(raised.len(), 1, "{raised:#?}");
    assert!(raised[0].contains("\"alarm\":\"honeytoken\"") && raised[0].contains("\"agent\""));

    // Somebody who sees everything is no exception.
    run(
        &pgveil,
        "dpo",
        "SELECT count(*) FROM crm.vip WHERE phone LIKE '138%'",
    )
    .expect("rows");
    wait_for("second alarm", || {
        (alarms(&pgveil).len() == 2).then_some(())
    });
    let metrics = pgveil.http("/metrics");
    assert!(
        metrics.contains("pgveil_alarms_total{alarm=\"honeytoken\"} 2"),
        "{metrics}"
    );

    let known = incidents(&pgveil);
    let people: Vec<&str> = known.iter().map(|(person, _)| person.as_str()).collect();
    assert_eq!(people, ["agent", "dpo"]);
    let id = known[0].1.clone();
    let shown = told(&audit(
        &pgveil,
        &["incidents", "show", &id, "--dir", "var/audit"],
    ));
    assert!(
        shown.contains("crm.vip.phone") && shown.contains(" min left)"),
        "{shown}"
    );

    check_evidence(&pgveil, &id);

    // Who closes an incident, and why, is on record: at once, or when the next proxy starts.
    close(&pgveil, &id);
    wait_for("closing on record", || {
        (closings(&pgveil).len() == 1).then_some(())
    });
    let closing = &closings(&pgveil)[0];
    for part in [
        "\"person\":\"lea\"",
        &id,
        "told, case 0815",
        "system's user ",
    ] {
        assert!(closing.contains(part), "{part} in {closing}");
    }

    // Nothing is raised twice after a crash.
    pgveil.kill();
    close(&pgveil, &known[1].1);
    assert_eq!(closings(&pgveil).len(), 1);
    let mut pgveil = pgveil.restart();
    wait_for("second closing on record", || {
        (closings(&pgveil).len() == 2).then_some(())
    });
    run(&pgveil, "agent", "SELECT 1").expect("runs");
    pgveil.stop();
    assert_eq!(alarms(&pgveil).len(), 2);
    for file in files(&pgveil.audit_dir()) {
        let bytes = fs::read(&file).expect("read");
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains(CANARY) && !text.contains("138%"),
            "{}",
            file.display()
        );
    }
}

fn close(pgveil: &Pgveil, id: &str) {
    let closed = audit(
        pgveil,
        &[
            "incidents",
            "close",
            id,
            "--dir",
            "var/audit",
            "--by",
            "lea",
            "--reason",
            "told, case 0815",
        ],
    );
    assert!(told(&closed).contains("is closed"), "{}", told(&closed));
}

/// Closings of incidents on record.
fn closings(pgveil: &Pgveil) -> Vec<String> {
    let mut lines = pgveil.audit_lines();
    lines.retain(|line| line.contains("\"event\":\"incident_closed\""));
    lines
}

/// Exports an incident, checks it as its own instructions say, and sees that a changed record is found.
fn check_evidence(pgveil: &Pgveil, id: &str) {
    let export = |out: &str| {
        audit(
            pgveil,
            &[
                "incidents",
                "export",
                id,
                "--dir",
                "var/audit",
                "--out",
                out,
            ],
        )
    };
    let mut tries = 0;
    let folder = wait_for("checkpoint over the evidence", || {
        tries += 1;
        let name = format!("evidence{tries}");
        let output = export(&name);
        assert!(output.status.success(), "{}", told(&output));
        told(&output)
            .contains("signed by key")
            .then(|| pgveil.folder().join(name))
    });
    let evidence = fs::read_to_string(folder.join("evidence.jsonl")).expect("evidence");
    assert_eq!(evidence.lines().count(), 1);
    assert!(evidence.contains("SELECT * FROM crm.vip"), "{evidence}");
    let how = fs::read_to_string(folder.join("VERIFY.txt")).expect("instructions");
    assert!(
        how.contains("--dir proof/0001 --partial --public-key signing.pub"),
        "{how}"
    );
    let verify = |folder: &Path| {
        let output = command()
            .args([
                "audit",
                "verify",
                "--dir",
                "proof/0001",
                "--partial",
                "--public-key",
                "signing.pub",
            ])
            .current_dir(folder)
            .output()
            .expect("pgveil runs");
        (output.status.code(), told(&output))
    };
    let (code, text) = verify(&folder);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("signed through record"), "{text}");
    let run = folder.join("proof/0001/audit-000001.jsonl");
    let proof = fs::read_to_string(&run).expect("read");
    assert!(
        proof.contains(evidence.trim()),
        "the evidence is in the run"
    );
    let openssl = "tail -n 1 proof/0001/audit-000001.jsonl | python3 -c '
import json, sys, base64
line = json.load(sys.stdin); c = line[\"checkpoint\"]
open(\"text\", \"w\").write(\"pgveil audit checkpoint 1\\nchain %s\\ncount %d\\nhead %s\\ntime %s\\n\" % (c[\"chain\"], c[\"count\"], c[\"head\"], line[\"time\"]))
open(\"signature\", \"wb\").write(base64.b64decode(c[\"signature\"]))'
openssl pkeyutl -verify -pubin -inkey signing.pub -rawin -in text -sigfile signature";
    let output = std::process::Command::new("sh")
        .args(["-c", openssl])
        .current_dir(&folder)
        .output();
    let output = output.expect("a shell");
    assert!(
        told(&output).contains("Signature Verified Successfully"),
        "{}",
        told(&output)
    );
    let page = fs::read_to_string(folder.join("summary.html")).expect("a summary");
    assert!(
        page.contains("Each record was checked against the chain"),
        "{page}"
    );
    fs::write(
        &run,
        proof.replacen("\"role\":\"agent\"", "\"role\":\"admin\"", 1),
    )
    .expect("written");
    let (code, text) = verify(&folder);
    assert_eq!(code, Some(1), "a changed record is found: {text}");
    let output = export("incident.tar");
    assert!(output.status.success(), "{}", told(&output));
    let again = export("incident.tar");
    assert_eq!(
        again.status.code(),
        Some(1),
        "what is there is not written over"
    );
}
