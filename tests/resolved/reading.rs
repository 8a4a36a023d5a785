//! Whether pgveil reads a client's text as the server does: which columns it uses, and what each name means.
use std::borrow::Cow;
use std::collections::BTreeSet;

use pgveil::catalog::{Catalog, Column};
use pgveil::sql::columns::Columns;

use crate::form::{Form, Style, over};
use crate::guards::{Guard, Guards, conjuncts};
use crate::node::{Node, Value};
use crate::scope::{
    GROUP, JOIN, Level, Place, RELATION, SUBQUERY, Scope, cast, columns, columns_of, entry,
    is_excluded, is_target, place, uncast,
};

/// Columns that the server found in the client's text and that are not on record, or not for what they are used. A column
/// that only keeps its value is on record as written.
pub fn missing(tree: &Value, columns: &Columns, catalog: &Catalog) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    if columns.truncated {
        return missing;
    }
    let names = |list: &[std::sync::Arc<str>]| -> BTreeSet<String> {
        list.iter().map(|name| name.to_string()).collect()
    };
    let mut read = names(&columns.projected);
    read.extend(names(&columns.filtered));
    let written = names(&columns.written);
    read.extend(written.iter().cloned());
    tree.each(&mut |query| {
        if query.kind != "QUERY" {
            return;
        }
        let excluded = query
            .child("onConflict")
            .map_or(0, |conflict| conflict.int("exclRelIndex"));
        for (found, number) in query.nodes("rtable").zip(1..) {
            let relation = u32::try_from(found.int("relid")).unwrap_or(0);
            let (RELATION, Some(relation)) =
                (found.int("rtekind"), catalog.relations.get(&relation))
            else {
                continue;
            };
            if number == excluded || SYSTEM.contains(&relation.schema.as_str()) {
                continue;
            }
            let rights = rights(query, found);
            let uses = [
                ("read", "selectedCols", &read),
                ("written", "insertedCols", &written),
                ("written", "updatedCols", &written),
            ];
            for (what, field, known) in uses {
                let name = |column: &Column| format!("{}.{}", relation.full_name(), column.name);
                for column in rights.get(field).numbers() {
                    let column = column - FIRST;
                    let mut meant = relation.columns.iter();
                    // Of a row one column may be all that is used.
                    if column == 0 {
                        let alias = |entry: &Node| {
                            entry.int("rtekind") == JOIN && !entry.get("alias").is_null()
                        };
                        let joined = query.nodes("rtable").any(alias);
                        if !joined && !meant.any(|column| known.contains(&name(column))) {
                            missing.insert(format!("a row of {} is {what}", relation.full_name()));
                        }
                        continue;
                    }
                    let unknown = meant
                        .filter(|named| i64::from(named.num) == column)
                        .map(name)
                        .filter(|name| !known.contains(name));
                    missing.extend(unknown.map(|name| format!("{name} is {what}")));
                }
            }
        }
    });
    missing
}

const SYSTEM: [&str; 2] = ["pg_catalog", "information_schema"];
/// Columns are counted from system columns on (`FirstLowInvalidHeapAttributeNumber` in access/sysattr.h).
const FIRST: i64 = 7;

/// What of the entry's columns the server checks rights for. PostgreSQL 16 keeps it beside the range table.
fn rights<'t>(query: &'t Node, entry: &'t Node) -> &'t Node {
    let at = usize::try_from(entry.int("perminfoindex"))
        .ok()
        .and_then(|at| at.checked_sub(1));
    let beside = at
        .and_then(|at| query.list("rteperminfos").get(at))
        .and_then(Value::node);
    beside.unwrap_or(entry)
}

