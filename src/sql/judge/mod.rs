//! The judge: decides from PostgreSQL's own parse tree what a statement touches, and whether a text may run.
//!
//! One walk serves two readings. The client's text is read to find what it uses ([`Side::Client`]); the text that will
//! run is read again from scratch ([`Side::Run`]), and there a protected relation is accepted inside a template alone.
//! Both readings bring the tree into one canonical form (templates folded back, names resolved), and the two forms must
//! be equal. So a rewriter that skips a relation, edits the wrong place or changes the statement is caught, and nothing
//! in this module trusts the rewriter.
mod arguments;
mod by_schema;
mod calls;
mod carried;
mod checks;
mod conditions;
mod conflicts;
mod constants;
mod existing;
mod fields;
mod grouping;
mod guards;
mod keeping;
mod keys;
mod kinds;
mod levels;
mod lookups;
mod named_later;
mod operands;
mod parameters;
mod quals;
mod relations;
mod returning;
mod rewrite_rules;
mod row_assignments;
mod sources;
mod stars;
mod statements;
mod stores;
pub mod system_columns;
mod target;
mod temporary;
mod upkeep;
mod walk;
mod whole_rows;
mod writeback;
mod writes;

pub use conditions::{Condition, Shape};
pub(in crate::sql) use constants::named_type;
pub use grouping::Addition;
pub use guards::Form;
pub use parameters::Parameters;
pub use statements::statement_kind;
pub(in crate::sql) use walk::offset;
pub use writeback::WriteBack;

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, Oid};
use crate::policy::compiled::RolePolicy;

use super::plan::{Effect, Refusal};
use super::refuse;
use super::template::{SessionValues, Templates};
use super::tree::Tree;

/// Which text the tree came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's: protected relations are noted.
    Client,
    /// The one that will run: protected relations outside templates, and relations without a schema, are refused.
    Run,
}

/// Against what a statement is judged.
pub struct Rules<'a> {
    pub catalog: &'a Catalog,
    pub role: &'a RolePolicy,
    /// Schemas in which unqualified names are looked up, in order.
    pub path: &'a [String],
    /// The schema in which a permanent relation without one would be made; `None`: that cannot be told.
    pub makes_in: Option<&'a str>,
    /// Names that count as temporary relations although there is nothing of that name anywhere.
    pub supposed: &'a BTreeSet<String>,
    /// The database user.
    pub user: &'a str,
    pub templates: &'a Templates,
    /// What row rules name of the session.
    pub values: &'a SessionValues,
    /// The types that the client gives to parameters, 0 where it leaves one open; `None`: they are not known.
    pub declared: Option<&'a [Oid]>,
    /// For the text that will run: the parameters of the client's.
    pub parameters: Option<&'a Parameters>,
}

/// How a statement uses a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// In FROM, USING or COPY TO.
    Read,
    /// The target of INSERT, UPDATE, DELETE, MERGE or COPY FROM.
    Write,
    Lock,
}

/// A place where a relation is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    pub relation: Oid,
    pub access: Access,
    /// Byte offset of the name in the text that was parsed.
    pub at: usize,
    pub alias: bool,
    /// It stands behind a fence.
    pub fenced: bool,
}

/// An edit that a write to a protected target needs. `at` is a byte offset in the parsed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The column reference there is replaced.
    Reference { at: usize, text: String },
    /// The expression assigned to the column named there, the `nth` of a row, gets this around it.
    Assigned {
        at: usize,
        nth: Option<usize>,
        around: WriteBack,
    },
    /// The query from which a row of columns is assigned, the first of them named there, gets this around it.
    AssignedRow { at: usize, around: WriteBack },
    /// The name there has this in the place of its first parts.
    Named {
        at: usize,
        parts: usize,
        text: String,
    },
    /// The output column that begins there gets this at its end.
    Label { at: usize, text: String },
    /// The `*` or `name.*` there is replaced.
    Star { at: usize, text: String },
    /// The condition on a column of the target holds for its stored value, too: `reference` is that column, `masked` its
    /// mask.
    Lookup {
        condition: Condition,
        reference: String,
        masked: String,
    },
    /// The output column that begins there gets this around it; `named`: an alias follows it.
    Wrap {
        at: usize,
        open: String,
        close: String,
        named: bool,
    },
    /// The clauses behind `at` get this at their end.
    Append { at: usize, text: String },
    /// IF NOT EXISTS of the statement goes.
    Unconditional,
    /// Another statement runs.
    Whole { text: String },
    /// The row rule of the target goes into the condition there: behind the last `word` before `at`, or, if none is
    /// `present`, at the end of the clauses behind `at`.
    Guard {
        at: usize,
        word: &'static str,
        present: bool,
        rule: String,
        form: Form,
        /// What stands before a CASE around the condition, with the column as it is named in the text that runs.
        repeats: Vec<(String, Condition)>,
    },
}

