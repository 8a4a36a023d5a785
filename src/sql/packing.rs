//! How many rows of protected data one row of a result can hold: what gathers many rows into one value, and how often the
//! same relation stands side by side. Pure; an estimate from above for counting, no security boundary.
use std::collections::HashMap;

use super::tree::{Node, Tree};

/// What a statement packs into its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub enum Packing {
    /// One row of the result comes from few rows.
    #[default]
    No,
    /// A number can be made to hold many: long values count by their length.
    Numbers,
    /// Values may hold many: elements of arrays and JSON arrays count, and long texts by their length.
    Elements,
    /// Members of JSON objects count too.
    Members,
}

/// Packing, and how many rows of one relation stand side by side in a row of the result, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packed {
    pub packing: Packing,
    /// How many values of a row may be gathered ones.
    pub gathers: u32,
    /// What was gathered can have been cut up again into plain values.
    pub cut: bool,
    pub side_by_side: u32,
}

impl Default for Packed {
    fn default() -> Self {
        Packed {
            packing: Packing::No,
            gathers: 0,
            cut: false,
            side_by_side: 1,
        }
    }
}

/// Aggregates whose result holds more than one of their rows, or can be made to.
const GATHER: &[&str] = &[
    "array_agg",
    "string_agg",
    "json_agg",
    "json_agg_strict",
    "jsonb_agg",
    "jsonb_agg_strict",
    "xmlagg",
    "range_agg",
];

/// Aggregates whose result is one value that sums can hide others in.
const NUMBERS: &[&str] = &[
    "sum",
    "bit_or",
    "bit_and",
    "bit_xor",
    "percentile_disc",
    "percentile_cont",
];

/// Aggregates that make members of objects.
const GATHER_MEMBERS: &[&str] = &[
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "hstore",
];

/// Window functions that bring another row's value into this one.
const OTHER_ROWS: &[&str] = &["lag", "lead", "first_value", "last_value", "nth_value"];

/// `ARRAY_SUBLINK` as `pg_query` numbers `SubLinkType`.
const ARRAY_SUBLINK: i64 = 7;

/// More than this is as much as there is to say; keeps products of nested queries small.
const MOST: u32 = 100_000;

/// How often relations stand in a row, by name.
type Counts = HashMap<String, u32>;

/// More gathering calls than this are there to take one value to pieces.
const PIECES: u32 = 3;

/// What a statement packs. `protected`: whether a reference to a relation is to one whose rows count; a common table
/// expression may be.
pub fn packed(statement: &Tree, protected: &dyn Fn(&Node) -> bool) -> Packed {
    let mut gathers = Gathers {
        protected,
        found: Packed::default(),
    };
    gathers.tree(statement, Level::default());
    let mut seen = Seen {
        protected,
        common: Vec::new(),
        other_rows: 0,
    };
    let counts = seen.tree(statement);
    let side_by_side = counts
        .values()
        .copied()
        .max()
        .unwrap_or(0)
        .saturating_add(seen.other_rows);
    let found = gathers.found;
    Packed {
        side_by_side: side_by_side.clamp(1, MOST),
        cut: found.cut || found.gathers > PIECES,
        ..found
    }
}

/// Where in a statement something stands.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// The query around it reads a relation whose rows count.
    counts: bool,
    /// Another query reads what this one gives.
    inner: bool,
}

struct Gathers<'a> {
    protected: &'a dyn Fn(&Node) -> bool,
    found: Packed,
}

impl Gathers<'_> {
    fn tree(&mut self, tree: &Tree, level: Level) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.tree(item, level)),
            Tree::Node(node) => self.node(node, level),
            _ => {}
        }
    }

    fn node(&mut self, node: &Node, mut level: Level) {
        match node.kind {
            "SelectStmt" => level.counts = self.mentions(node),
            "RangeSubselect" | "CommonTableExpr" => level.inner = true,
            _ => {}
        }
        let packing = match node.kind {
            "FuncCall" if level.counts => match called(node) {
                Some(name) if GATHER_MEMBERS.contains(&name) => Packing::Members,
                Some(name) if GATHER.contains(&name) => Packing::Elements,
                Some(name) if NUMBERS.contains(&name) => Packing::Numbers,
                _ => Packing::No,
            },
            "JsonObjectAgg" if level.counts => Packing::Members,
            "JsonArrayAgg" if level.counts => Packing::Elements,
            "JsonArrayQueryConstructor" if self.mentions(node) => Packing::Elements,
            "SubLink" if node.int("sub_link_type") == ARRAY_SUBLINK && self.mentions(node) => {
                Packing::Elements
            }
            // It can put one row more into a value with every turn.
            "WithClause" if node.flag("recursive") && self.mentions(node) => Packing::Elements,
            _ => Packing::No,
        };
        let found = &mut self.found;
        if packing != Packing::No {
            found.packing = packing.max(found.packing);
            let recursive = node.kind == "WithClause";
            let more = if recursive { MOST } else { 1 };
            found.gathers = found.gathers.saturating_add(more).min(MOST);
            found.cut |= packing != Packing::Numbers && (recursive || level.inner);
        }
        for (_, field) in &node.fields {
            self.tree(field, level);
        }
    }

    fn mentions(&self, node: &Node) -> bool {
        fn any(tree: &Tree, protected: &dyn Fn(&Node) -> bool) -> bool {
            match tree {
                Tree::List(items) => items.iter().any(|item| any(item, protected)),
                Tree::Node(node) => {
                    (node.kind == "RangeVar" && protected(node))
                        || node.fields.iter().any(|(_, field)| any(field, protected))
                }
                _ => false,
            }
        }
        node.fields
            .iter()
            .any(|(_, field)| any(field, self.protected))
    }
}

