-- The user of pgveil's own connections, which read the system catalogs and nothing else. Run it once, as a superuser:
--
--   psql -v password="$(openssl rand -base64 24)" -v databases=crm -f catalog-user.sql
--
-- and put the same password where pgveil.yaml takes it from. `databases`: those that pgveil serves, with commas.
-- pgveil doctor says if the user can do more than it should, or less.
\set ON_ERROR_STOP on
\if :{?user} \else \set user pgveil \endif

SELECT format('CREATE ROLE %I', :'user') WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :'user') \gexec
-- Nothing but logging in; the password is stored as a SCRAM verifier whatever the server's default is.
SET password_encryption = 'scram-sha-256';
ALTER ROLE :"user" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 20 PASSWORD :'password';
-- What it needs no more than: it reads catalogs, never tables.
ALTER ROLE :"user" SET default_transaction_read_only = on;
ALTER ROLE :"user" SET search_path = '';
-- A statement of it that hangs holds up nobody for long.
ALTER ROLE :"user" SET statement_timeout = '60s';

-- No group gives it more than everybody has.
SELECT format('REVOKE %I FROM %I', g.rolname, :'user')
FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
JOIN pg_catalog.pg_roles u ON u.oid = m.member
WHERE u.rolname = :'user' \gexec

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', d.datname, :'user')
FROM pg_catalog.pg_database d
WHERE d.datname = ANY (string_to_array(replace(:'databases', ' ', ''), ',')) \gexec
