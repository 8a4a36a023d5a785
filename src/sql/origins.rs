//! Which output columns of a query are plain columns of which relation.
//!
//! PostgreSQL tells clients the table and column an output column comes from (`markTargetListOrigins` in
//! `src/backend/parser/parse_target.c`). Behind a mask expression there is none, so pgveil restores what the client's own
//! statement would have shown. Only metadata hangs on this: where anything is unclear the answer is no origin.
use crate::catalog::{AttNum, Oid};

use super::judge::Rules;
use super::plan::Origin;
use super::tree::{Node, Tree};

/// For each output column of a SELECT the masked column it shows; empty where none is masked, or where the number of
/// output columns cannot be told.
pub fn masked_outputs(rules: &Rules<'_>, tree: &Tree) -> Vec<Option<Origin>> {
    let Some(query) = tree.node().filter(|node| node.kind == "SelectStmt") else {
        return Vec::new();
    };
    let mut reader = Reader {
        rules,
        ctes: Vec::new(),
    };
    let outputs: Vec<Option<Origin>> = reader
        .outputs(query)
        .unwrap_or_default()
        .into_iter()
        .map(|output| {
            let (relation, column) = output.origin?;
            rules.role.mask(relation, column)?;
            Some(Origin {
                relation,
                column,
                name: output.name,
            })
        })
        .collect();
    if outputs.iter().any(Option::is_some) {
        outputs
    } else {
        Vec::new()
    }
}

/// An output column. The name is empty where PostgreSQL makes one up.
#[derive(Debug, Clone)]
struct Output {
    name: String,
    origin: Option<(Oid, AttNum)>,
}

/// An item of FROM: its name, and its columns where they are known.
#[derive(Debug, Clone)]
struct Item {
    alias: String,
    columns: Option<Vec<Output>>,
}

/// What FROM offers: its items, for qualified names, and the columns of `*`, in which USING merges some.
#[derive(Debug, Default)]
struct Offer {
    items: Vec<Item>,
    star: Option<Vec<Output>>,
}

struct Reader<'a> {
    rules: &'a Rules<'a>,
    /// Common table expressions in scope, innermost last.
    ctes: Vec<(String, Option<Vec<Output>>)>,
}

impl Reader<'_> {
    fn outputs(&mut self, query: &Node) -> Option<Vec<Output>> {
        let depth = self.ctes.len();
        self.with_clause(query);
        let found = self.body(query);
        self.ctes.truncate(depth);
        found
    }

    fn with_clause(&mut self, query: &Node) {
        let Some(with) = query.child("with_clause") else {
            return;
        };
        for cte in with.list("ctes").iter().filter_map(Tree::node) {
            // A recursive expression is a set operation: it has no origins.
            let columns = match cte.child("ctequery") {
                Some(inner) if inner.kind == "SelectStmt" && !with.flag("recursive") => {
                    self.outputs(inner)
                }
                _ => None,
            };
            let extended = cte.get("search_clause").is_some() || cte.get("cycle_clause").is_some();
            let columns = columns
                .filter(|_| !extended)
                .and_then(|columns| renamed(columns, cte.list("aliascolnames")));
            self.ctes.push((cte.text("ctename").to_owned(), columns));
        }
    }

    fn body(&mut self, query: &Node) -> Option<Vec<Output>> {
        const PLAIN: i64 = 1;
        if query.int("op") > PLAIN {
            let left = query.child("larg")?;
            return Some(without_origins(self.outputs(left)?));
        }
        if let Some(row) = query.list("values_lists").first() {
            let width = row.node().map_or(&[][..], |row| row.list("items")).len();
            return Some(
                (1..=width)
                    .map(|at| Output {
                        name: format!("column{at}"),
                        origin: None,
                    })
                    .collect(),
            );
        }
        let offer = self.from(query.list("from_clause"));
        let mut outputs = Vec::new();
        for target in query.list("target_list").iter().filter_map(Tree::node) {
            self.target(target, &offer, &mut outputs)?;
        }
        Some(outputs)
    }

    /// Adds the output columns of one target; `None` where a `*` cannot be counted.
    fn target(&self, target: &Node, offer: &Offer, outputs: &mut Vec<Output>) -> Option<()> {
        let given = target.text("name");
        let reference = target
            .child("val")
            .filter(|value| value.kind == "ColumnRef");
        let Some(reference) = reference else {
            outputs.push(Output {
                name: given.to_owned(),
                origin: None,
            });
            return Some(());
        };
        let names: Vec<Option<&str>> = reference.list("fields").iter().map(Tree::string).collect();
        let (qualifier, last) = match names.as_slice() {
            [last] => (None, *last),
            [.., qualifier, last] => (*qualifier, *last),
            [] => return None,
        };
        let Some(name) = last else {
            let columns = match qualifier {
                None => offer.star.clone()?,
                Some(alias) => offer.item(alias)?.columns.clone()?,
            };
            outputs.extend(columns);
            return Some(());
        };
        let origin = match qualifier {
            Some(alias) => offer
                .item(alias)
                .and_then(|item| item.columns.as_deref())
                .and_then(|columns| unique(columns, name)),
            None => offer
                .star
                .as_deref()
                .and_then(|columns| unique(columns, name)),
        };
        outputs.push(Output {
            name: if given.is_empty() { name } else { given }.to_owned(),
            origin,
        });
        Some(())
    }

    fn from(&mut self, items: &[Tree]) -> Offer {
        let mut offer = Offer {
            items: Vec::new(),
            star: Some(Vec::new()),
        };
        for item in items.iter().filter_map(Tree::node) {
            let part = self.item(item);
            offer.items.extend(part.items);
            offer.star = match (offer.star, part.star) {
                (Some(mut all), Some(more)) => {
                    all.extend(more);
                    Some(all)
                }
                _ => None,
            };
        }
        offer
    }

    fn item(&mut self, node: &Node) -> Offer {
        match node.kind {
            "RangeVar" => {
                let name = node.text("relname");
                let columns = self.relation(node, name);
                Offer::single(node, name, columns)
            }
            "RangeSubselect" => {
                let columns = node.child("subquery").and_then(|query| self.outputs(query));
                Offer::single(node, "", columns)
            }
            "RangeTableSample" => node
                .child("relation")
                .map(|relation| self.item(relation))
                .unwrap_or_default(),
            "JoinExpr" if node.get("alias").is_none() => self.join(node),
            _ => Offer::single(node, "", None),
        }
    }

    fn relation(&self, node: &Node, name: &str) -> Option<Vec<Output>> {
        let schema = node.text("schemaname");
        if schema.is_empty()
            && let Some((_, columns)) = self.ctes.iter().rev().find(|(cte, _)| cte == name)
        {
            return columns.clone();
        }
        let relation = if schema.is_empty() {
            self.rules.catalog.resolve(self.rules.path, name)
        } else {
            self.rules.catalog.relation(schema, name)
        }?;
        if relation.schema == super::temporary::SCHEMA {
            return None; // Its columns are not known.
        }
        Some(
            relation
                .columns
                .iter()
                .map(|column| Output {
                    name: column.name.clone(),
                    origin: Some((relation.oid, column.num)),
                })
                .collect(),
        )
    }

    fn join(&mut self, node: &Node) -> Offer {
        let (Some(left), Some(right)) = (node.child("larg"), node.child("rarg")) else {
            return Offer::default();
        };
        let (left, right) = (self.item(left), self.item(right));
        let star = match (left.star, right.star) {
            (Some(left), Some(right)) => merged(node, left, right),
            _ => None,
        };
        let mut items = left.items;
        items.extend(right.items);
        Offer { items, star }
    }
}

