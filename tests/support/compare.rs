//! What a client is told, in a form that two sessions can be compared by.
use super::message::{Client, Frame};

pub fn shows(frames: &[Frame], text: &str) -> bool {
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

pub fn error(frames: &[Frame]) -> Option<(String, String)> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    Some((frame.field(b'C')?, frame.field(b'M')?))
}

/// Values of the first columns.
pub fn values(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| {
        let value = row.columns().into_iter().next().flatten();
        String::from_utf8(value.unwrap_or_default()).expect("text")
    })
    .collect()
}

/// What a client can tell apart: tags, rows, command tags, SQLSTATEs and messages, the transaction's state.
pub fn told(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| match frame.tag {
            b'E' | b'N' => format!(
                "{} {:?} {:?} {:?} {:?}",
                char::from(frame.tag),
                frame.field(b'C'),
                frame.field(b'M'),
                frame.field(b'H'),
                frame.field(b'P')
            ),
            b'T' => {
                // Without the tables' object identifiers: two temporary tables have two.
                let mut names = Vec::new();
                let mut rest = &frame.body[2..];
                while let Some(end) = rest.iter().position(|byte| *byte == 0) {
                    names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
                    rest = &rest[end + 19..];
                }
                format!("T {names:?}")
            }
            _ => format!("{frame:?}"),
        })
        .collect()
}

/// Runs texts in two sessions, one after the other so that neither waits for the other's locks, and expects that both
/// are told the same.
#[track_caller]
pub fn same(one: &mut Client, other: &mut Client, texts: &[&str]) {
    let all = |client: &mut Client| -> Vec<Vec<String>> {
        texts.iter().map(|text| told(&client.query(text))).collect()
    };
    let (one, other) = (all(one), all(other));
    for ((text, one), other) in texts.iter().zip(one).zip(other) {
        assert_eq!(one, other, "{text}");
    }
}
