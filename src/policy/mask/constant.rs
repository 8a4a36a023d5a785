//! The mask `constant`: a value of the writer's choice, proven to be one of the column's type before it is used.
use super::Misfit;
use super::column_type::{ColumnType, Family};
use super::number::numeric_modifier;
use super::sql::{quote_literal, unless_null};

/// `NAMEDATALEN - 1`: bytes of a `name`.
const NAME_BYTES: usize = 63;
/// Whole numbers beyond this cannot be told from their neighbours once YAML has read them as a fraction.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// The value as the policy writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
    Text(String),
    Integer(i128),
    Decimal(f64),
    Bool(bool),
}

pub fn takes(family: Family) -> bool {
    use Family as F;
    match family {
        F::Text | F::Citext | F::Varchar | F::Bpchar | F::Name | F::Char => true,
        F::Int2 | F::Int4 | F::Int8 | F::Numeric | F::Float4 | F::Float8 => true,
        F::Bool | F::Date | F::Timestamp | F::TimestampTz | F::Uuid | F::Json => true,
        F::Money | F::OidNumber | F::Bytea | F::Inet | F::Cidr | F::Array | F::Other => false,
    }
}

impl Constant {
    /// See [`super::Mask::Constant`]. `column` is quoted already.
    pub fn sql(&self, column: &str, data_type: &ColumnType) -> Result<String, Misfit> {
        let text = self.text(data_type).map_err(Misfit::Options)?;
        let value = format!("{}::{}", quote_literal(&text), data_type.sql);
        Ok(unless_null(column, &value, &data_type.sql))
    }

    /// The value as the type's input function takes it, under any setting.
    fn text(&self, data_type: &ColumnType) -> Result<String, String> {
        match data_type.family {
            Family::Text
            | Family::Citext
            | Family::Varchar
            | Family::Bpchar
            | Family::Name
            | Family::Char => self.characters(data_type),
            Family::Int2 => self.integer(i16::MIN.into(), i16::MAX.into()),
            Family::Int4 => self.integer(i32::MIN.into(), i32::MAX.into()),
            Family::Int8 => self.integer(i64::MIN.into(), i64::MAX.into()),
            Family::Numeric => self.numeric(data_type.typmod),
            Family::Float4 => self.float(f64::from(f32::MIN_POSITIVE), 3.4e38),
            Family::Float8 => self.float(f64::MIN_POSITIVE, 1.79e308),
            Family::Bool => match self {
                Constant::Bool(value) => Ok(value.to_string()),
                _ => Err("expected `true` or `false`".to_owned()),
            },
            Family::Date => self.date().map(str::to_owned),
            Family::Timestamp => self.timestamp(""),
            Family::TimestampTz => self.timestamp("+00"),
            Family::Uuid => self.uuid(),
            Family::Json => self.json(),
            _ => Err("the type takes no constant".to_owned()),
        }
    }

    fn characters(&self, data_type: &ColumnType) -> Result<String, String> {
        let text = match self {
            Constant::Text(text) => text.clone(),
            Constant::Integer(number) => number.to_string(),
            Constant::Decimal(_) | Constant::Bool(_) => {
                return Err("expected text: put it in quotes".to_owned());
            }
        };
        let limit = match data_type.family {
            Family::Varchar | Family::Bpchar => data_type
                .typmod
                .checked_sub(4)
                .and_then(|n| usize::try_from(n).ok()),
            Family::Char if text.is_ascii() => Some(1),
            Family::Char => Some(0),
            _ => None,
        };
        let length = text.chars().count();
        if let Some(limit) = limit.filter(|limit| length > *limit) {
            return Err(format!(
                "the text has {length} characters, the column takes {limit}"
            ));
        }
        if data_type.family == Family::Name && text.len() > NAME_BYTES {
            return Err(format!(
                "the text has {} bytes, the column takes {NAME_BYTES}",
                text.len()
            ));
        }
        Ok(text)
    }

    fn integer(&self, low: i128, high: i128) -> Result<String, String> {
        let number = match self {
            Constant::Integer(number) => Some(*number),
            Constant::Text(text) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (low..=high).contains(&number) => Ok(number.to_string()),
            Some(number) => Err(format!("`{number}` is outside {low} to {high}")),
            None => Err("expected a whole number".to_owned()),
        }
    }

    /// A decimal number without exponent, as text.
    fn decimal(&self) -> Result<String, String> {
        let text = match self {
            Constant::Integer(number) => number.to_string(),
            Constant::Decimal(number) if number.abs() < EXACT_FLOAT => number.to_string(),
            Constant::Decimal(_) => {
                return Err("the number is too large to be exact: put it in quotes".to_owned());
            }
            Constant::Text(text) => text.clone(),
            Constant::Bool(_) => return Err("expected a number".to_owned()),
        };
        let (whole, fraction) = parts(&text);
        let digits = |part: &str| {
            !part.is_empty() && part.len() <= 300 && part.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole) || !digits(fraction.unwrap_or("0")) {
            return Err("expected a decimal number such as `12.50`".to_owned());
        }
        Ok(text)
    }

