//! PostgreSQL's own regression tests through pgveil. A selection stands in tests/regress/sql; `PGVEIL_REGRESS=folder` names
//! another `src/test/regress`: all of it with `tests/run.sh regress`.
#[allow(dead_code)] // of it, only comparisons that hide new object ids
#[path = "../generated/description.rs"]
mod description;
mod restricted;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod unrestricted;

use std::path::{Path, PathBuf};
use std::{env, fs};

use support::{Config, Options, Pgveil, Postgres};

const POLICY: &str = "
version: 1
data:
  other: { missing: warn, columns: [elsewhere.people.phone] }
roles:
  agent: { who: [{ db_user: regress_agent }], mask: { other: redact } }
  clear: { who: [{ db_user: postgres }], unmasked: true }
unmatched: clear
";

/// What stands in no vendored selection is needed by nothing in it.
pub const DATABASE: &str = "regression";

pub fn folder() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regress");
    env::var_os("PGVEIL_REGRESS").map_or_else(own, PathBuf::from)
}

/// Names of the test files in the order of PostgreSQL's schedule, or of the alphabet behind test_setup where there is
/// none. `PGVEIL_REGRESS_ONLY` is a list of names with commas.
pub fn tests() -> Vec<String> {
    let only = env::var("PGVEIL_REGRESS_ONLY").ok();
    let wanted = |name: &str| {
        name == "test_setup"
            || only
                .as_ref()
                .is_none_or(|only| only.split(',').any(|wanted| wanted == name))
    };
    let schedule = fs::read_to_string(folder().join("parallel_schedule"));
    let mut names: Vec<String> = match schedule {
        Ok(schedule) => schedule
            .lines()
            .filter_map(|line| line.strip_prefix("test: "))
            .flat_map(|line| {
                line.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect(),
        Err(_) => {
            let files = fs::read_dir(folder().join("sql")).expect("regression files");
            let mut names: Vec<String> = files
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
                .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
                .collect();
            names.sort_by_key(|name| (name != "test_setup", name.clone()));
            names
        }
    };
    names.retain(|name| wanted(name));
    names
}

pub fn server() -> Postgres {
    let server = Postgres::start(Options {
        // As pg_regress sets up, so that results are settled.
        settings: &[
            ("autovacuum", "off"),
            ("timezone", "PST8PDT"),
            ("datestyle", "Postgres, MDY"),
            ("intervalstyle", "postgres_verbose"),
            ("max_prepared_transactions", "2"),
            ("synchronous_commit", "off"),
        ],
        ..Options::default()
    });
    server.sql("postgres", "CREATE ROLE regress_agent SUPERUSER LOGIN");
    server.sql("postgres", "CREATE DATABASE regression TEMPLATE template0");
    server
}

pub fn veil(server: &Postgres) -> Pgveil {
    let mut config = Config::new(server);
    config.policy(POLICY);
    config.reads_catalogs(server, &[DATABASE]);
    Pgveil::start(&config)
}
