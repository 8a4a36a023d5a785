//! What was decided on under other circumstances: the server resolves names of prepared statements again when the search
//! path or the session's temporary relations have changed, and those of some statements only when they run.
use crate::support::Postgres;
use crate::support::compare::{shows, values};
use crate::support::message::{Client, bind, execute, parse, query, sync};
use crate::{agent, error, start};

/// The phone and the hotline of the first contact.
pub const SECRET: &str = "13800007919";

/// A function whose name is that of one of PostgreSQL's own, in a schema that may come first; and a type, by the name of
/// a table, that comes before PostgreSQL's.
pub const MORE: &str = "
CREATE SCHEMA helpers;
GRANT USAGE ON SCHEMA helpers TO agent;
CREATE FUNCTION helpers.initcap(text) RETURNS text LANGUAGE sql STABLE AS
  'SELECT phone::text FROM crm.contacts WHERE id = 1';
CREATE TABLE helpers.late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO helpers.late VALUES (1);
GRANT INSERT ON helpers.late TO agent;
UPDATE crm.contacts SET hotline = phone";

pub const FIRST: &str = "SET search_path = helpers, pg_catalog";
pub const CALL: &str = "SELECT initcap('x')";
/// A column of the function where `text` is a type of single values, and where it is not one of the table.
pub const ROWS: &str = "UPDATE crm.contacts SET mood = mood WHERE id = 1 \
    RETURNING (SELECT hotline::varchar FROM unnest('{\"(1)\"}'::text[]) AS hotline LIMIT 1)";
pub const TYPE: &str = "CREATE TEMP TABLE text (a int)";

/// Whether any of the texts shows the secret, one message each.
fn any_shows(client: &mut Client, texts: &[String]) -> bool {
    texts.iter().fold(false, |found, text| {
        shows(&client.query(text), SECRET) | found
    })
}

pub fn direct(server: &Postgres) -> Client {
    agent(server.port())
}

#[test]
fn what_execute_runs_means_what_was_decided_on() {
    let (server, pgveil) = start(MORE);
    let prepare = format!("PREPARE p AS {CALL}");
    let rows = format!("PREPARE p AS {ROWS}");
    for texts in [
        vec![format!("{prepare}; {FIRST}; EXECUTE p")],
        vec![prepare.clone(), format!("{FIRST}; EXECUTE p")],
        vec![
            format!("SET search_path = public; {prepare}"),
            FIRST.into(),
            "EXECUTE p".into(),
        ],
        vec![
            FIRST.into(),
            format!("SET search_path = public; {prepare}"),
            FIRST.into(),
            "EXECUTE p".into(),
        ],
        vec![
            prepare.clone(),
            format!("{FIRST}; CREATE TEMP TABLE t AS EXECUTE p; SELECT * FROM t"),
        ],
        vec![
            "PREPARE p(text) AS SELECT $1".into(),
            format!("{FIRST}; EXECUTE p(initcap('x'))"),
        ],
        vec![rows.clone(), format!("{TYPE}; EXECUTE p")],
        vec![format!("{rows}; {TYPE}; EXECUTE p")],
    ] {
        let shown = any_shows(&mut agent(pgveil.port()), &texts);
        assert!(!shown, "{texts:?}");
        // The poison control: this is what the server makes of it.
        assert!(any_shows(&mut direct(&server), &texts), "{texts:?}");
    }
    // What means the same is run.
    for texts in [
        [
            "PREPARE p AS SELECT initcap('x')",
            "SET search_path = crm; EXECUTE p",
        ],
        [
            "SET search_path = crm; PREPARE p AS SELECT initcap('x')",
            "EXECUTE p",
        ],
        [
            "SELECT 1",
            "PREPARE p AS SELECT initcap('x'); SET statement_timeout = 0; EXECUTE p",
        ],
        [
            "CREATE TEMP TABLE own (a int); PREPARE p AS SELECT upper('x')",
            "EXECUTE p",
        ],
    ] {
        let mut client = agent(pgveil.port());
        let frames: Vec<_> = texts.iter().flat_map(|text| client.query(text)).collect();
        assert_eq!(error(&frames), None, "{texts:?}");
        assert_eq!(
            values(&frames).last().map(String::as_str),
            Some("X"),
            "{texts:?}"
        );
    }
}

/// A message that runs a text by the unnamed statement and portal.
pub fn runs(text: &str) -> Vec<Vec<u8>> {
    vec![parse("", text, &[]), bind("", "", &[], 0), execute("", 0)]
}

