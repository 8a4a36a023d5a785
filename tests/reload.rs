//! Policies that change while sessions run: in force from the next statement, whole or not at all.
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::message::{self, Client, Frame};
use support::{Config, Fault, Folder, Options, PATIENCE, Pgveil, Postgres, Relay};

const SCHEMA: &str = "
    CREATE ROLE agent LOGIN; CREATE ROLE second LOGIN; CREATE ROLE dba LOGIN;
    CREATE SCHEMA crm;
    CREATE TABLE crm.contacts (id int PRIMARY KEY, owner text, phone text);
    INSERT INTO crm.contacts VALUES (1, 'north', '13812345678'), (2, 'south', '13912345678');
    GRANT USAGE ON SCHEMA crm TO agent, second, dba; GRANT SELECT ON crm.contacts TO agent, second, dba;
";

/// The mask, who is in the roles, and what people are known by.
fn policy(keep: u8, agents: &str, admins: &str, region: &str) -> String {
    format!(
        "version: 1
data: {{ phone: {{ columns: [crm.contacts.phone] }} }}
roles:
  agent: {{ who: [{agents}], mask: {{ phone: {{ show: {{ last: {keep} }} }} }}, rows: {{ crm.contacts: \"owner = {{attr.region}}\" }} }}
  dba: {{ who: [{admins}], unmasked: true }}
people: {{ agent: {{ region: {region} }}, second: {{ region: {region} }} }}
unmatched: deny
"
    )
}

const AGENTS: &str = "{ db_user: agent }, { db_user: second }";
const DBA: &str = "{ db_user: dba }";

fn start(text: &str) -> (Postgres, Pgveil) {
    // What 500 reloads leave is more than a segment, and closed ones are compressed.
    start_with(text, "{ dir: var/audit, segment_bytes: 4GiB }")
}

fn start_with(text: &str, audit: &str) -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(text);
    let upstream = format!(
        "{{ host: 127.0.0.1, port: {}, catalog_user: {{ name: postgres }}, databases: [postgres] }}",
        server.port()
    );
    config.set("upstream", &upstream);
    config.set("audit", audit);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

/// Puts another text in the place of the policy, as a deployment does.
fn put(pgveil: &Pgveil, text: &str) {
    let folder = pgveil.folder().join("policies");
    let new = folder.join("test.yaml.new");
    fs::write(&new, text).expect("written");
    fs::rename(new, folder.join("test.yaml")).expect("renamed");
}

/// The version in force.
fn version(pgveil: &Pgveil) -> String {
    let metrics = pgveil.http("/metrics");
    let (_, rest) = metrics
        .split_once("pgveil_policy_info{version=\"")
        .expect("the metric");
    rest.split('"').next().expect("a version").to_owned()
}

fn metric(pgveil: &Pgveil, name: &str) -> String {
    let metrics = pgveil.http("/metrics");
    let line = metrics
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default()
        .to_owned()
}

/// Changes the policy and waits until it is in force; its version.
fn change(pgveil: &Pgveil, text: &str) -> String {
    let before = version(pgveil);
    put(pgveil, text);
    let began = Instant::now();
    loop {
        let now = version(pgveil);
        if now != before {
            return now;
        }
        assert!(began.elapsed() < PATIENCE, "the policy is not taken up");
        thread::sleep(Duration::from_millis(20));
    }
}

fn cells(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.flat_map(Frame::columns)
        .flatten()
        .map(|value| String::from_utf8_lossy(&value).into_owned())
        .collect()
}

fn error(frames: &[Frame]) -> Option<String> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    Some(format!("{} {}", frame.field(b'C')?, frame.field(b'M')?))
}

fn login(pgveil: &Pgveil, user: &str) -> Client {
    Client::login(pgveil.port(), user, "", "postgres")
}

const PHONE: &str = "SELECT phone FROM crm.contacts";

#[test]
fn another_policy_holds_from_the_next_statement_prepared_ones_and_cursors_included() {
    let (_server, pgveil) = start(&policy(4, AGENTS, DBA, "north"));
    let mut client = login(&pgveil, "agent");
    assert_eq!(cells(&client.query(PHONE)), ["*******5678"]);
    client.send_all(&[message::parse("p", PHONE, &[]), message::sync()]);
    client.read_until_ready();
    client.query("PREPARE q AS SELECT phone FROM crm.contacts");
    client.query("BEGIN");
    client.query("DECLARE c CURSOR FOR SELECT phone FROM crm.contacts, generate_series(1, 9)");
    assert_eq!(cells(&client.query("FETCH 1 FROM c")), ["*******5678"]);
    let portal = [
        message::parse(
            "",
            "SELECT phone FROM crm.contacts, generate_series(1, 9)",
            &[],
        ),
        message::bind("open", "", &[], 0),
        message::execute("open", 1),
        message::flush(),
    ];
    client.send_all(&portal);
    while client.read().expect("an answer").tag != b's' {}

    change(&pgveil, &policy(2, AGENTS, DBA, "north"));
    client.send_all(&[message::execute("open", 1), message::sync()]);
    let said = error(&client.read_until_ready()).expect("an error");
    assert!(said.contains("under another policy"), "{said}");
    client.query("ROLLBACK");
    client.query("BEGIN");
    client.query("DECLARE c CURSOR FOR SELECT phone FROM crm.contacts");
    assert_eq!(cells(&client.query("FETCH 1 FROM c")), ["*********78"]);
    client.query("COMMIT");
    let frames = client.query("EXECUTE q");
    // As the server says it: drivers prepare the statement anew.
    let said = error(&frames).expect("an error");
    assert_eq!(said, "0A000 cached plan must not change result type");
    let routine = frames
        .iter()
        .find(|frame| frame.tag == b'E')
        .and_then(|frame| frame.field(b'R'));
    assert_eq!(routine.as_deref(), Some("RevalidateCachedQuery"));
    // What a message has prepared is prepared anew.
    client.send_all(&[
        message::bind("", "p", &[], 0),
        message::execute("", 0),
        message::sync(),
    ]);
    assert_eq!(cells(&client.read_until_ready()), ["*********78"]);
    assert_eq!(cells(&client.query(PHONE)), ["*********78"]);

    // Nothing that the statement is about has changed: it goes on.
    client.query("PREPARE r AS SELECT id FROM crm.contacts WHERE false");
    client.query("BEGIN");
    client.query("DECLARE d CURSOR FOR SELECT 1 FROM generate_series(1, 9)");
    change(&pgveil, &(policy(2, AGENTS, DBA, "north") + "# a word\n"));
    assert_eq!(cells(&client.query("FETCH 2 FROM d")), ["1", "1"]);
    client.query("COMMIT");
    assert_eq!(error(&client.query("EXECUTE r")), None);

    // What people are known by counts as well.
    change(&pgveil, &policy(2, AGENTS, DBA, "south"));
    assert_eq!(cells(&client.query(PHONE)), ["*********78"]);
    let owner = client.query("SELECT owner FROM crm.contacts");
    assert_eq!(cells(&owner), ["south"]);
}

#[test]
fn a_cursor_that_showed_more_than_the_policy_now_allows_gives_nothing_more() {
    let clear =
        policy(4, AGENTS, DBA, "north").replace("mask: { phone: { show: { last: 4 } } }, ", "");
    let (_server, pgveil) = start(&clear);
    let mut client = login(&pgveil, "agent");
    client.query("BEGIN");
    client.query("DECLARE c CURSOR FOR SELECT phone FROM crm.contacts, generate_series(1, 9)");
    assert_eq!(cells(&client.query("FETCH 1 FROM c")), ["13812345678"]);
    change(&pgveil, &policy(4, AGENTS, DBA, "north"));
    let frames = client.query("FETCH 1 FROM c");
    assert_eq!(cells(&frames), [""; 0]);
    let said = error(&frames).expect("an error");
    assert!(said.starts_with("42501"), "{said}");
}

#[test]
fn a_policy_that_is_wrong_changes_nothing_and_says_so() {
    let (_server, pgveil) = start(&policy(4, AGENTS, DBA, "north"));
    let before = version(&pgveil);
    let mut client = login(&pgveil, "agent");
    for wrong in [
        "version: 1\nroles: [".to_owned(),
        policy(4, AGENTS, DBA, "north").replace("crm.contacts.phone", "crm.contacts.fone"),
    ] {
        put(&pgveil, &wrong);
        let began = Instant::now();
        while metric(&pgveil, "pgveil_policy_last_reload_successful") != "0" {
            assert!(began.elapsed() < PATIENCE, "nobody noticed");
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(version(&pgveil), before);
        assert_eq!(cells(&client.query(PHONE)), ["*******5678"]);
        assert!(pgveil.wait_for_log("the policy in force stays"));
        let told = |line: &String| line.contains("\"reason\":\"policy_refused\"");
        assert!(pgveil.audit_lines().iter().any(told));
        put(&pgveil, &policy(4, AGENTS, DBA, "north"));
        let began = Instant::now();
        while metric(&pgveil, "pgveil_policy_last_reload_successful") != "1" {
            assert!(began.elapsed() < PATIENCE, "it is right again");
            thread::sleep(Duration::from_millis(20));
        }
    }
    assert_eq!(version(&pgveil), before);
    assert_eq!(cells(&client.query(PHONE)), ["*******5678"]);
}

#[test]
fn a_policy_that_changes_while_pgveil_starts_is_taken_up() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let relay = Relay::to(server.port());
    relay.set(Fault::Delay(Duration::from_millis(200)));
    let folder = Folder::new("policies");
    let put = |keep| {
        folder.write("new.yaml.new", policy(keep, AGENTS, DBA, "north"));
        fs::rename(
            folder.path().join("new.yaml.new"),
            folder.path().join("policy.yaml"),
        )
        .expect("renamed");
    };
    put(4);
    let mut config = Config::upstream_port(relay.port());
    config.set("policies", &folder.path().display().to_string());
    config.set(
        "upstream",
        &format!(
            "{{ host: 127.0.0.1, port: {}, catalog_user: {{ name: postgres }}, databases: [postgres] }}",
            relay.port()
        ),
    );
    thread::scope(|scope| {
        let starting = scope.spawn(|| Pgveil::start(&config));
        // It has read the policy when it comes to look at the catalog.
        let looks = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'postgres' \
             AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let began = Instant::now();
        while server.sql("postgres", looks)[0][0].as_deref() == Some("0") {
            assert!(began.elapsed() < PATIENCE, "it does not start");
        }
        put(2);
        relay.set(Fault::Sound);
        let pgveil = starting.join().expect("it starts");
        let began = Instant::now();
        while cells(&login(&pgveil, "agent").query(PHONE)) != ["*********78"] {
            assert!(began.elapsed() < PATIENCE, "the first policy stays");
            thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn a_policy_that_changes_while_pgveil_stops_is_not_taken_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let sinks = format!(
        "{{ silent: {{ type: webhook, url: \"http://{}/\", secret: secret-of-the-webhook, batch_age: 10ms }} }}",
        silent.local_addr().expect("an address")
    );
    let audit = format!("{{ dir: var/audit, sinks: {sinks} }}");
    let (_server, mut pgveil) = start_with(&policy(4, AGENTS, DBA, "north"), &audit);
    // Its answer is waited for when pgveil is to stop.
    let (_waits, _) = silent.accept().expect("records come");
    pgveil.terminate();
    let stopped = |line: &String| line.contains("\"event\":\"stop\"");
    let began = Instant::now();
    while !pgveil.audit_lines().iter().any(stopped) {
        assert!(began.elapsed() < PATIENCE, "it does not stop");
        thread::sleep(Duration::from_millis(5));
    }
    put(&pgveil, &policy(2, AGENTS, DBA, "north"));
    assert!(pgveil.wait().success());
    let lines = pgveil.audit_lines();
    assert!(lines.last().is_some_and(stopped), "{lines:#?}");
}

#[test]
fn whoever_loses_a_role_loses_the_session() {
    let (server, pgveil) = start(&policy(4, AGENTS, DBA, "north"));
    let mut idle = login(&pgveil, "agent");
    let mut busy = login(&pgveil, "agent");
    let mut stays = login(&pgveil, "second");
    let mut dba = login(&pgveil, "dba");
    assert_eq!(cells(&dba.query(PHONE)).len(), 2);
    busy.send_raw(&message::query("SELECT pg_sleep(600)"));
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()";
    let count = || server.sql("postgres", running)[0][0].clone();
    let began = Instant::now();
    while count().as_deref() != Some("1") {
        assert!(began.elapsed() < PATIENCE, "it does not run");
        thread::sleep(Duration::from_millis(20));
    }
    // The agent goes, the administrator is masked from now on.
    change(
        &pgveil,
        &policy(
            4,
            "{ db_user: second }, { db_user: dba }",
            "{ db_user: nobody }",
            "north",
        ),
    );
    for client in [&mut idle, &mut busy, &mut dba] {
        let said = error(&client.read_until_ready()).expect("a last word");
        assert!(said.starts_with("57P01 pgveil: terminating"), "{said}");
    }
    assert_eq!(cells(&stays.query(PHONE)), ["*******5678"]);
    let began = Instant::now();
    while count().as_deref() != Some("0") {
        assert!(began.elapsed() < PATIENCE, "its statement is cancelled");
        thread::sleep(Duration::from_millis(20));
    }
    let refused = Client::try_login(
        pgveil.port(),
        "agent",
        "",
        &[("user", "agent"), ("database", "postgres")],
    );
    assert!(refused.is_err(), "the agent is not let in again");
    let mut dba = login(&pgveil, "dba");
    assert_eq!(cells(&dba.query(PHONE)), [""; 0], "no region, no rows");
}

#[test]
fn each_statement_is_wholly_under_one_version_and_its_record_names_it() {
    const CLIENTS: usize = 64;
    // Each waits for a moment of quiet. PGVEIL_RELOADS asks for more, and `tests/run.sh reload` for 500.
    let reloads = std::env::var("PGVEIL_RELOADS");
    let reloads: usize = reloads.map_or(50, |count| count.parse().expect("a number"));
    let text =
        |turn: usize| policy([4, 2][turn % 2], AGENTS, DBA, "north") + &format!("# {turn}\n");
    let (_server, pgveil) = start(&text(0));
    let masks = [(4, "*******5678"), (2, "*********78")];
    let ending = AtomicBool::new(false);
    let mut versions = BTreeMap::from([(version(&pgveil), 4)]);
    let seen: Vec<Vec<String>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (pgveil, ending) = (&pgveil, &ending);
                scope.spawn(move || {
                    let mut client = login(pgveil, ["agent", "second"][number % 2]);
                    client.query(&format!("SET application_name = 'client {number}'"));
                    let mut seen = Vec::new();
                    while !ending.load(Ordering::Relaxed) {
                        let frames = client.query("SELECT phone, phone AS again FROM crm.contacts");
                        assert_eq!(error(&frames), None);
                        let [one, other] = &cells(&frames)[..] else {
                            panic!("{frames:?}");
                        };
                        assert_eq!(one, other, "one statement, two policies");
                        seen.push(one.clone());
                        thread::sleep(Duration::from_millis(20));
                    }
                    seen
                })
            })
            .collect();
        for turn in 1..=reloads {
            versions.insert(change(&pgveil, &text(turn)), [4, 2][turn % 2]);
        }
        ending.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().expect("a client"))
            .collect()
    });
    assert_eq!(versions.len(), reloads + 1);
    let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in pgveil.audit_lines() {
        let record: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        if text("kind") == "SELECT" && text("text").contains("again") {
            let keep = versions[&text("policy_version")];
            let mask = masks.iter().find(|mask| mask.0 == keep).expect("a mask").1;
            let session = record["session"].to_string();
            recorded.entry(session).or_default().push(mask.to_owned());
        }
    }
    let mut recorded: Vec<_> = recorded.into_values().collect();
    let mut seen = seen;
    recorded.sort();
    seen.sort();
    assert_eq!(recorded, seen, "each record names the policy of its answer");
    let both = seen
        .iter()
        .flatten()
        .filter(|mask| *mask == masks[1].1)
        .count();
    assert!(both > 0 && both < seen.iter().flatten().count());
}
