//! Statements as a whole: which kinds a restricted role may send, and what they do to the session.
use pg_query::protobuf::DiscardMode;

use crate::policy::system::closes_counters;
use crate::sql::names::quoted;
use crate::sql::plan::{Effect, Refusal};
use crate::sql::refuse;
use crate::sql::system;
use crate::sql::template;
use crate::sql::tree::{Node, Tree};

use super::walk::{Walk, at, string_constant};
use super::{Access, Side};
use crate::catalog::RelationKind;

/// The option of EXPLAIN with which the statement runs; whatever its value.
pub(super) fn is_analyze(option: &Tree) -> bool {
    option
        .node()
        .is_some_and(|option| option.text("defname") == "analyze")
}

/// The value of an option that is on or off (`defGetBoolean`, commands/define.c); what is neither is an error to the server.
fn is_on(option: &Node) -> bool {
    let Some(value) = option.child("arg") else {
        return true;
    };
    let text = match value.kind {
        "Integer" => return value.int("ival") != 0,
        _ => option.get("arg").and_then(Tree::string),
    };
    !text.is_some_and(|text| {
        ["false", "off"]
            .iter()
            .any(|off| off.eq_ignore_ascii_case(text))
    })
}

/// The setting by which a person says what an export is for.
const REASON: &str = "pgveil.reason";

