//! Who sees what: YAML policies, checked and compiled against a catalog snapshot. Pure but for reading the files.
//!
//! The way of a policy: [`raw`] is what a file says, [`rules`] what holds after checking all files together (a
//! [`PolicySet`]), [`compiled`] what it means for one database. [`mask`] turns a mask and a column into SQL.
mod check;
pub mod compile;
pub mod compiled;
mod flow;
mod load;
pub mod mask;
pub mod pattern;
pub mod raw;
pub mod rules;
pub mod system;

pub use compile::CompiledPolicy;
pub use compiled::{ColumnMask, MaskSql, RolePolicy, RowRule, RulePart, SessionValue};
pub use load::load;
pub use rules::{ClassRule, RoleRule, Unmatched};

use crate::config::Diagnostics;

/// Class of a masked column that computes something from classified data, or whose source is not known.
pub const DERIVED: &str = "derived";

/// All policy files of a folder, checked together, not yet held against a database.
#[derive(Debug, Clone)]
pub struct PolicySet {
    version: String,
    pub classes: Vec<ClassRule>,
    /// In order: the first that matches a session is its role.
    pub roles: Vec<RoleRule>,
    pub unmatched: Unmatched,
    /// Findings that do not keep the policy from being used.
    pub warnings: Diagnostics,
}

impl PolicySet {
    /// 16 hexadecimal digits of a hash over names and texts of the files.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The role of a session, or `None` where the session is to be denied.
    pub fn match_role(&self, db_user: &str) -> Option<&RoleRule> {
        let matched = self.roles.iter().find(|role| role.users.contains(db_user));
        match (&self.unmatched, matched) {
            (_, Some(role)) => Some(role),
            (Unmatched::Role(name), None) => self.role(name),
            (Unmatched::Deny, None) => None,
        }
    }

    pub fn role(&self, name: &str) -> Option<&RoleRule> {
        self.roles.iter().find(|role| &*role.name == name)
    }

    pub fn class(&self, name: &str) -> Option<&ClassRule> {
        self.classes.iter().find(|class| &*class.name == name)
    }
}
