//! Masks within `json` and `jsonb` documents: `json: { path: mask }`.
//!
//! A document is taken apart along the paths that the policy names and put together again; what no path names is as it
//! was. Where a path expects an object or an array and something else stands, that is redacted: a value that moved must
//! not show. JSON null stays null, what is missing stays missing.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::column_type::ColumnType;
use super::sql::{call, operator, quote_literal, typed, unless_null};
use super::{Constant, Mask, number, text};
use crate::policy::compiled::MaskedPart;

/// Stands for a redacted string, object or array.
const REDACTED: &str = "\"***\"";
/// Longest path, in steps.
const MAX_STEPS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    /// `[*]`: every element of an array.
    Each,
}

/// A way into a document: `address.street`, `phones[*].number`, `"odd.key"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

impl JsonPath {
    /// `None` if the text is no path. A key with one of `.["` in it stands in double quotes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("[*]") {
                steps.push(Step::Each);
                rest = after;
                continue;
            }
            let key = match (steps.is_empty(), rest.strip_prefix('.')) {
                (true, None) => rest,
                (false, Some(after)) => after,
                _ => return None,
            };
            let (key, after) = match key.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => key.split_at(key.find(['.', '[']).unwrap_or(key.len())),
            };
            let plain = !key.contains(['"', '\\']) && !key.chars().any(char::is_control);
            if key.is_empty() || !plain {
                return None;
            }
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        }
        (!steps.is_empty() && steps.len() <= MAX_STEPS).then_some(Self(steps))
    }
}

/// Masks by path.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JsonMasks {
    root: Node,
}

/// The path leads to or through one that is there already, or the mask cannot stand within a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonConflict {
    Path,
    Mask,
}

impl JsonMasks {
    /// Where masks stand in a masked document, as SQL/JSON paths.
    pub fn parts(&self) -> Vec<MaskedPart> {
        let mut parts = Vec::new();
        self.root.parts("lax $", Some(&[]), &mut parts);
        parts
    }
}

impl Node {
    /// `keys`: they alone lead to it.
    fn parts(&self, path: &str, keys: Option<&[&str]>, parts: &mut Vec<MaskedPart>) {
        parts.push(match self.mask.as_deref() {
            Some(Mask::Null) => MaskedPart::JsonNull(path.to_owned()),
            Some(_) => MaskedPart::Json(path.to_owned()),
            None => MaskedPart::JsonRedacted(path.to_owned()),
        });
        if let Some(keys) = keys.filter(|keys| !keys.is_empty()) {
            let keys = keys.iter().map(|key| (*key).to_owned());
            parts.push(MaskedPart::JsonAt(keys.collect()));
        }
        for (key, node) in &self.keys {
            let keys = keys.map(|keys| [keys, &[key.as_str()]].concat());
            node.parts(&format!("{path}.\"{key}\""), keys.as_deref(), parts);
        }
        if let Some(each) = &self.each {
            each.parts(&format!("{path}[*]"), None, parts);
        }
    }
}

/// What becomes of a value and of what is in it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Node {
    mask: Option<Box<Mask>>,
    keys: BTreeMap<String, Node>,
    each: Option<Box<Node>>,
}

impl JsonMasks {
    /// Adds a mask.
    ///
    /// # Errors
    /// [`JsonConflict`]
    pub fn add(&mut self, path: &JsonPath, mask: Mask) -> Result<(), JsonConflict> {
        if matches!(mask, Mask::Truncate(_) | Mask::Json(_) | Mask::Network(_)) {
            return Err(JsonConflict::Mask);
        }
        let mut node = &mut self.root;
        for step in &path.0 {
            if node.mask.is_some() {
                return Err(JsonConflict::Path);
            }
            node = match step {
                Step::Key(key) => node.keys.entry(key.clone()).or_default(),
                Step::Each => node.each.get_or_insert_default(),
            };
        }
        if *node != Node::default() {
            return Err(JsonConflict::Path);
        }
        node.mask = Some(Box::new(mask));
        Ok(())
    }