impl Walk<'_> {
    /// Walks a statement and names its kind.
    pub(super) fn statement(&mut self, tree: &mut Tree) -> Result<&'static str, Refusal> {
        let Some(node) = tree.node_mut() else {
            return Err(refuse::judge("an empty statement"));
        };
        let kind = kind(node);
        if let Some(done) = self.temporary(node, kind) {
            done?;
            self.note_stored(node)?;
            return Ok(kind);
        }
        match node.kind {
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                self.setting = self.fixed_setting(node);
                if node.kind == "SelectStmt" && self.rules.declared.is_some() {
                    self.bound_once = super::named_later::once(node);
                }
                self.node(node)?;
            }
            "TransactionStmt" => self.transaction(node, kind)?,
            "VariableSetStmt" => self.set(node)?,
            "VariableShowStmt" | "ListenStmt" | "UnlistenStmt" | "NotifyStmt" => {}
            "ConstraintsSetStmt" => {
                // Triggers that were deferred run now.
                self.effects.push(Effect::RunsCode);
                self.constraints(node)?;
            }
            "DiscardStmt" => {
                // DISCARD ALL and DISCARD TEMP; the first also drops statements and cursors.
                let target = node.int("target");
                if target == DiscardMode::DiscardAll as i64 {
                    self.effects.push(Effect::Deallocate(None));
                    self.effects.push(Effect::CloseCursor(None));
                    self.effects.push(Effect::SettingsChanged);
                }
                if [
                    DiscardMode::DiscardAll as i64,
                    DiscardMode::DiscardTemp as i64,
                ]
                .contains(&target)
                {
                    self.effects.push(Effect::TemporaryGone(None));
                }
            }
            "PrepareStmt" => {
                self.effects
                    .push(Effect::Prepare(node.text("name").to_owned()));
                self.children_statement(node, "query")?;
                self.field(node, "argtypes")?;
            }
            "ExecuteStmt" => {
                self.casts(node, true)?;
                self.effects
                    .push(Effect::Execute(node.text("name").to_owned()));
                self.field(node, "params")?;
            }
            "DeallocateStmt" => {
                let name = node.text("name");
                let name = (!name.is_empty()).then(|| name.to_owned());
                self.effects.push(Effect::Deallocate(name));
            }
            "DeclareCursorStmt" => {
                self.effects.push(Effect::declares(node));
                self.children_statement(node, "query")?;
            }
            "FetchStmt" => self
                .effects
                .push(Effect::Fetch(node.text("portalname").to_owned())),
            "ClosePortalStmt" => {
                let name = node.text("portalname");
                let name = (!name.is_empty()).then(|| name.to_owned());
                self.effects.push(Effect::CloseCursor(name));
            }
            "CopyStmt" => {
                self.effects.extend(Effect::of_copy(node));
                self.copy(node)?;
            }
            "LockStmt" => self.lock(node)?,
            "ExplainStmt" => self.explain(node)?,
            _ => return Err(refuse::statement(kind)),
        }
        self.note_stored(node)?;
        Ok(kind)
    }

    /// A statement within a statement: PREPARE, DECLARE and EXPLAIN carry one.
    fn children_statement(&mut self, node: &mut Node, field: &str) -> Result<(), Refusal> {
        let inner = node.get_mut(field).and_then(Tree::node_mut);
        match inner {
            Some(inner)
                if matches!(
                    inner.kind,
                    "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt"
                ) =>
            {
                self.node(inner)
            }
            Some(inner) => Err(refuse::statement(kind(inner))),
            None => Err(refuse::judge("a statement without its inner statement")),
        }
    }

    fn transaction(&mut self, node: &Node, kind: &'static str) -> Result<(), Refusal> {
        self.transaction_modes(node.list("options"))?;
        self.effects.extend(Effect::of_transaction(node));
        match node.int("kind") {
            // PREPARE TRANSACTION and what ends one: the session's work would outlive it.
            8..=10 => Err(refuse::statement(kind)),
            4 | 7 => {
                self.effects.push(Effect::SettingsChanged);
                Ok(())
            }
            1..=6 => Ok(()),
            _ => Err(refuse::statement(kind)),
        }
    }

    /// Modes of BEGIN, SET TRANSACTION and SET SESSION CHARACTERISTICS.
    fn transaction_modes(&self, modes: &[Tree]) -> Result<(), Refusal> {
        for mode in modes.iter().filter_map(Tree::node) {
            let value = mode.child("arg").and_then(setting_value);
            let value = value.unwrap_or_default();
            if let Some(why) = self.setting_objection(mode.text("defname"), &value) {
                return Err(at(
                    refuse::setting(mode.text("defname"), why),
                    mode.location,
                ));
            }
        }
        Ok(())
    }

    /// What there is against a value of a setting, for this role.
    pub(super) fn setting_objection(&self, name: &str, value: &str) -> Option<&'static str> {
        system::objection(self.rules.role, self.rules.user, name, value)
    }

    fn set(&mut self, node: &mut Node) -> Result<(), Refusal> {
        const VALUE: i64 = 1;
        const MULTI: i64 = 4;
        let name = node.text("name").to_owned();
        let values: Vec<Option<String>> = node
            .list("args")
            .iter()
            .map(|value| value.node().and_then(setting_value))
            .collect();
        match node.int("kind") {
            // SET TRANSACTION and SET SESSION CHARACTERISTICS: their arguments are modes.
            MULTI => return self.transaction_modes(node.list("args")),
            VALUE => {
                for value in &values {
                    if let Some(why) =
                        self.setting_objection(&name, value.as_deref().unwrap_or(system::ANY_VALUE))
                    {
                        return Err(at(refuse::setting(&name, why), node.location));
                    }
                }
            }
            _ => {
                if let Some(why) = system::setting_objection(&name, None) {
                    return Err(at(refuse::setting(&name, why), node.location));
                }
            }
        }
        if name.eq_ignore_ascii_case(REASON) {
            let value = values.first().cloned().flatten();
            self.effects.push(Effect::Reason(value));
            return Ok(());
        }
        self.effects.push(Effect::SettingsChanged);
        if name.eq_ignore_ascii_case("search_path") && node.int("kind") == VALUE {
            self.effects.extend(super::temporary::search_path(&values));
        }
        Ok(())
    }

    fn constraints(&mut self, node: &Node) -> Result<(), Refusal> {
        let plain = node
            .list("constraints")
            .iter()
            .all(|item| item.node().is_some_and(|node| node.kind == "RangeVar"));
        if plain {
            Ok(())
        } else {
            Err(refuse::statement("SET CONSTRAINTS"))
        }
    }

    fn lock(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let Some(Tree::List(relations)) = node.get_mut("relations") else {
            return Ok(());
        };
        for relation in relations {
            let Some(relation) = relation.node_mut().filter(|node| node.kind == "RangeVar") else {
                return Err(refuse::judge("LOCK names something that is no relation"));
            };
            self.relation(relation, Access::Lock)?;
        }
        Ok(())
    }

    fn explain(&mut self, node: &mut Node) -> Result<(), Refusal> {
        if let Some(execute) = node
            .child("query")
            .filter(|inner| inner.kind == "ExecuteStmt")
        {
            return self.explain_execute(node, execute.text("name").to_owned());
        }
        self.children_statement(node, "query")?;
        // The rows that come back are the plan.
        self.hidden_rows = false;
        self.field(node, "options")?;
        let role = self.rules.role;
        // How many rows of a system relation a rule took away is told when it runs.
        let runs = node.list("options").iter().any(is_analyze);
        let protected = self.uses.iter().any(|found| {
            role.protected.contains(&found.relation)
                || (runs && role.rows.contains_key(&found.relation))
        });
        if protected && !self.rules.role.statements.contains("explain") {
            return Err(refuse::explain());
        }
        self.counts_blocks(node)
    }

    /// Which blocks were in the cache tells which ones a plan has read for rows that the role does not see.
    fn counts_blocks(&self, explain: &Node) -> Result<(), Refusal> {
        /// ANALYZE counts them unless it is told not to.
        const BY_ITSELF: u32 = 180_000;
        let options = explain.list("options").iter().filter_map(Tree::node);
        let last = |name: &str| {
            let mut of_name = options
                .clone()
                .filter(|option| option.text("defname") == name);
            of_name.next_back().map(is_on)
        };
        let by_itself =
            self.rules.catalog.server_version >= BY_ITSELF && last("analyze") == Some(true);
        match last("buffers").unwrap_or(by_itself) && closes_counters(self.rules.role) {
            true => Err(refuse::construct(
                "EXPLAIN with BUFFERS",
                "which blocks are in the cache depends on rows that the role does not see, or that are counted; say BUFFERS OFF",
            )),
            false => Ok(()),
        }
    }

    /// The plan of a prepared statement, which drivers ask for to describe it. The session holds it to what EXPLAIN of the
    /// statement itself may do.
    fn explain_execute(&mut self, node: &mut Node, name: String) -> Result<(), Refusal> {
        let runs = node.list("options").iter().any(is_analyze);
        self.field(node, "options")?;
        let Some(execute) = node.get_mut("query").and_then(Tree::node_mut) else {
            return Err(refuse::judge("a statement without its inner statement"));
        };
        if runs {
            return Err(refuse::statement(kind(execute)));
        }
        self.casts(execute, true)?;
        self.field(execute, "params")?;
        self.effects.push(Effect::Explain(name));
        self.counts_blocks(node)
    }

    /// COPY to or from the client. `COPY relation TO` becomes COPY of a query in the canonical form.
    fn copy(&mut self, node: &mut Node) -> Result<(), Refusal> {
        if node.flag("is_program") || !node.text("filename").is_empty() {
            return Err(refuse::statement("COPY to or from a file or program"));
        }
        self.field(node, "options")?;
        if node.get("query").is_some() {
            self.children_statement(node, "query")?;
            if self.hidden_rows {
                // The server would find the RETURNING of the check.
                let message = "COPY query must have a RETURNING clause".to_owned();
                return Err(refuse::undefined("0A000", message));
            }
            return Ok(());
        }
        let mut relation = match node.remove("relation") {
            Some(Tree::Node(relation)) => relation,
            _ => return Err(refuse::judge("COPY without a relation")),
        };
        if node.flag("is_from") {
            self.relation(&mut relation, Access::Write)?;
            let written = self.uses.last().map(|found| found.relation);
            let written = written.and_then(|oid| self.rules.catalog.relations.get(&oid));
            if let Some(written) = written.cloned() {
                self.probes(node, &written, relation.location)?;
            }
            let ruled = |found: &super::Use| self.rules.role.rows.contains_key(&found.relation);
            if self.uses.last().is_some_and(ruled) {
                return Err(refuse::construct(
                    "COPY into a relation under a row rule",
                    "use INSERT: its rows can be checked",
                ));
            }
            // WHERE is about the rows that come in.
            self.field(node, "where_clause")?;
            node.set("relation", Tree::Node(relation));
            return Ok(());
        }
        self.copy_out(node, relation)
    }

    fn copy_out(&mut self, node: &mut Node, mut named: Node) -> Result<(), Refusal> {
        let location = named.location;
        // On the side that runs, a protected relation is copied as a query; what is left here is unprotected.
        self.relation(&mut named, Access::Read)?;
        let found = self
            .uses
            .last()
            .and_then(|found| self.rules.catalog.relations.get(&found.relation))
            .cloned();
        let Some(relation) = found else {
            return Err(refuse::judge("COPY without a relation"));
        };
        if !self.rules.role.substitutes(relation.oid) {
            node.set("relation", Tree::Node(named));
            return Ok(());
        }
        if !matches!(relation.kind, RelationKind::Table) {
            return Err(at(
                refuse::construct(
                    "COPY of a relation that is no plain table",
                    "use COPY (SELECT ...) TO STDOUT",
                ),
                location,
            ));
        }
        debug_assert_eq!(self.side, Side::Client);
        let listed = node.remove("attlist");
        let columns: Vec<String> = match &listed {
            Some(list) => list
                .list()
                .iter()
                .filter_map(Tree::string)
                .map(str::to_owned)
                .collect(),
            None => relation
                .columns
                .iter()
                .filter(|column| column.generated_from.is_empty())
                .map(|column| column.name.clone())
                .collect(),
        };
        let text = format!(
            "SELECT {} FROM ONLY {}",
            columns
                .iter()
                .map(|name| quoted(name))
                .collect::<Vec<_>>()
                .join(", "),
            crate::sql::names::qualified(&relation.schema, &relation.name),
        );
        let mut query = template::single(&text)
            .ok_or_else(|| refuse::judge("the query of COPY could not be built"))?;
        // The use was noted above, with the place in the client's text.
        let before = self.uses.len();
        self.tree(&mut query)?;
        self.uses.truncate(before);
        node.set("query", query);
        Ok(())
    }
}

