//! From a text to its plan: parse, propose, judge.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{Catalog, Oid, Relation, RelationKind, TieKind};
use crate::policy::compiled::RolePolicy;
use crate::policy::pattern::is_system;

use super::columns;
use super::judge::{self, Access, Examined, Rules, Side, Use};
use super::keys;
use super::lex::{self, Token};
use super::normalise;
use super::origins;
use super::packing::{self, Facts, Packed};
use super::parse::{self, Statement};
use super::pathless::is_pathless;
use super::plan::{
    POISON, Plan, PositionMap, Reason, Refusal, Run, SessionFacts, StatementPlan, Verdict,
};
use super::propose;
use super::refuse;
use super::splice::{self, Scene, Spliced};
use super::template::Templates;
use super::temporary::{self, Circumstances};
use super::tree::Node;

/// Plans a text. Pure: the same arguments give the same plan, whatever `templates` holds already.
///
/// Runs on a stack that fits the caps of [`super::lex`] (see [`super::cache::Planner`]).
pub fn plan(
    text: &str,
    catalog: &Catalog,
    role: &RolePolicy,
    facts: &SessionFacts,
    templates: &Templates,
) -> Plan {
    let mut circumstances = Circumstances::new(catalog, facts);
    if role.unmasked {
        let observed = super::observe::plan(text, catalog, role, &circumstances);
        return match &role.trial {
            Some(rules) => {
                let judged = plan(text, catalog, rules, facts, templates);
                super::trial::besides(observed, &judged)
            }
            None => observed,
        };
    }
    let desk = Desk {
        rules: Rules {
            catalog,
            role,
            path: &[],
            makes_in: None,
            supposed: &NONE_SUPPOSED,
            user: &facts.user,
            templates,
            values: &facts.values,
            declared: facts.parameters.as_deref(),
            parameters: None,
        },
        text,
    };
    desk.plan(&mut circumstances)
}

struct Desk<'a> {
    rules: Rules<'a>,
    text: &'a str,
}

/// Before a statement is met.
static NONE_SUPPOSED: BTreeSet<String> = BTreeSet::new();

/// What runs for one statement.
enum Ready {
    Text(Spliced),
    Refused,
}

