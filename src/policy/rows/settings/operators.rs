//! Operators in row rules: what comes of two values, and which of them a setting stands between.
use pg_query::protobuf::{AExpr, Node};

use super::kind::{
    Date, Float, Interval, Kind, Literal, Moment, Moments, Plain, Text, Time, Timestamp, Unknown,
    ZonedTime,
};
use super::literals::literals;
use super::{Vetting, by_style, by_zone, compared};
use crate::policy::rows::{Objection, names};

/// Comparisons, by the operators of `pg_catalog`.
const COMPARISONS: &[&str] = &["=", "<>", "<", ">", "<=", ">="];

#[derive(Debug, Clone, Copy)]
pub struct Operation {
    pub left: Kind,
    pub right: Kind,
    pub result: Kind,
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

impl Vetting<'_> {
    pub(super) fn operation(&self, expression: &mut AExpr) -> Result<Operation, Objection> {
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
}
