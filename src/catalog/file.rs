//! A snapshot as a file, for planning without a server: JSON, compressed by zstd.
//!
//! It holds names, types and definitions of rules, and no row of any table. Equal snapshots make equal files.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::version::content_version;
use super::{
    AttNum, Cascade, Cast, CastContext, Catalog, Checker, Function, Oid, Operator, Relation,
    RewriteRule, Storage, Tie, Type, ViewReads,
};

/// Of the file's shape. It rises when a field changes its meaning, goes away or is added: a snapshot that lacks something
/// would be planned on as if there were nothing of it.
const FORMAT: u32 = 5;
/// A snapshot of ten thousand tables takes about a tenth of this.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
const LEVEL: i32 = 19;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{file}: {error}")]
    Io { file: String, error: std::io::Error },
    #[error(
        "there is no catalog snapshot {file}; make it with `pgveil catalog dump --config pgveil.yaml --database NAME --output {file}`"
    )]
    Missing { file: String },
    #[error("{file} is no catalog snapshot: {reason}; write one with `pgveil catalog dump`")]
    Malformed { file: String, reason: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    format: u32,
    database: String,
    server_version: u32,
    schemas: BTreeSet<String>,
    relations: Vec<Relation>,
    functions: BTreeMap<String, Vec<Function>>,
    operators: BTreeMap<String, Vec<Operator>>,
    types: BTreeMap<Oid, Type>,
    storage: BTreeMap<Oid, Storage>,
    row_types: BTreeMap<Oid, Oid>,
    triggers: bool,
    missing_values: BTreeSet<(Oid, AttNum)>,
    casts: Vec<SortedCast>,
    checked_types: BTreeMap<Oid, Vec<Checker>>,
    foreign_keys: BTreeSet<((Oid, AttNum), (Oid, AttNum))>,
    collations: BTreeSet<((Oid, AttNum), Oid)>,
    elements: BTreeMap<Oid, Oid>,
    view_reads: BTreeMap<Oid, ViewReads>,
    rewrite_rules: BTreeMap<Oid, Vec<RewriteRule>>,
    ties: BTreeMap<Oid, Vec<Tie>>,
    cascades: BTreeSet<Cascade>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SortedCast {
    source: Oid,
    target: Oid,
    context: CastContext,
    function: String,
    extension: Option<String>,
    relations: BTreeSet<Oid>,
    types: BTreeSet<Oid>,
    views: BTreeSet<Oid>,
}

/// Writes a snapshot.
///
/// # Errors
/// The file cannot be written.
pub fn write(catalog: &Catalog, path: &Path) -> Result<(), FileError> {
    let io = |error| FileError::Io {
        file: path.display().to_string(),
        error,
    };
    let json = serde_json::to_vec(&snapshot(catalog)).map_err(|error| io(error.into()))?;
    let packed = zstd::encode_all(json.as_slice(), LEVEL).map_err(io)?;
    std::fs::write(path, packed).map_err(io)
}

/// Reads a snapshot; its version is that of the database it was taken of.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Catalog, FileError> {
    let file = path.display().to_string();
    let packed = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => FileError::Missing { file: file.clone() },
        _ => FileError::Io {
            file: file.clone(),
            error,
        },
    })?;
    let malformed = |reason: String| FileError::Malformed {
        file: file.clone(),
        reason,
    };
    let decoder = zstd::Decoder::new(packed).map_err(|error| malformed(error.to_string()))?;
    let mut json = Vec::new();
    let mut limited = decoder.take(MAX_BYTES);
    limited
        .read_to_end(&mut json)
        .map_err(|error| malformed(error.to_string()))?;
    if u64::try_from(json.len()).unwrap_or(u64::MAX) >= MAX_BYTES {
        return Err(malformed(format!("it has more than {MAX_BYTES} bytes")));
    }
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(&json).map_err(|error| malformed(error.to_string()))?;
    if head.format != FORMAT {
        return Err(malformed(format!(
            "its format is {}, and this program reads {FORMAT}",
            head.format
        )));
    }
    let snapshot: Snapshot =
        serde_json::from_slice(&json).map_err(|error| malformed(error.to_string()))?;
    Ok(catalog(snapshot))
}

