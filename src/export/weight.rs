//! For how many rows a row counts that holds many.
//!
//! What a statement gathers into a value ([`Holding`]) counts by the value's form where the statement says what that is:
//! elements of an array, separators in a text. Where it does not, a value counts by its length, as though it held the
//! shortest values that are worth hiding. The scan reads bytes as they are on the wire.
use std::borrow::Cow;

use crate::sql::packing::{Holding, Packed};

/// Bytes that count as a row where nothing is known about what they hold: a Chinese character, or four digits.
pub const UNIT: usize = 3;
/// Digits of a sum that are its own.
pub const NUMBER: usize = 16;
/// Bytes of the sums of a row that count as a row.
pub const NUMBERS: u64 = 1024;
/// Every row counts once more for so many bytes.
pub const WIDE: u64 = 8 * 1024;
/// Members of a JSON object that are columns of a row, where the statement makes no members of rows.
const COLUMNS: u64 = 64;

/// The weight of a row of `bytes` that packs nothing.
pub const fn of_bytes(bytes: u64) -> u64 {
    bytes / WIDE + 1
}

/// The weight of a row that gathers and is too long to be looked at.
pub const fn of_unseen(bytes: u64) -> u64 {
    bytes / UNIT as u64 + 1
}

/// The weight of a row by its values, `None` being NULL.
pub fn of_values(values: &[Option<&[u8]>], packed: &Packed) -> u64 {
    let Some(columns) = &packed.columns else {
        return 1;
    };
    let (mut gathered, mut numbers) = (0, 0);
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            continue;
        };
        let holding = columns.of(index, values.len());
        gathered += of_value(value, holding);
        if *holding == Holding::Number {
            numbers += value.len() as u64;
        }
    }
    let gathered = gathered.saturating_mul(u64::from(packed.side_by_side));
    gathered.max(numbers / NUMBERS).max(1)
}

/// The weight of a line of text that COPY sent.
pub fn of_line(line: &[u8], packed: &Packed) -> u64 {
    if packed.columns.is_none() {
        return 1;
    }
    if !packed.lines {
        return by_length(line)
            .saturating_mul(u64::from(packed.side_by_side))
            .max(1);
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let values: Vec<Option<Cow<'_, [u8]>>> = line
        .split(|byte| *byte == b'\t')
        .map(|value| (value != b"\\N").then(|| unescaped(value)))
        .collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    of_values(&values, packed)
}

/// A value as it was before COPY put backslashes before what means something to it (`CopyAttributeOutText`, copyto.c).
fn unescaped(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            byte => plain.push(*byte),
        }
    }
    Cow::Owned(plain)
}

/// For how many rows a value counts.
fn of_value(value: &[u8], holding: &Holding) -> u64 {
    match holding {
        Holding::Own => 0,
        Holding::Number => number(value),
        Holding::Array => array(value).unwrap_or_else(|| by_length(value)),
        Holding::Document { members } => document(value, *members),
        Holding::Separated(separator) => parts(value, separator.as_bytes()),
        Holding::Tags => occurrences(value, b"</") + occurrences(value, b"/>"),
        Holding::Anything => by_length(value),
    }
}

const fn by_length(value: &[u8]) -> u64 {
    value.len().div_ceil(UNIT) as u64
}

/// A number that is long enough counts by its length.
fn number(value: &[u8]) -> u64 {
    match value.len() {
        0..=NUMBER => 0,
        length => length.div_ceil(NUMBER) as u64,
    }
}

/// Values with a separator between every two of them. In another encoding than UTF-8 the separator may be spelled in
/// another way, and bytes in text form have it in their digits.
fn parts(value: &[u8], separator: &[u8]) -> u64 {
    let readable = separator.is_ascii() || std::str::from_utf8(value).is_ok();
    if !readable || value.starts_with(b"\\x") {
        return by_length(value);
    }
    occurrences(value, separator) + 1
}

