//! Rules of the rewrite system (CREATE RULE): what a table's owner made writes to it do besides or instead.
use crate::support::message::Client;
use crate::{agent, error, rows, start};

/// Rules that an owner may have made over a table or view that is not protected. Those named `leak_` show stored values.
const RULES: &str = "
CREATE TABLE crm.leak_also (id int, note text);
CREATE RULE r AS ON INSERT TO crm.leak_also DO ALSO SELECT phone FROM crm.contacts;
CREATE TABLE crm.leak_instead (id int, note text);
CREATE RULE r AS ON UPDATE TO crm.leak_instead DO INSTEAD SELECT c.phone FROM crm.contacts c WHERE c.id = new.id;
INSERT INTO crm.leak_instead VALUES (1, 'x');
CREATE VIEW crm.leak_returning AS SELECT id, region AS note FROM crm.contacts;
CREATE RULE r AS ON UPDATE TO crm.leak_returning DO INSTEAD
    UPDATE crm.contacts SET region = new.note WHERE id = old.id RETURNING id, phone::text;
CREATE TABLE crm.leak_condition (id int, note text);
CREATE RULE r AS ON INSERT TO crm.leak_condition
    WHERE EXISTS (SELECT FROM crm.contacts c WHERE c.phone = new.note) DO INSTEAD NOTHING;
CREATE FUNCTION crm.all_phones() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
    AS 'SELECT string_agg(phone, '','') FROM crm.contacts';
CREATE TABLE crm.leak_function (id int, note text);
CREATE RULE r AS ON INSERT TO crm.leak_function DO ALSO SELECT crm.all_phones();
CREATE FUNCTION crm.any_phone(int, int) RETURNS bool LANGUAGE sql STABLE SECURITY DEFINER
    AS 'SELECT EXISTS (SELECT FROM crm.contacts WHERE id = $1)';
CREATE OPERATOR crm.= (LEFTARG = int, RIGHTARG = int, FUNCTION = crm.any_phone);
CREATE TABLE crm.leak_operator (id int, note text);
SET search_path = crm, pg_catalog;
CREATE RULE r AS ON INSERT TO crm.leak_operator DO ALSO SELECT CASE new.id WHEN 0 THEN 'yes' ELSE 'no' END;
RESET search_path;
CREATE TABLE crm.leak_statistics (id int, note text);
CREATE RULE r AS ON INSERT TO crm.leak_statistics DO ALSO SELECT most_common_vals FROM pg_catalog.pg_stats;
CREATE TABLE crm.leak_chain (id int, note text);
CREATE RULE r AS ON INSERT TO crm.leak_chain DO INSTEAD INSERT INTO crm.leak_also VALUES (new.id, new.note);
CREATE VIEW crm.leak_view AS SELECT id, note FROM crm.leak_also;
CREATE RULE leak_old AS ON DELETE TO crm.contacts DO ALSO SELECT old.phone;
CREATE TABLE crm.round (id int, note text);
CREATE RULE r AS ON INSERT TO crm.round DO INSTEAD INSERT INTO crm.round VALUES (new.id, new.note);
CREATE TABLE crm.logged (id int, note text);
CREATE TABLE crm.log (at timestamptz, id int, note text);
CREATE RULE keep AS ON DELETE TO crm.logged DO INSTEAD NOTHING;
CREATE RULE note AS ON INSERT TO crm.logged WHERE new.id > 1 DO ALSO INSERT INTO crm.log VALUES (now(), new.id, new.note);
CREATE RULE off AS ON UPDATE TO crm.logged DO ALSO SELECT phone FROM crm.contacts;
ALTER TABLE crm.logged DISABLE RULE off;
CREATE VIEW crm.notes AS SELECT id, upper(note) AS note FROM crm.logged;
CREATE RULE add AS ON INSERT TO crm.notes DO INSTEAD INSERT INTO crm.logged VALUES (new.id, lower(new.note)) RETURNING id, upper(note);
GRANT ALL ON ALL TABLES IN SCHEMA crm TO agent;
";

fn outcome(client: &mut Client, sql: &str) -> String {
    let frames = client.query(sql);
    error(&frames).unwrap_or_else(|| rows(&frames).join(";"))
}

const LEAKS: [&str; 8] = [
    "INSERT INTO crm.leak_also VALUES (1, 'x')",
    "UPDATE crm.leak_instead SET note = 'y'",
    "UPDATE crm.leak_returning SET note = 'EU' WHERE id = 1 RETURNING note",
    "INSERT INTO crm.leak_function VALUES (1, 'x')",
    "INSERT INTO crm.leak_statistics VALUES (1, 'x')",
    "INSERT INTO crm.leak_chain VALUES (1, 'x')",
    "INSERT INTO crm.leak_view VALUES (1, 'x')",
    "WITH w AS (UPDATE crm.leak_returning SET note = 'EU' WHERE id = 1 RETURNING note) SELECT * FROM w",
];

#[test]
fn a_write_whose_rules_reach_protected_data_is_refused() {
    let (server, pgveil) = start(RULES);
    let mut direct = agent(server.port());
    let mut client = agent(pgveil.port());
    for sql in LEAKS {
        let raw = outcome(&mut direct, sql);
        assert!(raw.len() > 5, "{sql}: shows something directly: {raw}");
        let said = outcome(&mut client, sql);
        assert!(
            said.starts_with("42501 pgveil: the rule r on crm."),
            "{sql}: {said}"
        );
    }
    for sql in [
        "INSERT INTO crm.leak_condition VALUES (1, '13800138000')",
        "INSERT INTO crm.leak_operator VALUES (1, 'x')",
        "EXPLAIN INSERT INTO crm.leak_also VALUES (1, 'x')",
        "PREPARE p AS INSERT INTO crm.leak_also VALUES (1, 'x')",
        "DELETE FROM crm.contacts WHERE id = 0",
    ] {
        let said = outcome(&mut client, sql);
        assert!(said.starts_with("42501 pgveil: the rule "), "{sql}: {said}");
    }
}

#[test]
fn rules_over_unprotected_data_take_part() {
    let (server, pgveil) = start(RULES);
    let mut client = agent(pgveil.port());
    for sql in [
        "INSERT INTO crm.logged VALUES (1, 'one'), (2, 'two')",
        "DELETE FROM crm.logged",
        "UPDATE crm.logged SET note = note || '!'",
        "INSERT INTO crm.notes VALUES (3, 'THREE')",
        // COPY takes no notice of rules, and what is not written has none.
        "SELECT count(*) FROM crm.leak_also",
    ] {
        let said = outcome(&mut client, sql);
        assert!(!said.contains("42501"), "{sql}: {said}");
    }
    let round = outcome(&mut client, "INSERT INTO crm.round VALUES (1, 'x')");
    assert!(round.starts_with("42P17 infinite recursion"), "{round}");
    let returned = outcome(
        &mut client,
        "INSERT INTO crm.notes VALUES (4, 'FOUR') RETURNING *",
    );
    assert_eq!(returned, "4|FOUR");
    let kept = server.sql(
        "crm",
        "SELECT string_agg(id || note, ',' ORDER BY id) FROM crm.logged",
    );
    assert_eq!(kept[0][0].as_deref(), Some("1one!,2two!,3three,4four"));
    let logged = server.sql(
        "crm",
        "SELECT string_agg(note, ',' ORDER BY id) FROM crm.log",
    );
    assert_eq!(logged[0][0].as_deref(), Some("two,three,four"));
}
