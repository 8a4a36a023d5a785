//! Honeytoken rows: rows that are there to be touched by whoever has no business there, known by a value that only
//! they have.
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::compile::Memory;
use super::compiled::Traps;
use super::flow::Flow;
use super::rules::ClassRule;
use super::{PolicySet, Unmatched};
use crate::catalog::Catalog;
use crate::config::Diagnostics;

/// Values that name honeytoken rows, as they are written and as they travel. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Trap {
    pub name: Arc<str>,
    texts: BTreeSet<Box<str>>,
    integers: HashSet<i64>,
    uuids: HashSet<u128>,
}

impl std::fmt::Debug for Trap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trap")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Trap {
    pub fn new(name: Arc<str>, values: impl IntoIterator<Item = String>) -> Self {
        let texts: BTreeSet<Box<str>> =
            values.into_iter().map(|text| plain(&text).into()).collect();
        Trap {
            name,
            integers: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            uuids: texts.iter().filter_map(|text| uuid(text)).collect(),
            texts,
        }
    }

    /// The values, for telling one trap from another.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(AsRef::as_ref)
    }

    /// Whether a text is one of the values: with blanks around it, as `char(n)` has them, or as a number of another scale.
    pub fn is(&self, text: &str) -> bool {
        let text = plain(text);
        self.texts.contains(text)
            || text
                .parse()
                .is_ok_and(|number| self.integers.contains(&number))
            || uuid(text).is_some_and(|number| self.uuids.contains(&number))
    }

    /// Whether a value as it travels, as text or in the binary form of numbers and `uuid`, is one of the values.
    pub fn meets(&self, value: &[u8]) -> bool {
        let number = match value.len() {
            2 => value.first_chunk().map(|b| i16::from_be_bytes(*b).into()),
            4 => value.first_chunk().map(|b| i32::from_be_bytes(*b).into()),
            8 => value.first_chunk().map(|b| i64::from_be_bytes(*b)),
            _ => None,
        };
        let uuid = || value.first_chunk().map(|b| u128::from_be_bytes(*b));
        number.is_some_and(|number| self.integers.contains(&number))
            || (value.len() == 16 && uuid().is_some_and(|number| self.uuids.contains(&number)))
            || std::str::from_utf8(value).is_ok_and(|text| self.is(text))
            || float(value).is_some_and(|text| self.is(&text))
            || numeric(value).is_some_and(|text| self.is(&text))
    }

    /// Whether one of the values stands in a line by itself, between whatever separates the line's fields.
    pub fn stands_in(&self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        self.texts.iter().any(|value| {
            text.match_indices(&**value).any(|(at, found)| {
                let (before, after) = (text.get(..at), text.get(at + found.len()..));
                let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                !joins(before.and_then(|text| text.chars().next_back()))
                    && !joins(after.and_then(|text| text.chars().next()))
            })
        })
    }
}

