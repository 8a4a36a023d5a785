//! What a statement calls: functions, operators, types and casts, by their names or unasked.
use crate::sql::functions::{self, Objection};
use crate::sql::plan::{Effect, Refusal};
use crate::sql::refuse;
use crate::sql::system::ANY_VALUE;
use crate::sql::tree::{Node, Tree};

use super::walk::{Walk, at, string_constant};
use super::{Rules, arguments};

/// `AEXPR_OP` (nodes/parsenodes.h, as protobuf numbers it).
const OPERATOR: i64 = 1;

/// Constructs that servers before a version take for calls of functions: node type, the version, the functions.
const CALLS_BEFORE: &[(&str, u32, &[&str])] = &[
    ("JsonArrayAgg", 160_000, &["json_arrayagg"]),
    ("JsonArrayConstructor", 160_000, &["json_array"]),
    (
        "JsonFuncExpr",
        170_000,
        &["json_exists", "json_query", "json_value"],
    ),
    ("JsonObjectAgg", 160_000, &["json_objectagg"]),
    ("JsonObjectConstructor", 160_000, &["json_object"]),
    ("JsonParseExpr", 170_000, &["json"]),
    ("JsonScalarExpr", 170_000, &["json_scalar"]),
    ("JsonSerializeExpr", 170_000, &["json_serialize"]),
    ("JsonTable", 170_000, &["json_table"]),
    ("MergeSupportFunc", 170_000, &["merge_action"]),
];

