-- Passwords of the demo's users, the catalog user's, and the database of the shared state.
SET password_encryption = 'scram-sha-256';
ALTER ROLE crm_agent PASSWORD 'agent';
ALTER ROLE crm_finance PASSWORD 'finance';
ALTER ROLE crm_dpo PASSWORD 'dpo';
ALTER ROLE pgveil PASSWORD 'catalog';
GRANT SELECT ON pg_catalog.pg_authid TO pgveil;
CREATE ROLE pgveil_state LOGIN PASSWORD 'state';
CREATE DATABASE pgveil_state OWNER pgveil_state;
