//! A database, a policy, and what pgveil and the server make of a text.
use std::sync::Arc;

use pgveil::catalog::Catalog;
use pgveil::policy::compiled::{RolePolicy, SessionValue};
use pgveil::sql::lex;
use pgveil::sql::plan::{Plan, Reason, SessionFacts, Verdict};
use pgveil::sql::planner::plan;
use pgveil::sql::template::{SessionValues, Templates};

use crate::check::{self, Allowed};
use crate::guards::Guards;
use crate::line::{Answer, Line};
use crate::node::Value;
use crate::reading::{self, Comparison};
use crate::support::{Folder, Postgres};
use crate::utility::within;

pub const USER: &str = "crm_app";

/// One database with one role's rules for it.
pub struct Stand {
    port: u16,
    database: String,
    pub catalog: Arc<Catalog>,
    pub role: Arc<RolePolicy>,
    pub guards: Guards,
    values: SessionValues,
    templates: Templates,
    /// The schemas in which names are looked up where a text says nothing else.
    pub path: &'static str,
}

/// What is found out by comparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What runs reads a secret beside its mask.
    Leak,
    /// A column that the statement uses is not on record.
    Missing,
    /// What runs means something else than the client's text.
    Differs,
    /// What runs is valid, the client's text is not.
    Accepted,
    /// The client's text is valid, what runs is not.
    Rejected,
    /// pgveil refuses a name as unknown that the server knows.
    Undefined,
    /// A tree that could not be read.
    Unreadable,
}

