-- As the catalog of tests/planning/fixture.rs, as far as a server has it.
CREATE SCHEMA crm AUTHORIZATION crm_app;
CREATE SCHEMA attacker AUTHORIZATION crm_app;
GRANT CREATE ON SCHEMA public TO crm_app;
SET ROLE crm_app;
CREATE TABLE crm.contacts (id text PRIMARY KEY, name text, phone text, region text, search text);
CREATE TABLE crm.orders (id text PRIMARY KEY, contact_id text, total text);
CREATE TABLE attacker.contacts (id text PRIMARY KEY, tag text);
CREATE TABLE public."Odd ""Table""" (id text PRIMARY KEY, phone text);
CREATE TABLE crm.tickets (id text PRIMARY KEY, owner text, phone text, note text);
CREATE VIEW crm.v_contacts AS SELECT id AS k, phone AS mobile FROM crm.contacts;
CREATE TABLE crm.pay (id text PRIMARY KEY, cap text, phone text, note text, CHECK (cap > phone));
CREATE VIEW crm.v_pay AS SELECT id, cap FROM crm.pay;
CREATE TABLE crm.bookings (id text PRIMARY KEY, upto text, phone text);
CREATE TABLE crm.ruled (id text PRIMARY KEY, note text);
CREATE FUNCTION crm.rank_text(text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION crm.phone_of(text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1';