impl Offer {
    fn single(node: &Node, name: &str, columns: Option<Vec<Output>>) -> Offer {
        let (alias, columns) = match node.child("alias") {
            Some(alias) => (
                alias.text("aliasname"),
                columns.and_then(|columns| renamed(columns, alias.list("colnames"))),
            ),
            None => (name, columns),
        };
        Offer {
            items: vec![Item {
                alias: alias.to_owned(),
                columns: columns.clone(),
            }],
            star: columns,
        }
    }

    /// The item of that name; `None` where there are several.
    fn item(&self, alias: &str) -> Option<&Item> {
        let mut found = self.items.iter().filter(|item| item.alias == alias);
        match (found.next(), found.next()) {
            (Some(item), None) => Some(item),
            _ => None,
        }
    }
}

/// The columns of a join in the order of `*`: those of USING or NATURAL first, once.
fn merged(node: &Node, left: Vec<Output>, right: Vec<Output>) -> Option<Vec<Output>> {
    const FULL: i64 = 3;
    const RIGHT: i64 = 4;
    let shared: Vec<String> = if node.flag("is_natural") {
        left.iter()
            .filter(|column| right.iter().any(|other| other.name == column.name))
            .map(|column| column.name.clone())
            .collect()
    } else {
        node.names("using_clause")?
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let mut columns = Vec::new();
    for name in &shared {
        let side = if node.int("jointype") == RIGHT {
            &right
        } else {
            &left
        };
        let origin = match node.int("jointype") {
            FULL => None,
            _ => unique(side, name),
        };
        columns.push(Output {
            name: name.clone(),
            origin,
        });
    }
    let rest = left.into_iter().chain(right);
    columns.extend(rest.filter(|column| !shared.contains(&column.name)));
    Some(columns)
}

fn renamed(mut columns: Vec<Output>, names: &[Tree]) -> Option<Vec<Output>> {
    if names.len() > columns.len() {
        return None;
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name.string()?.to_owned();
    }
    Some(columns)
}

fn without_origins(mut columns: Vec<Output>) -> Vec<Output> {
    columns.iter_mut().for_each(|column| column.origin = None);
    columns
}

fn unique(columns: &[Output], name: &str) -> Option<(Oid, AttNum)> {
    let mut found = columns.iter().filter(|column| column.name == name);
    match (found.next(), found.next()) {
        (Some(column), None) => column.origin,
        _ => None,
    }
}
