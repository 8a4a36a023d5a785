//! The items of FROM: relations, queries, functions, joins.
use pg_query::NodeEnum;
use pg_query::protobuf::{self, JoinExpr, JoinType, Node, RangeFunction, RangeTableFunc, RangeVar};

use super::expression::Place;
use super::purity::string;
use super::query::Analysis;
use super::scope::{Alias, Output, Scope, Table};
use super::source::{Named, Reads, Source};

/// What FROM adds to its query besides names.
#[derive(Default)]
pub struct Gathered {
    /// Join conditions, and the conditions of queries below.
    pub conditions: Reads,
    /// Everything that queries and functions below read.
    pub reads: Reads,
}

impl Analysis<'_> {
    /// One item. `plain` holds what a query may see that is not LATERAL, `lateral` also the items to the left.
    pub fn table(
        &self,
        node: &Node,
        plain: &Scope,
        lateral: &Scope,
        gathered: &mut Gathered,
    ) -> Table {
        let Some(_deeper) = self.deeper() else {
            return unknown_table(None);
        };
        match &node.node {
            Some(NodeEnum::RangeVar(relation)) => self.relation(relation, plain, gathered),
            Some(NodeEnum::RangeSubselect(query)) => {
                let scope = if query.lateral { lateral } else { plain };
                let output = self.subquery(query.subquery.as_deref(), Some(scope));
                query_table(&output, query.alias.as_ref(), "", gathered)
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join, plain, lateral, gathered),
            Some(NodeEnum::RangeFunction(function)) => self.function(function, lateral, gathered),
            Some(NodeEnum::RangeTableFunc(function)) => {
                self.table_function(function, lateral, gathered)
            }
            Some(NodeEnum::RangeTableSample(sample)) => {
                let mut reads = Reads::default();
                self.read_all(&sample.args, &place(lateral), &mut reads);
                self.read_all(sample.repeatable.as_deref(), &place(lateral), &mut reads);
                gathered.conditions.add(&reads);
                match sample.relation.as_deref() {
                    Some(relation) => self.table(relation, plain, lateral, gathered),
                    None => unknown_table(None),
                }
            }
            _ => unknown_table(None),
        }
    }

    fn relation(&self, name: &RangeVar, scope: &Scope, gathered: &mut Gathered) -> Table {
        let alias = name.alias.as_ref();
        // Only common table expressions and pg_catalog's relations come without a schema.
        if name.schemaname.is_empty()
            && let Some(output) = scope.cte(&name.relname)
        {
            return query_table(output, alias, &name.relname, gathered);
        }
        let schema = if name.schemaname.is_empty() {
            "pg_catalog"
        } else {
            &name.schemaname
        };
        let Some(relation) = self.catalog.relation(schema, &name.relname) else {
            return unknown_table(Some(alias.map_or(&name.relname, |alias| &alias.aliasname)));
        };
        let columns = relation
            .columns
            .iter()
            .map(|column| (column.name.clone(), Source::Same(relation.oid, column.num)));
        let mut output = Output {
            columns: columns.collect(),
            ..Output::default()
        };
        output.rename(&column_aliases(alias));
        Table::single(Alias {
            name: alias
                .map_or(&name.relname, |alias| &alias.aliasname)
                .clone(),
            open: output.open.then(Source::unknown),
            columns: output.columns,
            relation: true,
        })
    }

    fn join(
        &self,
        join: &JoinExpr,
        plain: &Scope,
        lateral: &Scope,
        gathered: &mut Gathered,
    ) -> Table {
        let (Some(left), Some(right)) = (join.larg.as_deref(), join.rarg.as_deref()) else {
            return unknown_table(None);
        };
        let left = self.table(left, plain, lateral, gathered);
        let beside_left = Scope {
            parent: Some(lateral),
            tables: vec![left],
            ctes: Vec::new(),
        };
        let right = self.table(right, plain, &beside_left, gathered);
        let left = beside_left.tables.into_iter().next().unwrap_or_default();

        let using: Vec<String> = if join.is_natural {
            let common = left
                .columns
                .iter()
                .filter(|(name, _)| find(&right.columns, name).is_some());
            common.map(|(name, _)| name.clone()).collect()
        } else {
            join.using_clause
                .iter()
                .filter_map(string)
                .map(str::to_owned)
                .collect()
        };
        let merged = self.merge_columns(&left, &right, &using, join.jointype());
        for name in &using {
            for side in [&left, &right] {
                gathered.conditions.add_source(&side_column(side, name));
            }
        }
        let open = match (&left.open, &right.open) {
            (None, None) => None,
            _ => Some(Source::unknown()),
        };
        let mut aliases = left.aliases;
        aliases.extend(right.aliases);
        if let Some(alias) = &join.join_using_alias {
            let columns = merged.iter().take(using.len()).cloned().collect();
            aliases.push(Alias {
                name: alias.aliasname.clone(),
                columns,
                open: None,
                relation: false,
            });
        }
        let joined = Table {
            aliases,
            columns: merged,
            open,
        };

        let both = Scope {
            parent: Some(lateral),
            tables: vec![joined],
            ctes: Vec::new(),
        };
        self.read_all(
            join.quals.as_deref(),
            &place(&both),
            &mut gathered.conditions,
        );
        let joined = both.tables.into_iter().next().unwrap_or_default();
        match &join.alias {
            // The alias of a join hides the names below it.
            Some(alias) => {
                let mut output = Output {
                    columns: joined.columns,
                    ..Output::default()
                };
                output.rename(&column_aliases(Some(alias)));
                let open = if output.open {
                    Some(Source::unknown())
                } else {
                    joined.open
                };
                Table::single(Alias {
                    name: alias.aliasname.clone(),
                    columns: output.columns,
                    open,
                    relation: false,
                })
            }
            None => joined,
        }
    }

    /// A function's columns are all computed from all its arguments.
    fn function(&self, function: &RangeFunction, scope: &Scope, gathered: &mut Gathered) -> Table {
        let mut reads = Reads::default();
        let mut own_name = None;
        let mut listed: Vec<String> = column_definitions(&function.coldeflist);
        for item in &function.functions {
            let Some(NodeEnum::List(pair)) = &item.node else {
                return unknown_table(None);
            };
            let [call, definitions] = pair.items.as_slice() else {
                return unknown_table(None);
            };
            self.read(call, &place(scope), &mut reads);
            if let Some(NodeEnum::FuncCall(call)) = &call.node {
                own_name = call.funcname.last().and_then(string);
            }
            if let Some(NodeEnum::List(definitions)) = &definitions.node {
                listed.extend(column_definitions(&definitions.items));
            }
        }
        gathered.reads.add(&reads);
        let alias = function.alias.as_ref();
        let name = alias.map_or(own_name.unwrap_or_default(), |alias| &alias.aliasname);
        let names = match column_aliases(alias) {
            names if !names.is_empty() => names,
            // A function that yields a scalar names its column after itself or its alias.
            _ if listed.is_empty() => vec![name.to_owned()],
            _ => listed,
        };
        let source = Source::Computed(reads);
        Table::single(Alias {
            name: name.to_owned(),
            columns: names
                .into_iter()
                .map(|name| (name, source.clone()))
                .collect(),
            // The definition need not list all of them.
            open: Some(source),
            relation: false,
        })
    }

    /// XMLTABLE.
    fn table_function(
        &self,
        function: &RangeTableFunc,
        scope: &Scope,
        gathered: &mut Gathered,
    ) -> Table {
        let mut reads = Reads::default();
        self.read_all(function.docexpr.as_deref(), &place(scope), &mut reads);
        self.read_all(function.rowexpr.as_deref(), &place(scope), &mut reads);
        self.read_all(&function.namespaces, &place(scope), &mut reads);
        for column in &function.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = &column.node else {
                return unknown_table(None);
            };
            self.read_all(column.colexpr.as_deref(), &place(scope), &mut reads);
            self.read_all(column.coldefexpr.as_deref(), &place(scope), &mut reads);
            reads.unknown |= column
                .type_name
                .as_ref()
                .is_some_and(|name| !self.purity.cast(name));
        }
        gathered.reads.add(&reads);
        let source = Source::Computed(reads);
        Table::single(Alias {
            name: function
                .alias
                .as_ref()
                .map_or_else(String::new, |alias| alias.aliasname.clone()),
            columns: column_aliases(function.alias.as_ref())
                .into_iter()
                .map(|name| (name, source.clone()))
                .collect(),
            open: Some(source),
            relation: false,
        })
    }
}

