//! For how many rows a row counts that holds many.
//!
//! Where a statement gathers rows into values ([`Packed`]), each element of an array and of a JSON array counts as a row,
//! and other values by their length; of the values of a row, the heaviest ones count, as many as the statement gathers.
//! The scan reads bytes as they are on the wire and builds nothing; what it does not understand counts by length.
use crate::sql::packing::{Packed, Packing};

/// Values up to so many bytes are one row's, whatever they hold, unless they are arrays or JSON.
pub const PLAIN: usize = 16;
/// Bytes of a longer value that count as a row: a telephone number and what parts it from the next.
pub const UNIT: usize = 16;
/// Bytes of plain values of a row that gathers, over all of them, that count as a row.
pub const NARROW: u64 = 128;
/// ... where what was gathered can have been cut up again.
pub const CUT: u64 = 16;
/// ... where only numbers are gathered.
pub const REPORT: u64 = 1024;
/// Every row counts once more for so many bytes.
pub const WIDE: u64 = 8 * 1024;
/// Members of a JSON object that are columns of a row, where the statement makes no members of rows.
const COLUMNS: u64 = 64;
/// Strings within documents up to so many bytes are one row's.
const PLAIN_STRING: usize = 64;

/// The weight of a row of `bytes` that packs nothing.
pub const fn of_bytes(bytes: u64) -> u64 {
    bytes / WIDE + 1
}

/// The weight of a row that gathers and is too long to be looked at.
pub const fn of_unseen(bytes: u64) -> u64 {
    bytes / UNIT as u64 + 1
}

/// The weight of a row by its values, `None` being NULL.
pub fn of_values<'a>(values: impl Iterator<Item = Option<&'a [u8]>>, packed: Packed) -> u64 {
    let mut plain = 0;
    let mut weights: Vec<u64> = Vec::new();
    for value in values.flatten() {
        match counted(value, packed.packing) {
            0 => {
                plain += value.len() as u64;
                weights.push(by_length(value, packed.packing));
            }
            counted => weights.push(counted),
        }
    }
    weights.sort_unstable_by(|one, other| other.cmp(one));
    let gathers = usize::try_from(packed.gathers).unwrap_or(usize::MAX);
    let gathered: u64 = weights.iter().take(gathers).sum();
    let narrow = match packed.packing {
        _ if packed.cut => CUT,
        Packing::Numbers => REPORT,
        _ => NARROW,
    };
    gathered.max(plain / narrow).max(1)
}

/// Rows in a value whose form tells them; 0 for another.
fn counted(value: &[u8], packing: Packing) -> u64 {
    if packing == Packing::Numbers {
        return 0;
    }
    if let Some(elements) = binary_elements(value) {
        return elements.max((value.len() / (4 * UNIT)) as u64);
    }
    // jsonb's binary form is a version and then text.
    let text = value.strip_prefix(&[1]).unwrap_or(value);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[' | b'{') => elements(text, packing),
        _ => 0,
    }
}

/// Rows in a value by its length; where only numbers are gathered, of numbers.
fn by_length(value: &[u8], packing: Packing) -> u64 {
    let number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte) || !byte.is_ascii();
    match value.len() {
        0..=PLAIN => 0,
        _ if packing == Packing::Numbers && !value.iter().all(number) => 0,
        length => length.div_ceil(UNIT) as u64,
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
        0..=PLAIN_STRING => 0,
        length => (length / UNIT) as u64,
    }
}

/// Brackets within brackets that are looked into.
const MAX_DEPTH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use Packing::{Elements, Members, Numbers};

    fn packed(packing: Packing, gathers: u32) -> Packed {
        Packed {
            packing,
            gathers,
            cut: false,
            side_by_side: 1,
        }
    }

    fn weigh(value: &str, packing: Packing) -> u64 {
        of_values(
            [Some(value.as_bytes()), None].into_iter(),
            packed(packing, 1),
        )
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
            ("k0001x,k0002x,k0003x,k0004x,k0005x", Elements, 3),
            (
                "Zhang San, of the eastern region and its branches",
                Numbers,
                1,
            ),
            ("1234567890123456789012345678901234", Numbers, 3),
            (&long, Elements, 40),
            (&format!("[\"{long}\"]"), Elements, 41),
            (
                &format!("{}1{}", "[".repeat(300), "]".repeat(300)),
                Elements,
                601 / 16 + 1,
            ),
            ("]]", Elements, 1),
            ("[]]", Elements, 1),
        ] {
            assert_eq!(weigh(value, packing), expected, "{value}");
        }
    }

    #[test]
    fn only_as_many_values_as_are_gathered_count() {
        let list = b"k0001x,k0002x,k0003x,k0004x,k0005x,k0006x".as_slice();
        let row = |gathers| {
            of_values(
                [Some(list), Some(list), Some(b"x")].into_iter(),
                packed(Elements, gathers),
            )
        };
        assert_eq!([row(1), row(2), row(9)], [3, 6, 6]);
    }

    #[test]
    fn what_was_cut_up_again_counts_by_all_its_bytes() {
        let pieces = vec![Some(b"k0001xk0002x".as_slice()); 160];
        let cut = Packed {
            cut: true,
            ..packed(Elements, 1)
        };
        assert_eq!(of_values(pieces.iter().copied(), packed(Elements, 1)), 15);
        assert_eq!(of_values(pieces.into_iter(), cut), 120);
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
        assert_eq!(
            of_values([Some(array.as_slice())].into_iter(), packed(Elements, 1)),
            3
        );
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