impl Walk<'_> {
    /// Casts that the server may apply anywhere in the statement.
    pub(super) fn casts(&self, node: &Node, writes: bool) -> Result<(), Refusal> {
        match functions::check_casts(self.rules.catalog, self.rules.role, writes) {
            Err(Objection::Runs(full)) => Err(at(refuse::function(&full), node.location)),
            _ => Ok(()),
        }
    }

    pub(super) fn function(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let location = node.location;
        let names = node.names("funcname").unwrap_or_default();
        let (schema, name) = match names.as_slice() {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            [_, schema, name] => (Some(*schema), *name),
            _ => return Err(refuse::judge("a function without a name")),
        };
        let rules = self.rules;
        // Before version 14 the grammar took EXTRACT for a call of `date_part`.
        let name = match (schema, name) {
            (Some("pg_catalog"), "extract") if rules.catalog.server_version < 140_000 => {
                "date_part"
            }
            _ => name,
        };
        let arguments = (!node.flag("func_variadic")).then(|| node.list("args").len());
        match functions::check_function(
            rules.catalog,
            rules.role,
            rules.path,
            schema,
            name,
            arguments,
        ) {
            Ok(()) => self.calls_users |= functions::may_be_users(rules.catalog, name),
            Err(Objection::NotAllowed(full) | Objection::Runs(full)) => {
                return Err(at(refuse::function(&full), location));
            }
            // `contacts.phone` may be written `phone(contacts)`: the server finds the column, or says that there is no
            // such function.
            Err(Objection::Undefined) if schema.is_none() && is_column_name(rules, name) => {
                self.columns.insert(name.to_owned());
            }
            // Or `y(t)` of `t(x, y)`: known when all of the statement's own names are.
            Err(Objection::Undefined) if schema.is_none() && arguments == Some(1) => {
                self.rows.call(name, arguments::shown(name, node), location);
            }
            Err(Objection::Undefined) => {
                let shown = schema.map_or(name.to_owned(), |schema| format!("{schema}.{name}"));
                let refusal = match arguments::shown(&shown, node) {
                    Some(signature) => refuse::undefined_overload(&signature),
                    None => refuse::undefined_function(&shown),
                };
                return Err(at(refusal, location));
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
        let fixed = self.setting.take();
        let fixed = fixed.filter(|(at, _)| *at == node.location);
        let Some(name) = constant(0).or(fixed.as_ref().map(|(_, name)| name.as_str())) else {
            if let Some(named) = self.named_later(node, None) {
                self.effects.extend([Effect::SettingsChanged, named]);
                return Ok(());
            }
            return Err(at(
                refuse::setting("given by an expression", "set_config needs a literal name"),
                node.location,
            ));
        };
        // A value that is not literal could be any.
        let value = constant(1).unwrap_or(ANY_VALUE);
        if let Some(why) = self.setting_objection(name, value) {
            if let Some(named) = self.named_later(node, Some(name)) {
                self.effects.extend([Effect::SettingsChanged, named]);
                return Ok(());
            }
            return Err(at(refuse::setting(name, why), node.location));
        }
        self.effects.push(Effect::SettingsChanged);
        Ok(())
    }

    /// `SELECT set_config(name, ...) FROM pg_settings WHERE name = '...'`, as pg_dump sets what the server may not know: the
    /// place of the call, and the name. Of other relations the name may be of a type that is compared in another way.
    pub(super) fn fixed_setting(&self, query: &Node) -> Option<(i32, String)> {
        let is_name = |tree: &Tree| {
            let node = tree.node().filter(|node| node.kind == "ColumnRef");
            node.and_then(|node| node.names("fields")).as_deref() == Some(&["name"])
        };
        let [from] = query.list("from_clause") else {
            return None;
        };
        let [target] = query.list("target_list") else {
            return None;
        };
        let from = from.node().filter(|from| from.kind == "RangeVar")?;
        let call = target.node()?.child("val")?;
        let names = call.names("funcname").filter(|_| call.kind == "FuncCall")?;
        let condition = query.child("where_clause")?;
        let is_equal = condition.kind == "AExpr"
            && condition.int("kind") == OPERATOR
            && condition.names("name").as_deref() == Some(&["="]);
        let is_alone = query.get("with_clause").is_none() && query.get("larg").is_none();
        let named = names.last() == Some(&"set_config")
            && call.list("args").first().is_some_and(is_name)
            && condition.get("lexpr").is_some_and(is_name);
        let value = condition.child("rexpr")?;
        let value = value
            .get("val")
            .filter(|_| value.kind == "AConst")?
            .string()?;
        let is_settings = || {
            let relation = self.resolve(from);
            relation.is_ok_and(|relation| relation.full_name() == "pg_catalog.pg_settings")
        };
        (is_equal && is_alone && named && is_settings()).then(|| (call.location, value.to_owned()))
    }

    /// Operators that the syntax looks up by name without naming them (`src/backend/parser/parse_expr.c`,
    /// `transformJoinUsingClause` in `parse_clause.c`).
    pub(super) fn implied_operators(&self, node: &Node) -> Result<(), Refusal> {
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

    pub(super) fn operator_in(
        &mut self,
        node: &mut Node,
        field: &'static str,
    ) -> Result<(), Refusal> {
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

    pub(super) fn type_name(&mut self, node: &mut Node) -> Result<(), Refusal> {
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

    /// A construct without a rule of its own. To an older server it may be a call of whatever function has its name.
    pub(super) fn plain(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let rules = self.rules;
        let version = rules.catalog.server_version;
        let called = CALLS_BEFORE
            .iter()
            .filter(|(kind, since, _)| version < *since && *kind == node.kind)
            .flat_map(|(_, _, names)| *names);
        for name in called {
            let (catalog, role) = (rules.catalog, rules.role);
            match functions::check_function(catalog, role, rules.path, None, name, None) {
                Ok(()) => self.calls_users |= functions::may_be_users(catalog, name),
                Err(Objection::NotAllowed(full) | Objection::Runs(full)) => {
                    return Err(at(refuse::function(&full), node.location));
                }
                Err(Objection::Undefined) => {}
            }
        }
        self.children(node)
    }
}

fn is_column_name(rules: &Rules<'_>, name: &str) -> bool {
    rules
        .catalog
        .relations
        .values()
        .any(|relation| relation.column(name).is_some())
}
