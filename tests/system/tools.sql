-- What programs ask the catalogs, blocks apart by blank lines. `--= runs`: the answer differs between any two sessions,
-- so that only its columns are compared. `--= counts`: it holds a number that the server counts meanwhile, so that it is asked for
-- again where it differs.

-- Drivers and their pools
SELECT oid, typname FROM pg_type WHERE typname IN ('hstore', 'citext', 'geometry') ORDER BY 1

SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore'

SELECT version(), current_database(), current_schema(), session_user, current_setting('server_version_num')

SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END, current_setting('transaction_read_only')

--= runs
SELECT pg_backend_pid(), inet_server_addr() IS NULL, pg_postmaster_start_time(), txid_current_if_assigned()

SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid FROM (SELECT typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typnotnull, CASE WHEN proc.proname = 'array_recv' THEN typ.typelem ELSE 0 END AS elemtypoid FROM pg_type AS typ LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid) LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive WHERE typ.typtype IN ('b', 'r', 'm', 'e', 'd') OR (typ.typtype = 'c' AND cls.relkind = 'c')) AS t JOIN pg_namespace AS ns ON (ns.oid = typnamespace) ORDER BY CASE WHEN typtype IN ('b', 'e', 'p') THEN 0 ELSE 1 END, t.oid

-- ActiveRecord
SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype FROM pg_type as t LEFT JOIN pg_range as r ON oid = rngtypid WHERE t.typname IN ('int2', 'text', 'varchar', 'jsonb', 'mood') OR t.typtype IN ('r', 'e', 'd') OR t.typelem IN (23, 25) ORDER BY t.oid

SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment, attidentity AS identity, attgenerated AS attgenerated FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"crm"."contacts"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum

SELECT c.relname FROM pg_class c LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY (current_schemas(false)) AND c.relname = 'contacts' AND c.relkind IN ('r', 'p')

SELECT distinct i.relname, d.indisunique, d.indkey, pg_get_indexdef(d.indexrelid), pg_catalog.obj_description(i.oid, 'pg_class') AS comment, d.indisvalid, ARRAY(SELECT pg_get_indexdef(d.indexrelid, k + 1, true) FROM generate_subscripts(d.indkey, 1) AS k ORDER BY k) AS columns FROM pg_class t INNER JOIN pg_index d ON t.oid = d.indrelid INNER JOIN pg_class i ON d.indexrelid = i.oid LEFT JOIN pg_namespace n ON n.oid = t.relnamespace WHERE i.relkind IN ('i', 'I') AND d.indisprimary = 'f' AND t.relname = 'contacts' AND n.nspname = 'crm' ORDER BY i.relname

SELECT a.attname FROM (SELECT indrelid, indkey, generate_subscripts(indkey, 1) idx FROM pg_index WHERE indrelid = '"crm"."orders"'::regclass AND indisprimary) i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[i.idx] ORDER BY i.idx

SELECT t2.oid::regclass::text AS to_table, a1.attname AS column, a2.attname AS primary_key, c.conname AS name, c.confupdtype AS on_update, c.confdeltype AS on_delete, c.convalidated AS valid, c.condeferrable AS deferrable, c.condeferred AS deferred, c.conkey, c.confkey FROM pg_constraint c JOIN pg_class t1 ON c.conrelid = t1.oid JOIN pg_class t2 ON c.confrelid = t2.oid JOIN pg_attribute a1 ON a1.attnum = c.conkey[1] AND a1.attrelid = t1.oid JOIN pg_attribute a2 ON a2.attnum = c.confkey[1] AND a2.attrelid = t2.oid JOIN pg_namespace t3 ON c.connamespace = t3.oid WHERE c.contype = 'f' AND t1.relname = 'contacts' AND t3.nspname = 'crm' ORDER BY c.conname

SELECT type.typname AS name, type.oid, n.nspname AS schema, array_agg(enum.enumlabel ORDER BY enum.enumsortorder) AS value FROM pg_enum AS enum JOIN pg_type AS type ON (type.oid = enum.enumtypid) JOIN pg_namespace n ON type.typnamespace = n.oid GROUP BY type.oid, n.nspname, type.typname ORDER BY 1