    fn numeric(&self, typmod: i32) -> Result<String, String> {
        let text = self.decimal()?;
        let Some((precision, scale)) = numeric_modifier(typmod) else {
            return Ok(text);
        };
        let (whole, fraction) = parts(&text);
        let fraction = fraction.unwrap_or("").trim_end_matches('0');
        let whole = whole.trim_start_matches('0');
        let zeros = whole.len() - whole.trim_end_matches('0').len();
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let fits = count(whole.len()) <= i64::from(precision) - i64::from(scale)
            && count(fraction.len()) <= i64::from(scale.max(0))
            && (scale >= 0 || whole.is_empty() || count(zeros) >= -i64::from(scale))
            && leading_zeros_fit(whole, fraction, precision, scale);
        match fits {
            true => Ok(text),
            false => Err(format!(
                "`{text}` does not fit numeric({precision},{scale})"
            )),
        }
    }

    fn float(&self, low: f64, high: f64) -> Result<String, String> {
        let text = self.decimal()?;
        let number: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
        let size = number.abs();
        match size == 0.0 || (size >= low && size <= high) {
            true => Ok(text),
            false => Err(format!("`{text}` is outside what the type holds")),
        }
    }

    fn written(&self, expected: &str) -> Result<&str, String> {
        match self {
            Constant::Text(text) => Ok(text),
            _ => Err(format!("expected {expected}")),
        }
    }

    fn date(&self) -> Result<&str, String> {
        const EXPECTED: &str = "a date such as `1970-01-01`";
        let text = self.written(EXPECTED)?;
        is_date(text)
            .then_some(text)
            .ok_or_else(|| format!("expected {EXPECTED}"))
    }

    fn timestamp(&self, zone: &str) -> Result<String, String> {
        const EXPECTED: &str = "a time such as `1970-01-01 00:00:00`";
        let text = self.written(EXPECTED)?;
        let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
        match is_date(date) && is_time(time) {
            true => Ok(format!("{date} {time}{zone}")),
            false => Err(format!("expected {EXPECTED}")),
        }
    }

    fn uuid(&self) -> Result<String, String> {
        const EXPECTED: &str = "a UUID such as `00000000-0000-0000-0000-000000000000`";
        let text = self.written(EXPECTED)?;
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let hexadecimal = groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match lengths == [8, 4, 4, 4, 12] && hexadecimal {
            true => Ok(text.to_owned()),
            false => Err(format!("expected {EXPECTED}")),
        }
    }

    /// The value as a JSON scalar.
    pub(super) fn json(&self) -> Result<String, String> {
        match self {
            Constant::Text(text) => serde_json::to_string(text).map_err(|error| error.to_string()),
            Constant::Integer(number) => Ok(number.to_string()),
            Constant::Decimal(_) => self.decimal(),
            Constant::Bool(value) => Ok(value.to_string()),
        }
    }
}

/// `numeric(2, 5)` holds at most 0.00099: its first `scale - precision` decimals are zero.
fn leading_zeros_fit(whole: &str, fraction: &str, precision: u32, scale: i32) -> bool {
    let zeros = i64::from(scale) - i64::from(precision);
    let Some(zeros) = usize::try_from(zeros).ok().filter(|zeros| *zeros > 0) else {
        return true;
    };
    whole.is_empty() && fraction.bytes().take(zeros).all(|byte| byte == b'0')
}

fn parts(text: &str) -> (&str, Option<&str>) {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    }
}

/// `YYYY-MM-DD` of the years 1 to 9999, which every `DateStyle` reads alike.
fn is_date(text: &str) -> bool {
    let [year, month, day] = numbers(text, '-', [4, 2, 2]);
    let days = match month {
        Some(1 | 3 | 5 | 7 | 8 | 10 | 12) => 31,
        Some(4 | 6 | 9 | 11) => 30,
        Some(2) if year.is_some_and(leap) => 29,
        Some(2) => 28,
        _ => return false,
    };
    year.is_some_and(|year| year >= 1) && day.is_some_and(|day| (1..=days).contains(&day))
}

fn leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn is_time(text: &str) -> bool {
    let [hour, minute, second] = numbers(text, ':', [2, 2, 2]);
    let below = |number: Option<u32>, limit: u32| number.is_some_and(|number| number < limit);
    below(hour, 24) && below(minute, 60) && below(second, 60)
}

/// Three numbers of so many digits each, all `None` if the text is anything else.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> [Option<u32>; 3] {
    let parts: Vec<&str> = text.split(separator).collect();
    let right = parts.len() == widths.len()
        && parts
            .iter()
            .zip(widths)
            .all(|(part, width)| part.len() == width && part.bytes().all(|b| b.is_ascii_digit()));
    if !right {
        return [None; 3];
    }
    let mut numbers = parts.into_iter().map(|part| part.parse().ok());
    [(); 3].map(|()| numbers.next().flatten())
}
