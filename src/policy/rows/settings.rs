//! Row rules that mean another thing under other settings.
//!
//! A client sets `TimeZone`, `DateStyle` and their like as it pleases. A rule `seen_at >= '2024-06-01'` over a `timestamptz` would
//! let it move the boundary by days. So a rule is turned down where a value goes between a moment in time and a date, or
//! between text and what a setting writes or reads; it can be said with an offset. What the server knows as STABLE is asked
//! about here; functions of users are their author's decision.
//!
//! Days and months that are added to a moment are counted in UTC: in a zone of the client's making (`XXX0YYY-167`) they have
//! as many hours as it likes.
mod functions;
mod kind;
mod literals;
mod operators;
mod queries;
mod utc;

use std::cell::RefCell;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node, SqlValueFunctionOp, SubLinkType, TypeName, a_const};

use kind::{Float, Kind, Literal, Moment, Plain, Text, Unknown, ZonedTime, by_number};
use literals::literals;
use utc::in_utc;

use super::bind::{Names, column_marker};
use super::{Objection, names};
use crate::catalog::{Catalog, Oid, Relation};

/// Turns down what depends on settings, and counts days in UTC. The tree is bound.
pub fn vet(
    tree: &mut Node,
    relation: &Relation,
    names: &Names,
    catalog: &Catalog,
) -> Result<(), Objection> {
    let vetting = Vetting {
        relation,
        names,
        catalog,
        derived: RefCell::default(),
    };
    vetting.kind(tree).map(|_| ())
}

struct Vetting<'a> {
    relation: &'a Relation,
    names: &'a Names,
    catalog: &'a Catalog,
    /// What queries in FROM give, by their alias, which is one of a kind, and the name of the column.
    derived: RefCell<Vec<(String, String, Kind)>>,
}

fn moved(what: &str, setting: &str) -> Objection {
    Objection::new(format!(
        "{what} depends on the setting `{setting}`, which every client sets for itself"
    ))
}

fn by_zone(what: &str) -> Objection {
    moved(what, "TimeZone").suggest(
        "say the offset: a moment as `'2024-06-01 00:00+08'`, the local day of one as \
         `(created_at AT TIME ZONE interval '08:00')::date`, today as `(now() AT TIME ZONE interval '08:00')::date`",
    )
}

fn by_style(what: &str, setting: &str) -> Objection {
    moved(what, setting).suggest(
        "compare values of their own type, or keep what is compared in a column of its own",
    )
}