impl Analysis<'_> {
    /// The columns of a join as an unqualified name sees them: merged ones first (transformFromClauseItem and
    /// buildMergedJoinVar in parse_clause.c).
    fn merge_columns(
        &self,
        left: &Table,
        right: &Table,
        using: &[String],
        kind: JoinType,
    ) -> Vec<Named> {
        let merged = using.iter().map(|name| {
            let (left, right) = (side_column(left, name), side_column(right, name));
            let source = match kind {
                JoinType::JoinLeft => left,
                JoinType::JoinRight => right,
                // An inner join shows the side that needs no coercion, and what is equal need not be the same.
                JoinType::JoinInner if self.same_type(&left, &right) => left,
                _ => left.or(&right),
            };
            (name.clone(), source)
        });
        let rest = left.columns.iter().chain(&right.columns);
        let rest = rest.filter(|(name, _)| !using.contains(name)).cloned();
        merged.chain(rest).collect()
    }

    fn same_type(&self, one: &Source, other: &Source) -> bool {
        let type_of = |source: &Source| match source {
            Source::Same(relation, column) => {
                let relation = self.catalog.relations.get(relation)?;
                Some(relation.column_number(*column)?.type_oid)
            }
            Source::Computed(_) => None,
        };
        type_of(one).is_some_and(|known| type_of(other) == Some(known))
    }
}

