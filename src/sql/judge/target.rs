//! The protected target of a write, and what a column reference in the statement means.
//!
//! A target cannot be substituted, so each reference to a masked column of it is replaced by the column's mask. For that
//! the judge must know which references mean the target (`colNameToVar` and `refnameNamespaceItem` in
//! `src/backend/parser/parse_relation.c`): the nearest level of query that has the name counts. Where that cannot be told,
//! the statement is refused.
use std::sync::Arc;

use crate::catalog::{Catalog, Column, Relation, RelationKind};
use crate::policy::compiled::{ColumnMask, RolePolicy};
use crate::sql::names::{qualified, quoted};
use crate::sql::scope::Offer;
use crate::sql::template::Templates;
use crate::sql::tree::{Node, Tree};

use super::conditions::compared;
use super::whole_rows;

/// What of a query's own FROM can be named where the walk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    /// Everything: outside FROM.
    Full,
    /// Some of it: in ON, in functions of FROM and under LATERAL.
    Partial,
    /// Nothing: in a plain subquery of FROM and in WITH.
    Hidden,
}

/// One level of query inside the write.
#[derive(Debug)]
pub(super) struct Level {
    pub offer: Offer,
    pub visibility: Visibility,
}

/// What a reference means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something that is not of the target.
    Other,
    /// The target's row (or a column of it), by the name before the dot in the text that runs.
    Target { qualifier: String },
    /// The target and something else alike: the server says so.
    Ambiguous,
    /// It may or may not mean the target.
    Unclear,
}

#[derive(Debug)]
pub(super) struct Target {
    pub relation: Arc<Relation>,
    /// The name under which the statement knows it.
    pub alias: String,
    /// Whether that is a name of the statement's own: with the relation's schema before it nothing is meant then.
    pub aliased: bool,
    /// `old` and `new` in RETURNING, or what WITH (OLD AS ...) calls them.
    pub versions: Vec<String>,
    /// The other relations of the statement: FROM of UPDATE, USING of DELETE and MERGE.
    pub others: Offer,
    /// Whether its columns can be named where the walk stands.
    pub visible: bool,
    /// In ON CONFLICT a bare name means `excluded` as well.
    pub beside_excluded: bool,
    pub levels: Vec<Level>,
    /// What masks of its columns look like in the text that runs.
    masks: Vec<MaskTree>,
    /// What its whole row looks like there, by its names.
    rows: Vec<(Arc<Tree>, String)>,
}

/// A mask over a column of the target, under one of its names.
#[derive(Debug)]
struct MaskTree {
    tree: Arc<Tree>,
    qualifier: String,
    column: String,
}

