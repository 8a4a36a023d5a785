//! The queries that read a snapshot. All run in one transaction with an empty `search_path`: unqualified names in
//! them can only mean `pg_catalog`. They fit PostgreSQL 13 to 18.
//!
//! Temporary schemas are left out everywhere: what is in them belongs to one session, and every temporary table
//! would otherwise be a new version of the catalog.

/// Repeatable read: all queries see one state. Nothing here may hold the reader for ever, and locks not even as long as the
/// server waits before it looks for a deadlock (`deadlock_timeout`, one second unless set).
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL search_path = ''; SET LOCAL statement_timeout = '30s'; SET LOCAL quote_all_identifiers = off; \
     SELECT set_config('lock_timeout', least(greatest(setting::int8 / 4, 1), 200)::text, true) \
       FROM pg_settings WHERE name = 'deadlock_timeout'; \
     SAVEPOINT query";

/// Gives back the locks of the query before.
pub const RELEASE: &str = "ROLLBACK TO SAVEPOINT query";

/// Relations that nobody else may touch at the moment, or that somebody waits for to have them so: both keep readers waiting.
pub const LOCKED: &str = "SELECT DISTINCT l.relation FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
     WHERE d.datname = current_database() AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' ORDER BY 1";

pub const SERVER: &str =
    "SELECT current_database()::text, current_setting('server_version_num')::int4";

pub const SCHEMAS: &str =
    "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'";

/// Members of extensions: catalog, object, extension.
pub const EXTENSION_MEMBERS: &str = "SELECT d.classid, d.objid, e.extname::text \
     FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' \
       AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)";

/// Every entry of `pg_class`, for its name: also those that cannot be read take a name. A deferrable primary key
/// does not count as one: GROUP BY may not rely on it (`check_functional_grouping` in parse_agg.c).
/// The definition is asked for users' views only; see [`crate::catalog::Relation::sources`]. `$1`: see
/// [`super::reader::Reader::definitions`].
pub const RELATIONS: &str = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
       coalesce((SELECT k.conkey FROM pg_constraint k \
                 WHERE k.conrelid = c.oid AND k.contype = 'p' AND NOT k.condeferrable), '{}'), \
       ARRAY(SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno), \
       c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema'), \
       CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT EXISTS ( \
              SELECT FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
              WHERE r.ev_class = c.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1)) \
            THEN pg_get_viewdef(c.oid) END, \
       ARRAY(SELECT DISTINCT k FROM pg_index i, unnest(i.indkey::int2[]) k \
             WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) ORDER BY k) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname !~ '^pg_(toast_)?temp_' ORDER BY c.oid";

/// Columns of what can be read through FROM. The type of an array's elements decides how its name is qualified.
/// `typsubscript` came with version 14; before, `typlen = -1` tells an array from `int2vector` and the like.
pub const COLUMNS: &str = "SELECT a.attrelid, a.attnum, a.attname::text, a.atttypid, a.atttypmod, \
       format_type(a.atttypid, a.atttypmod), e.typnamespace = 'pg_catalog'::regnamespace, e.typname::text, \
       a.attnotnull, a.attgenerated <> '' \
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_type t ON t.oid = a.atttypid \
     JOIN pg_type e ON e.oid = CASE WHEN t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A' \
                                    THEN t.typelem ELSE t.oid END \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_(toast_)?temp_' \
       AND a.attnum > 0 AND NOT a.attisdropped \
     ORDER BY a.attrelid, a.attnum";

/// What generation expressions read. Version 13 and 14 record it as a dependency of the column, later ones as one of
/// its default (`StoreAttrDefault` in pg_attrdef.c).
pub const GENERATED: &str = "SELECT d.adrelid, d.adnum, p.refobjsubid::int2 \
     FROM pg_attrdef d \
     JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated <> '' \
     JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = d.adrelid AND p.refobjsubid > 0 \
       AND p.refobjsubid <> d.adnum \
       AND ((p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid) \
         OR (p.classid = 'pg_class'::regclass AND p.objid = d.adrelid AND p.objsubid = d.adnum)) \
     ORDER BY 1, 2, 3";