fn snapshot(catalog: &Catalog) -> Snapshot {
    fn sorted<K: Ord + Clone, V: Clone>(map: &HashMap<K, V>) -> BTreeMap<K, V> {
        let pairs = map.iter();
        pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
    let mut relations: Vec<Relation> = catalog
        .relations
        .values()
        .map(|relation| Relation::clone(relation))
        .collect();
    relations.sort_by_key(|relation| relation.oid);
    let cast = |cast: &Cast| SortedCast {
        source: cast.source,
        target: cast.target,
        context: cast.context,
        function: cast.function.clone(),
        extension: cast.extension.clone(),
        relations: cast.relations.iter().copied().collect(),
        types: cast.types.iter().copied().collect(),
        views: cast.views.iter().copied().collect(),
    };
    Snapshot {
        format: FORMAT,
        database: catalog.database.clone(),
        server_version: catalog.server_version,
        schemas: catalog.schemas.iter().cloned().collect(),
        relations,
        functions: sorted(&catalog.functions),
        operators: sorted(&catalog.operators),
        types: sorted(&catalog.types),
        storage: sorted(&catalog.storage),
        row_types: sorted(&catalog.row_types),
        triggers: catalog.triggers,
        missing_values: catalog.missing_values.iter().copied().collect(),
        casts: catalog.casts.iter().map(cast).collect(),
        checked_types: sorted(&catalog.checked_types),
        foreign_keys: catalog
            .foreign_keys
            .iter()
            .map(|(of, to)| (*of, *to))
            .collect(),
        collations: catalog
            .collations
            .iter()
            .map(|(column, collation)| (*column, *collation))
            .collect(),
        elements: sorted(&catalog.elements),
        view_reads: sorted(&catalog.view_reads),
        rewrite_rules: sorted(&catalog.rewrite_rules),
        ties: sorted(&catalog.ties),
        cascades: catalog.cascades.clone(),
    }
}

fn catalog(snapshot: Snapshot) -> Catalog {
    let mut catalog = Catalog {
        database: snapshot.database,
        server_version: snapshot.server_version,
        functions: snapshot.functions.into_iter().collect(),
        operators: snapshot.operators.into_iter().collect(),
        storage: snapshot.storage.into_iter().collect(),
        row_types: snapshot.row_types.into_iter().collect(),
        triggers: snapshot.triggers,
        missing_values: snapshot.missing_values.into_iter().collect(),
        casts: snapshot.casts.into_iter().map(cast).collect(),
        checked_types: snapshot.checked_types.into_iter().collect(),
        foreign_keys: snapshot.foreign_keys.into_iter().collect(),
        collations: snapshot.collations.into_iter().collect(),
        elements: snapshot.elements.into_iter().collect(),
        view_reads: snapshot.view_reads.into_iter().collect(),
        rewrite_rules: snapshot.rewrite_rules.into_iter().collect(),
        ties: snapshot.ties.into_iter().collect(),
        cascades: snapshot.cascades,
        ..Catalog::default()
    };
    for relation in snapshot.relations {
        catalog.insert(relation);
    }
    for (oid, data_type) in snapshot.types {
        catalog.insert_type(oid, data_type);
    }
    // Those without relations, too.
    catalog.schemas = snapshot.schemas.into_iter().collect();
    catalog.version = content_version(&catalog);
    catalog
}

fn cast(cast: SortedCast) -> Cast {
    Cast {
        source: cast.source,
        target: cast.target,
        context: cast.context,
        function: cast.function,
        extension: cast.extension,
        relations: cast.relations.into_iter().collect(),
        types: cast.types.into_iter().collect(),
        views: cast.views.into_iter().collect(),
    }
}
