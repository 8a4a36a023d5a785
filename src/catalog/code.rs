//! Users' code that runs unasked: functions behind casts and behind the checks of domains, rules of writes. And what of the catalog tells
//! about rows: indexes, and values kept in `pg_attribute`.
use std::collections::{HashMap, HashSet};

use super::lineage::purity::pure_extension;
use super::load::Members;
use super::reader::{Reader, field};
use super::types::FIRST_NORMAL_OID;
use super::{
    Cast, CastContext, Catalog, CatalogError, Checker, Oid, RewriteRule, RuleEvent, Storage,
};

/// Indexes and TOAST tables of tables that initdb did not make.
const STORAGE: &str = "SELECT i.indexrelid, coalesce(t.oid, i.indrelid), i.indpred IS NOT NULL \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_class t ON t.reltoastrelid = i.indrelid \
     WHERE i.indexrelid >= 16384 AND c.relpersistence <> 't' \
     UNION ALL SELECT reltoastrelid, oid, false FROM pg_class WHERE reltoastrelid >= 16384 AND relpersistence <> 't'";

const MISSING: &str = "SELECT a.attrelid, a.attnum FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
     WHERE a.atthasmissing AND NOT a.attisdropped AND c.relpersistence <> 't'";

const ROW_TYPES: &str = "SELECT oid, reltype FROM pg_class WHERE reltype <> 0 AND relkind IN ('r', 'p', 'v', 'm', 'f') \
     AND relpersistence <> 't'";

const TRIGGERS: &str =
    "SELECT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D')";

/// Without those from a range to its multirange, which come with the type.
const CASTS: &str = "SELECT c.oid, c.castsource, c.casttarget, c.castcontext::text, p.oid, n.nspname || '.' || p.proname \
     FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc JOIN pg_namespace n ON n.oid = p.pronamespace \
     WHERE p.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass \
       AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i') ORDER BY c.oid";

/// Types that hold values of a cast's source (`s`) or target (`t`): itself, arrays, composites, domains and ranges; and
/// the relations whose row types they are. Of PostgreSQL's own types the target alone, and that where the source is one,
/// too: else the source type must be met to apply the cast.
const CAST_TYPES: &str = "WITH RECURSIVE holds(cast_oid, side, type) AS ( \
       SELECT c.oid, s.side, s.type FROM pg_cast c, \
         LATERAL (VALUES ('s', c.castsource), ('t', c.casttarget)) AS s(side, type) \
         WHERE c.castfunc >= 16384 AND (s.type >= 16384 OR (s.side = 't' AND c.castsource < 16384)) \
       UNION SELECT h.cast_oid, h.side, t.oid FROM holds h JOIN pg_type t \
         ON (t.typcategory = 'A' AND t.typelem = h.type) OR t.typbasetype = h.type \
         OR (t.typrelid <> 0 AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 \
             AND NOT a.attisdropped AND a.atttypid = h.type)) \
         OR EXISTS (SELECT FROM pg_range r WHERE r.rngtypid = t.oid AND r.rngsubtype = h.type)) \
     SELECT h.cast_oid, h.side = 's', h.type, t.typrelid FROM holds h JOIN pg_type t ON t.oid = h.type";

const CAST_VIEWS: &str = "SELECT DISTINCT c.oid, r.ev_class FROM pg_cast c JOIN pg_depend d \
     ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = c.castfunc AND d.classid = 'pg_rewrite'::regclass \
     JOIN pg_rewrite r ON r.oid = d.objid WHERE c.castfunc >= 16384";

/// Types whose input calls functions or operators that initdb did not make.
const CHECKED: &str = "WITH RECURSIVE checked(class, checker, type) AS ( \
       SELECT d.refclassid, d.refobjid, k.contypid FROM pg_constraint k JOIN pg_depend d \
         ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid \
         AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND d.refobjid >= 16384 \
         WHERE k.contypid <> 0 \
       UNION SELECT c.class, c.checker, t.oid FROM checked c JOIN pg_type t \
         ON (t.typcategory = 'A' AND t.typelem = c.type) OR t.typbasetype = c.type \
         OR (t.typrelid <> 0 AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 \
             AND NOT a.attisdropped AND a.atttypid = c.type))) \
     SELECT c.type, c.class = 'pg_proc'::regclass, c.checker, \
       CASE WHEN c.class = 'pg_proc'::regclass \
         THEN (SELECT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
               WHERE p.oid = c.checker) \
         ELSE (SELECT n.nspname || '.' || o.oprname FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace \
               WHERE o.oid = c.checker) END \
     FROM checked c ORDER BY 1, 4, 3";

/// Rules that writes set off, one row for each function or operator of users' that they call.
const REWRITE_RULES: &str = "SELECT r.ev_class, r.ev_type::text, r.rulename::text, \
       CASE WHEN r.ev_class <> ALL ($1) AND NOT EXISTS (SELECT FROM pg_depend l WHERE l.classid = 'pg_rewrite'::regclass \
           AND l.objid = r.oid AND l.refclassid = 'pg_class'::regclass AND l.refobjid = ANY ($1)) \
         THEN pg_get_ruledef(r.oid) END, \
       coalesce(d.refclassid = 'pg_proc'::regclass, false), d.refobjid, \
       CASE WHEN d.refclassid = 'pg_proc'::regclass \
         THEN (SELECT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
               WHERE p.oid = d.refobjid) \
         ELSE (SELECT n.nspname || '.' || o.oprname FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace \
               WHERE o.oid = d.refobjid) END \
     FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class LEFT JOIN pg_depend d \
       ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refobjid >= 16384 \
       AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) \
     WHERE r.ev_type <> '1' AND r.ev_enabled <> 'D' AND r.ev_class >= 16384 AND c.relpersistence <> 't' \
     GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 3, 6";

