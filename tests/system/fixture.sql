-- A schema with something of everything that catalogs describe. The restricted role `agent` owns nothing and may read it all.
CREATE SCHEMA crm;
COMMENT ON SCHEMA crm IS 'customers';
CREATE TYPE crm.mood AS ENUM ('glad', 'sad');
CREATE TYPE crm.pair AS (a int, b text);
CREATE DOMAIN crm.phone AS varchar(20) CHECK (VALUE <> '');
CREATE TYPE crm.span AS RANGE (subtype = float8);
CREATE COLLATION crm.plain FROM "C";
CREATE FUNCTION crm.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changed := now(); RETURN NEW; END $$;
CREATE FUNCTION crm.twice(n int, OUT result int) LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
CREATE PROCEDURE crm.nothing(x int DEFAULT 3) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE crm.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE OPERATOR crm.### (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
CREATE TABLE crm.companies (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL UNIQUE, parent int REFERENCES crm.companies);
CREATE TABLE crm.contacts (
    id serial PRIMARY KEY, name text NOT NULL, phone crm.phone, hotline text, company int REFERENCES crm.companies ON DELETE SET NULL,
    region text DEFAULT 'CN' COLLATE crm.plain, mood crm.mood, tags text[], changed timestamptz, notes jsonb,
    shout text GENERATED ALWAYS AS (upper(region)) STORED, CONSTRAINT region_known CHECK (region IN ('CN', 'EU')));
COMMENT ON TABLE crm.contacts IS 'people';
COMMENT ON COLUMN crm.contacts.phone IS 'how to call them';
CREATE UNIQUE INDEX contacts_phone ON crm.contacts (phone);
CREATE INDEX contacts_tail ON crm.contacts (right(phone::text, 4));
CREATE STATISTICS crm.contacts_dependencies (ndistinct, dependencies, mcv) ON phone, region FROM crm.contacts;
CREATE TRIGGER touch BEFORE UPDATE ON crm.contacts FOR EACH ROW EXECUTE FUNCTION crm.touch();
CREATE TABLE crm.orders (id bigint PRIMARY KEY, contact int NOT NULL REFERENCES crm.contacts, total numeric(12, 2), status text);
CREATE INDEX ON crm.orders (status, id DESC) INCLUDE (total);
CREATE STATISTICS crm.orders_mcv (mcv) ON contact, status FROM crm.orders;
CREATE TABLE crm.events (at date NOT NULL, kind text, n int) PARTITION BY RANGE (at);
CREATE TABLE crm.events_2026 PARTITION OF crm.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE crm.base (id int, label text);
CREATE TABLE crm.child (extra int) INHERITS (crm.base);
CREATE VIEW crm.directory AS SELECT id, name, phone FROM crm.contacts;
CREATE MATERIALIZED VIEW crm.spending AS SELECT contact, sum(total) AS total FROM crm.orders GROUP BY contact;
CREATE RULE no_delete AS ON DELETE TO crm.base DO INSTEAD NOTHING;
ALTER TABLE crm.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON crm.orders USING (true);
CREATE SEQUENCE crm.tickets START 1000 INCREMENT 5;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere OPTIONS (host 'example');
CREATE FOREIGN TABLE crm.remote (id int OPTIONS (name 'x')) SERVER elsewhere;
CREATE USER MAPPING FOR agent SERVER elsewhere OPTIONS (password 'hidden-password');
CREATE PUBLICATION news FOR TABLE crm.orders;
CREATE TEXT SEARCH CONFIGURATION crm.words (COPY = simple);
ALTER DEFAULT PRIVILEGES IN SCHEMA crm GRANT SELECT ON TABLES TO agent;
ALTER ROLE agent SET statement_timeout = '1min';
INSERT INTO crm.companies (title) VALUES ('one'), ('two');
INSERT INTO crm.contacts (name, phone, company, region, mood, tags) SELECT 'n' || g, '138' || lpad((g * 7919 % 100000000)::text, 8, '0'), 1 + g % 2,
    CASE WHEN g % 2 = 0 THEN 'CN' ELSE 'EU' END, 'glad', ARRAY['a', 'b'] FROM generate_series(1, 300) g;
INSERT INTO crm.orders SELECT g, 1 + g % 300, g, CASE WHEN g % 3 = 0 THEN 'open' ELSE 'closed' END FROM generate_series(1, 600) g;
GRANT USAGE ON SCHEMA crm TO agent;
GRANT ALL ON ALL TABLES IN SCHEMA crm TO agent;
GRANT ALL ON ALL SEQUENCES IN SCHEMA crm TO agent;
REFRESH MATERIALIZED VIEW crm.spending;
ANALYZE;