SELECT attr.attname, nsp.nspname, seq.relname FROM pg_class seq, pg_attribute attr, pg_depend dep, pg_constraint cons, pg_namespace nsp WHERE seq.oid = dep.objid AND seq.relkind = 'S' AND attr.attrelid = dep.refobjid AND attr.attnum = dep.refobjsubid AND attr.attrelid = cons.conrelid AND attr.attnum = cons.conkey[1] AND seq.relnamespace = nsp.oid AND cons.contype = 'p' AND dep.classid = 'pg_class'::regclass AND dep.refobjid = '"crm"."contacts"'::regclass

SHOW max_identifier_length

SELECT extname FROM pg_extension

-- Django
SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid)

SELECT s.relname AS sequence_name, a.attname AS colname FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass JOIN pg_attribute a ON d.refobjid = a.attrelid AND d.refobjsubid = a.attnum JOIN pg_class tbl ON tbl.oid = d.refobjid AND tbl.relname = 'contacts' WHERE s.relkind = 'S'

SELECT c.conname, array(SELECT attname FROM unnest(c.conkey) WITH ORDINALITY cols(colid, arridx) JOIN pg_attribute AS ca ON cols.colid = ca.attnum WHERE ca.attrelid = c.conrelid ORDER BY cols.arridx), c.contype, (SELECT fkc.relname || '.' || fka.attname FROM pg_attribute AS fka JOIN pg_class AS fkc ON fka.attrelid = fkc.oid WHERE fka.attrelid = c.confrelid AND fka.attnum = c.confkey[1]), cl.reloptions FROM pg_constraint AS c JOIN pg_class AS cl ON c.conrelid = cl.oid WHERE cl.relname = 'contacts' ORDER BY 1

SELECT indexname, array_agg(attname ORDER BY arridx), indisunique, indisprimary, array_agg(ordering ORDER BY arridx), amname, exprdef, s2.attoptions FROM (SELECT c2.relname as indexname, idx.*, attr.attname, am.amname, CASE WHEN idx.indexprs IS NOT NULL THEN pg_get_indexdef(idx.indexrelid) END AS exprdef, CASE am.amname WHEN 'btree' THEN CASE (option & 1) WHEN 1 THEN 'DESC' ELSE 'ASC' END END as ordering, c2.reloptions as attoptions FROM (SELECT * FROM pg_index i, unnest(i.indkey, i.indoption) WITH ORDINALITY koi(key, option, arridx)) idx LEFT JOIN pg_class c ON idx.indrelid = c.oid LEFT JOIN pg_class c2 ON idx.indexrelid = c2.oid LEFT JOIN pg_am am ON c2.relam = am.oid LEFT JOIN pg_attribute attr ON attr.attrelid = c.oid AND attr.attnum = idx.key WHERE c.relname = 'contacts' AND pg_catalog.pg_table_is_visible(c.oid)) s2 GROUP BY indexname, indisunique, indisprimary, amname, exprdef, attoptions

-- Odoo
SELECT table_name FROM information_schema.tables WHERE table_name = 'contacts' AND table_schema = 'crm'

SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname IN ('ir_module_module', 'contacts') AND c.relkind IN ('r', 'v', 'm') AND n.nspname = current_schema

SELECT column_name, udt_name, character_maximum_length, is_nullable FROM information_schema.columns WHERE table_name = 'contacts' ORDER BY ordinal_position

SELECT pg_get_constraintdef(con.oid), con.conname, obj_description(con.oid) FROM pg_constraint con JOIN pg_class t ON t.oid = con.conrelid WHERE t.relname = 'contacts' ORDER BY 2

SELECT proname, provolatile FROM pg_proc WHERE proname = 'unaccent' AND pronargs = 1

SELECT latest.name FROM (VALUES ('base')) AS latest(name) WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relname = latest.name)

SELECT datname FROM pg_database d WHERE pg_get_userbyid(datdba) = current_user AND NOT datistemplate AND datallowconn

--= runs
SELECT pg_try_advisory_xact_lock(7), now() AT TIME ZONE 'UTC', pg_database_size(current_database())

SELECT conname, attname FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey) WHERE conrelid = to_regclass('crm.orders') AND contype = 'p'

SELECT lastval() IS NULL FROM pg_class WHERE false

