//! What there is to tell of a planned text: for each output column where it comes from and what becomes of it.
use std::sync::Arc;
use std::thread;

use crate::catalog::{AttNum, Oid};
use crate::cli::CliError;
use crate::cli::bench::{Bench, gathered, refusal};
use crate::config::Origin;
use crate::policy::compiled::{MaskSql, RolePolicy};
use crate::policy::mask::{ColumnType, Mask, quote_identifier};
use crate::policy::rules::RoleRule;
use crate::sql::cache::STACK_BYTES;
use crate::sql::columns::{self, OutputColumn};
use crate::sql::plan::{Plan, Reason, SessionFacts};

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
    /// The class that may not be used for this purpose, and what for it may be.
    pub off_purpose: Option<String>,
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
        said: Option<&str>,
        facts: &SessionFacts,
        text: &'a str,
        plan: &'a Plan,
    ) -> Result<Self, CliError> {
        let rule = bench.policy.role(&role.name);
        let purpose = rule.and_then(|rule| rule.purpose.as_deref()).or(said);
        let desk = Desk {
            bench,
            role,
            rule,
            purpose,
        };
        // Of what does not exist nothing is to be told.
        let unknown = refusal(plan).is_some_and(|refusal| refusal.reason == Reason::Undefined);
        let outputs = match unknown {
            true => Vec::new(),
            false => traced(bench, facts, text)?,
        };
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
    /// What the statement is for.
    purpose: Option<&'a str>,
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
        let catalog = &self.bench.catalog;
        let named = catalog.relations.get(&relation)?.column_number(column)?;
        let rule = self.rule.and_then(|rule| rule.mask(&mask.class));
        let rule = rule.filter(|rule| {
            // It may have given way: to a purpose, or where it does not fit or a second class holds.
            matches!(rule.mask, Mask::Redact)
                || !is_redacted(&mask.sql, &ColumnType::of(named, catalog))
        });
        let off_purpose = match rule {
            Some(_) => None,
            None => self.off_purpose(relation, column),
        };
        Some(Masked {
            off_purpose,
            class: Arc::clone(&mask.class),
            kind: rule.map(|rule| rule.mask.name()),
            rule: rule.map(|rule| place(&rule.origin)),
            sql: mask.sql.over("", &named.name),
            lookup: mask.lookup,
        })
    }

    fn off_purpose(&self, relation: Oid, column: AttNum) -> Option<String> {
        let classes = self.role.classes_of(relation, column);
        let rules = self.bench.policy.classes.iter();
        let mut rules = rules.filter(|class| classes.contains(&class.name));
        rules.find_map(|class| {
            let allowed = class.purposes.as_ref()?;
            if self
                .purpose
                .is_some_and(|purpose| allowed.contains(purpose))
            {
                return None;
            }
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            Some(format!(
                "{} is for {} alone",
                class.name,
                allowed.join(", ")
            ))
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

fn is_redacted(sql: &MaskSql, data_type: &ColumnType) -> bool {
    let redact = Mask::Redact.sql(MaskSql::COLUMN, data_type);
    redact.is_ok_and(|redact| *sql == MaskSql::from_template(&redact))
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
