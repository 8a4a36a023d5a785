//! RETURNING of a write to a protected target.
use crate::sql::names::{qualified, quoted};
use crate::sql::naming;
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::scope::Offer;
use crate::sql::tree::{Node, Tree};

use super::checks::Check;
use super::levels::means_whole_row;
use super::stars::is_star;
use super::target::{Meaning, Target};
use super::walk::{Walk, at, offset};
use super::{Change, Side};

impl Walk<'_> {
    /// RETURNING: `*` is written out, and what shows a mask keeps the name it would have had.
    pub(super) fn returning(
        &mut self,
        node: &mut Node,
        merges: bool,
        anchor: usize,
    ) -> Result<(), Refusal> {
        let merge = node.kind == "MergeStmt";
        let mut check = self.returning_check(node, anchor)?;
        let Some(clause) = node.get_mut("returning_clause").and_then(Tree::node_mut) else {
            return Ok(());
        };
        if let Some(mut target) = self.target.take() {
            target.versions = versions(clause);
            self.aim(target);
        }
        let Some(Tree::List(items)) = clause.get_mut("exprs") else {
            return Ok(());
        };
        for item in std::mem::take(items) {
            let Tree::Node(mut item) = item else {
                return Err(refuse::judge("RETURNING holds something unknown"));
            };
            if check.is_some() && self.side == Side::Client {
                self.row_as_star(&mut item);
            }
            if let Some(mut columns) = self.star(&item, merges, merge)? {
                self.note_all_read();
                self.check_first(&mut columns, &mut check);
                let text: Vec<&str> = columns.iter().map(|(_, text)| text.as_str()).collect();
                self.changes.push(Change::Star {
                    at: offset(item.location),
                    text: text.join(", "),
                });
                items.extend(columns.into_iter().map(|(node, _)| Tree::Node(node)));
                continue;
            }
            self.returned(&mut item, &mut check)?;
            items.push(Tree::Node(item));
        }
        match check {
            None => Ok(()),
            Some(_) if self.side == Side::Run => Err(refuse::judge(
                "a write leaves rows without regard to their row rule",
            )),
            Some(_) => Err(refuse::construct(
                "RETURNING without a column of the relation that is written",
                "return a column of it, too",
            )),
        }
    }

    /// `(target).*` is `target.*`, of whose columns one can take the check.
    fn row_as_star(&self, item: &mut Node) {
        let Some(value) = item
            .child("val")
            .filter(|value| value.kind == "AIndirection")
        else {
            return;
        };
        let row = value.child("arg").filter(|row| row.kind == "ColumnRef");
        let names = row.and_then(|row| row.names("fields")).unwrap_or_default();
        let ([name], [_], true) = (
            names.as_slice(),
            value.list("indirection"),
            naming::is_star(value),
        ) else {
            return;
        };
        let meant = self.target.as_ref();
        if meant.is_some_and(|target| means_whole_row(target, name)) {
            let star = star_of(name, value.location);
            item.set("val", Tree::Node(star));
        }
    }

    /// Every masked column of the target is shown.
    pub(super) fn note_all_read(&mut self) {
        let Some(target) = &self.target else {
            return;
        };
        let role = self.rules.role;
        let relation = &target.relation;
        let columns = relation.columns.iter();
        let masked = columns.filter(|column| target.mask(role, &column.name).is_some());
        let read = masked.map(|column| (relation.oid, column.name.clone()));
        self.target_reads.extend(read);
    }

    /// Puts the check around the first column of the target that `*` stands for.
    fn check_first(&self, columns: &mut [(Node, String)], check: &mut Option<Check>) {
        let first = columns.iter_mut().find(|(item, _)| !is_star(item));
        let (Some((item, text)), Some(taken)) = (first, check.take()) else {
            return;
        };
        let version = self.rules.catalog.server_version;
        let value = item.child("val");
        let name = value.map_or("", |value| naming::name(value, version));
        let name = name.to_owned();
        let (open, close) = taken.around(self.type_of(item.child("val")).as_deref());
        let value = match item.text("name") {
            "" => text.as_str(),
            label => text
                .strip_suffix(&format!(" AS {}", quoted(label)))
                .unwrap_or(text),
        };
        *text = format!("{}{value}{close} AS {}", open.trim_start(), quoted(&name));
        item.set("name", Tree::Text(name));
    }

    /// The type of a reference to the target's column, as SQL.
    fn type_of(&self, value: Option<&Node>) -> Option<String> {
        let target = self.target.as_ref()?;
        let names = value
            .filter(|value| value.kind == "ColumnRef")?
            .names("fields")?;
        let column = target.relation.column(names.last()?)?;
        Some(column.type_sql.clone())
    }

    fn returned(&mut self, item: &mut Node, check: &mut Option<Check>) -> Result<(), Refusal> {
        if self.side == Side::Run && check.as_ref().is_some_and(|check| check.take_off(item)) {
            *check = None;
        }
        let name = match item.text("name") {
            "" => item
                .child("val")
                .and_then(|value| self.reader().name(value)),
            _ => None,
        };
        let before = self.changes.len();
        if self.side == Side::Client
            && !item.child("val").is_some_and(naming::is_star)
            && let Some(check) = check.take()
        {
            let (open, close) = check.around(self.type_of(item.child("val")).as_deref());
            self.changes.push(Change::Wrap {
                at: offset(item.location),
                open,
                close,
                named: name.is_none(),
            });
        }
        self.children(item)?;
        self.label(item, name, before);
        Ok(())
    }

    /// The columns that `*` or `target.*` stands for, as tree and as text; `None` where the item is something else.
    fn star(
        &self,
        item: &Node,
        merges: bool,
        merge: bool,
    ) -> Result<Option<Vec<(Node, String)>>, Refusal> {
        let (Some(target), Some(value)) = (&self.target, item.child("val")) else {
            return Ok(None);
        };
        let fields = value.list("fields");
        if !is_star(item) {
            return Ok(None);
        }
        if self.side == Side::Run {
            // Written out already; what is left belongs to the other relations.
            let names: Vec<Option<&str>> = fields.iter().map(Tree::string).collect();
            let other = match names.as_slice() {
                [Some(name), None] => target.meaning(Some(name), "*") == Meaning::Other,
                [names @ .., None] if names.len() > 1 => {
                    !target.named_with_schema(self.rules.catalog, names)
                }
                _ => false,
            };
            return match other {
                true => Ok(None),
                false => Err(refuse::judge("a * that may mean the target")),
            };
        }
        let own = |qualifier: &str| target_columns(self, target, qualifier);
        match fields {
            [_] if merges => Err(at(
                refuse::construct("RETURNING * over a join with USING", "name the columns"),
                value.location,
            )),
            [_] => {
                let mut others = other_columns(&target.others).ok_or_else(|| {
                    at(
                        refuse::construct("RETURNING * over this FROM", "name the columns"),
                        value.location,
                    )
                })?;
                let mut columns = own(&target.alias);
                if merge {
                    others.append(&mut columns);
                    return Ok(Some(others));
                }
                columns.append(&mut others);
                Ok(Some(columns))
            }
            [name, _] => match target.meaning(name.string(), "*") {
                Meaning::Target { qualifier } => Ok(Some(own(&qualifier))),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

fn target_columns(walk: &Walk<'_>, target: &Target, qualifier: &str) -> Vec<(Node, String)> {
    let role = walk.rules.role;
    let open = target
        .relation
        .columns
        .iter()
        .filter(|column| !role.denies(target.relation.oid, column.num));
    open.map(|column| {
        let reference = super::target::reference(qualifier, &column.name, -1);
        let mut item = Node::new("ResTarget", vec![("val", Tree::Node(reference))]);
        let text = match target.masked(role, qualifier, &column.name) {
            Some(mask) => {
                item.set("name", Tree::Text(column.name.clone()));
                format!("{mask} AS {}", quoted(&column.name))
            }
            None => qualified(qualifier, &column.name),
        };
        (item, text)
    })
    .collect()
}

/// `alias.*` for each other relation; `None` where one has no name to be called by.
fn other_columns(others: &Offer) -> Option<Vec<(Node, String)>> {
    let items = others.items.iter().map(|item| {
        if item.alias.is_empty() {
            return None;
        }
        let star = star_of(&item.alias, -1);
        let node = Node::new("ResTarget", vec![("val", Tree::Node(star))]);
        Some((node, format!("{}.*", quoted(&item.alias))))
    });
    items.collect()
}

/// `name.*`
fn star_of(name: &str, location: i32) -> Node {
    let mut reference = super::target::reference(name, "", location);
    if let Some(Tree::List(fields)) = reference.get_mut("fields") {
        fields.pop();
        fields.push(Tree::Node(Node::new("AStar", Vec::new())));
    }
    reference
}

/// The names of the row before and after (PostgreSQL 18).
pub(super) fn versions(clause: &Node) -> Vec<String> {
    const OLD: i64 = 1;
    let given = |kind: i64, default: &str| {
        clause
            .list("options")
            .iter()
            .filter_map(Tree::node)
            .find(|option| option.int("option") == kind)
            .map_or(default, |option| option.text("value"))
            .to_owned()
    };
    vec![given(OLD, "old"), given(OLD + 1, "new")]
}
