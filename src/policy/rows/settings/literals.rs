//! Literals that read the same under every setting.
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, a_const};

use super::kind::{
    Date, Interval, Kind, Moment, Moments, Registered, Styled, Time, Timestamp, Unknown, ZonedTime,
};
use super::{by_style, by_zone, moved};
use crate::policy::rows::{Objection, RESERVED};

/// Whether the literals in a node read the same under every setting as what stands beside them.
pub fn literals(node: &Node, as_kind: Kind) -> Result<(), Objection> {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Sval(text)) => literal(&text.sval, as_kind),
            _ => Ok(()),
        },
        Some(NodeEnum::AArrayExpr(array)) => {
            let mut elements = array.elements.iter();
            elements.try_for_each(|element| literals(element, as_kind))
        }
        _ => Ok(()),
    }
}

fn literal(text: &str, as_kind: Kind) -> Result<(), Objection> {
    let list = text
        .trim()
        .strip_prefix('{')
        .and_then(|list| list.strip_suffix('}'));
    if let Some(list) = list.filter(|_| as_kind.is_zoned() || as_kind.is_local()) {
        let mut items = list.split(',');
        return items.try_for_each(|item| literal(item.trim().trim_matches('"'), as_kind));
    }
    let text = text.trim();
    let everywhere =
        ["infinity", "-infinity", "epoch"].contains(&text.to_ascii_lowercase().as_str());
    let quoted = format!("the literal '{text}'");
    match as_kind {
        _ if everywhere => Ok(()),
        // It is a value in braces, which is the session's own.
        _ if text.starts_with(RESERVED) => match as_kind {
            Moment | ZonedTime => Err(by_zone("a value of the session as a moment")),
            _ => Ok(()),
        },
        Unknown if is_iso(text) && !has_offset(text) => Err(Objection::new(format!(
            "whether {quoted} is a day or a moment is not known here"
        ))
        .suggest("say it: `date '2024-06-01'`, `timestamptz '2024-06-01 00:00+08'`")),
        Moment if is_iso(text) && has_offset(text) => Ok(()),
        Moments => Err(by_zone(&quoted)),
        ZonedTime if has_offset(text) => Ok(()),
        Moment | ZonedTime => Err(by_zone(&quoted)),
        Date | Timestamp if is_iso(text) => Ok(()),
        Time if text.starts_with(|c: char| c.is_ascii_digit()) => Ok(()),
        Date | Timestamp | Time => Err(moved(&quoted, "DateStyle")
            .suggest("write it as `'2024-06-01'` or `'2024-06-01 08:00'`")),
        // IntervalStyle says whether a sign at the head is for all of it (DecodeInterval in datetime.c).
        Interval if text.starts_with('-') && numbers(text) > 1 => {
            Err(moved(&quoted, "IntervalStyle")
                .suggest("give each of its parts a sign of its own unit by unit, or subtract it"))
        }
        Registered if !text.contains('.') && numbers(text) == 0 => {
            Err(moved(&quoted, "search_path")
                .suggest("join the system catalog by the names of the object and its schema"))
        }
        Styled if !text.starts_with("\\x") => Err(by_style(&quoted, "lc_monetary")),
        _ => Ok(()),
    }
}

/// Runs of digits.
fn numbers(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|run| !run.is_empty())
        .count()
}

/// Year, month and day in an order that no setting changes: `2024-06-01`, with a time behind it or without.
fn is_iso(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = bytes.get(..10).is_some_and(|head| {
        head.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    });
    let rest = text.get(10..).unwrap_or_default();
    shape
        && rest
            .chars()
            .all(|c| c.is_ascii_digit() || " T:.+-Z".contains(c))
}

/// A time ends in `Z` or a number of hours from UTC.
fn has_offset(text: &str) -> bool {
    let time = match text.split_once([' ', 'T']) {
        Some((_, time)) => time,
        None => text,
    };
    let is_time = time.starts_with(|c: char| c.is_ascii_digit()) && time.contains(':');
    is_time && (time.ends_with('Z') || time.contains(['+', '-']))
}
