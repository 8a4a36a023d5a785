//! Scripts of what is sent (`>`) and answered (`<`), and what each answer is attributed to (after `=`).
mod copies;
mod cut_off;
mod extended;
mod limits;
mod queries;

use std::sync::Arc;
use std::time::Instant;

use super::{Answer, Ledger, Rules, Sent};

use crate::session::fixtures::source;
use crate::session::messages::{Name, Target};
use crate::session::statements::{Source, Statement};
use crate::wire::error::ErrorFields;

const LIMIT: u64 = 3;

fn target(kind: &str, name: &str) -> Target {
    match kind {
        "S" => Target::Statement(Name::from(name)),
        _ => Target::Portal(Name::from(name)),
    }
}

/// `_` stands for the unnamed one.
fn name(word: &str) -> Name {
    Name::from(if word == "_" { "" } else { word })
}

fn send(ledger: &mut Ledger, line: &str) {
    let (tag, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let sent = match (tag, words.as_slice()) {
        ("parts", _) => return ledger.push_in_parts(source(rest), Instant::now()),
        ("undo", _) => return ledger.undo(Instant::now()),
        ("Q", _) => Sent::Query(source(rest)),
        ("own", _) => Sent::Own,
        ("P", [called, text @ ..]) => Sent::Parse {
            name: name(called),
            source: source(&text.join(" ")),
        },
        ("B", [portal, statement]) => Sent::Bind {
            portal: name(portal),
            statement: name(statement),
            meant: ledger.prepared_as_sent(&name(statement)).statement,
            denied: None,
        },
        ("D", [kind, called]) => Sent::Describe(target(kind, called)),
        ("C", [kind, called]) => Sent::Close(target(kind, called)),
        ("E", [portal]) => Sent::Execute {
            portal: name(portal),
            names: None,
            denied: None,
        },
        ("S", _) => Sent::Sync,
        ("F", _) => Sent::FunctionCall {
            source: Source::unplanned(),
            denied: None,
        },
        ("c", _) => Sent::CopyEnd,
        _ => panic!("cannot send {line}"),
    };
    ledger.push(sent, Instant::now());
}

fn kind(statement: &Statement) -> &str {
    statement.plan().map_or("?", |plan| &plan.normalised)
}

fn receive(ledger: &mut Ledger, message: &str) -> String {
    let tag = message.as_bytes()[0];
    if matches!(message, "D" | "d") && !ledger.own_is_next(tag) {
        if let Err(error) = ledger.row_of(tag) {
            return error.to_string();
        }
        return match ledger.count(10, 1, &[]) {
            super::Counted::Hidden => "hidden",
            super::Counted::Out => "row",
            super::Counted::Over(_) | super::Counted::Stopped => "too many",
        }
        .to_owned();
    }
    let status = message.as_bytes().get(1).copied().unwrap_or(b'I');
    match ledger.answer(tag, status) {
        Ok(Answer::Progress) => "progress".to_owned(),
        Ok(Answer::HiddenColumns { described }) => format!("hidden columns {described}"),
        Ok(Answer::Columns(statement)) => {
            format!("columns of {}", statement.as_ref().map_or("?", kind))
        }
        Ok(Answer::Checked(statement)) => {
            format!("check of {}", statement.as_ref().map_or("?", kind))
        }
        Ok(Answer::Ended(running)) => format!(
            "end of {}, {} rows",
            kind(running.governing()),
            running.meter.rows()
        ),
        Ok(Answer::Failed(failure)) => {
            let statement = &failure.running.statement;
            let told = match failure.refusal {
                Some(_) => "denial",
                None => {
                    let error = ErrorFields::error(&message[1..], "");
                    ledger.names.failed(statement, &error);
                    "error"
                }
            };
            format!("{told} of {}", kind(statement))
        }
        Ok(Answer::Ready) => "ready".to_owned(),
        Ok(Answer::Own | Answer::OwnReady) => "own".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn check_ledger(mut ledger: Ledger, script: &str) -> Ledger {
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(line) = line.strip_prefix("> ") {
            send(&mut ledger, line);
        } else if let Some(line) = line.strip_prefix("< ") {
            let (message, expected) = line.split_once('=').expect("an expectation");
            let got = receive(&mut ledger, message.trim());
            assert_eq!(got, expected.trim(), "at `{line}` of {script}");
        } else if let Some(expected) = line.strip_prefix("quiescent ") {
            let got = if ledger.is_quiescent() { "yes" } else { "no" };
            assert_eq!(got, expected, "in {script}");
        } else {
            panic!("cannot read {line}");
        }
    }
    ledger
}

fn check(script: &str) -> Ledger {
    let ledger = Ledger::new(Rules {
        restricted: true,
        export: Arc::new(crate::policy::ExportRule {
            rows: Some(LIMIT),
            ..Default::default()
        }),
        purse: None,
    });
    check_ledger(ledger, script)
}
