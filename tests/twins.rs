//! Twins: two databases of one schema hold other secrets with equal masks. The same session through pgveil must receive
//! the same bytes from both, whatever statement it sends. With masking off the same comparison must fail.
mod attacks;
mod support;

use std::collections::BTreeMap;

use attacks::{ATTACKS, Case, MORE, cases};
use support::message::{self, Client, Frame};
use support::{Config, Options, Pgveil, Postgres};

const FIXTURE: &str = include_str!("attacks/fixture.sql");

/// Per twin: name, phone, email, id_card, salary, notes of three customers. Masks are equal column by column.
const SECRETS: [[[&str; 6]; 3]; 2] = [
    [
        [
            "张伟CANARY",
            "13800138000",
            "zhangwei@canary.example",
            "11010519491231002X",
            "48763.21",
            "CANARYNOTE vip",
        ],
        [
            "李娜CANARY",
            "13900139000",
            "lina@canary.example",
            "310101198001010012",
            "35122.40",
            "CANARYNOTE two",
        ],
        [
            "Otto CANARY",
            "4915112345678",
            "otto@canary.example",
            "DE999888777",
            "61234.56",
            "CANARYNOTE three",
        ],
    ],
    [
        [
            "张芳MIRROR",
            "13877778000",
            "zoe@canary.example",
            "44030019700101777X",
            "45001.00",
            "another",
        ],
        [
            "李强MIRROR",
            "13955559000",
            "leo@canary.example",
            "999999200212319999",
            "39999.99",
            "note",
        ],
        [
            "Olaf MIRROR",
            "4911199995678",
            "ole@canary.example",
            "FR000000001",
            "64999.01",
            "",
        ],
    ],
];

const POLICY: &str = include_str!("attacks/policy.yaml");

/// One way to send a statement.
type Run = fn(&mut Client, &str) -> Vec<Frame>;

/// Two servers set up alike, so that object ids are equal too; a pgveil before each.
struct Bench {
    twins: [(Postgres, Pgveil); 2],
}

impl Bench {
    fn start() -> Bench {
        Bench {
            twins: SECRETS.map(start),
        }
    }

    fn major(&self) -> u32 {
        self.twins[0].0.major()
    }

    /// A session with each twin.
    fn login(&self, user: &str) -> [Client; 2] {
        [0, 1].map(|twin| Client::login(self.twins[twin].1.port(), user, "", "crm"))
    }
}

fn start(secrets: [[&str; 6]; 3]) -> (Postgres, Pgveil) {
    let server = Postgres::start(Options {
        // Nothing of its own accord takes object ids.
        settings: &[("autovacuum", "off")],
        ..Options::default()
    });
    server.sql(
        "postgres",
        "CREATE ROLE crm_app LOGIN; CREATE ROLE crm_sales LOGIN; GRANT crm_sales TO crm_app; \
         CREATE ROLE crm_clear LOGIN SUPERUSER",
    );
    server.create_database("crm");
    server.sql(
        "crm",
        "CREATE TABLE secret(id int, name text, phone text, email text, id_card text, salary numeric, \
         notes text, owner_id int, region text)",
    );
    for (index, secret) in secrets.iter().enumerate() {
        let (owner, region) = if index < 2 { (7, "CN") } else { (8, "EU") };
        let values: Vec<String> = secret.iter().map(|value| format!("'{value}'")).collect();
        server.sql(
            "crm",
            &format!(
                "INSERT INTO secret VALUES ({}, {}, {owner}, '{region}')",
                index + 1,
                values.join(", ")
            ),
        );
    }
    server.sql("crm", FIXTURE);
    // Where the server has them: cases that call them fail alike without.
    for extension in [
        "hstore",
        "pg_trgm",
        "fuzzystrmatch",
        "tablefunc",
        "pageinspect",
    ] {
        let _ = server.try_sql(
            "crm",
            &format!("CREATE EXTENSION {extension} SCHEMA public"),
        );
    }
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.reads_catalogs(&server, &["crm"]);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

/// What a client received, less what differs between any two sessions, and with rows in no order where none was asked.
fn received(frames: &[Frame], ordered: bool) -> Vec<Vec<u8>> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for frame in frames {
        // A notification carries the pid of the sender.
        let bytes = match frame.tag {
            b'A' => frame.body.get(4..).unwrap_or(&[]).to_vec(),
            _ => frame.bytes(),
        };
        if matches!(frame.tag, b'D' | b'd') && !ordered {
            rows.push(bytes);
        } else {
            rows.sort();
            kept.append(&mut rows);
            kept.push(bytes);
        }
    }
    rows.sort();
    kept.append(&mut rows);
    kept
}