fn called(node: &Node) -> Option<&str> {
    node.list("funcname").last().and_then(Tree::string)
}

struct Seen<'a> {
    protected: &'a dyn Fn(&Node) -> bool,
    /// What the common table expressions in scope hold, the innermost last.
    common: Vec<(String, Counts)>,
    other_rows: u32,
}

impl Seen<'_> {
    fn tree(&mut self, tree: &Tree) -> Counts {
        match tree {
            Tree::List(items) => {
                let mut sum = Counts::new();
                for item in items {
                    add(&mut sum, self.tree(item));
                }
                sum
            }
            Tree::Node(node) => self.node(node),
            _ => Counts::new(),
        }
    }

    fn node(&mut self, node: &Node) -> Counts {
        match node.kind {
            "RangeVar" => self.relation(node),
            "SelectStmt" => self.select(node),
            "FuncCall" => {
                if node.get("over").is_some()
                    && called(node).is_some_and(|name| OTHER_ROWS.contains(&name))
                {
                    self.other_rows = self.other_rows.saturating_add(1);
                }
                self.fields(node, &[])
            }
            _ => self.fields(node, &[]),
        }
    }

    fn relation(&self, node: &Node) -> Counts {
        let name = node.text("relname");
        if node.text("schemaname").is_empty()
            && let Some((_, counts)) = self.common.iter().rev().find(|(known, _)| known == name)
        {
            return counts.clone();
        }
        if !(self.protected)(node) {
            return Counts::new();
        }
        Counts::from([(format!("{}.{name}", node.text("schemaname")), 1)])
    }

    /// The arms of a set operation give rows one after the other. Conditions show no row.
    fn select(&mut self, node: &Node) -> Counts {
        let before = self.common.len();
        if let Some(with) = node.child("with_clause") {
            for expression in with.list("ctes") {
                if let Some(expression) = expression.node() {
                    let counts = self.fields(expression, &[]);
                    self.common
                        .push((expression.text("ctename").to_owned(), counts));
                }
            }
        }
        let arms = [node.get("larg"), node.get("rarg")];
        let mut counts = Counts::new();
        for arm in arms.into_iter().flatten() {
            for (name, count) in self.tree(arm) {
                let most = counts.entry(name).or_insert(0);
                *most = count.max(*most);
            }
        }
        let skipped = [
            "with_clause",
            "larg",
            "rarg",
            "where_clause",
            "having_clause",
        ];
        add(&mut counts, self.fields(node, &skipped));
        self.common.truncate(before);
        counts
    }

    fn fields(&mut self, node: &Node, skipped: &[&str]) -> Counts {
        let mut sum = Counts::new();
        for (name, field) in &node.fields {
            if !skipped.contains(name) && *name != "quals" {
                let counts = self.tree(field);
                add(&mut sum, counts);
            }
        }
        sum
    }
}

