//! What is left of a statement that was stopped, has failed or gave no row: nothing that tells what rows hold.
use crate::support::compare::{error, values};
use crate::support::message::{Client, bind, execute, parse, query, sync};
use crate::support::{Config, Pgveil};
use crate::{BOTH, CONTACTS, Taken, login, policy, server, start, stopped, told};

/// Messages, in groups that are sent in one write each.
type Groups = Vec<Vec<Vec<u8>>>;

const CANDIDATES: &str = "CREATE TEMP TABLE mine AS SELECT 'k' || lpad(n::text, 4, '0') || 'x' AS code FROM generate_series(0, 9999) n";

#[test]
fn a_temporary_table_is_not_read_after_a_write_that_did_not_end_well() {
    let (_server, pgveil) = start(BOTH);
    for (number, failing) in [
        "UPDATE mine SET code = code WHERE code IN (SELECT code FROM contacts)",
        "DELETE FROM mine WHERE code IN (SELECT code FROM contacts)",
        "INSERT INTO mine SELECT code FROM contacts",
        "INSERT INTO mine SELECT code FROM contacts WHERE id < 9 AND 1 / (id - 8) < 9",
        "PREPARE p AS UPDATE mine SET code = code WHERE code IN (SELECT code FROM contacts); EXECUTE p",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        assert!(told(&client.query(CANDIDATES)).is_none());
        let ended = failing
            .split("; ")
            .map(|text| client.query(text))
            .find_map(|frames| told(&frames));
        assert!(ended.is_some(), "{failing}: it has an end");
        for read in [
            "SELECT ctid, code FROM mine",
            "UPDATE mine SET code = code RETURNING code",
            "COPY mine TO STDOUT",
            "SELECT code FROM mine TABLESAMPLE SYSTEM (1)",
        ] {
            let frames = client.query(read);
            assert!(told(&frames).is_some(), "{failing}: {read}");
            assert!(values(&frames).is_empty(), "{failing}: {read}");
        }
        assert!(told(&client.query("DROP TABLE mine")).is_none(), "{failing}");
        assert!(told(&client.query(CANDIDATES)).is_none(), "{failing}");
        let frames = client.query("SELECT ctid, code FROM mine LIMIT 3");
        assert_eq!(values(&frames).len(), 3, "{failing}: made anew it is read");
    }
}

/// What is written along with it is not read either.
#[test]
fn what_refers_to_such_a_table_is_not_read() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u3");
    for text in [
        "CREATE TEMP TABLE parent (code text PRIMARY KEY)",
        "CREATE TEMP TABLE mine (code text REFERENCES parent ON UPDATE CASCADE)",
        "INSERT INTO parent SELECT 'k' || lpad(n::text, 4, '0') || 'x' FROM generate_series(0, 9999) n",
        "INSERT INTO mine SELECT code FROM parent",
    ] {
        assert!(told(&client.query(text)).is_none(), "{text}");
    }
    let write = "UPDATE parent SET code = code || 'y' WHERE code IN (SELECT code FROM contacts)";
    assert!(stopped(&told(&client.query(write))));
    assert!(told(&client.query("SELECT ctid FROM mine")).is_some());
    client.query("DROP TABLE mine, parent");
    assert!(told(&client.query(CANDIDATES)).is_none());
    assert_eq!(
        values(&client.query("SELECT code FROM mine LIMIT 3")).len(),
        3
    );
}

/// Without limits nothing is taken back, and nothing is kept from being read.
#[test]
fn a_write_that_failed_over_unprotected_rows_leaves_temporary_tables_readable() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u3");
    for text in [
        CANDIDATES,
        "INSERT INTO mine SELECT 'x' || 1 / (id - 8) FROM plain",
    ] {
        client.query(text);
    }
    let frames = client.query("SELECT ctid, code FROM mine LIMIT 3");
    assert_eq!(values(&frames).len(), 3);
}

#[test]
fn places_of_rows_that_nobody_counts_are_not_told() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u3");
    for (text, open) in [
        ("SELECT ctid, id FROM plain", false),
        ("SELECT id FROM plain TABLESAMPLE SYSTEM (1)", false),
        (
            "UPDATE plain SET id = id WHERE id = 1 RETURNING ctid",
            false,
        ),
        ("SELECT ctid, code FROM contacts LIMIT 1", true),
        ("SELECT ctid FROM pg_namespace LIMIT 1", true),
    ] {
        assert_eq!(told(&client.query(text)).is_none(), open, "{text}");
    }
}