-- Metabase
SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS type, d.description, COALESCE(stat.n_live_tup, 0) AS estimated_row_count FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid LEFT JOIN pg_catalog.pg_description AS d ON c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass LEFT JOIN pg_stat_user_tables AS stat ON n.nspname = stat.schemaname AND c.relname = stat.relname WHERE c.relnamespace = n.oid AND n.nspname !~ '^information_schema|catalog_history|pg_' AND c.relkind IN ('r', 'p', 'v', 'f', 'm') AND n.nspname IN ('crm') ORDER BY type, schema, name

SELECT nspname AS schema FROM pg_catalog.pg_namespace WHERE has_schema_privilege(current_user, nspname, 'USAGE') ORDER BY 1

SELECT NULL AS role, t.schemaname AS schema, t.objectname AS table, pg_catalog.has_any_column_privilege(current_user, format('%I.%I', t.schemaname, t.objectname), 'update') AS update, pg_catalog.has_table_privilege(current_user, '"' || t.schemaname || '"."' || t.objectname || '"', 'SELECT') AS select FROM (SELECT schemaname, tablename AS objectname FROM pg_catalog.pg_tables UNION SELECT schemaname, viewname FROM pg_views UNION SELECT schemaname, matviewname FROM pg_matviews) t WHERE t.schemaname = 'crm' ORDER BY 3

SELECT c.column_name AS name, c.udt_name AS "database-type", c.ordinal_position - 1 AS "database-position", c.table_schema AS "table-schema", pk.column_name IS NOT NULL AS "pk?", col_description(CAST(CAST(format('%I.%I', CAST(c.table_schema AS text), CAST(c.table_name AS text)) AS regclass) AS oid), c.ordinal_position) AS "field-comment", ((column_default IS NULL) OR (lower(column_default) = 'null')) AND (is_nullable = 'NO') AND NOT ((column_default IS NOT NULL) AND (column_default LIKE '%nextval(%')) AND (is_identity = 'NO') AS "database-required" FROM information_schema.columns AS c LEFT JOIN (SELECT tc.table_schema, tc.table_name, kc.column_name FROM information_schema.table_constraints AS tc INNER JOIN information_schema.key_column_usage AS kc ON (tc.constraint_name = kc.constraint_name) AND (tc.table_schema = kc.table_schema) AND (tc.table_name = kc.table_name) WHERE tc.constraint_type = 'PRIMARY KEY') AS pk ON (c.table_schema = pk.table_schema) AND (c.table_name = pk.table_name) AND (c.column_name = pk.column_name) WHERE c.table_schema = 'crm' ORDER BY c.table_name, c.ordinal_position

-- ActiveRecord 8 reads many tables at a time (activerecord/lib/active_record/connection_adapters/postgresql*)
SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype FROM pg_type AS t LEFT JOIN pg_range AS r ON oid = rngtypid WHERE t.oid IN (3802, 1043) UNION SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype FROM pg_type AS t LEFT JOIN pg_range AS r ON oid = rngtypid WHERE t.typtype IN ('r', 'e', 'd') AND t.typnamespace != 'pg_catalog'::regnamespace ORDER BY 1

SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment, attidentity AS identity, attgenerated AS attgenerated, r.relname FROM (SELECT DISTINCT ON (cls.relname) cls.oid, cls.relname FROM pg_class cls JOIN pg_namespace n ON n.oid = cls.relnamespace WHERE n.nspname = ANY (ARRAY['crm']) AND cls.relname IN ('contacts', 'orders') ORDER BY cls.relname, array_position(current_schemas(false), n.nspname)) r JOIN pg_attribute a ON a.attrelid = r.oid LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY r.relname, a.attnum

SELECT t.relname AS table_name, a.attname AS column_name FROM pg_index i JOIN (SELECT DISTINCT ON (c.relname) c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'crm' AND c.relname IN ('contacts', 'orders') ORDER BY c.relname, array_position(current_schemas(false), n.nspname)) t ON t.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY(i.indkey) WHERE i.indisprimary ORDER BY t.relname, array_position(i.indkey, a.attnum)

