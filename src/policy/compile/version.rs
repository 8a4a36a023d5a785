//! A number for a compiled role's content.
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::catalog::{AttNum, Oid};
use crate::policy::compiled::{ColumnMask, MaskPiece, RolePolicy, RulePart, SessionValue};

/// Hash of everything in it.
pub(super) fn version(policy: &RolePolicy) -> u64 {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    put(policy.name.as_bytes());
    put(policy.policy.as_bytes());
    put(&[
        u8::from(policy.unmasked),
        u8::from(policy.full_text),
        u8::from(policy.shares_session),
    ]);
    put(&policy
        .trial
        .as_ref()
        .map_or(0, |role| role.version)
        .to_be_bytes());
    put(format!("{:?}", policy.export).as_bytes());
    let masks: BTreeMap<(Oid, AttNum), &ColumnMask> = policy
        .masks
        .iter()
        .flat_map(|(oid, columns)| columns.iter().map(|(num, mask)| ((*oid, *num), mask)))
        .collect();
    put(&masks.len().to_be_bytes());
    for ((oid, num), mask) in masks {
        put(&oid.to_be_bytes());
        put(&num.to_be_bytes());
        put(mask.class.as_bytes());
        put(&mask.sql.pieces().len().to_be_bytes());
        for piece in mask.sql.pieces() {
            let (kind, text): (u8, &str) = match piece {
                MaskPiece::Sql(text) => (0, text),
                MaskPiece::Column => (1, ""),
                MaskPiece::Other(name) => (2, name),
            };
            put(&[kind]);
            put(text.as_bytes());
        }
        put(&[u8::from(mask.lookup)]);
    }
    put(&policy.rows.len().to_be_bytes());
    for (oid, rule) in policy.rows.iter().collect::<BTreeMap<_, _>>() {
        put(&oid.to_be_bytes());
        put(&rule.parts.len().to_be_bytes());
        for part in &rule.parts {
            let (kind, text): (u8, &str) = match part {
                RulePart::Sql(text) => (0, text),
                RulePart::Column(name) => (1, name),
                RulePart::Value(SessionValue::AppUser) => (2, ""),
                RulePart::Value(SessionValue::DbUser) => (3, ""),
                RulePart::Value(SessionValue::Attribute(name)) => (4, name),
                RulePart::Value(SessionValue::Region(name)) => (5, name),
            };
            put(&[kind]);
            put(text.as_bytes());
        }
    }
    for sets in [&policy.denied, &policy.anchors] {
        put(&sets.len().to_be_bytes());
        for (oid, columns) in sets.iter().collect::<BTreeMap<_, _>>() {
            put(&oid.to_be_bytes());
            put(&columns.len().to_be_bytes());
            for num in columns.iter().collect::<BTreeSet<_>>() {
                put(&num.to_be_bytes());
            }
        }
    }
    for held in [&policy.tied, &policy.carried] {
        put(&held.len().to_be_bytes());
        for (oid, columns) in held.iter().collect::<BTreeMap<_, _>>() {
            put(&oid.to_be_bytes());
            put(&columns.len().to_be_bytes());
            for (num, why) in columns.iter().collect::<BTreeMap<_, _>>() {
                put(&num.to_be_bytes());
                put(why.as_bytes());
            }
        }
    }
    put(&policy.probed.len().to_be_bytes());
    for (oid, why) in policy.probed.iter().collect::<BTreeMap<_, _>>() {
        put(&oid.to_be_bytes());
        put(why.as_bytes());
    }
    put(&policy.closed.len().to_be_bytes());
    for (oid, reason) in policy.closed.iter().collect::<BTreeMap<_, _>>() {
        put(&oid.to_be_bytes());
        put(reason.as_bytes());
    }
    put(&policy.classes.len().to_be_bytes());
    for ((oid, num), classes) in policy.classes.iter().collect::<BTreeMap<_, _>>() {
        put(&oid.to_be_bytes());
        put(&num.to_be_bytes());
        put(&classes.len().to_be_bytes());
        classes.iter().for_each(|class| put(class.as_bytes()));
    }
    put(&policy.traps.len().to_be_bytes());
    for ((oid, num), traps) in policy.traps.iter().collect::<BTreeMap<_, _>>() {
        put(&oid.to_be_bytes());
        put(&num.to_be_bytes());
        put(&traps.len().to_be_bytes());
        for trap in traps {
            put(trap.name.as_bytes());
            put(&trap.values().count().to_be_bytes());
            trap.values().for_each(|value| put(value.as_bytes()));
        }
    }
    put(&policy.protected.len().to_be_bytes());
    for oid in policy.protected.iter().collect::<BTreeSet<_>>() {
        put(&oid.to_be_bytes());
    }
    for set in [&policy.functions, &policy.statements] {
        put(&set.len().to_be_bytes());
        for name in set.iter().collect::<BTreeSet<_>>() {
            put(name.as_bytes());
        }
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |version, byte| (version << 8) | u64::from(*byte))
}
