//! Policies by their hash: when which was in force, what it said, what changed, and who signed it.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pgveil::audit::key::SigningKey;
use serde_json::Value;

use super::cases::{out, run};
use super::support::compare::values;
use super::support::message::Client;
use super::support::{Config, Folder, Options, PATIENCE, Pgveil, Postgres};

const SCHEMA: &str = "
    CREATE ROLE agent LOGIN; CREATE SCHEMA crm;
    CREATE TABLE crm.contacts (id int, phone text); INSERT INTO crm.contacts VALUES (1, '13812345678');
    GRANT USAGE ON SCHEMA crm TO agent; GRANT SELECT ON crm.contacts TO agent;
";

fn policy(last: u8) -> String {
    format!(
        "version: 1\ndata: {{ phone: {{ columns: [crm.contacts.phone] }} }}\nroles:\n  agent:\n    who: [{{ db_user: agent }}]\n    mask: {{ phone: {{ show: {{ last: {last} }} }} }}\n"
    )
}

fn server() -> Postgres {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    server
}

fn version(pgveil: &Pgveil) -> String {
    let metrics = pgveil.http("/metrics");
    let (_, rest) = metrics
        .split_once("pgveil_policy_info{version=\"")
        .expect("the metric");
    rest.split('"').next().expect("a version").to_owned()
}

/// Puts another text in the place of the policy.
fn put(pgveil: &Pgveil, text: &str) {
    fs::write(pgveil.folder().join("policies/new"), text).expect("written");
    fs::rename(
        pgveil.folder().join("policies/new"),
        pgveil.folder().join("policies/test.yaml"),
    )
    .expect("renamed");
}

