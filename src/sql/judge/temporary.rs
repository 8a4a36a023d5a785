//! DDL on the session's own temporary relations. What it makes holds what the role could read anyway; everything here
//! names `pg_temp` or is refused.
use pg_query::protobuf::{AlterTableType, ConstrType, ObjectType};

use crate::catalog::Relation;
use crate::sql::names::setting_element;
use crate::sql::plan::{Effect, Refusal};
use crate::sql::refuse;
use crate::sql::temporary::{SCHEMA, made, refers_to, taken};
use crate::sql::tree::{Node, Tree};

use super::keeping;
use super::walk::{Walk, at};
use super::{Access, Change, Side, Use};

/// What ALTER TABLE may do to a temporary table.
const ALTERATIONS: &[AlterTableType] = &[
    AlterTableType::AtAddColumn,
    AlterTableType::AtDropColumn,
    AlterTableType::AtColumnDefault,
    AlterTableType::AtAlterColumnType,
    AlterTableType::AtSetNotNull,
    AlterTableType::AtDropNotNull,
    AlterTableType::AtAddConstraint,
    AlterTableType::AtDropConstraint,
    AlterTableType::AtSetStatistics,
    AlterTableType::AtSetStorage,
];

/// Constraints that hold expressions and names of the table itself, or none.
const CONSTRAINTS: &[ConstrType] = &[
    ConstrType::ConstrNull,
    ConstrType::ConstrNotnull,
    ConstrType::ConstrDefault,
    ConstrType::ConstrIdentity,
    ConstrType::ConstrGenerated,
    ConstrType::ConstrCheck,
    ConstrType::ConstrPrimary,
    ConstrType::ConstrUnique,
    ConstrType::ConstrForeign,
    ConstrType::ConstrAttrDeferrable,
    ConstrType::ConstrAttrNotDeferrable,
    ConstrType::ConstrAttrDeferred,
    ConstrType::ConstrAttrImmediate,
    ConstrType::ConstrAttrEnforced,
    ConstrType::ConstrAttrNotEnforced,
];

