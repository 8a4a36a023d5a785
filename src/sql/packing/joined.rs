//! How many rows a row that is written puts together: `SET note = orders.note || c.name FROM customers c` holds two. Read
//! later it is one, so such writes count when they are made. So do those that take over what another row holds: a row has
//! several columns, and may put them together by itself. What aggregates gather is told by `outputs`.
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::beside::around;
use super::calls::{self, Call};
use super::sums::{collect, is_truth};
use super::{Facts, MOST, mentioned_in};
use crate::sql::tree::{Node, Tree};

/// Rows that a value is made of: by what names them, how many each stands for.
type Rows = BTreeMap<String, u32>;

/// `EXPR_SUBLINK`, `MULTIEXPR_SUBLINK`, `ARRAY_SUBLINK` (nodes/primnodes.h, as protobuf numbers them): those whose value is
/// a row's. The others say yes or no.
const VALUES: [i64; 3] = [5, 6, 7];
/// `AEXPR_OP` and `AEXPR_NULLIF` (nodes/parsenodes.h); the others say yes or no.
const OPERATOR: i64 = 1;
const NULLIF: i64 = 6;
/// Statements around another one.
const CARRIERS: [&str; 4] = [
    "PrepareStmt",
    "ExplainStmt",
    "CopyStmt",
    "CreateTableAsStmt",
];
/// Operators that say yes or no.
const TRUTHS: [&str; 18] = [
    "=", "<>", "<", ">", "<=", ">=", "~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*", "@>",
    "<@", "&&", "?",
];
/// Of them neither text nor a list is made: a number at most, or what is left of one side.
const FIGURES: [&str; 2] = ["+", "-"];

/// What a row that is written is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Joined {
    /// How many rows a value puts together, at least 1.
    pub rows: u32,
    /// A value comes from another row than the one that is written; of an INSERT, from several rows.
    pub takes_over: bool,
}

impl Joined {
    /// Rows are written of nothing but their own values.
    pub const NOTHING: Joined = Joined {
        rows: 1,
        takes_over: false,
    };

    pub const fn of_several(self) -> bool {
        self.rows > 1 || self.takes_over
    }
}

/// What a statement puts together in rows that it writes.
pub fn joined(statement: &Node, facts: Facts<'_>) -> Joined {
    let mut reader = Reader {
        facts,
        common: Vec::new(),
        met: BTreeSet::new(),
        takes_over: false,
    };
    Joined {
        rows: reader.statement(statement).clamp(1, MOST),
        takes_over: reader.takes_over,
    }
}

fn is_write(node: &Node) -> bool {
    matches!(node.kind, "UpdateStmt" | "MergeStmt" | "InsertStmt")
}

/// Names of FROM and what they stand for; a row of what does not count is none.
#[derive(Default)]
struct Scope {
    names: Vec<(String, u32)>,
}

impl Scope {
    /// A name that is not known may be that of a query around, or a column's.
    fn rows(&self, qualifier: &str) -> Rows {
        let known = self.names.iter().find(|(name, _)| name == qualifier);
        let mut counted = self.names.iter().filter(|(_, rows)| *rows > 0);
        let (name, rows) = match (known, counted.next(), counted.next()) {
            (Some((name, rows)), ..) => (name.as_str(), *rows),
            // Without a qualifier, where there is one relation at most whose rows count.
            (None, Some((name, rows)), None) if qualifier.is_empty() => (name.as_str(), *rows),
            (None, None, _) if qualifier.is_empty() && !self.names.is_empty() => ("", 0),
            (None, ..) => (qualifier, 1),
        };
        match rows {
            0 => Rows::new(),
            rows => Rows::from([(name.to_owned(), rows)]),
        }
    }
}

struct Reader<'a> {
    facts: Facts<'a>,
    /// Common table expressions, and for how many rows a row of each stands.
    common: Vec<(String, u32)>,
    /// Whose rows the values that are read at the moment may come from.
    met: BTreeSet<String>,
    takes_over: bool,
}

