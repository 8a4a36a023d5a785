//! The text of a row rule before it is SQL: values of the session in braces.
use super::{MAX_RULE, Objection, RESERVED};
use crate::config::diagnostics::closest;
use crate::policy::compiled::SessionValue;

/// A string literal that stands for a value.
pub fn marker(index: usize) -> String {
    format!("'{RESERVED}value_{index}'")
}

/// The rule with a string literal in place of each value, and the values in order. `{{` and `}}` are braces.
pub fn values(text: &str) -> Result<(String, Vec<SessionValue>), Objection> {
    if text.len() > MAX_RULE {
        return Err(Objection::new(format!(
            "the rule is longer than {MAX_RULE} bytes"
        )));
    }
    if text.to_ascii_lowercase().contains(RESERVED) {
        return Err(Objection::new(format!(
            "names that begin with `{RESERVED}` are pgveil's own"
        )));
    }
    if text.contains('\0') {
        return Err(Objection::new("the rule holds a NUL character"));
    }
    let mut sql = String::with_capacity(text.len());
    let mut values = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        sql.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            sql.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            sql.push('}');
            rest = after;
        } else if let Some((name, after)) = from
            .strip_prefix('{')
            .and_then(|value| value.split_once('}'))
        {
            sql.push_str(&marker(values.len()));
            values.push(value(name)?);
            rest = after;
        } else {
            return Err(Objection::new("a brace stands alone")
                .suggest("write `{{` and `}}` for braces that are part of the SQL"));
        }
    }
    sql.push_str(rest);
    Ok((sql, values))
}

fn value(name: &str) -> Result<SessionValue, Objection> {
    const KNOWN: [&str; 4] = ["app_user", "db_user", "attr.name", "region.name"];
    match name {
        "app_user" => return Ok(SessionValue::AppUser),
        "db_user" => return Ok(SessionValue::DbUser),
        _ => {}
    }
    if let Some(attribute) = name.strip_prefix("attr.").filter(|name| is_name(name)) {
        return Ok(SessionValue::Attribute(attribute.into()));
    }
    if let Some(region) = name.strip_prefix("region.").filter(|name| is_name(name)) {
        return Ok(SessionValue::Region(region.into()));
    }
    let objection = Objection::new(format!("no value is called `{{{name}}}`"));
    Err(match closest(name, KNOWN) {
        Some(known) => objection.suggest(format!("did you mean `{{{known}}}`?")),
        None => objection.suggest(
            "values are `{app_user}`, `{db_user}`, `{attr.name}` and `{region.name}`; write `{{` and `}}` for braces that are part of the SQL",
        ),
    })
}

/// Names of attributes: what [`super::super::PolicySet::attribute`] knows.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}
