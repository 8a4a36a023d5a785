//! A role that sees more than usual: some of its masks are off, for one granted export.
use super::version::version;
use crate::policy::compiled::RolePolicy;

impl RolePolicy {
    /// The role without the masks of these classes. Row rules, hidden columns and everything else stay, and so do masks of
    /// relations that are masked by region: where somebody is, no signature changes. What constraints tie to a mask stays
    /// tied, which matters to writes alone: a grant takes masks off statements that only read (`session/to_server/grants`).
    pub fn without_masks(&self, classes: &[&str]) -> RolePolicy {
        let mut role = self.clone();
        let (masks, anchors) = (&mut role.masks, &role.anchors);
        let free = masks
            .iter_mut()
            .filter(|(relation, _)| !anchors.contains_key(*relation));
        for (_, columns) in free {
            columns.retain(|_, mask| !classes.contains(&&*mask.class));
        }
        role.masks.retain(|_, columns| !columns.is_empty());
        role.version = version(&role);
        role
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use crate::policy::compiled::{ColumnMask, MaskSql, RolePolicy};

    #[test]
    fn only_the_named_classes_are_seen() {
        let mask = |class: &str| ColumnMask {
            class: class.into(),
            sql: MaskSql::from_template("NULL"),
            lookup: false,
            parts: Vec::new(),
        };
        let role = RolePolicy {
            masks: HashMap::from([
                (1, HashMap::from([(1, mask("phone")), (2, mask("email"))])),
                (2, HashMap::from([(1, mask("phone"))])),
            ]),
            ..RolePolicy::default()
        };
        let clear = role.without_masks(&["phone"]);
        assert!(clear.mask(1, 1).is_none() && clear.mask(1, 2).is_some());
        assert!(!clear.masks.contains_key(&2));
        assert_ne!(clear.version, role.version);
    }
}
