//! Twins, servers of one schema with other secrets of equal masks, a pgveil before each; and a copy whose cells are masked
//! physically, which is spoken to directly. Each worker has databases of its own.
use crate::oracles::{self, Found};
use crate::play::{Played, Stage};
use crate::random::Random;
use crate::script::Script;
use crate::support::compare;
use crate::support::message::Client;
use crate::support::{Config, Options, Pgveil, Postgres, query};

const FIXTURE: &str = include_str!("fixture.sql");

const POLICY: &str = "
version: 1
data: { phone: { columns: [one.people.phone, one.people.hotline, two.items.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } } }
  clear: { who: [{ db_user: clear }], unmasked: true }
unmatched: deny
";

/// Rows of both masked tables.
const STORED: usize = 6;
/// Letters of a secret that no mask shows.
const HIDDEN: usize = 8;

pub struct Bench {
    twins: [(Postgres, Pgveil); 2],
    /// Of both twins: what no byte for a restricted role may hold.
    secrets: Vec<Vec<u8>>,
    /// Object ids above are those of what scripts create.
    last_oid: u32,
}

/// Who plays a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Restricted,
    /// Sees what is stored.
    Unrestricted,
}

fn stored(worker: usize) -> String {
    format!("stored{worker}")
}

fn masked(worker: usize) -> String {
    format!("masked{worker}")
}

fn secrets(twin: u64) -> Vec<String> {
    let mut random = Random::new(4_711 + twin);
    let mut letter = || char::from(b'a' + random.below(26) as u8);
    (0..STORED)
        .map(|_| (0..HIDDEN).map(|_| letter()).collect())
        .collect()
}

impl Bench {
    pub fn start(workers: usize) -> Bench {
        let twins = [0, 1].map(|twin| {
            let server = server(&secrets(twin), workers);
            let pgveil = veil(&server, workers);
            (server, pgveil)
        });
        mask(&twins[0].0, &twins[0].1, workers);
        let highest = |database: String| -> u32 {
            let rows = twins[0].0.sql(
                &database,
                "SELECT greatest(max(oid)::int8, (SELECT max(oid)::int8 FROM pg_type)) FROM pg_class",
            );
            let oid = rows[0][0].as_deref().and_then(|oid| oid.parse().ok());
            oid.expect("an oid")
        };
        let last_oid = highest(stored(0)).max(highest(masked(0)));
        let secrets = [0, 1].map(secrets).concat();
        Bench {
            last_oid,
            secrets: secrets.into_iter().map(String::into_bytes).collect(),
            twins,
        }
    }

    pub fn line(&self, worker: usize) -> Line<'_> {
        let admin = |server: &Postgres, database: &str| {
            Client::login(server.port(), "postgres", "", database)
        };
        Line {
            bench: self,
            worker,
            admins: [
                admin(&self.twins[0].0, &stored(worker)),
                admin(&self.twins[1].0, &stored(worker)),
                admin(&self.twins[0].0, &masked(worker)),
            ],
        }
    }

    /// What the servers said last: they may have crashed.
    fn end_of_log(&self) -> String {
        let logs = self.twins.iter().map(|(server, _)| server.log());
        let ends = logs.map(|log| {
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(25)..].join("\n")
        });
        ends.collect::<Vec<_>>().join("\n\n")
    }

    /// Complaints of both pgveils about themselves.
    pub fn complaints(&self) -> Vec<String> {
        let logs = self.twins.iter().map(|(_, pgveil)| pgveil.log());
        let lines: Vec<String> = logs
            .flat_map(|log| log.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.contains("panicked"))
            .collect();
        lines
    }
}

fn server(secrets: &[String], workers: usize) -> Postgres {
    let server = Postgres::start(Options {
        settings: &[("autovacuum", "off"), ("synchronous_commit", "off")],
        ..Options::default()
    });
    server.sql(
        "postgres",
        "CREATE ROLE agent LOGIN; CREATE ROLE clear LOGIN SUPERUSER; \
         ALTER ROLE agent SET search_path = one, public; ALTER ROLE clear SET search_path = one, public",
    );
    let first = stored(0);
    server.create_database(&first);
    server.sql(&first, "CREATE TABLE stored (id int, phone text)");
    for (index, secret) in secrets.iter().enumerate() {
        let id = index + 1;
        server.sql(
            &first,
            &format!("INSERT INTO stored VALUES ({id}, '138{secret}000{id}')"),
        );
    }
    server.sql(&first, FIXTURE);
    server.sql(&first, "SELECT public.reset()");
    // So that there are values in pg_stats.
    server.sql(&first, "ANALYZE");
    let more = (1..workers).map(stored).chain((0..workers).map(masked));
    for name in more {
        server.sql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE {first}"),
        );
    }
    server
}

