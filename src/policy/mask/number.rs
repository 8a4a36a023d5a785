//! Masks of numbers: `round` and `bucket`.
//!
//! All arithmetic is done in `numeric`, which is exact and neither overflows nor underflows between the bounds set
//! here. The result is clamped to what the column's type can hold.
use super::Misfit;
use super::column_type::{ColumnType, Family};
use super::sql::{call, operator, typed, unless_null};

/// Digits after the point that a step may have.
const DECIMALS: u32 = 6;
/// Steps are counted in units of 10^-7, so that half a step is whole too.
const SCALE: u32 = DECIMALS + 1;
/// Digits before the point that a step may have.
const MAX_WHOLE_DIGITS: usize = 15;
/// `numeric` without precision: beyond 10^100 (and for NaN and the infinities of PostgreSQL 14) the masked value is NULL.
const NUMERIC_BOUND: &str = "1e100";
/// The largest finite floats, rounded towards zero; beyond them (and for NaN and infinity) the masked value is NULL.
const FLOAT4_BOUND: &str = "3.4e38";
const FLOAT8_BOUND: &str = "1.79e308";

/// The width of what `round` and `bucket` make equal: more than zero, at most 15 digits before and 6 after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// In units of 10^-7; a multiple of 10.
    units: u128,
}

impl Step {
    /// Whether every number with so many digits after the point is a multiple of it.
    pub fn is_within(&self, decimals: u32) -> bool {
        let unit = SCALE.checked_sub(decimals).map(|zeros| 10u128.pow(zeros));
        unit.is_some_and(|unit| unit.is_multiple_of(self.units))
    }

    /// Reads a decimal number such as `1000` or `0.05`.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let fraction_digits = u32::try_from(fraction.len()).ok()?;
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole)
            || !digits(fraction)
            || whole.len() > MAX_WHOLE_DIGITS
            || fraction_digits > DECIMALS
        {
            return None;
        }
        let one = 10_u128.pow(SCALE);
        let units = whole.parse::<u128>().ok()? * one
            + fraction.parse::<u128>().ok()? * 10_u128.pow(SCALE - fraction_digits);
        (units > 0).then_some(Self { units })
    }

    fn is_whole(self) -> bool {
        self.units.is_multiple_of(10_u128.pow(SCALE))
    }

    /// Every multiple of 10^-scale is a multiple of the step: rounding to it changes nothing.
    fn divides(self, scale: i32) -> bool {
        let exponent = i64::from(SCALE) - i64::from(scale);
        match u32::try_from(exponent) {
            Ok(exponent) => 10_u128
                .checked_pow(exponent)
                .is_some_and(|unit| unit.is_multiple_of(self.units)),
            Err(_) => false,
        }
    }
}

pub fn takes(family: Family) -> bool {
    matches!(
        family,
        Family::Int2
            | Family::Int4
            | Family::Int8
            | Family::Numeric
            | Family::Float4
            | Family::Float8
    )
}

/// See [`super::Mask::Bucket`].
pub fn bucket(column: &str, data_type: &ColumnType, step: &Step) -> Result<String, Misfit> {
    floor_to(column, data_type, *step, None)
}

/// See [`super::Mask::Round`].
pub fn round(column: &str, data_type: &ColumnType, step: &Step) -> Result<String, Misfit> {
    floor_to(column, data_type, *step, Some(decimal(step.units / 2)))
}

/// The multiple of `step` at or below the value plus `shift`.
fn floor_to(
    column: &str,
    data_type: &ColumnType,
    step: Step,
    shift: Option<String>,
) -> Result<String, Misfit> {
    let range = Range::of(data_type, step)?;
    let number = format!("{column}::pg_catalog.numeric");
    let step = typed(&decimal(step.units), "numeric");
    let shifted = match shift {
        Some(shift) => format!("({})", operator(&number, "+", &typed(&shift, "numeric"))),
        None => number,
    };
    // `mod` has the sign of its first argument; the second turn makes it the distance from the multiple below.
    let remainder = call(
        "mod",
        &[
            &operator(&call("mod", &[&shifted, &step]), "+", &step),
            &step,
        ],
    );
    let floor = operator(&shifted, "-", &remainder);
    let clamped = format!(
        "LEAST(GREATEST({floor}, {}), {})",
        typed(&range.low, "numeric"),
        typed(&range.high, "numeric"),
    );
    // The scale of a numeric would tell how many decimals the value had.
    let trimmed = call("trim_scale", &[&clamped]);
    let (value, as_type) = match range.compared_as {
        Some(name) => (format!("{column}::pg_catalog.{name}"), name),
        // GREATEST and LEAST pass over NULL, so it must not get there.
        None => return Ok(unless_null(column, &trimmed, &data_type.sql)),
    };
    Ok(format!(
        "(CASE WHEN {} AND {} THEN {trimmed} END)::{}",
        operator(&value, ">=", &typed(&range.low, as_type)),
        operator(&value, "<=", &typed(&range.high, as_type)),
        data_type.sql,
    ))
}