/// What comes of comparing.
#[derive(Debug, PartialEq, Eq)]
pub enum Comparison {
    Same,
    /// Not compared, for this reason.
    Left(&'static str),
    /// How the trees go on where they part: the client's, and the one that runs.
    Differ(String, String),
}

/// Compares the tree of the client's text with that of the one that runs, in which masks and templates are taken for what
/// they stand for.
pub fn compare(client: &Value, run: &Value, guards: &Guards) -> Comparison {
    if let Some(why) = left_out(client, run, guards) {
        return Comparison::Left(why);
    }
    let text = |tree: &Value, templates: bool| {
        let style = Folded { guards, templates };
        let mut form = Form::new(&style, &[]);
        form.value(tree);
        form.text
    };
    let (client, run) = (text(client, false), text(run, true));
    if client == run {
        return Comparison::Same;
    }
    let at = client
        .bytes()
        .zip(run.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let tail = |text: &str| {
        let from = text[..at.min(text.len())].rfind(['{', '(']).unwrap_or(0);
        text[from..].chars().take(SHOWN).collect::<String>()
    };
    Comparison::Differ(tail(&client), tail(&run))
}

const SHOWN: usize = 300;

/// Why a pair of trees is not compared.
fn left_out<'t>(client: &'t Value, run: &'t Value, guards: &Guards) -> Option<&'static str> {
    let mut why = None;
    if client
        .node()
        .is_some_and(|query| query.get("jointree").is_null())
    {
        return Some("COPY of a relation: it becomes COPY of a query");
    }
    let keys = |tree: &Value| {
        let mut keys = 0;
        tree.each(&mut |node| keys += node.list("groupClause").len());
        keys
    };
    if keys(client) != keys(run) {
        return Some("GROUP BY a key: the columns it makes free to use are added");
    }
    client.each(&mut |node| {
        let writes = node.kind == "QUERY" && node.int("resultRelation") != 0;
        if writes
            && let Some(found) = target(node)
            && let Some(guard) = guards.get(found)
        {
            if guard.rule.is_some() {
                why = Some("a target under a row rule: conditions and checks are added");
            }
            if !guard.looked_up.is_empty() {
                why = Some("a target with a lookup: the stored value or its mask is equal");
            }
            let conflict = node
                .child("onConflict")
                .map_or(&Value::Null, |conflict| conflict.get("onConflictSet"));
            let actions = node
                .nodes("mergeActionList")
                .map(|action| action.get("targetList"));
            let lists = [node.get("targetList"), conflict]
                .into_iter()
                .chain(actions);
            let mut items = lists.flat_map(Value::items).filter_map(Value::node);
            if items.any(|item| {
                item.child("expr")
                    .is_some_and(|link| link.int("subLinkType") == 5)
            }) {
                why = Some("columns that are assigned from the row of a query");
            }
        }
    });
    let mut scope: Scope<'t> = Vec::new();
    columns(client, &mut scope, &mut |var, scope| {
        let Some(place) = place(var, scope) else {
            return;
        };
        let guarded = entry(place, scope)
            .is_some_and(|entry| entry.int("rtekind") == RELATION && guards.get(entry).is_some());
        if var.int("varattno") == 0 && guarded && !is_excluded(place, scope) {
            let inserts = scope
                .iter()
                .any(|level| level.query.int("commandType") == 3);
            if is_target(place, scope) || inserts {
                why = Some(
                    "a whole row that is written, or of what is written: it is put together of its columns",
                );
            }
        }
    });
    run.each(&mut |node| {
        if node.kind == "QUERY"
            && let Some(guard) = template(node, guards)
        {
            let quals = node
                .child("jointree")
                .map_or(&Value::Null, |tree| tree.get("quals"));
            let rule = guard.rule.as_ref().map_or(0, |(_, all)| all.len());
            if conjuncts(quals).len() > rule {
                why = Some("a lookup: its condition stands within the template");
            }
        }
    });
    why
}

fn target(query: &Node) -> Option<&Node> {
    let at = usize::try_from(query.int("resultRelation"))
        .ok()?
        .checked_sub(1)?;
    query.list("rtable").get(at)?.node()
}

/// The guard of the relation of which a query is the template.
fn template<'g>(query: &Node, guards: &'g Guards) -> Option<&'g Guard> {
    let [Value::Node(found)] = query.list("rtable") else {
        return None;
    };
    if found.int("rtekind") != RELATION || query.int("resultRelation") != 0 {
        return None;
    }
    let guard = guards.get(found)?;
    let level = Level { query, name: 0 };
    let row = Place { level: 0, entry: 1 };
    let targets: Vec<String> = query
        .nodes("targetList")
        .take(guard.columns.len())
        .map(|target| over(target, &[level], Some(row)))
        .collect();
    let targets = targets.join(" ");
    (targets == guard.shown || targets == guard.fenced).then_some(guard)
}

