//! Statements of other tests: attacks, cases of planning, generated ones.
use crate::attacks::{ATTACKS, MORE, cases};
use crate::generated::generate;

const PLANNING: &[&str] = &[
    include_str!("../planning/cases.txt"),
    include_str!("../planning/columns.txt"),
    include_str!("../planning/rewritings.txt"),
    include_str!("../planning/rows.txt"),
    include_str!("../planning/writes.txt"),
];

/// Statements for refusals, one a line.
const MARKS: &str = include_str!("../planning/marks.txt");

/// Texts of tests/attacks that the version has the grammar for.
pub fn attacks(major: u32) -> Vec<String> {
    let cases = cases(ATTACKS).into_iter().chain(cases(MORE));
    let known = cases.filter(|case| case.least <= major);
    known.map(|case| case.sql).collect()
}

/// The statements of tests/planning: the first line of each case.
pub fn planning() -> Vec<String> {
    let blocks = PLANNING.iter().flat_map(|file| file.split("\n\n"));
    let firsts = blocks.filter_map(|block| block.lines().find(|line| !line.starts_with('#')));
    let refused = MARKS.lines().filter(|line| !line.starts_with('#'));
    firsts
        .chain(refused)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The texts of a case of tests/generated.
pub fn generated(seed: u64, major: u32) -> Vec<String> {
    generate(seed, major)
        .steps
        .into_iter()
        .map(|step| step.sql)
        .collect()
}
