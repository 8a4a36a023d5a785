//! Settings, certificates, users and sinks that change while sessions run.
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::guard::signal;
use crate::support::message::Client;
use crate::support::{Authentication, Certificates, Config, Options, PATIENCE, Pgveil, Postgres};
use crate::{POLICY, SCHEMA, error, values};

fn bench(change: impl FnOnce(&mut Config)) -> (Postgres, Config, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(POLICY);
    change(&mut config);
    let pgveil = Pgveil::start(&config);
    (server, config, pgveil)
}

/// Puts another file in the place of one, as deployments do.
fn put(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("written");
    fs::rename(new, path).expect("renamed");
}

fn apply(pgveil: &Pgveil, config: &Config) {
    put(
        &pgveil.folder().join("pgveil.yaml"),
        config.text().as_bytes(),
    );
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Records of changed settings.
fn told(pgveil: &Pgveil) -> Vec<String> {
    let lines = pgveil.audit_lines().into_iter();
    lines
        .filter(|line| line.contains("\"event\":\"settings\""))
        .collect()
}

fn login(pgveil: &Pgveil) -> Result<Client, String> {
    let parameters = [("user", "clear"), ("database", "postgres")];
    let refused = Client::try_login(pgveil.port(), "clear", "", &parameters);
    refused.map_err(|frame| format!("{frame:?}"))
}

fn psql(pgveil: &Pgveil, options: &str, password: &str) -> Output {
    Command::new("psql")
        .args(["-X", "-A", "-t", "-c", "SELECT 'in'"])
        .arg(format!(
            "host=localhost port={} user=clear dbname=postgres {options}",
            pgveil.port()
        ))
        .env("PGPASSWORD", password)
        .output()
        .expect("psql runs")
}

fn comes_in(pgveil: &Pgveil, options: &str, password: &str) -> bool {
    let output = psql(pgveil, options, password);
    output.status.success() && output.stdout == b"in\n"
}

#[test]
fn certificates_are_taken_up_when_their_files_change() {
    let (first, second) = (Certificates::new(), Certificates::new());
    let own = crate::support::Folder::new("own");
    let files = ["server.crt", "server.key", "ca.crt"].map(|name| own.path().join(name));
    let install = |certificates: &Certificates| {
        let from = [
            certificates.cert_file(),
            certificates.key_file(),
            certificates.ca_file(),
        ];
        for (from, to) in from.iter().zip(&files) {
            put(to, &fs::read(from).expect("read"));
        }
    };
    install(&first);
    let [cert, key, ca] = files.each_ref().map(|path| path.display());
    let tls = format!("{{ cert: {cert}, key: {key}, client_ca: {ca}, client_cert: require }}");
    let (_server, _config, pgveil) = bench(|config| {
        config.set("tls", &tls);
    });
    let options = |server: &Certificates, client: &Certificates| {
        let (cert, key) = client.client("clear", 2020..2090);
        format!(
            "sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
            server.ca_file().display(),
            cert.display(),
            key.display()
        )
    };
    let (old, new) = (options(&first, &first), options(&second, &second));
    assert!(comes_in(&pgveil, &old, "") && !comes_in(&pgveil, &new, ""));
    let mut stays = Client::connect(pgveil.port());
    stays.send_raw(&crate::support::message::untagged(
        &80_877_103_u32.to_be_bytes(),
    ));
    assert_eq!(stays.read_byte(), Some(b'S'));

    install(&second);
    until("the new certificates are not taken up", || {
        comes_in(&pgveil, &new, "")
    });
    assert!(!comes_in(&pgveil, &old, ""));
    assert!(
        !comes_in(&pgveil, &options(&second, &first), ""),
        "the clients' authority stays"
    );

    // One that is none changes nothing.
    put(&files[0], b"no certificate");
    assert!(pgveil.wait_for_log("the settings in force stay"));
    assert!(comes_in(&pgveil, &new, ""));
    until("it is not on record", || {
        told(&pgveil)
            .iter()
            .any(|line| line.contains("settings_refused"))
    });
}

#[test]
fn the_users_file_is_taken_up_when_it_changes() {
    let server = Postgres::start(Options {
        authentication: Authentication::Scram,
        ..Options::default()
    });
    server.sql("postgres", SCHEMA);
    let verifier = |password: &str| {
        server.sql(
            "postgres",
            &format!("ALTER ROLE clear PASSWORD '{password}'"),
        );
        let stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'clear'";
        server.sql("postgres", stored)[0][0]
            .clone()
            .expect("a verifier")
    };
    let own = crate::support::Folder::new("users");
    let file = own.path().join("users.txt");
    let install = |password: &str| {
        put(
            &file,
            format!("\"clear\" \"{}\"\n", verifier(password)).as_bytes(),
        );
    };
    install("before");
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set(
        "auth",
        &format!("{{ method: scram, users: {} }}", file.display()),
    );
    let pgveil = Pgveil::start(&config);
    let enters = |password| comes_in(&pgveil, "sslmode=disable", password);
    assert!(enters("before") && !enters("after"));
    install("after");
    until("the new users are not taken up", || enters("after"));
    assert!(!enters("before"));
    put(&file, b"\"clear\" \"no verifier\"\n");
    assert!(pgveil.wait_for_log("the settings in force stay"));
    assert!(enters("after"));
}

#[test]
fn limits_are_taken_up_and_end_nobody() {
    let (_server, mut config, pgveil) = bench(|config| {
        config.set("limits", "{ max_sessions: 3 }");
    });
    let mut inside: Vec<Client> = (0..3).map(|_| login(&pgveil).expect("in")).collect();
    assert!(login(&pgveil).err().expect("full").contains("53300"));
    config.set("limits", "{ max_sessions: 4 }");
    apply(&pgveil, &config);
    until("the limit is not raised", || match login(&pgveil) {
        Ok(client) => {
            inside.push(client);
            true
        }
        Err(_) => false,
    });
    assert!(login(&pgveil).is_err());
    config.set("limits", "{ max_sessions: 1, max_statement_bytes: 50B }");
    let before = told(&pgveil).len();
    apply(&pgveil, &config);
    until("the limit is not lowered", || told(&pgveil).len() > before);
    for client in &mut inside {
        assert_eq!(values(&client.query("SELECT 'still here'")), ["still here"]);
    }
    inside.truncate(2);
    // With two inside of one place there is none for a third.
    thread::sleep(Duration::from_millis(200));
    assert!(login(&pgveil).is_err());
    inside.clear();
    until("the only place is not given on", || login(&pgveil).is_ok());
}

#[test]
fn settings_that_are_wrong_change_nothing_and_those_that_must_wait_are_named() {
    let (_server, mut config, pgveil) = bench(|_| {});
    let metric = |name: &str| {
        let metrics = pgveil.http("/metrics");
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.split(' ').nth(1))
            .unwrap_or_default()
            .to_owned()
    };
    let right = "pgveil_settings_last_reload_successful";
    assert_eq!(metric(right), "1");
    let good = config.text();
    config.set("limits", "{ max_sessions: none }");
    apply(&pgveil, &config);
    until("nobody noticed", || metric(right) == "0");
    assert!(pgveil.wait_for_log("max_sessions"));
    until("it is not on record", || {
        told(&pgveil)
            .iter()
            .any(|line| line.contains("settings_refused"))
    });
    assert!(login(&pgveil).is_ok());
    put(&pgveil.folder().join("pgveil.yaml"), good.as_bytes());
    until("it is right again", || metric(right) == "1");
    let before = told(&pgveil).len();

    // SIGHUP with everything as it was says nothing.
    signal(pgveil.pid(), "HUP");
    config.set("limits", "{ max_sessions: 9, planner_threads: 2 }");
    config.set("listen", "127.0.0.1:1");
    apply(&pgveil, &config);
    until("what must wait is not named", || {
        let told = told(&pgveil);
        told.last()
            .is_some_and(|line| line.contains("listen, limits.planner_threads"))
    });
    assert_eq!(told(&pgveil).len(), before + 1);
    assert!(pgveil.wait_for_log("settings wait for a restart"));
    // A file beside them has them read again, and a log may be one: what was told is not told anew.
    let last = || {
        let metrics = pgveil.http("/metrics");
        let name = "pgveil_settings_last_reload_success_timestamp_seconds ";
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.parse::<u64>().ok())
    };
    let read = last();
    until("settings are not read again", || {
        fs::write(pgveil.folder().join("beside.log"), "a line\n").expect("written");
        last() > read
    });
    assert_eq!(told(&pgveil).len(), before + 1);
    assert!(login(&pgveil).is_ok());
}

