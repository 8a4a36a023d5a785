//! Checks the groups of a policy, and how applications name who is behind a database user that people share.
use std::sync::Arc;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::yaml::{OneOrMany, Spanned};
use crate::policy::raw::RawApplication;
use crate::policy::rules::{ServerName, ServerObject};
use crate::policy::who::{Application, NamedBy};

/// Longest name of a key, setting or group, in bytes.
const MAX_NAME: usize = 63;

impl Checker {
    pub(super) fn group(
        &mut self,
        source: &Arc<Source>,
        name: &Spanned<String>,
        members: &Spanned<OneOrMany>,
    ) {
        let origin = Origin::new(source, name);
        self.name(&origin, "group", &name.value);
        let members = self.texts(source, members, "person");
        if self
            .groups
            .insert(name.value.as_str().into(), members)
            .is_some()
        {
            let message = format!("the group `{}` stands here twice", name.value);
            self.error(&origin, message);
        }
    }

    pub(super) fn application(
        &mut self,
        source: &Arc<Source>,
        user: &Spanned<String>,
        raw: &Spanned<RawApplication>,
    ) {
        let origin = Origin::new(source, user);
        self.server_names.push(ServerName {
            kind: ServerObject::User,
            name: user.value.clone(),
            origin: origin.clone(),
        });
        let keys = &raw.value;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let name = |text: &str| {
            let fits = !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(plain);
            fits.then(|| Arc::<str>::from(text))
        };
        // PostgreSQL's own settings have no full stop; what somebody else may set is none of the application's.
        let setting = |text: &str| {
            let known = |part: &str| {
                let mut chars = part.chars();
                chars
                    .next()
                    .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
                    && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            };
            let fits = text.split('.').count() == 2 && text.split('.').all(known);
            name(text).filter(|_| fits)
        };
        let comment = self.read(
            source,
            &keys.comment,
            "the key of a comment",
            "`app_user`",
            name,
        );
        let setting = self.read(
            source,
            &keys.setting,
            "a setting",
            "`pgveil.app_user` or `app.current_user`, in lower case",
            setting,
        );
        let signed = self.read(source, &keys.signed, "the name of a key", "`crm`", name);
        let token = self.read(
            source,
            &keys.token,
            "the name of an issuer",
            "`staff`",
            name,
        );
        let twice = |checker: &mut Self| {
            let message = format!("the application `{}` stands here twice", user.value);
            checker.error(&origin, message);
        };
        if let (Some(leaf), Some(issuer)) = (&keys.token, token) {
            if keys.comment.is_some() || keys.setting.is_some() || keys.signed.is_some() {
                let message = "`token` stands alone: the person is who has logged in";
                let diagnostic = Diagnostic::error(&Origin::new(source, leaf), message);
                self.diagnostics
                    .push(diagnostic.suggest("take `comment`, `setting` and `signed` out"));
            }
            if self.applications.contains_key(&user.value)
                || self
                    .token_users
                    .insert(user.value.clone(), issuer)
                    .is_some()
            {
                twice(self);
            }
            return;
        }
        let named_by = match (comment, setting) {
            (Some(key), None) => NamedBy::Comment(key),
            (None, Some(name)) => NamedBy::Setting(name),
            (both, _) => {
                let nothing =
                    keys.comment.is_none() && keys.setting.is_none() && keys.token.is_none();
                if both.is_some() || nothing {
                    let message = "expected one of `comment`, `setting` and `token`";
                    let diagnostic = Diagnostic::error(&Origin::new(source, raw), message);
                    self.diagnostics.push(diagnostic.suggest(
                        "say where the application names its user, as in `comment: app_user`",
                    ));
                }
                return;
            }
        };
        let application = Application { named_by, signed };
        if self.token_users.contains_key(&user.value)
            || self
                .applications
                .insert(user.value.clone(), application)
                .is_some()
        {
            twice(self);
        }
    }

    /// A session whose users change is analysed as a whole, or what one of them left behind would be another's to see.
    pub(super) fn analysed(&mut self) {
        let mut found = Vec::new();
        for role in self.roles.iter().filter(|role| role.unmasked) {
            let shared = role
                .db_users()
                .find(|user| self.applications.contains_key(*user));
            if let Some(user) = shared {
                let message = format!(
                    "the role `{}` is `unmasked` and for `{user}`, which people share",
                    role.name
                );
                found.push(Diagnostic::error(&role.origin, message).suggest(
                    "take `unmasked` out: a role without masks sees everything, and its statements are analysed",
                ));
            }
        }
        found
            .into_iter()
            .for_each(|diagnostic| self.diagnostics.push(diagnostic));
    }
}
