//! Checks one mask: which it is, and its options. Whether it goes with a column's type is seen against the catalog.
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::yaml::{Entries, Scalar};
use crate::policy::mask::{
    Constant, JsonConflict, JsonMasks, JsonPath, MAX_SHOWN, Mask, Network, Preset, Step, TimeUnit,
};
use crate::policy::raw::{Leaf, RawMask, RawMaskKeys, RawNetwork, RawShow};

/// What stands for a hidden character unless the policy says otherwise.
const DEFAULT_CHAR: char = '*';

impl Checker {
    pub(super) fn mask(
        &mut self,
        source: &Arc<Source>,
        origin: &Origin,
        raw: &RawMask,
    ) -> Option<Mask> {
        match raw {
            RawMask::Leaf(Scalar::Text(word)) => self.word(origin, word),
            RawMask::Leaf(Scalar::Null) => {
                let diagnostic = Diagnostic::error(origin, "expected a mask, found nothing");
                self.diagnostics.push(
                    diagnostic.suggest("the mask that gives NULL is written `\"null\"`, in quotes"),
                );
                None
            }
            RawMask::Leaf(other) => {
                self.error(
                    origin,
                    format!("expected a mask, found {}", other.describe()),
                );
                None
            }
            RawMask::Keys(keys) => self.keys(source, origin, keys),
        }
    }

    fn word(&mut self, origin: &Origin, word: &str) -> Option<Mask> {
        match word {
            "null" => Some(Mask::Null),
            "redact" => Some(Mask::Redact),
            "constant" | "show" | "email" | "round" | "bucket" | "truncate" | "json"
            | "network" | "preset" => {
                let diagnostic =
                    Diagnostic::error(origin, format!("the mask `{word}` needs its options"));
                self.diagnostics
                    .push(diagnostic.suggest(format!("write `{}`", example(word))));
                None
            }
            "hash" | "pseudonym" | "fpe" => {
                self.error(
                    origin,
                    format!("the mask `{word}` is part of the language but not supported yet"),
                );
                None
            }
            _ => self.preset(origin, word, "mask"),
        }
    }

    fn keys(&mut self, source: &Arc<Source>, origin: &Origin, keys: &RawMaskKeys) -> Option<Mask> {
        for (key, value) in [
            ("hash", &keys.hash),
            ("pseudonym", &keys.pseudonym),
            ("fpe", &keys.fpe),
        ] {
            self.not_yet(source, key, value);
        }
        let later = [&keys.hash, &keys.pseudonym, &keys.fpe]
            .iter()
            .any(|key| key.is_some());
        let given = [
            keys.redact.is_some(),
            keys.null.is_some(),
            keys.show.is_some(),
            keys.email.is_some(),
            keys.constant.is_some(),
            keys.preset.is_some(),
            keys.round.is_some(),
            keys.bucket.is_some(),
            keys.truncate.is_some(),
            keys.json.is_some(),
            keys.network.is_some(),
        ];
        match given.into_iter().filter(|given| *given).count() {
            1 => self.one_key(source, origin, keys),
            0 if later => None,
            0 => {
                self.error(origin, "expected a mask, found nothing");
                None
            }
            _ => {
                self.error(origin, "a class has one mask per role, here stand several");
                None
            }
        }
    }

    fn one_key(
        &mut self,
        source: &Arc<Source>,
        origin: &Origin,
        keys: &RawMaskKeys,
    ) -> Option<Mask> {
        for (word, mask, leaf) in [
            ("redact", Mask::Redact, &keys.redact),
            ("null", Mask::Null, &keys.null),
        ] {
            if let Some(leaf) = leaf {
                return self.on(source, word, leaf).then_some(mask);
            }
        }
        if let Some(show) = &keys.show {
            return self.show(source, &show.value);
        }
        if let Some(email) = &keys.email {
            return Some(Mask::Email {
                first: self.shown(source, &email.value.first)?,
            });
        }
        if let Some(leaf) = &keys.preset {
            let name = leaf.value.text().unwrap_or_default();
            return self.preset(&Origin::new(source, leaf), name, "preset");
        }
        if let Some(paths) = &keys.json {
            return self.json(source, origin, paths);
        }
        if let Some(network) = &keys.network {
            return self.network(source, network);
        }
        if let Some(leaf) = &keys.constant {
            return self.constant(source, leaf).map(Mask::Constant);
        }
        if let Some(leaf) = &keys.round {
            return self.step(source, leaf).map(Mask::Round);
        }
        if let Some(leaf) = &keys.bucket {
            return self.step(source, leaf).map(Mask::Bucket);
        }
        keys.truncate
            .as_ref()
            .and_then(|leaf| self.unit(source, leaf))
            .map(Mask::Truncate)
    }

