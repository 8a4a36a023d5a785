//! Holds the tree of a condition against a relation: finds its columns, qualifies its names.
//!
//! An allowlist: a kind of expression that nobody has thought about is an error, not passed through. Constructs whose
//! operator the grammar looks up by its bare name (`IN`, `BETWEEN`, `LIKE`, simple `CASE`) become what PostgreSQL itself
//! makes of them (`parse_expr.c`), with the operator qualified.
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExpr, BoolExprType, CaseExpr, ColumnRef, FuncCall, Node, SubLink,
    SubLinkType, a_const,
};

use super::from::Scope;
use super::{Objection, RESERVED, names};
use crate::catalog::{Catalog, Oid, Relation};

/// The name that stands for a column of the ruled relation.
pub fn column_marker(index: usize) -> String {
    format!("{RESERVED}column_{index}")
}

/// What the names in a bound tree stand for.
#[derive(Debug, Default)]
pub struct Names {
    /// The relation's columns by the number of their [`column_marker`].
    pub columns: Vec<Box<str>>,
    /// The relations that are read besides, by their alias.
    pub aliases: Vec<(String, Oid)>,
}

/// Qualifies everything in the tree. `apart`: other relations are replaced by NULLs of their columns' types.
pub fn bind(
    tree: &mut Node,
    relation: &Relation,
    catalog: &Catalog,
    apart: bool,
) -> Result<Names, Objection> {
    let mut binder = Binder {
        catalog,
        relation,
        columns: Vec::new(),
        scopes: Vec::new(),
        aliases: 0,
        read: Vec::new(),
        apart,
    };
    binder.expression(tree)?;
    binder.is_condition(tree)?;
    Ok(Names {
        columns: binder.columns,
        aliases: binder.read,
    })
}

pub struct Binder<'a> {
    pub catalog: &'a Catalog,
    pub relation: &'a Relation,
    columns: Vec<Box<str>>,
    /// What FROM names in the queries around the place, the innermost last.
    pub scopes: Vec<Scope>,
    /// How many aliases were given.
    pub aliases: usize,
    /// Relations by the alias they were given.
    pub read: Vec<(String, Oid)>,
    /// Relations are replaced by NULLs of their columns' types.
    pub apart: bool,
}

type Bound = Result<(), Objection>;

fn refuse(what: &str) -> Objection {
    Objection::new(format!("a row rule cannot hold {what}"))
}

