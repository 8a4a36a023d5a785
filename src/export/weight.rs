//! For how many rows a row counts that holds many.
//!
//! Where a statement gathers rows into values ([`Packing`]), each element of an array and of a JSON array counts as a
//! row, and text beyond [`PLAIN`] bytes by its length. The scan reads bytes as they are on the wire and builds nothing;
//! what it does not understand counts by length.
use crate::sql::packing::Packing;

/// Values up to so many bytes are one row's, whatever they hold, unless they are arrays or JSON.
pub const PLAIN: usize = 64;
/// Bytes of a longer value that count as a row: a name and a telephone number.
pub const UNIT: usize = 32;
/// Every row, packed or not, counts once more for so many bytes.
pub const WIDE: u64 = 8 * 1024;
/// Members of a JSON object that are columns of a row, where the statement makes no members of rows.
const COLUMNS: u64 = 64;

/// The weight of a row of `bytes` that packs nothing.
pub const fn of_bytes(bytes: u64) -> u64 {
    bytes / WIDE + 1
}

/// The weight of a row that packs and is too long to be looked at.
pub const fn of_unseen(bytes: u64) -> u64 {
    bytes / UNIT as u64 + 1
}

/// The weight of a row by its values, `None` being NULL.
pub fn of_values<'a>(values: impl Iterator<Item = Option<&'a [u8]>>, packing: Packing) -> u64 {
    let mut heaviest = 0;
    for value in values.flatten() {
        heaviest += of_value(value, packing);
    }
    heaviest.max(1)
}

/// Rows in one value; 0 for one that holds a single row's.
fn of_value(value: &[u8], packing: Packing) -> u64 {
    // jsonb's binary form is a version and then text.
    let text = value.strip_prefix(&[1]).unwrap_or(value);
    let counted = match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[' | b'{') => elements(text, packing),
        _ => 0,
    };
    let by_length = match value.len() {
        0..=PLAIN => 0,
        length => (length / UNIT) as u64,
    };
    match counted {
        0 => by_length,
        counted => counted,
    }
}

/// Elements of JSON arrays and of PostgreSQL's array literals at any depth, members beyond a row's columns, and long
/// strings by their length. 0: it is neither.
fn elements(text: &[u8], packing: Packing) -> u64 {
    let columns = if packing == Packing::Members {
        0
    } else {
        COLUMNS
    };
    let mut total: u64 = 0;
    // Of each open bracket: whether it is a JSON array, and the commas in it.
    let mut open: Vec<(u8, u64, bool)> = Vec::new();
    let (mut quoted, mut escaped, mut length) = (false, false, 0_usize);
    let mut plain = 0_usize;
    for &byte in text {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    quoted = false;
                    total += long(length);
                }
                _ => {}
            }
            length += 1;
            continue;
        }
        match byte {
            b'"' => (quoted, length) = (true, 0),
            b'[' | b'{' => {
                if open.len() >= MAX_DEPTH {
                    return of_unseen(text.len() as u64);
                }
                mark(&mut open);
                open.push((byte, 0, false));
            }
            b',' => {
                total += long(plain);
                plain = 0;
                if let Some(last) = open.last_mut() {
                    last.1 += 1;
                }
            }
            b']' | b'}' => {
                total += long(plain);
                plain = 0;
                let Some((bracket, commas, filled)) = open.pop() else {
                    return of_unseen(text.len() as u64);
                };
                let members = if filled { commas + 1 } else { 0 };
                total += match bracket {
                    b'[' => members,
                    _ => members.saturating_sub(columns),
                };
            }
            b' ' | b'\n' | b'\t' | b'\r' | b':' => {}
            _ => {
                mark(&mut open);
                plain += 1;
            }
        }
        if byte == b'"' {
            mark(&mut open);
        }
    }
    // A PostgreSQL array has braces and no names in it.
    let is_array = text.trim_ascii_start().first() == Some(&b'{') && !text.contains(&b':');
    match is_array {
        true => total.max(text.iter().filter(|byte| **byte == b',').count() as u64 + 1),
        false => total,
    }
}

/// Something stands in the innermost bracket.
fn mark(open: &mut [(u8, u64, bool)]) {
    if let Some(last) = open.last_mut() {
        last.2 = true;
    }
}

const fn long(length: usize) -> u64 {
    match length {
        0..=PLAIN => 0,
        length => (length / UNIT) as u64,
    }
}

/// Brackets within brackets that are looked into.
const MAX_DEPTH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use Packing::{Elements, Members};

    fn weigh(value: &str, packing: Packing) -> u64 {
        of_values([Some(value.as_bytes()), None].into_iter(), packing)
    }

    #[test]
    fn each_element_is_a_row() {
        let long = "x".repeat(640);
        for (value, packing, expected) in [
            ("", Elements, 1),
            ("ann", Elements, 1),
            ("[]", Elements, 1),
            ("{}", Elements, 1),
            (r#"["a","b","c"]"#, Elements, 3),
            ("[1,2,3,4]", Elements, 4),
            (r#"[{"a":1,"b":2},{"a":3,"b":4}]"#, Elements, 2),
            (r#"{"a":1,"b":2}"#, Elements, 1),
            (r#"{"a":1,"b":2}"#, Members, 2),
            (r#"{"a":[1,2],"b":[3]}"#, Elements, 3),
            (r#"["a,b","c\",d"]"#, Elements, 2),
            ("{a,b,c}", Elements, 3),
            ("{{a,b},{c,d}}", Elements, 4),
            (r#"{"a,b",c}"#, Elements, 3),
            ("\u{1}[1,2,3]", Elements, 3),
            (&long, Elements, 20),
            (&format!("[\"{long}\"]"), Elements, 21),
            (
                &format!("{}1{}", "[".repeat(300), "]".repeat(300)),
                Elements,
                601 / 32 + 1,
            ),
            ("]]", Elements, 1),
            ("[]]", Elements, 1),
        ] {
            assert_eq!(weigh(value, packing), expected, "{value}");
        }
    }

    #[test]
    fn wide_rows_count_more_than_once() {
        assert_eq!([0, 8191, 8192, 80_000].map(of_bytes), [1, 1, 2, 10]);
    }

    #[test]
    fn an_object_of_many_members_is_more_than_a_row() {
        let object: Vec<String> = (0..200).map(|i| format!("\"k{i}\":{i}")).collect();
        let object = format!("{{{}}}", object.join(","));
        assert_eq!(weigh(&object, Elements), 136);
        assert_eq!(weigh(&object, Members), 200);
    }
}
