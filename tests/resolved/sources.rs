//! Statements of other tests: attacks, cases of planning, generated ones.
use crate::generated::generate;

const ATTACKS: &str = include_str!("../attacks/attacks.txt");
const MORE: &str = include_str!("../attacks/more.txt");
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
    let mut found = Vec::new();
    let mut open = false;
    for line in ATTACKS.lines().chain(MORE.lines()) {
        if let Some(head) = line.strip_prefix("#@ ") {
            let fields: Vec<&str> = head.split('|').collect();
            let least: u32 = fields
                .get(2)
                .and_then(|least| least.parse().ok())
                .unwrap_or(0);
            open = fields.get(2) != Some(&"proto") && least <= major;
            if open {
                found.push(String::new());
            }
        } else if line.starts_with("#! ") {
            // A control of the case: what is asked with masking off.
        } else if line.starts_with("## ") || line.starts_with("# ") || line.trim().is_empty() {
            open = false;
        } else if open && let Some(text) = found.last_mut() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
        }
    }
    found
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
