//! The walk that finds what each name means: which items each level of query shows where.
use crate::catalog::Oid;
use crate::sql::scope::function_alias;
use crate::sql::tree::{Node, Tree};

use super::super::returning;
use super::{Bare, Item, Named, Reading, Stands, Way};

impl Reading<'_> {
    pub(super) fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.tree(item)),
            Tree::Node(node) => self.node(node),
            _ => {}
        }
    }

    fn node(&mut self, node: &Node) {
        match node.kind {
            "SelectStmt" => self.select(node),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.write(node),
            "ColumnRef" => self.reference(node),
            _ => node.fields.iter().for_each(|(_, value)| self.tree(value)),
        }
    }

    fn select(&mut self, node: &Node) {
        let known = self.ctes.len();
        self.with_clause(node);
        self.levels.push(Vec::new());
        let visible = self.from(node.list("from_clause"), &[]);
        self.show(visible);
        for (field, value) in &node.fields {
            match *field {
                "with_clause" | "from_clause" => {}
                "locking_clause" => self.locks(value),
                _ => self.tree(value),
            }
        }
        self.levels.pop();
        self.ctes.truncate(known);
    }

    fn write(&mut self, node: &Node) {
        let known = self.ctes.len();
        self.with_clause(node);
        self.levels.push(Vec::new());
        let target: Vec<usize> = node
            .child("relation")
            .map(|relation| self.relation(relation, true))
            .into_iter()
            .collect();
        let sources = match node.kind {
            "UpdateStmt" => node.list("from_clause"),
            "DeleteStmt" => node.list("using_clause"),
            "MergeStmt" => node
                .get("source_relation")
                .map_or(&[][..], std::slice::from_ref),
            _ => &[],
        };
        let sources = self.from(sources, &target);
        if node.kind == "MergeStmt" {
            // There the schema makes no difference (`transformMergeStmt`).
            let name = |item: &usize| self.items.get(*item).and_then(|item| item.name.as_ref());
            let same = |source: &&usize| name(source) == target.first().and_then(name);
            let doubled: Vec<usize> = sources.iter().filter(same).copied().collect();
            self.doubled.extend(doubled);
        }
        let all = [&target[..], &sources].concat();
        for (field, value) in &node.fields {
            let visible = match *field {
                "with_clause" | "relation" | "from_clause" | "using_clause" | "source_relation"
                | "returning_clause" => continue,
                "select_stmt" => Vec::new(),
                "on_conflict_clause" => {
                    let excluded = self.other(Some("excluded"));
                    [&target[..], &[excluded]].concat()
                }
                "merge_when_clauses" => {
                    self.actions(value, &target, &sources);
                    continue;
                }
                _ => all.clone(),
            };
            self.show(visible);
            self.tree(value);
        }
        if let Some(clause) = node.child("returning_clause") {
            self.show(all.clone());
            let versions = self.versions(clause);
            self.show([all, versions].concat());
            clause.fields.iter().for_each(|(_, value)| self.tree(value));
        }
        self.levels.pop();
        self.ctes.truncate(known);
    }

    fn actions(&mut self, clauses: &Tree, target: &[usize], sources: &[usize]) {
        const NOT_MATCHED_BY_SOURCE: i64 = 2;
        const NOT_MATCHED_BY_TARGET: i64 = 3;
        for clause in clauses.list().iter().filter_map(Tree::node) {
            self.show(match clause.int("match_kind") {
                NOT_MATCHED_BY_SOURCE => target.to_vec(),
                NOT_MATCHED_BY_TARGET => sources.to_vec(),
                _ => [target, sources].concat(),
            });
            self.node(clause);
        }
    }

    /// The names of the row before and after. By themselves they are there where nothing else is called so
    /// (`addNSItemForReturning` in `src/backend/parser/analyze.c`).
    fn versions(&mut self, clause: &Node) -> Vec<usize> {
        let given = returning::versions(clause);
        if self.rules.catalog.server_version < VERSIONS {
            return Vec::new();
        }
        let free = |reading: &Self, name: &String| reading.bare(name) == Bare::Nothing;
        let given: Vec<String> = given.into_iter().filter(|name| free(self, name)).collect();
        let items = given.iter().map(|name| self.other(Some(name)));
        items.collect()
    }

    fn with_clause(&mut self, node: &Node) {
        let Some(with) = node.child("with_clause") else {
            return;
        };
        let recursive = with.flag("recursive");
        let names = with.list("ctes").iter().filter_map(Tree::node);
        if recursive {
            let names = names.clone().map(|cte| cte.text("ctename").to_owned());
            self.ctes.extend(names);
        }
        for cte in names {
            cte.fields.iter().for_each(|(_, value)| self.tree(value));
            if !recursive {
                self.ctes.push(cte.text("ctename").to_owned());
            }
        }
    }

    /// The innermost level shows these.
    fn show(&mut self, visible: Vec<usize>) {
        if let Some(level) = self.levels.last_mut() {
            *level = visible;
        }
    }

    /// The items that can be named behind FROM; `before` stands before the first.
    fn from(&mut self, items: &[Tree], before: &[usize]) -> Vec<usize> {
        let mut all = before.to_vec();
        for item in items.iter().filter_map(Tree::node) {
            let found = self.item(item, &all);
            self.meet(&all, &found);
            all.extend(found);
        }
        all.split_off(before.len())
    }

    /// Two parts of one FROM come together.
    fn meet(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in left
            .iter()
            .flat_map(|a| right.iter().map(move |b| (*a, *b)))
        {
            let (Some(one), Some(other)) = (self.items.get(a), self.items.get(b)) else {
                continue;
            };
            if one.name.is_none() || one.name != other.name {
                continue;
            }
            let allowed = one.plain && other.plain && one.relation != other.relation;
            match allowed {
                true => self.beside.extend([a, b]),
                false => self.doubled.extend([a, b]),
            }
        }
    }

    /// What an item shows; `before` is what LATERAL sees.
    fn item(&mut self, node: &Node, before: &[usize]) -> Vec<usize> {
        let alias = node.child("alias").map(|alias| alias.text("aliasname"));
        match node.kind {
            "RangeVar" => vec![self.relation(node, false)],
            "RangeTableSample" => {
                let relation = node.child("relation");
                let found = relation.map_or(Vec::new(), |relation| self.item(relation, before));
                self.show(before.to_vec());
                for field in ["args", "repeatable"] {
                    node.get(field)
                        .into_iter()
                        .for_each(|value| self.tree(value));
                }
                found
            }
            "JoinExpr" => {
                let mut sides = [Vec::new(), Vec::new()];
                if let [Some(left), Some(right)] = [node.child("larg"), node.child("rarg")] {
                    let left = self.item(left, before);
                    let right = self.item(right, &[before, &left].concat());
                    self.meet(&left, &right);
                    sides = [left, right];
                }
                let mut all = sides.concat();
                self.show(all.clone());
                node.get("quals")
                    .into_iter()
                    .for_each(|value| self.tree(value));
                if let Some(using) = node.child("join_using_alias") {
                    all.push(self.other(Some(using.text("aliasname"))));
                }
                match alias {
                    Some(alias) => vec![self.other(Some(alias))],
                    None => all,
                }
            }
            "RangeSubselect" => {
                self.show(match node.flag("lateral") {
                    true => before.to_vec(),
                    false => Vec::new(),
                });
                node.get("subquery")
                    .into_iter()
                    .for_each(|query| self.tree(query));
                // Without an alias it has no name.
                alias
                    .map(|alias| self.other(Some(alias)))
                    .into_iter()
                    .collect()
            }
            _ => {
                self.show(before.to_vec());
                node.fields.iter().for_each(|(_, value)| self.tree(value));
                let version = self.rules.catalog.server_version;
                let name = match node.kind {
                    _ if alias.is_some() => alias,
                    "RangeFunction" => function_alias(node, version),
                    "RangeTableFunc" => Some("xmltable"),
                    "JsonTable" => Some("json_table"),
                    _ => None,
                };
                vec![self.other(name)]
            }
        }
    }

    fn relation(&mut self, node: &Node, target: bool) -> usize {
        let alias = node.child("alias").map(|alias| alias.text("aliasname"));
        let name = node.text("relname");
        let catalog = self.rules.catalog;
        let expression = |reading: &Self| !target && reading.ctes.iter().any(|cte| cte == name);
        let relation = match node.text("schemaname") {
            "" if expression(self) => None,
            "" => catalog.resolve(self.rules.path, name),
            schema => catalog.relation(schema, name),
        }
        .map(|relation| relation.oid);
        let read = relation.is_some_and(|relation| self.rules.role.substitutes(relation));
        self.items.push(Item {
            name: Some(alias.unwrap_or(name).to_owned()),
            relation,
            plain: alias.is_none() && relation.is_some(),
            location: node.location,
            stands: match (target, read) {
                (true, _) => Stands::Target,
                (false, true) => Stands::Template,
                (false, false) => Stands::AsItIs,
            },
        });
        self.items.len() - 1
    }

    /// An item that is no relation.
    fn other(&mut self, name: Option<&str>) -> usize {
        self.items.push(Item {
            name: name.map(str::to_owned),
            relation: None,
            plain: false,
            location: -1,
            stands: Stands::AsItIs,
        });
        self.items.len() - 1
    }

    fn reference(&mut self, node: &Node) {
        let catalog = self.rules.catalog;
        let fields: Vec<Option<&str>> = node.list("fields").iter().map(Tree::string).collect();
        let (name, way) = match fields.as_slice() {
            [Some(name)] if !self.is_column(name) => (*name, Way::Row),
            [Some(name), _] => (*name, Way::Table),
            [lead @ .., Some(schema), Some(table), _]
                if lead.is_empty() || lead == [Some(catalog.database.as_str())] =>
            {
                let relation = catalog.relation(schema, table).map(|relation| relation.oid);
                let item = relation.and_then(|relation| self.by_relation(relation));
                (*table, Way::Schema(lead.len() + 1, item))
            }
            _ => return,
        };
        self.name(name, way, node.location);
    }

    fn name(&mut self, name: &str, way: Way, location: i32) {
        self.named.push(Named {
            location,
            name: name.to_owned(),
            way,
            bare: self.bare(name),
        });
    }

    fn locks(&mut self, clauses: &Tree) {
        for clause in clauses.list().iter().filter_map(Tree::node) {
            for locked in clause.list("locked_rels").iter().filter_map(Tree::node) {
                self.name(locked.text("relname"), Way::Row, locked.location);
            }
        }
    }

    /// Whether a relation that can be named has such a column: columns come before rows.
    fn is_column(&self, name: &str) -> bool {
        let visible = self.levels.iter().flatten();
        let mut relations =
            visible.filter_map(|item| self.items.get(*item).filter(|item| item.plain));
        relations.any(|item| {
            let relation = item
                .relation
                .and_then(|oid| self.rules.catalog.relations.get(&oid));
            relation.is_some_and(|relation| relation.column(name).is_some())
        })
    }

    fn by_relation(&self, relation: Oid) -> Option<usize> {
        let meant = |item: &usize| {
            let item = self.items.get(*item);
            item.is_some_and(|item| item.plain && item.relation == Some(relation))
        };
        let levels = self.levels.iter().rev();
        let mut found = levels.map(|level| level.iter().copied().filter(meant).collect::<Vec<_>>());
        match found.find(|items| !items.is_empty())?.as_slice() {
            [item] => Some(*item),
            _ => None,
        }
    }

    fn bare(&self, name: &str) -> Bare {
        for level in self.levels.iter().rev() {
            let named = |item: &usize| {
                let item = self.items.get(*item).and_then(|item| item.name.as_deref());
                item.is_none_or(|item| item == name)
            };
            let found: Vec<usize> = level.iter().copied().filter(named).collect();
            let known = |item: &usize| {
                self.items
                    .get(*item)
                    .is_some_and(|item| item.name.is_some())
            };
            match found.as_slice() {
                [] => {}
                [item] if known(item) => return Bare::One(*item),
                _ => return Bare::Several(found),
            }
        }
        Bare::Nothing
    }
}

/// The first PostgreSQL whose RETURNING has versions of the row.
const VERSIONS: u32 = 180_000;
