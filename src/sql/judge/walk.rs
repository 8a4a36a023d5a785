//! The walk over a tree: total, depth first, with the common table expressions in scope.
use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::Oid;
use crate::sql::plan::{Effect, Refusal};
use crate::sql::refuse;
use crate::sql::scope::Cte;
use crate::sql::tree::{Node, Tree};

use super::conditions::Condition;
use super::fields::Rows;
use super::grouping::Addition;
use super::guards::Guarded;
use super::kinds;
use super::lookups::Comparison;
use super::rewrite_rules::Written;
use super::system_columns::{SYSTEM_COLUMNS, SystemColumn};
use super::target::{Target, Visibility};
use super::{Change, Parameters, Rules, Side, Use};

pub(super) struct Walk<'a> {
    pub rules: &'a Rules<'a>,
    pub side: Side,
    pub parameters: &'a Parameters,
    /// Common table expressions in scope, innermost last. Their columns are known where `resolving` is set.
    pub scopes: Vec<Vec<Cte>>,
    /// Whether the columns of common table expressions are wanted: a write may need them.
    pub resolving: bool,
    /// The protected target of the write that the walk is in.
    pub target: Option<Target>,
    pub uses: Vec<Use>,
    pub changes: Vec<Change>,
    pub guards: Vec<Guarded>,
    pub conditions: Vec<(usize, Condition)>,
    /// Aliases that pgveil gave to relations without one.
    pub given: BTreeMap<usize, String>,
    pub lookups: Vec<(Oid, String)>,
    pub hidden_rows: bool,
    /// Columns that are assigned to and may not change, with the reason.
    pub tied: BTreeSet<String>,
    /// System columns that templates of the text that runs show.
    pub system_in_templates: BTreeSet<String>,
    /// A NATURAL join was met.
    pub natural: bool,
    /// WITH clauses that the walk is in.
    pub inside_with: usize,
    /// Places of references to the target that a change of their condition covers.
    pub placed: Vec<usize>,
    /// Comparisons with constants in WHERE of the query that the walk is in.
    pub comparisons: Vec<Comparison>,
    pub effects: Vec<Effect>,
    pub additions: Vec<Addition>,
    pub columns: BTreeSet<String>,
    /// A `*` was met.
    pub stars: bool,
    /// `name.*` stands for as many values as there are columns where the walk is; elsewhere it is one value, the row.
    pub spreads: bool,
    /// Names under which protected relations are referred to.
    pub aliases: BTreeSet<String>,
    pub system_columns: Vec<SystemColumn>,
    pub rows: Rows,
    pub written: Vec<Written>,
    /// The call of `set_config` whose name the statement fixes elsewhere, and that name.
    pub setting: Option<(i32, String)>,
    /// Parameters that stand in the statement once, where it is a query of its own.
    pub bound_once: Vec<usize>,
    /// A function that initdb did not make was called.
    pub calls_users: bool,
    /// Masked columns of a write's target that the statement reads.
    pub target_reads: BTreeSet<(Oid, String)>,
}

impl<'a> Walk<'a> {
    pub fn new(rules: &'a Rules<'a>, side: Side, parameters: &'a Parameters) -> Self {
        Walk {
            rules,
            side,
            parameters,
            scopes: Vec::new(),
            resolving: false,
            target: None,
            uses: Vec::new(),
            changes: Vec::new(),
            guards: Vec::new(),
            conditions: Vec::new(),
            given: BTreeMap::new(),
            lookups: Vec::new(),
            hidden_rows: false,
            tied: BTreeSet::new(),
            system_in_templates: BTreeSet::new(),
            natural: false,
            inside_with: 0,
            placed: Vec::new(),
            comparisons: Vec::new(),
            effects: Vec::new(),
            additions: Vec::new(),
            columns: BTreeSet::new(),
            stars: false,
            spreads: false,
            aliases: BTreeSet::new(),
            system_columns: Vec::new(),
            rows: Rows::default(),
            written: Vec::new(),
            setting: None,
            bound_once: Vec::new(),
            calls_users: false,
            target_reads: BTreeSet::new(),
        }
    }

    pub fn in_scope(&self, name: &str) -> bool {
        self.scopes.iter().flatten().any(|(cte, _)| cte == name)
    }