impl Binder<'_> {
    pub fn all(&mut self, nodes: &mut [Node]) -> Bound {
        nodes.iter_mut().try_for_each(|node| self.expression(node))
    }

    pub fn maybe(&mut self, node: &mut Option<Box<Node>>) -> Bound {
        match node {
            Some(node) => self.expression(node),
            None => Ok(()),
        }
    }

    pub fn expression(&mut self, node: &mut Node) -> Bound {
        let Some(kind) = node.node.as_mut() else {
            return Ok(());
        };
        match kind {
            NodeEnum::AConst(_) | NodeEnum::SqlvalueFunction(_) => Ok(()),
            NodeEnum::ColumnRef(column) => self.column(column),
            NodeEnum::AExpr(expression) => {
                self.maybe(&mut expression.lexpr)?;
                match expression
                    .rexpr
                    .as_mut()
                    .and_then(|node| node.node.as_mut())
                {
                    Some(NodeEnum::List(list)) => self.all(&mut list.items)?,
                    _ => self.maybe(&mut expression.rexpr)?,
                }
                let rewritten = self.operator(expression)?;
                *kind = rewritten;
                Ok(())
            }
            NodeEnum::BoolExpr(expression) => self.all(&mut expression.args),
            NodeEnum::NullTest(test) => self.maybe(&mut test.arg),
            NodeEnum::BooleanTest(test) => self.maybe(&mut test.arg),
            NodeEnum::CoalesceExpr(expression) => self.all(&mut expression.args),
            NodeEnum::MinMaxExpr(expression) => self.all(&mut expression.args),
            NodeEnum::AArrayExpr(array) => self.all(&mut array.elements),
            NodeEnum::CaseExpr(case) => self.case(case),
            NodeEnum::TypeCast(cast) => {
                self.maybe(&mut cast.arg)?;
                match &mut cast.type_name {
                    Some(name) => names::data_type(name, self.catalog),
                    None => Err(refuse("a cast without a type")),
                }
            }
            NodeEnum::CollateClause(collate) => {
                self.maybe(&mut collate.arg)?;
                names::collation(&mut collate.collname)
            }
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::AIndirection(indirection) => {
                self.maybe(&mut indirection.arg)?;
                for step in &mut indirection.indirection {
                    match step.node.as_mut() {
                        Some(NodeEnum::AIndices(indices)) => {
                            self.maybe(&mut indices.lidx)?;
                            self.maybe(&mut indices.uidx)?;
                        }
                        _ => return Err(refuse("the selection of a field")),
                    }
                }
                Ok(())
            }
            NodeEnum::SubLink(link) => self.sublink(link),
            NodeEnum::RowExpr(_) => Err(refuse("a row in parentheses")
                .suggest("compare its columns one by one, with `AND`")),
            NodeEnum::List(_) => Err(refuse("a list here")),
            _ => Err(refuse("this kind of expression")),
        }
    }

    /// The operator's schema; for constructs that have none to name, what they mean.
    fn operator(&mut self, expression: &mut AExpr) -> Result<NodeEnum, Objection> {
        use AExprKind as Kind;
        match expression.kind() {
            Kind::AexprOp | Kind::AexprOpAny | Kind::AexprOpAll => {
                names::operator(&mut expression.name, self.catalog)?;
                Ok(boxed(expression.clone()))
            }
            // The operator is `~~`, `!~~`, `~~*`, `!~~*`, `~` or `!~`; ESCAPE is a call already.
            Kind::AexprLike | Kind::AexprIlike | Kind::AexprSimilar => {
                expression.set_kind(Kind::AexprOp);
                names::operator(&mut expression.name, self.catalog)?;
                Ok(boxed(expression.clone()))
            }
            Kind::AexprIn => {
                let items = items(expression)?;
                let negated = expression.name.first().and_then(names::string) == Some("<>");
                let (operator, joined) = match negated {
                    true => ("<>", BoolExprType::AndExpr),
                    false => ("=", BoolExprType::OrExpr),
                };
                self.compare_all(expression, items, &[operator], joined)
            }
            Kind::AexprBetween => {
                let items = items(expression)?;
                self.compare_all(expression, items, &[">=", "<="], BoolExprType::AndExpr)
            }
            Kind::AexprNotBetween => {
                let items = items(expression)?;
                self.compare_all(expression, items, &["<", ">"], BoolExprType::OrExpr)
            }
            Kind::AexprBetweenSym | Kind::AexprNotBetweenSym => {
                Err(refuse("`BETWEEN SYMMETRIC`").suggest("compare with `>=` and `<=`"))
            }
            Kind::AexprDistinct | Kind::AexprNotDistinct => Err(refuse("`IS DISTINCT FROM`")
                .suggest("write `a = b OR (a IS NULL AND b IS NULL)`, or its opposite")),
            Kind::AexprNullif => {
                Err(refuse("`NULLIF`").suggest("write `CASE WHEN a = b THEN NULL ELSE a END`"))
            }
            Kind::Undefined => Err(refuse("this kind of expression")),
        }
    }

    /// The left side compared with each item, by the operators in turn.
    fn compare_all(
        &mut self,
        expression: &AExpr,
        items: Vec<Node>,
        operators: &[&str],
        joined: BoolExprType,
    ) -> Result<NodeEnum, Objection> {
        let mut compared = Vec::new();
        for (item, operator) in items.into_iter().zip(operators.iter().cycle()) {
            let mut name = vec![names::name(operator)];
            names::operator(&mut name, self.catalog)?;
            compared.push(Node {
                node: Some(boxed(AExpr {
                    kind: AExprKind::AexprOp.into(),
                    name,
                    lexpr: expression.lexpr.clone(),
                    rexpr: Some(Box::new(item)),
                    ..AExpr::default()
                })),
            });
        }
        if let [only] = compared.as_slice()
            && let Some(only) = &only.node
        {
            return Ok(only.clone());
        }
        Ok(NodeEnum::BoolExpr(Box::new(BoolExpr {
            boolop: joined.into(),
            args: compared,
            ..BoolExpr::default()
        })))
    }

    fn case(&mut self, case: &mut CaseExpr) -> Bound {
        self.maybe(&mut case.arg)?;
        self.maybe(&mut case.defresult)?;
        let subject = case.arg.take();
        for when in &mut case.args {
            let Some(NodeEnum::CaseWhen(when)) = when.node.as_mut() else {
                return Err(refuse("this kind of CASE"));
            };
            self.maybe(&mut when.expr)?;
            self.maybe(&mut when.result)?;
            if subject.is_some() {
                let mut name = vec![names::name("=")];
                names::operator(&mut name, self.catalog)?;
                when.expr = Some(Box::new(Node {
                    node: Some(boxed(AExpr {
                        kind: AExprKind::AexprOp.into(),
                        name,
                        lexpr: subject.clone(),
                        rexpr: when.expr.take(),
                        ..AExpr::default()
                    })),
                }));
            }
        }
        Ok(())
    }

    fn call(&mut self, call: &mut FuncCall) -> Bound {
        if call.over.is_some() {
            return Err(refuse("a window function"));
        }
        if call.agg_within_group {
            return Err(refuse("`WITHIN GROUP`"));
        }
        names::function(&mut call.funcname, self.catalog)?;
        self.all(&mut call.args)?;
        self.maybe(&mut call.agg_filter)?;
        self.sort(&mut call.agg_order)
    }

    fn sublink(&mut self, link: &mut SubLink) -> Bound {
        self.maybe(&mut link.testexpr)?;
        match link.sub_link_type() {
            SubLinkType::ExistsSublink | SubLinkType::ExprSublink | SubLinkType::ArraySublink => {}
            SubLinkType::AnySublink | SubLinkType::AllSublink => {
                // `x IN (SELECT ...)` has no name at all and means `= ANY`.
                if link.oper_name.is_empty() {
                    link.oper_name.push(names::name("="));
                }
                names::operator(&mut link.oper_name, self.catalog)?;
            }
            _ => return Err(refuse("this kind of subquery")),
        }
        match link.subselect.as_mut().and_then(|node| node.node.as_mut()) {
            Some(NodeEnum::SelectStmt(select)) => self.query(select),
            _ => Err(refuse("this kind of subquery")),
        }
    }

    /// A name in the condition: a column of the relation, or of what the subqueries around it read.
    fn column(&mut self, column: &mut ColumnRef) -> Bound {
        let fields: Option<Vec<&str>> = column.fields.iter().map(names::string).collect();
        let Some(fields) = fields else {
            return Err(refuse("`*` here"));
        };
        let full = fields.join(".");
        match fields.as_slice() {
            [name] if self.scopes.is_empty() => {
                let name = (*name).to_owned();
                self.own(column, &name)
            }
            [name] => Err(Objection::new(format!(
                "`{name}` within a subquery could mean a column of either relation"
            ))
            .suggest(format!(
                "write `{}.{name}` for the column of the ruled relation, or put the subquery's table before it",
                self.relation.name
            ))),
            [table, name] | [_, table, name] => {
                let schema = match fields.as_slice() {
                    [schema, _, _] => Some(*schema),
                    _ => None,
                };
                if let Some(alias) = self.from(schema, table, name)? {
                    column.fields = vec![names::name(&alias), names::name(name)];
                    return Ok(());
                }
                let own = *table == self.relation.name
                    && schema.is_none_or(|schema| schema == self.relation.schema);
                if !own {
                    return Err(Objection::new(format!("`{full}` names no relation of the rule"))
                        .suggest(format!(
                            "columns of the ruled relation are written `{0}` or `{1}.{0}`",
                            name, self.relation.name
                        )));
                }
                let name = (*name).to_owned();
                self.own(column, &name)
            }
            _ => Err(Objection::new(format!("`{full}` is not the name of a column"))),
        }
    }

    fn own(&mut self, column: &mut ColumnRef, name: &str) -> Bound {
        if self.relation.column(name).is_none() {
            let candidates = self
                .relation
                .columns
                .iter()
                .map(|column| column.name.as_str());
            return Err(no_column(&self.relation.full_name(), name, candidates));
        }
        column.fields = vec![names::name(&column_marker(self.columns.len()))];
        self.columns.push(name.into());
        Ok(())
    }

    /// Turns down what surely is no condition. What only the server can tell, it tells.
    fn is_condition(&self, tree: &Node) -> Bound {
        let wrong = || Err(Objection::new("expected a condition that is true or false"));
        match tree.node.as_ref() {
            Some(NodeEnum::AConst(constant)) => match constant.val {
                Some(a_const::Val::Boolval(_)) => Ok(()),
                _ => wrong(),
            },
            Some(NodeEnum::ColumnRef(_)) => {
                let boolean = self
                    .columns
                    .first()
                    .and_then(|name| self.relation.column(name))
                    .is_some_and(|column| self.is_boolean(column.type_oid));
                match boolean {
                    true => Ok(()),
                    false => wrong(),
                }
            }
            Some(
                NodeEnum::AArrayExpr(_) | NodeEnum::SqlvalueFunction(_) | NodeEnum::MinMaxExpr(_),
            )
            | None => wrong(),
            Some(_) => Ok(()),
        }
    }

    fn is_boolean(&self, type_oid: u32) -> bool {
        const BOOL: u32 = 16;
        type_oid == BOOL
            || self
                .catalog
                .types
                .get(&type_oid)
                .is_some_and(|found| found.base == Some(BOOL))
    }
}

pub fn no_column<'a>(
    relation: &str,
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Objection {
    let objection = Objection::new(format!("`{relation}` has no column `{name}`"));
    match crate::config::diagnostics::closest(name, candidates) {
        Some(close) => objection.suggest(format!("did you mean `{close}`?")),
        None => objection,
    }
}

fn boxed(expression: AExpr) -> NodeEnum {
    NodeEnum::AExpr(Box::new(expression))
}

fn items(expression: &mut AExpr) -> Result<Vec<Node>, Objection> {
    match expression.rexpr.take().and_then(|node| node.node) {
        Some(NodeEnum::List(list)) => Ok(list.items),
        _ => Err(refuse("this kind of list")),
    }
}
