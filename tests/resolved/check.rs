//! Holds the tree of a text that would run against the guards: what the server understands it to read.
//!
//! Knows the policy's masks and rules, and PostgreSQL's trees. It does not know what pgveil writes.
use crate::form::over;
use crate::guards::{Guard, Guards, conjuncts};
use crate::node::{Node, Value};
use crate::scope::{
    INSERT, Level, Place, RELATION, SELECT, Scope, UPDATE, columns_of, entry, is_excluded,
    is_target, place, uncast,
};

/// Where a secret column, or the row that holds it, may stand besides inside its mask. Nothing else is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allowed {
    /// What is assigned to the column is its own stored value, perhaps: a form that is saved as it was shown.
    Kept,
    /// `lookup: exact`: the stored value against a constant or parameter, by `=`.
    LookedUp,
    /// Within the row rule, which the policy wrote.
    Rule,
    /// What ON CONFLICT compares with the definitions of indexes: no row is read. Expressions of it are none of secret
    /// columns, unless these are looked up.
    Index,
    /// Whether a row of a view is there at all: `row IS NULL` as a whole. A view has no system column to ask.
    There,
    /// `concat('...', left(column::text, 0))`: the same text whatever the value, evaluated where the row is.
    Empty,
}

#[derive(Debug, Default)]
pub struct Findings {
    pub leaks: Vec<String>,
    /// How often each was met.
    pub allowed: Vec<Allowed>,
    /// Guarded relations that were read or written.
    pub guarded: usize,
}

pub fn check(tree: &Value, guards: &Guards) -> Findings {
    let mut check = Check {
        guards,
        found: Findings::default(),
    };
    check.value(tree, &mut Vec::new(), None);
    check.found
}

struct Check<'g> {
    guards: &'g Guards,
    found: Findings,
}

/// A secret column whose stored value may stand here: it goes into the very column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Own {
    place: Place,
    column: i64,
}

impl<'g> Check<'g> {
    fn leak(&mut self, what: String) {
        if !self.found.leaks.contains(&what) {
            self.found.leaks.push(what);
        }
    }

