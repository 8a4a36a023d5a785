//! The judge on its own: whatever a rewriter hands it, no text gets past that reads a protected relation outside its
//! template or says something else than the client did.
use pgveil::sql::judge::{Examined, Rules, Side, examine};
use pgveil::sql::{parse, planner};
use proptest::prelude::*;

use crate::cases::expand;
use crate::fixture::Fixture;

/// Blocks of a statement, a wrong rewriting of it, and the judge's words.
const REWRITINGS: &str = include_str!("rewritings.txt");

/// Every relation has an alias: `FROM orders` and `FROM orders orders` are the same to the judge, and rightly.
const STATEMENTS: &[&str] = &[
    "SELECT phone FROM crm.contacts a",
    "SELECT c.phone, o.total FROM crm.contacts c JOIN crm.orders o ON o.contact_id = c.id WHERE c.region = 'CN'",
    "SELECT id FROM crm.orders x WHERE EXISTS (SELECT 1 FROM crm.contacts k WHERE k.phone = '13800138000') LIMIT 5",
    "WITH q AS (SELECT phone AS p FROM crm.contacts a) SELECT p, count(*) FROM q GROUP BY p ORDER BY 1",
    "SELECT phone FROM crm.contacts a UNION ALL SELECT total FROM crm.orders b",
    "INSERT INTO crm.orders AS t (id) SELECT id FROM crm.contacts a WHERE phone LIKE '138%'",
    "UPDATE crm.orders t SET total = c.phone FROM crm.contacts c WHERE c.id = contact_id",
    "SELECT a.id, a.phone, count(*) FROM crm.contacts a GROUP BY a.id HAVING count(*) > 1",
    "COPY crm.contacts (phone) TO STDOUT",
];

struct Bench {
    fixture: Fixture,
    path: Vec<String>,
    supposed: std::collections::BTreeSet<String>,
}

impl Bench {
    fn new() -> Self {
        Bench {
            fixture: Fixture::new(),
            path: ["pg_catalog", "crm", "public"].map(String::from).into(),
            supposed: Default::default(),
        }
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            catalog: &self.fixture.catalog,
            role: &self.fixture.role,
            path: &self.path,
            makes_in: Some("crm"),
            supposed: &self.supposed,
            user: "agent",
            templates: &self.fixture.templates,
            values: &self.fixture.values,
            declared: None,
            parameters: None,
        }
    }

    fn client(&self, text: &str) -> Examined {
        let tree = parse::parse(text).expect("parses").remove(0).tree;
        examine(&self.rules(), Side::Client, tree).expect("the role may run it")
    }

    fn accepts(&self, text: &str, client: &Examined) -> bool {
        planner::accept(&self.rules(), text, client).is_ok()
    }

    fn template(&self, only: bool) -> String {
        let relation = self
            .fixture
            .catalog
            .relation("crm", "contacts")
            .expect("contacts");
        let template = self
            .fixture
            .templates
            .get(1, &self.fixture.role, &self.fixture.values, relation, only)
            .expect("a template");
        format!("{}{}", template.open([], false), template.end(&[], false))
    }

    fn rewritten(&self, text: &str) -> String {
        let plan = self.fixture.plan(text);
        plan.text
            .map_or_else(|| text.to_owned(), |text| text.to_string())
    }
}

#[test]
fn a_rewriter_that_does_its_work_is_accepted() {
    let bench = Bench::new();
    for text in STATEMENTS {
        let client = bench.client(text);
        assert!(bench.accepts(&bench.rewritten(text), &client), "{text}");
    }
}

