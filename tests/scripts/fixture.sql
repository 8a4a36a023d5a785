-- The same names in two schemas: a table with masked columns here, a harmless one there. And a function whose name is that of
-- one of PostgreSQL's own.
CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE SCHEMA helpers;
CREATE TABLE one.people (id int PRIMARY KEY, name text, phone text, hotline text, mood text);
CREATE TABLE two.people (id int PRIMARY KEY, name text, phone text, hotline text, mood text);
CREATE TABLE one.items (id int PRIMARY KEY, label text, phone text);
CREATE TABLE two.items (id int PRIMARY KEY, label text, phone text);
-- Its key is checked when the transaction ends.
CREATE TABLE public.notes (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, body text);
CREATE FUNCTION helpers.initcap(text) RETURNS text LANGUAGE sql STABLE AS 'SELECT phone FROM one.people WHERE id = 1';
CREATE FUNCTION public.reset() RETURNS void LANGUAGE sql AS $$
  DELETE FROM one.people; DELETE FROM two.people; DELETE FROM one.items; DELETE FROM two.items; DELETE FROM public.notes;
  INSERT INTO one.people SELECT id, 'n' || id, phone, phone, 'glad' FROM stored WHERE id <= 3 ORDER BY id;
  INSERT INTO two.people SELECT g, 'm' || g, 'open' || g, 'line' || g, 'sad' FROM generate_series(1, 2) g;
  INSERT INTO one.items SELECT g, 'l' || g, 'free' || g FROM generate_series(1, 2) g;
  INSERT INTO two.items SELECT id - 3, 'k' || id, phone FROM stored WHERE id > 3 ORDER BY id;
  INSERT INTO public.notes VALUES (1, 'one'), (2, U&'caf\00e9') $$;
GRANT USAGE ON SCHEMA one, two, helpers TO agent;
GRANT ALL ON ALL TABLES IN SCHEMA one, two, public TO agent;
REVOKE ALL ON stored FROM agent;