/// How often `part` stands in `value` without overlapping; the most there can be.
fn occurrences(value: &[u8], part: &[u8]) -> u64 {
    let (mut rest, mut found) = (value, 0);
    while let Some(at) = rest
        .windows(part.len().max(1))
        .position(|window| window == part)
    {
        found += 1;
        rest = rest.get(at + part.len().max(1)..).unwrap_or_default();
    }
    found
}

/// Elements of an array, in text or binary form; `None`: it is none.
fn array(value: &[u8]) -> Option<u64> {
    if let Some(elements) = binary_elements(value) {
        return Some(elements);
    }
    // Before the braces there may be bounds: `[0:2]={a,b,c}`.
    let text = match value.first()? {
        b'{' => value,
        b'[' => {
            let at = value.iter().position(|byte| *byte == b'=')?;
            value.get(at + 1..)?
        }
        _ => return None,
    };
    if text == b"{}" {
        return Some(0);
    }
    let (mut quoted, mut escaped, mut commas) = (false, false, 0);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => commas += 1,
            _ => {}
        }
    }
    Some(commas + 1)
}

/// Elements of a JSON document.
fn document(value: &[u8], members: bool) -> u64 {
    // jsonb's binary form is a version and then text.
    let text = value.strip_prefix(&[1]).unwrap_or(value);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[' | b'{') => elements(text, members),
        // `null`, or a value of a row.
        Some(_) if text.len() <= NUMBER => 1,
        Some(_) => by_length(text),
        None => 0,
    }
}

/// Elements of an array in binary form (`array_send`, utils/adt/arrayfuncs.c): dimensions, whether there are NULLs, the
/// elements' type, then length and lower bound of each dimension.
fn binary_elements(value: &[u8]) -> Option<u64> {
    let word = |index: usize| {
        let bytes = value.get(index * 4..index * 4 + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let dimensions = usize::try_from(word(0)?).ok()?;
    if !(1..=6).contains(&dimensions) || word(1)? > 1 {
        return None;
    }
    let mut elements: u64 = 1;
    for dimension in 0..dimensions {
        elements = elements.saturating_mul(u64::from(word(3 + 2 * dimension)?));
    }
    // Each takes four bytes at least.
    (elements <= value.len() as u64 / 4).then_some(elements)
}

/// Elements of JSON arrays at any depth, and members of objects beyond a row's columns.
fn elements(text: &[u8], members: bool) -> u64 {
    let columns = if members { 0 } else { COLUMNS };
    let mut total: u64 = 0;
    // Of each open bracket: which it is, the commas in it, and whether anything stands in it.
    let mut open: Vec<(u8, u64, bool)> = Vec::new();
    let (mut quoted, mut escaped) = (false, false);
    for &byte in text {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'[' | b'{' => {
                if open.len() >= MAX_DEPTH {
                    return of_unseen(text.len() as u64);
                }
                mark(&mut open);
                open.push((byte, 0, false));
            }
            b',' => {
                if let Some(last) = open.last_mut() {
                    last.1 += 1;
                }
            }
            b']' | b'}' => {
                let Some((bracket, commas, filled)) = open.pop() else {
                    return of_unseen(text.len() as u64);
                };
                let inside = if filled { commas + 1 } else { 0 };
                total += match bracket {
                    b'[' => inside,
                    _ => inside.saturating_sub(columns),
                };
            }
            b' ' | b'\n' | b'\t' | b'\r' | b':' => {}
            byte => {
                quoted = byte == b'"';
                mark(&mut open);
            }
        }
    }
    total
}

/// Something stands in the innermost bracket.
fn mark(open: &mut [(u8, u64, bool)]) {
    if let Some(last) = open.last_mut() {
        last.2 = true;
    }
}

/// Brackets within brackets that are looked into.
const MAX_DEPTH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use Holding::{Anything, Array, Number, Separated, Tags};

    const ELEMENTS: Holding = Holding::Document { members: false };
    const MEMBERS: Holding = Holding::Document { members: true };

    fn weigh(value: &[u8], holding: Holding) -> u64 {
        of_values(&[Some(value), None], &Packed::pair(holding))
    }

    #[test]
    fn a_value_counts_by_its_form_where_that_is_known() {
        let comma = || Separated(", ".into());
        for (value, holding, expected) in [
            ("", Anything, 1),
            ("k0001x,k0002x,k0003x,k0004x,k0005x", Anything, 12),
            ("a, b, c", comma(), 3),
            ("", comma(), 1),
            ("\\x612c20", comma(), 3),
            ("[]", ELEMENTS, 1),
            (r#"["a","b","c"]"#, ELEMENTS, 3),
            ("[1,2,3,4]", ELEMENTS, 4),
            (r#"[{"a":1,"b":2},{"a":3,"b":4}]"#, ELEMENTS, 2),
            (r#"{"a":1,"b":2}"#, ELEMENTS, 1),
            (r#"{"a":1,"b":2}"#, MEMBERS, 2),
            (r#"{"a":[1,2],"b":[3]}"#, ELEMENTS, 3),
            (r#"["a,b","c\",d"]"#, ELEMENTS, 2),
            ("\u{1}[1,2,3]", ELEMENTS, 3),
            ("]]", ELEMENTS, 1),
            ("[]]", ELEMENTS, 2),
            ("{}", Array, 1),
            ("{a,b,c}", Array, 3),
            ("{{a,b},{c,d}}", Array, 4),
            (r#"{"a,b",c}"#, Array, 2),
            ("{a:,b:,c:}", Array, 3),
            ("[0:1]={a,b}", Array, 2),
            ("<c>a</c><c/>", Tags, 2),
            ("1234567890123456", Number, 1),
            ("1234567890123456789012345678901234", Number, 3),
        ] {
            assert_eq!(
                weigh(value.as_bytes(), holding.clone()),
                expected,
                "{value} as {holding:?}"
            );
        }
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        assert_eq!(weigh(deep.as_bytes(), ELEMENTS), 601 / 3 + 1);
    }

    #[test]
    fn a_separator_that_may_be_spelled_otherwise_is_not_looked_for() {
        // GBK for a list of three with a comma of its own.
        let list = b"k0001x\xa1\xa2k0002x\xa1\xa2k0003x";
        assert_eq!(weigh(list, Separated("\u{3001}".into())), 8);
        assert_eq!(
            weigh("a\u{3001}b".as_bytes(), Separated("\u{3001}".into())),
            2
        );
    }

    #[test]
    fn lines_of_copy_are_read_as_they_were_before() {
        let packed = Packed::pair(ELEMENTS);
        // Strings with a quote at their end: `["a\"","b\""]`
        assert_eq!(of_line(b"[\"a\\\\\"\",\"b\\\\\"\"]\t\\N\n", &packed), 2);
        // Not the columns that were expected.
        assert_eq!(of_line(b"[1,2,3]\tx\ty\n", &packed), 3 + 1 + 1);
        let csv = Packed {
            lines: false,
            ..packed
        };
        assert_eq!(of_line(b"\"[1,2,3]\",x\n", &csv), 4);
    }

    #[test]
    fn an_array_in_binary_form_is_counted() {
        let mut array: Vec<u8> = [1_u32, 0, 25, 3, 1]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        for text in [b"ab", b"cd", b"ef"] {
            array.extend(2_u32.to_be_bytes());
            array.extend(text);
        }
        assert_eq!(weigh(&array, Array), 3);
    }

    #[test]
    fn wide_rows_count_more_than_once() {
        assert_eq!([0, 8191, 8192, 80_000].map(of_bytes), [1, 1, 2, 10]);
    }

    #[test]
    fn an_object_of_many_members_is_more_than_a_row() {
        let object: Vec<String> = (0..200).map(|i| format!("\"k{i}\":{i}")).collect();
        let object = format!("{{{}}}", object.join(","));
        assert_eq!(weigh(object.as_bytes(), ELEMENTS), 136);
        assert_eq!(weigh(object.as_bytes(), MEMBERS), 200);
    }
}