fn simple(client: &mut Client, sql: &str) -> Vec<Frame> {
    client.query(sql)
}

/// The extended protocol, results in binary.
fn extended(client: &mut Client, sql: &str) -> Vec<Frame> {
    client.send_all(&[
        message::parse("", sql, &[]),
        message::describe(b'S', ""),
        message::bind("", "", &[], 1),
        message::describe(b'P', ""),
        message::execute("", 0),
        message::sync(),
    ]);
    client.read_until_ready()
}

/// SQLSTATE of the first error.
fn error(frames: &[Frame]) -> Option<String> {
    frames
        .iter()
        .find(|frame| frame.tag == b'E')
        .and_then(|frame| frame.field(b'C'))
}

/// The kind of attack: the letter of a case's id.
fn letter(case: &Case) -> Option<char> {
    case.id.trim_start_matches('+').chars().next()
}

/// The difference between the twins for one statement, if there is one. `undone`: in a transaction that is rolled back.
fn difference(
    bench: &Bench,
    user: &str,
    sql: &str,
    run: Run,
    undone: bool,
) -> (Vec<Frame>, Option<String>) {
    let ordered = sql.to_ascii_uppercase().contains("ORDER BY");
    let [a, b] = bench.login(user).map(|mut client| {
        if undone {
            client.query("BEGIN");
        }
        let frames = run(&mut client, sql);
        if undone {
            client.query("ROLLBACK");
        }
        frames
    });
    let (left, right) = (received(&a, ordered), received(&b, ordered));
    let text = |bytes: Option<&Vec<u8>>| {
        bytes.map_or("nothing".into(), |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    };
    let differs = (0..left.len().max(right.len()))
        .find(|at| left.get(*at) != right.get(*at))
        .map(|at| format!("{:?} against {:?}", text(left.get(at)), text(right.get(at))));
    (a, differs)
}

fn secrets_in(frames: &[Frame], sql: &str) -> Vec<String> {
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    let shown = String::from_utf8_lossy(&bytes);
    SECRETS[0]
        .iter()
        .flatten()
        .filter(|secret| !secret.is_empty() && !sql.contains(**secret) && shown.contains(**secret))
        .map(|secret| (*secret).to_owned())
        .collect()
}

#[test]
fn restricted_sessions_see_the_same_of_both_twins() {
    let bench = Bench::start();
    let mut failures = Vec::new();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases(ATTACKS).into_iter().chain(cases(MORE)) {
        // No two runs of a random number are alike.
        if case.sql.contains("random()") {
            continue;
        }
        let mut runs: Vec<(&str, Run)> = vec![("simple", simple)];
        if !case.sql.trim_end_matches(';').contains(';') {
            runs.push(("extended", extended));
        }
        for (protocol, run) in runs {
            let (frames, differs) = difference(
                &bench,
                "crm_app",
                &case.sql,
                run,
                matches!(letter(&case), Some('W' | 'T' | 'Q')),
            );
            if let Some(differs) = differs {
                failures.push(format!(
                    "{} {protocol}: {}\n    {differs}",
                    case.id, case.sql
                ));
            }
            for secret in secrets_in(&frames, &case.sql) {
                failures.push(format!(
                    "{} {protocol}: {} shows {secret}",
                    case.id, case.sql
                ));
            }
            let outcome = error(&frames).unwrap_or_else(|| "ran".into());
            let must_run = case.id.starts_with('+') && bench.major() >= case.least;
            if must_run && outcome != "ran" {
                failures.push(format!(
                    "{} {protocol}: {} did not run: {outcome}",
                    case.id, case.sql
                ));
            }
            if std::env::var_os("PGVEIL_TEST_LIST").is_some() {
                println!(
                    "{} {} {protocol} {outcome} {}",
                    case.id,
                    case.kind,
                    case.sql.replace('\n', " ")
                );
            }
            *outcomes.entry(outcome).or_default() += 1;
        }
    }
    println!("outcomes: {outcomes:?}");
    assert!(
        outcomes.get("ran").copied().unwrap_or(0) > 150,
        "too few ran: {outcomes:?}"
    );
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
    // Every statement of these sessions is on record, and none of the secrets is.
    let records: String = bench
        .twins
        .iter()
        .flat_map(|(_, pgveil)| pgveil.audit_lines())
        .collect();
    for secret in SECRETS.iter().flatten().flatten() {
        assert!(
            secret.is_empty()
                || *secret == "note"
                || *secret == "another"
                || !records.contains(secret),
            "the record holds {secret}"
        );
    }
}

#[test]
fn with_masking_off_the_twins_differ() {
    let bench = Bench::start();
    let mut seen = 0;
    let mut leaks = 0;
    // Reads alone: the unrestricted role would change the databases.
    for case in cases(ATTACKS).into_iter().filter(|case| {
        case.id.starts_with(['A', 'B', 'C', 'D', 'E'])
            && case.kind != "S"
            && case.sql.starts_with("SELECT")
            && !case.sql.contains("pg_sleep")
    }) {
        let (frames, differs) = difference(&bench, "crm_clear", &case.sql, simple, false);
        if error(&frames).is_none() {
            seen += 1;
            leaks += usize::from(differs.is_some());
        }
    }
    println!("{leaks} of {seen} statements tell the twins apart with masking off");
    assert!(leaks >= 50, "the comparison is blind: {leaks} of {seen}");
}

/// Ways by which bytes reach a client: the letter of the cases, its name, and how many of them must tell the twins apart.
const WAYS: &[(char, &str, usize)] = &[
    ('W', "rows that writes return", 20),
    ('H', "COPY, cursors and batches", 7),
    ('E', "errors and counts of rows", 3),
    ('S', "system catalogs", 12),
    ('T', "what is checked when a row is written", 20),
    ('D', "what expressions make of values", 2),
    ('Q', "what is evaluated for rows that a rule hides", 15),
];
/// Attacks each of which has to tell the twins apart, by itself or by its control. What has to run (`+`) among T and Q shows
/// that something harmless goes on, and has nothing to tell.
const EACH: &[char] = &['T', 'D', 'Q'];
const ALSO: &[&str] = &[
    "E8", "H10", "H11", "H12", "H13", "S36", "W43", "W46", "W49", "W51", "W52", "W53", "W54",
    "W55", "W56", "W57", "W58", "W59", "W60", "W61",
];

fn must_tell(case: &Case) -> bool {
    let each = letter(case).is_some_and(|letter| EACH.contains(&letter));
    let harmless = case.id.starts_with('+') && matches!(letter(case), Some('T' | 'Q'));
    (each && !harmless) || ALSO.contains(&case.id.trim_start_matches('+'))
}

#[test]
fn with_masking_off_the_twins_differ_by_each_way_to_a_client() {
    let bench = Bench::start();
    let mut blind = Vec::new();
    for (wanted, way, least) in WAYS {
        let mut apart = Vec::new();
        let mut alike = Vec::new();
        for case in cases(MORE) {
            if letter(&case) != Some(*wanted) {
                continue;
            }
            let sql = case.control.as_ref().unwrap_or(&case.sql);
            let (_, differs) = difference(&bench, "crm_clear", sql, simple, true);
            if differs.is_none() && must_tell(&case) && bench.major() >= case.least {
                blind.push(format!("{}: {sql} does not tell the twins apart", case.id));
            }
            match differs {
                Some(_) => apart.push(case.id),
                None => alike.push(case.id),
            }
        }
        println!("{way}: apart {apart:?}, alike {alike:?}");
        if apart.len() < *least {
            blind.push(format!("{way}: {} tell the twins apart", apart.len()));
        }
    }
    assert!(blind.is_empty(), "the comparison is blind: {blind:?}");
}
