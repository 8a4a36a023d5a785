//! The classes of a policy, for records that do not name theirs.
use crate::audit::classes::{ClassColumns, Classes};
use crate::audit::glob::Glob;
use crate::policy::pattern::NamePattern;
use crate::policy::{ClassRule, PolicySet};

pub fn of_policy(policy: &PolicySet) -> Classes {
    of(policy.classes.iter())
}

/// Those that nobody has a reason to touch.
pub fn with_alarm(policy: &PolicySet) -> Classes {
    of(policy.classes.iter().filter(|class| class.alarm))
}

fn of<'p>(classes: impl Iterator<Item = &'p ClassRule>) -> Classes {
    let classes = classes.map(|class| ClassColumns {
        class: class.name.to_string(),
        level: class.level,
        columns: class
            .columns
            .iter()
            .map(|column| {
                let pattern = &column.pattern;
                [&pattern.schema, &pattern.table, &pattern.column].map(glob)
            })
            .collect(),
    });
    Classes::new(classes.collect())
}

fn glob(pattern: &NamePattern) -> Glob {
    match pattern {
        NamePattern::Exact(name) => Glob::Exact(name.clone()),
        NamePattern::Glob(pieces) => Glob::Pieces(pieces.clone()),
    }
}
