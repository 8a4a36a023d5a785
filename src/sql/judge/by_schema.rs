//! Names with a schema before them: `schema.table.column`, and relations of one name side by side.
//!
//! Such a name means the nearest relation of exactly that schema that has no alias, whatever goes by its last part
//! (`scanNameSpaceForRelid` in `src/backend/parser/parse_relation.c`). The alias of a template has no schema. So where the
//! bare name means the same the schema goes; where it does not, or where FROM has another relation of that name
//! (`checkNameSpaceConflicts`), the template gets an alias of pgveil's own and whatever means it takes that.
//!
//! All of this is done to the client's tree before it is judged: from then on it is as if it had been written so.
mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::catalog::Oid;
use crate::sql::names::quoted;
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

use super::walk::{at, offset};
use super::{Change, Rules};

/// What became of a client's tree.
#[derive(Default)]
pub(super) struct Renamed {
    /// Aliases of relations that have none, by the place of their names.
    pub given: BTreeMap<usize, String>,
    pub changes: Vec<Change>,
}

/// Brings the names of a client's tree into the form in which they can run.
///
/// # Errors
/// A name means several relations, or a row is named where its relation gets another name.
pub(super) fn resolve(rules: &Rules<'_>, tree: &mut Tree) -> Result<Renamed, Refusal> {
    let mut signs = Signs::default();
    signs.tree(tree);
    if !signs.schema && !signs.twice {
        return Ok(Renamed::default());
    }
    let mut reading = Reading {
        rules,
        items: Vec::new(),
        levels: Vec::new(),
        ctes: Vec::new(),
        named: Vec::new(),
        beside: Vec::new(),
        doubled: BTreeSet::new(),
    };
    reading.tree(tree);
    let own = match signs.own {
        // The walk refuses them.
        true => HashMap::new(),
        false => reading.own_names(),
    };
    let mut renamed = Renamed::default();
    let mut edits = HashMap::new();
    for named in &reading.named {
        if let Some(edit) = reading.edit(named, &own)? {
            let text = edit.own.map_or(String::new(), quoted);
            renamed.changes.push(Change::Named {
                at: offset(named.location),
                parts: edit.parts,
                text,
            });
            edits.insert(named.location, edit);
        }
    }
    apply(tree, &edits);
    for (item, alias) in own {
        if let Some(item) = reading.items.get(item) {
            give(tree, item.location, &alias);
            renamed.given.insert(offset(item.location), alias);
        }
    }
    Ok(renamed)
}

/// Whether there is anything to do.
#[derive(Default)]
struct Signs {
    schema: bool,
    twice: bool,
    /// Something is called as pgveil calls its own.
    own: bool,
    names: BTreeSet<String>,
}

impl Signs {
    fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.tree(item)),
            Tree::Node(node) => {
                match node.kind {
                    "ColumnRef" => self.schema |= node.list("fields").len() > 2,
                    "RangeVar" if node.get("alias").is_none() => {
                        self.twice |= !self.names.insert(node.text("relname").to_owned());
                    }
                    "Alias" => self.own |= node.text("aliasname").starts_with("pgveil_"),
                    _ => {}
                }
                node.fields.iter().for_each(|(_, value)| self.tree(value));
            }
            _ => {}
        }
    }
}

/// How an item of FROM will stand in the text that runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Template,
    Target,
    AsItIs,
}

/// An item of FROM, or the target of a write.
struct Item {
    /// `None`: it is not known.
    name: Option<String>,
    relation: Option<Oid>,
    /// A relation without an alias.
    plain: bool,
    location: i32,
    stands: Stands,
}

/// What a bare name means.
#[derive(PartialEq, Eq)]
enum Bare {
    Nothing,
    One(usize),
    Several(Vec<usize>),
}

enum Way {
    /// `[database.]schema.table.column`: so many parts stand before the table's name. The item that is meant.
    Schema(usize, Option<usize>),
    /// `table.column`
    Table,
    /// `table`, where that is no column's name, and in FOR UPDATE OF.
    Row,
}

/// A place where something is named.
struct Named {
    location: i32,
    name: String,
    way: Way,
    bare: Bare,
}

/// Another name in the place of so many parts.
struct Edit<'o> {
    parts: usize,
    own: Option<&'o str>,
}

