//! Functions in row rules: which of PostgreSQL's own mean another thing under other settings.
use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, a_const};

use super::kind::{
    Date, Interval, Kind, Literal, Moment, Moments, Plain, Text, Time, Timestamp, Unknown,
};
use super::literals::literals;
use super::{Vetting, by_style, by_zone, compared, moved};
use crate::catalog::Volatility;
use crate::policy::rows::{Objection, names};

/// Functions that are STABLE for other reasons than a setting which a client has a hand in.
const FREE_OF_SETTINGS: &[&str] = &[
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "current_database",
    "pg_has_role",
    "pg_is_in_recovery",
    "row_security_active",
    "enum_first",
    "enum_last",
    "enum_range",
    "length",
    "convert",
    "convert_from",
    "convert_to",
    "version",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
];

/// Functions that are STABLE for moments alone.
const OF_MOMENTS: &[&str] = &[
    "age",
    "date",
    "date_part",
    "date_trunc",
    "extract",
    "generate_series",
    "overlaps",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
];

/// Functions that are STABLE for what they write as text.
const WRITERS: &[&str] = &[
    "array_to_string",
    "concat",
    "concat_ws",
    "format",
    "quote_literal",
    "quote_nullable",
    "to_json",
    "to_jsonb",
    "jsonb_build_array",
    "jsonb_build_object",
    "json_build_array",
    "json_build_object",
];

/// Functions that take the setting `default_text_search_config` where they are not told one.
const SEARCHES: &[&str] = &[
    "to_tsvector",
    "to_tsquery",
    "plainto_tsquery",
    "phraseto_tsquery",
    "websearch_to_tsquery",
];

/// From here on an abbreviation of the session's own zone comes before all other names of zones
/// (`DecodeTimezoneAbbrev` in datetime.c), and a zone can be made to abbreviate itself as any name.
const SESSION_ABBREVIATIONS: u32 = 180_000;