    fn value<'t>(&mut self, value: &'t Value, scope: &mut Scope<'t>, own: Option<Own>) {
        match value {
            Value::Node(node) => self.node(node, scope, own),
            Value::List(items) => items.iter().for_each(|item| self.value(item, scope, None)),
            Value::Word(_) | Value::Null => {}
        }
    }

    fn fields<'t>(&mut self, node: &'t Node, scope: &mut Scope<'t>) {
        for (_, value) in &node.fields {
            self.value(value, scope, None);
        }
    }

    fn node<'t>(&mut self, node: &'t Node, scope: &mut Scope<'t>, own: Option<Own>) {
        if node.kind == "VAR" {
            return self.column(node, scope, own);
        }
        if node.kind != "QUERY" && self.is_guarded_expression(node, scope) {
            return;
        }
        match node.kind.as_str() {
            "QUERY" => self.query(node, scope, None),
            // EXPR_SUBLINK: the value of the query's only column.
            "SUBLINK" if node.int("subLinkType") == 4 => {
                if let Some(query) = node.child("subselect") {
                    self.query(query, scope, own.map(|own| vec![Some(own)]));
                }
            }
            "CASEEXPR" => {
                self.value(node.get("arg"), scope, None);
                for when in node.nodes("args") {
                    self.value(when.get("expr"), scope, None);
                    self.value(when.get("result"), scope, own);
                }
                self.value(node.get("defresult"), scope, own);
            }
            _ if own.is_some() => self.cast(node, scope, own),
            "INFERENCEELEM" => self.inferred(node, scope),
            _ => self.fields(node, scope),
        }
    }

    /// A cast hands on what may stand in it.
    fn cast<'t>(&mut self, node: &'t Node, scope: &mut Scope<'t>, own: Option<Own>) {
        let inner = match node.kind.as_str() {
            "RELABELTYPE" | "COERCEVIAIO" | "COERCETODOMAIN" => Some(node.get("arg")),
            "FUNCEXPR" if matches!(node.int("funcformat"), 1 | 2) => node.list("args").first(),
            _ => None,
        };
        let Some(inner) = inner else {
            return self.fields(node, scope);
        };
        self.value(inner, scope, own);
        for (_, value) in &node.fields {
            for item in value.items().iter().skip(1) {
                self.value(item, scope, None);
            }
        }
    }

    fn column(&mut self, var: &Node, scope: &[Level<'_>], own: Option<Own>) {
        let Some((place, guard)) = self.guarded(var, scope) else {
            return;
        };
        let column = var.int("varattno");
        if own == Some(Own { place, column }) {
            return self.found.allowed.push(Allowed::Kept);
        }
        let what = match column {
            0 => "the whole row".to_owned(),
            column => format!("column {column}"),
        };
        let target = match is_target(place, scope) {
            true => " (which is written)",
            false => "",
        };
        self.leak(format!(
            "{what} of {}{target} stands outside its mask",
            guard.name
        ));
    }

    /// The guarded relation of which a reference names a secret column or the whole row.
    fn guarded(&self, var: &Node, scope: &[Level<'_>]) -> Option<(Place, &'g Guard)> {
        let place = place(var, scope)?;
        let found = entry(place, scope)?;
        if found.int("rtekind") != RELATION || is_excluded(place, scope) {
            return None;
        }
        let guards = self.guards;
        let guard = guards.get(found)?;
        let column = var.int("varattno");
        let secret = guard.secret.contains(&column) || (column == 0 && !guard.secret.is_empty());
        secret.then_some((place, guard))
    }

    /// A mask, a lookup, a row rule, or whether a row is there.
    fn is_guarded_expression<'t>(&mut self, node: &'t Node, scope: &mut Scope<'t>) -> bool {
        let (kind, guards) = (node.kind.as_str(), self.guards);
        let mut rows: Vec<Place> = Vec::new();
        columns_of(node, scope, &mut |var, scope| {
            if let Some(place) = place(var, scope)
                && let Some(found) = entry(place, scope)
                && guards.get(found).is_some()
                && !rows.contains(&place)
            {
                rows.push(place);
            }
        });
        for row in rows {
            let Some(guard) = entry(row, scope).and_then(|entry| guards.get(entry)) else {
                continue;
            };
            if guard
                .masked(kind, || over(node, scope, Some(row)))
                .is_some()
            {
                return true;
            }
            if let Some((whole, _)) = &guard.rule
                && over(node, scope, Some(row)) == *whole
            {
                self.found.allowed.push(Allowed::Rule);
                return true;
            }
            if is_lookup(node, row, guard, scope) {
                self.found.allowed.push(Allowed::LookedUp);
                return true;
            }
            if is_empty(node) {
                self.found.allowed.push(Allowed::Empty);
                return true;
            }
            if is_there(node, row, scope) {
                self.found.allowed.push(Allowed::There);
                return true;
            }
        }
        false
    }

    /// An element of ON CONFLICT (...).
    fn inferred<'t>(&mut self, node: &'t Node, scope: &mut Scope<'t>) {
        let looked_up = node
            .child("expr")
            .filter(|value| value.kind == "VAR")
            .is_some_and(|var| {
                self.guarded(var, scope)
                    .is_some_and(|(_, guard)| guard.looked_up.contains(&var.int("varattno")))
            });
        match looked_up {
            true => self.found.allowed.push(Allowed::Index),
            false => self.fields(node, scope),
        }
    }

    /// `own`: by output column, what may stand there as it is.
    fn query<'t>(&mut self, query: &'t Node, scope: &mut Scope<'t>, own: Option<Vec<Option<Own>>>) {
        let name = scope.len();
        scope.push(Level { query, name });
        self.entries(query, scope);
        let level = scope.len() - 1;
        let into = |entry: i64| Place { level, entry };
        let target = query.int("resultRelation");
        let updates = query.int("commandType") == UPDATE;
        for (field, value) in &query.fields {
            match field.as_str() {
                "targetList" if updates => self.assigned(value.items(), scope, Some(into(target))),
                "targetList" => {
                    let mut outputs = 0;
                    for item in query.nodes("targetList") {
                        let junk = item.flag("resjunk");
                        let mine = own.as_ref().filter(|_| !junk);
                        let mine = mine.and_then(|own| own.get(outputs).copied().flatten());
                        outputs += usize::from(!junk);
                        self.value(item.get("expr"), scope, mine);
                    }
                }
                "onConflict" => self.conflict(value, scope, into(target)),
                "mergeActionList" => {
                    for action in query.nodes("mergeActionList") {
                        self.value(action.get("qual"), scope, None);
                        let updates = action.int("commandType") == UPDATE;
                        let target = match query.int("mergeTargetRelation") {
                            0 => target,
                            given => given,
                        };
                        self.assigned(
                            action.list("targetList"),
                            scope,
                            updates.then(|| into(target)),
                        );
                    }
                }
                _ => self.value(value, scope, None),
            }
        }
        scope.pop();
    }

    /// Items of SET: each column may get its own value, from the row of a query too.
    fn assigned<'t>(&mut self, items: &'t [Value], scope: &mut Scope<'t>, into: Option<Place>) {
        let rows = assigned_rows(items);
        for item in items.iter().filter_map(Value::node) {
            let value = item.get("expr");
            let link = value
                .node()
                .filter(|link| link.kind == "SUBLINK" && link.int("subLinkType") == 5);
            if let Some(link) = link {
                let number = link.int("subLinkId");
                let own = (1..=MOST_COLUMNS).map(|at| {
                    let column = *rows.get(&((number << 16) | at))?;
                    into.map(|place| Own { place, column })
                });
                if let Some(inner) = link.child("subselect") {
                    self.query(inner, scope, Some(own.collect()));
                }
                continue;
            }
            let own = into.filter(|_| !item.flag("resjunk")).map(|place| Own {
                place,
                column: item.int("resno"),
            });
            self.value(value, scope, own);
        }
    }

    fn conflict<'t>(&mut self, conflict: &'t Value, scope: &mut Scope<'t>, target: Place) {
        let Some(conflict) = conflict.node() else {
            return;
        };
        for (field, value) in &conflict.fields {
            match field.as_str() {
                "onConflictSet" => self.assigned(value.items(), scope, Some(target)),
                "arbiterWhere" => {}
                _ => self.value(value, scope, None),
            }
        }
    }

    /// Each guarded relation that is read stands in a query that shows what the role may see, and nothing else; those that
    /// are written are under their row rule.
    fn entries<'t>(&mut self, query: &'t Node, scope: &mut Scope<'t>) {
        let level = scope.len() - 1;
        let guards = self.guards;
        for (found, number) in query.nodes("rtable").zip(1..) {
            let here = Place {
                level,
                entry: number,
            };
            if found.int("rtekind") != RELATION || is_excluded(here, scope) {
                continue;
            }
            let Some(guard) = guards.get(found) else {
                continue;
            };
            self.found.guarded += 1;
            if is_target(here, scope) {
                if !self.is_under_rule(query, here, guard, scope) {
                    self.leak(format!("{} is written without its row rule", guard.name));
                }
                continue;
            }
            if let Some(why) = not_shown(query, guard, scope) {
                self.leak(format!("{} is read beside its template: {why}", guard.name));
            }
        }
    }

    /// Whether rows that are found to be changed are those of the row rule.
    fn is_under_rule<'t>(
        &self,
        query: &'t Node,
        row: Place,
        guard: &Guard,
        scope: &[Level<'t>],
    ) -> bool {
        let Some((whole, all)) = &guard.rule else {
            return true;
        };
        // New rows are held against the rule where they come back; rows that conflict where they are changed.
        let condition = match query.int("commandType") {
            INSERT => match query
                .child("onConflict")
                .filter(|conflict| conflict.int("action") == 2)
            {
                Some(conflict) => conflict.get("onConflictWhere"),
                None => return true,
            },
            5 if !query.get("mergeJoinCondition").is_null() => query.get("mergeJoinCondition"),
            _ => match query.child("jointree") {
                Some(tree) => tree.get("quals"),
                None => return false,
            },
        };
        let met: Vec<String> = conjuncts(condition)
            .iter()
            .map(|one| over(guarding(one), scope, Some(row)))
            .collect();
        met.contains(whole) || all.iter().all(|one| met.contains(one))
    }
}

