//! Relations in FROM: names resolved, templates recognised and folded back.
use crate::catalog::{Relation, RelationKind};
use crate::sql::functions::{self, Objection};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::system;
use crate::sql::template::Template;
use crate::sql::tree::{Node, Tree};

use super::system_columns::take_system_columns;
use super::walk::{Walk, at, offset, own_name};
use super::{Access, Side, Use, conditions};

impl Walk<'_> {
    /// A relation that is read. A common table expression in scope is none.
    pub(super) fn read(&mut self, node: &mut Node) -> Result<(), Refusal> {
        if node.text("schemaname").is_empty()
            && node.text("catalogname").is_empty()
            && self.in_scope(node.text("relname"))
        {
            // No field of a reference to a common table expression can lead elsewhere.
            self.renamed(node);
            self.rows.other(node.goes_by());
            return Ok(());
        }
        self.relation(node, Access::Read)
    }

    /// Resolves the name, checks that the role may use the relation so, and notes the use.
    pub(super) fn relation(&mut self, node: &mut Node, access: Access) -> Result<(), Refusal> {
        let relation = self.resolve(node)?;
        if !system::readable(self.rules.role, &relation)
            || (access == Access::Write && !system::writable(&relation))
            || relation.kind == RelationKind::Other
            || (relation.extension.is_some() && relation.schema != "pg_catalog")
        {
            return Err(at(refuse::relation(&relation.full_name()), node.location));
        }
        if let Err(Objection::Runs(function)) =
            functions::check_relation(self.rules.catalog, self.rules.role, relation.oid)
        {
            return Err(at(refuse::function(&function), node.location));
        }
        if let Some(why) = self.rules.role.closed.get(&relation.oid) {
            let name = relation.full_name();
            return Err(at(refuse::closed(&name, why), node.location));
        }
        let own = node
            .child("alias")
            .map_or("", |alias| alias.text("aliasname"));
        if !self.given.contains_key(&offset(node.location)) {
            own_name(own, node.location)?;
        }
        self.renamed(node);
        let name = if own.is_empty() { &relation.name } else { own };
        self.rows.relation(name, relation.oid);
        let masked = self.rules.role.substitutes(relation.oid);
        if masked {
            let alias = node
                .child("alias")
                .map_or("", |alias| alias.text("aliasname"));
            let alias = if alias.is_empty() {
                &relation.name
            } else {
                alias
            };
            self.aliases.insert(alias.to_owned());
        }
        if self.side == Side::Run && masked && access == Access::Read {
            return Err(refuse::judge(
                "a protected relation stands outside its template",
            ));
        }
        self.uses.push(Use {
            relation: relation.oid,
            access,
            at: offset(node.location),
            alias: node.child("alias").is_some(),
            fenced: false,
        });
        let inherits = node.flag("inh");
        let alias = node.remove("alias");
        let conditions = node.remove(conditions::FIELD);
        *node = canonical(&relation, inherits, alias, node.location);
        if let Some(conditions) = conditions {
            node.set(conditions::FIELD, conditions);
        }
        Ok(())
    }

    pub(super) fn resolve(&self, node: &Node) -> Result<std::sync::Arc<Relation>, Refusal> {
        let catalog = self.rules.catalog;
        let (database, schema, name) = (
            node.text("catalogname"),
            node.text("schemaname"),
            node.text("relname"),
        );
        if !database.is_empty() && database != catalog.database {
            return Err(at(
                refuse::undefined(
                    "0A000",
                    format!(
                        "cross-database references are not implemented: \"{database}.{schema}.{name}\""
                    ),
                ),
                node.location,
            ));
        }
        let found = if schema.is_empty() {
            if self.side == Side::Run {
                return Err(refuse::judge("a relation stands without its schema"));
            }
            catalog.resolve(self.rules.path, name)
        } else {
            catalog.relation(schema, name)
        };
        found.cloned().ok_or_else(|| {
            let shown = if schema.is_empty() {
                name.to_owned()
            } else {
                format!("{schema}.{name}")
            };
            at(
                refuse::undefined("42P01", format!("relation \"{shown}\" does not exist")),
                node.location,
            )
        })
    }

    /// A subquery in FROM: a template is folded back into the relation it stands for, anything else is walked.
    pub(super) fn subselect(&mut self, node: &mut Node) -> Result<(), Refusal> {
        if self.side == Side::Run
            && !node.flag("lateral")
            && let Some(folded) = self.fold(node)?
        {
            *node = folded;
            return Ok(());
        }
        self.children(node)
    }

    /// The relation that a template stands for, if the subquery selects from a protected relation and equals its
    /// template node for node. A protected relation under anything else is refused where the walk meets it.
    fn fold(&mut self, node: &mut Node) -> Result<Option<Node>, Refusal> {
        let location = node.location;
        let Some(query) = node.get_mut("subquery").and_then(Tree::node_mut) else {
            return Ok(None);
        };
        // The sampling clause is the statement's own: it is taken off before the comparison and walked.
        let Some(sample) = take_sample(query) else {
            return Ok(None);
        };
        let Some(named) = single_relation(query) else {
            return self.put_back(query, sample);
        };
        let (schema, name) = (named.text("schemaname"), named.text("relname"));
        let only = !named.flag("inh");
        let Some(relation) = self.rules.catalog.relation(schema, name).cloned() else {
            return self.put_back(query, sample);
        };
        if !self.rules.role.substitutes(relation.oid) {
            return self.put_back(query, sample);
        }
        let template_of = self.rules.templates.get(
            self.rules.catalog.version,
            self.rules.role,
            self.rules.values,
            &relation,
            only,
        );
        let Some(template) = template_of else {
            return Err(refuse::judge("a template could not be made"));
        };
        let conditions = template_conditions(query, &template);
        let system = take_system_columns(query);
        self.system_in_templates.extend(system);
        let fenced = *query == *node_of(&template.fenced)?;
        let (true, Some(conditions)) = (fenced || *query == *node_of(&template.tree)?, conditions)
        else {
            return Err(refuse::judge(
                "a subquery over a protected relation is not its template",
            ));
        };
        let Some((found, repeats)) = self.template_conditions(&relation, conditions)? else {
            return Err(refuse::judge(
                "a template holds a condition that it may not",
            ));
        };
        let alias_name = node
            .child("alias")
            .map_or("", |alias| alias.text("aliasname"));
        self.aliases.insert(alias_name.to_owned());
        self.rows.relation(alias_name, relation.oid);
        self.renamed(node);
        let repeated = |tree: &Tree| {
            self.comparisons
                .iter()
                .any(|(alias, node)| alias == alias_name && tree.node() == Some(node))
        };
        if !repeats.iter().all(repeated) {
            return Err(refuse::judge(
                "a template holds a condition that the statement does not",
            ));
        }
        self.uses.push(Use {
            relation: relation.oid,
            access: Access::Read,
            at: offset(location),
            alias: true,
            fenced,
        });
        let alias = node.remove("alias");
        let mut folded = canonical(&relation, !only, alias, location);
        if !found.is_empty() {
            folded.set(conditions::FIELD, Tree::List(found));
        }
        Ok(Some(match sample {
            None => folded,
            Some(mut sample) => {
                sample.set("relation", Tree::Node(folded));
                self.sampling_arguments(&mut sample)?;
                sample
            }
        }))
    }

    /// Takes note of the names that an alias gives to columns: those of the relation are none any more.
    fn renamed(&mut self, node: &Node) {
        let Some(alias) = node.child("alias") else {
            return;
        };
        let names = alias.list("colnames");
        self.rows.columns(names);
        if !names.is_empty() {
            self.rows.other(alias.text("aliasname"));
        }
    }

    fn put_back(&self, query: &mut Node, sample: Option<Node>) -> Result<Option<Node>, Refusal> {
        if let Some(mut sample) = sample
            && let Some(Tree::List(items)) = query.get_mut("from_clause")
            && let Some(relation) = items.pop()
        {
            sample.set("relation", relation);
            items.push(Tree::Node(sample));
        }
        Ok(None)
    }

    /// TABLESAMPLE over a relation. Over a protected one its arguments must be constants or parameters: they move into
    /// the template.
    pub(super) fn sample(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let before = self.uses.len();
        let mut relation = node.remove("relation");
        if let Some(relation) = &mut relation {
            self.tree(relation)?;
        }
        let masked = self
            .uses
            .get(before..)
            .into_iter()
            .flatten()
            .any(|found| self.rules.role.substitutes(found.relation));
        if masked && !constant_arguments(node) {
            return Err(at(
                refuse::construct(
                    "TABLESAMPLE with a computed argument",
                    "give the sampling argument as a constant or parameter",
                ),
                node.location,
            ));
        }
        self.sampling_arguments(node)?;
        if let Some(relation) = relation {
            node.set("relation", relation);
        }
        Ok(())
    }

    fn sampling_arguments(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let method = node.names("method").unwrap_or_default();
        if !matches!(
            method.as_slice(),
            ["bernoulli" | "system"] | ["pg_catalog", "bernoulli" | "system"]
        ) {
            let shown = method.join(".");
            let refusal = match self.may_be_function(&method) {
                true => refuse::function(&format!("TABLESAMPLE {shown}")),
                false => refuse::undefined(
                    "42704",
                    format!("tablesample method {shown} does not exist"),
                ),
            };
            return Err(at(refusal, node.location));
        }
        for field in ["args", "repeatable"] {
            if let Some(value) = node.get_mut(field) {
                self.tree(value)?;
            }
        }
        Ok(())
    }

    /// Whether a function goes by that name, of whatever arguments.
    fn may_be_function(&self, names: &[&str]) -> bool {
        let (schema, name) = match names {
            [name] => (None, *name),
            [.., schema, name] => (Some(*schema), *name),
            [] => return true,
        };
        let overloads = self.rules.catalog.functions.get(name).into_iter().flatten();
        overloads.into_iter().any(|function| match schema {
            Some(schema) => function.schema == schema,
            None => self.rules.path.contains(&function.schema),
        })
    }
}

