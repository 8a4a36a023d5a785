//! `audit.alarms`: from when on something is out of the ordinary.
use crate::config::yaml::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use super::load::set;
use super::raw::Leaf;
use super::resolve::Resolver;
use crate::audit::detect::Thresholds;

/// More than this within a minute, an hour or a day is no threshold but a slip of the keyboard.
const MOST: u64 = 1_000_000_000;
const COUNT_EXPECTED: &str = "a whole number from 1 to 1000000000";
const TIMES_EXPECTED: &str = "a whole number from 2 to 1000";
const SHARE_EXPECTED: &str = "a share such as `80%`";

/// What each kind of alarm has for thresholds, as it is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAlarms {
    pub enumeration: Option<Spanned<RawEnumeration>>,
    pub probing: Option<Spanned<RawProbing>>,
    pub volume: Option<Spanned<RawVolume>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEnumeration {
    /// Lookups of a column by a person within a minute that are an alarm whoever it is.
    pub per_minute: Leaf,
    /// ... or so many times what is usual for the person ...
    pub times_usual: Leaf,
    /// ... from so many on.
    pub least: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawProbing {
    /// Lookups of a column by a person within ten minutes ...
    pub least: Leaf,
    /// ... of which so many percent found nothing.
    pub empty: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawVolume {
    /// Rows within an hour and a day below which nothing is unusual.
    pub per_hour: Leaf,
    pub per_day: Leaf,
    /// How many times what is usual for the person.
    pub times_usual: Leaf,
}

/// What is not there, or wrong, has its default; what is wrong is told.
pub fn alarms(resolver: &mut Resolver<'_>, raw: &RawAlarms) -> Thresholds {
    let mut thresholds = Thresholds::default();
    if let Some(raw) = &raw.enumeration {
        let (raw, slot) = (&raw.value, &mut thresholds.enumeration);
        for (leaf, slot) in [
            (&raw.per_minute, &mut slot.per_minute),
            (&raw.least, &mut slot.least),
        ] {
            set(resolver, leaf, slot, COUNT_EXPECTED, count);
        }
        set(
            resolver,
            &raw.times_usual,
            &mut slot.times_usual,
            TIMES_EXPECTED,
            times,
        );
        if let Some(leaf) = raw.least.as_ref().or(raw.per_minute.as_ref())
            && slot.least > slot.per_minute
        {
            let message = format!(
                "`least` is {} and never reached: `per_minute` raises the alarm at {}",
                slot.least, slot.per_minute
            );
            resolver.error(leaf, message);
        }
    }
    if let Some(raw) = &raw.probing {
        let (raw, slot) = (&raw.value, &mut thresholds.probing);
        set(resolver, &raw.least, &mut slot.least, COUNT_EXPECTED, count);
        set(resolver, &raw.empty, &mut slot.empty, SHARE_EXPECTED, share);
    }
    if let Some(raw) = &raw.volume {
        let (raw, slot) = (&raw.value, &mut thresholds.volume);
        for (leaf, slot) in [
            (&raw.per_hour, &mut slot.per_hour),
            (&raw.per_day, &mut slot.per_day),
        ] {
            set(resolver, leaf, slot, COUNT_EXPECTED, |text| {
                count(text).map(u64::from)
            });
        }
        set(
            resolver,
            &raw.times_usual,
            &mut slot.times_usual,
            TIMES_EXPECTED,
            times,
        );
    }
    thresholds
}

fn count(text: &str) -> Option<u32> {
    let count: u64 = text.parse().ok()?;
    let count = (1..=MOST).contains(&count).then_some(count)?;
    u32::try_from(count).ok()
}

fn times(text: &str) -> Option<u32> {
    let times = text.parse().ok()?;
    (2..=1000).contains(&times).then_some(times)
}

fn share(text: &str) -> Option<u32> {
    let percent = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (1..=100).contains(&percent).then_some(percent)
}
