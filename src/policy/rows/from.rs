//! Subqueries of a row rule: what they read, and by what name.
//!
//! Each relation gets an alias of pgveil's own. The rule stands beside names that a client's statement chose, and none
//! of those may come between a column and the relation it was written for.
use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeSubselect, RangeVar, SelectStmt, SetOperation};

use super::bind::{Binder, no_column};
use super::syntax::{HEAD, where_clause};
use super::{ALIAS_PREFIX, Objection, names};
use crate::catalog::Relation;
use crate::policy::mask::quote_identifier;
use crate::policy::pattern::is_system;

/// The relations of one FROM.
#[derive(Debug, Default)]
pub struct Scope {
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    /// As the rule calls it.
    name: String,
    /// Of a relation without an alias, which can be called by its schema too.
    schema: Option<String>,
    alias: String,
    /// Unknown for subqueries.
    columns: Option<Vec<String>>,
}

fn refuse(what: &str) -> Objection {
    Objection::new(format!("a subquery of a row rule cannot hold {what}"))
}

impl Binder<'_> {
    pub fn query(&mut self, select: &mut SelectStmt) -> Result<(), Objection> {
        let refused = [
            ("INTO", select.into_clause.is_some()),
            ("WITH", select.with_clause.is_some()),
            ("WINDOW", !select.window_clause.is_empty()),
            ("VALUES", !select.values_lists.is_empty()),
            ("FOR UPDATE", !select.locking_clause.is_empty()),
        ];
        if let Some((what, _)) = refused.into_iter().find(|(_, found)| *found) {
            return Err(refuse(&format!("`{what}`")));
        }
        if select.op() != SetOperation::SetopNone {
            for side in [&mut select.larg, &mut select.rarg].into_iter().flatten() {
                self.query(side)?;
            }
            if !select.sort_clause.is_empty() {
                return Err(refuse("`ORDER BY` over a set operation"));
            }
            self.maybe(&mut select.limit_count)?;
            return self.maybe(&mut select.limit_offset);
        }
        let mut scope = Scope::default();
        for item in &mut select.from_clause {
            self.item(item, &mut scope)?;
        }
        self.scopes.push(scope);
        let done = self.clauses(select);
        self.scopes.pop();
        done
    }

    fn clauses(&mut self, select: &mut SelectStmt) -> Result<(), Objection> {
        for item in &mut select.from_clause {
            self.join_conditions(item)?;
        }
        for target in &mut select.target_list {
            self.target(target)?;
        }
        self.maybe(&mut select.where_clause)?;
        // DISTINCT without ON is a list of one empty node.
        self.all(&mut select.distinct_clause)?;
        self.all(&mut select.group_clause)?;
        self.maybe(&mut select.having_clause)?;
        self.sort(&mut select.sort_clause)?;
        self.maybe(&mut select.limit_count)?;
        self.maybe(&mut select.limit_offset)
    }

    fn target(&mut self, target: &mut Node) -> Result<(), Objection> {
        let Some(NodeEnum::ResTarget(target)) = target.node.as_mut() else {
            return Err(refuse("this kind of output"));
        };
        if let Some(NodeEnum::ColumnRef(column)) =
            target.val.as_mut().and_then(|value| value.node.as_mut())
            && let Some((star, tables)) = column.fields.split_last_mut()
            && matches!(star.node, Some(NodeEnum::AStar(_)))
        {
            return self.star(tables);
        }
        self.maybe(&mut target.val)
    }

    /// `*` or `table.*`.
    fn star(&self, tables: &mut [Node]) -> Result<(), Objection> {
        match tables {
            [] => Ok(()),
            [table] => {
                let name = names::string(table).unwrap_or_default();
                let alias = self.alias_of(None, name).ok_or_else(|| {
                    Objection::new(format!("`{name}.*` names no relation of the subquery"))
                })?;
                *table = names::name(&alias);
                Ok(())
            }
            _ => Err(refuse("`schema.table.*`")),
        }
    }

    pub fn sort(&mut self, sort: &mut [Node]) -> Result<(), Objection> {
        for item in sort {
            match item.node.as_mut() {
                Some(NodeEnum::SortBy(sort)) if sort.use_op.is_empty() => {
                    self.maybe(&mut sort.node)?;
                }
                _ => return Err(refuse("`ORDER BY ... USING`")),
            }
        }
        Ok(())
    }

    /// Names what FROM holds; conditions of joins come when all of it has a name.
    fn item(&mut self, item: &mut Node, scope: &mut Scope) -> Result<(), Objection> {
        match item.node.as_mut() {
            Some(NodeEnum::RangeVar(relation)) => {
                let stand_in = self.relation(relation, scope)?;
                if let Some(stand_in) = stand_in {
                    item.node = Some(stand_in);
                }
                Ok(())
            }
            Some(NodeEnum::RangeSubselect(query)) => {
                if query.lateral {
                    return Err(refuse("`LATERAL`"));
                }
                let name = plain_alias(query.alias.as_ref())?
                    .ok_or_else(|| refuse("a query in FROM without an alias"))?;
                match query.subquery.as_mut().and_then(|node| node.node.as_mut()) {
                    Some(NodeEnum::SelectStmt(select)) => self.query(select)?,
                    _ => return Err(refuse("this kind of query in FROM")),
                }
                let alias = self.fresh();
                query.alias = Some(alias_node(&alias));
                scope.tables.push(Table {
                    name,
                    schema: None,
                    alias,
                    columns: None,
                });
                Ok(())
            }
            Some(NodeEnum::JoinExpr(join)) => {
                if join.is_natural || !join.using_clause.is_empty() {
                    return Err(refuse("`NATURAL` or `USING`").suggest("write `ON a.x = b.x`"));
                }
                if join.alias.is_some() {
                    return Err(refuse("an alias for a join"));
                }
                for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
                    self.item(side, scope)?;
                }
                Ok(())
            }
            _ => Err(refuse("anything but relations, queries and joins in FROM")),
        }
    }

    /// Gives what is to stand there instead, if anything is.
    fn relation(
        &mut self,
        relation: &mut RangeVar,
        scope: &mut Scope,
    ) -> Result<Option<NodeEnum>, Objection> {
        if relation.schemaname.is_empty() || !relation.catalogname.is_empty() {
            return Err(Objection::new(format!(
                "the relation `{}` needs its schema",
                relation.relname
            ))
            .suggest(format!("write `schema.{}`", relation.relname)));
        }
        let full_name = format!("{}.{}", relation.schemaname, relation.relname);
        let found = self
            .catalog
            .relation(&relation.schemaname, &relation.relname)
            .ok_or_else(|| Objection::new(format!("the relation `{full_name}` does not exist")))?;
        let named = plain_alias(relation.alias.as_ref())?;
        let alias = self.fresh();
        relation.alias = Some(alias_node(&alias));
        self.read.push((alias.clone(), found.oid));
        // Everybody may name those of the system.
        let stand_in = match self.apart && !is_system(&found.schema) {
            true => Some(nulls(found, &alias)?),
            false => None,
        };
        scope.tables.push(Table {
            schema: named.is_none().then(|| relation.schemaname.clone()),
            name: named.unwrap_or_else(|| relation.relname.clone()),
            alias,
            columns: Some(
                found
                    .columns
                    .iter()
                    .map(|column| column.name.clone())
                    .collect(),
            ),
        });
        Ok(stand_in)
    }

    fn join_conditions(&mut self, item: &mut Node) -> Result<(), Objection> {
        let Some(NodeEnum::JoinExpr(join)) = item.node.as_mut() else {
            return Ok(());
        };
        for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
            self.join_conditions(side)?;
        }
        self.maybe(&mut join.quals)
    }

    fn fresh(&mut self) -> String {
        self.aliases += 1;
        format!("{ALIAS_PREFIX}{}", self.aliases)
    }

    fn lookup(&self, schema: Option<&str>, name: &str) -> Option<&Table> {
        self.scopes.iter().rev().find_map(|scope| {
            scope.tables.iter().find(|table| {
                table.name == name && (schema.is_none() || table.schema.as_deref() == schema)
            })
        })
    }

    fn alias_of(&self, schema: Option<&str>, name: &str) -> Option<String> {
        self.lookup(schema, name).map(|table| table.alias.clone())
    }

    /// The alias under which a subquery around the place has that column, if one of them names the table.
    pub fn from(
        &self,
        schema: Option<&str>,
        table: &str,
        column: &str,
    ) -> Result<Option<String>, Objection> {
        let Some(found) = self.lookup(schema, table) else {
            return Ok(None);
        };
        if let Some(columns) = &found.columns
            && !columns.iter().any(|known| known == column)
        {
            return Err(no_column(table, column, columns.iter().map(String::as_str)));
        }
        Ok(Some(found.alias.clone()))
    }
}

/// The name of an alias without a column list.
fn plain_alias(alias: Option<&Alias>) -> Result<Option<String>, Objection> {
    match alias {
        Some(alias) if alias.colnames.is_empty() => Ok(Some(alias.aliasname.clone())),
        Some(_) => Err(refuse("an alias with a list of columns")),
        None => Ok(None),
    }
}

/// A query that has the columns of a relation, and no row of it.
fn nulls(relation: &Relation, alias: &str) -> Result<NodeEnum, Objection> {
    let columns: Vec<String> = relation
        .columns
        .iter()
        .map(|column| {
            let name = quote_identifier(&column.name);
            format!("NULL::{} AS {name}", column.type_sql)
        })
        .collect();
    let sql = format!("{HEAD}EXISTS (SELECT {})", columns.join(", "));
    match where_clause(&sql)?.node {
        Some(NodeEnum::SubLink(link)) => Ok(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
            lateral: false,
            subquery: link.subselect,
            alias: Some(alias_node(alias)),
        }))),
        _ => Err(refuse("a relation of these columns")),
    }
}

fn alias_node(name: &str) -> Alias {
    Alias {
        aliasname: name.to_owned(),
        colnames: Vec::new(),
    }
}