SELECT t1.relname AS from_table, t2.oid::regclass::text AS to_table, c.conname AS name, c.confupdtype AS on_update, c.confdeltype AS on_delete, c.convalidated AS valid, c.condeferrable AS deferrable, c.condeferred AS deferred, c.conrelid, c.confrelid, (SELECT array_agg(a.attname ORDER BY idx) FROM (SELECT idx, c.conkey[idx] AS conkey_elem FROM generate_subscripts(c.conkey, 1) AS idx) indexed_conkeys JOIN pg_attribute a ON a.attrelid = t1.oid AND a.attnum = indexed_conkeys.conkey_elem) AS conkey_names FROM pg_constraint c JOIN pg_class t1 ON c.conrelid = t1.oid JOIN pg_class t2 ON c.confrelid = t2.oid JOIN pg_namespace n ON c.connamespace = n.oid WHERE c.contype = 'f' AND n.nspname = 'crm' AND t1.relname IN ('contacts', 'orders') ORDER BY c.conname

SELECT t.relname AS table_name, conname, pg_get_constraintdef(c.oid, true) AS constraintdef, c.convalidated AS valid FROM pg_constraint c JOIN pg_class t ON c.conrelid = t.oid JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.contype = 'c' AND n.nspname = 'crm' AND t.relname IN ('contacts', 'orders')

SELECT t.relname AS table_name, t.comment, t.partition_key, parent.relname AS parent FROM (SELECT DISTINCT ON (c.relname) c.oid, c.relname, pg_catalog.obj_description(c.oid, 'pg_class') AS comment, pg_catalog.pg_get_partkeydef(c.oid) AS partition_key FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'crm' AND c.relname IN ('events', 'events_2026') AND c.relkind IN ('r', 'p') ORDER BY c.relname, array_position(current_schemas(false), n.nspname)) t LEFT JOIN pg_inherits i ON i.inhrelid = t.oid LEFT JOIN pg_class parent ON i.inhparent = parent.oid ORDER BY t.relname, i.inhseqno

