//! What stands between a role and the relations it may not read as they are, as the server itself understands it: the
//! masks and row rules of the compiled policy, analysed one by one. The rewriter and the judge take no part.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use pgveil::catalog::{Catalog, Relation};
use pgveil::policy::compiled::{MaskPiece, RolePolicy};
use pgveil::sql::names::{qualified, quoted};
use pgveil::sql::template::SessionValues;

use crate::form::over;
use crate::line::{Answer, Line};
use crate::node::{Node, Value};
use crate::scope::{Level, Place};

/// A relation whose columns or rows the role may not read as they are.
#[derive(Debug)]
pub struct Guard {
    pub relation: u32,
    pub name: String,
    /// Columns whose stored values are secret.
    pub secret: BTreeSet<i64>,
    /// Secret columns that constants may be looked up in.
    pub looked_up: BTreeSet<i64>,
    /// Masks as forms, by which column they are of.
    masks: HashMap<String, i64>,
    /// Kinds of nodes that a mask can be.
    mask_kinds: BTreeSet<String>,
    /// The output columns of a query that shows what the role may see.
    pub shown: String,
    /// The same behind a fence, where no column stands by itself.
    pub fenced: String,
    /// Numbers of the columns in `shown`, in its order.
    pub columns: Vec<i64>,
    /// The row rule: the whole, and the conditions of which all have to hold.
    pub rule: Option<(String, Vec<String>)>,
}

impl Guard {
    /// The secret column of which this is the mask.
    pub fn masked(&self, kind: &str, form: impl FnOnce() -> String) -> Option<i64> {
        if !self.mask_kinds.contains(kind) {
            return None;
        }
        self.masks.get(&form()).copied()
    }
}

/// All guarded relations of a database for one role.
#[derive(Debug, Default)]
pub struct Guards {
    pub relations: BTreeMap<i64, Guard>,
    /// Row types of relations and arrays of these.
    pub row_types: HashMap<String, &'static str>,
}

/// `RECORDOID` and `RECORDARRAYOID`
const RECORD: &str = "2249";
const RECORDS: &str = "2287";

impl Guards {
    pub fn of(
        line: &mut Line,
        catalog: &Catalog,
        role: &RolePolicy,
        values: &SessionValues,
    ) -> Guards {
        let mut guards = Guards::default();
        let relations: BTreeSet<u32> = role
            .masks
            .keys()
            .chain(role.rows.keys())
            .chain(role.denied.keys())
            .copied()
            .collect();
        for oid in relations {
            let Some(relation) = catalog.relations.get(&oid) else {
                continue;
            };
            let guard = guard(line, relation, role, values);
            guards.relations.insert(i64::from(oid), guard);
            if let Some(row) = catalog.row_types.get(&oid) {
                guards.row_types.insert(row.to_string(), RECORD);
                let array = catalog.elements.iter().find(|(_, element)| *element == row);
                guards
                    .row_types
                    .extend(array.map(|(array, _)| (array.to_string(), RECORDS)));
            }
        }
        guards
    }

    pub fn get(&self, entry: &Node) -> Option<&Guard> {
        self.relations.get(&entry.int("relid"))
    }
}

/// The one query of a text of the policy's.
fn query(line: &mut Line, text: &str) -> Node {
    match line.analyse([text]) {
        [Answer::Tree(Value::Node(query))] => query,
        [other] => panic!("{other:?} for {text}"),
    }
}

/// The first entry of the only query.
const ROW: Place = Place { level: 0, entry: 1 };

fn guard(line: &mut Line, relation: &Relation, role: &RolePolicy, values: &SessionValues) -> Guard {
    let from = qualified(&relation.schema, &relation.name);
    let open = relation
        .columns
        .iter()
        .filter(|column| !role.denies(relation.oid, column.num));
    let mut guard = Guard {
        relation: relation.oid,
        name: relation.full_name(),
        secret: BTreeSet::new(),
        looked_up: BTreeSet::new(),
        masks: HashMap::new(),
        mask_kinds: BTreeSet::new(),
        shown: String::new(),
        fenced: String::new(),
        columns: open.clone().map(|column| i64::from(column.num)).collect(),
        rule: None,
    };
    for column in &relation.columns {
        let number = i64::from(column.num);
        let mask = role.mask(relation.oid, column.num);
        if mask.is_some() || role.denies(relation.oid, column.num) {
            guard.secret.insert(number);
        }
        let Some(mask) = mask else {
            continue;
        };
        if mask.lookup {
            guard.looked_up.insert(number);
        }
        let own = mask.sql.over("", &column.name);
        let mut texts = vec![own.clone()];
        // Of a target the mask names its column, so that it can be told: the value is the same.
        if !mask.sql.pieces().contains(&MaskPiece::Column) {
            let name = quoted(&column.name);
            texts.push(format!(
                "(CASE WHEN {name} IS NULL THEN NULL ELSE {own} END)"
            ));
        }
        for text in texts {
            let query = query(line, &format!("SELECT {text} FROM {from}"));
            let target = query.nodes("targetList").next().expect("a column");
            let value = target.child("expr").expect("a value");
            guard.mask_kinds.insert(value.kind.clone());
            guard.masks.insert(form(value, &query), number);
        }
    }
    let mut shown = |fence: bool| {
        let columns: Vec<String> = open
            .clone()
            .map(|column| {
                let name = quoted(&column.name);
                match role.mask(relation.oid, column.num) {
                    Some(mask) => format!("{} AS {name}", mask.sql.over("", &column.name)),
                    None if fence => {
                        format!("CASE WHEN {name} IS NULL THEN {name} ELSE {name} END AS {name}")
                    }
                    None => name,
                }
            })
            .collect();
        let all = query(line, &format!("SELECT {} FROM {from}", columns.join(", ")));
        let targets: Vec<String> = all
            .nodes("targetList")
            .map(|target| form(target, &all))
            .collect();
        targets.join(" ")
    };
    guard.shown = shown(false);
    guard.fenced = shown(true);
    if let Some(rule) = role.rows.get(&relation.oid) {
        let name = quoted(&relation.name);
        let rule = rule.sql(&name, |value| values.get(value).cloned());
        let query = query(line, &format!("SELECT 1 FROM {from} WHERE {rule}"));
        let whole = query
            .child("jointree")
            .map(|tree| tree.get("quals").clone());
        let whole = whole.expect("a condition");
        let conjuncts = conjuncts(&whole)
            .iter()
            .map(|one| form(one, &query))
            .collect();
        let whole = whole.node().map(|whole| form(whole, &query));
        guard.rule = whole.map(|whole| (whole, conjuncts));
    }
    guard
}

fn form(node: &Node, query: &Node) -> String {
    let scope = [Level { query, name: 0 }];
    over(node, &scope, Some(ROW))
}

/// The conditions of which all have to hold.
pub fn conjuncts(condition: &Value) -> Vec<&Node> {
    match condition.node() {
        Some(node) if node.kind == "BOOLEXPR" && node.word("boolop") == "and" => {
            node.list("args").iter().flat_map(conjuncts).collect()
        }
        Some(node) => vec![node],
        None => Vec::new(),
    }
}