#[test]
fn a_statement_that_fails_over_rows_or_draws_numbers_for_them_costs_a_row() {
    let (_server, pgveil) = start(BOTH);
    let runs = |client: &mut Client, text: &str, times: usize| {
        let mut ended = (0..times).map(|_| client.query(text));
        ended.position(|frames| stopped(&told(&frames)))
    };
    for (number, text) in [
        "SELECT 1 / (id - 7) FROM contacts WHERE id = 7",
        "SELECT (CASE WHEN code LIKE 'k%' THEN 'a' ELSE '1' END)::int FROM contacts WHERE id = 7",
        "SELECT 1 FROM contacts c WHERE id = 7 AND (SELECT count(random()) FROM generate_series(1, c.id)) < 0",
        "DO_EXTENDED",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let text = match text {
            "DO_EXTENDED" => {
                client.query("PREPARE p AS SELECT 1 / (id - 7) FROM contacts WHERE id = 7");
                "EXECUTE p"
            }
            text => text,
        };
        assert_eq!(runs(&mut client, text, 320), Some(300), "{text}");
        // What has failed goes on failing, and the rest goes on.
        let frames = client.query("SELECT 1 / (id - 7) FROM plain WHERE id = 7");
        assert_eq!(told(&frames).map(|told| told.message.clone()).as_deref(), Some("division by zero"));
        assert!(told(&client.query("SELECT 1")).is_none(), "{text}");
    }
    // What analysis says is not about rows.
    let mut client = login(&pgveil, "u30");
    assert_eq!(runs(&mut client, "SELECT nothing FROM contacts", 310), None);
    assert_eq!(
        runs(&mut client, "SELECT id FROM contacts WHERE id = 0", 310),
        None
    );
}

#[test]
fn what_keeps_values_at_the_server_is_closed() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u3");
    for text in [
        "SELECT count(*) FROM contacts WHERE (pg_get_object_address('table', ARRAY[code], '{}')).objid > 0",
        "SELECT count(*) FROM contacts WHERE CASE WHEN id = 7 THEN pg_get_viewdef('pg_class'::regclass) > '' ELSE true END",
        "SELECT count(*) FROM contacts WHERE CASE WHEN id = 7 THEN pg_terminate_backend(1) ELSE true END",
        "SELECT pg_cancel_backend(id) FROM contacts WHERE id = 7",
    ] {
        let told = told(&client.query(text)).unwrap_or_else(|| panic!("{text} is refused"));
        assert!(told.message.contains("keeps values"), "{text}: {told:?}");
    }
    for text in [
        "SELECT pg_get_viewdef('pg_tables'::regclass)",
        "SELECT pg_cancel_backend(0)",
        "SELECT count(*) FROM pg_locks",
    ] {
        assert!(told(&client.query(text)).is_none(), "{text}");
    }
}

#[test]
fn predicate_locks_are_not_shown_where_rows_are_counted() {
    let (server, pgveil) = start("rows: 10");
    let mut client = login(&pgveil, "u3");
    let locks = "SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock'";
    client.query("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM plain WHERE id = 7");
    assert_ne!(server.sql("postgres", locks)[0][0].as_deref(), Some("0"));
    assert_eq!(values(&client.query(locks)), ["0"]);
}

#[test]
fn values_that_rows_take_over_from_others_count() {
    let (server, pgveil) = start(BOTH);
    let all = || server.sql("postgres", "SELECT sum(hashtext(code)) FROM contacts");
    let before = all();
    for (number, text) in [
        "UPDATE contacts a SET code = b.code FROM contacts b WHERE b.id = a.id + 1",
        "UPDATE contacts a SET code = (SELECT b.code FROM contacts b WHERE b.id = a.id + 1)",
        "MERGE INTO contacts a USING contacts b ON b.id = a.id + 1 WHEN MATCHED THEN UPDATE SET code = b.code",
        "INSERT INTO contacts SELECT a.id + 10000, b.code, a.phone FROM contacts a, contacts b WHERE b.id = a.id + 1",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        assert!(stopped(&told(&client.query(text))), "{text}");
        assert_eq!(all(), before, "{text}: taken back");
        let few = text.replace("= a.id + 1", "= a.id + 1 AND a.id <= 20");
        let few = format!("BEGIN; {few}");
        assert!(told(&client.query(&few)).is_some(), "one of several statements");
        client.query("ROLLBACK");
        client.query("BEGIN");
        let few = text.replace("= a.id + 1", "= a.id + 1 AND a.id <= 20");
        let few = few.replace("a.id + 1 AND a.id <= 20)", "a.id + 1) WHERE id <= 20");
        assert!(told(&client.query(&few)).is_none(), "{few}");
        client.query("ROLLBACK");
    }
    let mut client = login(&pgveil, "u30");
    for text in [
        "UPDATE contacts SET code = upper(code)",
        "UPDATE contacts SET code = code || 'x' FROM plain WHERE plain.id = contacts.id",
    ] {
        client.query("BEGIN");
        let frames = client.query(text);
        assert!(told(&frames).is_none(), "{text}: {:?}", error(&frames));
        client.query("ROLLBACK");
    }
}

