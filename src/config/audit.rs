//! The section `audit`: where the record is kept, and for how long.

use crate::config::yaml::Spanned;

use super::alarms::alarms;
use super::load::{path_or, set, set_duration};
use super::raw::{RawAudit, RawRetain};
use super::resolve::Resolver;
use super::settings::{Ack, AuditSettings, OnFull};
use super::sinks;
use super::units;
use crate::audit::detect::Thresholds;
use crate::audit::spool::{
    CHECKPOINT_INTERVAL, CHECKPOINT_RECORDS, MAX_CHECKPOINT_RECORDS, SEGMENT_AGE, SEGMENT_BYTES,
};

const DEFAULT_DIR: &str = "var/audit";
const RECORDS_EXPECTED: &str = "a number of records from 1 to 10000";

/// `None` where a sink is wrong; what else is wrong has its default, and is told all the same.
pub fn audit(
    resolver: &mut Resolver<'_>,
    raw: Option<&Spanned<RawAudit>>,
    plaintext: bool,
) -> Option<AuditSettings> {
    let mut settings = AuditSettings {
        dir: path_or(resolver, &None, DEFAULT_DIR),
        on_full: OnFull::Refuse,
        ack: Ack::Written,
        signing_key: None,
        segment_bytes: SEGMENT_BYTES,
        segment_age: SEGMENT_AGE,
        checkpoint_records: CHECKPOINT_RECORDS,
        checkpoint_interval: CHECKPOINT_INTERVAL,
        retain_age: None,
        retain_bytes: None,
        recipient: None,
        sinks: Vec::new(),
        alarms: Thresholds::default(),
    };
    let Some(raw) = raw.map(|raw| &raw.value) else {
        return Some(settings);
    };
    settings.sinks = sinks::sinks(resolver, raw.sinks.as_ref(), plaintext)?;
    settings.dir = path_or(resolver, &raw.dir, DEFAULT_DIR);
    if let Some(on_full) = resolver.optional(&raw.on_full, |resolver, leaf| {
        resolver.word(leaf, &OnFull::ALL)
    }) {
        settings.on_full = on_full;
    }
    if let Some(ack) = resolver.optional(&raw.ack, |resolver, leaf| resolver.word(leaf, &Ack::ALL))
    {
        settings.ack = ack;
    }
    settings.signing_key = resolver.optional(&raw.signing_key, |resolver, leaf| {
        resolver.existing(leaf, "the signing key")
    });
    settings.recipient = resolver.optional(&raw.recipient, |resolver, leaf| {
        resolver.existing(leaf, "the recipient's key")
    });
    set(
        resolver,
        &raw.segment_bytes,
        &mut settings.segment_bytes,
        units::SIZE_EXPECTED,
        units::size,
    );
    for (leaf, slot) in [
        (&raw.segment_age, &mut settings.segment_age),
        (&raw.checkpoint_interval, &mut settings.checkpoint_interval),
    ] {
        set_duration(resolver, leaf, slot);
    }
    set(
        resolver,
        &raw.checkpoint_records,
        &mut settings.checkpoint_records,
        RECORDS_EXPECTED,
        |text| {
            let records = text.parse().ok()?;
            (1..=MAX_CHECKPOINT_RECORDS)
                .contains(&records)
                .then_some(records)
        },
    );
    if let Some(raw) = &raw.alarms {
        settings.alarms = alarms(resolver, &raw.value);
    }
    if let Some(retain) = &raw.retain {
        retention(resolver, &retain.value, &mut settings);
    }
    Some(settings)
}

fn retention(resolver: &mut Resolver<'_>, raw: &RawRetain, settings: &mut AuditSettings) {
    settings.retain_age = resolver.optional(&raw.age, |resolver, leaf| {
        resolver.parse(leaf, units::DURATION_EXPECTED, units::duration)
    });
    settings.retain_bytes = resolver.optional(&raw.bytes, |resolver, leaf| {
        resolver.parse(leaf, units::SIZE_EXPECTED, units::size)
    });
}