fn add(sum: &mut Counts, more: Counts) {
    for (name, count) in more {
        let total = sum.entry(name).or_insert(0);
        *total = total.saturating_add(count).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    fn of(text: &str) -> (Packing, u32) {
        let statement = parse::parse(text).expect("SQL").remove(0);
        let packed = packed(&statement.tree, &|_| true);
        (packed.packing, packed.side_by_side)
    }

    #[test]
    fn what_gathers_rows_is_seen_wherever_it_stands() {
        use Packing::{Elements, Members, No, Numbers};
        for (text, expected) in [
            ("SELECT id, phone FROM t", No),
            ("SELECT count(*), max(phone) FROM t", No),
            ("SELECT array_agg(phone) FROM t", Elements),
            ("SELECT pg_catalog.string_agg(phone, ',') FROM t", Elements),
            ("SELECT string_agg(phone, ',') OVER () FROM t", Elements),
            ("SELECT ARRAY(SELECT phone FROM t)", Elements),
            ("SELECT x FROM (SELECT json_agg(t) AS x FROM t) s", Elements),
            ("SELECT json_object_agg(id, phone) FROM t", Members),
            ("SELECT JSON_ARRAYAGG(phone) FROM t", Elements),
            ("SELECT JSON_OBJECTAGG(id VALUE phone) FROM t", Members),
            ("SELECT JSON_ARRAY(SELECT phone FROM t)", Elements),
            ("SELECT sum(phone::numeric * 10 ^ id) FROM t", Numbers),
            (
                "WITH RECURSIVE r(s) AS (SELECT ''::text UNION ALL SELECT s FROM r) SELECT s FROM r",
                Elements,
            ),
            ("COPY (SELECT array_agg(phone) FROM t) TO STDOUT", Elements),
            (
                "UPDATE t SET a = 1 RETURNING ARRAY(SELECT phone FROM t)",
                Elements,
            ),
        ] {
            assert_eq!(of(text).0, expected, "{text}");
        }
    }

    #[test]
    fn gathered_values_are_counted() {
        for (text, expected) in [
            ("SELECT * FROM t", (0, false)),
            ("SELECT string_agg(phone, ',') FROM t", (1, false)),
            (
                "SELECT array_agg(phone), ARRAY(SELECT name FROM t), max(id) FROM t",
                (2, false),
            ),
            (
                "SELECT c.id, (SELECT json_agg(o) FROM o WHERE o.c = c.id) FROM c",
                (1, false),
            ),
            (
                "SELECT substr(s, 1, 9) FROM (SELECT string_agg(phone, '') AS s FROM t) x",
                (1, true),
            ),
            (
                "WITH x AS (SELECT string_agg(phone, '') AS s FROM t) SELECT left(s, 9) FROM x",
                (1, true),
            ),
            (
                "SELECT sum(a) FROM (SELECT sum(b) AS a FROM t GROUP BY c) x",
                (2, false),
            ),
            (
                "WITH RECURSIVE r(s) AS (SELECT 1 UNION ALL SELECT s FROM r) SELECT s FROM r",
                (MOST, true),
            ),
        ] {
            let statement = parse::parse(text).expect("SQL").remove(0);
            let packed = packed(&statement.tree, &|_| true);
            assert_eq!((packed.gathers, packed.cut), expected, "{text}");
        }
    }

    #[test]
    fn what_gathers_rows_that_do_not_count_packs_nothing() {
        let text = "SELECT c.name, t.tags, (SELECT json_agg(l) FROM log l) FROM c JOIN \
                    (SELECT c, array_agg(tag) AS tags FROM tags GROUP BY c) t ON t.c = c.id";
        let statement = parse::parse(text).expect("SQL").remove(0);
        let counts = |name: &'static str| move |node: &Node| node.text("relname") == name;
        assert_eq!(packed(&statement.tree, &counts("c")).packing, Packing::No);
        assert_eq!(
            packed(&statement.tree, &counts("tags")).packing,
            Packing::Elements
        );
        assert_eq!(
            packed(&statement.tree, &counts("log")).packing,
            Packing::Elements
        );
    }

    #[test]
    fn rows_side_by_side_are_counted() {
        for (text, expected) in [
            ("SELECT 1", 1),
            ("SELECT * FROM t", 1),
            ("SELECT * FROM t JOIN o ON o.t = t.id", 1),
            ("SELECT * FROM t a, t b, t c", 3),
            ("SELECT * FROM t a JOIN t b ON a.id = b.parent", 2),
            ("SELECT * FROM t UNION ALL SELECT * FROM t", 1),
            (
                "SELECT (SELECT phone FROM t LIMIT 1), (SELECT phone FROM t OFFSET 1 LIMIT 1)",
                2,
            ),
            (
                "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM t x WHERE x.id = t.parent)",
                1,
            ),
            (
                "WITH c AS (SELECT a.phone, b.phone AS p FROM t a, t b) SELECT * FROM c x, c y",
                4,
            ),
            (
                "SELECT lag(phone, 1) OVER w, lag(phone, 2) OVER w FROM t WINDOW w AS (ORDER BY id)",
                3,
            ),
        ] {
            assert_eq!(of(text).1, expected, "{text}");
        }
    }
}