    /// A mask without options, written as a key: `redact: true`.
    fn on(&mut self, source: &Arc<Source>, word: &str, leaf: &Spanned<Scalar>) -> bool {
        let on = leaf.value == Scalar::Bool(true);
        if !on {
            let message = format!("expected `true`, found {}", leaf.value.describe());
            let diagnostic = Diagnostic::error(&Origin::new(source, leaf), message);
            self.diagnostics
                .push(diagnostic.suggest(format!("write `{word}: true`, or take `{word}` out")));
        }
        on
    }

    /// Whether the mask says `lookup: exact`, and where.
    pub(super) fn lookup(&mut self, source: &Arc<Source>, raw: &RawMask) -> Option<Origin> {
        let RawMask::Keys(keys) = raw else {
            return None;
        };
        let leaf = keys.lookup.as_ref()?;
        let origin = Origin::new(source, leaf);
        if leaf.value.text() == Some("exact") {
            return Some(origin);
        }
        let message = format!("expected `lookup: exact`, found {}", leaf.value.describe());
        self.error(&origin, message);
        None
    }

    /// A preset by its name. Its name alone is a mask too, so that other words for masks may have been meant.
    fn preset(&mut self, origin: &Origin, name: &str, what: &str) -> Option<Mask> {
        let found = Preset::named(name);
        if found.is_none() {
            let presets = Preset::all().iter().map(|preset| preset.name);
            let words = Mask::NAMES.into_iter().filter(|_| what == "mask");
            let message = format!("no {what} is called `{name}`");
            let diagnostic =
                Diagnostic::error(origin, message).did_you_mean(name, words.chain(presets));
            self.diagnostics.push(diagnostic);
        }
        found.map(Mask::Preset)
    }

    fn json(
        &mut self,
        source: &Arc<Source>,
        origin: &Origin,
        paths: &Entries<Spanned<RawMask>>,
    ) -> Option<Mask> {
        let mut masks = JsonMasks::default();
        for (path, raw) in &paths.0 {
            let (place, at) = (Origin::new(source, path), Origin::new(source, raw));
            if let Some(lookup) = self.lookup(source, &raw.value) {
                self.error(
                    &lookup,
                    "`lookup` is for a column, not for a path within it",
                );
            }
            let mask = self.mask(source, &at, &raw.value)?;
            let Some(parsed) = JsonPath::parse(&path.value) else {
                let message = format!("`{}` is no path into a document", path.value);
                let diagnostic = Diagnostic::error(&place, message);
                self.diagnostics.push(
                    diagnostic.suggest("write it like `address.street` or `phones[*].number`"),
                );
                continue;
            };
            let name = mask.name();
            match masks.add(&parsed, mask) {
                Ok(()) => {}
                Err(JsonConflict::Path) => {
                    let message = format!("`{}` leads to or through another path", path.value);
                    self.error(&place, message);
                }
                Err(JsonConflict::Mask) => {
                    let message = format!("the mask `{name}` cannot stand within a document");
                    let diagnostic = Diagnostic::error(&at, message);
                    self.diagnostics.push(diagnostic.suggest(
                        "masks within a document: `null`, `redact`, `constant`, `show`, `email`, `round`, `bucket`",
                    ));
                }
            }
        }
        if paths.0.is_empty() {
            self.error(origin, "expected a mask for at least one path");
            return None;
        }
        Some(Mask::Json(masks))
    }

    fn network(&mut self, source: &Arc<Source>, raw: &Spanned<RawNetwork>) -> Option<Mask> {
        let bits = |leaf: &Scalar| leaf.integer().and_then(|bits| u8::try_from(bits).ok());
        let network = match &raw.value {
            RawNetwork::Leaf(leaf) => {
                bits(leaf).and_then(|ipv4| Network::new(ipv4, Network::IPV6_DEFAULT))
            }
            RawNetwork::Keys(keys) => {
                let or = |leaf: &Leaf, default| match leaf {
                    Some(leaf) => bits(&leaf.value),
                    None => Some(default),
                };
                or(&keys.ipv4, 0)
                    .zip(or(&keys.ipv6, Network::IPV6_DEFAULT))
                    .and_then(|(ipv4, ipv6)| Network::new(ipv4, ipv6))
            }
        };
        if network.is_none() {
            let diagnostic = Diagnostic::error(
                &Origin::new(source, raw),
                "expected bits that stay: at most 32 of IPv4 and 128 of IPv6, and not all",
            );
            self.diagnostics.push(
                diagnostic.suggest("write `network: 24` or `network: { ipv4: 24, ipv6: 48 }`"),
            );
        }
        network.map(Mask::Network)
    }

