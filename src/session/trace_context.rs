//! The trace that a statement belongs to, where its text says so: W3C Trace Context in a comment, as sqlcommenter writes it
//! (`/*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/`).
use crate::audit::TraceRecord;

const KEY: &str = "traceparent";

/// Only comments at the very beginning and end of a text count, where sqlcommenter puts them: what looks like a comment elsewhere may
/// stand in a literal, and no part of a literal gets on record.
pub fn of(text: &str) -> Option<TraceRecord> {
    let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace() || letter == ';');
    let last = text
        .strip_suffix("*/")
        .and_then(|before| before.rsplit_once("/*"))
        .map(|(_, comment)| comment);
    let first = text
        .strip_prefix("/*")
        .and_then(|after| after.split_once("*/"))
        .map(|(comment, _)| comment);
    [last, first].into_iter().flatten().find_map(commented)
}

fn commented(comment: &str) -> Option<TraceRecord> {
    comment.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        (key.trim() == KEY).then(|| parse(value)).flatten()
    })
}

/// Section 3.2.2 of Trace Context. A later version may go on behind what version 00 has.
fn parse(value: &str) -> Option<TraceRecord> {
    let mut parts = value.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let rest = parts.next().is_some();
    let sound = hex(version, 2)
        && version != "ff"
        && (version != "00" || !rest)
        && id(trace, 32)
        && id(parent, 16)
        && hex(flags, 2);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    sound.then(|| TraceRecord {
        trace_id: trace.to_owned(),
        parent_id: parent.to_owned(),
        sampled: flags & 1 == 1,
    })
}

fn hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// All zeroes are no identifier.
fn id(text: &str, length: usize) -> bool {
    hex(text, length) && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn context(sampled: bool) -> Option<TraceRecord> {
        Some(TraceRecord {
            trace_id: TRACE.to_owned(),
            parent_id: PARENT.to_owned(),
            sampled,
        })
    }

    #[test]
    fn a_comment_of_sqlcommenter_names_the_trace() {
        for (text, sampled) in [
            (
                format!("SELECT 1 /*traceparent='00-{TRACE}-{PARENT}-01'*/"),
                true,
            ),
            (
                format!("SELECT 1 /*traceparent='00-{TRACE}-{PARENT}-00'*/;\n"),
                false,
            ),
            (
                format!("/*traceparent='00-{TRACE}-{PARENT}-01'*/ SELECT 1"),
                true,
            ),
            (
                format!(
                    "SELECT 1 /*a='b%2C',traceparent='00-{TRACE}-{PARENT}-03',tracestate='x%3D1'*/"
                ),
                true,
            ),
            (
                format!("SELECT 1 /*traceparent='01-{TRACE}-{PARENT}-01-more'*/"),
                true,
            ),
        ] {
            assert_eq!(of(&text), context(sampled), "{text}");
        }
    }

    #[test]
    fn anything_else_names_none() {
        for text in [
            "SELECT 1".to_owned(),
            String::new(),
            format!("SELECT 1 /*traceparent=00-{TRACE}-{PARENT}-01*/"),
            format!("SELECT 1 /*traceparent='00-{TRACE}-{PARENT}-01-more'*/"),
            format!("SELECT 1 /*traceparent='ff-{TRACE}-{PARENT}-01'*/"),
            format!(
                "SELECT 1 /*traceparent='00-{}-{PARENT}-01'*/",
                "0".repeat(32)
            ),
            format!(
                "SELECT 1 /*traceparent='00-{TRACE}-{}-01'*/",
                "0".repeat(16)
            ),
            format!(
                "SELECT 1 /*traceparent='00-{}-{PARENT}-01'*/",
                TRACE.to_uppercase()
            ),
            format!("SELECT 1 /*traceparent='00-{TRACE}-{PARENT}'*/"),
            // In a literal: it may be data.
            format!("SELECT '/*traceparent=''00-{TRACE}-{PARENT}-01''*/' AS x"),
            format!("SELECT '/*traceparent=\\'00-{TRACE}-{PARENT}-01\\'*/'"),
        ] {
            assert_eq!(of(&text), None, "{text}");
        }
    }
}