impl Desk<'_> {
    fn plan(&self, circumstances: &mut Circumstances<'_>) -> Plan {
        let tokens = match lex::tokens(self.text) {
            Ok(tokens) => tokens,
            Err(error) if error.is_limit() => {
                return self.refused_whole(refuse::limit(&error.to_string()), None);
            }
            Err(error) => return self.refused_whole(refuse::syntax(&error.to_string()), None),
        };
        // The server's own syntax error comes back.
        let version = self.rules.catalog.server_version;
        if version < VERTICAL_TAB && lex::spaced_by_vertical_tab(self.text, &tokens) {
            let refusal = refuse::syntax("syntax error at or near \"\u{b}\"");
            return self.refused_whole(refusal, Some(&tokens));
        }
        let statements = match parse::parse_as(self.text, version) {
            Ok(statements) => statements,
            Err(error) => return self.refused_whole(refuse::syntax(&error.0), Some(&tokens)),
        };
        // `SELECT 0x1f` is a number here, and `0 AS x1f` there.
        if self.rules.catalog.server_version < NUMERALS
            && tokens.iter().any(|token| token.is_late_numeral(self.text))
        {
            let refusal = refuse::construct(
                "a number with letters or underscores in it",
                "write it in decimal digits: before PostgreSQL 15 what follows the digits is a name",
            );
            return self.refused_whole(refusal, Some(&tokens));
        }
        let mut plans = Vec::with_capacity(statements.len());
        let mut ready = Vec::with_capacity(statements.len());
        for statement in statements {
            let own = within(&tokens, statement.span);
            circumstances.meet(&statement.tree);
            let desk = Desk {
                rules: Rules {
                    catalog: circumstances.catalog(),
                    path: circumstances.path(),
                    makes_in: circumstances.makes_in(),
                    supposed: circumstances.supposed(),
                    ..self.rules
                },
                text: self.text,
            };
            let (mut plan, text) = desk.statement(statement, own);
            if let Verdict::Refuse(refusal) = &mut plan.verdict {
                circumstances.explain(refusal);
            }
            circumstances.follow(&plan.effects);
            plans.push(plan);
            ready.push(text);
        }
        self.assemble(plans, &ready, &tokens)
    }

    /// Plans one statement; its tokens are those of the whole text that lie in its span.
    fn statement(&self, statement: Statement, tokens: &[Token]) -> (StatementPlan, Ready) {
        let span = statement.span;
        let kind = judge::statement_kind(&statement.tree);
        let origins = origins::masked_outputs(&self.rules, &statement.tree);
        let recorded = normalise::recorded(normalise::normalised(self.text, tokens));
        let mut plan = StatementPlan::passing(kind, recorded, span);
        let rules = &self.rules;
        let used = columns::used(&statement.tree, rules.catalog, rules.role, rules.path);
        plan.columns = Arc::new(used);
        plan.pathless = is_pathless(&statement.tree, rules.catalog);
        let mut client = match judge::examine(&self.rules, Side::Client, statement.tree) {
            Ok(client) => client,
            Err(refusal) => {
                self.note_named(&mut plan, span);
                return self.refused(plan, refusal);
            }
        };
        if kind == "DROP" {
            temporary::place(&mut client.uses, self.text, tokens);
        }
        self.note(&mut plan, &client);
        if plan.protected {
            plan.packed = self.packed(&client);
        }
        match self.verified(span, tokens, &client) {
            Ok(text) => {
                if text.edited {
                    plan.verdict = Verdict::Rewrite;
                }
                plan.origins = origins;
                plan.hidden_rows = client.hidden_rows;
                plan.tied = client.tied.into_iter().collect();
                plan.effects = client.effects;
                (plan, Ready::Text(text))
            }
            Err(refusal) => self.refused(plan, refusal),
        }
    }

    fn packed(&self, client: &Examined) -> Packed {
        let role = self.rules.role;
        let relations = |node: &Node| {
            let at = judge::offset(node.location);
            client.uses.iter().filter(move |found| found.at == at)
        };
        let counted = |node: &Node| {
            let mut uses = relations(node).peekable();
            // What is no relation is a common table expression.
            uses.peek().is_none() || uses.any(|found| role.protected.contains(&found.relation))
        };
        let keys = |node: &Node| {
            let uses = relations(node).filter(|found| role.protected.contains(&found.relation));
            uses.flat_map(|found| keys::of(self.rules.catalog, role, found.relation))
                .collect()
        };
        let columns = |node: &Node, name: &str| {
            let mut uses = relations(node).peekable();
            let known = |found: &judge::Use| self.rules.catalog.relations.get(&found.relation);
            uses.peek().is_none()
                || judge::system_columns::SYSTEM_COLUMNS.contains(&name)
                || uses.any(|found| {
                    known(found).is_none_or(|relation| {
                        relation.columns.is_empty() || relation.column(name).is_some()
                    })
                })
        };
        packing::packed(
            &client.tree,
            Facts {
                counted: &counted,
                keys: &keys,
                columns: &columns,
            },
        )
    }

    /// The text to run: proposed by sqlparser's reading, or else by the judge's own, and accepted by the judge.
    fn verified(
        &self,
        (start, end): (usize, usize),
        tokens: &[Token],
        client: &Examined,
    ) -> Result<Spliced, Refusal> {
        let own = self.text.get(start..end).unwrap_or("");
        let proposed = (logical_chain(self.text, tokens) <= MAX_LOGICAL_CHAIN)
            .then(|| propose::uses(own, self.rules.catalog, self.rules.path))
            .flatten()
            .map(|mut uses| {
                uses.iter_mut().for_each(|found| found.at += start);
                uses
            });
        let mut last = refuse::judge("the relations of the statement could not be located");
        for uses in proposed.iter().chain(std::iter::once(&client.uses)) {
            match self.attempt(tokens, uses, client) {
                Ok(text) => return Ok(text),
                Err(refusal) => last = refusal,
            }
        }
        Err(last)
    }

    fn attempt(
        &self,
        tokens: &[Token],
        uses: &[Use],
        client: &Examined,
    ) -> Result<Spliced, Refusal> {
        let scene = Scene {
            catalog: self.rules.catalog,
            role: self.rules.role,
            templates: self.rules.templates,
            values: self.rules.values,
        };
        let spliced = splice::splice(&scene, self.text, tokens, uses, client)
            .ok_or_else(|| refuse::judge("the relations of the statement could not be located"))?;
        accept(&self.rules, &spliced.text, client)?;
        Ok(spliced)
    }

    /// The relations that a refused statement names, for the record: as far as they can be told.
    fn note_named(&self, plan: &mut StatementPlan, (start, end): (usize, usize)) {
        let Rules { catalog, path, .. } = self.rules;
        let own = self.text.get(start..end).unwrap_or_default();
        let parsed = parse::parse_as(own, catalog.server_version).unwrap_or_default();
        for statement in &parsed {
            super::observe::named(&statement.tree, catalog, path, plan);
        }
    }

    fn note(&self, plan: &mut StatementPlan, client: &Examined) {
        let role = self.rules.role;
        if client.uses.iter().all(|found| role.is_open(found.relation)) {
            let written = client.uses.iter();
            let written = written.filter(|found| found.access == Access::Write);
            let written = written.map(|found| found.relation);
            plan.open_targets = open_targets(self.rules.catalog, role, written);
        }
        for (relation, column) in &client.lookups {
            if let Some(relation) = self.rules.catalog.relations.get(relation) {
                plan.lookups
                    .push(format!("{}.{column}", relation.full_name()));
            }
        }
        for found in &client.uses {
            let Some(relation) = self.rules.catalog.relations.get(&found.relation) else {
                continue;
            };
            let list = match found.access {
                Access::Read | Access::Lock => &mut plan.reads,
                Access::Write => &mut plan.writes,
            };
            let name = relation.full_name();
            if !list.contains(&name) {
                list.push(name);
            }
            plan.protected |=
                found.access != Access::Lock && self.rules.role.protected.contains(&relation.oid);
            plan.over_rows |= match found.access {
                Access::Read => self.shows_stored(relation),
                Access::Write => !is_system(&relation.schema),
                Access::Lock => false,
            };
            let Some(masks) = self.rules.role.masks.get(&relation.oid) else {
                continue;
            };
            for column in relation
                .columns
                .iter()
                .filter(|column| masks.contains_key(&column.num))
            {
                let reached = match found.access {
                    Access::Read => client.whole_rows || client.columns.contains(&column.name),
                    Access::Write => {
                        let read = (relation.oid, column.name.clone());
                        client.target_reads.contains(&read)
                    }
                    Access::Lock => false,
                };
                let name = format!("{}.{}", relation.full_name(), column.name);
                if reached && !plan.masked.contains(&name) {
                    plan.masked.push(name);
                }
            }
        }
    }

    /// Whether what reads a relation computes with values as they are stored, besides those that the role sees: views do,
    /// policies of row level security, what a protected relation computes for itself. Those of the system hold names; in temporary
    /// ones is what the client has put there.
    fn shows_stored(&self, relation: &Relation) -> bool {
        let is_table = matches!(
            relation.kind,
            RelationKind::Table | RelationKind::PartitionedTable
        );
        let ties = self.rules.catalog.ties.get(&relation.oid);
        let mut ties = ties.into_iter().flatten();
        let plain = is_table && !ties.any(|tie| tie.kind == TieKind::Policy);
        !is_system(&relation.schema)
            && (!plain || self.rules.role.protected.contains(&relation.oid))
    }

    fn refused(&self, mut plan: StatementPlan, mut refusal: Refusal) -> (StatementPlan, Ready) {
        refusal.position = refusal
            .position
            .and_then(|byte| self.text.get(..usize::try_from(byte).ok()?))
            .and_then(|before| u32::try_from(before.chars().count() + 1).ok());
        plan.verdict = Verdict::Refuse(refusal);
        (plan, Ready::Refused)
    }

    /// The statements' texts in order, a poison where one is refused.
    fn assemble(&self, statements: Vec<StatementPlan>, ready: &[Ready], tokens: &[Token]) -> Plan {
        let untouched = ready
            .iter()
            .all(|ready| matches!(ready, Ready::Text(text) if !text.edited));
        if untouched {
            return Plan::new(statements, None, PositionMap::default());
        }
        let mut text = String::new();
        let mut positions = PositionMap::default();
        for (ready, statement) in ready.iter().zip(&statements) {
            if !text.is_empty() {
                text.push_str("; ");
            }
            let base = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            match ready {
                Ready::Text(spliced) => {
                    positions
                        .runs
                        .extend(spliced.positions.runs.iter().map(|run| Run {
                            sent: run.sent + base,
                            ..*run
                        }));
                    text.push_str(&spliced.text);
                }
                Ready::Refused => {
                    let at = within(tokens, statement.span)
                        .first()
                        .and_then(|token| self.text.get(..token.span.start))
                        .map_or(0, |before| before.chars().count());
                    positions.runs.push(Run {
                        sent: base,
                        client: u32::try_from(at).unwrap_or(u32::MAX),
                        copied: false,
                    });
                    text.push_str(&poison());
                }
            }
        }
        let plan = Plan::new(statements, Some(text.as_str().into()), positions);
        // Each part was judged alone; together they must still be as many statements.
        match parse::parse(&text) {
            Ok(parsed) if parsed.len() == plan.statements.len() => plan,
            _ => self.refused_whole(
                refuse::judge("the statements do not stay apart"),
                Some(tokens),
            ),
        }
    }

    /// Refuses a text as a whole. For a text that the grammar rejects the poison stands before the client's own text: the
    /// server reads all of it before it runs anything, so its own syntax error comes back, and if its grammar accepts
    /// what PostgreSQL 18's does not, the poison stops it.
    fn refused_whole(&self, refusal: Refusal, tokens: Option<&[Token]>) -> Plan {
        let recorded = normalise::recorded(tokens.map_or_else(
            || "<not readable>".to_owned(),
            |tokens| normalise::normalised(self.text, tokens),
        ));
        let poison = poison();
        let (text, positions) = if refusal.reason == Reason::Syntax && !self.text.contains('\0') {
            let lead = format!("{poison}; ");
            let runs = vec![Run {
                sent: u32::try_from(lead.chars().count()).unwrap_or(0),
                client: 0,
                copied: true,
            }];
            (format!("{lead}{}", self.text), PositionMap { runs })
        } else {
            (poison, PositionMap::default())
        };
        let statement = StatementPlan {
            verdict: Verdict::Refuse(refusal),
            ..StatementPlan::passing("this statement", recorded, (0, self.text.len()))
        };
        Plan::new(vec![statement], Some(Arc::from(text)), positions)
    }
}