    fn show(&mut self, source: &Arc<Source>, raw: &RawShow) -> Option<Mask> {
        let first = self.shown(source, &raw.first);
        let last = self.shown(source, &raw.last);
        let char = match &raw.char {
            Some(leaf) => self.char(source, leaf),
            None => Some(DEFAULT_CHAR),
        };
        Some(Mask::Show {
            first: first?,
            last: last?,
            char: char?,
        })
    }

    fn shown(&mut self, source: &Arc<Source>, leaf: &Leaf) -> Option<u16> {
        let Some(leaf) = leaf else {
            return Some(0);
        };
        let count = leaf
            .value
            .integer()
            .and_then(|count| u16::try_from(count).ok())
            .filter(|count| *count <= MAX_SHOWN);
        if count.is_none() {
            let message = format!(
                "expected a whole number from 0 to {MAX_SHOWN}, found {}",
                leaf.value.describe()
            );
            self.error(&Origin::new(source, leaf), message);
        }
        count
    }

    /// One visible character. A backslash would depend on `standard_conforming_strings`.
    fn char(&mut self, source: &Arc<Source>, leaf: &Spanned<Scalar>) -> Option<char> {
        let text = match &leaf.value {
            Scalar::Text(text) => text.clone(),
            Scalar::Integer(number) => number.to_string(),
            _ => String::new(),
        };
        let mut chars = text.chars();
        let single = match (chars.next(), chars.next()) {
            (Some(char), None) if char != '\\' && !char.is_control() => Some(char),
            _ => None,
        };
        if single.is_none() {
            let message = format!(
                "expected one character other than a backslash, found {}",
                leaf.value.describe()
            );
            self.error(&Origin::new(source, leaf), message);
        }
        single
    }

    fn constant(&mut self, source: &Arc<Source>, leaf: &Spanned<Scalar>) -> Option<Constant> {
        match &leaf.value {
            Scalar::Text(text) if !text.contains('\0') => Some(Constant::Text(text.clone())),
            Scalar::Integer(number) => Some(Constant::Integer(*number)),
            Scalar::Float(number) => Some(Constant::Decimal(*number)),
            Scalar::Bool(value) => Some(Constant::Bool(*value)),
            Scalar::Null => {
                let diagnostic = Diagnostic::error(
                    &Origin::new(source, leaf),
                    "expected a value, found nothing",
                );
                self.diagnostics
                    .push(diagnostic.suggest("the mask that gives NULL is `\"null\"`"));
                None
            }
            other => {
                self.error(
                    &Origin::new(source, leaf),
                    format!("expected a value, found {}", other.describe()),
                );
                None
            }
        }
    }

    fn step(&mut self, source: &Arc<Source>, leaf: &Spanned<Scalar>) -> Option<Step> {
        let text = match &leaf.value {
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Integer(number) => Some(number.to_string()),
            Scalar::Float(number) => Some(number.to_string()),
            _ => None,
        };
        let step = text.as_deref().and_then(Step::parse);
        if step.is_none() {
            let message = format!(
                "expected a number above 0 with at most 15 digits before and 6 after the point, found {}",
                leaf.value.describe()
            );
            self.error(&Origin::new(source, leaf), message);
        }
        step
    }

    fn unit(&mut self, source: &Arc<Source>, leaf: &Spanned<Scalar>) -> Option<TimeUnit> {
        let word = leaf.value.text().unwrap_or_default();
        let unit = TimeUnit::ALL
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, unit)| *unit);
        if unit.is_none() {
            let message = format!(
                "expected `year`, `month` or `day`, found {}",
                leaf.value.describe()
            );
            let diagnostic = Diagnostic::error(&Origin::new(source, leaf), message);
            self.diagnostics
                .push(diagnostic.did_you_mean(word, TimeUnit::ALL.map(|(name, _)| name)));
        }
        unit
    }
}

fn example(mask: &str) -> &'static str {
    match mask {
        "constant" => "{ constant: hidden }",
        "show" => "{ show: { first: 3, last: 4 } }",
        "email" => "{ email: { first: 1 } }",
        "round" => "{ round: 1000 }",
        "bucket" => "{ bucket: 1000 }",
        "json" => "{ json: { address.street: redact } }",
        "network" => "{ network: 24 }",
        "preset" => "{ preset: email }",
        _ => "{ truncate: month }",
    }
}