impl Walk<'_> {
    /// Walks a statement that makes, changes or drops relations; `None` where it is none of those that are known here.
    pub(super) fn temporary(
        &mut self,
        node: &mut Node,
        kind: &'static str,
    ) -> Option<Result<(), Refusal>> {
        if let Some(done) = self.existing(node) {
            return Some(done);
        }
        Some(match node.kind {
            "CreateStmt" => self.create_table(node, kind),
            "CreateTableAsStmt" => self.create_table_as(node, kind),
            "CreateSeqStmt" => self.create_sequence(node, kind),
            "IndexStmt" => self.create_index(node, kind),
            "AlterTableStmt" => self.alter_table(node, kind),
            "RenameStmt" => self.rename(node, kind),
            "DropStmt" => self.drop_relations(node, kind),
            "TruncateStmt" => self.truncate(node, kind),
            "VacuumStmt" => self.analyze(node, kind),
            "SelectStmt" => match take_into(node) {
                Some(into) => self.select_into(node, into, kind),
                None => return None,
            },
            _ => return None,
        })
    }

    fn create_table(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        const PARTS: &[&str] = &[
            "relation",
            "table_elts",
            "options",
            "oncommit",
            "tablespacename",
            "access_method",
            "if_not_exists",
        ];
        only(node, PARTS, "CREATE TEMP TABLE of this form")?;
        let name = self.makes(node.child("relation"), kind)?;
        self.free(
            &name,
            node.child("relation")
                .map_or(-1, |relation| relation.location),
        )?;
        self.stored(|walk| {
            walk.each(node, "table_elts", |walk, element| match element.kind {
                "ColumnDef" => walk.column_definition(element),
                "Constraint" => walk.constraint(element),
                "TableLikeClause" => walk.like(element),
                _ => Err(refuse::statement("CREATE TEMP TABLE of this form")),
            })
        })?;
        self.walked(node, "options")?;
        let own_key = refers_to(node, &name);
        self.note_made(node, name, own_key)
    }

    /// Its query is substituted like every other, so what it makes holds masks.
    fn create_table_as(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        if node.int("objtype") != ObjectType::ObjectTable as i64 {
            return Err(refuse::statement("CREATE MATERIALIZED VIEW"));
        }
        let Some(mut into) = node.remove("into") else {
            return Err(refuse::judge("a statement without its target"));
        };
        let name = self.into(into.node_mut(), kind)?;
        match node.get_mut("query").and_then(Tree::node_mut) {
            Some(query) if query.kind == "SelectStmt" => {
                self.no_whole_rows(query)?;
                self.node(query)?;
            }
            Some(query) if query.kind == "ExecuteStmt" => {
                self.effects
                    .push(Effect::Execute(query.text("name").to_owned()));
                self.walked(query, "params")?;
            }
            _ => return Err(refuse::statement(kind)),
        }
        node.set("into", into);
        self.note_made(node, name, false)
    }

    fn select_into(
        &mut self,
        node: &mut Node,
        mut into: Tree,
        kind: &'static str,
    ) -> Result<(), Refusal> {
        let name = self.into(into.node_mut(), kind)?;
        self.no_whole_rows(node)?;
        self.node(node)?;
        put_into(node, into);
        self.effects.push(Effect::TemporaryMade(name));
        Ok(())
    }

    /// A template's row is a `record`, which no table can have a column of: the server's error would name neither the
    /// cause nor the way out.
    fn no_whole_rows(&self, query: &Node) -> Result<(), Refusal> {
        if self.side == Side::Run || query.get("with_clause").is_some() {
            return Ok(());
        }
        let offer = self.reader().from(query.list("from_clause"));
        for item in query.list("target_list").iter().filter_map(Tree::node) {
            let value = item.child("val").filter(|value| value.kind == "ColumnRef");
            let names = value.and_then(|value| value.names("fields"));
            let Some([name]) = names.as_deref() else {
                continue;
            };
            let relation = offer.item(name).and_then(|item| item.relation);
            let substituted = relation.is_some_and(|oid| self.rules.role.substitutes(oid));
            if substituted && offer.names_column(name) == Some(false) {
                return Err(at(
                    refuse::construct(
                        &format!("the whole row {name} as a column of a new table"),
                        &format!("take its columns, for instance {name}.*"),
                    ),
                    item.location,
                ));
            }
        }
        Ok(())
    }

    fn into(&mut self, into: Option<&mut Node>, kind: &'static str) -> Result<String, Refusal> {
        let Some(into) = into else {
            return Err(refuse::judge("a statement without its target"));
        };
        let name = self.makes(into.child("rel"), kind)?;
        self.free(
            &name,
            into.child("rel").map_or(-1, |relation| relation.location),
        )?;
        self.walked(into, "options")?;
        Ok(name)
    }

    fn create_sequence(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        let name = self.makes(node.child("sequence"), kind)?;
        self.walked(node, "options")?;
        self.note_made(node, name, false)
    }

    fn create_index(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        self.own(node, "relation", kind)?;
        for field in [
            "index_params",
            "index_including_params",
            "options",
            "where_clause",
        ] {
            self.walked(node, field)?;
        }
        match node.text("idxname").to_owned() {
            // The server finds a name that is free.
            name if name.is_empty() => Ok(()),
            name => self.note_made(node, name, false),
        }
    }

    /// The relation is the session's own once the statement has run. With IF NOT EXISTS that would say nothing: the name
    /// may be of what a function or trigger made. So the words go, unless the session made a relation of the name before,
    /// which is then left as it is. `supposed`: the name is known because the statement itself speaks of it.
    fn note_made(&mut self, node: &mut Node, name: String, supposed: bool) -> Result<(), Refusal> {
        let own = !supposed && self.rules.catalog.relation(SCHEMA, &name).is_some();
        let conditional = node.flag("if_not_exists");
        if conditional && own {
            return Ok(());
        }
        if conditional && self.side == Side::Run {
            return Err(refuse::judge(
                "IF NOT EXISTS of a name that is not known to be the session's own",
            ));
        }
        if conditional {
            self.changes.push(Change::Unconditional);
        }
        node.remove("if_not_exists");
        self.effects.push(Effect::TemporaryMade(name));
        Ok(())
    }

    /// What a constraint calls when a row is stored is given values of that row. A default sees none.
    fn keeps_nothing(&self, constraint: &Node) -> Result<(), Refusal> {
        let is_default = constraint.int("contype") == ConstrType::ConstrDefault as i64;
        match !is_default && self.rules.role.export.limits() && keeping::calls_any(constraint) {
            true => Err(refuse::construct(
                "a constraint that calls a function which keeps values where nobody would count them",
                "call nextval, advisory locks and pg_notify in a statement of their own",
            )),
            false => Ok(()),
        }
    }

    fn alter_table(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        if node.int("objtype") != ObjectType::ObjectTable as i64 {
            return Err(refuse::statement(kind));
        }
        self.own(node, "relation", kind)?;
        self.stored(|walk| walk.alterations(node))
    }

    fn alterations(&mut self, node: &mut Node) -> Result<(), Refusal> {
        self.each(node, "cmds", |walk, command| {
            let known = ALTERATIONS
                .iter()
                .any(|known| *known as i64 == command.int("subtype"));
            if !known || command.get("newowner").is_some() {
                return Err(refuse::statement("ALTER TABLE of this form"));
            }
            match command.get_mut("def").and_then(Tree::node_mut) {
                Some(column) if column.kind == "ColumnDef" => walk.column_definition(column),
                Some(constraint) if constraint.kind == "Constraint" => walk.constraint(constraint),
                Some(other) => walk.node(other),
                None => Ok(()),
            }
        })
    }

    /// Expressions that are stored run later, with statements that do not say so: they may not change a setting then.
    fn stored(
        &mut self,
        visit: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let before = self.effects.len();
        visit(self)?;
        match self
            .effects
            .iter()
            .skip(before)
            .any(|effect| *effect == Effect::SettingsChanged)
        {
            true => Err(refuse::stored_setting()),
            false => Ok(()),
        }
    }

    fn rename(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        let kinds = [ObjectType::ObjectTable, ObjectType::ObjectColumn];
        if !kinds
            .iter()
            .any(|kind| *kind as i64 == node.int("rename_type"))
            || node.get("object").is_some()
        {
            return Err(refuse::statement(kind));
        }
        let name = self.own(node, "relation", kind)?;
        if node.int("rename_type") == ObjectType::ObjectTable as i64 {
            self.free(node.text("newname"), -1)?;
            self.effects.push(Effect::TemporaryGone(Some(name)));
            self.effects
                .push(Effect::TemporaryMade(node.text("newname").to_owned()));
        }
        Ok(())
    }

    fn drop_relations(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        let kinds = [
            (ObjectType::ObjectTable, "table"),
            (ObjectType::ObjectIndex, "index"),
            (ObjectType::ObjectSequence, "sequence"),
            (ObjectType::ObjectView, "view"),
            (ObjectType::ObjectMatview, "materialized view"),
            (ObjectType::ObjectForeignTable, "foreign table"),
        ];
        let Some((_, what)) = kinds
            .into_iter()
            .find(|(kind, _)| *kind as i64 == node.int("remove_type"))
        else {
            return Err(refuse::statement(kind));
        };
        let Some(Tree::List(objects)) = node.get_mut("objects") else {
            return Err(refuse::judge("DROP without names"));
        };
        for object in objects {
            let relation = self.dropped(object, what)?;
            self.uses.push(Use {
                relation: relation.oid,
                access: Access::Write,
                at: 0,
                alias: false,
                fenced: false,
            });
            *object = Tree::List(vec![
                Tree::Text(SCHEMA.to_owned()),
                Tree::Text(relation.name.clone()),
            ]);
            self.effects
                .push(Effect::TemporaryGone(Some(relation.name.clone())));
        }
        Ok(())
    }

    /// The temporary relation that a DROP names.
    fn dropped(&self, object: &Tree, what: &str) -> Result<std::sync::Arc<Relation>, Refusal> {
        let names: Option<Vec<&str>> = object
            .items()
            .unwrap_or_default()
            .iter()
            .map(Tree::string)
            .collect();
        let catalog = self.rules.catalog;
        let (shown, found) = match names.as_deref() {
            Some([name]) if self.side == Side::Client => {
                (*name, catalog.resolve(self.rules.path, name))
            }
            Some([schema, name]) => {
                let nowhere = self.side == Side::Client && self.rules.supposed.contains(*name);
                let own = || catalog.relation(SCHEMA, name).filter(|_| nowhere);
                (*name, catalog.relation(schema, name).or_else(own))
            }
            _ => {
                return Err(refuse::statement(
                    "DROP of anything but temporary relations",
                ));
            }
        };
        match found {
            Some(relation) if relation.schema == SCHEMA => Ok(relation.clone()),
            Some(_) => Err(refuse::statement(
                "DROP of anything but temporary relations",
            )),
            None => Err(refuse::undefined(
                match what {
                    "index" | "foreign table" => "42704",
                    _ => "42P01",
                },
                format!("{what} \"{shown}\" does not exist"),
            )),
        }
    }

    /// Resolves the relation in a field, which must be temporary, and gives its name.
    fn own(&mut self, node: &mut Node, field: &str, kind: &'static str) -> Result<String, Refusal> {
        let Some(relation) = node.get_mut(field).and_then(Tree::node_mut) else {
            return Err(refuse::judge("a statement without its relation"));
        };
        self.relation(relation, Access::Write)?;
        must_be_own(relation, kind)
    }

    /// The name of a relation about to be made, which must be temporary.
    fn makes(&self, relation: Option<&Node>, kind: &'static str) -> Result<String, Refusal> {
        let Some(relation) = relation else {
            return Err(refuse::judge("a statement without its target"));
        };
        match made(relation) {
            Some(name) => Ok(name.to_owned()),
            None => Err(at(refuse::permanent(kind), relation.location)),
        }
    }

    /// A temporary table must not take a permanent one's name. Triggers and functions that do not qualify what they write
    /// to would put rows of protected relations into it, as they are: `INSERT INTO audit_log VALUES (NEW.*)`.
    fn free(&self, name: &str, location: i32) -> Result<(), Refusal> {
        match taken(self.rules.catalog, name) {
            Some(permanent) => Err(at(refuse::shadows(&permanent.full_name()), location)),
            None => Ok(()),
        }
    }

    /// LIKE takes definitions over and reads no row.
    fn like(&mut self, node: &mut Node) -> Result<(), Refusal> {
        match node.get_mut("relation").and_then(Tree::node_mut) {
            Some(relation) => self.relation(relation, Access::Lock),
            None => Err(refuse::judge("LIKE without a relation")),
        }
    }

    fn column_definition(&mut self, node: &mut Node) -> Result<(), Refusal> {
        for field in ["type_name", "raw_default", "coll_clause"] {
            self.walked(node, field)?;
        }
        if node.get("fdwoptions").is_some() {
            return Err(refuse::statement("a column with OPTIONS"));
        }
        self.each(node, "constraints", Self::constraint)
    }

    fn constraint(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let known = CONSTRAINTS
            .iter()
            .any(|known| *known as i64 == node.int("contype"));
        if node.kind != "Constraint" || !known {
            return Err(at(
                refuse::statement("a constraint of this kind"),
                node.location,
            ));
        }
        self.keeps_nothing(node)?;
        for field in ["raw_expr", "options", "where_clause"] {
            self.walked(node, field)?;
        }
        if node.get("pktable").is_some() {
            self.own(node, "pktable", "a foreign key to a permanent table")?;
        }
        Ok(())
    }

    pub(super) fn each(
        &mut self,
        node: &mut Node,
        field: &str,
        visit: impl Fn(&mut Self, &mut Node) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some(Tree::List(items)) = node.get_mut(field) else {
            return Ok(());
        };
        items.iter_mut().try_for_each(|item| match item.node_mut() {
            Some(item) => visit(self, item),
            None => Err(refuse::judge("a list holds something unknown")),
        })
    }

    pub(super) fn walked(&mut self, node: &mut Node, field: &str) -> Result<(), Refusal> {
        match node.get_mut(field) {
            Some(value) => self.tree(value),
            None => Ok(()),
        }
    }
}

