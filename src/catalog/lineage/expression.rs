//! What expressions read. An allowlist: a node that is not named here is unknown.
use pg_query::NodeEnum;
use pg_query::protobuf::{
    ColumnRef, FuncCall, JsonAggConstructor, JsonKeyValue, JsonValueExpr, Node, WindowDef,
};

use super::purity::string;
use super::query::Analysis;
use super::scope::{Scope, whole_row};
use super::source::{Reads, Source};

/// Where an expression stands.
pub struct Place<'a> {
    pub scope: &'a Scope<'a>,
    /// What aggregates and window functions here depend on besides their arguments.
    pub conditions: &'a Reads,
    /// What the named windows of the query read.
    pub windows: &'a Reads,
}

impl Analysis<'_> {
    /// The source of an output column.
    pub fn source(&self, node: &Node, place: &Place) -> Source {
        match &node.node {
            Some(NodeEnum::ColumnRef(column)) => self.column(column, place.scope),
            _ => {
                let mut reads = Reads::default();
                self.read(node, place, &mut reads);
                Source::Computed(reads)
            }
        }
    }

    fn column(&self, column: &ColumnRef, scope: &Scope) -> Source {
        let star = |node: &Node| matches!(node.node, Some(NodeEnum::AStar(_)));
        match column.fields.as_slice() {
            [name] => string(name).map_or_else(Source::unknown, |name| scope.column(name)),
            [alias, last] if star(last) => string(alias)
                .and_then(|alias| scope.alias(alias))
                .map_or_else(Source::unknown, |alias| Source::Computed(whole_row(alias))),
            [alias, name] => match (string(alias), string(name)) {
                (Some(alias), Some(name)) => scope.qualified(alias, name),
                _ => Source::unknown(),
            },
            _ => Source::unknown(),
        }
    }

    pub fn read_all<'n>(
        &self,
        nodes: impl IntoIterator<Item = &'n Node>,
        place: &Place,
        reads: &mut Reads,
    ) {
        for node in nodes {
            self.read(node, place, reads);
        }
    }

    /// Adds everything that an expression reads.
    pub fn read(&self, node: &Node, place: &Place, reads: &mut Reads) {
        let Some(_deeper) = self.deeper() else {
            reads.unknown = true;
            return;
        };
        let Some(node) = &node.node else {
            return;
        };
        match node {
            NodeEnum::AConst(_)
            | NodeEnum::SqlvalueFunction(_)
            | NodeEnum::String(_)
            | NodeEnum::Integer(_) => {}
            NodeEnum::ColumnRef(column) => reads.add_source(&self.column(column, place.scope)),
            NodeEnum::List(list) => self.read_all(&list.items, place, reads),
            NodeEnum::AExpr(expression) => {
                reads.unknown |= !self.purity.operator(&expression.name);
                self.read_all(expression.lexpr.as_deref(), place, reads);
                self.read_all(expression.rexpr.as_deref(), place, reads);
            }
            NodeEnum::BoolExpr(expression) => self.read_all(&expression.args, place, reads),
            NodeEnum::NullTest(test) => self.read_all(test.arg.as_deref(), place, reads),
            NodeEnum::BooleanTest(test) => self.read_all(test.arg.as_deref(), place, reads),
            NodeEnum::CoalesceExpr(expression) => self.read_all(&expression.args, place, reads),
            NodeEnum::MinMaxExpr(expression) => self.read_all(&expression.args, place, reads),
            NodeEnum::RowExpr(expression) => self.read_all(&expression.args, place, reads),
            NodeEnum::AArrayExpr(expression) => self.read_all(&expression.elements, place, reads),
            NodeEnum::GroupingFunc(expression) => self.read_all(&expression.args, place, reads),
            NodeEnum::GroupingSet(set) => self.read_all(&set.content, place, reads),
            NodeEnum::CollateClause(clause) => self.read_all(clause.arg.as_deref(), place, reads),
            NodeEnum::NamedArgExpr(argument) => {
                self.read_all(argument.arg.as_deref(), place, reads)
            }
            NodeEnum::ResTarget(target) => self.read_all(target.val.as_deref(), place, reads),
            NodeEnum::CaseExpr(case) => {
                self.read_all(case.arg.as_deref(), place, reads);
                self.read_all(&case.args, place, reads);
                self.read_all(case.defresult.as_deref(), place, reads);
            }
            NodeEnum::CaseWhen(when) => {
                self.read_all(when.expr.as_deref(), place, reads);
                self.read_all(when.result.as_deref(), place, reads);
            }
            NodeEnum::TypeCast(cast) => {
                reads.unknown |= !cast
                    .type_name
                    .as_ref()
                    .is_some_and(|name| self.purity.cast(name));
                self.read_all(cast.arg.as_deref(), place, reads);
            }
            NodeEnum::AIndirection(indirection) => {
                self.read_all(indirection.arg.as_deref(), place, reads);
                self.read_all(&indirection.indirection, place, reads);
            }
            NodeEnum::AIndices(indices) => {
                self.read_all(indices.lidx.as_deref(), place, reads);
                self.read_all(indices.uidx.as_deref(), place, reads);
            }
            // `(row).*`: the row itself has been read.
            NodeEnum::AStar(_) => {}
            NodeEnum::SortBy(sort) => {
                reads.unknown |= !sort.use_op.is_empty() && !self.purity.operator(&sort.use_op);
                self.read_all(sort.node.as_deref(), place, reads);
            }
            NodeEnum::SubLink(link) => {
                reads.unknown |=
                    !link.oper_name.is_empty() && !self.purity.operator(&link.oper_name);
                self.read_all(link.testexpr.as_deref(), place, reads);
                reads.add(
                    &self
                        .subquery(link.subselect.as_deref(), Some(place.scope))
                        .reads,
                );
            }
            NodeEnum::FuncCall(call) => self.read_call(call, place, reads),
            NodeEnum::XmlExpr(expression) => {
                self.read_all(&expression.named_args, place, reads);
                self.read_all(&expression.args, place, reads);
            }
            NodeEnum::XmlSerialize(expression) => {
                self.read_all(expression.expr.as_deref(), place, reads)
            }
            NodeEnum::JsonValueExpr(value) => self.read_json_value(value, place, reads),
            NodeEnum::JsonKeyValue(pair) => self.read_json_pair(pair, place, reads),
            NodeEnum::JsonObjectConstructor(object) => self.read_all(&object.exprs, place, reads),
            NodeEnum::JsonArrayConstructor(array) => self.read_all(&array.exprs, place, reads),
            NodeEnum::JsonIsPredicate(predicate) => {
                self.read_all(predicate.expr.as_deref(), place, reads)
            }
            NodeEnum::JsonObjectAgg(aggregate) => {
                self.read_json_aggregate(aggregate.constructor.as_deref(), place, reads);
                if let Some(pair) = &aggregate.arg {
                    self.read_json_pair(pair, place, reads);
                }
            }
            NodeEnum::JsonArrayAgg(aggregate) => {
                self.read_json_aggregate(aggregate.constructor.as_deref(), place, reads);
                if let Some(value) = &aggregate.arg {
                    self.read_json_value(value, place, reads);
                }
            }
            _ => reads.unknown = true,
        }
    }

    fn read_call(&self, call: &FuncCall, place: &Place, reads: &mut Reads) {
        reads.unknown |= !self.purity.function(&call.funcname);
        self.read_all(&call.args, place, reads);
        self.read_all(&call.agg_order, place, reads);
        self.read_all(call.agg_filter.as_deref(), place, reads);
        if let Some(window) = &call.over {
            self.read_window(window, place, reads);
            reads.add(place.windows);
        }
        let name = call.funcname.last().and_then(string);
        if call.over.is_some()
            || call.agg_star
            || name.is_some_and(|name| self.aggregates.contains(name))
        {
            reads.add(place.conditions);
        }
    }

    pub fn read_window(&self, window: &WindowDef, place: &Place, reads: &mut Reads) {
        self.read_all(&window.partition_clause, place, reads);
        self.read_all(&window.order_clause, place, reads);
        self.read_all(window.start_offset.as_deref(), place, reads);
        self.read_all(window.end_offset.as_deref(), place, reads);
    }

    fn read_json_value(&self, value: &JsonValueExpr, place: &Place, reads: &mut Reads) {
        self.read_all(value.raw_expr.as_deref(), place, reads);
        self.read_all(value.formatted_expr.as_deref(), place, reads);
    }

    fn read_json_pair(&self, pair: &JsonKeyValue, place: &Place, reads: &mut Reads) {
        self.read_all(pair.key.as_deref(), place, reads);
        if let Some(value) = &pair.value {
            self.read_json_value(value, place, reads);
        }
    }

    fn read_json_aggregate(
        &self,
        constructor: Option<&JsonAggConstructor>,
        place: &Place,
        reads: &mut Reads,
    ) {
        reads.add(place.conditions);
        let Some(constructor) = constructor else {
            return;
        };
        self.read_all(constructor.agg_filter.as_deref(), place, reads);
        self.read_all(&constructor.agg_order, place, reads);
        if let Some(window) = &constructor.over {
            self.read_window(window, place, reads);
            reads.add(place.windows);
        }
    }
}