/// A text without blanks around it, and a number without zeros at the end of its fraction.
fn plain(text: &str) -> &str {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = digits.contains('.')
        && digits.bytes().filter(|byte| *byte == b'.').count() == 1
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    match is_number {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// `float4` and `float8` of such a size that what has their bits is no integer that anybody counts up.
fn float(value: &[u8]) -> Option<String> {
    let is_plain = |number: f64| (1e-6..1e15).contains(&number.abs());
    match value.len() {
        4 => {
            let number = f32::from_be_bytes(*value.first_chunk()?);
            is_plain(number.into()).then(|| number.to_string())
        }
        8 => {
            let number = f64::from_be_bytes(*value.first_chunk()?);
            is_plain(number).then(|| number.to_string())
        }
        _ => None,
    }
}

/// `numeric` in binary: how many digits to the base of 10,000, where the first of them stands, the sign, the scale, and the
/// digits (`numeric_send` in utils/adt/numeric.c).
fn numeric(value: &[u8]) -> Option<String> {
    use std::fmt::Write as _;
    /// No value of a policy is longer.
    const MOST: usize = 32;
    let (pairs, []) = value.as_chunks::<2>() else {
        return None;
    };
    let [count, weight, sign, _, groups @ ..] = pairs else {
        return None;
    };
    let [count, weight, sign] = [count, weight, sign].map(|pair| i16::from_be_bytes(*pair));
    if groups.len() > MOST || usize::try_from(count) != Ok(groups.len()) {
        return None;
    }
    let groups: Vec<i16> = groups
        .iter()
        .map(|pair| i16::from_be_bytes(*pair))
        .collect();
    let first = usize::try_from(weight).ok().filter(|first| *first < MOST)?;
    if !matches!(sign, 0 | 0x4000) || !groups.iter().all(|group| (0..10_000).contains(group)) {
        return None;
    }
    let mut text = String::from(if sign == 0 { "" } else { "-" });
    for place in 0..groups.len().max(first + 1) {
        if place == first + 1 {
            text.push('.');
        }
        let group = groups.get(place).copied().unwrap_or(0);
        let _ = match place {
            0 => write!(text, "{group}"),
            _ => write!(text, "{group:04}"),
        };
    }
    Some(text)
}

fn uuid(text: &str) -> Option<u128> {
    // Most values are none: nothing is made of them.
    if !(32..=48).contains(&text.len()) {
        return None;
    }
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    match digits.len() {
        32 => u128::from_str_radix(&digits, 16).ok(),
        _ => None,
    }
}

/// The traps of a policy: each the columns that hold its values, checked and followed through a database as those of a
/// class are, and the values.
#[derive(Debug, Clone)]
pub struct TrapRules {
    /// Has one class for each trap and nothing else.
    columns: Box<PolicySet>,
    traps: Vec<Arc<Trap>>,
}

impl TrapRules {
    pub fn new(version: String, traps: Vec<(ClassRule, Arc<Trap>)>) -> Self {
        let (classes, traps) = traps.into_iter().unzip();
        let columns = PolicySet {
            version,
            content: Arc::default(),
            classes,
            roles: Vec::new(),
            unmatched: Unmatched::Deny,
            people: Vec::new(),
            named: Default::default(),
            groups: Default::default(),
            applications: Default::default(),
            token_users: Default::default(),
            directory: None,
            regions: Vec::new(),
            server_names: Vec::new(),
            traps: None,
            warnings: Diagnostics::default(),
        };
        TrapRules {
            columns: Box::new(columns),
            traps,
        }
    }

    /// What is to be found of them in a database.
    pub(super) fn columns(&self) -> &PolicySet {
        &self.columns
    }

    /// The traps by the columns of a database that show their values as they are: in views, partitions, parents and
    /// children, too.
    pub(super) fn compile(
        &self,
        catalog: &Catalog,
        memory: &mut Memory,
        drift: &mut BTreeSet<String>,
    ) -> Traps {
        let kept = memory.kept(&self.columns, catalog, drift);
        let flow = Flow::trace(&self.columns, catalog, &kept);
        memory.learn(&self.columns, catalog, &flow);
        let mut traps = Traps::new();
        for (cell, taint) in &flow.taints {
            let here: BTreeSet<_> = taint.own.union(&taint.same).copied().collect();
            let here = here.into_iter().filter_map(|index| self.traps.get(index));
            let here: Vec<Arc<Trap>> = here.cloned().collect();
            if !here.is_empty() {
                traps.insert(*cell, here);
            }
        }
        traps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Trap {
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let values = ["900001", "decoy@example.com", uuid, "-12.50"].map(str::to_owned);
        Trap::new("decoy".into(), values)
    }

    #[test]
    fn a_value_is_met_in_whatever_form_it_travels() {
        let trap = trap();
        for value in [
            &b"900001"[..],
            &900_001_i32.to_be_bytes(),
            &900_001_i64.to_be_bytes(),
            b"decoy@example.com",
            b"0F8FAD5B-D9CB-469F-A165-70867728950E",
            &0x0f8f_ad5b_d9cb_469f_a165_7086_7728_950e_u128.to_be_bytes(),
            // `char(n)`, and numbers of another type or scale.
            b"decoy@example.com      ",
            b" 900001",
            b"900001.00",
            b"900001.",
            b"-12.5",
            b"-12.500",
            &900_001_f64.to_be_bytes(),
            &900_001_f32.to_be_bytes(),
            &(-12.5_f64).to_be_bytes(),
            // numeric: 900001.00, and -12.50.
            &[0, 2, 0, 1, 0, 0, 0, 2, 0, 90, 0, 1],
            &[0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x13, 0x88],
        ] {
            assert!(trap.meets(value), "{value:?}");
        }
        for value in [
            &b""[..],
            b"90000",
            b"9000011",
            &900_002_i32.to_be_bytes(),
            &[0; 16],
            b"\xff\xfe",
            b"900001.01",
            b"9000010",
            b"90000100",
            b"900001.0.0",
            b"12.5",
            &900_001.5_f64.to_be_bytes(),
            &f64::NAN.to_be_bytes(),
            // 900001.5, 9000010000, NaN, and what is no numeric.
            &[0, 3, 0, 1, 0, 0, 0, 1, 0, 90, 0, 1, 0x13, 0x88],
            &[0, 2, 0, 2, 0, 0, 0, 0, 0, 90, 0, 1],
            &[0, 0, 0, 0, 0xc0, 0, 0, 0],
            &[0, 9, 0, 1, 0, 0, 0, 2, 0, 90, 0, 1],
            &[0, 2, 0x7f, 0xff, 0, 0, 0, 2, 0, 90, 0, 1],
        ] {
            assert!(!trap.meets(value), "{value:?}");
        }
    }

    #[test]
    fn in_a_line_a_value_stands_by_itself() {
        let trap = trap();
        for line in [
            "900001\tx\n",
            "x,900001,y\n",
            "\"900001\"|decoy\n",
            "x|decoy@example.com\r\n",
        ] {
            assert!(trap.stands_in(line.as_bytes()), "{line:?}");
        }
        for line in ["1900001\tx\n", "9000012\n", "mydecoy@example.com\n", "\n"] {
            assert!(!trap.stands_in(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn no_value_is_shown() {
        assert!(!format!("{:?}", trap()).contains("900001"));
    }
}