    /// See [`super::Mask::Json`].
    ///
    /// A `json` value that `jsonb` cannot hold (escapes of characters, enormous numbers) is redacted as a whole; another
    /// comes back as `jsonb` writes it.
    pub(super) fn sql(&self, column: &str, data_type: &ColumnType) -> String {
        let mut depth = 0;
        let masked = self
            .root
            .sql(&format!("{column}::pg_catalog.jsonb"), &mut depth);
        let is_json = data_type.sql.trim_end_matches('"').ends_with("json");
        let value = match is_json {
            true => format!(
                "CASE WHEN {} THEN {masked} ELSE {} END",
                convertible(column),
                typed(REDACTED, "jsonb"),
            ),
            false => masked,
        };
        unless_null(column, &value, &data_type.sql)
    }
}

/// Whether `jsonb` holds what the `json` value says. It refuses `\u0000`, lone surrogates and, in other encodings than
/// UTF8, all it cannot write; and numbers beyond `numeric`. Outside strings a digit after an `e` is an exponent.
fn convertible(column: &str) -> String {
    let document = format!("{column}::pg_catalog.text");
    let escapes = operator(
        &call("strpos", &[&document, &typed("\\u", "text")]),
        "=",
        "0",
    );
    let bare = call(
        "regexp_replace",
        &[
            &format!("{document} COLLATE pg_catalog.\"C\""),
            &typed(r#""([^"\\]|\\.)*""#, "text"),
            &typed("", "text"),
            &typed("g", "text"),
        ],
    );
    let large = operator(&bare, "!~", &typed("[eE][+-]?[0-9]{3}|[0-9]{255}", "text"));
    format!("({escapes} AND {large})")
}

impl Node {
    /// SQL of the masked value; `value` is of type `jsonb` and not NULL.
    fn sql(&self, value: &str, depth: &mut u32) -> String {
        if let Some(mask) = &self.mask {
            return leaf(mask, value);
        }
        let kind = kind(value);
        let mut cases = String::new();
        if !self.keys.is_empty() {
            let object = self.object(value, depth);
            let _ = write!(cases, " WHEN {} THEN {object}", is(&kind, "object"));
        }
        if let Some(each) = &self.each {
            let array = array(each, value, depth);
            let _ = write!(cases, " WHEN {} THEN {array}", is(&kind, "array"));
        }
        format!("(CASE{cases} ELSE {} END)", redacted(value))
    }

    /// Sets the keys that are there. Without a query: the planner takes one for costly, and a costly statement for worth
    /// compiling (`jit_above_cost`).
    fn object(&self, value: &str, depth: &mut u32) -> String {
        self.keys
            .iter()
            .fold(value.to_owned(), |object, (name, node)| {
                let name = typed(name, "text");
                let inner = format!("({})", operator(value, "->", &name));
                let set = call("jsonb_build_object", &[&name, &node.sql(&inner, depth)]);
                let present = call("jsonb_exists", &[value, &name]);
                let change = format!(
                    "(CASE WHEN {present} THEN {set} ELSE {} END)",
                    typed("{}", "jsonb")
                );
                format!("({})", operator(&object, "||", &change))
            })
    }
}

fn array(each: &Node, value: &str, depth: &mut u32) -> String {
    let alias = alias(depth);
    let masked = each.sql(&format!("{alias}.v"), depth);
    format!(
        "(SELECT COALESCE({}, {}) FROM {} WITH ORDINALITY AS {alias}(v, n))",
        call("jsonb_agg", &[&format!("{masked} ORDER BY {alias}.n")]),
        typed("[]", "jsonb"),
        call("jsonb_array_elements", &[value]),
    )
}

fn alias(depth: &mut u32) -> String {
    *depth += 1;
    format!("pgveil_json_{depth}")
}

fn kind(value: &str) -> String {
    call("jsonb_typeof", &[value])
}

fn is(kind: &str, name: &str) -> String {
    operator(kind, "=", &typed(name, "text"))
}

/// One mask on one value within a document. A value of a kind that the mask does not take is redacted.
fn leaf(mask: &Mask, value: &str) -> String {
    let kind = kind(value);
    // Braces in a cast: the path of no steps, which is the value itself, without quotes.
    let as_text = format!(
        "({})",
        operator(
            value,
            "#>>",
            &format!("{}::pg_catalog.text[]", quote_literal("{}"))
        )
    );
    let jsonb = |text: String| call("to_jsonb", &[&text]);
    let (kinds, masked): (&[&str], String) = match mask {
        Mask::Null => return typed("null", "jsonb"),
        Mask::Redact | Mask::Truncate(_) | Mask::Json(_) | Mask::Network(_) => {
            return redacted(value);
        }
        Mask::Constant(constant) => match json_constant(constant) {
            Some(text) => (
                &["string", "number", "boolean", "object", "array"],
                typed(&text, "jsonb"),
            ),
            None => return redacted(value),
        },
        Mask::Show { first, last, char } => (
            &["string", "number"],
            jsonb(text::show(
                &as_text,
                &ColumnType::text(),
                *first,
                *last,
                *char,
            )),
        ),
        Mask::Preset(preset) => (
            &["string", "number"],
            jsonb(preset.sql(&as_text, &ColumnType::text())),
        ),
        Mask::Email { first } => (
            &["string"],
            jsonb(text::email(&as_text, &ColumnType::text(), *first)),
        ),
        Mask::Round(step) | Mask::Bucket(step) => {
            let as_number = format!("{as_text}::pg_catalog.numeric");
            let masked = match mask {
                Mask::Round(_) => number::round(&as_number, &ColumnType::numeric(), step),
                _ => number::bucket(&as_number, &ColumnType::numeric(), step),
            };
            match masked {
                // NULL where the number is beyond what is masked.
                Ok(sql) => (
                    &["number"],
                    format!("COALESCE({}, {})", jsonb(sql), redacted(value)),
                ),
                Err(_) => return redacted(value),
            }
        }
    };
    let taken: Vec<String> = kinds.iter().map(|name| is(&kind, name)).collect();
    format!(
        "(CASE WHEN {} THEN {masked} ELSE {} END)",
        taken.join(" OR "),
        redacted(value)
    )
}

fn json_constant(constant: &Constant) -> Option<String> {
    constant.json().ok()
}

/// A fixed value of each kind.
fn redacted(value: &str) -> String {
    let kind = kind(value);
    format!(
        "(CASE WHEN {} THEN {value} WHEN {} THEN {} WHEN {} THEN {} ELSE {} END)",
        is(&kind, "null"),
        is(&kind, "number"),
        typed("0", "jsonb"),
        is(&kind, "boolean"),
        typed("false", "jsonb"),
        typed(REDACTED, "jsonb"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_through_keys_and_elements() {
        let key = |text: &str| Step::Key(text.to_owned());
        for (text, expected) in [
            ("a", Some(vec![key("a")])),
            (
                "phones[*].number",
                Some(vec![key("phones"), Step::Each, key("number")]),
            ),
            ("[*]", Some(vec![Step::Each])),
            ("a[*][*]", Some(vec![key("a"), Step::Each, Step::Each])),
            ("\"a.b\".c", Some(vec![key("a.b"), key("c")])),
            ("地址.街", Some(vec![key("地址"), key("街")])),
            ("", None),
            (".a", None),
            ("a.", None),
            ("a..b", None),
            ("a[0]", None),
            ("a[*]b", None),
            ("\"a", None),
            ("a\"b", None),
        ] {
            assert_eq!(JsonPath::parse(text), expected.map(JsonPath), "{text}");
        }
    }

    #[test]
    fn a_path_is_not_part_of_another() {
        let path = |text: &str| JsonPath::parse(text).unwrap();
        let mut masks = JsonMasks::default();
        assert_eq!(masks.add(&path("a.b"), Mask::Redact), Ok(()));
        for text in ["a.b", "a", "a.b.c", "a.b[*]"] {
            assert_eq!(
                masks.add(&path(text), Mask::Redact),
                Err(JsonConflict::Path),
                "{text}"
            );
        }
        assert_eq!(masks.add(&path("a[*]"), Mask::Redact), Ok(()));
    }
}