pub(super) async fn read(
    reader: &Reader<'_>,
    catalog: &mut Catalog,
    members: &Members,
) -> Result<(), CatalogError> {
    for row in reader.rows("indexes", STORAGE).await? {
        let storage = Storage {
            of: field(&row, 1)?,
            partial: field(&row, 2)?,
        };
        catalog.storage.insert(field(&row, 0)?, storage);
    }
    for row in reader.rows("values of added columns", MISSING).await? {
        catalog
            .missing_values
            .insert((field(&row, 0)?, field(&row, 1)?));
    }
    for row in reader.rows("row types", ROW_TYPES).await? {
        catalog.row_types.insert(field(&row, 0)?, field(&row, 1)?);
    }
    for row in reader.rows("triggers", TRIGGERS).await? {
        catalog.triggers = field(&row, 0)?;
    }
    read_casts(reader, catalog, members).await?;
    read_rewrite_rules(reader, catalog, members).await?;
    for row in reader.rows("checks of domains", CHECKED).await? {
        let checker: Oid = field(&row, 2)?;
        let extension = match field(&row, 1)? {
            true => members.functions.get(&checker),
            false => members.operators.get(&checker),
        };
        // A checker that was dropped between two looks has no name: none that is allowed either.
        let checker = Checker {
            name: field::<Option<String>>(&row, 3)?.unwrap_or_default(),
            extension: extension.cloned(),
        };
        catalog
            .checked_types
            .entry(field(&row, 0)?)
            .or_default()
            .push(checker);
    }
    Ok(())
}

async fn read_rewrite_rules(
    reader: &Reader<'_>,
    catalog: &mut Catalog,
    members: &Members,
) -> Result<(), CatalogError> {
    for row in reader.definitions("rules", REWRITE_RULES).await? {
        let name: String = field(&row, 2)?;
        let event = match field::<String>(&row, 1)?.as_str() {
            "2" => RuleEvent::Update,
            "3" => RuleEvent::Insert,
            _ => RuleEvent::Delete,
        };
        let call = match field::<Option<Oid>>(&row, 5)? {
            None => None,
            Some(call) => Some(Checker {
                name: field::<Option<String>>(&row, 6)?.unwrap_or_default(),
                extension: match field(&row, 4)? {
                    true => members.functions.get(&call).cloned(),
                    false => members.operators.get(&call).cloned(),
                },
            }),
        };
        let found = catalog.rewrite_rules.entry(field(&row, 0)?).or_default();
        match found.last_mut().filter(|rule| rule.name == name) {
            Some(rule) => rule.calls.extend(call),
            None => found.push(RewriteRule {
                name,
                event,
                // Locked, or dropped between two looks: then the fingerprint differs at the next.
                definition: field::<Option<String>>(&row, 3)?.unwrap_or_default(),
                calls: call.into_iter().collect(),
            }),
        }
    }
    Ok(())
}

async fn read_casts(
    reader: &Reader<'_>,
    catalog: &mut Catalog,
    members: &Members,
) -> Result<(), CatalogError> {
    let casts = reader.rows("casts", CASTS).await?;
    if casts.is_empty() {
        return Ok(());
    }
    let mut holders: HashMap<Oid, Vec<Holder>> = HashMap::new();
    for row in reader.rows("types of casts", CAST_TYPES).await? {
        holders.entry(field(&row, 0)?).or_default().push(Holder {
            of_source: field(&row, 1)?,
            type_oid: field(&row, 2)?,
            relation: field(&row, 3)?,
        });
    }
    let mut views: HashMap<Oid, HashSet<Oid>> = HashMap::new();
    for row in reader.rows("views with casts", CAST_VIEWS).await? {
        views
            .entry(field(&row, 0)?)
            .or_default()
            .insert(field(&row, 1)?);
    }
    for row in casts {
        let cast: Oid = field(&row, 0)?;
        let holders = holders.remove(&cast).unwrap_or_default();
        let (source, target): (Oid, Oid) = (field(&row, 1)?, field(&row, 2)?);
        let context = match field::<String>(&row, 3)?.as_str() {
            "e" => CastContext::Explicit,
            "a" => CastContext::Assignment,
            _ => CastContext::Implicit,
        };
        // A target that users made is met in columns; the server casts to it of its own accord in some contexts.
        let unasked = context != CastContext::Explicit && target >= FIRST_NORMAL_OID;
        catalog.casts.push(Cast {
            source,
            target,
            context,
            function: field(&row, 5)?,
            extension: members.functions.get(&field(&row, 4)?).cloned(),
            relations: holders
                .iter()
                .filter(|holder| holder.relation != 0 && (holder.of_source || unasked))
                .map(|holder| holder.relation)
                .collect(),
            types: holders.iter().map(|holder| holder.type_oid).collect(),
            views: views.remove(&cast).unwrap_or_default(),
        });
    }
    Ok(())
}

/// Views that apply a cast whose function nobody has read, or an operator that their text does not show: their columns
/// could hold anything.
pub(super) fn opaque_views(catalog: &Catalog) -> HashSet<Oid> {
    let unseen = catalog.view_reads.iter();
    let unseen = unseen
        .filter(|(_, reads)| reads.unseen)
        .map(|(view, _)| *view);
    let unread = |cast: &&Cast| !pure_extension(cast.extension.as_deref());
    catalog
        .casts
        .iter()
        .filter(unread)
        .flat_map(|cast| cast.views.iter().copied())
        .chain(unseen)
        .collect()
}

/// A type that holds values of a cast's source or target.
struct Holder {
    of_source: bool,
    type_oid: Oid,
    /// Whose row type it is; 0: no relation's.
    relation: Oid,
}