/// The relation as both readings write it: schema given, alias given.
fn canonical(relation: &Relation, inherits: bool, alias: Option<Tree>, location: i32) -> Node {
    let alias = alias.unwrap_or_else(|| {
        Tree::Node(Node::new(
            "Alias",
            vec![("aliasname", Tree::Text(relation.name.clone()))],
        ))
    });
    let mut node = Node::new(
        "RangeVar",
        vec![
            ("schemaname", Tree::Text(relation.schema.clone())),
            ("relname", Tree::Text(relation.name.clone())),
            ("inh", Tree::Bool(inherits)),
            ("alias", alias),
        ],
    );
    node.location = location;
    node
}

/// Replaces a sampled relation in FROM by the relation, and gives the sampling clause without it. `Some(None)`: there is
/// no sampling clause; `None`: FROM is not a single item.
fn take_sample(query: &mut Node) -> Option<Option<Node>> {
    let Some(Tree::List(items)) = query.get_mut("from_clause") else {
        return None;
    };
    let [item] = items.as_mut_slice() else {
        return None;
    };
    let sampled = item
        .node()
        .is_some_and(|node| node.kind == "RangeTableSample");
    if !sampled {
        return Some(None);
    }
    let relation = item.node_mut()?.remove("relation")?;
    match std::mem::replace(item, relation) {
        Tree::Node(sample) => Some(Some(sample)),
        _ => None,
    }
}