/// The first PostgreSQL to which a vertical tab is white space (`space` in `src/backend/parser/scan.l`).
const VERTICAL_TAB: u32 = 170_000;

/// The first PostgreSQL that reads no name behind the digits of a number.
const NUMERALS: u32 = 150_000;

/// Conditions chained by AND and OR that sqlparser's tree may be deep; the judge's tree is flat.
const MAX_LOGICAL_CHAIN: usize = 1_000;

fn logical_chain(text: &str, tokens: &[Token]) -> usize {
    tokens
        .iter()
        .filter(|token| token.is_word(text, "and") || token.is_word(text, "or"))
        .count()
}

/// The judge's word on a text that is to run in place of a client's statement.
///
/// # Errors
/// The check that failed.
pub fn accept(rules: &Rules<'_>, text: &str, client: &Examined) -> Result<(), Refusal> {
    if !lex::tokens(text).is_ok_and(|tokens| lex::bare(text, &tokens)) {
        return Err(refuse::judge("the rewritten text holds a comment"));
    }
    let mut statements = parse::parse_as(text, rules.catalog.server_version)
        .map_err(|_| refuse::judge("the rewritten text does not parse"))?;
    let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
        return Err(refuse::judge("the rewritten text is not one statement"));
    };
    let rules = Rules {
        parameters: Some(&client.parameters),
        ..*rules
    };
    let run = judge::examine(&rules, Side::Run, statement.tree)?;
    if run.tree != client.tree {
        return Err(refuse::judge(
            "the rewritten text is not the client's statement",
        ));
    }
    Ok(())
}

/// The names of these relations and of those of their partitions that are open to the role.
fn open_targets(
    catalog: &Catalog,
    role: &RolePolicy,
    written: impl Iterator<Item = Oid>,
) -> Vec<String> {
    let open = catalog.below(written, |partition| role.is_open(partition));
    let relations = open.iter().filter_map(|oid| catalog.relations.get(oid));
    relations.map(|relation| relation.full_name()).collect()
}

fn poison() -> String {
    format!("SELECT {POISON}")
}

fn within(tokens: &[Token], (start, end): (usize, usize)) -> &[Token] {
    let from = tokens.partition_point(|token| token.span.start < start);
    let to = tokens.partition_point(|token| token.span.start < end);
    tokens.get(from..to).unwrap_or(&[])
}