/// Collations of columns, but for the database's own (100, `default`) and that of type `name`.
pub const COLLATIONS: &str = "SELECT a.attrelid, a.attnum, a.attcollation \
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_(toast_)?temp_' \
       AND a.attnum > 0 AND NOT a.attisdropped AND a.attcollation NOT IN (0, 100) \
       AND a.atttypid <> 'pg_catalog.name'::regtype";

/// Foreign keys that refer to a primary key, column by column. On a column with several the first counts.
pub const FOREIGN_KEYS: &str = "SELECT DISTINCT ON (f.conrelid, k.num) f.conrelid, k.num, f.confrelid, k.referred \
     FROM pg_constraint f JOIN pg_constraint p ON p.conrelid = f.confrelid AND p.contype = 'p' \
     JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS k(num, referred) \
     WHERE f.contype = 'f' AND k.referred = ANY (p.conkey) AND n.nspname !~ '^pg_(toast_)?temp_' \
     ORDER BY f.conrelid, k.num, f.oid";

/// What the definitions of users' views depend on: view, the catalog of the object, the object, and whether it is a
/// function that does anything but compute from its arguments; and whether it is an operator that NULLIF, CASE or IS
/// DISTINCT FROM may apply without naming it, or a comparison of rows (get_rule_expr in ruleutils.c). Objects that initdb
/// made are pinned and have no entry.
pub const VIEW_READS: &str = "SELECT r.ev_class, d.refclassid, d.refobjid, \
       coalesce(p.provolatile = 'v' OR p.prosecdef, false), \
       coalesce(o.oprname IN ('=', '<>', '<', '<=', '>', '>='), false) \
     FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
     LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid \
     LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid \
     WHERE c.relkind IN ('v', 'm') AND d.refobjid <> r.ev_class \
       AND d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass) \
       AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast_)?temp_' \
     GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3";

/// The last column: a function of an extension in SQL whose body is read when it runs, by the search path of the session, where
/// the database has a function, operator or type of its own by a name that stands in the body.
pub const FUNCTIONS: &str = "SELECT p.oid, p.proname::text, n.nspname::text, p.provolatile::text, p.prosecdef, \
       p.prokind = 'a', p.oid < 16384 OR p.oid IN ( \
         SELECT d.objid FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_type'::regclass \
         AND d.deptype = 'i'), \
       CASE WHEN p.oid >= 16384 AND p.prolang = (SELECT l.oid FROM pg_language l WHERE l.lanname = 'sql') \
           AND NOT coalesce(p.proconfig::text LIKE '%search_path=%', false) AND to_jsonb(p) ->> 'prosqlbody' IS NULL \
           AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') \
         THEN EXISTS (SELECT FROM ( \
             SELECT 'pg_proc'::regclass, o.oid, o.proname, false FROM pg_proc o WHERE o.oid >= 16384 \
             UNION ALL SELECT 'pg_type'::regclass, o.oid, o.typname, false FROM pg_type o \
               WHERE o.oid >= 16384 AND o.typtype IN ('b', 'd', 'e', 'r') \
             UNION ALL SELECT 'pg_operator'::regclass, o.oid, o.oprname, true FROM pg_operator o WHERE o.oid >= 16384 \
           ) AS own(kind, oid, name, symbol) \
           WHERE CASE WHEN symbol THEN strpos(p.prosrc, name) > 0 \
               ELSE p.prosrc ~* ('\\m' || regexp_replace(name, '(\\W)', '\\\\\\1', 'g') || '\\M') END \
             AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = own.kind AND d.objid = own.oid AND d.deptype = 'e')) \
         ELSE false END \
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
     WHERE n.nspname !~ '^pg_(toast_)?temp_' ORDER BY p.proname, n.nspname, p.oid";

pub const OPERATORS: &str = "SELECT o.oid, o.oprname::text, n.nspname::text \
     FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace \
     WHERE o.oid >= 16384 AND n.nspname !~ '^pg_(toast_)?temp_' ORDER BY o.oprname, n.nspname, o.oid";

pub const TYPES: &str = "SELECT t.oid, n.nspname::text, t.typname::text, t.typtype::text, t.typcategory::text, \
       t.typbasetype, \
       CASE WHEN t.typlen = -1 AND t.typcategory = 'A' THEN t.typelem ELSE 0 END \
     FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
     WHERE n.nspname !~ '^pg_(toast_)?temp_' ORDER BY t.oid";