fn node_of(tree: &Tree) -> Result<&Node, Refusal> {
    tree.node()
        .ok_or_else(|| refuse::judge("a template could not be made"))
}

/// Takes WHERE off a template's query and gives the conditions in it besides the row rule; `None` where the rule is not
/// there as it should be.
fn template_conditions(query: &mut Node, template: &Template) -> Option<Vec<Tree>> {
    const AND: i64 = 1;
    let Some(clause) = query.remove("where_clause") else {
        return template.rule.is_none().then(Vec::new);
    };
    let rule = template.rule_node();
    if template.rule.is_some() && rule.is_some_and(|rule| clause.node() == Some(rule)) {
        return Some(Vec::new());
    }
    let mut conditions = match clause {
        Tree::Node(mut node) if node.kind == "BoolExpr" && node.int("boolop") == AND => {
            match node.remove("args") {
                Some(Tree::List(args)) => args,
                _ => return None,
            }
        }
        other => vec![other],
    };
    if template.rule.is_some() {
        let last = conditions.pop()?;
        if last.node() != Some(rule?) {
            return None;
        }
    }
    Some(conditions)
}

fn single_relation(query: &Node) -> Option<&Node> {
    match query.list("from_clause") {
        [item] => item.node().filter(|node| node.kind == "RangeVar"),
        _ => None,
    }
}

fn constant_arguments(sample: &Node) -> bool {
    let constant = |tree: &Tree| {
        tree.node()
            .is_some_and(|node| matches!(node.kind, "AConst" | "ParamRef"))
    };
    sample.list("args").iter().all(constant) && sample.get("repeatable").is_none_or(constant)
}