/// A place without aggregates.
fn place<'a>(scope: &'a Scope<'a>) -> Place<'a> {
    const NOTHING: &Reads = &Reads {
        columns: std::collections::BTreeSet::new(),
        unknown: false,
    };
    Place {
        scope,
        conditions: NOTHING,
        windows: NOTHING,
    }
}

fn unknown_table(name: Option<&str>) -> Table {
    Table::single(Alias {
        name: name.unwrap_or_default().to_owned(),
        columns: Vec::new(),
        open: Some(Source::unknown()),
        relation: false,
    })
}

fn query_table(
    output: &Output,
    alias: Option<&protobuf::Alias>,
    name: &str,
    gathered: &mut Gathered,
) -> Table {
    gathered.conditions.add(&output.conditions);
    gathered.reads.add(&output.reads);
    let mut output = output.clone();
    output.rename(&column_aliases(alias));
    Table::single(Alias {
        name: alias.map_or(name, |alias| &alias.aliasname).to_owned(),
        open: output.open.then(Source::unknown),
        columns: output.columns,
        relation: false,
    })
}

fn find<'a>(columns: &'a [Named], name: &str) -> Option<&'a Source> {
    let mut found = columns.iter().filter(|(known, _)| known == name);
    match (found.next(), found.next()) {
        (Some((_, source)), None) => Some(source),
        _ => None,
    }
}

fn side_column(side: &Table, name: &str) -> Source {
    find(&side.columns, name)
        .or(side.open.as_ref())
        .cloned()
        .unwrap_or_else(Source::unknown)
}

fn column_aliases(alias: Option<&protobuf::Alias>) -> Vec<String> {
    let names = alias.map_or(&[][..], |alias| &alias.colnames);
    names
        .iter()
        .map(|name| string(name).unwrap_or_default().to_owned())
        .collect()
}

fn column_definitions(definitions: &[Node]) -> Vec<String> {
    let name = |node: &Node| match &node.node {
        Some(NodeEnum::ColumnDef(definition)) => definition.colname.clone(),
        _ => String::new(),
    };
    definitions.iter().map(name).collect()
}
