//! The hash chain: how a record becomes a line that cannot be changed, dropped or moved unnoticed.
//!
//! A line of the spool is
//! ```text
//! {"hash":"<64 hex>","prev":"<64 hex>","seq":<n>,<the record's own fields>}\n
//! ```
//! without any other white space outside strings, hexadecimal digits in lower case. `hash` is the SHA-256 of the
//! line's bytes after `{"hash":"...",`, newline excluded: so of `prev`, `seq` and the record, exactly as they are
//! written. Nothing has to be parsed or brought into a canonical form to check it:
//! ```text
//! sed -n 5p audit-000001.jsonl | tr -d '\n' | tail -c +76 | sha256sum
//! ```
//! `prev` is the `hash` of the line before, in the segment before where the line is the first of its segment.
//! `seq` counts the lines of a chain from 1. The `prev` of line 1 is the SHA-256 of [`GENESIS_PREFIX`] and the
//! random chain id that this line carries as `chain`, so that no two chains share a beginning.
//!
//! The chain alone cannot show that its end was cut off at a line, or that all of it was computed anew by somebody
//! who may write the files: for that, keep a `hash` elsewhere and give it to `pgveil audit verify --through`.
use std::fmt;
use std::io::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

/// Hashed before the chain id to give the `prev` of the first line.
pub const GENESIS_PREFIX: &str = "pgveil audit chain 1\n";

const HASH_OPEN: &[u8] = b"{\"hash\":\"";
const PREV_OPEN: &[u8] = b"\",\"prev\":\"";
const SEQ_OPEN: &[u8] = b"\",\"seq\":";
const HEX: usize = 64;
/// Of the largest sequence number.
const SEQ_DIGITS: usize = 20;
/// Length of `{"hash":"<64 hex>",`: the hashed part begins here.
const HASHED_FROM: usize = HASH_OPEN.len() + HEX + 2;

/// Bytes of a line that come before its record at least: `{"hash":"<64 hex>","prev":"<64 hex>","seq":`.
pub const SEALED: usize = HASHED_FROM + PREV_OPEN.len() + HEX + SEQ_OPEN.len() - 2;

/// A SHA-256 of the chain. Displays as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The `prev` of the first line of the chain with that id.
    pub fn genesis(chain_id: &str) -> Self {
        Hash::of(format!("{GENESIS_PREFIX}{chain_id}").as_bytes())
    }

    /// The number that its first 13 hexadecimal digits make: as many as a double holds exactly.
    pub fn leading(&self) -> u64 {
        let first = self.0.first_chunk::<8>().copied().unwrap_or_default();
        u64::from_be_bytes(first) >> 12
    }

    /// Two lower-case hexadecimal digits for each byte.
    fn hex(&self) -> [u8; HEX] {
        let mut hex = [b'0'; HEX];
        let (pairs, _) = hex.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        hex
    }

    /// By the library that TLS uses: where a processor has no instructions for SHA-256, it takes half as long as one that is
    /// written in Rust.
    fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        // Both are of one length.
        if let Some(whole) = digest(&SHA256, bytes).as_ref().first_chunk() {
            hash = *whole;
        }
        Hash(hash)
    }

    /// Exactly 64 lower-case hexadecimal digits.
    pub fn parse(hex: &[u8]) -> Option<Self> {
        let (pairs, []) = hex.as_chunks::<2>() else {
            return None;
        };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Hash(bytes))
    }
}

/// Of a number below 16. Without a table and a branch, so that many are made at a time.
const fn digit(nibble: u8) -> u8 {
    let letters = (9u8.wrapping_sub(nibble) >> 7) * (b'a' - b'0' - 10);
    nibble + b'0' + letters
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.hex();
        formatter.write_str(std::str::from_utf8(&hex).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hash({self})")
    }
}

/// Appends the line of a record to `out`, newline included, and returns its hash.
///
/// `record` is a JSON object with at least one member and no newline.
pub fn seal(out: &mut Vec<u8>, prev: Hash, seq: u64, record: &[u8]) -> Hash {
    let members = record.strip_prefix(b"{").unwrap_or(record);
    out.reserve(SEALED + SEQ_DIGITS + members.len() + 2);
    let begin = out.len();
    out.extend_from_slice(HASH_OPEN);
    out.extend_from_slice(&[b'0'; HEX]);
    // `","prev":"`, whose first two bytes close the hash before it.
    out.extend_from_slice(PREV_OPEN);
    out.extend_from_slice(&prev.hex());
    out.extend_from_slice(SEQ_OPEN);
    let _ = write!(out, "{seq}");
    out.push(b',');
    out.extend_from_slice(members);
    let hash = Hash::of(out.get(begin + HASHED_FROM..).unwrap_or_default());
    let place = begin + HASH_OPEN.len();
    if let Some(place) = out.get_mut(place..place + HEX) {
        place.copy_from_slice(&hash.hex());
    }
    out.push(b'\n');
    hash
}