/// Columns that a row of SET may have.
const MOST_COLUMNS: i64 = 64;

/// `CASE WHEN rule THEN condition ELSE FALSE END` holds where the rule does, only.
fn guarding(condition: &Node) -> &Node {
    let no = condition.child("defresult").is_some_and(|no| {
        no.kind == "CONST"
            && no.word("constvalue").starts_with("1 [ 0 ")
            && no.int("consttype") == 16
    });
    match condition.list("args") {
        [Value::Node(when)]
            if condition.kind == "CASEEXPR" && no && condition.get("arg").is_null() =>
        {
            when.child("expr").unwrap_or(condition)
        }
        _ => condition,
    }
}

/// By the number of a parameter that stands for a column of a row that is assigned, the column it goes to.
fn assigned_rows(items: &[Value]) -> std::collections::HashMap<i64, i64> {
    const MULTIEXPR: i64 = 3;
    let found = items.iter().filter_map(Value::node).filter_map(|item| {
        let parameter = uncast(item.get("expr")).node()?;
        let assigned = parameter.kind == "PARAM" && parameter.int("paramkind") == MULTIEXPR;
        assigned.then(|| (parameter.int("paramid"), item.int("resno")))
    });
    found.collect()
}

/// Why the query, which reads the relation, is not one that shows what the role may see of it and nothing else.
fn not_shown<'t>(query: &'t Node, guard: &Guard, scope: &[Level<'t>]) -> Option<String> {
    let row = Place {
        level: scope.len() - 1,
        entry: 1,
    };
    if query.int("commandType") != SELECT || query.list("rtable").len() != 1 {
        return Some("other relations stand beside it".to_owned());
    }
    for clause in [
        "cteList",
        "groupClause",
        "groupingSets",
        "havingQual",
        "windowClause",
        "distinctClause",
        "sortClause",
        "limitCount",
        "setOperations",
        "onConflict",
        "returningList",
    ] {
        if !query.get(clause).is_null() {
            return Some(format!("{clause} is there"));
        }
    }
    if query.flag("hasAggs") || query.flag("hasTargetSRFs") || query.flag("hasWindowFuncs") {
        return Some("it computes over rows".to_owned());
    }
    let mut constant = true;
    query.get("limitOffset").each(&mut |node| {
        constant &= matches!(node.kind.as_str(), "CONST" | "FUNCEXPR");
    });
    if !constant {
        return Some("its OFFSET is no constant".to_owned());
    }
    let targets: Vec<String> = query
        .nodes("targetList")
        .filter(|target| !is_system(target))
        .map(|target| over(target, scope, Some(row)))
        .collect();
    let shown = match query.get("limitOffset").is_null() {
        true => &guard.shown,
        false => &guard.fenced,
    };
    if targets.join(" ") != *shown {
        return Some("it shows other columns".to_owned());
    }
    let condition = query
        .child("jointree")
        .map_or(&Value::Null, |tree| tree.get("quals"));
    let mut met = Vec::new();
    let mut strange = None;
    let all = guard.rule.as_ref();
    for one in conjuncts(condition) {
        let form = over(one, scope, Some(row));
        if !all.is_some_and(|(whole, all)| form == *whole || all.contains(&form))
            && !is_comparison(one)
        {
            strange = Some("its condition is more than a comparison with a constant".to_owned());
        }
        met.push(form);
    }
    if let Some((whole, all)) = all
        && !met.contains(whole)
        && !all.iter().all(|one| met.contains(one))
    {
        return Some("its row rule is not there".to_owned());
    }
    strange
}

