//! For how many rows a row counts that holds many.
//!
//! What a statement gathers into a value ([`Holding`]) counts by the value's form where the statement says what that is:
//! elements of an array, separators in a text, bytes of a text that each row has one of. Where it does not, a bit counts as
//! a row.
use std::borrow::Cow;
use std::sync::Arc;

use crate::sql::packing::{Holding, Packed};

/// Digits of a product that count as a row.
pub const DIGITS: usize = 3;
/// Digits of a sum that are its own.
pub const NUMBER: usize = 16;
/// Digits that a division adds: PostgreSQL gives 16 significant ones at least, and up to four more with a point among them.
const QUOTIENT: usize = 8;
/// Bytes of the sums of a row that count as a row.
pub const NUMBERS: u64 = 1024;
/// Every row counts once more for so many bytes.
pub const WIDE: u64 = 8 * 1024;
/// Members of a JSON object that are columns of a row, where the statement makes no members of rows.
const COLUMNS: u64 = 64;
/// Bits of a byte.
const BYTE: u64 = 8;
/// Bits of a digit, decimal or hexadecimal, at most.
const DIGIT: u64 = 4;

/// A text of the client's encoding in UTF-8, `None` where it cannot be read. In several encodings the second byte of a
/// character may look like a bracket, a separator or a backslash.
pub type Reading<'a> = &'a dyn for<'v> Fn(&'v [u8]) -> Option<Cow<'v, [u8]>>;

/// A text that is in UTF-8 already.
#[allow(clippy::unnecessary_wraps, reason = "it is a `Reading`")]
pub fn as_it_is(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    Some(Cow::Borrowed(text))
}

/// The weight of a row of `bytes` that packs nothing.
pub const fn of_bytes(bytes: u64) -> u64 {
    bytes / WIDE + 1
}

/// The weight of a row that gathers and is too long to be looked at.
pub fn of_unseen(bytes: u64, packed: &Packed) -> u64 {
    let dense = packed
        .columns
        .as_ref()
        .is_some_and(|columns| columns.are_dense());
    bytes.saturating_mul(if dense { BYTE } else { 1 }).max(1)
}

/// The weight of a row by its values, `None` being NULL.
pub fn of_values(values: &[Option<&[u8]>], packed: &Packed, read: Reading<'_>) -> u64 {
    let Some(columns) = &packed.columns else {
        return 1;
    };
    let (mut gathered, mut numbers) = (0_u64, 0);
    let mut elements: Vec<&str> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            continue;
        };
        let holding = columns.of(index, values.len());
        match holding {
            Holding::Element(key) if !key.is_empty() && elements.contains(&&**key) => continue,
            Holding::Element(key) => elements.push(key),
            Holding::Number | Holding::Scaled | Holding::Quotient => numbers += value.len() as u64,
            _ => {}
        }
        gathered = gathered.saturating_add(of_value(value, holding, read));
    }
    let gathered = gathered.saturating_mul(u64::from(packed.side_by_side));
    gathered.max(numbers / NUMBERS).max(1)
}

