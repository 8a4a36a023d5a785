//! A number for a snapshot's content.
use std::collections::BTreeSet;
use std::fmt::{self, Debug, Write};

use sha2::{Digest, Sha256};

use super::Catalog;

/// Equal content gives an equal version, and different content, as good as certainly, another one: the first 64 bits
/// of a SHA-256 over everything in the snapshot in a fixed order. The same across restarts, so that records can
/// name it.
pub fn content_version(catalog: &Catalog) -> u64 {
    let mut digest = Feed(Sha256::new());
    // Debug output quotes and escapes strings, so two different contents cannot print alike.
    digest.one(&(&catalog.database, catalog.server_version));
    digest.sorted(catalog.schemas.iter().map(|schema| (schema, ())));
    digest.sorted(&catalog.relations);
    digest.sorted(&catalog.functions);
    digest.sorted(&catalog.operators);
    digest.sorted(&catalog.types);
    digest.sorted(&catalog.storage);
    digest.sorted(&catalog.row_types);
    digest.one(&catalog.triggers);
    digest.sorted(catalog.missing_values.iter().map(|column| (column, ())));
    for cast in &catalog.casts {
        let relations: BTreeSet<_> = cast.relations.iter().collect();
        let types: BTreeSet<_> = cast.types.iter().collect();
        digest.one(&(cast.source, cast.target, cast.context, &cast.function));
        let views: BTreeSet<_> = cast.views.iter().collect();
        digest.one(&(&cast.extension, relations, types, views));
    }
    digest.sorted(&catalog.checked_types);
    digest.sorted(&catalog.foreign_keys);
    digest.sorted(&catalog.collations);
    digest.sorted(&catalog.elements);
    digest.sorted(&catalog.view_reads);
    digest.sorted(&catalog.rewrite_rules);
    digest.sorted(&catalog.ties);
    digest.one(&catalog.cascades);
    let hash = digest.0.finalize();
    hash.iter()
        .take(8)
        .fold(0, |version, byte| version << 8 | u64::from(*byte))
}

struct Feed(Sha256);

impl Feed {
    fn sorted<K: Ord + Debug, V: Debug>(&mut self, entries: impl IntoIterator<Item = (K, V)>) {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        for entry in entries {
            self.one(&entry);
        }
        self.one(&"end");
    }

    fn one(&mut self, value: &impl Debug) {
        // A digest takes any bytes: its writes do not fail.
        let _ = write!(self, "{value:?};");
    }
}

impl Write for Feed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