/// The value of a setting as text: a literal, a number or a bare word.
fn setting_value(node: &Node) -> Option<String> {
    if let Some(text) = string_constant(node) {
        return Some(text.to_owned());
    }
    let value = node.child("val")?;
    match value.kind {
        "Integer" => Some(value.int("ival").to_string()),
        "Float" => Some(value.text("fval").to_owned()),
        "Boolean" => Some(value.flag("boolval").to_string()),
        _ => None,
    }
}

/// The statement's kind in the words of its command tag.
pub(super) fn kind(node: &Node) -> &'static str {
    match node.kind {
        "SelectStmt" if super::temporary::has_into(node) => "SELECT INTO",
        "SelectStmt" => "SELECT",
        "InsertStmt" => "INSERT",
        "UpdateStmt" => "UPDATE",
        "DeleteStmt" => "DELETE",
        "MergeStmt" => "MERGE",
        "TransactionStmt" => match node.int("kind") {
            1 | 2 => "BEGIN",
            3 => "COMMIT",
            4 | 7 => "ROLLBACK",
            5 => "SAVEPOINT",
            6 => "RELEASE",
            8 => "PREPARE TRANSACTION",
            9 => "COMMIT PREPARED",
            10 => "ROLLBACK PREPARED",
            _ => "TRANSACTION",
        },
        "VariableSetStmt" if matches!(node.int("kind"), 5 | 6) => "RESET",
        "VariableSetStmt" => "SET",
        "VariableShowStmt" => "SHOW",
        "ConstraintsSetStmt" => "SET CONSTRAINTS",
        "DiscardStmt" => "DISCARD",
        "PrepareStmt" => "PREPARE",
        "ExecuteStmt" => "EXECUTE",
        "DeallocateStmt" => "DEALLOCATE",
        "DeclareCursorStmt" => "DECLARE CURSOR",
        "FetchStmt" if node.flag("ismove") => "MOVE",
        "FetchStmt" => "FETCH",
        "ClosePortalStmt" => "CLOSE",
        "CopyStmt" => "COPY",
        "LockStmt" => "LOCK TABLE",
        "ExplainStmt" => "EXPLAIN",
        "ListenStmt" => "LISTEN",
        "UnlistenStmt" => "UNLISTEN",
        "NotifyStmt" => "NOTIFY",
        "DoStmt" => "DO",
        "CallStmt" => "CALL",
        "CreateStmt" => "CREATE TABLE",
        "CreateTableAsStmt" => "CREATE TABLE AS",
        "ViewStmt" => "CREATE VIEW",
        "IndexStmt" => "CREATE INDEX",
        "CreateFunctionStmt" => "CREATE FUNCTION",
        "CreateTrigStmt" => "CREATE TRIGGER",
        "RuleStmt" => "CREATE RULE",
        "AlterTableStmt" => "ALTER TABLE",
        "RenameStmt" => "ALTER ... RENAME",
        "DropStmt" => "DROP",
        "TruncateStmt" => "TRUNCATE",
        "GrantStmt" | "GrantRoleStmt" => "GRANT",
        "CreateRoleStmt" => "CREATE ROLE",
        "AlterRoleStmt" | "AlterRoleSetStmt" => "ALTER ROLE",
        "VacuumStmt" if !node.flag("is_vacuumcmd") => "ANALYZE",
        "VacuumStmt" => "VACUUM",
        "CreateSeqStmt" => "CREATE SEQUENCE",
        "RefreshMatViewStmt" => "REFRESH MATERIALIZED VIEW",
        "LoadStmt" => "LOAD",
        "CreateExtensionStmt" => "CREATE EXTENSION",
        "CreateSchemaStmt" => "CREATE SCHEMA",
        "CommentStmt" => "COMMENT",
        "CheckPointStmt" => "CHECKPOINT",
        "ReindexStmt" => "REINDEX",
        "ClusterStmt" => "CLUSTER",
        _ => "this statement",
    }
}

/// Kind of a statement of an unrestricted session.
pub fn statement_kind(tree: &Tree) -> &'static str {
    tree.node().map_or("this statement", kind)
}
