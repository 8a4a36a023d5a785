-- The rows of names.txt for one server: psql -XAt -F ' ' -f list.sql. Versions are put together by hand.
SELECT CASE n.nspname WHEN 'pg_catalog' THEN '' ELSE n.nspname || '.' END || p.proname,
       string_agg(DISTINCT p.provolatile::text, '' ORDER BY p.provolatile::text),
       current_setting('server_version_num')::int / 10000
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('pg_catalog', 'information_schema') AND p.oid < 16384
GROUP BY n.nspname, p.proname ORDER BY n.nspname <> 'pg_catalog', p.proname COLLATE "C";