#[test]
fn names_that_are_resolved_when_a_portal_runs_mean_what_was_decided_on() {
    let (server, pgveil) = start(MORE);
    let copy = format!("COPY ({CALL}) TO STDOUT");
    let prepare = format!("PREPARE p AS {CALL}");
    let bound = |text: &str| vec![parse("s", text, &[]), bind("k", "s", &[], 0)];
    let batches: Vec<(&str, Vec<Vec<u8>>)> = vec![
        (
            "prepared, and executed under another path",
            [runs(&prepare), runs(FIRST), runs("EXECUTE p"), vec![sync()]].concat(),
        ),
        (
            "a COPY that was bound before",
            [bound(&copy), runs(FIRST), vec![execute("k", 0), sync()]].concat(),
        ),
        (
            "parameters of EXECUTE",
            [
                runs("PREPARE p(text) AS SELECT $1"),
                bound("EXECUTE p(initcap('x'))"),
                runs(FIRST),
                vec![execute("k", 0), sync()],
            ]
            .concat(),
        ),
        (
            "the default of a table",
            [
                bound("CREATE TEMP TABLE t (a int, b text DEFAULT initcap('x'))"),
                runs(FIRST),
                vec![execute("k", 0)],
                runs("INSERT INTO pg_temp.t VALUES (1)"),
                vec![sync(), query("SELECT b FROM pg_temp.t")],
            ]
            .concat(),
        ),
    ];
    for (what, batch) in batches {
        let answers = |mut client: Client| {
            client.send_all(&batch);
            let mut frames = client.read_until_ready();
            if batch.last().is_some_and(|last| last.first() == Some(&b'Q')) {
                frames.extend(client.read_until_ready());
            }
            frames
        };
        let frames = answers(agent(pgveil.port()));
        assert!(!shows(&frames, SECRET), "{what}: {frames:?}");
        assert!(shows(&answers(direct(&server)), SECRET), "{what}");
    }
    // Over messages of one transaction, too.
    let over_messages = |mut client: Client| {
        client.query("BEGIN");
        client.send_all(&[bound(&copy), vec![sync()]].concat());
        client.read_until_ready();
        client.query(FIRST);
        client.send_all(&[execute("k", 0), sync()]);
        client.read_until_ready()
    };
    assert!(!shows(&over_messages(agent(pgveil.port())), SECRET));
    assert!(shows(&over_messages(direct(&server)), SECRET));
    // And it runs where nothing has changed.
    let mut client = agent(pgveil.port());
    client.send_all(&[bound(&copy), vec![execute("k", 0), sync()]].concat());
    assert!(shows(&client.read_until_ready(), "X\n"));
}

/// Triggers may do anything to temporary relations; their row types are there until somebody has looked.
#[test]
fn a_temporary_relation_that_is_not_read_has_a_row_type_still() {
    let (server, pgveil) = start(MORE);
    let touches = "UPDATE crm.contacts SET mood = mood WHERE id = 2";
    for texts in [
        vec![TYPE.to_owned(), ROWS.to_owned()],
        vec![TYPE.to_owned(), format!("{touches}; {ROWS}")],
        vec![format!("{TYPE}; {touches}; {ROWS}")],
    ] {
        assert!(!any_shows(&mut agent(pgveil.port()), &texts), "{texts:?}");
        assert!(any_shows(&mut direct(&server), &texts), "{texts:?}");
    }
    let batch = [runs(touches), runs(ROWS), vec![sync()]].concat();
    let in_batch = |mut client: Client| {
        client.query(TYPE);
        client.send_all(&batch);
        client.read_until_ready()
    };
    assert!(!shows(&in_batch(agent(pgveil.port())), SECRET));
    assert!(shows(&in_batch(direct(&server)), SECRET));
}

/// `ALTER ROLE ... SET role` makes of `"$user"` another schema.
#[test]
fn a_preset_role_has_its_own_schema() {
    let (server, pgveil) = start(
        "CREATE ROLE clerk; GRANT clerk TO agent; GRANT ALL ON crm.contacts TO clerk; GRANT USAGE ON SCHEMA crm TO clerk; \
         CREATE SCHEMA clerk AUTHORIZATION clerk; CREATE FUNCTION clerk.initcap(varchar) RETURNS text LANGUAGE sql STABLE \
         AS 'SELECT phone::text FROM crm.contacts WHERE id = 1'; ALTER ROLE agent SET role = 'clerk'",
    );
    let call = "SELECT initcap('x'::varchar)";
    assert!(shows(&direct(&server).query(call), SECRET));
    let mut client = agent(pgveil.port());
    let refused = error(&client.query(call)).expect("an error");
    assert!(refused.starts_with("42501 "), "{refused}");
    // Another function again, and back.
    client.query("SET ROLE NONE");
    assert_eq!(values(&client.query(call)), ["X"]);
    client.query("RESET ROLE");
    assert!(error(&client.query(call)).is_some_and(|error| error.starts_with("42501 ")));
}