#[test]
fn rows_that_were_locked_are_free_when_the_statement_was_stopped() {
    let (_server, pgveil) = start(BOTH);
    let locking =
        "SELECT p.id FROM plain p WHERE p.id IN (SELECT id FROM contacts) FOR UPDATE OF p";
    let mut one = login(&pgveil, "u3");
    let mut other = login(&pgveil, "u4");
    for prepares in [false, true] {
        one.query("BEGIN");
        let frames = match prepares {
            true => {
                one.query(&format!("PREPARE p AS {locking}"));
                one.query("EXECUTE p")
            }
            false => one.query(locking),
        };
        assert!(stopped(&told(&frames)), "{:?}", told(&frames));
        assert_eq!(frames.last().map(|frame| frame.body[0]), Some(b'E'));
        let free = values(&other.query("SELECT id FROM plain FOR UPDATE SKIP LOCKED"));
        assert_eq!(free.len(), CONTACTS, "prepared: {prepares}");
        one.query("ROLLBACK");
    }
    // Within the limit the locks stay until the transaction ends.
    one.query("BEGIN");
    let few = locking.replace("FROM contacts", "FROM contacts WHERE id <= 20");
    assert_eq!(values(&one.query(&few)).len(), 20);
    let free = values(&other.query("SELECT id FROM plain FOR UPDATE SKIP LOCKED"));
    assert_eq!(free.len(), CONTACTS - 20);
}