SELECT t.oid::regclass::text, attr.attname, nsp.nspname, CASE WHEN pg_get_expr(def.adbin, def.adrelid) !~* 'nextval' THEN NULL WHEN split_part(pg_get_expr(def.adbin, def.adrelid), '''', 2) ~ '.' THEN substr(split_part(pg_get_expr(def.adbin, def.adrelid), '''', 2), strpos(split_part(pg_get_expr(def.adbin, def.adrelid), '''', 2), '.')+1) ELSE split_part(pg_get_expr(def.adbin, def.adrelid), '''', 2) END FROM pg_class t JOIN pg_attribute attr ON (t.oid = attrelid) JOIN pg_attrdef def ON (adrelid = attrelid AND adnum = attnum) JOIN pg_constraint cons ON (conrelid = adrelid AND adnum = conkey[1]) JOIN pg_namespace nsp ON (t.relnamespace = nsp.oid) WHERE t.oid = '"crm"."contacts"'::regclass AND cons.contype = 'p' AND pg_get_expr(def.adbin, def.adrelid) ~* 'nextval|uuid_generate|gen_random_uuid'

SELECT exists(SELECT * FROM pg_proc WHERE proname = 'lower' AND proargtypes = ARRAY['character varying'::regtype]::oidvector) OR exists(SELECT * FROM pg_proc INNER JOIN pg_cast ON ARRAY[casttarget]::oidvector = proargtypes WHERE proname = 'lower' AND castsource = 'character varying'::regtype)

SELECT pg_get_serial_sequence('"crm"."contacts"', 'id'), current_schemas(false), (SELECT datcollate FROM pg_database WHERE datname = current_database())

SELECT true FROM pg_available_extensions WHERE name = 'pg_hint_plan'

SELECT n.nspname AS schema_name, t.relname AS table_name, c.conname AS constraint_name FROM pg_constraint c JOIN pg_class t ON c.conrelid = t.oid JOIN pg_namespace n ON c.connamespace = n.oid WHERE c.contype = 'f' AND c.conparentid = 0 AND pg_catalog.pg_has_role(t.relowner, 'USAGE')

SET standard_conforming_strings TO 'on'

SET SESSION intervalstyle TO 'iso_8601'

SELECT pg_try_advisory_lock(2053462845), pg_advisory_unlock(2053462845)

-- Odoo (odoo/tools/sql.py, odoo/modules/registry.py, odoo/modules/db.py)
SELECT c.relkind FROM pg_class c JOIN pg_namespace n ON (n.oid = c.relnamespace) WHERE c.relname = 'contacts' AND n.nspname = current_schema

SELECT 1 FROM information_schema.columns WHERE table_name = 'contacts' AND column_name = 'region'

SELECT distinct quote_ident(dependee.relname), dependee.relkind FROM pg_depend JOIN pg_rewrite ON pg_depend.objid = pg_rewrite.oid JOIN pg_class as dependee ON pg_rewrite.ev_class = dependee.oid JOIN pg_class as dependent ON pg_depend.refobjid = dependent.oid JOIN pg_attribute ON pg_depend.refobjid = pg_attribute.attrelid AND pg_depend.refobjsubid = pg_attribute.attnum WHERE dependent.relname = 'contacts' AND pg_attribute.attnum > 0 AND pg_attribute.attname = 'phone' AND dependee.relkind in ('v', 'm')

SELECT COALESCE(d.description, pg_get_constraintdef(c.oid)) FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid LEFT JOIN pg_description d ON c.oid = d.objoid WHERE t.relname = 'contacts' AND conname = 'region_known'

SELECT con.conname, c2.relname, a2.attname, con.confdeltype as deltype FROM pg_constraint as con, pg_class as c1, pg_class as c2, pg_attribute as a1, pg_attribute as a2 WHERE con.contype='f' AND con.conrelid=c1.oid AND con.confrelid=c2.oid AND array_lower(con.conkey, 1)=1 AND con.conkey[1]=a1.attnum AND array_lower(con.confkey, 1)=1 AND con.confkey[1]=a2.attnum AND a1.attrelid=c1.oid AND a2.attrelid=c2.oid AND c1.relname='contacts' AND a1.attname='company'

SELECT fk.conname, c1.relname, a1.attname, c2.relname, a2.attname, fk.confdeltype FROM pg_constraint AS fk JOIN pg_class AS c1 ON fk.conrelid = c1.oid JOIN pg_class AS c2 ON fk.confrelid = c2.oid JOIN pg_attribute AS a1 ON a1.attrelid = c1.oid AND fk.conkey[1] = a1.attnum JOIN pg_attribute AS a2 ON a2.attrelid = c2.oid AND fk.confkey[1] = a2.attnum WHERE fk.contype = 'f' AND c1.relname IN ('contacts', 'orders')

SELECT indexname, tablename FROM pg_indexes WHERE indexname IN ('contacts_phone', 'contacts_tail')

SELECT sequence_name FROM information_schema.sequences WHERE sequence_name='tickets'

SELECT tickets.last_value, companies_id_seq.last_value FROM crm.tickets, crm.companies_id_seq

SELECT p.proname, p.provolatile FROM pg_proc p LEFT JOIN pg_catalog.pg_namespace ns ON p.pronamespace = ns.oid WHERE p.proname = 'unaccent' AND p.pronargs = 1 AND ns.nspname = 'public'

SELECT proname FROM pg_proc WHERE proname='word_similarity'

-- Metabase (src/metabase/driver/postgres.clj)
SELECT nspname, typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid IN (SELECT DISTINCT enumtypid FROM pg_enum e)

SELECT "pa"."attname" AS "name", CASE WHEN "ptn"."nspname" IN ('public', 'pg_catalog') THEN FORMAT('%s', "pt"."typname") ELSE FORMAT('"%s"."%s"', "ptn"."nspname", "pt"."typname") END AS "database-type", "pa"."attnum" - 1 AS "database-position", "pn"."nspname" AS "table-schema", "pc"."relname" AS "table-name", FALSE AS "pk?", NULL AS "field-comment", FALSE AS "database-required", FALSE AS "database-is-auto-increment" FROM "pg_catalog"."pg_class" AS "pc" INNER JOIN "pg_catalog"."pg_namespace" AS "pn" ON "pn"."oid" = "pc"."relnamespace" INNER JOIN "pg_catalog"."pg_attribute" AS "pa" ON "pa"."attrelid" = "pc"."oid" INNER JOIN "pg_catalog"."pg_type" AS "pt" ON "pt"."oid" = "pa"."atttypid" INNER JOIN "pg_catalog"."pg_namespace" AS "ptn" ON "ptn"."oid" = "pt"."typnamespace" WHERE ("pc"."relkind" = 'm') AND ("pa"."attnum" >= 1) AND ("pn"."nspname" IN ('crm')) ORDER BY "table-schema" ASC, "table-name" ASC, "database-position" ASC

SELECT "fk_ns"."nspname" AS "fk-table-schema", "fk_table"."relname" AS "fk-table-name", "fk_column"."attname" AS "fk-column-name", "pk_ns"."nspname" AS "pk-table-schema", "pk_table"."relname" AS "pk-table-name", "pk_column"."attname" AS "pk-column-name" FROM "pg_constraint" AS "c" INNER JOIN "pg_class" AS "fk_table" ON "c"."conrelid" = "fk_table"."oid" INNER JOIN "pg_namespace" AS "fk_ns" ON "c"."connamespace" = "fk_ns"."oid" INNER JOIN "pg_attribute" AS "fk_column" ON "c"."conrelid" = "fk_column"."attrelid" INNER JOIN "pg_class" AS "pk_table" ON "c"."confrelid" = "pk_table"."oid" INNER JOIN "pg_namespace" AS "pk_ns" ON "pk_table"."relnamespace" = "pk_ns"."oid" INNER JOIN "pg_attribute" AS "pk_column" ON "c"."confrelid" = "pk_column"."attrelid" WHERE fk_ns.nspname !~ '^information_schema|catalog_history|pg_' AND ("c"."contype" = 'f'::char) AND ("fk_column"."attnum" = ANY(c.conkey)) AND ("pk_column"."attnum" = ANY(c.confkey)) AND ("fk_ns"."nspname" IN ('crm')) ORDER BY "fk-table-schema" ASC, "fk-table-name" ASC

SELECT "tmp"."table-schema", "tmp"."table-name", TRIM(BOTH '"' FROM "pg_catalog"."pg_get_indexdef"("tmp"."ci_oid", "tmp"."pos", FALSE)) AS "field-name" FROM (SELECT "n"."nspname" AS "table-schema", "ct"."relname" AS "table-name", "ci"."oid" AS "ci_oid", ("information_schema"."_pg_expandarray"("i"."indkey"))."n" AS "pos" FROM "pg_catalog"."pg_class" AS "ct" INNER JOIN "pg_catalog"."pg_namespace" AS "n" ON "ct"."relnamespace" = "n"."oid" INNER JOIN "pg_catalog"."pg_index" AS "i" ON "ct"."oid" = "i"."indrelid" INNER JOIN "pg_catalog"."pg_class" AS "ci" ON "ci"."oid" = "i"."indexrelid" WHERE ("pg_catalog"."pg_get_expr"("i"."indpred", "i"."indrelid") IS NULL) AND n.nspname !~ '^information_schema|catalog_history|pg_' AND ("n"."nspname" IN ('crm'))) AS "tmp" WHERE "tmp"."pos" = 1

show timezone

SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE

SELECT "crm"."orders"."status" AS "status", COUNT(*) AS "count", DATE_TRUNC('month', CAST("crm"."contacts"."changed" AS timestamp)) AS "changed" FROM "crm"."orders" LEFT JOIN "crm"."contacts" ON "crm"."orders"."contact" = "crm"."contacts"."id" WHERE ("crm"."orders"."total" >= 10) AND (LOWER("crm"."orders"."status") LIKE '%open%') GROUP BY "crm"."orders"."status", DATE_TRUNC('month', CAST("crm"."contacts"."changed" AS timestamp)) ORDER BY "crm"."orders"."status" ASC

SELECT SUBSTRING("source"."status", 1, 1234) AS "substring1", "source"."total" FROM (SELECT "crm"."orders"."status" AS "status", "crm"."orders"."total" AS "total" FROM "crm"."orders") AS "source" ORDER BY 2 LIMIT 10

-- DBeaver
SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate ORDER BY db.datname

SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass ORDER BY nspname

SELECT t.oid, t.*, c.relkind, format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid = t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid = t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid = d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')

SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr, pg_catalog.pg_get_partkeydef(c.oid) AS partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass WHERE c.relnamespace = 'crm'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c')

SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) AS def_value, dsc.description, dep.objid FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid = c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid = ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid) LEFT OUTER JOIN pg_depend dep ON dep.refobjid = a.attrelid AND dep.deptype = 'i' AND dep.refobjsubid = a.attnum AND dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.oid = 'crm.orders'::regclass ORDER BY a.attnum