impl Reader<'_> {
    /// The most that a write of a statement puts together: its own, or one in its WITH clause, where alone others can be.
    fn statement(&mut self, node: &Node) -> u32 {
        if CARRIERS.contains(&node.kind) {
            return node.child("query").map_or(0, |query| self.statement(query));
        }
        let with = node.child("with_clause");
        let expressions = with.map_or(&[][..], |with| with.list("ctes"));
        let queries = expressions.iter().filter_map(Tree::node);
        let queries = queries.filter_map(|expression| expression.child("ctequery"));
        let written: Vec<&Node> = queries.filter(|query| is_write(query)).collect();
        if written.is_empty() && !is_write(node) {
            return 0;
        }
        let common = self.common.len();
        self.with_clause(node);
        let most = written.into_iter().map(|query| self.statement(query)).max();
        let most = most.unwrap_or(0).max(self.write(node));
        self.common.truncate(common);
        most
    }

    fn write(&mut self, node: &Node) -> u32 {
        match node.kind {
            "UpdateStmt" => self.update(node),
            "MergeStmt" => self.merge(node),
            "InsertStmt" => self.insert(node),
            _ => 0,
        }
    }

    fn update(&mut self, node: &Node) -> u32 {
        let mut scope = Scope::default();
        self.target(node, &mut scope);
        self.from(node.get("from_clause"), &mut scope);
        let rows = self.changed(values(node.list("target_list")), &scope);
        rows.max(self.looked_at(node, values(node.list("target_list"))))
    }

    /// The rows of a value that is made of what is there, and of those that have a say in it: which rows are written, and by
    /// which conditions, may add to what they hold.
    fn looked_at<'t>(&self, write: &Node, values: impl IntoIterator<Item = &'t Tree>) -> u32 {
        let made: Vec<&Node> = values
            .into_iter()
            .filter_map(Tree::node)
            .filter(|value| is_made(value))
            .collect();
        if made.is_empty() {
            return 0;
        }
        let mut columns = Vec::new();
        made.into_iter()
            .for_each(|value| collect(value, &mut columns));
        // Also where it cannot be told that it is not.
        let own = columns.into_iter().any(|column| {
            let names = column.names("fields").unwrap_or_default();
            names.len() < 2 || self.is_target(write, names.first().copied().unwrap_or(""))
        });
        around(write, self.facts).saturating_add(u32::from(own))
    }

    /// A row of the target that is there, with other values.
    fn changed<'t>(&mut self, values: impl IntoIterator<Item = &'t Tree>, scope: &Scope) -> u32 {
        self.met.clear();
        let rows = self.row(values, scope);
        let target = scope.names.first().map_or("", |(name, _)| name);
        self.takes_over |= self.met.iter().any(|name| name != target);
        rows
    }

    /// A row that is made of nothing that is there; `added`: to a target.
    fn made<'t>(
        &mut self,
        values: impl IntoIterator<Item = &'t Tree>,
        scope: &Scope,
        added: bool,
    ) -> u32 {
        self.met.clear();
        let rows = self.row(values, scope);
        self.takes_over |= added && self.met.len() > 1;
        rows
    }

    fn merge(&mut self, node: &Node) -> u32 {
        let mut scope = Scope::default();
        self.target(node, &mut scope);
        self.from(node.get("source_relation"), &mut scope);
        let clauses = node.list("merge_when_clauses");
        let rows = clauses.iter().filter_map(Tree::node).map(|clause| {
            // `INSERT (a, b) VALUES (...)`: the list names columns alone.
            let assigned = self.changed(values(clause.list("target_list")), &scope);
            let added = self.made(clause.list("values"), &scope, true);
            let given = values(clause.list("target_list")).chain(clause.list("values"));
            assigned.max(added).max(self.looked_at(node, given))
        });
        rows.max().unwrap_or(0)
    }

    fn insert(&mut self, node: &Node) -> u32 {
        let select = node.child("select_stmt");
        let given = select.map_or(0, |select| self.query(select, true));
        let looked_at = select.map_or(0, |select| self.around_query(node, select));
        let mut scope = Scope::default();
        self.target(node, &mut scope);
        // Values of the statement's own are no rows.
        let reads = select.is_some_and(|select| mentioned_in(select, self.facts.counted));
        let excluded = if reads { given.max(1) } else { 0 };
        scope.names.push(("excluded".to_owned(), excluded));
        let clause = node.child("on_conflict_clause");
        let updated = clause.map_or(0, |clause| {
            let assigned = || values(clause.list("target_list"));
            let rows = self.changed(assigned(), &scope);
            rows.max(self.looked_at(node, assigned()))
        });
        given.max(looked_at).max(updated)
    }

    /// How many rows a query looks at for a row that is added.
    fn around_query(&self, insert: &Node, select: &Node) -> u32 {
        let mut with = insert.child("with_clause").into_iter().chain([select]);
        match with.any(|part| mentioned_in(part, self.facts.counted)) {
            true => around(insert, self.facts),
            false => 0,
        }
    }

    fn is_target(&self, write: &Node, name: &str) -> bool {
        let relation = write.child("relation");
        relation.is_none_or(|relation| relation.goes_by() == name)
    }

    fn target(&mut self, node: &Node, scope: &mut Scope) {
        if let Some(relation) = node.child("relation") {
            self.item(relation, scope);
        }
    }

    fn with_clause(&mut self, node: &Node) {
        let expressions = node.child("with_clause");
        let expressions = expressions.map_or(&[][..], |with| with.list("ctes"));
        for expression in expressions.iter().filter_map(Tree::node) {
            let query = expression.child("ctequery");
            let rows = query.map_or(0, |query| self.relation_of(query));
            self.common
                .push((expression.text("ctename").to_owned(), rows));
        }
    }

    fn from(&mut self, tree: Option<&Tree>, scope: &mut Scope) {
        match tree {
            Some(Tree::List(items)) => items.iter().for_each(|item| self.from(Some(item), scope)),
            Some(Tree::Node(node)) => self.item(node, scope),
            _ => {}
        }
    }

    fn item(&mut self, node: &Node, scope: &mut Scope) {
        let alias = node.child("alias");
        let alias = alias.map_or("", |alias| alias.text("aliasname"));
        let (name, rows) = match node.kind {
            "JoinExpr" => {
                self.from(node.get("larg"), scope);
                self.from(node.get("rarg"), scope);
                if alias.is_empty() {
                    return;
                }
                ("", u32::from(mentioned_in(node, self.facts.counted)))
            }
            "RangeVar" => (node.text("relname"), self.relation(node)),
            "RangeSubselect" => {
                let query = node.child("subquery");
                ("", query.map_or(0, |query| self.relation_of(query)))
            }
            "RangeTableSample" => return self.from(node.get("relation"), scope),
            _ => ("", u32::from(mentioned_in(node, self.facts.counted))),
        };
        let name = if alias.is_empty() { name } else { alias };
        scope.names.push((name.to_owned(), rows));
    }

    fn relation(&self, node: &Node) -> u32 {
        let name = node.text("relname");
        let mut common = self.common.iter().rev();
        match common.find(|(known, _)| known == name) {
            Some((_, rows)) if node.text("schemaname").is_empty() => *rows,
            _ => u32::from((self.facts.counted)(node)),
        }
    }

    /// For how many rows a row of a subquery stands; 0 where it reads nothing that counts.
    fn relation_of(&mut self, query: &Node) -> u32 {
        match mentioned_in(query, self.facts.counted) {
            true => self.query(query, false).max(1),
            false => self.query(query, false),
        }
    }

    /// `added`: its rows are new ones of a target.
    fn query(&mut self, node: &Node, added: bool) -> u32 {
        if node.kind != "SelectStmt" {
            return 0;
        }
        let around = std::mem::take(&mut self.met);
        let common = self.common.len();
        self.with_clause(node);
        let arms = [node.child("larg"), node.child("rarg")];
        let mut most = 0;
        for arm in arms.into_iter().flatten() {
            most = most.max(self.query(arm, added));
        }
        let mut scope = Scope::default();
        self.from(node.get("from_clause"), &mut scope);
        most = most.max(self.made(values(node.list("target_list")), &scope, added));
        for row in node.list("values_lists") {
            let row = row.items().unwrap_or_default();
            most = most.max(self.made(row, &scope, added));
        }
        self.common.truncate(common);
        self.met = around;
        most
    }

    /// The most that a value of a row is made of.
    fn row<'t>(&mut self, values: impl IntoIterator<Item = &'t Tree>, scope: &Scope) -> u32 {
        sum(&self.most(values, scope))
    }

    fn value(&mut self, tree: &Tree, scope: &Scope) -> Rows {
        match tree {
            Tree::List(items) => self.united(items, scope),
            Tree::Node(node) => self.expression(node, scope),
            _ => Rows::new(),
        }
    }

    fn expression(&mut self, node: &Node, scope: &Scope) -> Rows {
        let rows = self.read(node, scope);
        if matches!(node.kind, "ColumnRef" | "SubLink") || shows_another(node) {
            self.met.extend(rows.keys().cloned());
        }
        rows
    }

    fn read(&mut self, node: &Node, scope: &Scope) -> Rows {
        match node.kind {
            "ColumnRef" => {
                let names = node.names("fields").unwrap_or_default();
                match names.as_slice() {
                    // The whole row of a relation by its name, or a column.
                    [only] if scope.names.iter().any(|(name, _)| name == only) => scope.rows(only),
                    [.., qualifier, _] => scope.rows(qualifier),
                    _ => scope.rows(""),
                }
            }
            "BoolExpr" | "NullTest" | "BooleanTest" => Rows::new(),
            "SubLink" if VALUES.contains(&node.int("sub_link_type")) => {
                let query = node.child("subselect");
                let rows = query.map_or(0, |query| self.relation_of(query));
                by_itself(node, rows)
            }
            "SubLink" => Rows::new(),
            "AExpr" => self.operator(node, scope),
            "FuncCall" if shows_another(node) => {
                let order = node
                    .get("agg_order")
                    .filter(|_| node.flag("agg_within_group"));
                let values = node.list("args").iter().chain(order);
                let rows = sum(&self.united(values, scope));
                by_itself(node, rows)
            }
            // One of them.
            "CoalesceExpr" | "MinMaxExpr" => self.most(node.list("args"), scope),
            "CaseExpr" => {
                let whens = node.list("args").iter().filter_map(Tree::node);
                let results = whens.filter_map(|when| when.get("result"));
                self.most(results.chain(node.get("defresult")), scope)
            }
            _ => self.united(node.fields.iter().map(|(_, field)| field), scope),
        }
    }

    fn operator(&mut self, node: &Node, scope: &Scope) -> Rows {
        let (left, right) = (node.get("lexpr"), node.get("rexpr"));
        let sides = left.into_iter().chain(right);
        let name = node.list("name").last().and_then(Tree::string);
        let name = name.unwrap_or("");
        match node.int("kind") {
            NULLIF => self.united(left, scope),
            OPERATOR if FIGURES.contains(&name) => self.most(sides, scope),
            OPERATOR if !TRUTHS.contains(&name) => self.united(sides, scope),
            _ => Rows::new(),
        }
    }

    /// What is made of all of them.
    fn united<'t>(&mut self, items: impl IntoIterator<Item = &'t Tree>, scope: &Scope) -> Rows {
        let mut united = Rows::new();
        for item in items {
            for (name, rows) in self.value(item, scope) {
                let most = united.entry(name).or_insert(0);
                *most = rows.max(*most);
            }
        }
        united
    }

    /// What is one of them: that which is made of most.
    fn most<'t>(&mut self, items: impl IntoIterator<Item = &'t Tree>, scope: &Scope) -> Rows {
        let rows = items.into_iter().map(|item| self.value(item, scope));
        rows.max_by_key(sum).unwrap_or_default()
    }
}

