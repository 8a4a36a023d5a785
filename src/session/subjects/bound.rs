//! How many different rows are taken for one another, against what docs/counting.md states: that two of n people on a day share
//! a number of b bits is less likely than n² / 2^(b + 1), for b = 64.
//!
//! At 64 bits nothing would ever be seen, so the numbers are cut down as well: a hash that keeps to the bound at every
//! length keeps to it at its own.
use std::collections::HashSet;

use super::tests::{description, role, row};
use super::{SubjectColumns, UUID};

/// People on one day.
const ROWS: u64 = 50_000;
const DAYS: u64 = 16;

/// The values of a row's key.
type Key = fn(u64) -> Vec<Vec<u8>>;

fn text(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// The numbers of as many rows, no two of which are one: keys as they are counted up, in each of the forms that they come in.
fn day(day: u64) -> Vec<i64> {
    let (types, key): (&[u32], Key) = match day % 4 {
        0 => (&[20], |row| vec![text(row)]),
        1 => (&[20], |row| vec![row.to_be_bytes().to_vec()]),
        2 => (&[UUID], |row| vec![u128::from(row).to_be_bytes().to_vec()]),
        _ => (&[25, 25], |row| vec![text(row / 250), text(row % 250)]),
    };
    let places: Vec<(u32, i16, u32)> = (1..)
        .zip(types)
        .map(|(column, of)| (7, column, *of))
        .collect();
    let numbers: Vec<i16> = places.iter().map(|(_, column, _)| *column).collect();
    let columns = SubjectColumns::of(&description(&places), &role(&numbers)).unwrap();
    let first = day * ROWS;
    (first..first + ROWS)
        .flat_map(|number| {
            let values = key(number);
            let values: Vec<Option<&[u8]>> =
                values.iter().map(|value| Some(value.as_slice())).collect();
            columns.shown(&row(&values)).unwrap()
        })
        .collect()
}

/// People who were taken for somebody else where numbers have so many bits.
fn missed(days: &[Vec<i64>], bits: u32) -> usize {
    let cut = |number: &i64| number.cast_unsigned() >> (64 - bits);
    let missed = days.iter().map(|day| {
        let seen: HashSet<u64> = day.iter().map(cut).collect();
        day.len() - seen.len()
    });
    missed.sum()
}

/// Of all days, by the bound.
fn bound(bits: i32) -> f64 {
    let rows = ROWS as f64;
    DAYS as f64 * rows * rows / 2_f64.powi(bits + 1)
}

#[test]
fn different_people_are_counted_as_such_within_the_stated_bound() {
    let days: Vec<Vec<i64>> = (0..DAYS).map(day).collect();
    assert!(days.iter().all(|day| day.len() as u64 == ROWS));
    for bits in [20, 24, 28, 32] {
        let (missed, bound) = (missed(&days, bits) as f64, bound(bits.cast_signed()));
        println!(
            "{bits} bits: {missed} of {} missed, {bound:.1} by the bound",
            DAYS * ROWS
        );
        // Chance: five standard deviations.
        assert!(
            missed <= bound + 5.0 * bound.sqrt(),
            "{missed} of {bits} bits"
        );
        // The test sees what it is about.
        assert!(
            missed >= bound - 5.0 * bound.sqrt() - 0.05 * bound,
            "{missed} of {bits} bits"
        );
    }
    assert!(bound(64) < 1e-8);
    assert_eq!(missed(&days, 64), 0);
    // Less room for each would not do: the same keys break the bound of 64 bits at 24.
    assert!(missed(&days, 24) as f64 > bound(64) + 5.0);
}
