//! The levels of query inside a write, and references in them to the write's target.
use crate::sql::names::quoted;
use crate::sql::naming;
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::scope::{Offer, Output};
use crate::sql::tree::{Node, Tree};

use super::keys::{self, Clause, Keys};
use super::system_columns::SYSTEM_COLUMNS;
use super::target::{Level, Meaning, Target, Visibility, reference};
use super::walk::{Walk, at, offset};
use super::whole_rows::bare;
use super::{Change, Side};

impl Walk<'_> {
    pub(super) fn names(&mut self, node: &mut Node) -> Result<(), Refusal> {
        if self.target.is_none() {
            return self.children(node);
        }
        let offer = self.reader().from(node.list("from_clause"));
        let visibility = Visibility::Partial;
        if let Some(target) = &mut self.target {
            target.levels.push(Level { offer, visibility });
        }
        let mut from = node.remove("from_clause");
        if let Some(Tree::List(items)) = &mut from {
            self.items_of_from(items)?;
        }
        let outputs = self.reader().outputs(node);
        let keys = self.keys_that_are_outputs(node, outputs.as_deref());
        self.seeing(Visibility::Full, |walk| {
            keys.unclear
                .iter()
                .try_for_each(|key| walk.is_no_target(key))?;
            walk.clauses(node)
        })?;
        if let Some(from) = from {
            node.set("from_clause", from);
        }
        keys.put_back(node);
        if let Some(target) = &mut self.target {
            target.levels.pop();
        }
        Ok(())
    }

    /// The items of FROM. What a function sees of FROM stands before it (`transformFromClause` in
    /// `src/backend/parser/parse_clause.c` adds one item after the other), and so it is with a LATERAL subquery.
    fn items_of_from(&mut self, items: &mut [Tree]) -> Result<(), Refusal> {
        let kind = |item: &Tree| item.node().map_or("", |node| node.kind);
        let before: Vec<Option<Offer>> = items
            .iter()
            .enumerate()
            .map(|(at, item)| match kind(item) {
                "RangeFunction" | "RangeTableFunc" | "JsonTable" | "RangeSubselect" => {
                    Some(self.reader().from(items.get(..at)?))
                }
                _ => None,
            })
            .collect();
        for (item, before) in items.iter_mut().zip(before) {
            let Some(before) = before else {
                self.tree(item)?;
                continue;
            };
            let visibility = match kind(&*item) {
                "RangeSubselect" => Visibility::Partial,
                _ => Visibility::Full,
            };
            let all = self.offering(before);
            self.seeing(visibility, |walk| walk.tree(item))?;
            if let Some(all) = all {
                self.offering(all);
            }
        }
        Ok(())
    }

    /// Has the innermost level offer this, and gives back what it offered.
    fn offering(&mut self, offer: Offer) -> Option<Offer> {
        let level = self.target.as_mut()?.levels.last_mut()?;
        Some(std::mem::replace(&mut level.offer, offer))
    }

    /// All of a query but FROM and WITH.
    fn clauses(&mut self, node: &mut Node) -> Result<(), Refusal> {
        for (name, value) in &mut node.fields {
            match value {
                Tree::List(items) if *name == "target_list" => {
                    items.iter_mut().try_for_each(|item| self.output(item))?;
                }
                value => self.tree(value)?,
            }
        }
        Ok(())
    }

    fn output(&mut self, item: &mut Tree) -> Result<(), Refusal> {
        match item.node_mut().filter(|item| item.kind == "ResTarget") {
            Some(item) => self.labelled(item),
            None => self.tree(item),
        }
    }

    /// An output column of a query inside a write or of its RETURNING. What shows a mask keeps the name that it would have
    /// had: others may call it by that.
    pub(super) fn labelled(&mut self, item: &mut Node) -> Result<(), Refusal> {
        let value = item.child("val").filter(|value| !naming::is_star(value));
        let name = match item.text("name") {
            "" => value.and_then(|value| self.reader().name(value)),
            _ => None,
        };
        let before = self.changes.len();
        self.node(item)?;
        self.label(item, name, before);
        Ok(())
    }

    /// Gives an output column its name if changes were made since there were `before` of them.
    pub(super) fn label(&mut self, item: &mut Node, name: Option<String>, before: usize) {
        if let (Some(name), true) = (name, self.changes.len() > before) {
            self.changes.push(Change::Label {
                at: offset(item.location),
                text: format!(" AS {}", quoted(&name)),
            });
            item.set("name", Tree::Text(name));
        }
    }

    /// Takes keys of ORDER BY, DISTINCT ON and GROUP BY off that are the name of an output column: it comes before a
    /// column's, in GROUP BY behind one of the query's own FROM.
    fn keys_that_are_outputs(&self, node: &mut Node, outputs: Option<&[Output]>) -> Keys {
        let target = self.target.as_ref();
        let offer = target.and_then(|target| Some(&target.levels.last()?.offer));
        let mut keys = Keys::default();
        keys::each(node, &mut |clause, key| {
            let names = key.node().filter(|key| key.kind == "ColumnRef");
            let names = names.and_then(|key| key.names("fields"));
            let taken = match names.as_deref() {
                Some([name]) => match (clause, outputs) {
                    (Clause::Group, _)
                        if offer.is_none_or(|offer| offer.names_column(name) != Some(false)) =>
                    {
                        false
                    }
                    (_, Some(outputs)) => outputs.iter().any(|output| output.name == *name),
                    (_, None) => {
                        keys.unclear.push(key.duplicate());
                        false
                    }
                },
                _ => false,
            };
            let taken = taken.then(|| std::mem::replace(key, Tree::Nothing));
            keys.taken.push(taken);
        });
        keys
    }

    /// A key that may be the name of an output column may not be taken for a column of the target.
    fn is_no_target(&self, key: &Tree) -> Result<(), Refusal> {
        let (Some(target), Some(node)) = (&self.target, key.node()) else {
            return Ok(());
        };
        match node.names("fields").as_deref() {
            Some([name]) if target.guarded(self.rules.role, name) => {
                match target.meaning(None, name) {
                    Meaning::Other => Ok(()),
                    _ => Err(unclear(name, node.location)),
                }
            }
            _ => Ok(()),
        }
    }

    /// Runs `body` with the innermost level seen so.
    pub(super) fn seeing(
        &mut self,
        visibility: Visibility,
        body: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let depth = self.target.as_ref().map_or(0, |target| target.levels.len());
        let set = |walk: &mut Self, visibility: Visibility| {
            let level = walk
                .target
                .as_mut()
                .and_then(|target| target.levels.get_mut(depth.checked_sub(1)?));
            level.map(|level| std::mem::replace(&mut level.visibility, visibility))
        };
        let before = set(self, visibility);
        body(self)?;
        if let Some(before) = before {
            set(self, before);
        }
        Ok(())
    }

    /// A reference that may mean a masked column of the write's target. On the client's side the place is noted and the
    /// reference brought into one form; on the side that runs it is refused, since masks have been folded already.
    pub(super) fn target_column(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let Some(target) = &self.target else {
            return Ok(());
        };
        let meaning = |qualifier: &str, name: &str| target.meaning(Some(qualifier), name);
        let (role, catalog) = (self.rules.role, self.rules.catalog);
        let fields: Vec<Option<&str>> = node.list("fields").iter().map(Tree::string).collect();
        let (name, meaning) = match fields.as_slice() {
            [Some(name)] => match (target.guarded(role, name), target.whole_row(name)) {
                (true, _) => (*name, target.meaning(None, name)),
                (false, true) => return self.target_row(node, Written::Bare),
                (false, false) => return Ok(()),
            },
            [Some(qualifier), Some(name)] if target.guarded(role, name) => {
                (*name, meaning(qualifier, name))
            }
            // `c.f` is a call of `f` with the whole row where the row has no such column.
            [Some(qualifier), Some(name)]
                if target.relation.column(name).is_none()
                    && self.rules.catalog.functions.contains_key(*name) =>
            {
                match meaning(qualifier, name) {
                    Meaning::Other => return Ok(()),
                    _ => return Err(whole_row(qualifier, node.location)),
                }
            }
            [Some(qualifier), None] => match meaning(qualifier, "*") {
                Meaning::Other => return Ok(()),
                Meaning::Target { .. } if !self.spreads => {
                    *node = bare(qualifier, node.location);
                    return self.target_row(node, Written::WithStar);
                }
                _ => return Err(whole_row(qualifier, node.location)),
            },
            [names @ .., last] if names.len() > 1 && target.named_with_schema(catalog, names) => {
                return match last {
                    Some(name) if target.guarded(role, name) => Err(unclear(name, node.location)),
                    Some(name) if target.relation.column(name).is_some() => Ok(()),
                    _ => Err(whole_row(&target.relation.name, node.location)),
                };
            }
            _ => return Ok(()),
        };
        let name = name.to_owned();
        let qualifier = match meaning {
            Meaning::Other => return Ok(()),
            Meaning::Ambiguous => {
                let message = format!("column reference \"{name}\" is ambiguous");
                return Err(at(refuse::undefined("42702", message), node.location));
            }
            Meaning::Target { qualifier } => qualifier,
            Meaning::Unclear => return Err(unclear(&name, node.location)),
        };
        let Some(masked) = target.masked(role, &qualifier, &name) else {
            let column = format!("{}.{name}", target.relation.full_name());
            return Err(at(refuse::column(&column), node.location));
        };
        if self.side == Side::Run {
            return Err(refuse::judge(
                "a masked column of the target stands outside its mask",
            ));
        }
        if !target.means_itself(&qualifier, &name) {
            return Err(unclear(&name, node.location));
        }
        let at = offset(node.location);
        let text = format!("({masked})");
        let relation = target.relation.oid;
        self.target_reads.insert((relation, name.clone()));
        // A condition that is looked up names its column both ways already.
        if !self.placed.contains(&at) {
            self.changes.push(Change::Reference { at, text });
        }
        *node = reference(&qualifier, &name, node.location);
        Ok(())
    }

    /// The bare name of the target, which means its whole row: the row is put together of what the role sees of it.
    fn target_row(&mut self, node: &Node, written: Written) -> Result<(), Refusal> {
        let names = node.names("fields").unwrap_or_default();
        let (Some(target), [name]) = (&self.target, names.as_slice()) else {
            return Ok(());
        };
        let row = target
            .masked_row(self.rules.catalog, self.rules.role, name)
            .filter(|_| means_whole_row(target, name));
        let Some(row) = row else {
            return Err(whole_row(name, node.location));
        };
        if self.side == Side::Run {
            return Err(refuse::judge(
                "a whole row of the target stands outside its mask",
            ));
        }
        self.note_all_read();
        let at = offset(node.location);
        self.changes.push(match written {
            Written::Bare => Change::Reference { at, text: row },
            Written::WithStar => Change::Star { at, text: row },
        });
        Ok(())
    }

    /// The reference to a masked column of the target, if the node is exactly the column's mask; to its whole row, if it
    /// is that of masks.
    pub(super) fn unmasked(&self, node: &Node) -> Result<Option<Node>, Refusal> {
        let Some(target) = &self.target else {
            return Ok(None);
        };
        if let Some(name) = target.unmasked_row(node) {
            if !means_whole_row(target, name) {
                return Err(refuse::judge(
                    "a row of masks stands where the row is hidden",
                ));
            }
            return Ok(Some(bare(name, node.location)));
        }
        let Some((qualifier, name)) = target.unmasked(node) else {
            return Ok(None);
        };
        if !target.means_itself(qualifier, name) {
            return Err(refuse::judge("a mask stands where its column is hidden"));
        }
        Ok(Some(reference(qualifier, name, node.location)))
    }
}

/// How a whole row is written: `c`, or `c.*`.
#[derive(Clone, Copy)]
enum Written {
    Bare,
    WithStar,
}

/// Whether nothing else can be meant by the name. That of a system column is one of whatever row is near.
pub(super) fn means_whole_row(target: &Target, name: &str) -> bool {
    target.is_whole_row(name) && !SYSTEM_COLUMNS.contains(&name)
}

fn whole_row(name: &str, location: i32) -> Refusal {
    at(
        refuse::construct(
            &format!("the whole row {name} in a write"),
            "name the columns",
        ),
        location,
    )
}

fn unclear(name: &str, location: i32) -> Refusal {
    at(
        refuse::construct(
            &format!("the column {name}, which may belong to the relation that is written,"),
            "write the column with the name or alias of its relation",
        ),
        location,
    )
}
