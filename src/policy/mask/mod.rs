//! Masks: what becomes of a value before a role sees it, as SQL.
//!
//! Every mask is total: for no input does its SQL raise an error, and no session setting changes what it gives. NULL
//! stays NULL. Within a mask's SQL the column stands in no query of its own save as an argument of FROM, where no name
//! but the column's can be meant. All names are qualified, so that nothing in a session's `search_path` takes part (CVE-2026-2360 class):
//! functions as `pg_catalog.f`, operators as `OPERATOR(pg_catalog.+)`, types with their schema. Constructs whose
//! operator the grammar looks up by its bare name (`IN`, `BETWEEN`, `LIKE`, simple `CASE`, `NULLIF`, `IS DISTINCT FROM`)
//! do not occur. The SQL reads the same in PostgreSQL 13 to 18.
mod array;
mod column_type;
mod constant;
mod json;
mod network;
mod number;
mod preset;
mod redact;
mod sql;
mod text;
mod time;

use super::compiled::MaskedPart;
pub use column_type::{ColumnType, Family};
pub use constant::Constant;

pub use json::{JsonConflict, JsonMasks, JsonPath};
pub use network::Network;
pub use number::Step;
pub use preset::Preset;
pub use sql::{quote_identifier, quote_literal};
pub use time::TimeUnit;

/// Most characters that `show` and `email` keep at either end.
pub const MAX_SHOWN: u16 = 1_000;

#[derive(Debug, Clone, PartialEq)]
pub enum Mask {
    /// `"null"`: NULL, whatever the value. Takes every type.
    Null,
    /// A fixed value by type, NULL where a type has none that is surely valid. Takes every type.
    Redact,
    /// `constant: v`.
    Constant(Constant),
    /// `show: { first, last, char }`: keeps the ends, one `char` for each character between. A value no longer than what
    /// is kept is wholly masked.
    Show { first: u16, last: u16, char: char },
    /// `email: { first }`: keeps the start of the local part, and the domain.
    Email { first: u16 },
    /// `round: n`: the nearest multiple of n, halves up.
    Round(Step),
    /// `bucket: n`: the multiple of n at or below the value.
    Bucket(Step),
    /// `truncate: year|month|day`, in UTC for `timestamptz`.
    Truncate(TimeUnit),
    /// `json: { path: mask }`: masks within a document, the rest of it unchanged.
    Json(JsonMasks),
    /// `network: bits`: the network that an address is in.
    Network(Network),
    /// `preset: name`: a mask for a kind of data that many people keep.
    Preset(&'static Preset),
}

/// Why a mask cannot stand on a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// The mask does not take the type.
    Type,
    /// It takes the type, but not with these options.
    Options(String),
}

impl Mask {
    /// Names of all masks, as the language spells them.
    pub const NAMES: [&'static str; 11] = [
        "null", "redact", "constant", "show", "email", "round", "bucket", "truncate", "json",
        "network", "preset",
    ];

    pub fn name(&self) -> &'static str {
        match self {
            Mask::Null => "null",
            Mask::Redact => "redact",
            Mask::Constant(_) => "constant",
            Mask::Show { .. } => "show",
            Mask::Email { .. } => "email",
            Mask::Round(_) => "round",
            Mask::Bucket(_) => "bucket",
            Mask::Truncate(_) => "truncate",
            Mask::Json(_) => "json",
            Mask::Network(_) => "network",
            Mask::Preset(_) => "preset",
        }
    }

    /// The masks that take a type, `null` and `redact` first.
    pub fn fitting(data_type: &ColumnType) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(|name| fits(name, data_type))
    }

    /// The masked value of a column as an SQL expression of the column's type and typmod.
    ///
    /// `column` is how the column is named in the SQL, quoted. Where the type is a domain the
    /// expression has the domain's base type, because a mask's value may break the domain's CHECK or NOT NULL and would
    /// then raise.
    ///
    /// # Errors
    /// [`Misfit`] if the mask does not go with the type.
    pub fn sql(&self, column: &str, data_type: &ColumnType) -> Result<String, Misfit> {
        if !takes(self.name(), data_type.family) {
            return match &data_type.element {
                Some(element) if takes(self.name(), element.family) => {
                    array::each(self, column, data_type, element)
                }
                _ => Err(Misfit::Type),
            };
        }
        match self {
            Mask::Null => Ok(format!("NULL::{}", data_type.sql)),
            Mask::Redact => Ok(redact::sql(column, data_type)),
            Mask::Constant(constant) => constant.sql(column, data_type),
            Mask::Show { first, last, char } => {
                Ok(text::show(column, data_type, *first, *last, *char))
            }
            Mask::Email { first } => Ok(text::email(column, data_type, *first)),
            Mask::Round(step) => number::round(column, data_type, step),
            Mask::Bucket(step) => number::bucket(column, data_type, step),
            Mask::Truncate(unit) => time::truncate(column, data_type, *unit),
            Mask::Json(masks) => Ok(masks.sql(column, data_type)),
            Mask::Network(network) => Ok(network.sql(column, data_type)),
            Mask::Preset(preset) => Ok(preset.sql(column, data_type)),
        }
    }
}

impl Mask {
    /// The parts of a value that the mask treats each for itself.
    pub fn parts(&self, data_type: &ColumnType) -> Vec<MaskedPart> {
        match (self, &data_type.element) {
            (Mask::Json(masks), _) => masks.parts(),
            (_, Some(element)) if takes(self.name(), element.family) && !whole(self) => {
                vec![MaskedPart::Elements]
            }
            _ => Vec::new(),
        }
    }
}

/// Masks that make of an array what they make of any value.
fn whole(mask: &Mask) -> bool {
    matches!(mask, Mask::Null | Mask::Redact)
}

/// Whether a mask takes the type or, of an array, its elements.
fn fits(mask: &str, data_type: &ColumnType) -> bool {
    let element = data_type.element.as_ref();
    takes(mask, data_type.family) || element.is_some_and(|element| takes(mask, element.family))
}

fn takes(mask: &str, family: Family) -> bool {
    match mask {
        "null" | "redact" => true,
        "constant" => constant::takes(family),
        "show" | "email" | "preset" => matches!(
            family,
            Family::Text | Family::Citext | Family::Varchar | Family::Bpchar | Family::Name
        ),
        "round" | "bucket" => number::takes(family),
        "truncate" => matches!(
            family,
            Family::Date | Family::Timestamp | Family::TimestampTz
        ),
        "json" => family == Family::Json,
        "network" => matches!(family, Family::Inet | Family::Cidr),
        _ => false,
    }
}
