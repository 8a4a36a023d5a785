//! Reads a snapshot of one database's schema over pgveil's own connection.
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_postgres::Client;

use super::lineage::purity::PURE_EXTENSIONS;
use super::lineage::{self, Aggregates};
use super::reader::{Locked, Reader, field};
use super::type_sql::type_sql;
use super::version::content_version;
use super::{
    AttNum, Catalog, CatalogError, Column, ColumnSource, Function, Oid, Operator, Relation,
    RelationKind, Type, TypeKind, Volatility, code, queries, ties,
};

/// Object identifiers of `pg_class`, `pg_proc` and `pg_operator`, fixed since bootstrapping (catalog/pg_*.h).
const RELATION_CATALOG: Oid = 1259;
const FUNCTION_CATALOG: Oid = 1255;
const OPERATOR_CATALOG: Oid = 2617;

/// Extension names of catalog objects, by the object's kind.
#[derive(Default)]
pub(super) struct Members {
    relations: HashMap<Oid, String>,
    pub functions: HashMap<Oid, String>,
    pub operators: HashMap<Oid, String>,
    types: HashMap<Oid, String>,
}

/// A view's definition, still to be attributed.
struct View {
    oid: Oid,
    definition: String,
}

/// For how long a reading that meets locks, or relations that are dropped meanwhile, is begun anew.
const PATIENCE: Duration = Duration::from_secs(3);
/// Before it is begun anew.
const PAUSE: Duration = Duration::from_millis(50);

/// A snapshot, and whether it says all there is to say.
pub(super) struct Loaded {
    pub catalog: Catalog,
    /// Definitions were left out because what they are about was locked: views of which nothing is known, expressions
    /// that may do anything.
    pub left_out: bool,
}

/// Reads everything in one read-only transaction with an empty `search_path`.
///
/// The connection must be pgveil's own: it is not left in the transaction, whatever happens. View definitions come
/// from the server's cache and may be newer than the rest by one DDL statement; the fingerprint then differs at the
/// next look and the snapshot is read again.
///
/// Fails with [`CatalogError::Busy`] where relations stay locked.
pub async fn load(client: &Client) -> Result<Catalog, CatalogError> {
    let (catalog, views, aggregates) = patiently(client).await?;
    finish(catalog, views, aggregates).await
}

/// The same, but what stays locked costs no more than its own definitions.
pub(super) async fn load_what_is_free(client: &Client) -> Result<Loaded, CatalogError> {
    let (read, left_out) = match patiently(client).await {
        Err(CatalogError::Busy { .. }) => attempt(client, Locked::LeftOut).await?,
        read => (read?, false),
    };
    let (catalog, views, aggregates) = read;
    let catalog = finish(catalog, views, aggregates).await?;
    Ok(Loaded { catalog, left_out })
}

/// What the server says, with definitions that are still to be understood.
type Raw = (Catalog, Vec<View>, Aggregates);

async fn patiently(client: &Client) -> Result<Raw, CatalogError> {
    let began = Instant::now();
    loop {
        match attempt(client, Locked::Fails).await {
            Err(CatalogError::Busy { .. }) if began.elapsed() < PATIENCE => sleep(PAUSE).await,
            read => return read.map(|(read, _)| read),
        }
    }
}

/// One transaction; and whether something was left out.
async fn attempt(client: &Client, locked: Locked) -> Result<(Raw, bool), CatalogError> {
    let read = async {
        let reader = Reader::begin(client, locked).await?;
        Ok((read_all(&reader).await?, reader.left_out()))
    };
    let read = read.await;
    let ended = client.batch_execute("ROLLBACK").await;
    let read = read?;
    ended.map_err(|error| CatalogError::query("the end of the transaction", &error))?;
    Ok(read)
}

async fn finish(
    mut catalog: Catalog,
    views: Vec<View>,
    aggregates: Aggregates,
) -> Result<Catalog, CatalogError> {
    // Deep definitions need a deep stack, and long ones time: not on a thread of the runtime.
    tokio::task::spawn_blocking(move || {
        attribute(&mut catalog, views, &aggregates)?;
        catalog.version = content_version(&catalog);
        Ok(catalog)
    })
    .await
    .map_err(|error| CatalogError::Lineage(error.to_string()))?
}