/// A system column, under its own name.
fn is_system(target: &Node) -> bool {
    let value = target.child("expr");
    value.is_some_and(|value| value.kind == "VAR" && value.int("varattno") < 0)
}

/// Columns against constants and parameters, and nothing that reads.
fn is_comparison(condition: &Node) -> bool {
    let mut plain = true;
    Value::Node(condition.clone()).each(&mut |node| {
        plain &= match node.kind.as_str() {
            "VAR" => node.int("varlevelsup") == 0,
            "OPEXPR" | "SCALARARRAYOPEXPR" | "CONST" | "PARAM" | "RELABELTYPE" | "FUNCEXPR"
            | "COERCEVIAIO" | "ARRAYEXPR" | "ARRAYCOERCEEXPR" | "CASETESTEXPR" | "BOOLEXPR"
            | "NULLTEST" | "DISTINCTEXPR" | "COERCETODOMAIN" | "BOOLEANTEST" => true,
            _ => false,
        };
    });
    plain
}

/// A secret column that may be looked up, against something in which no column stands.
fn is_lookup<'t>(node: &'t Node, row: Place, guard: &Guard, scope: &mut Scope<'t>) -> bool {
    if !matches!(node.kind.as_str(), "OPEXPR" | "SCALARARRAYOPEXPR") || guard.looked_up.is_empty() {
        return false;
    }
    if node.kind == "SCALARARRAYOPEXPR" && !node.flag("useOr") {
        return false;
    }
    let [left, right] = node.list("args") else {
        return false;
    };
    let is_column = |side: &Value, scope: &[Level<'_>]| {
        let column = uncast(side).node().filter(|node| node.kind == "VAR");
        column.is_some_and(|var| {
            place(var, scope) == Some(row) && guard.looked_up.contains(&var.int("varattno"))
        })
    };
    let reads = |side: &'t Value| {
        let mut reads = false;
        side.each(&mut |node| reads |= matches!(node.kind.as_str(), "VAR" | "SUBLINK"));
        reads
    };
    EQUALITIES.contains(&node.int("opno"))
        && ((is_column(left, scope) && !reads(right)) || (is_column(right, scope) && !reads(left)))
}

