//! What may not be, and how it is seen. All that is left out of comparisons stands here, with its reason.
use std::fmt::Write;

use crate::description::without_new_oids;
use crate::play::{End, Played};
use crate::script::Script;
use crate::support::message::Frame;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// A secret shows.
    Secret,
    /// The twins are told apart.
    Twins,
    /// Not as on the masked copy, directly, though nothing was refused until then.
    Copy,
    /// An unrestricted session is not the direct one.
    Direct,
    /// An answer did not come.
    Hang,
    /// pgveil ended a restricted session.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub oracle: Oracle,
    pub shown: String,
}

/// What came of a script.
#[derive(Debug, Default)]
pub struct Found {
    pub difference: Option<Difference>,
    pub served: usize,
    pub failing: usize,
    /// pgveil's words, one for each refusal.
    pub refusals: Vec<String>,
    /// The session was ended by pgveil, which it may where a COPY leaves open what was read.
    pub ended: bool,
}

/// As tests/transparent says of a COPY that breaks off: what the server has read as data cannot be told, and a restricted
/// session ends.
fn may_end(script: &Script) -> bool {
    script.copies()
}

pub fn restricted(
    script: &Script,
    [a, b]: [&Played; 2],
    copy: &Played,
    secrets: &[Vec<u8>],
    last_oid: u32,
) -> Found {
    let mut found = Found::default();
    for frame in &a.frames {
        match frame.tag {
            b'C' | b's' => found.served += 1,
            b'E' => match refusal(frame) {
                Some(words) => found.refusals.push(words),
                None => found.failing += 1,
            },
            _ => {}
        }
    }
    // The server ends sessions, too: over a SAVEPOINT in a batch without BEGIN.
    found.ended = matches!(a.end, End::Closed(_)) && copy.end == End::Well;
    found.difference = secret_of_either(a, b, secrets)
        .or_else(|| hang([a, b, copy]))
        .or_else(|| {
            let ends = found.ended && !may_end(script);
            ends.then(|| Difference {
                oracle: Oracle::Ended,
                shown: format!("{:?}", a.frames.last()),
            })
        })
        .or_else(|| {
            let ends = [a, b].into_iter().filter(|played| played.end != End::Well);
            // Whether it ends depends on what has been answered by then.
            let until = match may_end(script) {
                true => ends
                    .map(|played| played.frames.len().saturating_sub(1))
                    .min(),
                false => None,
            };
            let until = until.unwrap_or(usize::MAX).min(in_time(a, b));
            let [ours, theirs] = [a, b]
                .map(|played| as_told(&played.frames[..until.min(played.frames.len())], last_oid));
            first_difference(Oracle::Twins, &ours, &theirs)
        })
        .or_else(|| {
            if found.ended || script.hides_own_tables() {
                return None;
            }
            // What comes behind a refusal may be all different.
            let until = a
                .frames
                .iter()
                .position(|frame| refusal(frame).is_some())
                .unwrap_or(usize::MAX);
            let exact = !script.writes() && !script.shows_insides();
            let gists = |played: &Played| -> Vec<String> {
                let frames = played.frames.iter().take(until);
                let insides = script.shows_insides();
                let shown = frames.filter(|frame| frame.tag != b'D' || !insides);
                let mut gists: Vec<String> =
                    shown.map(|frame| gist(frame, exact, insides)).collect();
                in_order(&mut gists);
                gists
            };
            let (mut ours, mut theirs) = (gists(a), gists(copy));
            if until < usize::MAX {
                theirs.truncate(ours.len());
            }
            if let Some(at) = told_early(&ours, &theirs) {
                ours.truncate(at);
                theirs.truncate(at);
            }
            first_difference(Oracle::Copy, &ours, &theirs)
        });
    found
}

pub fn unrestricted(through: &Played, direct: &Played, last_oid: u32) -> Found {
    let [ours, theirs] = [through, direct].map(|played| as_told(&played.frames, last_oid));
    let difference = hang([through, direct, direct])
        .or_else(|| first_difference(Oracle::Direct, &ours, &theirs))
        .or_else(|| {
            let ends = through.end != direct.end;
            ends.then(|| Difference {
                oracle: Oracle::Direct,
                shown: format!("{:?} against {:?}", through.end, direct.end),
            })
        });
    Found {
        difference,
        ..Found::default()
    }
}

/// What is foreseen of a batch is given up when an answer tells of a failure before it, and that comes when it comes: a
/// statement behind it is refused in one session and goes on in another. How many messages are alike until then.
const IN_TIME: &str = "the search_path in force here is not known before the statement runs";

fn in_time(a: &Played, b: &Played) -> usize {
    let is_one = |frame: &Frame| refusal(frame).is_some_and(|words| words == IN_TIME);
    let mut pairs = a.frames.iter().zip(&b.frames);
    let at = pairs.position(|(ours, theirs)| is_one(ours) != is_one(theirs));
    at.unwrap_or(usize::MAX)
}

