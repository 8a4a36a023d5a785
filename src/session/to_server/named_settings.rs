//! Settings whose names come with Bind: `set_config($1, $2, true)`, as PostGraphile sends for each request.
use super::ToServer;
use crate::session::host::Host;
use crate::session::messages;
use crate::session::statements::Statement;
use crate::sql::plan::{Effect, Refusal, SettingText, names_settings};
use crate::sql::{refuse, system};
use crate::wire::frame::Header;

impl<H: Host> ToServer<'_, H> {
    /// What there is against the settings that a Bind names; `None`: more of it must be read.
    pub(super) fn object_to_settings(
        &self,
        bound: &Statement,
        header: Header,
    ) -> Option<Option<Refusal>> {
        if bound.refusal().is_some() || !names_settings(bound.effects()) {
            return Some(None);
        }
        let held = self.values(header)?;
        let values = held.as_deref().and_then(messages::all_values);
        let state = self.shared.lock();
        let role = state.role_of(bound);
        let user = &bound.source.facts.user;
        let text_of = |text: &'_ SettingText| match text {
            SettingText::Known(text) => Some(text.clone()),
            SettingText::Parameter(number) => {
                let values = values.as_ref()?;
                plain(values.get(number.checked_sub(1)?).copied().flatten()?)
            }
            SettingText::Unknown => None,
        };
        let objection = bound.effects().iter().find_map(|effect| {
            let Effect::NamesSetting { name, value } = effect else {
                return None;
            };
            // No parameter goes into an error.
            let shown = match name {
                SettingText::Known(name) => name,
                _ => "named by a parameter",
            };
            let value = text_of(value);
            let value = value.as_deref().unwrap_or(system::ANY_VALUE);
            let why = match text_of(name) {
                Some(name) => system::objection(role, user, &name, value),
                None => Some("its name is not of printable ASCII characters"),
            };
            why.map(|why| refuse::setting(shown, why))
        });
        Some(objection)
    }
}

/// A text that reads the same in every encoding, in capital letters or not.
fn plain(value: &[u8]) -> Option<String> {
    let printable = value.iter().all(|byte| (b' '..=b'~').contains(byte));
    String::from_utf8(value.to_vec()).ok().filter(|_| printable)
}