    pub fn tree(&mut self, tree: &mut Tree) -> Result<(), Refusal> {
        match tree {
            Tree::List(items) => items.iter_mut().try_for_each(|item| self.tree(item)),
            Tree::Node(node) => {
                if self.side == Side::Run
                    && self.target.is_some()
                    && let Some(folded) = self.unmasked(node)?
                {
                    *node = folded;
                    return Ok(());
                }
                self.node(node)
            }
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => Ok(()),
        }
    }

    pub fn node(&mut self, node: &mut Node) -> Result<(), Refusal> {
        match node.kind {
            "SelectStmt" => self.query(node),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.write(node),
            "RangeVar" => self.read(node),
            "RangeSubselect" => {
                let visibility = match node.flag("lateral") {
                    true => Visibility::Partial,
                    false => Visibility::Hidden,
                };
                self.seeing(visibility, |walk| walk.subselect(node))
            }
            "RangeTableSample" => self.sample(node),
            "CaseExpr" | "JoinExpr" => {
                self.natural |= node.flag("is_natural");
                self.implied_operators(node)?;
                self.children(node)
            }
            "ColumnRef" => self.column(node),
            "Alias" => {
                own_name(node.text("aliasname"), node.location)?;
                self.rows.other(node.text("aliasname"));
                self.rows.columns(node.list("colnames"));
                self.children(node)
            }
            "ResTarget" | "ColumnDef" => {
                let name = match node.kind {
                    "ResTarget" => node.text("name"),
                    _ => node.text("colname"),
                };
                self.rows.column(name);
                self.children(node)
            }
            "FuncCall" => self.function(node),
            "AExpr" => self.operator_in(node, "name"),
            "SubLink" => self.operator_in(node, "oper_name"),
            "SortBy" => self.operator_in(node, "use_op"),
            "TypeCast" => self.children(node),
            "TypeName" => self.type_name(node),
            "AIndirection" => {
                self.fields_of_expression(node);
                self.children(node)
            }
            "LockingClause" => locking(node),
            kind if kinds::is_plain(kind) => self.plain(node),
            kind => Err(at(
                refuse::construct(
                    &format!("the construct {kind}"),
                    "write the statement without it",
                ),
                node.location,
            )),
        }
    }

    pub fn children(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let spreads = matches!(node.kind, "RowExpr" | "List" | "ResTarget");
        let outside = std::mem::replace(&mut self.spreads, spreads);
        let done = node
            .fields
            .iter_mut()
            .try_for_each(|(_, value)| self.tree(value));
        self.spreads = outside;
        done
    }

    /// A SELECT, VALUES or set operation: its WITH clause first, then everything else with those names in scope.
    fn query(&mut self, node: &mut Node) -> Result<(), Refusal> {
        self.casts(node, false)?;
        if node.get("into_clause").is_some() {
            return Err(at(refuse::statement("SELECT INTO"), node.location));
        }
        self.with_scope(node, |walk, node| walk.level(node))?;
        self.grouping(node);
        Ok(())
    }

    /// What is in a query, its WITH clause left out. Inside a write to a protected target the query is a level at which
    /// names may mean something else.
    fn level(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let outside = std::mem::take(&mut self.comparisons);
        let row = node.list("values_lists").first().and_then(Tree::node);
        for at in 1..=row.map_or(0, |row| row.list("items").len()) {
            self.rows.column(&format!("column{at}"));
        }
        self.write_out_stars(node);
        self.conditions(node)?;
        self.names(node)?;
        self.comparisons = outside;
        Ok(())
    }

    /// Runs `body` over a node whose WITH clause has been walked and taken into scope (`transformWithClause` in
    /// `src/backend/parser/parse_cte.c`): without RECURSIVE each expression sees those before it, with it all of them.
    pub fn with_scope(
        &mut self,
        node: &mut Node,
        body: impl FnOnce(&mut Self, &mut Node) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some(mut with) = node.remove("with_clause") else {
            return body(self, node);
        };
        self.scopes.push(Vec::new());
        // Its queries see what is outside of this one, not its FROM: the level is not there yet.
        self.inside_with += 1;
        if let Some(clause) = with.node_mut() {
            self.with_clause(clause)?;
        }
        self.inside_with -= 1;
        body(self, node)?;
        self.scopes.pop();
        node.set("with_clause", with);
        Ok(())
    }