async fn read_all(reader: &Reader<'_>) -> Result<Raw, CatalogError> {
    let mut catalog = Catalog::default();
    for row in reader.rows("the server version", queries::SERVER).await? {
        catalog.database = field(&row, 0)?;
        catalog.server_version = u32::try_from(field::<i32>(&row, 1)?).unwrap_or(0);
    }
    for row in reader.rows("schemas", queries::SCHEMAS).await? {
        catalog.schemas.insert(field(&row, 0)?);
    }
    let members = read_members(reader).await?;
    let views = read_relations(reader, &mut catalog, &members).await?;
    let aggregates = read_functions(reader, &mut catalog, &members).await?;
    for row in reader.rows("operators", queries::OPERATORS).await? {
        let operator = Operator {
            schema: field(&row, 2)?,
            extension: members.operators.get(&field(&row, 0)?).cloned(),
        };
        let name: String = field(&row, 1)?;
        catalog.operators.entry(name).or_default().push(operator);
    }
    read_view_reads(reader, &mut catalog, &members).await?;
    for row in reader.rows("foreign keys", queries::FOREIGN_KEYS).await? {
        let column = (field(&row, 0)?, field(&row, 1)?);
        let referred = (field(&row, 2)?, field(&row, 3)?);
        catalog.foreign_keys.insert(column, referred);
    }
    for row in reader.rows("collations", queries::COLLATIONS).await? {
        let column = (field(&row, 0)?, field(&row, 1)?);
        catalog.collations.insert(column, field(&row, 2)?);
    }
    ties::read(reader, &mut catalog).await?;
    read_types(reader, &mut catalog, &members).await?;
    code::read(reader, &mut catalog, &members).await?;
    Ok((catalog, views, aggregates))
}

async fn read_members(reader: &Reader<'_>) -> Result<Members, CatalogError> {
    let mut members = Members::default();
    for row in reader
        .rows("extensions", queries::EXTENSION_MEMBERS)
        .await?
    {
        let of_kind = match field::<Oid>(&row, 0)? {
            RELATION_CATALOG => &mut members.relations,
            FUNCTION_CATALOG => &mut members.functions,
            OPERATOR_CATALOG => &mut members.operators,
            _ => &mut members.types,
        };
        of_kind.insert(field(&row, 1)?, field(&row, 2)?);
    }
    Ok(members)
}

async fn read_relations(
    reader: &Reader<'_>,
    catalog: &mut Catalog,
    members: &Members,
) -> Result<Vec<View>, CatalogError> {
    let mut columns_of = read_columns(reader).await?;
    let mut views = Vec::new();
    for row in reader.definitions("relations", queries::RELATIONS).await? {
        let oid: Oid = field(&row, 0)?;
        let columns = columns_of.remove(&oid).unwrap_or_default();
        let mut sources = Vec::new();
        if field(&row, 6)? {
            sources = vec![ColumnSource::Unknown; columns.len()];
            let definition: Option<String> = field(&row, 7)?;
            views.extend(definition.map(|definition| View { oid, definition }));
        }
        catalog.insert(Relation {
            oid,
            schema: field(&row, 1)?,
            name: field(&row, 2)?,
            kind: relation_kind(&field::<String>(&row, 3)?),
            columns,
            primary_key: field(&row, 4)?,
            unique: field(&row, 8)?,
            parents: field(&row, 5)?,
            sources,
            extension: members.relations.get(&oid).cloned(),
        });
    }
    Ok(views)
}

async fn read_view_reads(
    reader: &Reader<'_>,
    catalog: &mut Catalog,
    members: &Members,
) -> Result<(), CatalogError> {
    for row in reader.rows("what views read", queries::VIEW_READS).await? {
        let object: Oid = field(&row, 2)?;
        let extension = match field::<Oid>(&row, 1)? {
            RELATION_CATALOG => {
                let reads = catalog.view_reads.entry(field(&row, 0)?).or_default();
                reads.relations.insert(object);
                continue;
            }
            FUNCTION_CATALOG => members.functions.get(&object),
            _ => members.operators.get(&object),
        };
        // What an extension brings was installed by who may read everything, to compute.
        if extension.is_none() && field(&row, 4)? {
            let reads = catalog.view_reads.entry(field(&row, 0)?).or_default();
            reads.unseen = true;
        }
        let pure = extension.is_some_and(|name| PURE_EXTENSIONS.contains(&name.as_str()));
        if !pure || field(&row, 3)? {
            catalog
                .view_reads
                .entry(field(&row, 0)?)
                .or_default()
                .opaque = true;
        }
    }
    Ok(())
}