impl Vetting<'_> {
    /// What a node's value is, all within it being independent of settings.
    fn kind(&self, node: &mut Node) -> Result<Kind, Objection> {
        let Some(kind) = node.node.as_mut() else {
            return Ok(Literal);
        };
        match kind {
            NodeEnum::AConst(constant) => Ok(match constant.val {
                Some(a_const::Val::Sval(_)) => Literal,
                None => Literal,
                Some(_) => Plain,
            }),
            NodeEnum::ColumnRef(column) => Ok(self.column(column)),
            NodeEnum::SqlvalueFunction(value) => Self::value(value.op()),
            NodeEnum::TypeCast(cast) => {
                let target = cast
                    .type_name
                    .as_ref()
                    .map_or(Unknown, |name| self.of_type(name));
                let Some(argument) = cast.arg.as_mut() else {
                    return Ok(target);
                };
                let source = self.kind(argument)?;
                if source == Literal {
                    literals(argument, target)?;
                } else {
                    converted(source, target)?;
                }
                Ok(target)
            }
            NodeEnum::AExpr(expression) => {
                let found = self.operation(expression)?;
                if let Some(anew) = in_utc(expression, found) {
                    *kind = anew?;
                    return Ok(Moment);
                }
                Ok(found.result)
            }
            NodeEnum::BoolExpr(expression) => {
                self.each(&mut expression.args)?;
                Ok(Plain)
            }
            NodeEnum::NullTest(test) => {
                self.maybe(&mut test.arg)?;
                Ok(Plain)
            }
            NodeEnum::BooleanTest(test) => {
                self.maybe(&mut test.arg)?;
                Ok(Plain)
            }
            NodeEnum::CoalesceExpr(expression) => self.together(&mut expression.args),
            NodeEnum::MinMaxExpr(expression) => self.together(&mut expression.args),
            NodeEnum::AArrayExpr(array) => self.together(&mut array.elements),
            NodeEnum::CaseExpr(case) => {
                let mut results: Vec<&mut Node> = Vec::new();
                for when in &mut case.args {
                    if let Some(NodeEnum::CaseWhen(when)) = when.node.as_mut() {
                        self.maybe(&mut when.expr)?;
                        results.extend(when.result.as_deref_mut());
                    }
                }
                results.extend(case.defresult.as_deref_mut());
                self.alike(results)
            }
            NodeEnum::CollateClause(collate) => self.maybe(&mut collate.arg),
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::AIndirection(indirection) => {
                let of = self.maybe(&mut indirection.arg)?;
                for step in &mut indirection.indirection {
                    if let Some(NodeEnum::AIndices(indices)) = step.node.as_mut() {
                        self.maybe(&mut indices.lidx)?;
                        self.maybe(&mut indices.uidx)?;
                    }
                }
                Ok(of)
            }
            NodeEnum::SubLink(link) => {
                let tested = match link.testexpr.as_mut() {
                    Some(test) => Some(self.kind(test)?),
                    None => None,
                };
                let output = match link.subselect.as_mut().and_then(|node| node.node.as_mut()) {
                    Some(NodeEnum::SelectStmt(select)) => self.query(select)?,
                    _ => Unknown,
                };
                if let Some(tested) = tested {
                    if tested == Literal
                        && let Some(test) = link.testexpr.as_mut()
                    {
                        literals(test, output)?;
                    }
                    compared(tested, output)?;
                    return Ok(Plain);
                }
                Ok(match link.sub_link_type() {
                    SubLinkType::ExprSublink | SubLinkType::ArraySublink => output,
                    _ => Plain,
                })
            }
            _ => Ok(Unknown),
        }
    }

    fn each(&self, nodes: &mut [Node]) -> Result<Vec<Kind>, Objection> {
        nodes.iter_mut().map(|node| self.kind(node)).collect()
    }

    fn maybe(&self, node: &mut Option<Box<Node>>) -> Result<Kind, Objection> {
        match node {
            Some(node) => self.kind(node),
            None => Ok(Literal),
        }
    }

    fn together(&self, nodes: &mut [Node]) -> Result<Kind, Objection> {
        self.alike(nodes.iter_mut().collect())
    }

    /// What becomes of values that have to be of one type.
    fn alike(&self, mut nodes: Vec<&mut Node>) -> Result<Kind, Objection> {
        let mut common = Literal;
        for node in &mut nodes {
            let kind = self.kind(node)?;
            if common.crosses(kind) {
                return Err(by_zone(
                    "a choice between a moment and a day or time without a zone",
                ));
            }
            if common == Literal {
                common = kind;
            }
        }
        for node in nodes {
            literals(node, common)?;
        }
        Ok(common)
    }

    fn value(op: SqlValueFunctionOp) -> Result<Kind, Objection> {
        use SqlValueFunctionOp as Op;
        match op {
            Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => Ok(Moment),
            Op::SvfopCurrentDate => Err(by_zone("`current_date`")),
            Op::SvfopCurrentTime
            | Op::SvfopCurrentTimeN
            | Op::SvfopLocaltime
            | Op::SvfopLocaltimeN => Err(by_zone("the time of day")),
            Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => Err(by_zone("`localtimestamp`")),
            Op::SvfopCurrentSchema => Err(by_style("`current_schema`", "search_path")),
            _ => Ok(Text),
        }
    }

    fn column(&self, column: &ColumnRef) -> Kind {
        let fields: Option<Vec<&str>> = column.fields.iter().map(names::string).collect();
        let found = match fields.as_deref() {
            Some([marker]) => {
                let mut columns = self.names.columns.iter().enumerate();
                let name = columns.find(|(index, _)| column_marker(*index) == *marker);
                name.and_then(|(_, name)| self.relation.column(name))
            }
            Some([alias, name]) => {
                let derived = self.derived.borrow();
                let mut derived = derived.iter();
                if let Some((_, _, kind)) =
                    derived.find(|(query, column, _)| query == alias && column == name)
                {
                    return *kind;
                }
                let mut aliases = self.names.aliases.iter();
                let oid = aliases
                    .find(|(known, _)| known == alias)
                    .map(|(_, oid)| *oid);
                let relation = oid.and_then(|oid| self.catalog.relations.get(&oid));
                relation.and_then(|relation| relation.column(name))
            }
            _ => None,
        };
        found.map_or(Unknown, |column| self.of_oid(column.type_oid))
    }

    /// Of an array what its elements are.
    fn of_oid(&self, oid: Oid) -> Kind {
        let oid = self.catalog.elements.get(&oid).copied().unwrap_or(oid);
        let Some(found) = self.catalog.types.get(&oid) else {
            return by_number(oid);
        };
        match found.base {
            Some(base) if base != oid => self.of_oid(base),
            // Arrays are named for their elements.
            _ if found.schema == "pg_catalog" => Kind::named(found.name.trim_start_matches('_')),
            _ => Plain,
        }
    }

    fn of_type(&self, name: &TypeName) -> Kind {
        let parts: Option<Vec<&str>> = name.names.iter().map(names::string).collect();
        match parts.as_deref() {
            Some(["pg_catalog", name]) => Kind::named(name),
            Some([schema, name]) => {
                let mut known = self.catalog.numbered_types_named(name);
                let found = known.find(|(_, found)| found.schema == **schema);
                found.map_or(Unknown, |(oid, _)| self.of_oid(oid))
            }
            _ => Unknown,
        }
    }
}

fn compared(left: Kind, right: Kind) -> Result<(), Objection> {
    match left.crosses(right) {
        true => Err(by_zone("a moment beside a day or time without a zone")),
        false => Ok(()),
    }
}

fn converted(source: Kind, target: Kind) -> Result<(), Objection> {
    if source.crosses(target) || (source == Moment && target == ZonedTime) {
        return Err(by_zone("a cast between a moment and a day or time"));
    }
    if source.is_styled() && target == Text {
        return Err(by_style("text of such a value", "DateStyle"));
    }
    if source == Text && target.is_styled() && target != Float {
        return Err(by_style("such a value from text", "DateStyle"));
    }
    Ok(())
}
