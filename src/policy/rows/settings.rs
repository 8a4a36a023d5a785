//! Row rules that mean another thing under other settings.
//!
//! A client sets `TimeZone`, `DateStyle` and their like as it pleases. A rule `seen_at >= '2024-06-01'` over a `timestamptz` would
//! let it move the boundary by days. So a rule is turned down where a value goes between a moment in time and a date, or
//! between text and what a setting writes or reads; it can be said with an offset. What the server knows as STABLE is asked
//! about here; functions of users are their author's decision.
//!
//! Days and months that are added to a moment are counted in UTC: in a zone of the client's making (`XXX0YYY-167`) they have
//! as many hours as it likes.
mod kind;
mod literals;
mod utc;

use std::cell::RefCell;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, ColumnRef, FuncCall, Node, SelectStmt, SqlValueFunctionOp, SubLinkType, TypeName,
    a_const,
};

use kind::{
    Date, Float, Interval, Kind, Literal, Moment, Moments, Plain, Text, Time, Timestamp, Unknown,
    ZonedTime, by_number,
};
use literals::literals;
use utc::in_utc;

use super::bind::{Names, column_marker};
use super::{Objection, names};
use crate::catalog::{Catalog, Oid, Relation, Volatility};

/// Functions that are STABLE for other reasons than a setting which a client has a hand in.
const FREE_OF_SETTINGS: &[&str] = &[
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "current_database",
    "pg_has_role",
    "pg_is_in_recovery",
    "row_security_active",
    "enum_first",
    "enum_last",
    "enum_range",
    "length",
    "convert",
    "convert_from",
    "convert_to",
    "version",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
];

/// Functions that are STABLE for moments alone.
const OF_MOMENTS: &[&str] = &[
    "age",
    "date",
    "date_part",
    "date_trunc",
    "extract",
    "generate_series",
    "overlaps",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
];

/// Functions that are STABLE for what they write as text.
const WRITERS: &[&str] = &[
    "array_to_string",
    "concat",
    "concat_ws",
    "format",
    "quote_literal",
    "quote_nullable",
    "to_json",
    "to_jsonb",
    "jsonb_build_array",
    "jsonb_build_object",
    "json_build_array",
    "json_build_object",
];

/// Functions that take the setting `default_text_search_config` where they are not told one.
const SEARCHES: &[&str] = &[
    "to_tsvector",
    "to_tsquery",
    "plainto_tsquery",
    "phraseto_tsquery",
    "websearch_to_tsquery",
];

/// Comparisons, by the operators of `pg_catalog`.
const COMPARISONS: &[&str] = &["=", "<>", "<", ">", "<=", ">="];