#[derive(Debug, Clone)]
pub struct Finding {
    pub kind: Kind,
    pub shown: String,
}

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// By pgveil, with the reason's label.
    Refused(&'static str),
    /// The server does not take it, neither as it is nor as it would run.
    Invalid,
    /// Held against the guards; how its reading compares.
    Checked(&'static str),
    /// Neither a query nor around one.
    Utility,
}

#[derive(Debug)]
pub struct Judged {
    pub outcome: Outcome,
    pub findings: Vec<Finding>,
    pub allowed: Vec<Allowed>,
    /// Guarded relations in what would run.
    pub guarded: usize,
}

impl Stand {
    /// Makes the database. The user is there already.
    pub fn new(
        server: &Postgres,
        database: &str,
        schema: &str,
        policy: &str,
        path: &'static str,
    ) -> Stand {
        server.create_database(database);
        server.sql(database, schema);
        let folder = Folder::new("resolved-policy");
        let policy = pgveil::policy::load(&folder.write("policy.yaml", policy))
            .unwrap_or_else(|found| panic!("{found}"));
        let catalog = Arc::new(crate::support::catalog::read(server, database));
        let (compiled, findings) = policy.compile(&catalog);
        assert!(!findings.has_errors(), "{findings}");
        let role = Arc::clone(compiled.role("agent", None, 0).expect("the role"));
        let values = SessionValues::from([
            (SessionValue::AppUser, "o'neil".to_owned()),
            (SessionValue::DbUser, USER.to_owned()),
        ]);
        let mut line = Line::login(server.port(), USER, database);
        line.look_in(path);
        let guards = Guards::of(&mut line, &catalog, &role, &values);
        Stand {
            port: server.port(),
            database: database.to_owned(),
            catalog,
            role,
            guards,
            values,
            templates: Templates::new(16 << 20),
            path,
        }
    }

    pub fn line(&self) -> Line {
        Line::login(self.port, USER, &self.database)
    }

    pub fn plan(&self, text: &str, path: &str) -> Plan {
        let facts = SessionFacts {
            search_path: path.to_owned(),
            user: USER.to_owned(),
            values: Arc::new(self.values.clone()),
            ..SessionFacts::default()
        };
        plan(text, &self.catalog, &self.role, &facts, &self.templates)
    }

    /// The statements of a text, each by itself.
    pub fn statements(&self, text: &str, path: &str) -> Vec<String> {
        let plan = self.plan(text, path);
        let parts = (0..plan.statements.len()).filter_map(|at| plan.span(at));
        let parts: Vec<String> = parts
            .filter_map(|(from, to)| text.get(from..to))
            .map(|part| part.trim().trim_end_matches(';').to_owned())
            .filter(|part| !part.is_empty())
            .collect();
        match parts.len() {
            0 | 1 => vec![text.to_owned()],
            _ => parts,
        }
    }

    /// Judges one statement.
    pub fn judge(&self, line: &mut Line, text: &str, path: &str) -> Judged {
        let mut judged = Judged {
            outcome: Outcome::Utility,
            findings: Vec::new(),
            allowed: Vec::new(),
            guarded: 0,
        };
        if text.contains('\0') {
            return judged;
        }
        line.look_in(path);
        let plan = self.plan(text, path);
        let [statement] = &plan.statements[..] else {
            return judged;
        };
        let client = within(text).unwrap_or(text);
        if let Verdict::Refuse(refusal) = &statement.verdict {
            judged.outcome = Outcome::Refused(refusal.reason.label());
            let [answer] = line.analyse([client]);
            if let Answer::Tree(tree) = answer {
                // What is refused as a whole is not read.
                if statement.kind != "this statement" {
                    self.recorded(&tree, client, &plan, &mut judged);
                }
                let whole = client.len() == text.len() && holds_query(&tree);
                if refusal.reason == Reason::Undefined && whole {
                    judged.find(Kind::Undefined, refusal.message.clone());
                }
            }
            return judged;
        }
        let run = plan.text.as_deref().unwrap_or(text);
        self.compare(
            line,
            client,
            within(run).unwrap_or(run),
            Some(&plan),
            &mut judged,
        );
        judged
    }

    /// Holds a text that would run against the guards, whoever made it.
    pub fn hold(&self, line: &mut Line, client: &str, run: &str) -> Judged {
        let mut judged = Judged {
            outcome: Outcome::Utility,
            findings: Vec::new(),
            allowed: Vec::new(),
            guarded: 0,
        };
        self.compare(line, client, run, None, &mut judged);
        judged
    }

    fn compare(
        &self,
        line: &mut Line,
        client: &str,
        run: &str,
        plan: Option<&Plan>,
        judged: &mut Judged,
    ) {
        let [read, runs] = line.analyse([client, run]);
        let (read, runs) = match (read, runs) {
            (Answer::Tree(read), Answer::Tree(runs)) => (read, runs),
            (Answer::Error { .. }, Answer::Error { .. }) => {
                judged.outcome = Outcome::Invalid;
                return;
            }
            (Answer::Error { sqlstate, message }, Answer::Tree(runs)) => {
                judged.outcome = Outcome::Checked("only what runs is valid");
                judged.find(
                    Kind::Accepted,
                    format!("{sqlstate} {message}, and what runs is valid: {run}"),
                );
                self.guarded(&runs, run, judged);
                return;
            }
            (Answer::Tree(_), Answer::Error { sqlstate, message }) => {
                judged.outcome = Outcome::Checked("only the client's text is valid");
                judged.find(Kind::Rejected, format!("{sqlstate} {message} in {run}"));
                return;
            }
            (Answer::Unreadable(why), _) | (_, Answer::Unreadable(why)) => {
                judged.outcome = Outcome::Checked("unreadable");
                judged.find(Kind::Unreadable, why);
                return;
            }
            (Answer::Empty, _) | (_, Answer::Empty) => return,
        };
        if !holds_query(&runs) {
            return;
        }
        self.guarded(&runs, run, judged);
        if let Some(plan) = plan {
            self.recorded(&read, client, plan, judged);
        }
        judged.outcome = Outcome::Checked("the same");
        match reading::compare(&read, &runs, &self.guards) {
            Comparison::Same => {}
            Comparison::Left(why) => judged.outcome = Outcome::Checked(why),
            Comparison::Differ(read, runs) => {
                judged.find(
                    Kind::Differs,
                    format!("\n    {read}\n    {runs}\n    in {run}"),
                );
            }
        }
    }

    fn guarded(&self, tree: &Value, run: &str, judged: &mut Judged) {
        let found = check::check(tree, &self.guards);
        for leak in found.leaks {
            judged.find(Kind::Leak, format!("{leak} in {run}"));
        }
        judged.allowed.extend(found.allowed);
        judged.guarded += found.guarded;
    }

    fn recorded(&self, tree: &Value, client: &str, plan: &Plan, judged: &mut Judged) {
        // What `*` stands for is on record only where its values go somewhere, which the tree does not say. The columns that
        // NATURAL merges are not known where a side is a function.
        let star = |word: &String| {
            let word = word.to_ascii_lowercase();
            matches!(word.as_str(), "*" | "table" | "natural")
        };
        if words(client).iter().any(star) {
            return;
        }
        for name in reading::missing(tree, &plan.statements[0].columns, &self.catalog) {
            judged.find(Kind::Missing, name);
        }
    }
}

impl Judged {
    fn find(&mut self, kind: Kind, shown: String) {
        self.findings.push(Finding { kind, shown });
    }
}

/// Whether there is anything in the tree that reads or writes.
fn holds_query(tree: &Value) -> bool {
    let mut holds = false;
    tree.each(&mut |node| holds |= node.kind == "QUERY" && !node.get("targetList").is_null());
    tree.each(&mut |node| holds |= node.kind == "QUERY" && !node.get("rtable").is_null());
    holds
}

/// The words of a text.
pub fn words(text: &str) -> Vec<String> {
    lex::tokens(text).map_or_else(
        |_| vec![text.to_owned()],
        |tokens| {
            tokens
                .iter()
                .map(|token| token.text(text).to_owned())
                .collect()
        },
    )
}