#[test]
fn sinks_come_and_go_and_none_misses_a_record() {
    let (_server, mut config, pgveil) = bench(|config| {
        config.set(
            "audit",
            "{ dir: var/audit, sinks: { one: { type: file, path: one.jsonl, batch_age: 50ms } } }",
        );
    });
    let sink = |name: &str, format: &str| {
        format!("{name}: {{ type: file, path: {name}.jsonl, batch_age: 50ms, format: {format} }}")
    };
    let sinks = |config: &mut Config, sinks: &[String]| {
        let sinks = sinks.join(", ");
        config.set(
            "audit",
            &format!("{{ dir: var/audit, sinks: {{ {sinks} }} }}"),
        );
        let before = told(&pgveil).len();
        apply(&pgveil, config);
        until("the sinks are not taken up", || {
            told(&pgveil).len() > before
        });
    };
    let work = || {
        let mut client = login(&pgveil).expect("in");
        for _ in 0..20 {
            assert_eq!(error(&client.query("SELECT 1")), None);
        }
    };
    let numbers = |name: &str| -> Vec<u64> {
        let text =
            fs::read_to_string(pgveil.folder().join(format!("{name}.jsonl"))).unwrap_or_default();
        let lines = text.lines().map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["seq"].as_u64().expect("a number")
        });
        lines.collect()
    };
    let head = || {
        let lines = pgveil.audit_lines();
        let last: serde_json::Value =
            serde_json::from_str(lines.last().expect("records")).expect("JSON");
        last["seq"].as_u64().expect("a number")
    };
    let has_all = |name: &str| {
        let head = head();
        until(&format!("{name} does not get everything"), || {
            numbers(name).last().is_some_and(|last| *last >= head)
        });
        let got = numbers(name);
        let expected: Vec<u64> = (1..=got.len() as u64).collect();
        assert_eq!(got, expected, "each record once, in order");
    };
    work();
    sinks(&mut config, &[sink("one", "json"), sink("two", "json")]);
    work();
    has_all("one");
    has_all("two");
    sinks(&mut config, &[sink("two", "json")]);
    let stopped = numbers("one").len();
    work();
    has_all("two");
    assert_eq!(
        numbers("one").len(),
        stopped,
        "a sink that went gets nothing"
    );
    assert!(pgveil.audit_dir().join("cursors/one.json").exists());
    until("its metrics stay", || {
        let metrics = pgveil.http("/metrics");
        !metrics.contains("pgveil_audit_sink_lag_records{sink=\"one\"}")
    });
    // It comes back, with what it missed; the other one is changed.
    sinks(&mut config, &[sink("one", "json"), sink("two", "cef")]);
    work();
    has_all("one");
    until("the other format is not used", || {
        let text = fs::read_to_string(pgveil.folder().join("two.jsonl")).unwrap_or_default();
        text.lines().any(|line| line.starts_with("CEF:"))
    });
    // A sink that cannot be is told, and nothing changes.
    config.set(
        "audit",
        "{ dir: var/audit, sinks: { three: { type: file } } }",
    );
    apply(&pgveil, &config);
    assert!(pgveil.wait_for_log("the settings in force stay"));
    work();
    has_all("one");
}