#[test]
fn separators_are_not_looked_for_in_an_encoding_that_is_changing() {
    let (_server, pgveil) = start(BOTH);
    let list = "SELECT string_agg(code, 'é') FROM contacts WHERE id <= 60";
    for (number, texts) in [
        vec![format!("SET client_encoding = 'LATIN1'; {list}")],
        vec![format!(
            "BEGIN; SET LOCAL client_encoding = 'LATIN1'; {list}; COMMIT"
        )],
        vec![
            "BEGIN; SET LOCAL client_encoding = 'LATIN1'".to_owned(),
            format!("COMMIT; {}", list.replace('é', "')||U&'\\00e9'||('")),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let mut taken = Taken::default();
        taken.run(&mut client, texts.clone());
        assert!(taken.count() <= 20, "{}: {texts:?}", taken.count());
    }
    // Known, it is looked for.
    let mut client = login(&pgveil, "u30");
    let mut taken = Taken::default();
    taken.run(&mut client, [list.to_owned()]);
    assert_eq!(taken.count(), 60);
    client.send_all(&[query("SET client_encoding = 'UTF8'"), query(list)]);
    client.read_until_ready();
    assert!(
        !stopped(&told(&client.read_until_ready())),
        "behind its own answer"
    );
}

/// Each stores every code of `contacts` in one row, or some hundred in as many.
#[test]
fn what_is_stored_counts_whatever_the_command_tag_says() {
    let server = server(&[]);
    server.sql(
        "postgres",
        "CREATE TABLE sink(id int, code text, owner text); CREATE TABLE kept(LIKE sink); \
         CREATE ROLE own LOGIN; GRANT ALL ON contacts, plain TO own; GRANT ALL ON sink, kept TO PUBLIC",
    );
    let mut config = Config::new(&server);
    let own = "  own: { who: [{ db_user: own }], rows: { public.kept: \"owner = {db_user}\" }, export: { rows: 10 } }\nunmatched: deny\n";
    config.policy(&policy("rows: 100").replace("unmatched: deny\n", own));
    let pgveil = Pgveil::start(&config);
    let text = |text: &str| vec![query(text)];
    let bound = |text: &str| vec![parse("", text, &[]), bind("p", "", &[], 0), sync()];
    let gathered = "SELECT 1, string_agg(code, ','), 'own' FROM contacts";
    let all = "SELECT id, code FROM contacts";
    let ways: Vec<(&str, &str, Groups)> = vec![
        (
            "RETURNING of a gathered row",
            "u3",
            vec![text(&format!("INSERT INTO sink {gathered} RETURNING 1"))],
        ),
        (
            "COPY of it",
            "u4",
            vec![text(&format!(
                "COPY (INSERT INTO sink {gathered} RETURNING 1) TO STDOUT"
            ))],
        ),
        (
            "a gathered row under a row rule",
            "own",
            vec![text(&format!("INSERT INTO kept {gathered}"))],
        ),
        (
            "MOVE in a portal",
            "u5",
            vec![
                text("BEGIN"),
                bound(&format!("INSERT INTO sink {all} RETURNING 1")),
                text("MOVE 1 FROM p"),
                text("COMMIT"),
            ],
        ),
        (
            "FETCH in a portal",
            "u6",
            vec![
                text("BEGIN"),
                bound(&format!("INSERT INTO sink {all} RETURNING 1")),
                vec![
                    parse("", "FETCH 1 FROM p", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                ],
                text("COMMIT"),
            ],
        ),
        (
            "a portal that is suspended",
            "u7",
            vec![
                text("BEGIN"),
                bound(&format!("INSERT INTO sink {all} RETURNING 1")),
                vec![execute("p", 1), sync()],
                text("COMMIT"),
            ],
        ),
        (
            "EXECUTE of a name that is given anew",
            "u8",
            vec![
                text("PREPARE x AS SELECT 1"),
                text("BEGIN"),
                bound("EXECUTE x"),
                text("DEALLOCATE x"),
                text(&format!("PREPARE x AS INSERT INTO sink {all}")),
                vec![execute("p", 0), sync()],
                text("COMMIT"),
            ],
        ),
        (
            "EXECUTE of a name that is given anew, in a batch",
            "u9",
            vec![
                text("PREPARE x AS SELECT 1"),
                [
                    vec![parse("", "EXECUTE x", &[]), bind("p", "", &[], 0)],
                    [
                        "DEALLOCATE x",
                        &format!("PREPARE x AS INSERT INTO sink {all}"),
                    ]
                    .iter()
                    .flat_map(|text| {
                        vec![parse("", text, &[]), bind("", "", &[], 0), execute("", 0)]
                    })
                    .collect(),
                    vec![execute("p", 0), sync()],
                ]
                .into_iter()
                .flatten()
                .map(|message| vec![message])
                .collect::<Vec<_>>()
                .concat(),
            ],
        ),
    ];
    for (name, user, groups) in ways {
        let mut client = login(&pgveil, user);
        let frames = client.exchange(&groups);
        assert!(
            told(&frames).is_some(),
            "{name}: nothing was refused or stopped"
        );
        let stored = server.sql(
            "postgres",
            "SELECT coalesce(sum(length(code)), 0)::int FROM (TABLE sink UNION ALL TABLE kept) x",
        );
        assert_eq!(stored[0][0].as_deref(), Some("0"), "{name}");
    }
    // Few are stored in each of these ways that is not refused.
    let few = |id: usize| format!("INSERT INTO sink {all} WHERE id <= {id}");
    let mut client = login(&pgveil, "u20");
    let frames = client.exchange(&[
        text(&format!("{} RETURNING 1", few(3))),
        text(&format!("PREPARE x AS {}", few(4))),
        bound("EXECUTE x"),
        vec![
            parse("", "EXECUTE x", &[]),
            bind("", "", &[], 0),
            execute("", 0),
            sync(),
        ],
        text("EXECUTE x"),
    ]);
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
    assert_eq!(
        server.sql("postgres", "SELECT count(*) FROM sink")[0][0].as_deref(),
        Some("11")
    );
}

/// Rows that a write gives back count, and the client is told of an error: then nothing was written.
#[test]
fn a_write_whose_returning_was_stopped_is_taken_back() {
    let (server, pgveil) = start(BOTH);
    let state = || {
        server.sql(
            "postgres",
            "SELECT count(*), min(id), sum(length(code)) FROM contacts",
        )
    };
    let before = state();
    for (number, text) in [
        "UPDATE contacts SET code = code || 'y' RETURNING id",
        "DELETE FROM contacts RETURNING id",
        "DELETE FROM contacts RETURNING 1",
        "INSERT INTO contacts SELECT id + 10000, code, phone FROM contacts RETURNING id",
        "WITH w AS (DELETE FROM contacts RETURNING id) SELECT id FROM w",
        "PREPARE p AS DELETE FROM contacts RETURNING id",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        for begin in [true, false] {
            if begin {
                client.query("BEGIN");
            }
            let mut frames = client.query(text);
            if text.starts_with("PREPARE") {
                frames = client.query("EXECUTE p");
            }
            assert!(stopped(&told(&frames)), "{text}: {:?}", told(&frames));
            let status = if begin { b'E' } else { b'I' };
            assert_eq!(
                frames.last().map(|frame| frame.body[0]),
                Some(status),
                "{text}"
            );
            client.query("COMMIT");
            client.query("DEALLOCATE ALL");
            assert_eq!(state(), before, "{text}, in a transaction: {begin}");
        }
        let frames = client.exchange(&[vec![
            parse("", text.trim_start_matches("PREPARE p AS "), &[]),
            bind("", "", &[], 0),
            execute("", 0),
            sync(),
        ]]);
        assert!(stopped(&told(&frames)), "{text}: {:?}", told(&frames));
        assert_eq!(state(), before, "{text}, by messages");
    }
}

/// An ORM asks for the keys of what it has stored.
#[test]
fn rows_that_an_insert_brings_itself_do_not_count_where_it_gives_them_back() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u3");
    let rows: Vec<String> = (10_000..10_400)
        .map(|id| format!("({id}, 'c', 'p')"))
        .collect();
    let rows = rows.join(", ");
    for (text, counts) in [
        (format!("INSERT INTO contacts VALUES {rows} RETURNING id"), false),
        // All of them are there by now, and it says so.
        (format!("INSERT INTO contacts VALUES {rows} ON CONFLICT DO NOTHING RETURNING id"), true),
        (format!("INSERT INTO contacts VALUES {rows} ON CONFLICT DO NOTHING"), false),
        (
            format!("WITH w AS (INSERT INTO contacts VALUES {} RETURNING id) SELECT id FROM w", rows.replace("(1", "(2")),
            false,
        ),
        ("INSERT INTO contacts SELECT n, 'c', 'p' FROM generate_series(30000, 30400) n RETURNING id".to_owned(), false),
        (format!("INSERT INTO contacts VALUES {rows} ON CONFLICT (id) DO UPDATE SET code = 'd' RETURNING id"), true),
        (
            "INSERT INTO contacts SELECT id + 40000, 'c', 'p' FROM plain WHERE id <= 400 RETURNING id, (SELECT max(code) FROM contacts)".to_owned(),
            true,
        ),
    ] {
        let frames = client.query(&text);
        assert_eq!(stopped(&told(&frames)), counts, "{}: {:?}", &text[..60], told(&frames));
    }
}

#[test]
fn statistics_of_counted_and_of_temporary_tables_are_null() {
    let server = server(&[]);
    server.sql(
        "postgres",
        "CREATE ROLE open LOGIN; GRANT ALL ON contacts, plain TO open; ANALYZE contacts; ANALYZE plain",
    );
    let mut config = Config::new(&server);
    let open = "  open: { who: [{ db_user: open }], export: { rows: 10 } }\nunmatched: deny\n";
    config.policy(&policy(BOTH).replace("unmatched: deny\n", open));
    let pgveil = Pgveil::start(&config);
    let bounds = |client: &mut Client, table: &str| {
        let column = if table == "plain" { "id" } else { "code" };
        let sql = format!(
            "SELECT coalesce(histogram_bounds::text, '-') FROM pg_stats WHERE tablename = '{table}' AND attname = '{column}'"
        );
        values(&client.query(&sql)).concat()
    };
    let mut client = login(&pgveil, "open");
    assert_eq!(bounds(&mut client, "contacts"), "-");
    assert!(bounds(&mut client, "plain").starts_with('{'));
    for user in ["open", "u3"] {
        let mut client = login(&pgveil, user);
        client.query("CREATE TEMP TABLE mine AS SELECT * FROM plain; ALTER TABLE mine RENAME id TO code; ANALYZE mine");
        assert_eq!(bounds(&mut client, "mine"), "-", "{user}");
    }
}
