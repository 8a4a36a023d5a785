-- The schema that generated statements are about: the same in all databases, data comes apart from it.
CREATE SCHEMA crm AUTHORIZATION crm_app;
SET ROLE crm_app;
SET search_path = crm;
CREATE TABLE contacts (
    id int PRIMARY KEY, full_name text, phone varchar(20), email text, salary numeric(12,2), born date, profile jsonb,
    tags text[], score int, vip bool, region text NOT NULL, owner_id int, note text, created date DEFAULT '2024-05-01');
CREATE INDEX ON contacts (phone);
CREATE INDEX ON contacts (region);
CREATE TABLE deals (
    id int PRIMARY KEY, contact_id int, amount numeric(12,2), stage text, closed date, meta jsonb, labels text[],
    phone text, won bool);
CREATE TABLE events (id int, contact_id int, phone text, kind text NOT NULL, happened date) PARTITION BY LIST (kind);
CREATE TABLE events_call PARTITION OF events FOR VALUES IN ('call');
CREATE TABLE events_mail PARTITION OF events FOR VALUES IN ('mail', 'visit');
CREATE TABLE base (id int, phone text, region text);
CREATE TABLE child (extra text) INHERITS (base);
CREATE TABLE numbers (id int PRIMARY KEY, phone text, area text GENERATED ALWAYS AS (left(phone, 5)) STORED, kind text);
-- Nothing of it is protected, whatever its columns are called.
CREATE TABLE leads (id int PRIMARY KEY, full_name text, phone varchar(20), email text, salary numeric(12,2), born date,
    region text, score int);
CREATE VIEW v_contacts AS SELECT id, full_name, phone, salary, region, owner_id FROM contacts;
CREATE VIEW v_regions AS SELECT v.id AS k, v.phone AS mobile, upper(v.full_name) AS shouted, v.region FROM v_contacts v
    WHERE v.region <> 'XX';
CREATE VIEW v_deals AS SELECT d.id, d.amount, d.stage, c.region, c.phone FROM deals d JOIN contacts c ON c.id = d.contact_id;
CREATE MATERIALIZED VIEW m_contacts AS SELECT id, phone, region FROM contacts WITH NO DATA;
CREATE FUNCTION initials(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.left($1, 2)';