fn secret_of_either(a: &Played, b: &Played, secrets: &[Vec<u8>]) -> Option<Difference> {
    [a, b].into_iter().find_map(|played| {
        let shown = secret(played, secrets)?;
        Some(Difference {
            oracle: Oracle::Secret,
            shown,
        })
    })
}

/// A secret in what the server said: as text, backwards, or in hexadecimal digits.
pub fn secret(played: &Played, secrets: &[Vec<u8>]) -> Option<String> {
    played.frames.iter().find_map(|frame| {
        // Letters alone are looked for, small ones.
        let body = frame.body.to_ascii_lowercase();
        let holds = |wanted: &[u8]| body.windows(wanted.len()).any(|window| window == wanted);
        let shows = secrets.iter().any(|secret| {
            let mut backwards = secret.clone();
            backwards.reverse();
            let mut digits = String::new();
            for byte in secret {
                let _ = write!(digits, "{byte:02x}");
            }
            holds(secret) || holds(&backwards) || holds(digits.as_bytes())
        });
        shows.then(|| format!("{frame:?}"))
    })
}

fn hang(played: [&Played; 3]) -> Option<Difference> {
    let hung = played
        .iter()
        .any(|played| matches!(played.end, End::Hung(..)));
    hung.then(|| Difference {
        oracle: Oracle::Hang,
        shown: format!("{:?}", played.map(|played| &played.end)),
    })
}

fn as_told(frames: &[Frame], last_oid: u32) -> Vec<String> {
    let mut all: Vec<String> = frames.iter().map(|frame| told(frame, last_oid)).collect();
    in_order(&mut all);
    all
}

/// What PREPARE, DROP and their like name is looked up by the server when they run, and by pgveil when they are parsed: where
/// such an error stands in the place of ParseComplete.
fn told_early(ours: &[String], theirs: &[String]) -> Option<usize> {
    let mut pairs = ours.iter().zip(theirs);
    let at = pairs.position(|(ours, theirs)| ours != theirs)?;
    (ours[at].starts_with("E Some(\"42") && theirs[at] == "1").then_some(at)
}

/// Rows in an order of their own: where none was asked for, that of the file counts, and scripts before have written to it.
fn in_order(told: &mut [String]) {
    let kind = |text: &String| text.chars().next().filter(|tag| matches!(tag, 'D' | 'd'));
    for rows in told.chunk_by_mut(|one, other| kind(one).is_some() && kind(one) == kind(other)) {
        rows.sort();
    }
}

fn first_difference(oracle: Oracle, ours: &[String], theirs: &[String]) -> Option<Difference> {
    let longest = ours.len().max(theirs.len());
    let at = (0..longest).find(|at| ours.get(*at) != theirs.get(*at))?;
    let shown = |of: &[String]| -> String {
        let from = at.saturating_sub(2);
        of.iter()
            .skip(from)
            .take(4)
            .map(|told| told.chars().take(300).collect::<String>())
            .collect::<Vec<_>>()
            .join(" | ")
    };
    Some(Difference {
        oracle,
        shown: format!(
            "message {at}:\n      ours   {}\n      theirs {}",
            shown(ours),
            shown(theirs)
        ),
    })
}

/// A message as it came, but for object ids of what was made in the session, and for where in the server's sources an error was
/// raised: a portal that is gone is missed by pgveil's Describe, or by the client's Execute.
fn told(frame: &Frame, last_oid: u32) -> String {
    match frame.tag {
        b'T' => {
            let frame = Frame {
                tag: b'T',
                body: without_new_oids(&frame.body, last_oid),
            };
            format!("{frame:?}")
        }
        b'E' | b'N' => {
            let fields = b"SVCMDHPqWscdtn".iter();
            let fields = fields.filter_map(|code| Some((char::from(*code), frame.field(*code)?)));
            format!("{} {:?}", char::from(frame.tag), fields.collect::<Vec<_>>())
        }
        _ => format!("{frame:?}"),
    }
}

/// What does not depend on values: of errors and notices the SQLSTATE, of rows that there is one. `exact`: the values, too.
/// `insides`: how many rows there are is left out.
fn gist(frame: &Frame, exact: bool, insides: bool) -> String {
    let tag = char::from(frame.tag);
    match frame.tag {
        b'E' | b'N' => format!("{tag} {:?}", frame.field(b'C')),
        b'C' if insides => {
            let told = format!("{frame:?}");
            told.chars().filter(|told| !told.is_ascii_digit()).collect()
        }
        b'C' | b'Z' | b'S' => format!("{frame:?}"),
        b'D' if exact => format!("{frame:?}"),
        // The number of columns.
        b'T' => format!("T {:?}", frame.body.get(..2)),
        _ => tag.to_string(),
    }
}

/// What pgveil says of a statement that would be another one now, masked or not: the server's words for a result of other types.
const CHANGED: &str = "cached plan must not change result type";

/// The words of pgveil's refusal.
fn refusal(frame: &Frame) -> Option<String> {
    let message = frame.field(b'M').filter(|_| frame.tag == b'E')?;
    let own = message.strip_prefix("pgveil: ");
    own.or((message == CHANGED).then_some(CHANGED))
        .map(str::to_owned)
}