impl Vetting<'_> {
    pub(super) fn call(&self, call: &mut FuncCall) -> Result<Kind, Objection> {
        let kinds = self.each(&mut call.args)?;
        self.maybe(&mut call.agg_filter)?;
        for item in &mut call.agg_order {
            if let Some(NodeEnum::SortBy(sort)) = item.node.as_mut() {
                self.maybe(&mut sort.node)?;
            }
        }
        let parts: Option<Vec<&str>> = call.funcname.iter().map(names::string).collect();
        let name = match parts.as_deref() {
            Some(["pg_catalog", name]) => (*name).to_owned(),
            _ => return Ok(Unknown),
        };
        let first = kinds.first().copied().unwrap_or(Unknown);
        let last = kinds.last().copied().unwrap_or(Unknown);
        match name.as_str() {
            "timezone" => return self.timezone(call, &kinds),
            "tstzrange" | "tsrange" | "daterange" => {
                let (bound, range) = match name.as_str() {
                    "tstzrange" => (Moment, Moments),
                    "tsrange" => (Timestamp, Plain),
                    _ => (Date, Plain),
                };
                for (argument, kind) in call.args.iter().zip(&kinds).take(2) {
                    compared(*kind, bound)?;
                    literals(argument, bound)?;
                }
                return Ok(range);
            }
            "now" | "transaction_timestamp" | "statement_timestamp" => return Ok(Moment),
            "make_timestamptz" => return Err(by_zone("`make_timestamptz`")),
            "max" | "min" | "abs" => return Ok(first),
            "lower" | "upper" | "btrim" | "left" | "right" | "substring" | "replace"
                if matches!(first, Text | Literal) =>
            {
                return Ok(Text);
            }
            "to_timestamp" if kinds.len() == 1 => return Ok(Moment),
            "make_date" => return Ok(Date),
            "make_timestamp" => return Ok(Timestamp),
            "make_time" => return Ok(Time),
            "make_interval" | "justify_hours" | "justify_days" | "justify_interval" => {
                return Ok(Interval);
            }
            _ => {}
        }
        if OF_MOMENTS.contains(&name.as_str()) {
            let seconds = ["date_part", "extract"].contains(&name.as_str()) && is_epoch(call);
            let zoned = kinds.iter().any(|kind| kind.is_zoned());
            // A number of the Unix epoch is the same everywhere; what is within the last argument is looked at already.
            // `age` of one value counts from the session's midnight.
            let since_today = name == "age" && kinds.len() == 1;
            if (zoned || last == Literal || since_today) && !seconds {
                return Err(by_zone(&format!("`{name}` of a moment")));
            }
            return Ok(match name.as_str() {
                "date_trunc" => last,
                "age" => Interval,
                "date" => Date,
                "timestamp" => Timestamp,
                "time" => Time,
                "timestamptz" | "timetz" => return Err(by_zone(&format!("`{name}`"))),
                "generate_series" => first,
                _ => Plain,
            });
        }
        if SEARCHES.contains(&name.as_str()) && kinds.len() == 1 {
            return Err(moved(&format!("`{name}`"), "default_text_search_config")
                .suggest(format!("name the configuration: `{name}('english', ...)`")));
        }
        if WRITERS.contains(&name.as_str()) {
            return match kinds.iter().any(|kind| kind.is_styled()) {
                true => Err(by_style(&format!("`{name}` of such a value"), "DateStyle")),
                false => Ok(if name.contains("json") { Plain } else { Text }),
            };
        }
        let is_free = FREE_OF_SETTINGS.contains(&name.as_str())
            || SEARCHES.contains(&name.as_str())
            || name.starts_with("has_");
        let overloads = self.catalog.functions.get(&name).into_iter().flatten();
        let mut own = overloads.filter(|overload| overload.schema == "pg_catalog");
        if !is_free && own.any(|overload| overload.volatility != Volatility::Immutable) {
            let objection = Objection::new(format!(
                "`{name}` depends on settings, which every client sets for itself"
            ));
            return Err(objection.suggest(
                "values of the session are `{app_user}`, `{db_user}` and `{attr.name}`; compare others in their own type",
            ));
        }
        Ok(Unknown)
    }

    /// `x AT TIME ZONE z`.
    pub(super) fn timezone(&self, call: &mut FuncCall, kinds: &[Kind]) -> Result<Kind, Objection> {
        let [zone, value] = kinds else {
            return Err(by_zone("`AT LOCAL`"));
        };
        let named = match call.args.first_mut().and_then(|node| node.node.as_ref()) {
            _ if *zone == Interval => None,
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(a_const::Val::Sval(text)) => Some(text.sval.as_str()),
                _ => Some(""),
            },
            _ => Some(""),
        };
        if let Some(name) = named {
            // Abbreviations are read by the setting `timezone_abbreviations`; no abbreviation of a server's own has a slash.
            let abbreviated = !name.contains('/');
            if abbreviated || self.catalog.server_version >= SESSION_ABBREVIATIONS {
                return Err(moved(
                    "a zone by its name",
                    if abbreviated {
                        "timezone_abbreviations"
                    } else {
                        "TimeZone"
                    },
                )
                .suggest("give its offset: `AT TIME ZONE interval '08:00'`"));
            }
        }
        match value {
            Moment => Ok(Timestamp),
            Timestamp => Ok(Moment),
            Date => Err(by_zone("`AT TIME ZONE` of a date")
                .suggest("cast the date first: `day::timestamp AT TIME ZONE interval '08:00'`")),
            Unknown => Ok(Unknown),
            _ => Err(by_zone("`AT TIME ZONE` of a time of day or literal")),
        }
    }
}

/// The first argument is the word `epoch`.
fn is_epoch(call: &FuncCall) -> bool {
    let first = call.args.first().and_then(|node| node.node.as_ref());
    matches!(first, Some(NodeEnum::AConst(constant))
        if matches!(&constant.val, Some(a_const::Val::Sval(text)) if text.sval == "epoch"))
}