async fn read_columns(reader: &Reader<'_>) -> Result<HashMap<Oid, Vec<Column>>, CatalogError> {
    let mut read_by: HashMap<(Oid, AttNum), Vec<AttNum>> = HashMap::new();
    for row in reader.rows("generated columns", queries::GENERATED).await? {
        let column = (field(&row, 0)?, field(&row, 1)?);
        read_by.entry(column).or_default().push(field(&row, 2)?);
    }
    let mut columns: HashMap<Oid, Vec<Column>> = HashMap::new();
    for row in reader.rows("columns", queries::COLUMNS).await? {
        let relation: Oid = field(&row, 0)?;
        let num: AttNum = field(&row, 1)?;
        let formatted: String = field(&row, 5)?;
        let element: String = field(&row, 7)?;
        columns.entry(relation).or_default().push(Column {
            num,
            name: field(&row, 2)?,
            type_oid: field(&row, 3)?,
            typmod: field(&row, 4)?,
            type_sql: type_sql(&formatted, field(&row, 6)?, &element),
            not_null: field(&row, 8)?,
            generated_from: read_by.remove(&(relation, num)).unwrap_or_default(),
        });
    }
    Ok(columns)
}

/// Gives the names that aggregates go by, which the snapshot itself does not tell apart.
async fn read_functions(
    reader: &Reader<'_>,
    catalog: &mut Catalog,
    members: &Members,
) -> Result<Aggregates, CatalogError> {
    let mut aggregates = HashSet::new();
    for row in reader.rows("functions", queries::FUNCTIONS).await? {
        let name: String = field(&row, 1)?;
        let volatility = match field::<String>(&row, 3)?.as_str() {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        };
        if field(&row, 5)? {
            aggregates.insert(name.clone());
        }
        // What it calls may be anybody's: it is no safer than a function of the database's own.
        let calls_others: bool = field(&row, 7)?;
        let extension = members.functions.get(&field(&row, 0)?);
        catalog.functions.entry(name).or_default().push(Function {
            schema: field(&row, 2)?,
            volatility,
            extension: extension.filter(|_| !calls_others).cloned(),
            security_definer: field(&row, 4)?,
            built_in: field(&row, 6)?,
        });
    }
    Ok(aggregates)
}

async fn read_types(
    reader: &Reader<'_>,
    catalog: &mut Catalog,
    members: &Members,
) -> Result<(), CatalogError> {
    let mut bases: HashMap<Oid, Oid> = HashMap::new();
    let mut types: Vec<(Oid, Type)> = Vec::new();
    for row in reader.rows("types", queries::TYPES).await? {
        let oid: Oid = field(&row, 0)?;
        let base: Oid = field(&row, 5)?;
        if base != 0 {
            bases.insert(oid, base);
        }
        let element: Oid = field(&row, 6)?;
        if element != 0 {
            catalog.elements.insert(oid, element);
        }
        let data_type = Type {
            schema: field(&row, 1)?,
            name: field(&row, 2)?,
            kind: type_kind(&field::<String>(&row, 3)?),
            category: field::<String>(&row, 4)?.chars().next().unwrap_or('X'),
            base: None,
            extension: members.types.get(&oid).cloned(),
        };
        types.push((oid, data_type));
    }
    for (oid, mut data_type) in types {
        data_type.base = ultimate_base(&bases, oid);
        catalog.insert_type(oid, data_type);
    }
    Ok(())
}

/// The base type under domains over domains.
fn ultimate_base(bases: &HashMap<Oid, Oid>, domain: Oid) -> Option<Oid> {
    let mut base = *bases.get(&domain)?;
    // A domain is made after its base, so the chain ends; the count holds also for a damaged catalog.
    for _ in 0..bases.len() {
        match bases.get(&base) {
            Some(deeper) => base = *deeper,
            None => break,
        }
    }
    Some(base)
}

fn attribute(
    catalog: &mut Catalog,
    views: Vec<View>,
    aggregates: &Aggregates,
) -> Result<(), CatalogError> {
    let definitions: Vec<(Oid, String)> = views
        .into_iter()
        .map(|view| (view.oid, view.definition))
        .collect();
    let opaque: HashSet<Oid> = code::opaque_views(catalog);
    for (oid, sources) in lineage::attribute_all(catalog, &definitions, aggregates)? {
        if let Some(relation) = catalog.relations.get(&oid) {
            let mut relation = Relation::clone(relation);
            relation.sources = match opaque.contains(&oid) {
                true => vec![ColumnSource::Unknown; sources.len()],
                false => sources,
            };
            catalog.relations.insert(oid, relation.into());
        }
    }
    Ok(())
}

fn relation_kind(relkind: &str) -> RelationKind {
    match relkind {
        "r" => RelationKind::Table,
        "p" => RelationKind::PartitionedTable,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::ForeignTable,
        "S" => RelationKind::Sequence,
        _ => RelationKind::Other,
    }
}

fn type_kind(typtype: &str) -> TypeKind {
    match typtype {
        "c" => TypeKind::Composite,
        "d" => TypeKind::Domain,
        "e" => TypeKind::Enum,
        "r" | "m" => TypeKind::Range,
        "p" => TypeKind::Pseudo,
        _ => TypeKind::Base,
    }
}
