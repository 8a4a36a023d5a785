//! What there is to tell of a planned text: for each output column where it comes from and what becomes of it.
use std::sync::Arc;
use std::thread;

use crate::catalog::{AttNum, Oid};
use crate::cli::CliError;
use crate::cli::bench::{Bench, gathered};
use crate::config::Origin;
use crate::policy::compiled::RolePolicy;
use crate::policy::mask::quote_identifier;
use crate::policy::rules::RoleRule;
use crate::sql::cache::STACK_BYTES;
use crate::sql::columns::{self, OutputColumn};
use crate::sql::plan::{Plan, SessionFacts};

/// A planned text with all that is told of it.
pub struct Account<'a> {
    pub text: &'a str,
    pub plan: &'a Plan,
    pub role: &'a RolePolicy,
    /// The rules are on trial: nothing of this is done.
    pub trial: bool,
    pub outputs: Vec<Output>,
    /// The masked columns that the text reaches, in output columns or not.
    pub masked: Vec<Source>,
    pub rows: Vec<Rows>,
    /// Its rows count towards the role's export limits.
    pub counted: bool,
}

/// An output column.
pub struct Output {
    pub name: String,
    pub sources: Vec<Source>,
}

/// A column that values come from.
pub struct Source {
    /// `schema.table.column`
    pub column: String,
    pub classes: Vec<Arc<str>>,
    /// `None`: it is seen as it is.
    pub mask: Option<Masked>,
    /// The role may not name it.
    pub denied: bool,
}

/// What becomes of a masked column.
pub struct Masked {
    /// `derived` and `unlisted` are none of the policy's own.
    pub class: Arc<str>,
    /// The mask as the policy names it; `None`: it is redacted by no rule of its own.
    pub kind: Option<&'static str>,
    /// Where the rule stands, `file:line:column`.
    pub rule: Option<String>,
    /// What is read in the column's place.
    pub sql: String,
    /// Equality with a constant or parameter runs on the stored value.
    pub lookup: bool,
}

/// A row rule that is in the way.
pub struct Rows {
    pub relation: String,
    pub rule: Option<String>,
    /// The condition for this session.
    pub sql: String,
}

impl<'a> Account<'a> {
    /// # Errors
    /// No thread can be started.
    pub fn new(
        bench: &'a Bench,
        role: &'a RolePolicy,
        facts: &SessionFacts,
        text: &'a str,
        plan: &'a Plan,
    ) -> Result<Self, CliError> {
        let rule = bench.policy.role(&role.name);
        let desk = Desk { bench, role, rule };
        let outputs = traced(bench, facts, text)?;
        let masked = gathered(plan, |plan| &plan.masked);
        let read = gathered(plan, |plan| &plan.reads);
        let written = gathered(plan, |plan| &plan.writes);
        let touched = read.iter().chain(&written).copied();
        let protected = plan.statements.iter().any(|plan| plan.protected);
        Ok(Account {
            text,
            plan,
            role,
            trial: rule.is_some_and(|rule| rule.trial),
            outputs: outputs.iter().map(|output| desk.output(output)).collect(),
            masked: masked.iter().map(|name| desk.named(name)).collect(),
            rows: touched.filter_map(|name| desk.rows(name, facts)).collect(),
            counted: role.export.limits() && (protected || role.export.counts_all),
        })
    }
}

/// On a stack that both parsers fit.
fn traced(bench: &Bench, facts: &SessionFacts, text: &str) -> Result<Vec<OutputColumn>, CliError> {
    let trace = || columns::outputs(text, &bench.catalog, facts);
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, trace)
            .map_err(CliError::environment)?;
        // What the grammar made of it is in the plan.
        Ok(thread.join().unwrap_or_default())
    })
}

struct Desk<'a> {
    bench: &'a Bench,
    role: &'a RolePolicy,
    rule: Option<&'a RoleRule>,
}

impl Desk<'_> {
    fn output(&self, output: &OutputColumn) -> Output {
        Output {
            name: output.name.clone(),
            sources: output
                .sources
                .iter()
                .map(|source| self.source(&source.name, source.cell))
                .collect(),
        }
    }

    /// A column by its full name.
    fn named(&self, name: &str) -> Source {
        let mut relations = self.bench.catalog.relations.values();
        let cell = relations.find_map(|relation| {
            let column = name
                .strip_prefix(&relation.full_name())?
                .strip_prefix('.')?;
            Some((relation.oid, relation.column(column)?.num))
        });
        self.source(name, cell)
    }

    fn source(&self, name: &str, cell: Option<(Oid, AttNum)>) -> Source {
        let (relation, column) = cell.unwrap_or_default();
        Source {
            column: name.to_owned(),
            classes: self.role.classes_of(relation, column).to_vec(),
            mask: cell.and_then(|_| self.mask(relation, column)),
            denied: cell.is_some_and(|_| self.role.denies(relation, column)),
        }
    }

    fn mask(&self, relation: Oid, column: AttNum) -> Option<Masked> {
        let mask = self.role.mask(relation, column)?;
        let rule = self.rule.and_then(|rule| rule.mask(&mask.class));
        let catalog = &self.bench.catalog;
        let named = catalog.relations.get(&relation)?.column_number(column)?;
        Some(Masked {
            class: Arc::clone(&mask.class),
            kind: rule.map(|rule| rule.mask.name()),
            rule: rule.map(|rule| place(&rule.origin)),
            sql: mask.sql.over("", &named.name),
            lookup: mask.lookup,
        })
    }

    fn rows(&self, name: &str, facts: &SessionFacts) -> Option<Rows> {
        let (schema, relation) = name.split_once('.')?;
        let oid = self.bench.catalog.relation(schema, relation)?.oid;
        let compiled = self.role.rows.get(&oid)?;
        let rules = self.rule.map_or(&[][..], |rule| rule.rows.as_slice());
        let rule = rules
            .iter()
            .find(|rule| rule.relation.schema == schema && rule.relation.name == relation);
        Some(Rows {
            relation: name.to_owned(),
            rule: rule.map(|rule| place(&rule.origin)),
            sql: compiled.sql(&quote_identifier(relation), |value| {
                facts.values.get(value).cloned()
            }),
        })
    }
}

fn place(origin: &Origin) -> String {
    let position = origin.position;
    format!(
        "{}:{}:{}",
        origin.source.path.display(),
        position.line,
        position.column
    )
}