    fn with_clause(&mut self, clause: &mut Node) -> Result<(), Refusal> {
        let recursive = clause.flag("recursive");
        if recursive {
            let names: Vec<Cte> = clause
                .list("ctes")
                .iter()
                .filter_map(Tree::node)
                .map(|cte| (cte.text("ctename").to_owned(), None))
                .collect();
            self.scopes
                .last_mut()
                .into_iter()
                .for_each(|scope| scope.extend(names.clone()));
        }
        let Some(Tree::List(ctes)) = clause.get_mut("ctes") else {
            return Ok(());
        };
        for cte in ctes {
            let Some(cte) = cte.node_mut().filter(|cte| cte.kind == "CommonTableExpr") else {
                return Err(refuse::judge("a WITH clause holds something unknown"));
            };
            own_name(cte.text("ctename"), cte.location)?;
            let found = match self.resolving {
                true => self.reader().cte(cte, recursive),
                false => (cte.text("ctename").to_owned(), None),
            };
            self.children(cte)?;
            if !recursive && let Some(scope) = self.scopes.last_mut() {
                scope.push(found);
            }
        }
        Ok(())
    }

    /// Notes the column.
    fn column(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let location = node.location;
        let names: Vec<Option<&str>> = node.list("fields").iter().map(Tree::string).collect();
        match names.last() {
            Some(Some(name)) => {
                if SYSTEM_COLUMNS.contains(name) {
                    let of = match names.as_slice() {
                        [.., Some(relation), _] => Some((*relation).to_owned()),
                        _ => None,
                    };
                    self.system_columns.push(SystemColumn {
                        of,
                        name: (*name).to_owned(),
                        location,
                    });
                }
                self.columns.insert((*name).to_owned());
                if let [.., Some(row), Some(field)] = names.as_slice() {
                    let (row, field) = ((*row).to_owned(), (*field).to_owned());
                    self.field_of_row(Some(&row), &field, location);
                }
            }
            _ => self.stars = true,
        }
        self.target_column(node)
    }
}

/// Names that pgveil's own subqueries use: an alias of a client's must not stand in for one.
pub(super) fn own_name(alias: &str, location: i32) -> Result<(), Refusal> {
    match alias.starts_with("pgveil_") {
        true => Err(at(
            refuse::construct(
                &format!("the alias {alias}"),
                "names that begin with pgveil_ are kept for pgveil: take another",
            ),
            location,
        )),
        false => Ok(()),
    }
}

/// FOR UPDATE OF names aliases of the FROM list, not relations.
fn locking(node: &Node) -> Result<(), Refusal> {
    let qualified = node
        .list("locked_rels")
        .iter()
        .filter_map(Tree::node)
        .any(|relation| relation.kind != "RangeVar" || !relation.text("schemaname").is_empty());
    if qualified {
        return Err(refuse::judge("FOR UPDATE OF takes unqualified names"));
    }
    Ok(())
}

/// The text of a string literal, a cast around it put aside.
///
/// Not one that another type cuts off or reads otherwise: `'role...'::varchar(4)`.
pub(super) fn string_constant(node: &Node) -> Option<&str> {
    match node.kind {
        "AConst" => node.get("val").and_then(Tree::string),
        "TypeCast" if keeps_text(node.child("type_name")) => {
            node.child("arg").and_then(string_constant)
        }
        _ => None,
    }
}

/// Whether a type's values are texts of any length.
fn keeps_text(type_name: Option<&Node>) -> bool {
    type_name.is_some_and(|name| {
        let last = name.names("names").and_then(|names| names.last().copied());
        matches!(last, Some("text" | "varchar"))
            && name.list("typmods").is_empty()
            && name.list("array_bounds").is_empty()
    })
}

/// A node's place as a byte offset; the start of the text where the tree keeps none.
pub(in crate::sql) fn offset(location: i32) -> usize {
    usize::try_from(location).unwrap_or(0)
}

/// A refusal with the place in the parsed text, as a 0-based byte offset.
pub(super) fn at(mut refusal: Refusal, location: i32) -> Refusal {
    if refusal.position.is_none() {
        refusal.position = u32::try_from(location).ok();
    }
    refusal
}