#[track_caller]
fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_in_force_can_be_told_shown_and_compared() {
    let server = server();
    let mut config = Config::new(&server);
    config.policy(&policy(4));
    let mut pgveil = Pgveil::start(&config);
    let mut client = Client::login(pgveil.port(), "agent", "", "postgres");
    client.query("SELECT phone FROM crm.contacts");
    let first = version(&pgveil);
    put(&pgveil, &policy(2));
    wait_for("the policy is taken up", || version(&pgveil) != first);
    let second = version(&pgveil);
    client.query("SELECT phone FROM crm.contacts");
    client.query("SELECT 1");
    put(&pgveil, "version: 1\nroles: { a: ");
    assert!(pgveil.wait_for_log("the changed one cannot be used"));
    drop(client);
    pgveil.stop();

    let audit = pgveil.audit_dir().display().to_string();
    let lines = out(&run(&[
        "policy", "history", "--dir", &audit, "--format", "json",
    ]));
    let reigns: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let told: Vec<(&str, u64, u64, &str, bool)> = reigns
        .iter()
        .map(|reign| {
            (
                reign["version"].as_str().expect("a version"),
                reign["statements"].as_u64().expect("a number"),
                reign["refused"].as_u64().expect("a number"),
                reign["ended"].as_str().unwrap_or("-"),
                reign["kept"] == true,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (&*first, 1, 0, "replaced", true),
            (&*second, 2, 1, "stopped", true)
        ]
    );
    assert_eq!(reigns[0]["until"], reigns[1]["from"]);
    let text = out(&run(&["policy", "history", "--dir", &audit]));
    assert!(
        text.contains(&first) && text.contains("a change refused 1 times"),
        "{text}"
    );

    assert_eq!(
        out(&run(&["policy", "show", &first[..6], "--dir", &audit])),
        policy(4)
    );
    let diff = run(&["policy", "diff", &first, &second, "--dir", &audit]);
    assert_eq!(diff.status.code(), Some(1));
    assert_eq!(
        out(&diff),
        format!(
            "--- {first}/test.yaml\n+++ {second}/test.yaml\n@@ -3,4 +3,4 @@\n roles:\n   agent:\n     who: [{{ db_user: agent }}]\n\
             -    mask: {{ phone: {{ show: {{ last: 4 }} }} }}\n+    mask: {{ phone: {{ show: {{ last: 2 }} }} }}\n"
        )
    );
    let same = run(&["policy", "diff", &first, &first, "--dir", &audit]);
    assert_eq!((same.status.code(), out(&same).as_str()), (Some(0), ""));

    // Others do not read it, and whoever changes it is found out.
    let kept = pgveil.audit_dir().join(format!("policies/{first}.json"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        fs::metadata(&kept).expect("a file").permissions().mode() & 0o077,
        0
    );
    let changed = fs::read_to_string(&kept)
        .expect("a file")
        .replace("last: 4", "last: 9");
    fs::write(&kept, changed).expect("written");
    let shown = run(&["policy", "show", &first, "--dir", &audit]);
    let said = String::from_utf8_lossy(&shown.stderr);
    assert_eq!(shown.status.code(), Some(1));
    assert!(said.contains("was changed: its hash is"), "{said}");
    // The record has hashes and no text of a policy.
    assert!(
        !pgveil
            .audit_lines()
            .iter()
            .any(|line| line.contains("crm.contacts.phone") && line.contains("show"))
    );
}

/// A pair of keys: private and public file.
fn keys(folder: &Folder, name: &str) -> (PathBuf, PathBuf) {
    let private = folder.path().join(format!("{name}.key"));
    let key = SigningKey::create(&private).expect("a key");
    let public = folder.write(&format!("{name}.pub"), key.public().pem());
    (private, public)
}

fn sign(key: &Path, policies: &Path) {
    let signed = run(&[
        "policy",
        "sign",
        "--key",
        &key.display().to_string(),
        "--policy",
        &policies.display().to_string(),
    ]);
    assert!(out(&signed).contains("is signed by key"), "{signed:?}");
}

#[test]
fn only_what_a_named_key_signed_comes_into_force() {
    let folder = Folder::new("keys");
    let (legal, legal_pub) = keys(&folder, "legal");
    let (dpo, dpo_pub) = keys(&folder, "dpo");
    let (stranger, _) = keys(&folder, "stranger");
    let server = server();
    let mut config = Config::new(&server);
    config.policy(&policy(4));
    config.set(
        "policy_keys",
        &format!("[{}, {}]", legal_pub.display(), dpo_pub.display()),
    );

    // Unsigned, and signed by somebody else: it does not start.
    let files = Folder::new("signed");
    let path = config.write(&files).display().to_string();
    let policies = files.path().join("policies");
    let check = || {
        let checked = run(&["check", "--config", &path, "--offline"]);
        (
            checked.status.code(),
            String::from_utf8_lossy(&checked.stderr).into_owned(),
        )
    };
    let (code, said) = check();
    assert_eq!(code, Some(2));
    assert!(
        said.contains("policy.sig: error: the policy is not signed"),
        "{said}"
    );
    assert!(
        said.contains("pgveil policy sign --key KEY --policy"),
        "{said}"
    );
    sign(&stranger, &policies);
    let (code, said) = check();
    assert_eq!(code, Some(2));
    assert!(said.contains("by one of `policy_keys`"), "{said}");
    let served = run(&["serve", "--config", &path]);
    assert_eq!(served.status.code(), Some(2), "{served:?}");
    sign(&legal, &policies);
    assert_eq!(check().0, Some(0));

    // While it runs: what is changed is in force once it is signed, and not before.
    config.policy_file(
        "policy.sig",
        &fs::read_to_string(policies.join("policy.sig")).expect("a signature"),
    );
    let pgveil = Pgveil::start(&config);
    let policies = pgveil.folder().join("policies");
    let shown = || {
        let mut client = Client::login(pgveil.port(), "agent", "", "postgres");
        values(&client.query("SELECT phone FROM crm.contacts"))
    };
    assert_eq!(shown(), ["*******5678"]);
    let first = version(&pgveil);
    put(&pgveil, &policy(1));
    wait_for("the change is refused", || {
        pgveil
            .audit_lines()
            .iter()
            .any(|line| line.contains("policy_refused"))
    });
    assert!(pgveil.wait_for_log("no signature over policy"));
    assert!(
        pgveil
            .http("/metrics")
            .contains("pgveil_policy_last_reload_successful 0")
    );
    assert_eq!(
        (shown(), version(&pgveil)),
        (vec!["*******5678".to_owned()], first.clone())
    );
    sign(&dpo, &policies);
    wait_for("the signed policy is taken up", || {
        version(&pgveil) != first
    });
    assert_eq!(shown(), ["**********8"]);
    // Taking the signature away changes nothing that is in force.
    fs::remove_file(policies.join("policy.sig")).expect("removed");
    wait_for("it is told", || {
        pgveil.log().contains("the policy is not signed")
    });
    assert_eq!(shown(), ["**********8"]);
}

/// A signature is over names and texts: a rule that moves to a file with another place in the order is another policy.
#[test]
fn a_single_file_has_its_signature_beside_it_and_each_signer_a_line() {
    let folder = Folder::new("keys");
    let (legal, _) = keys(&folder, "legal");
    let (dpo, _) = keys(&folder, "dpo");
    let file = folder.write("p.yaml", policy(4));
    sign(&legal, &file);
    sign(&dpo, &file);
    sign(&dpo, &file);
    let text = fs::read_to_string(folder.path().join("p.yaml.sig")).expect("beside the file");
    assert_eq!(
        text.lines().filter(|line| !line.starts_with('#')).count(),
        2,
        "{text}"
    );
    fs::write(&file, policy(3)).expect("written");
    sign(&dpo, &file);
    let text = fs::read_to_string(folder.path().join("p.yaml.sig")).expect("beside the file");
    assert_eq!(
        text.lines().filter(|line| !line.starts_with('#')).count(),
        1,
        "{text}"
    );
}
