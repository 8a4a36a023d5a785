//! Three servers of one schema: twins A and B with other secrets of equal masks, a pgveil before each, and the copy whose
//! cells are masked physically, spoken to directly. Each worker has a database of its own on all three.
use crate::message::{self, Client, Frame};
use crate::rows::rows;
use crate::schema::{DDL, POLICY, masks};
use crate::statement::{Case, Step};
use crate::support::{Config, Options, Pgveil, Postgres};

const SECRETS: [u64; 2] = [11, 4_711];
pub const RESTRICTED: &str = "crm_app";
/// Sees what is stored: for poison controls.
pub const UNRESTRICTED: &str = "crm_clear";

pub struct Bench {
    twins: [(Postgres, Pgveil); 2],
    copy: Postgres,
    /// Object ids above are those of what statements create.
    pub last_oid: u32,
    pub major: u32,
}

pub fn database(worker: usize) -> String {
    format!("crm{worker}")
}

impl Bench {
    pub fn start(workers: usize) -> Bench {
        let [a, b] = SECRETS.map(|secret| server(secret, false, workers));
        let copy = server(SECRETS[0], true, workers);
        let highest = a.sql("crm0", "SELECT max(oid) FROM pg_class");
        let last_oid = highest[0][0].as_deref().and_then(|oid| oid.parse().ok());
        let major = a.major();
        let bench = Bench {
            twins: [a, b].map(|server| {
                let pgveil = veil(&server, workers);
                (server, pgveil)
            }),
            copy,
            last_oid: last_oid.expect("an oid"),
            major,
        };
        bench.check();
        bench
    }

    /// The copy holds what the role sees of both twins, relation by relation: else every comparison would be about that.
    fn check(&self) {
        let mut line = self.line(0, RESTRICTED);
        for table in crate::schema::TABLES {
            let case = Case {
                steps: vec![Step {
                    sql: format!("SELECT * FROM crm.{}", table.name),
                    copy_data: None,
                    unordered: true,
                }],
                exact: true,
                ..Case::default()
            };
            let found = line.run(&case);
            assert_eq!(found.difference, None, "{}", table.name);
            assert_eq!(found.refusal, None, "{}", table.name);
        }
    }

    /// Of twin A itself.
    pub fn port(&self) -> u16 {
        self.twins[0].0.port()
    }

    /// Clears away what rolled-back writes have left. Else twins whose secrets are of other lengths come to differ in
    /// pages, by that in plans, and by that in whether an expression that raises is met at all.
    pub fn tidy(&self, worker: usize) {
        for server in [&self.twins[0].0, &self.twins[1].0, &self.copy] {
            server.sql(&database(worker), "VACUUM");
        }
    }

    pub fn line(&self, worker: usize, user: &str) -> Line {
        let database = database(worker);
        let login = |port| Client::login(port, user, "", &database);
        Line {
            twins: [0, 1].map(|twin| login(self.twins[twin].1.port())),
            copy: login(self.copy.port()),
            last_oid: self.last_oid,
        }
    }
}

fn server(secret: u64, masked: bool, workers: usize) -> Postgres {
    let server = Postgres::start(Options {
        settings: &[("autovacuum", "off"), ("synchronous_commit", "off")],
        ..Options::default()
    });
    server.sql(
        "postgres",
        "CREATE ROLE crm_app LOGIN; CREATE ROLE crm_clear LOGIN SUPERUSER; \
         ALTER ROLE crm_app SET search_path = crm, public; ALTER ROLE crm_clear SET search_path = crm, public; \
         ALTER ROLE crm_app SET statement_timeout = '5s'; ALTER ROLE crm_app SET jit = off",
    );
    server.create_database("crm0");
    server.sql("crm0", DDL);
    server.sql("crm0", &format!("SET search_path = crm; {}", rows(secret)));
    if masked {
        mask(&server);
    }
    server.sql(
        "crm0",
        "SET ROLE crm_app; REFRESH MATERIALIZED VIEW crm.m_contacts",
    );
    for worker in 1..workers {
        server.sql(
            "postgres",
            &format!("CREATE DATABASE {} TEMPLATE crm0", database(worker)),
        );
    }
    server
}