/// What results are clamped to, and what values are taken at all.
struct Range {
    low: String,
    high: String,
    /// The type in which a value is compared with the bounds first, since it may be no number. NaN is greater than all.
    compared_as: Option<&'static str>,
}

impl Range {
    fn of(data_type: &ColumnType, step: Step) -> Result<Self, Misfit> {
        let (low, high, compared_as) = match data_type.family {
            Family::Int2 => (i16::MIN.to_string(), i16::MAX.to_string(), None),
            Family::Int4 => (i32::MIN.to_string(), i32::MAX.to_string(), None),
            Family::Int8 => (i64::MIN.to_string(), i64::MAX.to_string(), None),
            Family::Numeric => {
                let high = largest(data_type.typmod).unwrap_or_else(|| NUMERIC_BOUND.to_owned());
                (format!("-{high}"), high, Some("numeric"))
            }
            Family::Float4 => (
                format!("-{FLOAT4_BOUND}"),
                FLOAT4_BOUND.to_owned(),
                Some("float4"),
            ),
            Family::Float8 => (
                format!("-{FLOAT8_BOUND}"),
                FLOAT8_BOUND.to_owned(),
                Some("float8"),
            ),
            _ => return Err(Misfit::Type),
        };
        let integer = compared_as.is_none();
        if integer && !step.is_whole() {
            return Err(Misfit::Options(format!(
                "`{}` is not a whole number",
                decimal(step.units)
            )));
        }
        let scale = match integer {
            true => Some(0),
            false => numeric_modifier(data_type.typmod)
                .filter(|_| data_type.family == Family::Numeric)
                .map(|(_, s)| s),
        };
        if scale.is_some_and(|scale| step.divides(scale)) {
            return Err(Misfit::Options(format!(
                "`{}` would leave every value as it is",
                decimal(step.units)
            )));
        }
        Ok(Self {
            low,
            high,
            compared_as,
        })
    }
}

/// Precision and scale of `numeric(p, s)` (`numeric_typmod_precision`, numeric.c); the scale may be negative.
pub fn numeric_modifier(typmod: i32) -> Option<(u32, i32)> {
    let value = typmod.checked_sub(4).filter(|value| *value >= 0)?;
    let precision = u32::try_from((value >> 16) & 0xffff).ok()?;
    let scale = ((value & 0x7ff) ^ 1024) - 1024;
    Some((precision, scale))
}

/// The largest value of `numeric(p, s)`: p nines, the point s digits from the right.
fn largest(typmod: i32) -> Option<String> {
    let (precision, scale) = numeric_modifier(typmod)?;
    let nines = "9".repeat(usize::try_from(precision).ok()?);
    Some(format!("{nines}e{}", -scale))
}

/// Units of 10^-7 as a decimal number without superfluous zeros.
fn decimal(units: u128) -> String {
    let one = 10_u128.pow(SCALE);
    let fraction = format!("{:0width$}", units % one, width = SCALE as usize);
    match fraction.trim_end_matches('0') {
        "" => (units / one).to_string(),
        fraction => format!("{}.{fraction}", units / one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_positive_decimals() {
        for (text, expected) in [
            ("1000", Some("1000")),
            ("0.05", Some("0.05")),
            ("2.50", Some("2.5")),
            ("0", None),
            ("0.0000001", None),
            ("-5", None),
            ("1e3", None),
            ("", None),
            (".5", None),
            ("5.", None),
            ("1234567890123456", None),
        ] {
            assert_eq!(
                Step::parse(text).map(|step| decimal(step.units)).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_step_that_changes_nothing_is_found() {
        let step = |text| Step::parse(text).unwrap();
        assert!(
            step("0.01").divides(2)
                && step("0.005").divides(2)
                && step("1").divides(0)
                && step("50").divides(-2)
        );
        assert!(
            !step("0.02").divides(2)
                && !step("1000").divides(2)
                && !step("2").divides(0)
                && !step("0.01").divides(9)
        );
    }

    #[test]
    fn numeric_modifiers_are_read_as_the_server_packs_them() {
        let packed = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(numeric_modifier(packed(12, 2)), Some((12, 2)));
        assert_eq!(numeric_modifier(packed(2, -3)), Some((2, -3)));
        assert_eq!(numeric_modifier(-1), None);
        assert_eq!(largest(packed(4, 2)).as_deref(), Some("9999e-2"));
    }
}