impl Target {
    pub fn new(relation: Arc<Relation>, (alias, aliased): (String, bool), others: Offer) -> Self {
        Target {
            relation,
            alias,
            aliased,
            versions: Vec::new(),
            others,
            visible: true,
            beside_excluded: false,
            levels: Vec::new(),
            masks: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Learns what its masks look like, under all names that it has by now.
    pub fn learn_masks(&mut self, catalog: &Catalog, role: &RolePolicy, templates: &Templates) {
        let names = self.versions.iter().chain(std::iter::once(&self.alias));
        let mut masks = Vec::new();
        let mut rows = Vec::new();
        for qualifier in names {
            let row = self
                .masked_row(catalog, role, qualifier)
                .and_then(|sql| templates.text(&format!("SELECT {sql}")));
            rows.extend(row.map(|tree| (tree, qualifier.clone())));
            for column in &self.relation.columns {
                let found = self
                    .masked(role, qualifier, &column.name)
                    .and_then(|sql| templates.text(&format!("SELECT {sql}")));
                if let Some(tree) = found {
                    masks.push(MaskTree {
                        tree,
                        qualifier: qualifier.clone(),
                        column: column.name.clone(),
                    });
                }
            }
        }
        self.masks = masks;
        self.rows = rows;
    }

    /// Name of which the node is exactly the whole row.
    pub fn unmasked_row(&self, node: &Node) -> Option<&str> {
        let mut rows = self.rows.iter();
        let (_, name) =
            rows.find(|(tree, _)| first_value(tree).is_some_and(|value| value == node))?;
        Some(name)
    }

    /// Name and column of which the node is exactly the mask.
    pub fn unmasked(&self, node: &Node) -> Option<(&str, &str)> {
        let found = self
            .masks
            .iter()
            .find(|mask| first_value(&mask.tree).is_some_and(|value| value == node))?;
        Some((&found.qualifier, &found.column))
    }

    /// The comparison that the text makes with a mask of the target, in the canonical form of one with the column.
    pub fn compared_mask(&self, comparison: &Tree) -> Option<Node> {
        let mut comparison = comparison.duplicate();
        let sides = comparison.node_mut()?;
        for side in ["lexpr", "rexpr"] {
            let Some(value) = sides.get_mut(side).and_then(Tree::node_mut) else {
                continue;
            };
            if let Some((qualifier, name)) = self.unmasked(value) {
                *value = reference(qualifier, name, value.location);
            }
        }
        let (fields, _, mut node) = compared(&comparison)?;
        match fields.as_slice() {
            [qualifier, name] if *qualifier == self.alias => {
                node.set("column", Tree::Text(name.clone()));
                Some(node)
            }
            _ => None,
        }
    }

    /// Whether the name or alias of the target is not hidden by another relation where the walk stands.
    pub fn means_itself(&self, qualifier: &str, name: &str) -> bool {
        matches!(self.meaning(Some(qualifier), name), Meaning::Target { .. })
    }

    /// Whether the column may not be read as it is.
    pub fn guarded(&self, role: &RolePolicy, name: &str) -> bool {
        let column = self.relation.column(name);
        column.is_some_and(|column| {
            role.mask(self.relation.oid, column.num).is_some()
                || role.denies(self.relation.oid, column.num)
        })
    }

    /// The meaning of `name` or `qualifier.name`.
    pub fn meaning(&self, qualifier: Option<&str>, name: &str) -> Meaning {
        if qualifier.is_some_and(|qualifier| !self.is_called(qualifier)) {
            return Meaning::Other;
        }
        for level in self.levels.iter().rev() {
            let here = match (level.visibility, qualifier) {
                (Visibility::Hidden, _) => Some(false),
                (_, Some(qualifier)) => level.offer.names_item(qualifier),
                (_, None) => level.offer.names_column(name),
            };
            match (here, level.visibility) {
                (Some(false), _) => {}
                (Some(true), Visibility::Full) => return Meaning::Other,
                _ => return Meaning::Unclear,
            }
        }
        if !self.visible {
            return Meaning::Other;
        }
        let Some(qualifier) = qualifier else {
            return self.bare(name);
        };
        match self.others.names_item(qualifier) {
            Some(true) => Meaning::Other,
            Some(false) => Meaning::Target {
                qualifier: qualifier.to_owned(),
            },
            None => Meaning::Unclear,
        }
    }

    /// Whether names with a schema before them, the last part left out, are of the target. Where it can be named by its
    /// bare name these have been given that form.
    pub fn named_with_schema(&self, catalog: &Catalog, names: &[Option<&str>]) -> bool {
        match names {
            [.., Some(schema), Some(table)] => {
                let named = catalog.relation(schema, table);
                !self.aliased && named.is_some_and(|named| named.oid == self.relation.oid)
            }
            _ => false,
        }
    }

    /// Whether it is the name of the target or of a version of it.
    fn is_called(&self, name: &str) -> bool {
        name == self.alias || self.versions.iter().any(|version| version == name)
    }

    fn bare(&self, name: &str) -> Meaning {
        let own = self.relation.column(name).is_some();
        match (own, self.others.names_column(name)) {
            (true, Some(true)) => Meaning::Ambiguous,
            (true, Some(false)) if self.beside_excluded => Meaning::Ambiguous,
            (true, Some(false)) => Meaning::Target {
                qualifier: self.alias.clone(),
            },
            (true, None) => Meaning::Unclear,
            (false, _) => Meaning::Other,
        }
    }

    /// Name before the dot and column, if `name` or `qualifier.name` means one of the target.
    pub fn refers<'f>(&self, fields: &'f [String]) -> Option<(String, &'f str)> {
        let (qualifier, name) = match fields {
            [name] => (None, name),
            [qualifier, name] => (Some(qualifier.as_str()), name),
            _ => return None,
        };
        match self.meaning(qualifier, name) {
            Meaning::Target { qualifier } => Some((qualifier, name)),
            _ => None,
        }
    }

    /// Whether a bare name could be the whole row of the target: it is its name (or that of a version), and no column's.
    pub fn whole_row(&self, name: &str) -> bool {
        if !self.is_called(name) || !self.visible {
            return false;
        }
        for level in self.levels.iter().rev() {
            let here = match level.visibility {
                Visibility::Hidden => Some(false),
                _ => match level.offer.names_item(name) {
                    Some(false) => level.offer.names_column(name),
                    found => found,
                },
            };
            match (here, level.visibility) {
                (Some(false), _) => {}
                (Some(true), Visibility::Full) => return false,
                _ => return true,
            }
        }
        self.relation.column(name).is_none() && self.others.names_column(name) != Some(true)
    }

    /// Whether a bare name is the whole row of the target whatever else could have that name.
    pub fn is_whole_row(&self, name: &str) -> bool {
        let free = |offer: &Offer| {
            offer.names_item(name) == Some(false) && offer.names_column(name) == Some(false)
        };
        let hidden = |level: &Level| level.visibility == Visibility::Hidden;
        self.whole_row(name)
            && self
                .levels
                .iter()
                .all(|level| hidden(level) || free(&level.offer))
            && free(&self.others)
    }

    /// The whole row as SQL, under the name of the target or of a version of it, with masks in it. A version that is not
    /// there is NULL, which a row of NULLs is not; `tableoid` tells, and of a view, which has none, the row itself.
    pub fn masked_row(
        &self,
        catalog: &Catalog,
        role: &RolePolicy,
        qualifier: &str,
    ) -> Option<String> {
        let row = whole_rows::row(catalog, role, &self.relation, |column| {
            self.masked(role, qualifier, &column.name)
                .unwrap_or_else(|| qualified(qualifier, &column.name))
        })?;
        if !self.versions.iter().any(|version| version == qualifier) {
            return Some(format!("({row})"));
        }
        let name = quoted(qualifier);
        Some(match self.relation.kind {
            RelationKind::View => {
                format!("(CASE WHEN {name} IS DISTINCT FROM NULL THEN {row} END)")
            }
            _ => format!("(CASE WHEN {name}.tableoid IS NULL THEN NULL ELSE {row} END)"),
        })
    }

    /// Whether the column says in which region a row belongs that the session is not in.
    pub fn is_anchor(&self, role: &RolePolicy, name: &str) -> bool {
        let column = self.relation.column(name);
        column.is_some_and(|column| role.anchors(self.relation.oid, column.num))
    }

    pub fn mask<'r>(&self, role: &'r RolePolicy, name: &str) -> Option<(&Column, &'r ColumnMask)> {
        let column = self.relation.column(name)?;
        Some((column, role.mask(self.relation.oid, column.num)?))
    }

    /// The masked value of a column as SQL, under the name of the target or of a version of it.
    pub fn masked(&self, role: &RolePolicy, qualifier: &str, name: &str) -> Option<String> {
        let (_, mask) = self.mask(role, name)?;
        let reference = qualified(qualifier, name);
        let sql = mask.sql.over(&quoted(qualifier), name);
        // A mask that does not name its column could not be told from what a client writes.
        match mask.sql.names_column() {
            false => Some(format!(
                "(CASE WHEN {reference} IS NULL THEN NULL ELSE {sql} END)"
            )),
            true => Some(sql),
        }
    }
}

/// The value of the only output column of a SELECT.
pub(super) fn first_value(tree: &Tree) -> Option<&Node> {
    tree.node()?
        .list("target_list")
        .first()?
        .node()?
        .child("val")
}

/// A reference `qualifier.name`.
pub(super) fn reference(qualifier: &str, name: &str, location: i32) -> Node {
    let part = |text: &str| {
        Tree::Node(Node::new(
            "String",
            vec![("sval", Tree::Text(text.to_owned()))],
        ))
    };
    let mut node = Node::new(
        "ColumnRef",
        vec![("fields", Tree::List(vec![part(qualifier), part(name)]))],
    );
    node.location = location;
    node
}
