//! An account of a planned text, as text and as JSON.
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::account::{Account, Source};
use crate::cli::bench::{gathered, refusal, verdict};
use crate::policy::ExportRule;

/// One object for the text. Of several statements the first refused one gives verdict and reason.
pub fn json(account: &Account<'_>) -> Value {
    let Account { plan, text, .. } = account;
    let reason = refusal(plan);
    let outputs: Vec<Value> = account
        .outputs
        .iter()
        .map(|output| {
            let sources: Vec<Value> = output.sources.iter().map(source).collect();
            json!({ "name": output.name, "sources": sources })
        })
        .collect();
    let rows = account.rows.iter();
    let rows: Vec<Value> = rows
        .map(|rows| json!({ "relation": rows.relation, "rule": rows.rule, "sql": rows.sql }))
        .collect();
    json!({
        "role": &*account.role.name,
        "enforced": !account.trial,
        "verdict": verdict(plan),
        "reason": reason.map(|refusal| refusal.reason.label()),
        "message": reason.map(|refusal| refusal.message.as_str()),
        "detail": reason.map(|refusal| refusal.detail.as_str()),
        "hint": reason.map(|refusal| refusal.hint.as_str()),
        "sqlstate": reason.map(|refusal| refusal.sqlstate),
        "position": reason.and_then(|refusal| refusal.position),
        "sql": reason.is_none().then(|| plan.text.as_deref().unwrap_or(text)),
        "columns": account.masked.iter().map(masked).collect::<Vec<Value>>(),
        "outputs": outputs,
        "rows": rows,
        "lookups": gathered(plan, |statement| &statement.lookups),
        "reads": gathered(plan, |statement| &statement.reads),
        "writes": gathered(plan, |statement| &statement.writes),
        "export": account.counted.then(|| limits(&account.role.export)),
    })
}

/// A masked column that the text reaches.
fn masked(source: &Source) -> Value {
    let mask = source.mask.as_ref();
    json!({
        "column": source.column,
        "class": mask.map(|mask| &*mask.class),
        "mask": mask.map(|mask| mask.sql.as_str()),
        "kind": mask.and_then(|mask| mask.kind),
        "rule": mask.and_then(|mask| mask.rule.as_deref()),
        "off_purpose": mask.and_then(|mask| mask.off_purpose.as_deref()),
    })
}

fn source(source: &Source) -> Value {
    let mut value = masked(source);
    if let Some(object) = value.as_object_mut() {
        let classes: Vec<&str> = source.classes.iter().map(AsRef::as_ref).collect();
        object.insert("classes".to_owned(), classes.into());
        object.insert("denied".to_owned(), source.denied.into());
        let lookup = source.mask.as_ref().is_some_and(|mask| mask.lookup);
        object.insert("lookup".to_owned(), lookup.into());
    }
    value
}

pub fn text(account: &Account<'_>) -> String {
    let Account { plan, text, .. } = account;
    let mut out = format!("statement: {text}\nverdict:   {}\n", verdict(plan));
    if account.trial {
        let _ = writeln!(
            out,
            "           `{}` is not enforced: the statement runs as it is, and this is what would be",
            account.role.name
        );
    }
    if let Some(refusal) = refusal(plan) {
        let _ = writeln!(
            out,
            "reason:    {} ({})",
            refusal.message,
            refusal.reason.label()
        );
        if !refusal.detail.is_empty() {
            let _ = writeln!(out, "rule:      {}", refusal.detail);
        }
        if !refusal.hint.is_empty() {
            let _ = writeln!(out, "hint:      {}", refusal.hint);
        }
    }
    for output in &account.outputs {
        let _ = writeln!(out, "column:    {}", output.name);
        if output.sources.is_empty() {
            let _ = writeln!(out, "           from no column");
        }
        for source in &output.sources {
            let _ = writeln!(
                out,
                "           from {}: {}",
                source.column,
                becomes(source)
            );
        }
    }
    for source in &account.masked {
        let class = source.mask.as_ref().map_or("", |mask| &*mask.class);
        let _ = writeln!(out, "masked:    {} ({class})", source.column);
        if let Some(mask) = &source.mask {
            let _ = writeln!(out, "           as {}", mask.sql);
        }
    }
    for rows in &account.rows {
        let rule = rows.rule.as_deref().unwrap_or("the rule of its parent");
        let _ = writeln!(
            out,
            "rows:      of {} those with {}\n           by {rule}",
            rows.relation, rows.sql
        );
    }
    for column in gathered(plan, |statement| &statement.lookups) {
        let _ = writeln!(out, "looked up: {column}, by its stored value");
    }
    if account.counted {
        let _ = writeln!(out, "export:    {}", words(&account.role.export));
    }
    if refusal(plan).is_none() {
        let _ = writeln!(out, "runs:      {}", plan.text.as_deref().unwrap_or(text));
    }
    out.push('\n');
    out
}

fn becomes(source: &Source) -> String {
    if source.denied {
        return "in no class, and closed to the role (`unlisted: deny`)".to_owned();
    }
    let classes: Vec<&str> = source.classes.iter().map(AsRef::as_ref).collect();
    let class = match classes.as_slice() {
        [] => "in no class".to_owned(),
        [one] => format!("class {one}"),
        many => format!("classes {}", many.join(", ")),
    };
    match &source.mask {
        None => format!("{class}, as it is"),
        Some(mask) => match (mask.kind, &mask.rule, &mask.off_purpose) {
            (Some(kind), Some(rule), _) => format!("{class}, masked by `{kind}` ({rule})"),
            (_, _, Some(why)) => format!("{class}, redacted: {why}"),
            _ => format!("{class}, redacted ({})", mask.class),
        },
    }
}

fn limits(rule: &ExportRule) -> Value {
    json!({
        "rows": rule.rows,
        "bytes": rule.bytes,
        "per_hour": rule.per_hour,
        "per_day": rule.per_day,
        "subjects_per_day": rule.subjects_per_day,
        "approvers": rule.approvers.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
    })
}

fn words(rule: &ExportRule) -> String {
    let limits: Vec<String> = [
        (rule.rows, "rows a result"),
        (rule.bytes, "bytes a result"),
        (rule.per_hour, "rows an hour"),
        (rule.per_day, "rows a day"),
        (rule.subjects_per_day, "people a day"),
    ]
    .into_iter()
    .filter_map(|(limit, what)| Some(format!("{} {what}", limit?)))
    .collect();
    let more = match rule.approvers.is_empty() {
        true => "nobody can sign for more".to_owned(),
        false => format!(
            "more with the signatures of {}",
            rule.approvers.join(" and ")
        ),
    };
    format!("at most {}; {more}", limits.join(", "))
}
