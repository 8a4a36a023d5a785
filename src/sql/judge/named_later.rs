//! `set_config($1, $2, true)`: which setting it is comes with Bind, and is held to the same rule then as what stands in a text
//! (`session/to_server/named_settings`).
use std::collections::BTreeMap;

use crate::catalog::Oid;
use crate::sql::plan::{Effect, SettingText};
use crate::sql::tree::{Node, Tree};

use super::walk::{Walk, string_constant};

/// Types of parameters whose values are the same bytes as those of `text`, in text and in binary: none said, `text`, `unknown`,
/// `varchar`.
const TEXTS: [Oid; 4] = [0, 25, 705, 1_043];

impl Walk<'_> {
    /// What is known of a call of `set_config` that only its parameters decide about: they name the setting, or give it a value
    /// of which it depends. `name`: where it stands in the statement.
    pub(super) fn named_later(&self, call: &Node, name: Option<&str>) -> Option<Effect> {
        let mut arguments = call.list("args").iter().map(Tree::node);
        let (first, second) = (arguments.next()??, arguments.next()??);
        let name = match name {
            Some(name) => SettingText::Known(name.to_owned()),
            None => SettingText::Parameter(self.bound_text(first)?),
        };
        let value = match (string_constant(second), self.bound_text(second)) {
            (Some(text), _) => SettingText::Known(text.to_owned()),
            (None, Some(parameter)) => SettingText::Parameter(parameter),
            (None, None) => SettingText::Unknown,
        };
        let of_parameters = [&name, &value]
            .iter()
            .any(|text| matches!(text, SettingText::Parameter(_)));
        of_parameters.then_some(Effect::NamesSetting { name, value })
    }

    /// The number of a parameter that stands in the statement once, here: nothing else says what type it is of.
    fn bound_text(&self, node: &Node) -> Option<usize> {
        let number = usize::try_from(node.int("number")).ok()?;
        let types = self.rules.declared.filter(|_| node.kind == "ParamRef")?;
        let declared = types.get(number.checked_sub(1)?).copied().unwrap_or(0);
        (TEXTS.contains(&declared) && self.bound_once.contains(&number)).then_some(number)
    }
}

/// Parameters that stand in a statement once.
pub(super) fn once(statement: &Node) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    count(statement, &mut counts);
    let once = counts.into_iter().filter(|(_, times)| *times == 1);
    once.map(|(number, _)| number).collect()
}

fn count(node: &Node, counts: &mut BTreeMap<usize, usize>) {
    if node.kind == "ParamRef" {
        let number = usize::try_from(node.int("number")).unwrap_or(0);
        *counts.entry(number).or_default() += 1;
    }
    node.each(&mut |inner| count(inner, counts));
}
