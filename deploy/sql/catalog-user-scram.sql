-- Only for `auth: { method: scram }` without `users: FILE`: pgveil checks passwords itself and reads the verifiers for it. They are
-- not passwords, but whoever has one can log in by it from a program of their own: grant this to nobody else. In each database
-- that pgveil serves, as a superuser:
--
--   psql -d crm -f catalog-user-scram.sql
\set ON_ERROR_STOP on
\if :{?user} \else \set user pgveil \endif
GRANT SELECT ON pg_catalog.pg_authid TO :"user";