/// Writes templates as the relations, and masks of a target as its columns.
struct Folded<'g> {
    guards: &'g Guards,
    /// A client's text has none, whatever it looks like.
    templates: bool,
}

impl<'g> Folded<'g> {
    fn template(&self, query: &Node) -> Option<&'g Guard> {
        template(query, self.guards).filter(|_| self.templates)
    }

    /// The column of the relation that an output column of its template is.
    fn behind(&self, guard: &Guard, query: &Node, column: i64) -> i64 {
        let at = usize::try_from(column)
            .ok()
            .and_then(|at| at.checked_sub(1));
        let Some(at) = at else {
            return 0;
        };
        guard.columns.get(at).copied().unwrap_or_else(|| {
            let target = query.list("targetList").get(at).and_then(Value::node);
            target
                .and_then(|target| target.child("expr"))
                .map_or(0, |value| value.int("varattno"))
        })
    }

    fn named<'t>(&self, form: &mut Form<'t, '_, Self>, place: Place, column: i64, var: &Node) {
        let level = form
            .scope
            .get(place.level)
            .map_or(usize::MAX, |level| level.name);
        let version = var.word("varreturningtype").to_owned();
        form.push(&format!("[{level} {} {column} {version}]", place.entry));
    }

    /// The value without casts that make it fit the column it goes to; those of a mask are its own.
    fn bare<'t>(&self, value: &'t Value, form: &Form<'t, '_, Self>) -> &'t Value {
        let mut value = value;
        loop {
            let masked = value
                .node()
                .is_some_and(|node| self.behind_mask(node, form).is_some());
            match cast(value) {
                Some(inner) if !masked => value = inner,
                _ => return value,
            }
        }
    }

    /// The mask of a column of a target.
    fn masked<'t>(&self, node: &'t Node, form: &mut Form<'t, '_, Self>) -> bool {
        match self.behind_mask(node, form) {
            Some((place, column, var)) => self.named(form, place, column, var),
            None => return false,
        }
        true
    }

    /// The column of which the node is exactly the mask, and a reference to it.
    fn behind_mask<'t>(
        &self,
        node: &'t Node,
        form: &Form<'t, '_, Self>,
    ) -> Option<(Place, i64, &'t Node)> {
        if node.kind == "VAR" {
            return None;
        }
        let mut scope = form.scope.clone();
        let mut row = None;
        columns_of(node, &mut scope, &mut |var, scope| {
            if let Some(place) = place(var, scope)
                && row.is_none()
                && is_target(place, scope)
                && !is_excluded(place, scope)
                && entry(place, scope).is_some_and(|entry| self.guards.get(entry).is_some())
            {
                row = Some((place, var));
            }
        });
        let (place, var) = row?;
        let guard = entry(place, &form.scope).and_then(|entry| self.guards.get(entry))?;
        let column = guard.masked(&node.kind, || over(node, &form.scope, Some(place)))?;
        Some((place, column, var))
    }

    /// A field of a row that is put together of columns is the column.
    fn field<'t>(&self, node: &'t Node, form: &mut Form<'t, '_, Self>) -> bool {
        let row = uncast(node.get("arg"))
            .node()
            // Of a version of the row: NULL where it is not there.
            .map(|row| row.child("defresult").unwrap_or(row))
            .filter(|row| row.kind == "ROWEXPR");
        let at = usize::try_from(node.int("fieldnum"))
            .ok()
            .and_then(|at| at.checked_sub(1));
        match row.zip(at).and_then(|(row, at)| row.list("args").get(at)) {
            Some(value) => form.value(value),
            None => return false,
        }
        true
    }

    /// An item of SET: what is assigned to a guarded column stands within what keeps the stored value.
    fn assigned<'t>(&self, item: &'t Node, form: &mut Form<'t, '_, Self>) -> bool {
        let Some(level) = form.scope.last().copied() else {
            return false;
        };
        let returned = level
            .query
            .nodes("returningList")
            .any(|returned| std::ptr::eq(returned, item));
        if level.query.int("resultRelation") == 0 || item.flag("resjunk") || returned {
            return false;
        }
        form.push(&format!("{{SET {} ", item.word("resno")));
        let value = self.bare(item.get("expr"), form);
        match kept(uncast(value)) {
            Some((outer, inner, value)) => {
                form.enter(outer, false);
                form.enter(inner, false);
                let value = self.bare(value, form);
                form.value(value);
                form.leave(false);
                form.leave(false);
            }
            None => form.value(value),
        }
        form.push("}");
        true
    }
}

