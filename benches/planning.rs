//! What planning costs, part by part. Run with `cargo bench --bench planning`.
#[path = "../tests/planning/fixture.rs"]
mod fixture;

use std::sync::Arc;

use divan::{Bencher, black_box};
use fixture::Fixture;
use pgveil::sql::Planner;
use pgveil::sql::plan::{Plan, SessionFacts};
use pgveil::sql::shape::Shape;
use pgveil::sql::tree::Tree;

const STATEMENT: &str = "SELECT c.id, c.name, c.phone, o.total FROM crm.contacts c JOIN crm.orders o ON o.contact_id = c.id \
     WHERE c.region = 'CN' AND o.total > '100' ORDER BY o.total DESC LIMIT 20";

fn main() {
    divan::main();
}

#[divan::bench]
fn sqlparser_parse() -> usize {
    sqlparser::parser::Parser::parse_sql(
        &sqlparser::dialect::PostgreSqlDialect {},
        black_box(STATEMENT),
    )
    .map_or(0, |statements| statements.len())
}

#[divan::bench]
fn pg_query_parse() -> usize {
    pg_query::parse(black_box(STATEMENT), 0).map_or(0, |parsed| parsed.protobuf.stmts.len())
}

#[divan::bench]
fn generic_tree(bencher: Bencher) {
    let parsed = pg_query::parse(STATEMENT, 0).expect("parses");
    bencher.bench(|| Tree::of(black_box(&parsed.protobuf.stmts[0].stmt)));
}

#[divan::bench]
fn columns_used(bencher: Bencher) {
    let fixture = Fixture::new();
    let statements = pgveil::sql::parse::parse(STATEMENT).expect("parses");
    let path = ["crm", "public"].map(String::from);
    bencher.bench(|| {
        let (tree, catalog) = (&statements[0].tree, &fixture.catalog);
        pgveil::sql::columns::used(black_box(tree), catalog, &fixture.role, &path)
    });
}

#[divan::bench]
fn lexer() -> usize {
    pgveil::sql::lex::tokens(black_box(STATEMENT)).map_or(0, |tokens| tokens.len())
}

#[divan::bench]
fn plan_restricted(bencher: Bencher) {
    let fixture = Fixture::new();
    bencher.bench(|| fixture.plan(black_box(STATEMENT)));
}

#[divan::bench]
fn plan_unrestricted(bencher: Bencher) {
    let mut fixture = Fixture::new();
    fixture.role.unmasked = true;
    bencher.bench(|| fixture.plan(black_box(STATEMENT)));
}

/// A planner as sessions use it.
fn planner() -> impl Fn(Arc<str>) -> Arc<Plan> {
    let fixture = Fixture::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let planner = Planner::new(64 << 20, 1).expect("threads");
    let (catalog, role) = (Arc::new(fixture.catalog), Arc::new(fixture.role));
    let facts = Arc::new(SessionFacts {
        values: Default::default(),
        search_path: "crm, public".into(),
        user: "agent".into(),
        ..SessionFacts::default()
    });
    move |text| runtime.block_on(planner.plan(text, &catalog, &role, Arc::clone(&facts)))
}

#[divan::bench]
fn cache_hit(bencher: Bencher) {
    let plan = planner();
    let text: Arc<str> = STATEMENT.into();
    plan(Arc::clone(&text));
    bencher.bench_local(|| plan(Arc::clone(&text)));
}

/// A text that was never there, of a shape that was.
#[divan::bench]
fn new_literals(bencher: Bencher) {
    let plan = planner();
    let mut number = 0;
    let mut next = || {
        number += 1;
        Arc::from(STATEMENT.replace("'100'", &format!("'{number}'")))
    };
    for _ in 0..3 {
        plan(next());
    }
    bencher.with_inputs(next).bench_local_values(&plan);
}

#[divan::bench]
fn shape_of_a_text() -> Option<String> {
    Shape::of(black_box(STATEMENT)).map(|shape| shape.key())
}