/// A call whose value is that of another row than the one that it stands in, or of one of many.
fn shows_another(node: &Node) -> bool {
    node.kind == "FuncCall"
        && match calls::call(node) {
            Call::Plain | Call::Document | Call::Number => node.get("over").is_some(),
            _ => true,
        }
}

/// A value that is put together of something, and not only taken from where it stands.
fn is_made(node: &Node) -> bool {
    match node.kind {
        "AConst" | "ParamRef" | "SetToDefault" | "ColumnRef" => false,
        // One truth by itself.
        _ if is_truth(node) => false,
        "SubLink" if !VALUES.contains(&node.int("sub_link_type")) => false,
        "TypeCast" => node.child("arg").is_some_and(is_made),
        // A column or a query is in it.
        _ => node.anywhere(&|node| matches!(node.kind, "ColumnRef" | "SubLink")),
    }
}

/// So many rows of nothing that has a name.
fn by_itself(node: &Node, rows: u32) -> Rows {
    match rows {
        0 => Rows::new(),
        rows => Rows::from([(format!("({})", node.location), rows)]),
    }
}

/// What is assigned, or put out.
fn values(targets: &[Tree]) -> impl Iterator<Item = &Tree> {
    let targets = targets.iter().filter_map(Tree::node);
    targets.filter_map(|target| target.get("val"))
}

fn sum(rows: &Rows) -> u32 {
    rows.values()
        .fold(0, |sum: u32, rows| sum.saturating_add(*rows))
        .min(MOST)
}
