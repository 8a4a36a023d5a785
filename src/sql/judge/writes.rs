//! INSERT, UPDATE, DELETE, MERGE.
//!
//! A target cannot be substituted. Every relation that a write reads is; in what is evaluated over rows of a protected
//! target (SET, WHERE, ON, WHEN, ON CONFLICT, RETURNING) each masked column stands inside its mask ([`super::target`]),
//! and what is assigned to one is compared with the mask of the stored value ([`super::writeback`]).
use std::sync::Arc;

use pg_query::protobuf::CmdType;

use crate::catalog::{ROW, Relation};
use crate::sql::names::{qualified, quoted};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::scope::Reader;
use crate::sql::tree::{Node, Tree};

use super::rewrite_rules::Written;
use super::row_assignments;
use super::stars::merges_columns;
use super::target::Target;
use super::walk::{Walk, at, offset};
use super::writeback::{self, Otherwise, WriteBack};
use super::{Access, Change, Side};

impl Walk<'_> {
    pub(super) fn write(&mut self, node: &mut Node) -> Result<(), Refusal> {
        self.casts(node, true)?;
        if self.target.is_some() {
            return Err(refuse::construct(
                "a write inside another write",
                "write it in the statement's own WITH clause",
            ));
        }
        self.resolving = true;
        self.with_scope(node, |walk, node| walk.target_and_rest(node))
    }

    fn target_and_rest(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let mut named = match node.remove("relation") {
            Some(Tree::Node(named)) => named,
            _ => return Err(refuse::judge("a write without its target")),
        };
        // A common table expression cannot be a target, so the scope takes no part (`setTargetTable` in
        // `src/backend/parser/parse_clause.c`).
        let aliased = named.get("alias").is_some();
        self.relation(&mut named, Access::Write)?;
        if let Some(found) = self.uses.last() {
            let written = Written::by(node, found.relation, named.location);
            self.written.push(written);
        }
        let relation = self
            .uses
            .last()
            .and_then(|found| self.rules.catalog.relations.get(&found.relation))
            .cloned();
        if let Some(relation) = &relation {
            self.probes(node, relation, named.location)?;
        }
        if node.kind == "InsertStmt" {
            self.inserted_rows(node);
        }
        let role = self.rules.role;
        let relation =
            relation.filter(|relation| role.substitutes(relation.oid) || role.holds(relation.oid));
        match relation {
            None => self.children(node)?,
            Some(relation) => {
                let alias = named
                    .child("alias")
                    .map_or("", |alias| alias.text("aliasname"))
                    .to_owned();
                let anchor = offset(named.location);
                self.protected(node, relation, (alias, aliased), anchor)?;
            }
        }
        // The field order is the same on both sides: the target goes last.
        node.set("relation", Tree::Node(named));
        Ok(())
    }

    /// A new row is refused where it would be held against masked values of others, and a row's end where another's would.
    pub(super) fn probes(
        &self,
        node: &Node,
        relation: &Relation,
        location: i32,
    ) -> Result<(), Refusal> {
        let deletes = match node.kind {
            "DeleteStmt" => true,
            "MergeStmt" => node.list("merge_when_clauses").iter().any(is_delete),
            _ => false,
        };
        if let Some(why) = self.rules.role.tied(relation.oid, ROW)
            && deletes
        {
            return Err(at(refuse::bound(&relation.full_name(), why), location));
        }
        if let Some(why) = self.rules.role.carried(relation.oid, ROW)
            && deletes
        {
            return Err(at(refuse::left(&relation.full_name(), why), location));
        }
        let Some(why) = self.rules.role.probed.get(&relation.oid) else {
            return Ok(());
        };
        let clauses = node.list("merge_when_clauses").iter();
        let inserts = match node.kind {
            "InsertStmt" | "CopyStmt" => true,
            "MergeStmt" => clauses.filter_map(Tree::node).any(super::checks::inserts),
            _ => false,
        };
        match inserts {
            true => Err(at(refuse::probed(&relation.full_name(), why), location)),
            false => Ok(()),
        }
    }

    fn protected(
        &mut self,
        node: &mut Node,
        relation: Arc<Relation>,
        alias: (String, bool),
        anchor: usize,
    ) -> Result<(), Refusal> {
        let source = match node.kind {
            "UpdateStmt" => "from_clause",
            "DeleteStmt" => "using_clause",
            "MergeStmt" => "source_relation",
            _ => "select_stmt",
        };
        let others = match node.get(source) {
            Some(Tree::List(items)) => self.reader().from(items),
            Some(item @ Tree::Node(_)) if node.kind == "MergeStmt" => {
                self.reader().from(std::slice::from_ref(item))
            }
            _ => self.reader().from(&[]),
        };
        let items = node.get(source).map_or(&[][..], |source| match source {
            Tree::List(items) => items,
            item => std::slice::from_ref(item),
        });
        let merges = items.iter().any(merges_columns);
        // The target cannot be seen from there.
        self.field(node, source)?;
        self.field(node, "cols")?;
        self.aim(Target::new(relation, alias, others));
        match node.kind {
            "InsertStmt" => self.conflict(node)?,
            "MergeStmt" => {
                self.guarded_condition(node, "join_condition", anchor)?;
                self.actions(node)?;
            }
            _ => {
                self.assignments(node)?;
                self.guarded_condition(node, "where_clause", anchor)?;
            }
        }
        self.returning(node, merges, anchor)?;
        self.target = None;
        Ok(())
    }

    pub(super) fn aim(&mut self, mut target: Target) {
        if self.side == Side::Run {
            target.learn_masks(self.rules.catalog, self.rules.role, self.rules.templates);
        }
        self.target = Some(target);
    }

    /// Reads names of FROM with the common table expressions in scope.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader::new(self.rules, self.scopes.iter().flatten().cloned().collect())
    }

    pub(super) fn field(&mut self, node: &mut Node, field: &str) -> Result<(), Refusal> {
        match node.get_mut(field) {
            Some(value) => self.tree(value),
            None => Ok(()),
        }
    }

    fn actions(&mut self, node: &mut Node) -> Result<(), Refusal> {
        const NOT_MATCHED_BY_SOURCE: i64 = 2;
        const NOT_MATCHED_BY_TARGET: i64 = 3;
        let Some(Tree::List(clauses)) = node.get_mut("merge_when_clauses") else {
            return Ok(());
        };
        for clause in clauses {
            let Some(clause) = clause
                .node_mut()
                .filter(|clause| clause.kind == "MergeWhenClause")
            else {
                return Err(refuse::judge("MERGE holds something unknown"));
            };
            let inserts = clause.int("match_kind") == NOT_MATCHED_BY_TARGET;
            if clause.int("match_kind") == NOT_MATCHED_BY_SOURCE && self.target_rule().is_some() {
                return Err(refuse::construct(
                    "WHEN NOT MATCHED BY SOURCE under a row rule",
                    "use DELETE or UPDATE with NOT EXISTS",
                ));
            }
            if let Some(target) = &mut self.target {
                target.visible = !inserts;
            }
            self.field(clause, "condition")?;
            if inserts {
                self.field(clause, "target_list")?;
            } else {
                self.assignments(clause)?;
            }
            self.field(clause, "values")?;
        }
        if let Some(target) = &mut self.target {
            target.visible = true;
        }
        Ok(())
    }

    /// The list of SET.
    pub(super) fn assignments(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let Some(Tree::List(items)) = node.get_mut("target_list") else {
            return Ok(());
        };
        let known = |item: &Tree| item.node().is_some_and(|item| item.kind == "ResTarget");
        if !items.iter().all(known) {
            return Err(refuse::judge("SET holds something unknown"));
        }
        let mut rest: Vec<&mut Node> = items.iter_mut().filter_map(Tree::node_mut).collect();
        while !rest.is_empty() {
            let together = row_assignments::width(rest.first()).min(rest.len());
            let later = rest.split_off(together);
            match rest.as_mut_slice() {
                [item] if together == 1 && !row_assignments::is_query(item) => {
                    self.assignment(item)?;
                }
                row => self.row_assignment(row)?,
            }
            rest = later;
        }
        Ok(())
    }

    fn assignment(&mut self, item: &mut Node) -> Result<(), Refusal> {
        let nth = single_value(item);
        let Some(keep) = self.write_back(item)? else {
            return self.children(item);
        };
        match self.side {
            Side::Client => {
                self.children(item)?;
                self.changes.push(Change::Assigned {
                    at: offset(item.location),
                    nth,
                    around: keep,
                });
            }
            Side::Run => {
                let pattern = self.rules.templates.text(&keep.pattern());
                let inside = item
                    .get_mut("val")
                    .zip(pattern)
                    .and_then(|(value, pattern)| WriteBack::assigned(value, &pattern))
                    .ok_or_else(|| {
                        refuse::judge("a masked column is assigned without regard to its mask")
                    })?;
                item.set("val", inside);
                self.children(item)?;
            }
        }
        Ok(())
    }

    /// What has to stand around the value of an assignment; `None` where the column may take any.
    pub(super) fn write_back(&mut self, item: &Node) -> Result<Option<WriteBack>, Refusal> {
        let Some(target) = &self.target else {
            return Ok(None);
        };
        let role = self.rules.role;
        let name = item.text("name");
        if target.is_anchor(role, name) {
            return Err(at(
                refuse::construct(
                    &format!("moving a row by {name} out of a region that the session is not in"),
                    "have somebody of the region do it; what belongs to it is masked elsewhere",
                ),
                item.location,
            ));
        }
        let Some(column) = target.relation.column(name) else {
            return Ok(None);
        };
        let mask = role.mask(target.relation.oid, column.num);
        let value = item.child("val");
        let tied = role.tied(target.relation.oid, column.num).map(|why| {
            let name = format!("{}.{name}", target.relation.full_name());
            format!("{name}, which {why} compares with masked values")
        });
        let tied = tied.or_else(|| {
            let why = role.carried(target.relation.oid, column.num)?;
            let name = format!("{}.{name}", target.relation.full_name());
            Some(format!("{name}, from which {why}"))
        });
        if let Some(why) = tied {
            // What cannot be compared with the stored value could be another.
            let compared = item.get("indirection").is_none()
                && value.is_some_and(|value| value.kind != "SetToDefault")
                && !is_row(item)
                && !role.denies(target.relation.oid, column.num);
            if !compared {
                return Err(at(refuse::tied(&why), item.location));
            }
            let shown = target
                .masked(role, &target.alias, name)
                .unwrap_or_else(|| qualified(&target.alias, name));
            let keep = writeback::around(
                self.rules.catalog,
                column,
                &quoted(&target.alias),
                &shown,
                Otherwise::Refused,
            );
            let keep = keep.ok_or_else(|| refuse::judge("the type of a column is not known"))?;
            self.tied.insert(why);
            return Ok(Some(keep));
        }
        let Some(mask) = mask else {
            return Ok(None);
        };
        let parts = &mask.parts;
        if value.is_some_and(|value| value.kind == "SetToDefault") {
            return Ok(None);
        }
        if item.get("indirection").is_some() {
            return Err(at(
                refuse::construct(
                    &format!("assigning a part of the masked column {name}"),
                    "assign the whole column",
                ),
                item.location,
            ));
        }
        if is_row(item) {
            return Err(at(
                refuse::construct(
                    &format!("assigning the masked column {name} from a row"),
                    "assign the column by itself, for instance SET name = (SELECT ...)",
                ),
                item.location,
            ));
        }
        let keep = target
            .masked(role, &target.alias, name)
            .and_then(|mask| {
                writeback::around(
                    self.rules.catalog,
                    column,
                    &quoted(&target.alias),
                    &mask,
                    Otherwise::Taken(parts),
                )
            })
            .ok_or_else(|| refuse::judge("the type of a masked column is not known"))?;
        Ok(Some(keep))
    }
}

/// Whether a row is assigned that is no query's: its values cannot be told apart.
fn is_row(item: &Node) -> bool {
    let value = item.child("val");
    value.is_some_and(|value| value.kind == "MultiAssignRef") && !row_assignments::is_query(item)
}

fn is_delete(clause: &Tree) -> bool {
    let clause = clause.node();
    clause.is_some_and(|clause| clause.int("command_type") == CmdType::CmdDelete as i64)
}

/// `(a, b) = (x, y)`: the assignment gets its own value, and says the how manieth it was.
fn single_value(item: &mut Node) -> Option<usize> {
    let value = item.get_mut("val").and_then(Tree::node_mut)?;
    if value.kind != "MultiAssignRef" {
        return None;
    }
    let index = usize::try_from(value.int("colno")).ok()?.checked_sub(1)?;
    let row = value
        .get_mut("source")
        .and_then(Tree::node_mut)
        .filter(|source| source.kind == "RowExpr")?;
    let Some(Tree::List(values)) = row.get_mut("args") else {
        return None;
    };
    if index >= values.len() {
        return None;
    }
    let own = values.swap_remove(index);
    item.set("val", own);
    Some(index)
}
