-- The relations that tests/attacks/attacks.txt aims at. Secrets come from the table `secret` that the test fills per
-- twin: two databases with other secrets of equal masks.
CREATE SCHEMA crm AUTHORIZATION crm_app;
CREATE SCHEMA attacker AUTHORIZATION crm_app;
CREATE SCHEMA desk AUTHORIZATION crm_app;
GRANT SELECT ON secret TO crm_app;
SET ROLE crm_app;
CREATE TABLE crm.customers(id int PRIMARY KEY, name text NOT NULL, phone text UNIQUE, email text, id_card text, salary numeric(12,2), notes text, owner_id int, region text);
INSERT INTO crm.customers SELECT id, name, phone, email, id_card, salary, notes, owner_id, region FROM public.secret ORDER BY id;
CREATE TABLE crm.orders(id int PRIMARY KEY, customer_id int REFERENCES crm.customers(id), amount numeric, memo text);
INSERT INTO crm.orders VALUES (10,1,99.5,'m'),(11,2,10,'m'),(12,3,5,'m');
CREATE VIEW crm.v_customers AS SELECT * FROM crm.customers;
CREATE VIEW crm.v_ren AS SELECT id AS k, phone AS mobile, lower(email) AS em FROM crm.customers;
CREATE VIEW crm.v_v AS SELECT k, '+86-'||mobile AS m FROM crm.v_ren;
CREATE MATERIALIZED VIEW crm.mv_customers AS SELECT id, phone FROM crm.customers;
CREATE FUNCTION crm.all_customers() RETURNS SETOF crm.customers LANGUAGE sql STABLE AS 'SELECT * FROM crm.customers';
CREATE FUNCTION crm.phone_of(int) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT phone FROM crm.customers WHERE id=$1';
CREATE FUNCTION crm.rec_customers() RETURNS SETOF record LANGUAGE sql STABLE AS 'SELECT id, phone FROM crm.customers';
CREATE TABLE crm.p(id int, phone text, region text) PARTITION BY LIST(region);
CREATE TABLE crm.p_cn PARTITION OF crm.p FOR VALUES IN ('CN');
INSERT INTO crm.p SELECT id,phone,region FROM crm.customers WHERE region='CN';
CREATE TABLE crm.base(id int, phone text);
CREATE TABLE crm.child() INHERITS (crm.base);
INSERT INTO crm.child SELECT id,phone FROM crm.customers;
CREATE TABLE crm.big(id int, phone text);
INSERT INTO crm.big SELECT g, (SELECT phone FROM public.secret WHERE id = 1) FROM generate_series(1,2000) g;
INSERT INTO crm.big SELECT 5000+g, '139'||(SELECT substr(phone,4,4) FROM public.secret WHERE id = 2)||lpad(g::text,4,'0') FROM generate_series(1,500) g;
CREATE FUNCTION attacker.f(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION attacker.eq(text,text) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR attacker.= (leftarg=text,rightarg=text,procedure=attacker.eq);
CREATE FUNCTION attacker."left"(text,int) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION attacker.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%',$1; RETURN true; END $$;
CREATE VIEW attacker.opaque AS SELECT id, crm.phone_of(id) AS p FROM crm.orders;
CREATE DOMAIN attacker.known AS text CHECK (crm.phone_of(1) <> VALUE);
CREATE TYPE attacker.ref AS (id int);
CREATE FUNCTION attacker.ref_text(attacker.ref) RETURNS text LANGUAGE sql STABLE AS 'SELECT crm.phone_of(($1).id)';
CREATE CAST (attacker.ref AS text) WITH FUNCTION attacker.ref_text(attacker.ref) AS IMPLICIT;
CREATE TABLE attacker.refs (who attacker.ref);
INSERT INTO attacker.refs VALUES (ROW(1));
CREATE INDEX long_names ON crm.customers (id) WHERE length(email) > 20;
CREATE STATISTICS crm.names_phones (mcv, ndistinct, dependencies) ON name, phone, region FROM crm.customers;
ANALYZE crm.customers;
ANALYZE crm.big;
-- What is checked when a row is written holds a masked column beside one that may be written.
CREATE TABLE crm.pay(id int PRIMARY KEY, salary numeric(12,2), ceiling numeric DEFAULT 100000, note text, CONSTRAINT pay_ceiling CHECK (salary < ceiling));
INSERT INTO crm.pay SELECT id, salary FROM public.secret;
CREATE VIEW crm.v_pay AS SELECT id, ceiling FROM crm.pay;
CREATE TABLE crm.pay_rest(id int PRIMARY KEY, salary numeric(12,2), ceiling numeric DEFAULT 0, rest numeric GENERATED ALWAYS AS (1 / (salary - ceiling)) STORED);
INSERT INTO crm.pay_rest SELECT id, salary FROM public.secret;
CREATE TABLE crm.pay_index(id int PRIMARY KEY, salary numeric(12,2), ceiling numeric DEFAULT 0);
CREATE INDEX ON crm.pay_index ((1 / (salary - ceiling)));
INSERT INTO crm.pay_index SELECT id, salary FROM public.secret;
CREATE TABLE crm.pay_grade(id int PRIMARY KEY, salary numeric(12,2), grade int, CONSTRAINT pay_once UNIQUE (grade, salary));
INSERT INTO crm.pay_grade SELECT id, salary, 1 FROM public.secret UNION ALL SELECT 9, 48763.21, 2;
CREATE TABLE crm.pay_ref(id int PRIMARY KEY, salary numeric(12,2), grade int, FOREIGN KEY (grade, salary) REFERENCES crm.pay_grade (grade, salary));
INSERT INTO crm.pay_ref SELECT id, salary, grade FROM crm.pay_grade WHERE id = 1;
CREATE TABLE crm.pay_span(id int PRIMARY KEY, salary numeric(12,2), upto int, EXCLUDE USING gist (int4range(salary::int, upto) WITH &&));
INSERT INTO crm.pay_span SELECT id, salary, salary::int + 1 FROM public.secret;
CREATE TABLE crm.pay_part(id int, salary numeric(12,2), grade int) PARTITION BY RANGE (salary, grade);
CREATE TABLE crm.pay_part_low PARTITION OF crm.pay_part FOR VALUES FROM (MINVALUE, MINVALUE) TO (48763.21, 5);
INSERT INTO crm.pay_part SELECT id, salary, 1 FROM public.secret WHERE id = 1;
CREATE TABLE crm.pay_move(id int, salary numeric(12,2), region text) PARTITION BY LIST (region);
CREATE TABLE crm.pay_move_a PARTITION OF crm.pay_move FOR VALUES IN ('A');
CREATE TABLE crm.pay_move_b PARTITION OF crm.pay_move (CHECK (salary < 46000)) FOR VALUES IN ('B');
INSERT INTO crm.pay_move SELECT id, salary, 'A' FROM public.secret WHERE id = 1;
CREATE TABLE crm.floors(v int PRIMARY KEY);
INSERT INTO crm.floors VALUES (1);
CREATE TABLE crm.pay_floor(id int PRIMARY KEY, salary numeric(12,2), v int REFERENCES crm.floors ON UPDATE CASCADE, CHECK (salary > v));
INSERT INTO crm.pay_floor SELECT id, salary, 1 FROM public.secret WHERE id = 1;
CREATE TABLE crm.plan_kinds(id int PRIMARY KEY);
INSERT INTO crm.plan_kinds VALUES (1);
CREATE TABLE crm.plans(id int PRIMARY KEY, kind int REFERENCES crm.plan_kinds ON DELETE CASCADE);
INSERT INTO crm.plans VALUES (1, 1), (2, 1);
CREATE VIEW crm.v_plans AS SELECT id FROM crm.plans;
CREATE TABLE crm.pay_plan(id int PRIMARY KEY, salary numeric(12,2), plan int REFERENCES crm.plans ON DELETE SET NULL, CHECK (plan IS NOT NULL OR salary < 46000));
INSERT INTO crm.pay_plan SELECT id, salary, 1 FROM public.secret WHERE id = 1;
CREATE TABLE crm.kept(who crm.customers, id int);
CREATE TABLE crm.pay_own(id int PRIMARY KEY, salary numeric(12,2), ceiling numeric DEFAULT 100000);
INSERT INTO crm.pay_own SELECT id, salary FROM public.secret;
ALTER TABLE crm.pay_own ENABLE ROW LEVEL SECURITY;
ALTER TABLE crm.pay_own FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON crm.pay_own USING (true) WITH CHECK (salary < ceiling);
CREATE TABLE crm.pay_flag(id int PRIMARY KEY, salary numeric(12,2), ceiling numeric DEFAULT 0, flag text GENERATED ALWAYS AS (CASE WHEN salary < ceiling THEN 'y' END) STORED);
INSERT INTO crm.pay_flag (id, salary) SELECT id, salary FROM public.secret;
-- Computed when it is read, where the server has that.
DO $$ BEGIN EXECUTE 'CREATE TABLE crm.pay_late(id int PRIMARY KEY, salary numeric(12,2), ceiling numeric DEFAULT 0, rest text GENERATED ALWAYS AS ((1 / (salary - ceiling))::text) '
  || CASE WHEN current_setting('server_version_num')::int >= 180000 THEN 'VIRTUAL)' ELSE 'STORED)' END; END $$;
INSERT INTO crm.pay_late (id, salary) SELECT id, salary FROM public.secret;
-- Under row rules: what the third customer earns is in rows that crm_app does not see.
CREATE TABLE crm.staff(id int PRIMARY KEY, login text);
INSERT INTO crm.staff VALUES (7, 'crm_app'), (8, 'other');
CREATE TABLE crm.deals(id int PRIMARY KEY, owner_id int, amount numeric, note text);
INSERT INTO crm.deals SELECT id, owner_id, CASE WHEN owner_id = 7 THEN id ELSE salary END, 'n' FROM public.secret;
CREATE TABLE crm.subs(id int PRIMARY KEY, staff int, amount numeric, note text);
INSERT INTO crm.subs SELECT id, owner_id, CASE WHEN owner_id = 7 THEN id ELSE salary END, 'n' FROM public.secret;
CREATE TABLE crm.lists(id int PRIMARY KEY, owner_id int, amount numeric, a json[]);
INSERT INTO crm.lists SELECT id, owner_id, CASE WHEN owner_id = 7 THEN id ELSE salary END, ARRAY['{}'::json] FROM public.secret;
ANALYZE crm.staff, crm.deals, crm.subs, crm.lists;
-- By the name of one of PostgreSQL's own, for a search path with this schema first.
CREATE FUNCTION attacker.initcap(text) RETURNS text LANGUAGE sql STABLE AS 'SELECT phone FROM crm.customers WHERE id = 1';
CREATE TABLE attacker.noted (id int);
CREATE FUNCTION attacker.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT ON attacker.noted FOR EACH ROW EXECUTE FUNCTION attacker.note();
-- Refuses by words in which a value stands, in every field that has room for one.
CREATE TABLE attacker.refusing (id int);
CREATE FUNCTION attacker.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v text := (SELECT phone FROM crm.customers WHERE id = NEW.id);
BEGIN RAISE EXCEPTION 'x' USING COLUMN = v, CONSTRAINT = v, DATATYPE = v, TABLE = v, SCHEMA = v; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON attacker.refusing FOR EACH ROW EXECUTE FUNCTION attacker.refuse();
-- Values that are taken for names.
CREATE VIEW crm.v_reg AS SELECT id, phone::regclass::text AS r FROM crm.customers;
CREATE VIEW crm.v_operator AS SELECT id, phone::regoper::text AS r FROM crm.customers;
CREATE VIEW crm.v_type AS SELECT id, (phone || ' 1x')::regtype::text AS r FROM crm.customers;
CREATE VIEW crm.v_long AS SELECT id, (repeat('x', 60) || phone)::regclass::text AS r FROM crm.customers;
CREATE VIEW crm.v_privilege AS SELECT id, has_table_privilege(phone::name, 'crm.customers', 'select') AS r FROM crm.customers;
CREATE VIEW crm.v_database AS SELECT id, has_database_privilege(phone, 'connect') AS r FROM crm.customers;
CREATE VIEW crm.v_setting AS SELECT id, current_setting(phone) AS r FROM crm.customers;
CREATE VIEW crm.v_found AS SELECT id FROM crm.customers WHERE has_schema_privilege(phone, 'usage');
CREATE TABLE crm.owned(id int PRIMARY KEY, phone text, v text);
INSERT INTO crm.owned SELECT id, phone, 'v' FROM crm.customers;
ALTER TABLE crm.owned ENABLE ROW LEVEL SECURITY;
ALTER TABLE crm.owned FORCE ROW LEVEL SECURITY;
CREATE POLICY owned ON crm.owned USING (pg_has_role(current_user, phone::name, 'member'));
-- A policy of row level security that holds a column against another table's masked one.
CREATE TABLE crm.docs(id int PRIMARY KEY, customer int, level numeric, note text);
INSERT INTO crm.docs VALUES (1, 1, 0), (2, 2, 0);
ALTER TABLE crm.docs ENABLE ROW LEVEL SECURITY;
ALTER TABLE crm.docs FORCE ROW LEVEL SECURITY;
CREATE POLICY docs ON crm.docs USING (level < (SELECT c.salary FROM crm.customers c WHERE c.id = customer));
-- Keys over time, where the server has them.
CREATE TABLE crm.pay_time(emp int4range, span int4range, note text);
CREATE TABLE crm.pay_within(emp int4range, span int4range);
DO $$ BEGIN IF current_setting('server_version_num')::int >= 180000 THEN
  EXECUTE 'ALTER TABLE crm.pay_time ADD PRIMARY KEY (emp, span WITHOUT OVERLAPS)';
  EXECUTE 'ALTER TABLE crm.pay_within ADD FOREIGN KEY (emp, PERIOD span) REFERENCES crm.pay_time (emp, PERIOD span)';
END IF; END $$;
INSERT INTO crm.pay_time SELECT int4range(id, id + 1), int4range(salary::int, salary::int + 1000) FROM public.secret;
-- What masked columns refer to.
CREATE TABLE crm.rate_kinds(id int PRIMARY KEY);
INSERT INTO crm.rate_kinds VALUES (1), (2);
CREATE TABLE crm.rates(v numeric(12,2) PRIMARY KEY, kind int REFERENCES crm.rate_kinds ON DELETE CASCADE, note text);
INSERT INTO crm.rates VALUES (48763.21, 1), (45001, 2), (1, 2);
CREATE VIEW crm.v_rates AS SELECT v, note FROM crm.rates;
CREATE TABLE crm.pay_rate(id int PRIMARY KEY, salary numeric(12,2) REFERENCES crm.rates);
INSERT INTO crm.pay_rate SELECT id, salary FROM public.secret WHERE id = 1;
CREATE TABLE crm.steps(v numeric(12,2) PRIMARY KEY);
INSERT INTO crm.steps VALUES (48763.21), (45001);
CREATE TABLE crm.pay_step(id int PRIMARY KEY, salary numeric(12,2) REFERENCES crm.steps ON UPDATE CASCADE ON DELETE CASCADE);
INSERT INTO crm.pay_step SELECT id, salary FROM public.secret WHERE id = 1;
CREATE TABLE crm.scales(tenant int, v numeric(12,2), UNIQUE (tenant, v));
INSERT INTO crm.scales VALUES (1, 48763.21), (1, 45001);
CREATE TABLE crm.pay_scale(id int PRIMARY KEY, tenant int, salary numeric(12,2), FOREIGN KEY (tenant, salary) REFERENCES crm.scales (tenant, v) ON UPDATE CASCADE);
INSERT INTO crm.pay_scale SELECT id, 1, salary FROM public.secret WHERE id = 1;
-- Hidden rows of one value, which the planner's statistics hold; beside it, a pair.
CREATE TYPE attacker.pair AS (a int, b text);
CREATE TABLE crm.lines(id int PRIMARY KEY, owner_id int, code text, pair attacker.pair);
INSERT INTO crm.lines SELECT g, 8, phone, ROW(salary::int, 'x')::attacker.pair FROM public.secret, generate_series(1, 30) g WHERE secret.id = 1;
INSERT INTO crm.lines VALUES (100, 7, 'seen', ROW(1, 'y'));
ANALYZE crm.lines;
-- Relations of the same names in another schema, with nothing to hide.
CREATE TABLE desk.customers(id int PRIMARY KEY, name text, phone text, salary numeric, region text);
INSERT INTO desk.customers VALUES (1, 'desk one', '1', 1, 'CN'), (2, 'desk two', '2', 2, 'CN'), (9, 'desk nine', '9', 9, 'EU');
CREATE TABLE desk.deals(id int PRIMARY KEY, owner_id int, amount numeric, note text);
INSERT INTO desk.deals SELECT g, 7, g, 'd' || g FROM generate_series(1, 5) g;
RESET ROLE;
REVOKE SELECT ON secret FROM crm_app;
