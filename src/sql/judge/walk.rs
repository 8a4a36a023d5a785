//! The walk over a tree: total, depth first, with the common table expressions in scope.
use std::collections::BTreeSet;

use crate::sql::functions::{self, Objection};
use crate::sql::plan::{Effect, Refusal};
use crate::sql::refuse;
use crate::sql::system;
use crate::sql::tree::{Node, Tree};

use super::grouping::Addition;
use super::kinds;
use super::{Rules, Side, Use};

/// System columns: a template has none of them.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

pub(super) struct Walk<'a> {
    pub rules: &'a Rules<'a>,
    pub side: Side,
    /// Names of common table expressions in scope, innermost last.
    scopes: Vec<Vec<String>>,
    pub uses: Vec<Use>,
    pub effects: Vec<Effect>,
    pub additions: Vec<Addition>,
    pub columns: BTreeSet<String>,
    /// A `*` was met.
    pub stars: bool,
    /// Names under which protected relations are referred to.
    pub aliases: BTreeSet<String>,
    /// A system column was named, at this byte offset.
    system_column: Option<(String, i32)>,
}

impl<'a> Walk<'a> {
    pub fn new(rules: &'a Rules<'a>, side: Side) -> Self {
        Walk {
            rules,
            side,
            scopes: Vec::new(),
            uses: Vec::new(),
            effects: Vec::new(),
            additions: Vec::new(),
            columns: BTreeSet::new(),
            stars: false,
            aliases: BTreeSet::new(),
            system_column: None,
        }
    }

    pub fn in_scope(&self, name: &str) -> bool {
        self.scopes.iter().flatten().any(|cte| cte == name)
    }

    pub fn tree(&mut self, tree: &mut Tree) -> Result<(), Refusal> {
        match tree {
            Tree::List(items) => items.iter_mut().try_for_each(|item| self.tree(item)),
            Tree::Node(node) => self.node(node),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => Ok(()),
        }
    }

