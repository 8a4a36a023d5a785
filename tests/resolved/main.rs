//! The judge's reading of a text against the server's own: PostgreSQL says itself, by `debug_print_parse`, what each name of
//! a text means, and a checker that knows nothing of the rewriter holds what would run against the policy.
//!
//! `PGVEIL_RESOLVED=100000 PGVEIL_SEED=1 cargo test --test resolved -- --ignored --nocapture long` is the long run.
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../attacks/mod.rs"]
mod attacks;
#[allow(dead_code)]
#[path = "../generated/expression.rs"]
mod expression;
#[allow(dead_code)]
#[path = "../generated/sources.rs"]
mod from;
#[allow(dead_code)]
#[path = "../generated/generator.rs"]
mod generator;
#[allow(dead_code)]
#[path = "../generated/grouping.rs"]
mod grouping;
#[allow(dead_code)]
#[path = "../generated/literal.rs"]
mod literal;
#[allow(dead_code)]
#[path = "../generated/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../generated/schema.rs"]
mod schema;
#[allow(dead_code)]
#[path = "../generated/statement.rs"]
mod statement;
#[allow(dead_code)]
#[path = "../generated/write.rs"]
mod write;

mod check;
mod form;
mod guards;
mod line;
mod names;
mod node;
mod poison;
mod reading;
mod report;
mod scope;
mod sources;
mod stand;
mod utility;

use std::env;
use std::ops::Range;

use report::Report;
use stand::{Stand, USER};
use statement as generated;
use support::{Options, Postgres};

/// Statements of a normal test run, of each generator.
const SAMPLE: u64 = 500;
/// Enough for trees that the planner and the checker walk.
const STACK: usize = 256 << 20;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// A server whose log does not fill with the trees that clients are told.
fn server() -> Postgres {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!(
            "CREATE ROLE {USER} LOGIN; CREATE ROLE crm_sales LOGIN; GRANT crm_sales TO {USER}; \
             ALTER ROLE {USER} SET log_min_messages = 'panic'"
        ),
    );
    server
}

/// What tests/attacks/fixture.sql reads its rows from.
const SECRET: &str = "CREATE TABLE secret(id int, name text, phone text, email text, id_card text, salary numeric, notes text, \
                      owner_id int, region text); \
                      INSERT INTO secret SELECT g, 'n' || g, '1380013800' || g, g || '@x.example', g, 44991 + 10 * g, '', 7, 'CN' \
                      FROM generate_series(1, 3) g;";

fn attacked(server: &Postgres) -> Stand {
    let schema = format!("{SECRET} {}", include_str!("../attacks/fixture.sql"));
    Stand::new(
        server,
        "crm",
        &schema,
        include_str!("../attacks/policy.yaml"),
        "\"$user\", public",
    )
}

fn planned(server: &Postgres) -> Stand {
    Stand::new(
        server,
        "crmdb",
        include_str!("planning.sql"),
        include_str!("planning.yaml"),
        "crm, public",
    )
}

fn generated_stand(server: &Postgres) -> Stand {
    Stand::new(server, "crm0", schema::DDL, schema::POLICY, "crm, public")
}

fn named(server: &Postgres) -> Stand {
    Stand::new(
        server,
        "names",
        names::SCHEMA,
        names::POLICY,
        names::PATHS[0],
    )
}

/// On a thread whose stack is as large as a planner's.
fn deep(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

/// All texts of the seeds.
fn run(
    stand: &Stand,
    seeds: Range<u64>,
    texts: impl Fn(u64) -> Vec<(String, String)> + Sync,
) -> Report {
    const WORKERS: u64 = 2;
    let mut report = Report::default();
    let parts: Vec<Report> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (texts, seeds) = (&texts, seeds.clone());
                std::thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, move || {
                        let mut report = Report::default();
                        let mut line = stand.line();
                        for seed in seeds.filter(|seed| seed % WORKERS == worker) {
                            for (text, path) in texts(seed) {
                                report.run(stand, &mut line, &text, &path);
                            }
                        }
                        report
                    })
                    .expect("a thread")
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker"))
            .collect()
    });
    parts.into_iter().for_each(|part| report.add(part));
    report
}

fn listed(stand: &Stand, texts: &[String]) -> Report {
    let path = stand.path;
    run(stand, 0..texts.len() as u64, |at| {
        vec![(texts[at as usize].clone(), path.to_owned())]
    })
}

fn generated_texts(stand: &Stand, seeds: Range<u64>, major: u32) -> Report {
    run(stand, seeds, |seed| {
        let texts = sources::generated(seed, major);
        texts
            .into_iter()
            .map(|text| (text, stand.path.to_owned()))
            .collect()
    })
}

fn named_texts(stand: &Stand, seeds: Range<u64>, major: u32) -> Report {
    run(stand, seeds, |seed| {
        let text = names::generate(seed, major);
        vec![(text.sql, text.path.to_owned())]
    })
}

#[test]
fn attacks_and_cases_are_read_as_the_server_reads_them() {
    deep(|| {
        let server = server();
        let attacks = listed(&attacked(&server), &sources::attacks(server.major()));
        println!("attacks: {attacks}");
        let cases = listed(&planned(&server), &sources::planning());
        println!("cases: {cases}");
        attacks.check();
        cases.check();
        assert!(attacks.all_checked() > 250, "too few attacks were checked");
        assert!(cases.all_checked() > 300, "too few cases were checked");
    });
}

#[test]
fn generated_statements_are_read_as_the_server_reads_them() {
    deep(|| {
        let server = server();
        let stand = generated_stand(&server);
        let first = number("PGVEIL_SEED", 1);
        let report = generated_texts(&stand, first..first + SAMPLE, server.major());
        println!("{report}");
        report.check();
    });
}

#[test]
fn easily_mistaken_names_are_read_as_the_server_reads_them() {
    deep(|| {
        let server = server();
        let stand = named(&server);
        let first = number("PGVEIL_SEED", 1);
        let report = named_texts(&stand, first..first + 3 * SAMPLE, server.major());
        println!("{report}");
        report.check();
    });
}

#[test]
#[ignore = "as long as one wants: PGVEIL_RESOLVED statements of each generator"]
fn long() {
    deep(|| {
        let server = server();
        let first = number("PGVEIL_SEED", 1);
        let count = number("PGVEIL_RESOLVED", 20_000);
        let names = named_texts(&named(&server), first..first + count, server.major());
        println!("names: {names}");
        let generated = generated_texts(
            &generated_stand(&server),
            first..first + count,
            server.major(),
        );
        println!("generated: {generated}");
        names.check();
        generated.check();
    });
}
