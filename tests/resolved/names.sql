-- Relations whose names, schemas, columns and types are called alike: what a name means is easily mistaken.
CREATE SCHEMA crm AUTHORIZATION crm_app;
CREATE SCHEMA customers AUTHORIZATION crm_app;
GRANT CREATE ON SCHEMA public TO crm_app;
SET ROLE crm_app;
CREATE TABLE crm.customers (
    id int PRIMARY KEY, name text, phone varchar(20), email text, bool text, salary numeric(12,2), customers text, crm text,
    region text, "case" text, "?column?" text, x1f int, "größe" text, "system_user" text, "json" text);
CREATE TABLE crm.orders (
    id int PRIMARY KEY, customer_id int, phone text, customers text, amount numeric(12,2), memo text, bool bool, "row" text,
    column1 text, "coalesce" text, "Phone" text);
CREATE TABLE customers.orders (id int PRIMARY KEY, phone text, crm text, orders text, region text);
CREATE TABLE public.customers (id int, phone text, tag text);
CREATE TABLE crm.phone (id int, phone text, name text, crm text);
CREATE TABLE crm."Customers" (id int, "Phone" text, phone text, "ID" int);
CREATE TYPE crm.pair AS (phone text, id int);
CREATE TABLE crm.boxes (id int PRIMARY KEY, customers crm.pair, phone crm.pair, o crm.orders);
CREATE TABLE crm.tickets (id int PRIMARY KEY, owner text, phone text, note text, code int);
CREATE TABLE crm.teams (id int, owner text);
CREATE TABLE crm.events (id int, phone text, kind text) PARTITION BY LIST (kind);
CREATE TABLE crm.events_call PARTITION OF crm.events FOR VALUES IN ('call');
CREATE TABLE crm.a_name_that_is_as_long_as_the_server_lets_one_be_and_no_longer_ (
    id int PRIMARY KEY, phone text, a_column_that_is_as_long_as_the_server_lets_it_be_and_no_longer text);
CREATE VIEW crm.v_customers AS SELECT id AS k, phone, lower(email) AS bool, name FROM crm.customers;