/// What the chain says in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub hash: Hash,
    pub prev: Hash,
    pub seq: u64,
}

/// Why a line is not one that [`seal`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("the record is cut off")]
    Truncated,
    #[error("this is not a line of an audit chain")]
    Layout,
    #[error("the record was changed: its bytes do not have the hash it carries")]
    Changed,
}

/// Takes the line of a record apart (newline excluded) and checks its bytes against its own hash.
pub fn unseal(line: &[u8]) -> Result<Link, LineError> {
    let link = layout(line).ok_or_else(|| {
        if HASH_OPEN.starts_with(line) || (line.starts_with(HASH_OPEN) && !line.ends_with(b"}")) {
            LineError::Truncated
        } else {
            LineError::Layout
        }
    })?;
    let hashed = line.get(HASHED_FROM..).ok_or(LineError::Truncated)?;
    if Hash::of(hashed) == link.hash {
        Ok(link)
    } else if line.ends_with(b"}") {
        Err(LineError::Changed)
    } else {
        Err(LineError::Truncated)
    }
}

fn layout(line: &[u8]) -> Option<Link> {
    let (hash, rest) = line.strip_prefix(HASH_OPEN)?.split_at_checked(HEX)?;
    let (prev, rest) = rest.strip_prefix(PREV_OPEN)?.split_at_checked(HEX)?;
    let rest = rest.strip_prefix(SEQ_OPEN)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (seq, rest) = rest.split_at_checked(digits)?;
    if !rest.starts_with(b",") {
        return None;
    }
    Some(Link {
        hash: Hash::parse(hash)?,
        prev: Hash::parse(prev)?,
        seq: std::str::from_utf8(seq).ok()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Vec<u8> {
        let mut out = Vec::new();
        seal(&mut out, Hash::genesis("c"), 1, br#"{"event":"start"}"#);
        out.pop();
        out
    }

    #[test]
    fn the_hash_is_that_of_the_bytes_from_the_76th_on() {
        let line = line();
        let link = unseal(&line).expect("a sealed line opens");
        assert_eq!(HASHED_FROM, 75);
        assert_eq!(
            String::from_utf8_lossy(&line),
            format!(
                r#"{{"hash":"{}","prev":"{}","seq":1,"event":"start"}}"#,
                Hash::of(&line[75..]),
                Hash::genesis("c")
            )
        );
        assert_eq!((link.seq, link.prev), (1, Hash::genesis("c")));
    }

    #[test]
    fn the_leading_number_is_that_of_the_first_13_digits() {
        let hash = Hash::genesis("c");
        let digits = &hash.to_string()[..13];
        assert_eq!(u64::from_str_radix(digits, 16), Ok(hash.leading()));
    }

    #[test]
    fn a_sealed_line_is_json() {
        let value: serde_json::Value = serde_json::from_slice(&line()).expect("json");
        assert_eq!(value["event"], "start");
    }

    #[test]
    fn every_changed_byte_is_found() {
        let line = line();
        for place in 0..line.len() {
            for change in [1, 0x20, 0x80] {
                let mut changed = line.clone();
                changed[place] ^= change;
                assert!(unseal(&changed).is_err(), "byte {place} xor {change}");
            }
        }
    }

    #[test]
    fn every_shortened_line_is_called_cut_off() {
        let line = line();
        for end in 0..line.len() {
            assert_eq!(unseal(&line[..end]), Err(LineError::Truncated), "{end}");
        }
    }

    #[test]
    fn a_hash_in_upper_case_is_not_the_same_line() {
        let text = String::from_utf8(line()).expect("utf-8");
        let hash = &text[9..73];
        let upper = text.replacen(hash, &hash.to_uppercase(), 1);
        assert_eq!(unseal(upper.as_bytes()), Err(LineError::Layout));
    }
}