/// `=` of the types that columns of the fixtures have (`src/include/catalog/pg_operator.dat`): text, varchar (by text),
/// integers, numeric, date, uuid, bool, bpchar, timestamps.
const EQUALITIES: &[i64] = &[
    98, 96, 94, 410, 1752, 1093, 2972, 91, 1054, 2060, 1320, 416, 15,
];

/// Whether all that is read of rows in it is the beginning of a text without letters, put behind a constant. NULL makes no
/// difference to `concat`.
fn is_empty(node: &Node) -> bool {
    /// `concat` and `left` in `src/include/catalog/pg_proc.dat`.
    const CONCAT: i64 = 3058;
    const LEFT: i64 = 3060;
    let calls = |node: &Node, function| node.kind == "FUNCEXPR" && node.int("funcid") == function;
    let nothing = |value: &Value| match value.node() {
        Some(node) if node.kind == "CONST" => true,
        Some(node) if calls(node, LEFT) => {
            let length = node.list("args").last().and_then(Value::node);
            length.is_some_and(|length| {
                length.kind == "CONST" && length.word("constvalue").starts_with("4 [ 0 0 0 0")
            })
        }
        _ => false,
    };
    calls(node, CONCAT) && node.list("args").iter().all(nothing)
}

/// Whether the row of a view is there.
fn is_there(node: &Node, row: Place, scope: &[Level<'_>]) -> bool {
    let whole = node
        .child("arg")
        .filter(|arg| arg.kind == "VAR" && arg.int("varattno") == 0);
    let view = entry(row, scope).is_some_and(|entry| entry.word("relkind") == "v");
    node.kind == "NULLTEST" && view && whole.is_some_and(|var| place(var, scope) == Some(row))
}