--= counts
SELECT i.*, i.indkey AS keys, c.relname, c.relnamespace, c.relam, c.reltablespace, tc.relname AS tabrelname, dsc.description, pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS pred_expr, pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) AS expr, pg_catalog.pg_relation_size(i.indexrelid) AS index_rel_size, pg_catalog.pg_stat_get_numscans(i.indexrelid) AS index_num_scans FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid = dsc.objoid WHERE tc.relnamespace = 'crm'::regnamespace ORDER BY tabrelname, c.relname

SELECT c.oid, c.*, t.relname AS tabrelname, rt.relnamespace AS refnamespace, d.description, CASE WHEN c.contype = 'c' THEN "substring"(pg_get_constraintdef(c.oid), 7) END consrc_copy FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_constraint'::regclass WHERE c.conrelid = 'crm.contacts'::regclass ORDER BY c.oid

SELECT p.oid AS poid, p.*, pg_catalog.pg_get_expr(p.proargdefaults, 0) AS arg_defaults, d.description FROM pg_catalog.pg_proc p LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = p.oid WHERE p.pronamespace = 'crm'::regnamespace ORDER BY p.proname

SELECT x.oid, x.*, p.relname AS tabrelname, pp.nspname, d.description FROM pg_catalog.pg_trigger x, pg_catalog.pg_class p, pg_catalog.pg_namespace pp, (SELECT NULL::text AS description) d WHERE x.tgrelid = p.oid AND p.relnamespace = pp.oid AND NOT tgisinternal AND pp.nspname = 'crm'