/// Puts what pgveil makes of the values in their place.
fn mask(server: &Postgres, pgveil: &Pgveil, workers: usize) {
    let text = "SELECT id, phone FROM one.people UNION ALL SELECT id + 3, phone FROM two.items";
    let rows = query(pgveil.port(), "agent", None, &stored(0), text).expect("masks");
    assert_eq!(rows.len(), STORED);
    for worker in 0..workers {
        for row in &rows {
            let (id, phone) = (row[0].as_deref(), row[1].as_deref());
            let (id, phone) = (id.expect("an id"), phone.expect("a mask"));
            server.sql(
                &masked(worker),
                &format!("UPDATE stored SET phone = '{phone}' WHERE id = {id}"),
            );
        }
        server.sql(&masked(worker), "SELECT public.reset()");
    }
}

fn veil(server: &Postgres, workers: usize) -> Pgveil {
    let databases: Vec<String> = (0..workers).map(stored).collect();
    let mut config = Config::new(server);
    config.policy(POLICY);
    config.reads_catalogs(server, &databases);
    Pgveil::start(&config)
}

/// What a worker plays scripts in.
pub struct Line<'a> {
    bench: &'a Bench,
    worker: usize,
    /// Of both twins and of the copy.
    admins: [Client; 3],
}

/// Where a script is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Twin(usize),
    /// The copy, past pgveil.
    Copy,
    /// The first twin itself, past pgveil.
    Direct,
}

impl Line<'_> {
    /// Plays a script and holds what is said against what may be.
    pub fn run(&mut self, script: &Script, role: Role) -> Found {
        let user = match role {
            Role::Restricted => "agent",
            Role::Unrestricted => "clear",
        };
        match role {
            Role::Restricted => {
                let [a, b, copy] = [Place::Twin(0), Place::Twin(1), Place::Copy]
                    .map(|place| self.play(script, place, user));
                oracles::restricted(
                    script,
                    [&a, &b],
                    &copy,
                    &self.bench.secrets,
                    self.bench.last_oid,
                )
            }
            Role::Unrestricted => {
                let [through, direct] =
                    [Place::Twin(0), Place::Direct].map(|place| self.play(script, place, user));
                oracles::unrestricted(&through, &direct, self.bench.last_oid)
            }
        }
    }

    /// All that is said through pgveil and directly.
    pub fn shown(&mut self, script: &Script, role: Role) -> String {
        let (user, direct) = match role {
            Role::Restricted => ("agent", Place::Copy),
            Role::Unrestricted => ("clear", Place::Direct),
        };
        let mut shown = String::new();
        for place in [Place::Twin(0), direct] {
            let played = self.play(script, place, user);
            shown += &format!("{place:?} {:?}\n", played.end);
            for frame in &played.frames {
                shown += &format!("  {frame:?}\n");
            }
        }
        shown
    }

    /// What the twins say to somebody who sees what is stored: the poison control.
    pub fn shows_secret_unmasked(&mut self, script: &Script) -> bool {
        let played = self.play(script, Place::Twin(0), "clear");
        oracles::secret(&played, &self.bench.secrets).is_some()
    }

    fn play(&mut self, script: &Script, place: Place, user: &str) -> Played {
        let bench = self.bench;
        let (admin, port, database) = match place {
            Place::Twin(twin) => (twin, bench.twins[twin].1.port(), stored(self.worker)),
            Place::Copy => (2, bench.twins[0].0.port(), masked(self.worker)),
            Place::Direct => (0, bench.twins[0].0.port(), stored(self.worker)),
        };
        let admin = std::cell::RefCell::new(&mut self.admins[admin]);
        let writes = script.writes();
        if writes {
            admin.borrow_mut().query("SELECT public.reset()");
        }
        let activity = || {
            let text = "SELECT concat_ws(' ', usename, state, wait_event, left(query, 60)) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY 1";
            compare::values(&admin.borrow_mut().query(text)).join("; ")
        };
        let mut stage = Stage {
            client: Client::try_login(port, user, "", &[("user", user), ("database", &database)])
                .unwrap_or_else(|refused| panic!("{refused:?}\n{}", bench.end_of_log())),
            port,
            activity: &activity,
        };
        let played = stage.play(script);
        drop(stage);
        if writes {
            admin.borrow_mut().query("SELECT public.reset()");
        }
        played
    }
}