/// The client's value in `(SELECT CASE ... END FROM (SELECT value AS v, mask AS m) AS pgveil_w)`.
fn kept(value: &Value) -> Option<(&Node, &Node, &Value)> {
    let outer = value
        .node()
        .filter(|node| node.kind == "SUBLINK")?
        .child("subselect")?;
    let [Value::Node(found)] = outer.list("rtable") else {
        return None;
    };
    if found.child("alias")?.word("aliasname") != "pgveil_w" {
        return None;
    }
    let inner = found.child("subquery")?;
    let value = inner.nodes("targetList").next()?.get("expr");
    Some((outer, inner, value))
}

impl<'t> Style<'t> for Folded<'_> {
    fn column(&self, var: &'t Node, form: &mut Form<'t, '_, Self>) {
        let Some(place) = place(var, &form.scope) else {
            return form.push("[?]");
        };
        let column = var.int("varattno");
        let Some(found) = entry(place, &form.scope) else {
            return form.push("[?]");
        };
        let at = usize::try_from(column)
            .ok()
            .and_then(|at| at.checked_sub(1));
        match found.int("rtekind") {
            kind @ (JOIN | GROUP) if column > 0 => {
                let list = if kind == JOIN {
                    "joinaliasvars"
                } else {
                    "groupexprs"
                };
                let merged = at.and_then(|at| found.list(list).get(at));
                let Some(merged) = merged else {
                    return form.push("[?]");
                };
                let rest = form.scope.split_off(place.level + 1);
                form.value(merged);
                form.scope.extend(rest);
                return;
            }
            SUBQUERY => {
                let query = found.child("subquery");
                let guard = query.and_then(|query| Some((query, self.template(query)?)));
                let column =
                    guard.map_or(column, |(query, guard)| self.behind(guard, query, column));
                self.named(form, place, column, var);
            }
            _ => self.named(form, place, column, var),
        }
        // A mask that stands for a column of a target does not say the column's type.
        if is_target(place, &form.scope) && self.guards.get(found).is_some() {
            return;
        }
        form.push(&match column {
            0 => ":row".to_owned(),
            // NULL in the place of a value has no collation of the column's.
            _ => format!(":{} {}", var.word("vartype"), var.word("vartypmod")),
        });
    }

    fn node(&self, node: &'t Node, form: &mut Form<'t, '_, Self>) -> bool {
        if node.is_range_table_entry() {
            let relation = match node.int("rtekind") {
                GROUP => return true,
                RELATION => Some(node),
                SUBQUERY => node
                    .child("subquery")
                    .filter(|query| self.template(query).is_some())
                    .and_then(|query| query.nodes("rtable").next()),
                _ => None,
            };
            let Some(relation) = relation else {
                return false;
            };
            form.push(&format!(
                "{{RELATION {} {} ",
                relation.word("relid"),
                relation.word("inh")
            ));
            form.value(relation.get("tablesample"));
            form.push("}");
            return true;
        }
        match node.kind.as_str() {
            "FIELDSELECT" => self.field(node, form),
            "TARGETENTRY" => self.assigned(node, form),
            "CONST" | "QUERY" => false,
            _ => self.masked(node, form),
        }
    }

    fn word<'w>(&self, word: &'w str) -> Cow<'w, str> {
        match self.guards.row_types.get(word) {
            Some(record) => Cow::Borrowed(record),
            None => Cow::Borrowed(word),
        }
    }
}