SELECT a.oid, a.*, pd.description FROM pg_catalog.pg_roles a LEFT JOIN pg_catalog.pg_shdescription pd ON a.oid = pd.objoid ORDER BY a.rolname

SELECT pl.*, pg_get_viewdef('crm.directory'::regclass, true) FROM pg_catalog.pg_policies pl

--= runs
SELECT sa.* FROM pg_catalog.pg_stat_activity sa

--= runs
SELECT l.pid, l.mode, l.granted, a.usename, a.query, pg_blocking_pids(l.pid) FROM pg_catalog.pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid

SELECT name, default_version, installed_version, comment FROM pg_catalog.pg_available_extensions ORDER BY name

SELECT DISTINCT dep.deptype, dep.classid, cl.relkind, pg_describe_object(dep.classid, dep.objid, dep.objsubid), (pg_identify_object(dep.refclassid, dep.refobjid, dep.refobjsubid)).identity FROM pg_depend dep LEFT JOIN pg_class cl ON dep.objid = cl.oid WHERE dep.refobjid = 'crm.contacts'::regclass ORDER BY 1, 2, 4

-- pgAdmin
SELECT db.oid as did, db.datname, db.datallowconn, pg_catalog.pg_encoding_to_char(db.encoding) AS serverencoding, pg_catalog.has_database_privilege(db.oid, 'CREATE') as cancreate, datistemplate FROM pg_catalog.pg_database db WHERE db.datname = current_database()

SELECT roles.oid as id, roles.rolname as name, roles.rolsuper as is_superuser, CASE WHEN roles.rolsuper THEN true ELSE roles.rolcreaterole END as can_create_role, CASE WHEN roles.rolsuper THEN true ELSE roles.rolcreatedb END as can_create_db, CASE WHEN 'pg_signal_backend' = ANY (ARRAY(WITH RECURSIVE cte AS (SELECT pg_roles.oid, pg_roles.rolname FROM pg_roles WHERE pg_roles.oid = roles.oid UNION ALL SELECT m.roleid, pgr.rolname FROM cte cte_1 JOIN pg_auth_members m ON m.member = cte_1.oid JOIN pg_roles pgr ON pgr.oid = m.roleid) SELECT rolname FROM cte)) THEN true ELSE false END as can_signal_backend FROM pg_catalog.pg_roles as roles WHERE rolname = current_user

SELECT set_config('bytea_output', 'hex', false) FROM pg_catalog.pg_show_all_settings() WHERE name = 'bytea_output'

SELECT gss_authenticated, encrypted FROM pg_catalog.pg_stat_gssapi WHERE pid = pg_backend_pid()

SELECT CASE WHEN usesuper THEN pg_catalog.pg_is_in_recovery() ELSE FALSE END as inrecovery, CASE WHEN usesuper AND pg_catalog.pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE FALSE END as isreplaypaused FROM pg_catalog.pg_user WHERE usename = current_user

