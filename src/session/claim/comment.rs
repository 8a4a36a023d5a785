//! Comments of a statement's text, and the one in which an application says who is asking, as sqlcommenter writes it:
//! `/*key='value',other='value'*/`, keys and values percent-encoded.
//!
//! A text may hold what somebody else made, so the comment counts only where the application puts it: as the first or the
//! last thing of the text, or before nothing but the RETURNING that a driver appends (pgjdbc for generated keys). If any
//! other comment as much as mentions a key, there is no telling which is whose.
use crate::sql::lex::{self, Kind, Token};

/// The comment that says who is asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub pairs: Vec<(String, String)>,
    /// What is signed: the text without the comment, and without white space around.
    pub rest: String,
    /// The text with blanks in the place of the comment, so that positions stay.
    pub bare: String,
}

struct Comment {
    start: usize,
    end: usize,
    is_block: bool,
}

/// Finds the comment that holds one of the keys.
///
/// # Errors
/// Why it is not certain what the text says.
pub(super) fn find(text: &str, keys: &[&str]) -> Result<Option<Found>, &'static str> {
    // What does not even end is refused for that by the grammar; until then it says nothing.
    let Ok(tokens) = lex::tokens(text) else {
        return match mentions(text, keys) {
            true => Err("the text cannot be read"),
            false => Ok(None),
        };
    };
    let comments = comments(text, &tokens);
    let of = |comment: &Comment| text.get(comment.start..comment.end).unwrap_or_default();
    let mut telling = comments
        .iter()
        .enumerate()
        .filter(|(_, comment)| mentions(of(comment), keys));
    let Some((index, comment)) = telling.next() else {
        return Ok(None);
    };
    if telling.next().is_some() {
        return Err("more than one comment mentions it");
    }
    let before_all = tokens
        .first()
        .is_none_or(|first| comment.end <= first.span.start);
    let last = tokens.iter().rfind(|token| !token.is(text, ";"));
    let after_all = last.is_none_or(|last| comment.start >= last.span.end);
    let is_last = index + 1 == comments.len();
    let outermost = (before_all && index == 0)
        || (is_last && (after_all || only_returning(text, &tokens, comment.end, keys)));
    if !outermost {
        return Err("the comment is neither the first nor the last thing of the text");
    }
    let inside = of(comment)
        .strip_prefix("/*")
        .and_then(|rest| rest.strip_suffix("*/"))
        .filter(|_| comment.is_block)
        .ok_or("it is not in a comment of the form /* ... */")?;
    if inside.contains("/*") {
        return Err("comments are nested");
    }
    let pairs = pairs(inside).ok_or("the comment is not of the form key='value'")?;
    let (head, tail) = (
        text.get(..comment.start).unwrap_or_default(),
        text.get(comment.end..).unwrap_or_default(),
    );
    let blanks = " ".repeat(of(comment).chars().count());
    Ok(Some(Found {
        pairs,
        rest: format!("{head}{tail}").trim().to_owned(),
        bare: match before_all || !after_all {
            true => format!("{head}{blanks}{tail}"),
            // Nothing has a position behind it.
            false => format!("{head} {tail}"),
        },
    }))
}

/// Whether nothing follows but `RETURNING *`, or a list of names, up to the end. A quoted name in which a key stands might
/// have swallowed the application's own comment.
fn only_returning(text: &str, tokens: &[Token], from: usize, keys: &[&str]) -> bool {
    let at = tokens.partition_point(|token| token.span.start < from);
    let mut rest = tokens.get(at..).unwrap_or_default();
    while let Some((last, before)) = rest.split_last()
        && last.is(text, ";")
    {
        rest = before;
    }
    let Some((first, list)) = rest.split_first() else {
        return false;
    };
    let names = || {
        let mut places = list.iter().enumerate();
        list.len() % 2 == 1
            && places.all(|(place, token)| match place % 2 {
                0 => matches!(token.kind, Kind::Word | Kind::Quoted),
                _ => token.is(text, ","),
            })
    };
    let all = || matches!(list, [star] if star.is(text, "*"));
    let tail = text.get(from..).unwrap_or_default();
    first.is_word(text, "returning") && (all() || names()) && !mentions(tail, keys)
}

/// All comments of a text, in order. They stand between tokens.
fn comments(text: &str, tokens: &[Token]) -> Vec<Comment> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    let ends = tokens
        .iter()
        .map(|token| (token.span.start, token.span.end));
    for (end, next) in ends.chain([(text.len(), text.len())]) {
        while at < end {
            let pair = (bytes.get(at), bytes.get(at + 1));
            let is_block = match pair {
                (Some(b'/'), Some(b'*')) => true,
                (Some(b'-'), Some(b'-')) => false,
                _ => {
                    at += 1;
                    continue;
                }
            };
            let start = at;
            at = match is_block {
                true => block_end(bytes, at),
                false => line_end(bytes, at),
            };
            found.push(Comment {
                start,
                end: at,
                is_block,
            });
        }
        at = next;
    }
    found
}

fn line_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && !matches!(bytes.get(at), Some(b'\n' | b'\r')) {
        at += 1;
    }
    at
}

fn block_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while at < bytes.len() {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (Some(b'*'), Some(b'/')) => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// Whether a text holds one of the keys, in whatever case and encoding.
fn mentions(text: &str, keys: &[&str]) -> bool {
    let plain = text.to_lowercase();
    let decoded = lenient(text).to_lowercase();
    keys.iter().any(|key| {
        let key = key.to_lowercase();
        plain.contains(&key) || decoded.contains(&key)
    })
}

/// `key='value', ...`; `None` where it is anything else.
fn pairs(inside: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = inside.trim();
    loop {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim();
        if key.is_empty() || key.contains(['\'', ',', '"', ' ', '\t', '\n', '\r']) {
            return None;
        }
        let quoted = after.trim_start().strip_prefix('\'')?;
        let end = closing(quoted)?;
        let value = quoted.get(..end)?;
        pairs.push((strict(key)?, strict(value)?));
        rest = quoted.get(end + 1..)?.trim_start();
        if rest.is_empty() {
            return Some(pairs);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// Where the quote is that ends a value: one behind a backslash does not.
fn closing(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'\'' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Percent-encoded text (RFC 3986, 2.1), and quotes behind backslashes; nothing else stands for something else.
fn strict(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                bytes.push(byte_of(after)?);
                rest = after.get(2..)?;
            }
            b'\\' => {
                let (b'\'', after) = after.split_first()? else {
                    return None;
                };
                bytes.push(b'\'');
                rest = after;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encoding undone wherever there is any.
fn lenient(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, byte_of(after)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn byte_of(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}
