-- What tests/drivers/jdbc/Cable.java finds in the schema shop.
CREATE SCHEMA shop;
CREATE TYPE shop.colour AS ENUM ('red', 'green');
CREATE DOMAIN shop.email AS text CHECK (VALUE LIKE '%@%');
CREATE TYPE shop.address AS (street text, number int);
CREATE TABLE shop.customers (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name varchar(40) NOT NULL,
    mail shop.email,
    likes shop.colour DEFAULT 'red',
    lives shop.address,
    UNIQUE (name, mail)
);
COMMENT ON TABLE shop.customers IS 'who buys';
COMMENT ON COLUMN shop.customers.name IS 'as they call themselves';
CREATE TABLE shop.orders (
    id serial PRIMARY KEY,
    customer int NOT NULL REFERENCES shop.customers ON DELETE CASCADE,
    total numeric(10, 2) CHECK (total >= 0),
    doubled numeric GENERATED ALWAYS AS (total * 2) STORED,
    at timestamptz DEFAULT now()
);
CREATE INDEX orders_of_day ON shop.orders ((at AT TIME ZONE 'UTC'), customer DESC) WHERE total > 0;
CREATE VIEW shop.sums AS SELECT customer, sum(total) FROM shop.orders GROUP BY customer;
CREATE MATERIALIZED VIEW shop.stored AS SELECT * FROM shop.sums;
CREATE TABLE shop.parts (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE shop.parts_2024 PARTITION OF shop.parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE SEQUENCE shop.numbers;
CREATE FUNCTION shop.twice(n int, OUT doubled int) LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION shop.several(VARIADIC n int[]) RETURNS TABLE (a int, b text) LANGUAGE sql AS 'SELECT 1, ''x''';
CREATE PROCEDURE shop.nothing(n int, INOUT m text) LANGUAGE sql AS 'SELECT ''x''';
GRANT SELECT (name), UPDATE (name) ON shop.customers TO PUBLIC;
GRANT SELECT, INSERT ON shop.orders TO PUBLIC;