/// What a reading found.
#[derive(Debug)]
pub struct Examined {
    pub kind: &'static str,
    /// The canonical tree.
    pub tree: Tree,
    pub uses: Vec<Use>,
    pub effects: Vec<Effect>,
    /// What the text that runs must group by besides.
    pub additions: Vec<Addition>,
    /// What else the text that runs must say otherwise.
    pub changes: Vec<Change>,
    /// Conditions to be written into the template of the relation named at a byte offset.
    pub conditions: Vec<(usize, Condition)>,
    /// Aliases of pgveil's own for relations that have none, by the byte offset of their names.
    pub given: BTreeMap<usize, String>,
    pub parameters: Parameters,
    /// Relations under a row rule must stand behind a fence.
    pub fence: bool,
    /// The rows that come back are pgveil's own: the client asked for none.
    pub hidden_rows: bool,
    /// Columns that are assigned to and may not change, with the reason.
    pub tied: BTreeSet<String>,
    /// System columns that templates must show.
    pub system: BTreeSet<String>,
    /// Columns that are looked up by their stored value.
    pub lookups: Vec<(Oid, String)>,
    /// Masked columns of a write's target that the statement reads.
    pub target_reads: BTreeSet<(Oid, String)>,
    /// Last names of column references (`phone` of `c.phone`), for telling which masked columns are reached.
    pub columns: BTreeSet<String>,
    /// A `*` or a whole-row reference: every column is reached.
    pub whole_rows: bool,
}

/// Reads one statement.
///
/// # Errors
/// The first thing in it that the role may not do; the refusal's position is a byte offset in the parsed text, 0-based
/// (the caller maps it).
pub fn examine(rules: &Rules<'_>, side: Side, tree: Tree) -> Result<Examined, Refusal> {
    let parameters = match (side, rules.parameters) {
        (Side::Run, Some(parameters)) => parameters.clone(),
        _ => Parameters::read(rules, &tree),
    };
    let mut walk = walk::Walk::new(rules, side, &parameters);
    let mut tree = tree;
    if side == Side::Client {
        let renamed = by_schema::resolve(rules, &mut tree)?;
        walk.changes = renamed.changes;
        walk.given = renamed.given;
    }
    let kind = walk.statement(&mut tree)?;
    walk.fields_are_columns()?;
    rewrite_rules::check(rules, std::mem::take(&mut walk.written))?;
    let system = walk.wanted_system_columns()?;
    if walk.runs_code() {
        walk.effects.push(Effect::RunsCode);
    }
    let ruled =
        |found: &Use| found.access == Access::Read && rules.role.rows.contains_key(&found.relation);
    let fence = walk.settle(&mut tree)? && walk.uses.iter().any(ruled);
    if side == Side::Run
        && walk
            .uses
            .iter()
            .any(|found| ruled(found) && found.fenced != fence)
    {
        return Err(refuse::judge(
            "a relation under a row rule does not stand behind its fence",
        ));
    }
    Ok(Examined {
        kind,
        tree,
        uses: walk.uses,
        effects: walk.effects,
        additions: walk.additions,
        changes: walk.changes,
        conditions: walk.conditions,
        given: walk.given,
        parameters: parameters.clone(),
        fence,
        lookups: walk.lookups,
        target_reads: walk.target_reads,
        hidden_rows: walk.hidden_rows,
        tied: walk.tied,
        system,
        whole_rows: walk.stars || !walk.columns.is_disjoint(&walk.aliases),
        columns: walk.columns,
    })
}
