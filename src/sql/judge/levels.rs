//! The levels of query inside a write, and references in them to the write's target.
use crate::catalog::Oid;
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

use super::target::{Level, Meaning, Visibility, reference};
use super::walk::{Walk, at, offset};
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
        self.field(node, "from_clause")?;
        let from = node.remove("from_clause");
        let sorted = self.sorted_by_output(node);
        self.seeing(Visibility::Full, |walk| walk.children(node))?;
        if let Some(from) = from {
            node.set("from_clause", from);
        }
        if let Some(sorted) = sorted {
            node.set("sort_clause", sorted);
        }
        if let Some(target) = &mut self.target {
            target.levels.pop();
        }
        Ok(())
    }

    /// Takes ORDER BY off where each item of it is the name of an output column: such a name comes before a column's
    /// (`findTargetlistEntrySQL92` in `src/backend/parser/parse_clause.c`).
    pub(super) fn sorted_by_output(&self, node: &mut Node) -> Option<Tree> {
        let outputs = self.reader().outputs(node)?;
        let named = |item: &Tree| {
            let value = item.node().and_then(|item| item.child("node"));
            let names = value
                .filter(|value| value.kind == "ColumnRef")
                .and_then(|value| value.names("fields"));
            matches!(names.as_deref(), Some([name]) if outputs.iter().any(|output| output.name == *name))
                && item.node().is_some_and(|item| item.get("use_op").is_none())
        };
        match node.list("sort_clause") {
            [] => None,
            items if items.iter().all(named) => node.remove("sort_clause"),
            _ => None,
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
    /// `relation`: the one whose schema the reference gave; it is gone by now.
    pub(super) fn target_column(
        &mut self,
        node: &mut Node,
        relation: Option<Oid>,
    ) -> Result<(), Refusal> {
        let Some(target) = &self.target else {
            return Ok(());
        };
        if relation.is_some_and(|relation| relation != target.relation.oid) {
            return Ok(());
        }
        let meaning = |qualifier: &str, name: &str| match relation {
            None => target.meaning(Some(qualifier), name),
            Some(_) => target.meaning_by_schema(qualifier, name),
        };
        let role = self.rules.role;
        let fields: Vec<Option<&str>> = node.list("fields").iter().map(Tree::string).collect();
        let (name, meaning) = match fields.as_slice() {
            [Some(name)] => match (target.guarded(role, name), target.whole_row(name)) {
                (true, _) => (*name, target.meaning(None, name)),
                (false, true) => return Err(whole_row(name, node.location)),
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
                _ => return Err(whole_row(qualifier, node.location)),
            },
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

    /// The reference to a masked column of the target, if the node is exactly the column's mask.
    pub(super) fn unmasked(&self, node: &Node) -> Result<Option<Node>, Refusal> {
        let Some(target) = &self.target else {
            return Ok(None);
        };
        let Some((qualifier, name)) = target.unmasked(node) else {
            return Ok(None);
        };
        if !target.means_itself(qualifier, name) {
            return Err(refuse::judge("a mask stands where its column is hidden"));
        }
        Ok(Some(reference(qualifier, name, node.location)))
    }
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