/// From here on an abbreviation of the session's own zone comes before all other names of zones
/// (`DecodeTimezoneAbbrev` in datetime.c), and a zone can be made to abbreviate itself as any name.
const SESSION_ABBREVIATIONS: u32 = 180_000;

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

    fn operation(&self, expression: &mut AExpr) -> Result<Operation, Objection> {
        let left = self.maybe(&mut expression.lexpr)?;
        let right = self.maybe(&mut expression.rexpr)?;
        let own = |parts: &[Node]| {
            let parts: Option<Vec<&str>> = parts.iter().map(names::string).collect();
            match parts.as_deref() {
                Some(["pg_catalog", name]) => Some((*name).to_owned()),
                _ => None,
            }
        };
        let Some(name) = own(&expression.name) else {
            return Ok(Operation::of(left, right, Unknown));
        };
        let of = |result| Ok(Operation::of(left, right, result));
        if COMPARISONS.contains(&name.as_str()) {
            compared(left, right)?;
            if let Some(node) = expression.lexpr.as_mut() {
                literals(node, right)?;
            }
            if let Some(node) = expression.rexpr.as_mut() {
                literals(node, left)?;
            }
            return of(Plain);
        }
        match name.as_str() {
            "+" | "-" => {
                if left.crosses(right) {
                    return Err(by_zone(
                        "what lies between a moment and a day or time without a zone",
                    ));
                }
                let literal = |one: Kind, other: Kind| one.is_zoned() && other == Literal;
                if literal(left, right) || literal(right, left) {
                    return Err(Objection::new("a literal is added to a moment")
                        .suggest("say what it is: `interval '30 days'`"));
                }
                of(match (left, right) {
                    (Moment, Interval) | (Interval, Moment) => Moment,
                    (ZonedTime, Interval) | (Interval, ZonedTime) => ZonedTime,
                    (Time, Interval) | (Interval, Time) => Time,
                    (Date | Timestamp, Interval) | (Interval, Date | Timestamp) => Timestamp,
                    (Moment, Moment) | (Timestamp, Timestamp) | (Interval, Interval | Literal) => {
                        Interval
                    }
                    (Literal, Interval) => Interval,
                    (Date, Plain) | (Plain, Date) => Date,
                    (Float, _) | (_, Float) => Float,
                    (Unknown, _) | (_, Unknown) => Unknown,
                    _ => Plain,
                })
            }
            "*" | "/" => of(match (left, right) {
                (Interval, _) | (_, Interval) => Interval,
                (Float, _) | (_, Float) => Float,
                _ => Plain,
            }),
            "||" => {
                for (one, other) in [(left, right), (right, left)] {
                    if one.is_styled() && matches!(other, Text | Literal | Unknown) {
                        return Err(by_style("text of such a value", "DateStyle"));
                    }
                }
                of(if left == Plain { right } else { left })
            }
            "@@" if left == Text => Err(by_style("a search in text", "default_text_search_config")
                .suggest("name the configuration: `to_tsvector('english', note) @@ ...`")),
            "->>" | "#>>" => of(Text),
            // A moment or a range of them, in either way without an offset that could be told.
            _ if [(left, right), (right, left)].contains(&(Moments, Literal)) => {
                Err(by_zone("a literal beside a range of moments"))
            }
            _ => of(Plain),
        }
    }

    fn call(&self, call: &mut FuncCall) -> Result<Kind, Objection> {
        let kinds = self.each(&mut call.args)?;
        self.maybe(&mut call.agg_filter)?;
        for item in &mut call.agg_order {
            if let Some(NodeEnum::SortBy(sort)) = item.node.as_mut() {
                self.maybe(&mut sort.node)?;
            }
        }
        let parts: Option<Vec<&str>> = call.funcname.iter().map(names::string).collect();
        let name = match parts.as_deref() {
            Some(["pg_catalog", name]) => (*name).to_owned(),
            _ => return Ok(Unknown),
        };
        let first = kinds.first().copied().unwrap_or(Unknown);
        let last = kinds.last().copied().unwrap_or(Unknown);
        match name.as_str() {
            "timezone" => return self.timezone(call, &kinds),
            "tstzrange" | "tsrange" | "daterange" => {
                let (bound, range) = match name.as_str() {
                    "tstzrange" => (Moment, Moments),
                    "tsrange" => (Timestamp, Plain),
                    _ => (Date, Plain),
                };
                for (argument, kind) in call.args.iter().zip(&kinds).take(2) {
                    compared(*kind, bound)?;
                    literals(argument, bound)?;
                }
                return Ok(range);
            }
            "now" | "transaction_timestamp" | "statement_timestamp" => return Ok(Moment),
            "make_timestamptz" => return Err(by_zone("`make_timestamptz`")),
            "max" | "min" | "abs" => return Ok(first),
            "lower" | "upper" | "btrim" | "left" | "right" | "substring" | "replace"
                if matches!(first, Text | Literal) =>
            {
                return Ok(Text);
            }
            "to_timestamp" if kinds.len() == 1 => return Ok(Moment),
            "make_date" => return Ok(Date),
            "make_timestamp" => return Ok(Timestamp),
            "make_time" => return Ok(Time),
            "make_interval" | "justify_hours" | "justify_days" | "justify_interval" => {
                return Ok(Interval);
            }
            _ => {}
        }
        if OF_MOMENTS.contains(&name.as_str()) {
            let seconds = ["date_part", "extract"].contains(&name.as_str()) && is_epoch(call);
            let zoned = kinds.iter().any(|kind| kind.is_zoned());
            // A number of the Unix epoch is the same everywhere; what is within the last argument is looked at already.
            // `age` of one value counts from the session's midnight.
            let since_today = name == "age" && kinds.len() == 1;
            if (zoned || last == Literal || since_today) && !seconds {
                return Err(by_zone(&format!("`{name}` of a moment")));
            }
            return Ok(match name.as_str() {
                "date_trunc" => last,
                "age" => Interval,
                "date" => Date,
                "timestamp" => Timestamp,
                "time" => Time,
                "timestamptz" | "timetz" => return Err(by_zone(&format!("`{name}`"))),
                "generate_series" => first,
                _ => Plain,
            });
        }
        if SEARCHES.contains(&name.as_str()) && kinds.len() == 1 {
            return Err(moved(&format!("`{name}`"), "default_text_search_config")
                .suggest(format!("name the configuration: `{name}('english', ...)`")));
        }
        if WRITERS.contains(&name.as_str()) {
            return match kinds.iter().any(|kind| kind.is_styled()) {
                true => Err(by_style(&format!("`{name}` of such a value"), "DateStyle")),
                false => Ok(if name.contains("json") { Plain } else { Text }),
            };
        }
        let is_free = FREE_OF_SETTINGS.contains(&name.as_str())
            || SEARCHES.contains(&name.as_str())
            || name.starts_with("has_");
        let overloads = self.catalog.functions.get(&name).into_iter().flatten();
        let mut own = overloads.filter(|overload| overload.schema == "pg_catalog");
        if !is_free && own.any(|overload| overload.volatility != Volatility::Immutable) {
            let objection = Objection::new(format!(
                "`{name}` depends on settings, which every client sets for itself"
            ));
            return Err(objection.suggest(
                "values of the session are `{app_user}`, `{db_user}` and `{attr.name}`; compare others in their own type",
            ));
        }
        Ok(Unknown)
    }

    /// `x AT TIME ZONE z`.
    fn timezone(&self, call: &mut FuncCall, kinds: &[Kind]) -> Result<Kind, Objection> {
        let [zone, value] = kinds else {
            return Err(by_zone("`AT LOCAL`"));
        };
        let named = match call.args.first_mut().and_then(|node| node.node.as_ref()) {
            _ if *zone == Interval => None,
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(a_const::Val::Sval(text)) => Some(text.sval.as_str()),
                _ => Some(""),
            },
            _ => Some(""),
        };
        if let Some(name) = named {
            // Abbreviations are read by the setting `timezone_abbreviations`; no abbreviation of a server's own has a slash.
            let abbreviated = !name.contains('/');
            if abbreviated || self.catalog.server_version >= SESSION_ABBREVIATIONS {
                return Err(moved(
                    "a zone by its name",
                    if abbreviated {
                        "timezone_abbreviations"
                    } else {
                        "TimeZone"
                    },
                )
                .suggest("give its offset: `AT TIME ZONE interval '08:00'`"));
            }
        }
        match value {
            Moment => Ok(Timestamp),
            Timestamp => Ok(Moment),
            Date => Err(by_zone("`AT TIME ZONE` of a date")
                .suggest("cast the date first: `day::timestamp AT TIME ZONE interval '08:00'`")),
            Unknown => Ok(Unknown),
            _ => Err(by_zone("`AT TIME ZONE` of a time of day or literal")),
        }
    }

    /// What the only output of a query is.
    fn query(&self, select: &mut SelectStmt) -> Result<Kind, Objection> {
        let outputs = self.outputs(select)?;
        Ok(outputs.last().map_or(Unknown, |(_, kind)| *kind))
    }

    /// The outputs of a query that have a name to be found by, and the last one.
    fn outputs(&self, select: &mut SelectStmt) -> Result<Vec<(String, Kind)>, Objection> {
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

    fn name(&self, column: &ColumnRef) -> Option<String> {
        let last = column.fields.last().and_then(names::string)?;
        let mut own = self.names.columns.iter().enumerate();
        let own = own.find(|(index, _)| column_marker(*index) == last);
        Some(own.map_or_else(|| last.to_owned(), |(_, name)| name.to_string()))
    }

    fn from(&self, item: &mut Node) -> Result<(), Objection> {
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

#[derive(Debug, Clone, Copy)]
struct Operation {
    left: Kind,
    right: Kind,
    result: Kind,
}

impl Operation {
    fn of(left: Kind, right: Kind, result: Kind) -> Self {
        Operation {
            left,
            right,
            result,
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

/// The first argument is the word `epoch`.
fn is_epoch(call: &FuncCall) -> bool {
    let first = call.args.first().and_then(|node| node.node.as_ref());
    matches!(first, Some(NodeEnum::AConst(constant))
        if matches!(&constant.val, Some(a_const::Val::Sval(text)) if text.sval == "epoch"))
}