#[test]
fn a_faulty_rewriter_gets_no_text_past_the_judge() {
    let bench = Bench::new();
    for text in STATEMENTS {
        let client = bench.client(text);
        let right = bench.rewritten(text);
        let template = if text.starts_with("COPY") {
            bench.template(true)
        } else {
            bench.template(false)
        };
        let faults = [
            ("skips the relation", (*text).to_owned()),
            (
                "skips the relation under its alias",
                right.replacen(&template, "crm.contacts", 1),
            ),
            (
                "names another relation",
                right.replacen("crm\".\"contacts\")", "crm\".\"orders\")", 1),
            ),
            ("drops an alias", drop_alias(&right, &template)),
            ("keeps a comment", right.replacen(' ', " /* c */ ", 1)),
            ("keeps a line comment", format!("{right} -- c")),
            (
                "adds a column to the template",
                right.replacen("\"id\", \"name\"", "\"id\", \"phone\", \"name\"", 1),
            ),
            (
                "takes the mask off",
                right.replacen(
                    "(pg_catalog.\"left\"(\"phone\", 3))::pg_catalog.text",
                    "\"phone\"",
                    1,
                ),
            ),
            (
                "masks by another function",
                right.replacen("pg_catalog.\"left\"", "\"left\"", 1),
            ),
            (
                "filters inside the template",
                right.replacen("\"contacts\")", "\"contacts\" WHERE \"phone\" > '1')", 1),
            ),
            (
                "makes the template lateral",
                right.replacen(&template, &format!("LATERAL {template}"), 1),
            ),
            (
                "selects a constant more",
                right.replacen("SELECT ", "SELECT 1, ", 1),
            ),
            (
                "adds a statement",
                format!("{right}; SELECT phone FROM crm.contacts"),
            ),
            ("loses the statement", "SELECT 1".to_owned()),
        ];
        for (fault, wrong) in faults {
            assert!(
                wrong == right || !bench.accepts(&wrong, &client),
                "a rewriter that {fault} got past: {wrong}"
            );
        }
    }
}

fn drop_alias(text: &str, template: &str) -> String {
    let Some((before, behind)) = text.split_once(template) else {
        return text.to_owned();
    };
    let behind = behind.trim_start().trim_start_matches("AS ");
    let end = behind.find([' ', ')']).unwrap_or(behind.len());
    format!("{before}{template} AS x{}", &behind[end..])
}

