//! Checks what row rules know of people.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::yaml::{Entries, Scalar};
use crate::policy::compiled::SessionValue;
use crate::policy::person::plain;
use crate::policy::rows::is_name;
use crate::policy::rules::Person;

impl Checker {
    pub(super) fn person(
        &mut self,
        source: &Arc<Source>,
        name: &Spanned<String>,
        raw: &Entries<Spanned<Scalar>>,
    ) {
        let origin = Origin::new(source, name);
        if self.people.iter().any(|person| person.name == name.value) {
            self.error(
                &origin,
                format!("the person `{}` stands here twice", name.value),
            );
        }
        let mut attributes = BTreeMap::new();
        for (attribute, value) in &raw.0 {
            let origin = Origin::new(source, attribute);
            if !is_name(&attribute.value) {
                let message = format!("`{}` is no name of an attribute", attribute.value);
                let diagnostic = Diagnostic::error(&origin, message);
                self.diagnostics
                    .push(diagnostic.suggest("use letters, digits, `_` and `-`, at most 63 bytes"));
            }
            if let Some(value) = self.attribute(source, value) {
                attributes.insert(attribute.value.as_str().into(), value);
            }
        }
        let person = Person {
            name: name.value.clone(),
            attributes,
        };
        self.is_nobody_elses(&origin, &person);
        self.people.push(person);
    }

    /// A name that two people have would be counted, and would sign, for one of them.
    fn is_nobody_elses(&mut self, origin: &Origin, person: &Person) {
        for name in person.names() {
            let owner = self
                .named
                .entry(plain(name))
                .or_insert_with(|| person.name.clone());
            if *owner == person.name {
                continue;
            }
            let message = format!("`{name}` is a name of the person `{owner}`, too");
            let diagnostic = Diagnostic::error(origin, message);
            self.diagnostics.push(diagnostic.suggest(
                "give each name to one person; case, width and characters that cannot be seen make no difference",
            ));
        }
    }

    fn attribute(&mut self, source: &Arc<Source>, value: &Spanned<Scalar>) -> Option<String> {
        match &value.value {
            Scalar::Text(text) if !text.contains('\0') => Some(text.clone()),
            Scalar::Integer(number) => Some(number.to_string()),
            Scalar::Float(number) => Some(number.to_string()),
            Scalar::Bool(value) => Some(value.to_string()),
            other => {
                let message = format!("expected one value, found {}", other.describe());
                let diagnostic = Diagnostic::error(&Origin::new(source, value), message);
                self.diagnostics.push(match other {
                    Scalar::List => diagnostic.suggest(
                        "an attribute has one value: keep lists in a table, and read it in the rule",
                    ),
                    _ => diagnostic,
                });
                None
            }
        }
    }

    /// An attribute that nobody has is NULL for everybody: the rule that asks for it shows no row.
    pub(super) fn known_attributes(&mut self) {
        if self.directory.is_some() || !self.token_users.is_empty() {
            return;
        }
        let known: Vec<&str> = self
            .people
            .iter()
            .flat_map(|person| person.attributes.keys())
            .map(AsRef::as_ref)
            .collect();
        for rule in self.roles.iter().flat_map(|role| &role.rows) {
            for value in rule.condition.values() {
                let SessionValue::Attribute(name) = value else {
                    continue;
                };
                if known.contains(&&**name) {
                    continue;
                }
                let message =
                    format!("nobody has the attribute `{name}`: the rule shows no rows by it");
                let diagnostic = Diagnostic::warning(&rule.origin, message)
                    .did_you_mean(name, known.iter().copied());
                self.diagnostics.push(match &diagnostic.suggestion {
                    Some(_) => diagnostic,
                    None => diagnostic.suggest(format!(
                        "give it to someone, as in `people: {{ alice: {{ {name}: value }} }}`"
                    )),
                });
            }
        }
    }
}