/// The new value of `SET search_path` as SHOW will give it, where it is literal.
pub(super) fn search_path(values: &[Option<String>]) -> Option<Effect> {
    let elements: Option<Vec<String>> = values
        .iter()
        .map(|value| value.as_deref().map(setting_element))
        .collect();
    elements
        .filter(|elements| !elements.is_empty())
        .map(|elements| Effect::SearchPath(elements.join(", ")))
}

fn must_be_own(relation: &Node, kind: &'static str) -> Result<String, Refusal> {
    if relation.text("schemaname") == SCHEMA {
        return Ok(relation.text("relname").to_owned());
    }
    Err(at(refuse::permanent(kind), relation.location))
}

/// Whether a SELECT stores its rows.
pub(super) fn has_into(node: &Node) -> bool {
    let mut node = node;
    while let Some(left) = node.child("larg") {
        node = left;
    }
    node.get("into_clause").is_some()
}

/// Takes the INTO clause off a SELECT; of a set operation it stands in the first one (`transformSetOperationStmt` in
/// `src/backend/parser/analyze.c`).
fn take_into(node: &mut Node) -> Option<Tree> {
    match node.get_mut("larg").and_then(Tree::node_mut) {
        Some(left) => take_into(left),
        None => node.remove("into_clause"),
    }
}

fn put_into(node: &mut Node, into: Tree) {
    match node.get_mut("larg") {
        Some(Tree::Node(left)) => put_into(left, into),
        _ => node.set("into_clause", into),
    }
}

fn only(node: &Node, fields: &[&str], what: &str) -> Result<(), Refusal> {
    if node.fields.iter().all(|(name, _)| fields.contains(name)) {
        return Ok(());
    }
    Err(refuse::statement(what))
}
