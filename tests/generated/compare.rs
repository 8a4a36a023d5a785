//! When two answers are the same. All exceptions from "byte by byte" stand here, with their reasons.
use crate::bench::{Difference, Found, Kind, Oracle};
use crate::description;
use crate::message::Frame;
use crate::statement::Case;

type Answers = [Vec<Frame>];

/// Deviations from the copy that stand until they are mended: what, and why.
pub const KNOWN: &[(&str, &str)] = &[
    (
        "whole row as record",
        "a template is a subquery: within an expression its row has the type `record`, not the row type of the table",
    ),
    (
        "column origin",
        "table and column number are restored for plain columns, not for `(c).phone`, `(c).*`, RETURNING and alias lists",
    ),
    (
        "type modifier",
        "of a set operation PostgreSQL describes the branch that its plan kept: masks change which branches it can prune",
    ),
];

pub fn known(kind: &str) -> bool {
    KNOWN.iter().any(|known| known.0 == kind)
}

pub fn compare(
    case: &Case,
    kinds: &[Kind],
    [a, b]: [&Vec<Vec<Frame>>; 2],
    copy: &Answers,
    last_oid: u32,
) -> Found {
    let refusal = a.iter().flatten().find_map(refusal);
    let error = a
        .iter()
        .flatten()
        .find(|frame| frame.tag == b'E')
        .and_then(|frame| frame.field(b'C'));
    let mut found = Found {
        refusal,
        error,
        ..Found::default()
    };
    // A timeout is about time.
    if [a.as_slice(), b, copy]
        .iter()
        .any(|answers| timed_out(answers))
    {
        return found;
    }
    let twin = |frames: &[Frame], kind: Kind| seen(frames, kind, last_oid, Frame::clone);
    found.difference = first_difference(kinds, a, b, twin).map(|(left, right)| Difference {
        oracle: Oracle::Twins,
        kind: "twins".into(),
        shown: format!("{left:?} against {right:?}"),
    });
    if found.difference.is_some() || found.refusal.is_some() {
        return found;
    }
    let direct = |frames: &[Frame], kind: Kind| match kind {
        Kind::Step { .. } if !case.exact => tags_alone(frames),
        Kind::State => seen(&rows_alone(frames), kind, last_oid, Frame::clone),
        _ => seen(frames, kind, last_oid, gist),
    };
    let different = first_difference(kinds, a, copy, direct);
    found.open = different.is_some() && order_of_evaluation(a, copy);
    found.difference = different
        .filter(|_| !found.open)
        .map(|(left, right)| Difference {
            oracle: Oracle::Fidelity,
            kind: deviation(left.as_ref(), right.as_ref()),
            shown: format!("{left:?} against {right:?}"),
        });
    found
}

/// In a word or two, what is not as on the copy.
fn deviation(ours: Option<&Frame>, theirs: Option<&Frame>) -> String {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return "more or fewer messages".into();
    };
    match (ours.tag, theirs.tag) {
        (b'T', b'T') => description::deviation(&ours.body, &theirs.body).into(),
        (b'E', b'E') => format!(
            "error {} against {}",
            String::from_utf8_lossy(&ours.body),
            String::from_utf8_lossy(&theirs.body)
        ),
        (b'E', _) => {
            let sqlstate: Vec<u8> = ours.body.iter().copied().take(5).collect();
            format!("error {} against none", String::from_utf8_lossy(&sqlstate))
        }
        (ours, theirs) if ours != theirs => {
            format!(
                "message {} against {}",
                char::from(ours),
                char::from(theirs)
            )
        }
        (b'D' | b'd', _) => "rows".into(),
        (tag, _) => format!("message {}", char::from(tag)),
    }
}

fn first_difference<F>(
    kinds: &[Kind],
    left: &Answers,
    right: &Answers,
    seen: F,
) -> Option<(Option<Frame>, Option<Frame>)>
where
    F: Fn(&[Frame], Kind) -> Vec<Frame>,
{
    let nothing = Vec::new();
    kinds.iter().enumerate().find_map(|(at, kind)| {
        let left = seen(left.get(at).unwrap_or(&nothing), *kind);
        let right = seen(right.get(at).unwrap_or(&nothing), *kind);
        (0..left.len().max(right.len()))
            .find(|row| left.get(*row) != right.get(*row))
            .map(|row| (left.get(row).cloned(), right.get(row).cloned()))
    })
}

/// Frames as compared; rows in no order where none was asked for.
fn seen(frames: &[Frame], kind: Kind, last_oid: u32, form: fn(&Frame) -> Frame) -> Vec<Frame> {
    let ordered = kind == Kind::Step { unordered: false };
    let mut kept: Vec<Frame> = Vec::new();
    let mut rows: Vec<Frame> = Vec::new();
    for frame in frames {
        let row = matches!(frame.tag, b'D' | b'd');
        let frame = match frame.tag {
            b'T' => Frame {
                tag: b'T',
                body: description::without_new_oids(&frame.body, last_oid),
            },
            _ => form(frame),
        };
        if row && !ordered {
            rows.push(frame);
        } else {
            rows.sort_by(|a, b| a.body.cmp(&b.body));
            kept.append(&mut rows);
            kept.push(frame);
        }
    }
    kept
}

/// Against the copy: of errors and notices the SQLSTATE, and the position of those that are about the text. pgveil
/// rebuilds messages so that they hold no data.
fn gist(frame: &Frame) -> Frame {
    if !matches!(frame.tag, b'E' | b'N') {
        return frame.clone();
    }
    let sqlstate = frame.field(b'C').unwrap_or_default();
    let position = match sqlstate.starts_with("42") {
        true => frame.field(b'P').unwrap_or_default(),
        false => String::new(),
    };
    Frame {
        tag: frame.tag,
        body: format!("{sqlstate} {position}").into_bytes(),
    }
}

/// Command tags and SQLSTATEs.
fn tags_alone(frames: &[Frame]) -> Vec<Frame> {
    frames
        .iter()
        .filter(|frame| matches!(frame.tag, b'C' | b'E'))
        .map(gist)
        .collect()
}

fn rows_alone(frames: &[Frame]) -> Vec<Frame> {
    frames
        .iter()
        .filter(|frame| matches!(frame.tag, b'D' | b'C' | b'E'))
        .cloned()
        .collect()
}

fn refusal(frame: &Frame) -> Option<String> {
    let message = frame.field(b'M').filter(|_| frame.tag == b'E')?;
    message.strip_prefix("pgveil: ").map(str::to_owned)
}

fn timed_out(answers: &Answers) -> bool {
    answers
        .iter()
        .flatten()
        .any(|frame| frame.tag == b'E' && frame.field(b'C').as_deref() == Some("57014"))
}

/// SQL leaves open in which order conditions are evaluated (PostgreSQL's manual, 4.2.14): a mask makes a condition
/// dearer, and the planner puts dear ones last. So a value that raises may be met on one side and not on the other, or
/// another one first. Only errors about values (class 22) and subqueries of several rows (21000).
fn order_of_evaluation(a: &Answers, copy: &Answers) -> bool {
    let raised = |answers: &Answers| {
        answers
            .iter()
            .flatten()
            .filter(|frame| frame.tag == b'E')
            .filter_map(|frame| frame.field(b'C'))
            .any(|sqlstate| sqlstate.starts_with("22") || sqlstate == "21000")
    };
    raised(a) || raised(copy)
}
