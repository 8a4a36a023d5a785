//! Queries in row rules: what their outputs are, and where those are found again.
use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node, SelectStmt};

use super::Vetting;
use super::kind::{Kind, Unknown};
use crate::policy::rows::bind::column_marker;
use crate::policy::rows::{Objection, names};

impl Vetting<'_> {
    /// What the only output of a query is.
    pub(super) fn query(&self, select: &mut SelectStmt) -> Result<Kind, Objection> {
        let outputs = self.outputs(select)?;
        Ok(outputs.last().map_or(Unknown, |(_, kind)| *kind))
    }

    /// The outputs of a query that have a name to be found by, and the last one.
    pub(super) fn outputs(
        &self,
        select: &mut SelectStmt,
    ) -> Result<Vec<(String, Kind)>, Objection> {
        let mut outputs = Vec::new();
        for side in [&mut select.rarg, &mut select.larg].into_iter().flatten() {
            outputs = self.outputs(side)?;
        }
        for item in &mut select.from_clause {
            self.from(item)?;
        }
        for target in &mut select.target_list {
            if let Some(NodeEnum::ResTarget(target)) = target.node.as_mut()
                && let Some(value) = target.val.as_mut()
            {
                let kind = self.kind(value)?;
                let own = match value.node.as_ref() {
                    Some(NodeEnum::ColumnRef(column)) => self.name(column),
                    _ => None,
                };
                let name = Some(target.name.clone()).filter(|name| !name.is_empty());
                outputs.push((name.or(own).unwrap_or_default(), kind));
            }
        }
        for node in [&mut select.where_clause, &mut select.having_clause] {
            self.maybe(node)?;
        }
        self.each(&mut select.distinct_clause)?;
        self.each(&mut select.group_clause)?;
        for item in &mut select.sort_clause {
            if let Some(NodeEnum::SortBy(sort)) = item.node.as_mut() {
                self.maybe(&mut sort.node)?;
            }
        }
        self.maybe(&mut select.limit_count)?;
        self.maybe(&mut select.limit_offset)?;
        Ok(outputs)
    }

    pub(super) fn name(&self, column: &ColumnRef) -> Option<String> {
        let last = column.fields.last().and_then(names::string)?;
        let mut own = self.names.columns.iter().enumerate();
        let own = own.find(|(index, _)| column_marker(*index) == last);
        Some(own.map_or_else(|| last.to_owned(), |(_, name)| name.to_string()))
    }

    pub(super) fn from(&self, item: &mut Node) -> Result<(), Objection> {
        match item.node.as_mut() {
            Some(NodeEnum::RangeSubselect(query)) => {
                let alias = query.alias.as_ref().map(|alias| alias.aliasname.clone());
                if let Some(NodeEnum::SelectStmt(select)) =
                    query.subquery.as_mut().and_then(|node| node.node.as_mut())
                {
                    let alias = alias.unwrap_or_default();
                    let outputs = self.outputs(select)?.into_iter();
                    let outputs = outputs.map(|(name, kind)| (alias.clone(), name, kind));
                    self.derived.borrow_mut().extend(outputs);
                }
                Ok(())
            }
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
                    self.from(side)?;
                }
                self.maybe(&mut join.quals).map(|_| ())
            }
            _ => Ok(()),
        }
    }
}