/// The weight of a line of text that COPY sent.
pub fn of_line(line: &[u8], packed: &Packed, read: Reading<'_>) -> u64 {
    if packed.columns.is_none() {
        return 1;
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let Some(text) = read(line).filter(|_| packed.lines) else {
        return of_unseen(line.len() as u64, packed).saturating_mul(u64::from(packed.side_by_side));
    };
    let values: Vec<Option<Cow<'_, [u8]>>> = text
        .split(|byte| *byte == b'\t')
        .map(|value| (value != b"\\N").then(|| unescaped(value)))
        .collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    of_values(&values, packed, &as_it_is)
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
fn of_value(value: &[u8], holding: &Holding, read: Reading<'_>) -> u64 {
    let text = |weigh: &dyn Fn(&[u8]) -> u64| match read(value) {
        Some(text) => weigh(&text),
        None => by_length(value),
    };
    match holding {
        Holding::Own => 0,
        Holding::Number | Holding::Scaled => number(value.len()),
        Holding::Quotient => number(figures(value).saturating_sub(QUOTIENT)),
        Holding::Product => value.len().div_ceil(DIGITS) as u64,
        Holding::Element(_) => 1,
        Holding::Array => binary_elements(value)
            .unwrap_or_else(|| text(&|text| array(text).unwrap_or_else(|| by_length(text)))),
        Holding::Document {
            members,
            depth,
            separators,
        } => text(&|text| document(text, *members, *depth, separators)),
        // Bytes are no text of any encoding.
        Holding::Separated(separators) => {
            text(&|text| parts(text, separators).max(parts(value, separators)))
        }
        Holding::Tags => text(&|text| occurrences(text, b"</") + occurrences(text, b"/>")),
        // That there is none says something, too.
        Holding::Joined => by_length(value).max(1),
        Holding::Anything => by_bits(value).max(1),
    }
}

/// Each row has a byte at least.
const fn by_length(value: &[u8]) -> u64 {
    value.len() as u64
}

/// As many truths as there is room for.
fn by_bits(value: &[u8]) -> u64 {
    let digits = |byte: &u8| byte.is_ascii_hexdigit() || b".-+\\x".contains(byte);
    let bits = match value {
        _ if value.iter().all(|byte| matches!(byte, b'0' | b'1')) => 1,
        _ if value.iter().all(digits) => DIGIT,
        _ => BYTE,
    };
    by_length(value).saturating_mul(bits)
}

/// A number that is long enough counts by its length.
fn number(length: usize) -> u64 {
    match length {
        0..=NUMBER => 0,
        length => length.div_ceil(NUMBER) as u64,
    }
}

/// Digits from the first on that is not 0.
fn figures(value: &[u8]) -> usize {
    let leading = value.iter().take_while(|byte| b"-0.".contains(byte));
    value.len() - leading.count()
}

/// Values with a separator between every two of them. Bytes in text form have theirs in their digits, or in escapes.
fn parts(value: &[u8], separators: &[Arc<str>]) -> u64 {
    let plain = |text: &Arc<str>| {
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    };
    if value.starts_with(b"\\x") || (value.contains(&b'\\') && !separators.iter().all(plain)) {
        return by_length(value);
    }
    between(value, separators) + 1
}

fn between(value: &[u8], separators: &[Arc<str>]) -> u64 {
    let each = separators.iter();
    each.map(|separator| occurrences(value, separator.as_bytes()))
        .sum()
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

/// Elements of a JSON document, and what stands between rows in its texts.
fn document(value: &[u8], members: bool, depth: u8, separators: &[Arc<str>]) -> u64 {
    // jsonb's binary form is a version and then text.
    let text = value.strip_prefix(&[1]).unwrap_or(value);
    let elements = match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[' | b'{') => elements(text, members, usize::from(depth)),
        // `null`, a value of a row, or a list.
        Some(_) if text.len() <= NUMBER || !separators.is_empty() => 1,
        Some(_) => by_length(text),
        None => 0,
    };
    elements + between(text, separators)
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

/// Elements of JSON arrays, of so many within each other, and members of objects beyond a row's columns.
fn elements(text: &[u8], members: bool, depth: usize) -> u64 {
    let columns = if members { 0 } else { COLUMNS };
    let mut total: u64 = 0;
    // Of each open bracket: which it is, the commas in it, and whether anything stands in it.
    let mut open: Vec<(u8, u64, bool)> = Vec::new();
    let mut arrays: usize = 0;
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
                    return by_length(text);
                }
                mark(&mut open);
                open.push((byte, 0, false));
                arrays += usize::from(byte == b'[');
            }
            b',' => {
                if let Some(last) = open.last_mut() {
                    last.1 += 1;
                }
            }
            b']' | b'}' => {
                let Some((bracket, commas, filled)) = open.pop() else {
                    return by_length(text);
                };
                let inside = if filled { commas + 1 } else { 0 };
                total += match bracket {
                    b'[' if arrays > depth => 0,
                    b'[' => inside,
                    _ => inside.saturating_sub(columns),
                };
                arrays -= usize::from(bracket == b'[');
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
    use crate::session::charset::Charset;
    use crate::sql::packing::holdings::{document, separated};
    use Holding::{Anything, Array, Element, Joined, Number, Product, Quotient, Tags};

    fn weigh(value: &[u8], holding: Holding) -> u64 {
        of_values(&[Some(value), None], &Packed::pair(holding), &as_it_is)
    }

    /// `json_agg(c)` of a table whose rows have arrays and documents of their own.
    #[test]
    fn arrays_of_a_row_are_no_rows() {
        let rows = br#"[{"id":1,"tags":["a","b"],"custom":{"phones":[{"n":[1,2,3]}]}}, {"id":2,"tags":[]}]"#;
        for (depth, expected) in [(0, 0), (1, 2), (2, 5), (3, 8), (u8::MAX, 8)] {
            assert_eq!(weigh(rows, document(false, depth, &[])), expected.max(1));
        }
        // Side by side they are at the same depth.
        assert_eq!(weigh(b"[[1,2],[3],[[4,5]]]", document(false, 2, &[])), 7);
    }

    #[test]
    fn a_value_counts_by_its_form_where_that_is_known() {
        let comma = || separated(&[", "]);
        let (elements, members) = (
            || document(false, u8::MAX, &[]),
            || document(true, u8::MAX, &[]),
        );
        for (value, holding, expected) in [
            ("", Anything, 1),
            // Flags: a character each, and as few as there can be for so many.
            ("fmmfmfff", Joined, 8),
            ("10010111", Anything, 8),
            ("151", Anything, 12),
            ("\\x97", Anything, 16),
            ("\u{97}", Anything, 16),
            ("lw==", Anything, 32),
            ("1234567", Product, 3),
            ("k0001x", Element("1".into()), 1),
            ("a, b, c", comma(), 3),
            ("", comma(), 1),
            ("\\x612c20", comma(), 8),
            ("a, b; c", separated(&[", ", "; "]), 3),
            (r"a\012b\012c", separated(&["\n"]), 11),
            (r"a\b, c", comma(), 2),
            ("[]", elements(), 1),
            (r#"["a","b","c"]"#, elements(), 3),
            ("[1,2,3,4]", elements(), 4),
            (r#"[{"a":1,"b":2},{"a":3,"b":4}]"#, elements(), 2),
            (r#"{"a":1,"b":2}"#, elements(), 1),
            (r#"{"a":1,"b":2}"#, members(), 2),
            (r#"{"a":[1,2],"b":[3]}"#, elements(), 3),
            (r#"["a,b","c\",d"]"#, elements(), 2),
            ("\u{1}[1,2,3]", elements(), 3),
            ("]]", elements(), 1),
            ("[]]", elements(), 3),
            ("{}", Array, 1),
            ("{a,b,c}", Array, 3),
            ("{{a,b},{c,d}}", Array, 4),
            (r#"{"a,b",c}"#, Array, 2),
            ("{a:,b:,c:}", Array, 3),
            ("[0:1]={a,b}", Array, 2),
            ("<c>a</c><c/>", Tags, 2),
            ("1234567890123456", Number, 1),
            ("-0.00001234567890123456789", Quotient, 1),
            ("1234567890.1234567890123", Quotient, 1),
            ("1234567890123456789012345678901234567890", Quotient, 2),
            ("1234567890123456789012345678901234", Number, 3),
        ] {
            assert_eq!(
                weigh(value.as_bytes(), holding.clone()),
                expected,
                "{value} as {holding:?}"
            );
        }
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        assert_eq!(weigh(deep.as_bytes(), elements()), 601);
    }

    #[test]
    fn values_are_read_in_the_clients_encoding() {
        let gbk: Reading<'_> = &|value| {
            let text = Charset::of("GBK", "UTF8").decode(value).ok()?;
            Some(Cow::Owned(text.into_owned().into_bytes()))
        };
        let weigh = |value: &[u8], holding: Holding| {
            let packed = Packed::pair(holding);
            let binary = of_values(&[Some(value), None], &packed, gbk);
            let line = [value, b"\t\\N\n"].concat();
            (binary, of_line(&line, &packed, gbk))
        };
        // A list of three with a comma of its own.
        let list = b"k0001x\xa1\xa2k0002x\xa1\xa2k0003x";
        assert_eq!(weigh(list, separated(&["\u{3001}"])), (3, 3));
        // A letter whose second byte is a backslash, before a quote and before a comma.
        let json = b"[\"\xbf\x5c\",\"\xbf\x5c\",\"\xbf\x5c\"]";
        assert_eq!(weigh(json, document(false, u8::MAX, &[])), (3, 3));
        assert_eq!(weigh(b"{\xbf\x5c,\xbf\x5c,\xbf\x5c}", Array), (3, 3));
        // Bytes that are no letters: each counts. Bytes that could be letters do not hide what stands between them.
        assert_eq!(weigh(b"\xff\xff|\xff", separated(&["|"])).0, 4);
        assert_eq!(weigh(b"k\xa5|k\xa5|k", separated(&["|"])).0, 3);
    }

    #[test]
    fn an_element_of_the_same_row_counts_once() {
        let elements = |keys: [&str; 3]| {
            let packed = Packed::of(keys.map(|key| Element(key.into())));
            of_values(&[Some(b"a"), Some(b"b"), Some(b"c")], &packed, &as_it_is)
        };
        assert_eq!(elements(["1", "1", "1"]), 1);
        assert_eq!(elements(["1", "2", "1"]), 2);
        assert_eq!(elements(["", "", ""]), 3, "nobody knows of which");
    }

    #[test]
    fn lists_within_documents_are_counted() {
        let report = br#"[{"name":"n","tags":"a, b, c"},{"name":"m","tags":"d"}]"#;
        // Two rows, four members, two commas.
        assert_eq!(weigh(report, document(true, u8::MAX, &[", "])), 8);
        assert_eq!(weigh(b"a, b, c", document(true, u8::MAX, &[", "])), 3);
    }

    #[test]
    fn what_is_too_long_to_be_looked_at_counts_by_its_bytes() {
        assert_eq!(of_unseen(1000, &Packed::pair(Joined)), 1000);
        assert_eq!(of_unseen(1000, &Packed::pair(Anything)), 8000);
    }

    #[test]
    fn lines_of_copy_are_read_as_they_were_before() {
        let of_line = |line: &[u8], packed: &Packed| of_line(line, packed, &as_it_is);
        let packed = Packed::pair(document(false, u8::MAX, &[]));
        // Strings with a quote at their end: `["a\"","b\""]`
        assert_eq!(of_line(b"[\"a\\\\\"\",\"b\\\\\"\"]\t\\N\n", &packed), 2);
        // Not the columns that were expected.
        assert_eq!(of_line(b"[1,2,3]\tx\ty\n", &packed), 7 * 8 + 4 + 8);
        let csv = Packed {
            lines: false,
            ..packed
        };
        assert_eq!(of_line(b"\"[1,2,3]\",x\n", &csv), 11);
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
        assert_eq!(weigh(object.as_bytes(), document(false, u8::MAX, &[])), 136);
        assert_eq!(weigh(object.as_bytes(), document(true, u8::MAX, &[])), 200);
    }
}
