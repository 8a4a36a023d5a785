//! Masks of text: `show` and `email`.
//!
//! Only functions without a view on collations take part (`length`, `left`, `right`, `reverse`, `repeat`, `ltrim`,
//! `||`), save `strpos`, which raises under nondeterministic collations before PostgreSQL 18 and therefore gets
//! collation "C". An explicit collation does not pass through an integer, so the column keeps its own.
use super::column_type::ColumnType;
use super::sql::{call, operator, quote_literal, typed, unless_null};

/// Most stars in a masked value: `repeat` raises where its result would pass 1 GB, which a wide `char` could reach.
const MAX_STARS: u32 = 1_000_000;
/// Longer texts are no addresses (RFC 5321 allows 254 octets) and are wholly masked.
const MAX_EMAIL: u32 = 1_000;
/// What follows the `@` is a domain if it consists of these, ...
const DOMAIN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
/// ... and not of these alone. `wechat@13812345678` is no address, and in `a@b.de 13812345678` more than
/// one is written.
const NO_DOMAIN: &str = "0123456789.-_";

/// See [`super::Mask::Show`].
pub fn show(column: &str, data_type: &ColumnType, first: u16, last: u16, char: char) -> String {
    let text = text(column);
    let length = call("length", &[&text]);
    let kept = u32::from(first) + u32::from(last);
    if kept == 0 {
        return unless_null(column, &stars(&length, char), &data_type.sql);
    }
    let hidden = stars(&operator(&length, "-", &kept.to_string()), char);
    let mut parts = Vec::new();
    if first > 0 {
        parts.push(call("left", &[&text, &first.to_string()]));
    }
    parts.push(hidden);
    if last > 0 {
        parts.push(call("right", &[&text, &last.to_string()]));
    }
    let value = format!(
        "CASE WHEN {} THEN {} ELSE {} END",
        operator(&length, "<=", &kept.to_string()),
        stars(&length, char),
        parts.join(" OPERATOR(pg_catalog.||) "),
    );
    unless_null(column, &value, &data_type.sql)
}

/// See [`super::Mask::Email`]. The last `@` counts, since a quoted local part may hold others. What has no local part or
/// no domain is wholly masked, like [`show`] that keeps nothing.
pub fn email(column: &str, data_type: &ColumnType, first: u16) -> String {
    let text = text(column);
    let length = call("length", &[&text]);
    let reversed = format!("{} COLLATE pg_catalog.\"C\"", call("reverse", &[&text]));
    // Counted from the end: the domain's length plus one, or 0 without an `@`.
    let at = call("strpos", &[&reversed, &typed("@", "text")]);
    let local = format!("({})", operator(&length, "-", &at));
    let domain = call("right", &[&text, &operator(&at, "-", "1")]);
    // From the first that is none of the letters; `translate`, which would take them out everywhere, costs three times as
    // much (oracle_compat.c: a call for each letter of its list).
    let behind = |letters: &str| {
        let rest = call("ltrim", &[&domain, &typed(letters, "text")]);
        call("length", &[&rest])
    };
    let address = [
        operator(&length, "<=", &MAX_EMAIL.to_string()),
        operator(&at, ">", "1"),
        operator(&local, ">", "0"),
        operator(&behind(DOMAIN), "=", "0"),
        operator(&behind(NO_DOMAIN), ">", "0"),
    ];
    let hidden = typed("***@", "text");
    let shown = match first {
        0 => hidden,
        _ => format!(
            "(CASE WHEN {} THEN {hidden} ELSE {} END)",
            operator(&local, "<=", &first.to_string()),
            operator(&call("left", &[&text, &first.to_string()]), "||", &hidden),
        ),
    };
    let value = format!(
        "CASE WHEN {} THEN {} ELSE {} END",
        address.join(" AND "),
        operator(&shown, "||", &domain),
        stars(&length, '*'),
    );
    unless_null(column, &value, &data_type.sql)
}

/// The column as `text`; of `bpchar` this drops the padding.
fn text(column: &str) -> String {
    format!("{column}::pg_catalog.text")
}

/// `count` times the character. `count` is never NULL here: LEAST would take NULL for no limit.
pub(super) fn stars(count: &str, char: char) -> String {
    let limited = format!("LEAST({count}, {MAX_STARS})");
    call(
        "repeat",
        &[
            &format!("{}::pg_catalog.text", quote_literal(&char.to_string())),
            &limited,
        ],
    )
}