SELECT CASE WHEN (SELECT count(extname) FROM pg_catalog.pg_extension WHERE extname = 'bdr') > 0 THEN 'pgd' WHEN (SELECT COUNT(*) FROM pg_replication_slots) > 0 THEN 'log' ELSE NULL END as type

SELECT rel.oid, rel.relname AS name, (SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgrelid = rel.oid AND tgisinternal = FALSE) AS triggercount, rel.reltuples::bigint, pg_catalog.pg_get_userbyid(rel.relowner) AS relowner, substring(pg_catalog.array_to_string(rel.reloptions, ',') FROM 'fillfactor=([0-9]*)') AS fillfactor, (SELECT st.setting FROM pg_catalog.pg_show_all_settings() st WHERE st.name = 'default_table_access_method') AS default_amname, (SELECT pg_catalog.array_agg(provider || '=' || label) FROM pg_catalog.pg_seclabels sl1 WHERE sl1.objoid = rel.oid AND sl1.objsubid = 0) AS seclabels FROM pg_catalog.pg_class rel LEFT JOIN pg_catalog.pg_class tst ON tst.oid = rel.reltoastrelid LEFT JOIN pg_catalog.pg_am am ON am.oid = rel.relam WHERE rel.relkind IN ('r', 's', 't', 'p') AND rel.relnamespace = 'crm'::regnamespace AND rel.relname <> 'contacts' ORDER BY rel.relname

--= runs
SELECT st.relname, pg_catalog.pg_relation_size(st.relid) + coalesce((SELECT sum(pg_catalog.pg_relation_size(indexrelid)) FROM pg_catalog.pg_index WHERE indrelid = st.relid)::int8, 0) AS size, n_tup_ins, n_tup_upd, n_tup_del, n_tup_hot_upd, n_live_tup, n_dead_tup, last_vacuum, last_autovacuum, last_analyze, vacuum_count, analyze_count FROM pg_catalog.pg_stat_all_tables st JOIN pg_catalog.pg_class cl ON cl.oid = st.relid WHERE schemaname = 'crm' ORDER BY st.relname

--= runs
SELECT 'tps' AS chart, pg_catalog.row_to_json(t) FROM (SELECT (SELECT sum(xact_commit) + sum(xact_rollback) FROM pg_catalog.pg_stat_database WHERE datname = current_database()) AS "Transactions", (SELECT sum(tup_inserted) FROM pg_catalog.pg_stat_database) AS "Inserts", (SELECT sum(blks_hit) FROM pg_catalog.pg_stat_database) AS "Hits", (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'active') AS "Active") t

--= runs
SELECT pid, datname, usename, application_name, client_addr, pg_catalog.to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') AS backend_start, state, wait_event_type || ': ' || wait_event AS wait_event, pg_catalog.pg_blocking_pids(pid) AS blocking_pids, query, backend_type, CASE WHEN state = 'active' THEN ROUND((extract(epoch from now() - query_start) / 60)::numeric, 2) ELSE 0 END AS active_since FROM pg_catalog.pg_stat_activity WHERE datname = current_database() ORDER BY pid

SELECT git.gid FROM pg_catalog.pg_prepared_xacts git

SELECT st.*, pg_get_statisticsobjdef(s.oid) FROM pg_stats_ext st JOIN pg_statistic_ext s ON s.stxname = st.statistics_name WHERE st.tablename = 'orders'

SELECT schemaname, tablename, attname, null_frac, avg_width, n_distinct, most_common_vals, correlation FROM pg_stats WHERE schemaname = 'crm' AND tablename IN ('orders', 'companies') ORDER BY 1, 2, 3

SELECT rs.nspname, co.collname, op.oprname, oc.opcname, fw.fdwname, sv.srvname, um.usename, um.umoptions FROM pg_namespace rs LEFT JOIN pg_collation co ON co.collnamespace = rs.oid LEFT JOIN pg_operator op ON op.oprnamespace = rs.oid LEFT JOIN pg_opclass oc ON oc.opcnamespace = rs.oid CROSS JOIN pg_foreign_data_wrapper fw JOIN pg_foreign_server sv ON sv.srvfdw = fw.oid LEFT JOIN pg_user_mappings um ON um.srvid = sv.oid AND false WHERE rs.nspname = 'crm'