/// Puts masks in the place of values, and of what is derived from them.
fn mask(server: &Postgres) {
    let mut text = String::from(
        "SET search_path = crm; ALTER TABLE numbers ALTER area DROP EXPRESSION; \
         UPDATE numbers SET area = CASE WHEN area IS NOT NULL THEN '***' END; \
         CREATE OR REPLACE VIEW v_regions AS SELECT v.id AS k, v.phone AS mobile, \
         CASE WHEN v.full_name IS NOT NULL THEN '***' END AS shouted, v.region FROM v_contacts v WHERE v.region <> 'XX'; ",
    );
    for (table, column, masked) in masks() {
        text += &format!("UPDATE {table} SET {column} = {masked}; ");
    }
    // What the masks make of rows that statements have written: to look at tables afterwards.
    text += "CREATE SCHEMA shown AUTHORIZATION crm_app; ";
    for table in crate::schema::TABLES.iter().filter(|table| !table.view) {
        let owner = if table.name == "child" {
            "base"
        } else {
            table.name
        };
        let cells: Vec<String> = table
            .columns
            .iter()
            .map(|(column, _)| {
                masks()
                    .into_iter()
                    .find(|mask| (mask.0, mask.1) == (owner, *column))
                    .map_or((*column).to_owned(), |mask| {
                        format!("{} AS {column}", mask.2)
                    })
            })
            .collect();
        text += &format!(
            "CREATE VIEW shown.{0} AS SELECT {1} FROM crm.{0}; ALTER VIEW shown.{0} OWNER TO crm_app; ",
            table.name,
            cells.join(", ")
        );
    }
    server.sql("crm0", &text);
    server.sql("crm0", "VACUUM FULL");
}

fn veil(server: &Postgres, workers: usize) -> Pgveil {
    let databases: Vec<String> = (0..workers).map(database).collect();
    let mut config = Config::new(server);
    config.policy(POLICY);
    config.reads_catalogs(server, &databases);
    Pgveil::start(&config)
}

/// A session with each twin, through pgveil, and one with the copy.
pub struct Line {
    pub twins: [Client; 2],
    pub copy: Client,
    pub last_oid: u32,
}

/// What came of a case.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The message of pgveil's refusal.
    pub refusal: Option<String>,
    /// SQLSTATE of the first error that is no refusal.
    pub error: Option<String>,
    /// The copy raised another error or none: SQL leaves that open.
    pub open: bool,
    pub difference: Option<Difference>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// The twins' answers differ: a leak.
    Twins,
    /// Through pgveil is not as direct on the masked copy.
    Fidelity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub oracle: Oracle,
    /// In a word or two.
    pub kind: String,
    pub shown: String,
}

impl Line {
    pub fn run(&mut self, case: &Case) -> Found {
        let sent = messages(case, "crm");
        let direct = messages(case, "shown");
        for twin in &mut self.twins {
            twin.send_raw(&sent.bytes);
        }
        self.copy.send_raw(&direct.bytes);
        let count = sent.kinds.len();
        let a = answers(&mut self.twins[0], count);
        let b = answers(&mut self.twins[1], count);
        let copy = answers(&mut self.copy, count);
        crate::compare::compare(case, &sent.kinds, [&a, &b], &copy, self.last_oid)
    }
}

/// What one answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// BEGIN, ROLLBACK.
    Frame,
    /// Of the case; unordered rows or not.
    Step { unordered: bool },
    /// The state of a table after a write.
    State,
}

struct Messages {
    bytes: Vec<u8>,
    /// One for each ReadyForQuery that will come.
    kinds: Vec<Kind>,
}

fn messages(case: &Case, schema: &str) -> Messages {
    let mut messages = Messages {
        bytes: Vec::new(),
        kinds: Vec::new(),
    };
    let mut add = |bytes: Vec<u8>, kind: Kind| {
        messages.bytes.extend(bytes);
        messages.kinds.push(kind);
    };
    if case.transaction {
        add(message::query("BEGIN"), Kind::Frame);
    }
    for step in &case.steps {
        let mut bytes = match &case.parameters {
            Some(values) => {
                let values: Vec<Option<&str>> =
                    values.iter().map(|value| Some(value.as_str())).collect();
                [
                    message::parse("", &step.sql, &[]),
                    message::describe(b'S', ""),
                    message::bind("", "", &values, u16::from(case.binary)),
                    message::describe(b'P', ""),
                    message::execute("", 0),
                    message::sync(),
                ]
                .concat()
            }
            None => message::query(&step.sql),
        };
        if let Some(data) = &step.copy_data {
            bytes.extend(message::frame(b'd', data.as_bytes()));
            bytes.extend(message::frame(b'c', b""));
        }
        add(
            bytes,
            Kind::Step {
                unordered: step.unordered,
            },
        );
    }
    for table in &case.written {
        add(
            message::query(&format!("SELECT * FROM {schema}.{table}")),
            Kind::State,
        );
    }
    if case.transaction {
        add(message::query("ROLLBACK"), Kind::Frame);
    }
    messages
}

/// The frames up to each of `count` ReadyForQuery.
fn answers(client: &mut Client, count: usize) -> Vec<Vec<Frame>> {
    (0..count).map(|_| client.read_until_ready()).collect()
}