#[derive(Debug, Clone)]
enum Mutation {
    Delete(usize),
    Duplicate(usize),
    Swap(usize, usize),
    Replace(usize, &'static str),
    Insert(usize, &'static str),
}

const WORDS: &[&str] = &[
    "crm",
    "contacts",
    ".",
    ",",
    "(",
    ")",
    "phone",
    "\"phone\"",
    "*",
    "AS",
    "SELECT",
    "FROM",
    "WHERE",
    "UNION",
    "ALL",
    "ONLY",
    "LATERAL",
    "NOT",
    "'x'",
    "1",
    "c",
    "q",
    ";",
    "--",
    "/*",
    "*/",
    "::text",
    "||",
    "NATURAL",
    "JOIN",
    "TABLE",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = 0..200usize;
    let word = (0..WORDS.len()).prop_map(|index| WORDS[index]);
    prop_oneof![
        at.clone().prop_map(Mutation::Delete),
        at.clone().prop_map(Mutation::Duplicate),
        (at.clone(), at.clone()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        (at.clone(), word.clone()).prop_map(|(at, word)| Mutation::Replace(at, word)),
        (at, word).prop_map(|(at, word)| Mutation::Insert(at, word)),
    ]
}

fn mutated(text: &str, mutations: &[Mutation]) -> String {
    let tokens = pgveil::sql::lex::tokens(text).expect("lexes");
    let mut words: Vec<String> = tokens
        .iter()
        .map(|token| token.text(text).to_owned())
        .collect();
    for mutation in mutations {
        let len = words.len().max(1);
        match mutation {
            Mutation::Delete(at) if !words.is_empty() => drop(words.remove(at % len)),
            Mutation::Duplicate(at) if !words.is_empty() => {
                words.insert(at % len, words[at % len].clone())
            }
            Mutation::Swap(a, b) if !words.is_empty() => words.swap(a % len, b % len),
            Mutation::Replace(at, word) if !words.is_empty() => {
                words[at % len] = (*word).to_owned()
            }
            Mutation::Insert(at, word) => words.insert(at % len, (*word).to_owned()),
            _ => {}
        }
    }
    words.join(" ").replace(" . ", ".").replace(" :: ", "::")
}

/// The items of GROUP BY in alphabetical order: columns that depend on a primary key among them are put in by pgveil, and
/// where they stand makes no other groups.
fn groups_in_order(text: &str) -> String {
    const GROUP_BY: &str = " GROUP BY ";
    let Some((before, behind)) = text.split_once(GROUP_BY) else {
        return text.to_owned();
    };
    let end = [" HAVING ", " ORDER BY ", " LIMIT ", ")"]
        .iter()
        .filter_map(|next| behind.find(next))
        .min();
    let (items, rest) = behind.split_at(end.unwrap_or(behind.len()));
    let mut items: Vec<&str> = items.split(", ").collect();
    items.sort_unstable();
    format!("{before}{GROUP_BY}{}{rest}", items.join(", "))
}

#[test]
fn groups_are_the_same_in_any_order_and_no_others() {
    let of = |text| groups_in_order(text);
    assert_eq!(
        of("SELECT 1 FROM a GROUP BY y, x HAVING z"),
        of("SELECT 1 FROM a GROUP BY x, y HAVING z")
    );
    assert_ne!(of("SELECT 1 GROUP BY y"), of("SELECT 1 GROUP BY x, y"));
    assert_eq!(of("SELECT y, x"), "SELECT y, x");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A text that the judge accepts is the right rewriting, but for the spelling.
    #[test]
    fn a_mutated_text_that_is_accepted_is_still_the_clients_statement(
        which in 0..STATEMENTS.len() - 1,
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        static BENCH: std::sync::OnceLock<Bench> = std::sync::OnceLock::new();
        let bench = BENCH.get_or_init(Bench::new);
        let text = STATEMENTS[which];
        let client = bench.client(text);
        let canonical = bench.rewritten(text);
        let wrong = mutated(&canonical, &mutations);
        if bench.accepts(&wrong, &client) {
            // libpg_query's own printing of the two trees: a comparison that the judge takes no part in.
            let printed = |text: &str| {
                let tree = pg_query::parse(text, 0).ok()?;
                tree.deparse(Default::default()).ok().map(|text| groups_in_order(&text))
            };
            let right = printed(&canonical);
            prop_assert!(right.is_some());
            prop_assert_eq!(printed(&wrong), right);
        }
    }
}

/// A lookup in a write runs on the stored value and on its mask: both halves must be the client's condition.
#[test]
fn the_halves_of_a_lookup_agree() {
    let bench = Bench::new();
    let text = "UPDATE crm.tickets t SET note = 'x' WHERE t.phone = '1'";
    let client = bench.client(text);
    let right = bench.rewritten(text);
    assert!(bench.accepts(&right, &client), "{right}");
    for (from, to) in [
        ("OPERATOR(pg_catalog.=) '1'", "OPERATOR(pg_catalog.=) '2'"),
        ("OPERATOR(pg_catalog.=) '1'", "OPERATOR(pg_catalog.>) '1'"),
        ("\"t\".\"phone\" OPERATOR", "\"t\".\"note\" OPERATOR"),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right);
        assert!(!bench.accepts(&wrong, &client), "{wrong}");
    }
}

/// Hands each wrong rewriting of rewritings.txt to the judge: what was wrong with its answer.
pub fn faulty_rewritings() -> Vec<String> {
    let bench = Bench::new();
    let mut failures = Vec::new();
    for block in REWRITINGS.split("\n\n") {
        let lines: Vec<&str> = block
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let [statement, wrong, check] = lines.as_slice() else {
            panic!("a block has three lines: {block}");
        };
        let wrong = wrong.strip_prefix("= ").expect("a text that runs");
        let wrong = expand(&bench.fixture, wrong);
        let client = bench.client(statement);
        match planner::accept(&bench.rules(), &wrong, &client) {
            Ok(()) => failures.push(format!("{statement}\n  {wrong}\n  got past")),
            Err(refusal) if refusal.detail != *check => {
                failures.push(format!("{statement}\n  {wrong}\n  {}", refusal.detail));
            }
            Err(_) => {}
        }
    }
    failures
}

#[test]
fn each_check_of_the_judge_stops_a_wrong_rewriting() {
    let failures = faulty_rewritings();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
