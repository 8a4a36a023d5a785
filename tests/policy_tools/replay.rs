//! `pgveil replay`: what recorded traffic would meet under another policy.
use serde_json::Value;

use super::cases::{out, run};
use super::support::message::Client;
use super::support::{Config, Options, Pgveil, Postgres};

const SCHEMA: &str = "
    CREATE ROLE agent LOGIN; CREATE ROLE temp LOGIN;
    CREATE SCHEMA crm;
    CREATE TABLE crm.contacts (id int PRIMARY KEY, phone text, email text, born date);
    INSERT INTO crm.contacts SELECT g, '138', 'a@b.c', '2000-01-01' FROM generate_series(1, 8) g;
    CREATE FUNCTION crm.rank(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
    GRANT ALL ON SCHEMA crm TO agent, temp; GRANT ALL ON crm.contacts TO agent, temp;
";

const BEFORE: &str = "version: 1
data:
  phone: { columns: [crm.contacts.phone] }
  email: { columns: [crm.contacts.email] }
roles:
  agent:
    who: [{ db_user: agent }, { db_user: temp }]
    mask: { phone: redact }
    functions: { allow: [crm.rank] }
";

const AFTER: &str = "version: 1
data:
  phone: { columns: [crm.contacts.phone] }
  email: { columns: [crm.contacts.email] }
roles:
  agent:
    who: [{ db_user: agent }]
    mask: { email: redact }
    rows: { crm.contacts: \"id < 5\" }
    export: { rows: 3, approvers: [legal, dpo] }
    statements: { allow: [explain] }
";

#[test]
fn every_kind_of_change_is_told_by_role_and_statement() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(BEFORE);
    let pgveil = Pgveil::start(&config);
    let mut agent = Client::login(pgveil.port(), "agent", "", "postgres");
    for text in [
        "SELECT phone FROM crm.contacts WHERE id = 1",
        "SELECT phone FROM crm.contacts WHERE id = 2",
        "SELECT email FROM crm.contacts WHERE id = 3",
        "SELECT crm.rank(4)",
        "EXPLAIN SELECT email FROM crm.contacts",
        "SELECT id FROM crm.contacts ORDER BY id",
        "SELECT id FROM crm.contacts WHERE born > date '1999-12-31' AND id = 1",
        "SET application_name = 'x'",
        "CREATE TEMP TABLE mine (a int)",
        "SELECT a FROM mine",
        "PREPARE p AS SELECT id FROM crm.contacts WHERE id = 1",
        "EXECUTE p",
        "SELECT 1",
    ] {
        agent.query(text);
    }
    let mut temp = Client::login(pgveil.port(), "temp", "", "postgres");
    temp.query("SELECT 1");
    drop((agent, temp));

    let next = pgveil.folder().join("next.yaml");
    std::fs::write(&next, AFTER).expect("written");
    let config = pgveil.folder().join("pgveil.yaml").display().to_string();
    let next = next.display().to_string();
    let base = [
        "replay",
        "--config",
        &config,
        "--database",
        "postgres",
        "--policy",
        &next,
    ];
    let json: Value =
        serde_json::from_str(&out(&run(&[&base[..], &["--format", "json"]].concat())))
            .expect("JSON");
    let change = |text: &str, user: &str| -> Value {
        let changes = json["changes"].as_array().expect("changes").iter();
        let mut found =
            changes.filter(|change| change["text"] == text && change["db_user"] == user);
        found.next().cloned().unwrap_or(Value::Null)
    };
    let clear = change("SELECT phone FROM crm.contacts WHERE id = $1", "agent");
    assert_eq!(
        (&clear["change"], &clear["count"]),
        (&"clear".into(), &2.into()),
        "{json:#}"
    );
    assert_eq!(clear["newly_clear"][0], "crm.contacts.phone");
    assert_eq!(clear["under_row_rules"][0], "crm.contacts");
    let masked = change("SELECT email FROM crm.contacts WHERE id = $1", "agent");
    assert_eq!(
        (&masked["change"], &masked["newly_masked"][0]),
        (&"masked".into(), &"crm.contacts.email".into())
    );
    let refused = change("SELECT crm.rank($1)", "agent");
    assert_eq!(
        (&refused["change"], &refused["reason"]),
        (&"refused".into(), &"function".into())
    );
    assert!(
        refused["hint"]
            .as_str()
            .is_some_and(|hint| !hint.is_empty()),
        "{refused}"
    );
    assert_eq!(
        change("EXPLAIN SELECT email FROM crm.contacts", "agent")["change"],
        "allowed"
    );
    let stopped = change("SELECT id FROM crm.contacts ORDER BY id", "agent");
    assert_eq!(
        (&stopped["change"], &stopped["stopped"]["export_rows"]),
        (&"stopped".into(), &1.into())
    );
    // A literal that the grammar needs is stood in for.
    assert_eq!(
        change(
            "SELECT id FROM crm.contacts WHERE born > date $1 AND id = $2",
            "agent"
        ),
        Value::Null
    );
    assert_eq!(change("SELECT a FROM mine", "agent")["change"], "untold");
    assert_eq!(change("EXECUTE p", "agent")["change"], "untold");
    assert_eq!(change("SELECT $1", "agent"), Value::Null);
    assert_eq!(change("SELECT $1", "temp")["change"], "turned_away");
    assert_eq!(json["statements"], 14, "{json:#}");

    let text = out(&run(&base));
    for said in [
        "newly turned away: no role of the policy is theirs: 1",
        "newly refused: 1",
        "newly masked: 1",
        "newly clear: 2",
        "newly stopped by an export limit: 1",
        "no longer refused: 1",
        "masked: crm.contacts.email",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    // The policy in force meets what it met.
    let same = run(&[
        "replay",
        "--config",
        &config,
        "--database",
        "postgres",
        "--check",
    ]);
    let text = out(&same);
    assert_eq!(same.status.code(), Some(0), "{text}");
    assert_eq!(
        run(&[&base[..], &["--check"]].concat()).status.code(),
        Some(1)
    );
    let nobody = out(&run(&[&base[..], &["--role", "dba"]].concat()));
    assert!(nobody.contains(": 0 recorded statements"), "{nobody}");
}

const SHARED: &str = "version: 1
data: { phone: { columns: [crm.contacts.phone] } }
groups: { support: [alice, bob], audit: [carol] }
applications: { temp: { comment: app_user } }
roles:
  audit: { who: [{ db_user: temp, app_user_in: audit }] }
  support:
    who: [{ db_user: temp, app_user_in: support }]
    mask: { phone: redact }
  trial:
    who: [{ db_user: agent }]
    enforce: false
    mask: { phone: redact }
";

/// Who shares a database user is somebody by name, and a role on trial does nothing: under the same policy all is as it was.
#[test]
fn people_behind_a_user_and_roles_on_trial_meet_what_they_would() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(SHARED);
    let pgveil = Pgveil::start(&config);
    let phone = "SELECT phone FROM crm.contacts WHERE id = 1";
    let mut temp = Client::login(pgveil.port(), "temp", "", "postgres");
    for text in [
        "BEGIN",
        phone,
        "ROLLBACK",
        "SELECT set_config('pgveil.x', 'y', false)",
        &format!("{phone} /*app_user='alice'*/"),
        &format!("{phone} /*app_user='bob'*/"),
        &format!("{phone} /*app_user='carol'*/"),
        &format!("{phone} /*app_user='mallory'*/"),
    ] {
        temp.query(text);
    }
    let mut agent = Client::login(pgveil.port(), "agent", "", "postgres");
    agent.query(phone);
    drop((temp, agent));
    let config = pgveil.folder().join("pgveil.yaml").display().to_string();
    let base = ["replay", "--config", &config, "--database", "postgres"];
    let replayed = |more: &[&str]| -> Value {
        let arguments = [&base[..], &["--format", "json"], more].concat();
        serde_json::from_str(&out(&run(&arguments))).expect("JSON")
    };
    let same = replayed(&[]);
    assert_eq!(same["changes"], serde_json::json!([]), "{same:#}");
    assert_eq!(same["counts"]["none"], 9, "{same:#}");
    assert_eq!(same["on_trial"], serde_json::json!(["trial"]));
    let checked = run(&[&base[..], &["--check"]].concat());
    assert_eq!(checked.status.code(), Some(0), "{}", out(&checked));
    assert!(out(&checked).contains("on trial, so that nothing of their rules is done: trial"));

    // As if it were in force, the trial masks.
    let enforced = replayed(&["--enforced"]);
    assert_eq!(
        (
            &enforced["counts"]["masked"],
            &enforced["changes"][0]["role"]
        ),
        (&1.into(), &"trial".into()),
        "{enforced:#}"
    );

    // Bob changes sides, mallory gets a role, and support is put on trial: of people behind one user each meets their own.
    let next = SHARED
        .replace("support: [alice, bob]", "support: [alice, mallory]")
        .replace("audit: [carol]", "audit: [bob]");
    let path = pgveil.folder().join("next.yaml");
    std::fs::write(&path, &next).expect("written");
    let path = path.display().to_string();
    let moved = replayed(&["--policy", &path]);
    let counts = &moved["counts"];
    assert_eq!(
        (
            &counts["clear"],
            &counts["refused"],
            &counts["allowed"],
            &counts["turned_away"]
        ),
        (&1.into(), &1.into(), &1.into(), &0.into()),
        "{moved:#}"
    );
    let next = SHARED.replace(
        "    who: [{ db_user: temp, app_user_in: support }]\n",
        "    who: [{ db_user: nobody }]\n",
    );
    std::fs::write(
        &path,
        next.replace(
            "who: [{ db_user: agent }]\n    enforce: false",
            "who: [{ db_user: agent }]",
        ),
    )
    .expect("written");
    let enforced = replayed(&["--policy", &path]);
    let counts = &enforced["counts"];
    assert_eq!(
        (&counts["masked"], &counts["refused"]),
        (&1.into(), &2.into()),
        "{enforced:#}"
    );
}

const FOR_SUPPORT: &str = "version: 1
data: { phone: { columns: [crm.contacts.phone], purposes: [support] } }
applications: { temp: { setting: app.person } }
roles:
  agent:
    who: [{ db_user: [agent, temp] }]
    mask: { phone: { show: { last: 1 }, lookup: exact } }
";

/// What a statement was for is on record. Which setting `set_config` set is not: that is told, and no refusal made of it.
#[test]
fn a_statement_is_replayed_for_what_it_was_for() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(FOR_SUPPORT);
    let pgveil = Pgveil::start(&config);
    let lookup = "SELECT id FROM crm.contacts WHERE phone = '138'";
    let mut agent = Client::login(pgveil.port(), "agent", "", "postgres");
    for text in [lookup, "SET pgveil.purpose = 'support'", lookup] {
        agent.query(text);
    }
    let mut temp = Client::login(pgveil.port(), "temp", "", "postgres");
    temp.query("SELECT set_config('app.person', 'alice', false)");
    drop((agent, temp));
    let config = pgveil.folder().join("pgveil.yaml").display().to_string();
    let base = ["replay", "--config", &config, "--database", "postgres"];
    let text = out(&run(&[&base[..], &["--format", "json", "--check"]].concat()));
    let same: Value = serde_json::from_str(&text).expect("JSON");
    let counts = &same["counts"];
    assert_eq!(
        (&counts["none"], &counts["untold"], &counts["refused"]),
        (&3.into(), &1.into(), &0.into()),
        "{same:#}"
    );
    assert_eq!(
        same["changes"][0]["message"], "which setting it sets is not on record",
        "{same:#}"
    );
}
