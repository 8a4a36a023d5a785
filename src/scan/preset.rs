//! Levels and masks for classes, as laws and standards ask for them: `policies/presets/*.tsv`.
use std::sync::OnceLock;

use super::class::Class;
use super::table::rows;

/// What is taken without a preset, and the presets by name.
const TABLES: [(&str, &str); 4] = [
    (
        "default",
        include_str!("../../policies/presets/default.tsv"),
    ),
    ("gdpr", include_str!("../../policies/presets/gdpr.tsv")),
    ("pipl", include_str!("../../policies/presets/pipl.tsv")),
    ("pci", include_str!("../../policies/presets/pci.tsv")),
];

/// A law or standard as far as a policy for data can follow it.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    treatments: Vec<Treatment>,
}

/// What becomes of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Treatment {
    pub class: &'static Class,
    pub level: u8,
    /// As a policy writes them, the one to be preferred first.
    pub masks: Vec<&'static str>,
    /// Article or requirement.
    pub source: &'static str,
}

impl Preset {
    pub fn all() -> &'static [Preset] {
        static ALL: OnceLock<Vec<Preset>> = OnceLock::new();
        ALL.get_or_init(|| {
            TABLES
                .into_iter()
                .map(|(name, table)| Preset {
                    name,
                    treatments: rows(table).filter_map(read).collect(),
                })
                .collect()
        })
    }

    pub fn named(name: &str) -> Option<&'static Preset> {
        Self::all().iter().find(|preset| preset.name == name)
    }

    /// `None`: the class is outside of what the preset is about.
    pub fn treatment(&self, class: &Class) -> Option<&Treatment> {
        self.treatments
            .iter()
            .find(|treatment| treatment.class == class)
    }
}

/// The strictest level and the first mask that any of the presets gives.
pub fn combined(presets: &[&'static Preset], class: &Class) -> Option<Treatment> {
    let mut found = presets.iter().filter_map(|preset| preset.treatment(class));
    let mut treatment = found.next()?.clone();
    for other in found {
        treatment.level = treatment.level.max(other.level);
    }
    Some(treatment)
}

fn read([class, level, masks, source]: [&'static str; 4]) -> Option<Treatment> {
    Some(Treatment {
        class: Class::named(class)?,
        level: level.parse().ok()?,
        masks: masks.split(" | ").collect(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_every_table_is_read_and_names_its_source() {
        for ((name, table), preset) in TABLES.into_iter().zip(Preset::all()) {
            assert_eq!(
                preset.treatments.len(),
                super::super::table::lines(table),
                "{name}"
            );
            for treatment in &preset.treatments {
                assert!((1..=4).contains(&treatment.level), "{name}");
                assert!(
                    treatment.source.len() > 8,
                    "{name} {}",
                    treatment.class.name
                );
                // Whatever the type of the columns, the last one fits.
                assert!(matches!(
                    treatment.masks.last(),
                    Some(&"redact" | &"\"null\"")
                ));
            }
        }
    }

    #[test]
    fn the_default_is_about_every_class() {
        let preset = Preset::named("default").unwrap();
        for class in Class::all() {
            assert!(preset.treatment(class).is_some(), "{}", class.name);
        }
    }

    #[test]
    fn of_several_presets_the_strictest_level_holds() {
        let [gdpr, pci] = ["gdpr", "pci"].map(|name| Preset::named(name).unwrap());
        let card = Class::named("bank_card").unwrap();
        let phone = Class::named("phone").unwrap();
        assert_eq!(combined(&[gdpr, pci], card).unwrap().level, 4);
        assert_eq!(combined(&[pci], phone), None);
        assert!(combined(&[pci, gdpr], phone).is_some());
    }
}