    pub fn node(&mut self, node: &mut Node) -> Result<(), Refusal> {
        match node.kind {
            "SelectStmt" => self.query(node),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.write(node),
            "RangeVar" => self.read(node),
            "RangeSubselect" => self.subselect(node),
            "RangeTableSample" => self.sample(node),
            "CaseExpr" | "JoinExpr" => {
                self.implied_operators(node)?;
                self.children(node)
            }
            "ColumnRef" => self.column(node),
            "FuncCall" => self.function(node),
            "AExpr" => self.operator_in(node, "name"),
            "SubLink" => self.operator_in(node, "oper_name"),
            "SortBy" => self.operator_in(node, "use_op"),
            "TypeCast" => self.children(node),
            "TypeName" => self.type_name(node),
            "LockingClause" => locking(node),
            kind if kinds::is_plain(kind) => self.children(node),
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
        node.fields
            .iter_mut()
            .try_for_each(|(_, value)| self.tree(value))
    }

    /// A SELECT, VALUES or set operation: its WITH clause first, then everything else with those names in scope.
    fn query(&mut self, node: &mut Node) -> Result<(), Refusal> {
        self.casts(node, false)?;
        if node.get("into_clause").is_some() {
            return Err(at(refuse::statement("SELECT INTO"), node.location));
        }
        self.with_scope(node, |walk, node| walk.children(node))?;
        self.grouping(node);
        Ok(())
    }

    /// Casts that the server may apply anywhere in the statement.
    pub(super) fn casts(&self, node: &Node, writes: bool) -> Result<(), Refusal> {
        match functions::check_casts(self.rules.catalog, self.rules.role, writes) {
            Err(Objection::Runs(full)) => Err(at(refuse::function(&full), node.location)),
            _ => Ok(()),
        }
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
        if let Some(clause) = with.node_mut() {
            self.with_clause(clause)?;
        }
        body(self, node)?;
        self.scopes.pop();
        node.set("with_clause", with);
        Ok(())
    }

    fn with_clause(&mut self, clause: &mut Node) -> Result<(), Refusal> {
        let recursive = clause.flag("recursive");
        if recursive {
            let names: Vec<String> = clause
                .list("ctes")
                .iter()
                .filter_map(Tree::node)
                .map(|cte| cte.text("ctename").to_owned())
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
            let name = cte.text("ctename").to_owned();
            self.children(cte)?;
            if !recursive && let Some(scope) = self.scopes.last_mut() {
                scope.push(name);
            }
        }
        Ok(())
    }

    /// Notes the column, and takes the schema off `schema.table.column`: the alias of a template has none.
    fn column(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let location = node.location;
        let Some(Tree::List(fields)) = node.get_mut("fields") else {
            return Ok(());
        };
        let names: Vec<Option<&str>> = fields.iter().map(Tree::string).collect();
        match names.last() {
            Some(Some(name)) => {
                if SYSTEM_COLUMNS.contains(name) {
                    self.system_column
                        .get_or_insert(((*name).to_owned(), location));
                }
                self.columns.insert((*name).to_owned());
            }
            _ => self.stars = true,
        }
        let catalog = self.rules.catalog;
        let known = |schema: &Option<&str>, table: &Option<&str>| match (schema, table) {
            (Some(schema), Some(table)) => catalog.relation(schema, table).is_some(),
            _ => false,
        };
        let surplus = match names.as_slice() {
            [schema, table, _] if known(schema, table) => 1,
            [Some(database), schema, table, _]
                if *database == catalog.database && known(schema, table) =>
            {
                2
            }
            _ => 0,
        };
        fields.drain(..surplus);
        Ok(())
    }

    fn function(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let location = node.location;
        let names = node.names("funcname").unwrap_or_default();
        let (schema, name) = match names.as_slice() {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            [_, schema, name] => (Some(*schema), *name),
            _ => return Err(refuse::judge("a function without a name")),
        };
        let rules = self.rules;
        match functions::check_function(rules.catalog, rules.role, rules.path, schema, name) {
            Ok(()) => {}
            Err(Objection::NotAllowed(full) | Objection::Runs(full)) => {
                return Err(at(refuse::function(&full), location));
            }
            // `contacts.phone` may be written `phone(contacts)`: the server finds the column, or says that there is no
            // such function.
            Err(Objection::Undefined) if schema.is_none() && is_column_name(rules, name) => {
                self.columns.insert(name.to_owned());
            }
            Err(Objection::Undefined) => {
                let shown = schema.map_or(name.to_owned(), |schema| format!("{schema}.{name}"));
                return Err(at(
                    refuse::undefined("42883", format!("function {shown} does not exist")),
                    location,
                ));
            }
        }
        if name == "set_config" {
            self.set_config(node)?;
        }
        self.children(node)
    }

    /// `set_config` with a literal name that SET would allow, too.
    fn set_config(&mut self, node: &Node) -> Result<(), Refusal> {
        let arguments = node.list("args");
        let constant = |index: usize| {
            arguments
                .get(index)
                .and_then(Tree::node)
                .and_then(string_constant)
        };
        let Some(name) = constant(0) else {
            return Err(at(
                refuse::setting("given by an expression", "set_config needs a literal name"),
                node.location,
            ));
        };
        // A value that is not literal could be any.
        let value = constant(1).unwrap_or("\u{0}");
        if let Some(why) = system::setting_objection(name, Some(value)) {
            return Err(at(refuse::setting(name, why), node.location));
        }
        self.effects.push(Effect::SettingsChanged);
        Ok(())
    }

    /// Operators that the syntax looks up by name without naming them (`src/backend/parser/parse_expr.c`,
    /// `transformJoinUsingClause` in `parse_clause.c`).
    fn implied_operators(&self, node: &Node) -> Result<(), Refusal> {
        let implied: &[&str] = match node.kind {
            "CaseExpr" if node.get("arg").is_some() => &["="],
            "JoinExpr" if node.flag("is_natural") || node.get("using_clause").is_some() => &["="],
            "SubLink" if node.get("oper_name").is_none() => &["="],
            "AExpr" => match node.names("name").as_deref() {
                Some([name]) if name.contains("BETWEEN") => &["<", ">", "<=", ">="],
                _ => &[],
            },
            _ => &[],
        };
        implied
            .iter()
            .try_for_each(|name| self.operator(None, name, node.location))
    }

    fn operator(&self, schema: Option<&str>, name: &str, location: i32) -> Result<(), Refusal> {
        let rules = self.rules;
        match functions::check_operator(rules.catalog, rules.role, rules.path, schema, name) {
            Err(Objection::NotAllowed(full) | Objection::Runs(full)) => {
                Err(at(refuse::operator(&full), location))
            }
            Ok(()) | Err(Objection::Undefined) => Ok(()),
        }
    }

    fn operator_in(&mut self, node: &mut Node, field: &'static str) -> Result<(), Refusal> {
        self.implied_operators(node)?;
        let names = node.names(field).unwrap_or_default();
        let (schema, name) = match names.as_slice() {
            [] => (Some("pg_catalog"), ""),
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            _ => {
                return Err(refuse::judge(
                    "an operator with more than a schema and a name",
                ));
            }
        };
        self.operator(schema, name, node.location)?;
        self.children(node)
    }

    fn type_name(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let names = node.names("names").unwrap_or_default();
        let (schema, name) = match names.as_slice() {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            [_, schema, name] => (Some(*schema), *name),
            _ => return Err(refuse::judge("a type without a name")),
        };
        let rules = self.rules;
        match functions::check_type(rules.catalog, rules.role, rules.path, schema, name) {
            Err(Objection::NotAllowed(full)) => {
                return Err(at(refuse::data_type(&full), node.location));
            }
            Err(Objection::Runs(full)) => return Err(at(refuse::function(&full), node.location)),
            Ok(()) | Err(Objection::Undefined) => {}
        }
        self.children(node)
    }

    /// A system column in a statement that reads a masked relation: it would not be found in the template.
    pub fn check_system_columns(&self) -> Result<(), Refusal> {
        let masked = self
            .uses
            .iter()
            .any(|found| self.rules.role.masks.contains_key(&found.relation));
        match &self.system_column {
            Some((name, location)) if masked => Err(at(
                refuse::construct(
                    &format!("the system column {name}"),
                    "use the primary key instead",
                ),
                *location,
            )),
            _ => Ok(()),
        }
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

fn is_column_name(rules: &Rules<'_>, name: &str) -> bool {
    rules
        .catalog
        .relations
        .values()
        .any(|relation| relation.column(name).is_some())
}

/// The text of a string literal, a cast around it put aside.
pub(super) fn string_constant(node: &Node) -> Option<&str> {
    match node.kind {
        "AConst" => node.get("val").and_then(Tree::string),
        "TypeCast" => node.child("arg").and_then(string_constant),
        _ => None,
    }
}

/// A refusal with the place in the parsed text, as a 0-based byte offset.
pub(super) fn at(mut refusal: Refusal, location: i32) -> Refusal {
    if refusal.position.is_none() {
        refusal.position = u32::try_from(location).ok();
    }
    refusal
}