struct Reading<'a> {
    rules: &'a Rules<'a>,
    items: Vec<Item>,
    /// What can be named at each level of query, innermost last.
    levels: Vec<Vec<usize>>,
    ctes: Vec<String>,
    named: Vec<Named>,
    /// Relations of one name in one FROM, as SQL allows them.
    beside: Vec<usize>,
    /// Items that the server refuses beside others of their name.
    doubled: BTreeSet<usize>,
}

impl Reading<'_> {
    fn own_names(&self) -> HashMap<usize, String> {
        let hidden = self.named.iter().filter_map(|named| match named.way {
            Way::Schema(_, Some(item)) if named.bare != Bare::One(item) => Some(item),
            _ => None,
        });
        let stands = |item: &usize| {
            let found = self.items.get(*item);
            found.is_some_and(|item| item.stands == Stands::Template)
                && !self.doubled.contains(item)
        };
        let items: BTreeSet<usize> = hidden
            .chain(self.beside.iter().copied())
            .filter(stands)
            .collect();
        let numbered = items.into_iter().zip(1..);
        numbered
            .map(|(item, number)| (item, format!("pgveil_t{number}")))
            .collect()
    }

    fn edit<'o>(
        &self,
        named: &Named,
        own: &'o HashMap<usize, String>,
    ) -> Result<Option<Edit<'o>>, Refusal> {
        let name_of = |item: usize| own.get(&item).map(String::as_str);
        match (&named.way, &named.bare) {
            (Way::Schema(surplus, Some(item)), bare) => {
                let stands = self.items.get(*item).map(|item| item.stands);
                let same = *bare == Bare::One(*item) && stands != Some(Stands::AsItIs);
                let own = name_of(*item);
                Ok((own.is_some() || same).then_some(Edit {
                    parts: surplus + usize::from(own.is_some()),
                    own,
                }))
            }
            (Way::Table, Bare::One(item)) => Ok(name_of(*item).map(|own| Edit {
                parts: 1,
                own: Some(own),
            })),
            (Way::Table, Bare::Several(items))
                if items.iter().any(|item| own.contains_key(item)) =>
            {
                let message = format!("table reference \"{}\" is ambiguous", named.name);
                Err(at(refuse::undefined("42P09", message), named.location))
            }
            (Way::Row, Bare::One(item)) if own.contains_key(item) => Err(row(named)),
            (Way::Row, Bare::Several(items)) if items.iter().any(|item| own.contains_key(item)) => {
                Err(row(named))
            }
            _ => Ok(None),
        }
    }
}

fn row(named: &Named) -> Refusal {
    at(
        refuse::construct(
            &format!("the row {} where several are called so", named.name),
            "give the relations aliases",
        ),
        named.location,
    )
}

fn apply(tree: &mut Tree, edits: &HashMap<i32, Edit<'_>>) {
    match tree {
        Tree::List(items) => items.iter_mut().for_each(|item| apply(item, edits)),
        Tree::Node(node) if node.kind == "ColumnRef" => {
            if let Some(edit) = edits.get(&node.location)
                && let Some(Tree::List(fields)) = node.get_mut("fields")
            {
                let own = edit.own.map(|own| {
                    let text = Tree::Text(own.to_owned());
                    Tree::Node(Node::new("String", vec![("sval", text)]))
                });
                fields.splice(..edit.parts.min(fields.len()), own);
            }
        }
        Tree::Node(node) => {
            let fields = node.fields.iter_mut();
            fields.for_each(|(_, value)| apply(value, edits));
        }
        _ => {}
    }
}

/// Gives the relation there an alias.
fn give(tree: &mut Tree, location: i32, alias: &str) {
    match tree {
        Tree::List(items) => items
            .iter_mut()
            .for_each(|item| give(item, location, alias)),
        Tree::Node(node) if node.kind == "RangeVar" && node.location == location => {
            let name = Tree::Text(alias.to_owned());
            let alias = Node::new("Alias", vec![("aliasname", name)]);
            node.set("alias", Tree::Node(alias));
        }
        Tree::Node(node) => {
            let fields = node.fields.iter_mut();
            fields.for_each(|(_, value)| give(value, location, alias));
        }
        _ => {}
    }
}
