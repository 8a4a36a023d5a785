//! Client encodings other than UTF-8: texts are decoded, analysed and encoded again, and bytes that look like quotes or
//! backslashes inside a character stay inside it.
mod support;

use std::collections::BTreeMap;

use pgveil::session::charset::Charset;
use support::compare::{error, shows, told, values};
use support::message::{Client, Frame, bind, execute, frame, sync, tags};
use support::{Config, Options, Pgveil, Postgres};

const PHONE: &str = "13800138000";

const POLICY: &str = "
version: 1
data:
  phone: { columns: [public.people.phone] }
  name: { columns: [public.people.\"姓名\"] }
roles:
  agent:
    who: [{ db_user: agent }]
    mask: { phone: { show: { first: 3, last: 4 } }, name: { show: { first: 1, last: 0 } } }
  bare: { who: [{ db_user: bare }], unmasked: true }
unmatched: deny
";

fn start() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!(
            "CREATE ROLE agent LOGIN; CREATE ROLE bare LOGIN SUPERUSER; \
             CREATE TABLE people(id int PRIMARY KEY, phone text, \"姓名\" text); INSERT INTO people VALUES (1, '{PHONE}', '张晓明'); \
             CREATE TABLE latin(id int PRIMARY KEY, phone text); INSERT INTO latin VALUES (1, 'café'); \
             CREATE TABLE \"表\"(id int, \"名\" text); INSERT INTO \"表\" VALUES (1, '中文'), (2, 'x'); \
             GRANT ALL ON people, latin, \"表\" TO agent"
        ),
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn login(port: u16, encoding: &str) -> Client {
    let parameters = [
        ("user", "agent"),
        ("database", "postgres"),
        ("client_encoding", encoding),
    ];
    Client::try_login(port, "agent", "", &parameters).expect("a login")
}

fn run(client: &mut Client, text: &[u8]) -> Vec<Frame> {
    client.send(b'Q', &[text, b"\0"].concat());
    client.read_until_ready()
}

fn encoded(name: &str, text: &str) -> Vec<u8> {
    let charset = Charset::of(name, "UTF8");
    charset
        .encode(text)
        .unwrap_or_else(|| panic!("{text} in {name}"))
        .into_owned()
}

fn contains(frames: &[Frame], wanted: &[u8]) -> bool {
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn protected_data_is_masked_in_the_clients_encoding() {
    let (server, pgveil) = start();
    for name in ["GBK", "GB18030", "EUC_CN", "UTF8"] {
        let mut client = login(pgveil.port(), name);
        for text in [
            "SELECT phone, \"姓名\" FROM people WHERE \"姓名\" LIKE '张%'",
            "SELECT * FROM people",
            "SELECT p.\"姓名\" || '先生' AS 名, phone FROM people p",
            "COPY people TO STDOUT",
            "PREPARE 取 AS SELECT phone, \"姓名\" FROM people; EXECUTE 取",
            "CREATE TEMP TABLE 临时 AS SELECT * FROM people; SELECT * FROM 临时",
            "SELECT * FROM 临时",
        ] {
            let frames = run(&mut client, &encoded(name, text));
            assert!(
                contains(&frames, b"138****8000"),
                "{name} {text}: {frames:?}"
            );
            assert!(
                contains(&frames, &encoded(name, "张")),
                "{name} {text}: {frames:?}"
            );
            assert!(!shows(&frames, PHONE), "{name} {text}");
            assert!(!contains(&frames, &encoded(name, "晓明")), "{name} {text}");
        }
        // The poison control: directly the values show.
        let mut direct = Client::try_login(
            server.port(),
            "bare",
            "",
            &[
                ("user", "bare"),
                ("database", "postgres"),
                ("client_encoding", name),
            ],
        )
        .expect("a login");
        let frames = run(
            &mut direct,
            &encoded(name, "SELECT * FROM people WHERE \"姓名\" LIKE '张%'"),
        );
        assert!(contains(&frames, &encoded(name, "晓明")) && shows(&frames, PHONE));
    }
}

#[test]
fn unprotected_data_reads_as_without_pgveil() {
    let (server, pgveil) = start();
    for (name, texts) in [
        (
            "GBK",
            &[
                "SELECT \"名\" FROM \"表\" WHERE \"名\" = '中文'",
                "SELECT 名, 'é' FROM 表",
                "SELECT id FROM 表  WHERE 没有 = 1",
                "SELECT * FROM 没有",
                "SELEC 中文",
                "INSERT INTO 表 VALUES (3, '縗''\u{7e97}\\') RETURNING 名",
                "SELECT E'''縗\\\\' AS \"誠\"",
                "SELECT E'\\'縗'",
                "DROP TABLE IF EXISTS 没有",
            ][..],
        ),
        (
            "BIG5",
            &[
                "SELECT 名 FROM 表 WHERE 名 = '中文'",
                "SELECT '功', '許', '蓋', E'''功\\\\'",
            ],
        ),
        (
            "SJIS",
            &[
                "SELECT 名 FROM 表 WHERE 名 = '中文'",
                "SELECT '表', 'ソ能', 'ｱ', E'''表\\\\'",
            ],
        ),
        (
            "EUC_JP",
            &["SELECT 名 FROM 表 WHERE id = 1", "SELECT 'ソ能', 'ｱ'"],
        ),
        ("UHC", &["SELECT '똠방각하', '한'"]),
        ("EUC_KR", &["SELECT '한글'"]),
        (
            "LATIN1",
            &[
                "SELECT phone FROM latin WHERE phone = 'café'",
                "SELECT 'ÿ' AS \"é\"",
                "SELECT é FROM latin",
            ],
        ),
        (
            "WIN1252",
            &["SELECT phone, '€' FROM latin WHERE phone = 'café'"],
        ),
        ("KOI8R", &["SELECT 'Привет'"]),
        ("EUC_CN", &["SELECT '中・文――x'"]),
        ("EUC_TW", &["SELECT id FROM latin"]),
        ("JOHAB", &["SELECT id FROM latin"]),
        ("SQL_ASCII", &["SELECT id FROM latin", "SELECT 名 FROM 表"]),
    ] {
        let (mut through, mut direct) = (login(pgveil.port(), name), login(server.port(), name));
        for text in texts {
            // SQL_ASCII is the server's own encoding.
            let bytes = match name {
                "EUC_TW" | "JOHAB" => text.as_bytes().to_vec(),
                _ => encoded(name, text),
            };
            let (through, direct) = (run(&mut through, &bytes), run(&mut direct, &bytes));
            assert_eq!(told(&through), told(&direct), "{name} {text}");
            let rows = |frames: &[Frame]| -> Vec<Vec<u8>> {
                // Of errors and notices the line of PostgreSQL's source may be another.
                let rows = frames
                    .iter()
                    .filter(|frame| !matches!(frame.tag, b'E' | b'N'));
                rows.map(Frame::bytes).collect()
            };
            assert_eq!(rows(&through), rows(&direct), "{name} {text}");
        }
    }
}

#[test]
fn bytes_that_hide_ascii_do_not_get_through() {
    let (_server, pgveil) = start();
    for (name, text) in [
        // To who takes single bytes the literal ends before the column or goes on behind it.
        ("GBK", &b"SELECT '\xbf\x5c' || phone FROM people --'"[..]),
        ("GBK", b"SELECT '\xbf\x27 || phone FROM people --'"),
        (
            "GBK",
            b"SELECT E'\xbf\x5c' || phone || '\xbf\x5c' FROM people",
        ),
        ("GBK", b"SELECT E'\\\xbf\x27' || phone FROM people --'"),
        ("GBK", b"SELECT \"\xbf\x22, phone FROM people --\""),
        ("GBK", b"SELECT /*\xbf\x2a/ phone FROM people --*/"),
        ("GBK", b"SELECT '\x80' || phone || '\x80' FROM people"),
        (
            "GBK",
            b"SELECT $\xbf\x24$ || phone FROM people --$\xbf\x24$",
        ),
        ("BIG5", b"SELECT '\xa5\x5c' || phone FROM people --'"),
        ("SJIS", b"SELECT '\x95\x5c' || phone FROM people --'"),
        ("SJIS", b"SELECT '\xb1\x27' || phone FROM people --'"),
        ("GB18030", b"SELECT '\x81\x30\x27 || phone FROM people --'"),
        ("GB18030", b"SELECT '\x81\x27 || phone FROM people --'"),
        ("UHC", b"SELECT '\x81\x5c' || phone FROM people --'"),
        ("JOHAB", b"SELECT '\x84\x5c' || phone FROM people --'"),
        ("EUC_TW", b"SELECT '\x8e\xa1\x27 || phone FROM people --'"),
        ("LATIN1", b"SELECT '\xbf\x5c' || phone FROM people --'"),
        ("SQL_ASCII", b"SELECT '\xbf\x5c' || phone FROM people --'"),
        ("SQL_ASCII", b"SELECT '\xc0\x27 || phone FROM people --'"),
    ] {
        let mut client = login(pgveil.port(), name);
        let frames = run(&mut client, text);
        assert!(!shows(&frames, PHONE), "{name} {text:?}: {frames:?}");
        // The same in a Parse.
        client.send(b'P', &[b"\0", text, b"\0\0\0"].concat());
        client.send_all(&[bind("", "", &[], 0), execute("", 0), sync()]);
        let frames = client.read_until_ready();
        assert!(!shows(&frames, PHONE), "{name} {text:?}: {frames:?}");
        assert_eq!(tags(&client.query("SELECT 1")), "TDCZ");
    }
}

#[test]
fn what_cannot_be_read_or_written_exactly_is_refused_with_a_way_out() {
    let (_server, pgveil) = start();
    for (name, text) in [
        ("GBK", &b"SELECT '\xbf\x27'"[..]),
        ("JOHAB", b"SELECT '\xd0\x65'"),
        ("UTF8", b"SELECT '\xff'"),
        // Its template names a column that Latin 1 cannot write.
        ("LATIN1", b"SELECT phone FROM people"),
    ] {
        let mut client = login(pgveil.port(), name);
        let frames = run(&mut client, text);
        let (sqlstate, message) = error(&frames).expect("an error");
        assert_eq!(sqlstate, "22021", "{name}: {message}");
        assert!(
            frames.iter().any(|frame| frame.field(b'H').is_some()),
            "{name}: {frames:?}"
        );
    }
}

#[test]
fn the_encoding_follows_the_session() {
    let (_server, pgveil) = start();
    let mut client = login(pgveil.port(), "UTF8");
    let mut check = |name: &str, text: &str| {
        let frames = run(&mut client, &encoded(name, text));
        assert_eq!(error(&frames), None, "{name} {text}: {frames:?}");
        values(&frames)
    };
    let counts = "SELECT count(*)::text FROM 表 WHERE 名 = '中文'";
    assert_eq!(check("UTF8", counts), ["1"]);
    check("UTF8", "SET client_encoding TO 'GBK'");
    assert_eq!(check("GBK", counts), ["1"]);
    check("GBK", "BEGIN; SET LOCAL client_encoding = 'BIG5'");
    assert_eq!(check("BIG5", counts), ["1"]);
    check("BIG5", "SAVEPOINT s; SET client_encoding = 'SJIS'");
    assert_eq!(check("SJIS", counts), ["1"]);
    check("SJIS", "ROLLBACK TO s");
    assert_eq!(check("BIG5", counts), ["1"]);
    check("BIG5", "COMMIT");
    assert_eq!(check("GBK", counts), ["1"]);
    check(
        "GBK",
        "BEGIN; SELECT set_config('client_encoding', 'SJIS', false)",
    );
    assert_eq!(check("SJIS", counts), ["1"]);
    check("SJIS", "ROLLBACK");
    assert_eq!(check("GBK", counts), ["1"]);
    check("GBK", "RESET client_encoding");
    assert_eq!(check("UTF8", counts), ["1"]);
    check("UTF8", "SET NAMES 'EUC_JP'");
    assert_eq!(check("EUC_JP", counts), ["1"]);
    check("EUC_JP", "RESET ALL");
    assert_eq!(check("UTF8", counts), ["1"]);
    // In one batch the encoding in force is not known before: what needs it is refused, ASCII is not.
    let parse = |bytes: &[u8]| frame(b'P', &[b"\0", bytes, b"\0\0\0"].concat());
    client.send_all(&[
        parse(b"SET client_encoding TO 'GBK'"),
        bind("", "", &[], 0),
        execute("", 0),
        parse(b"SELECT 1"),
        bind("", "", &[], 0),
        execute("", 0),
        parse(&encoded("GBK", counts)),
        sync(),
    ]);
    let frames = client.read_until_ready();
    assert_eq!(error(&frames).expect("an error").0, "22021", "{frames:?}");
}

/// Every character that pgveil accepts is the one that the server makes of the same bytes.
#[test]
fn the_tables_agree_with_the_servers() {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE FUNCTION of_bytes(e name, b bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \
         $$ BEGIN RETURN convert_from(b, e); EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$",
    );
    let singles: Vec<Vec<u8>> = (0x80..=0xffu8).map(|byte| vec![byte]).collect();
    let doubles =
        || (0x80..=0xffu8).flat_map(|lead| (1..=0xffu8).map(move |trail| vec![lead, trail]));
    let mut failures = Vec::new();
    for name in [
        "GBK",
        "BIG5",
        "SJIS",
        "UHC",
        "EUC_CN",
        "EUC_KR",
        "EUC_JP",
        "GB18030",
        "LATIN1",
        "LATIN2",
        "LATIN3",
        "LATIN4",
        "LATIN5",
        "LATIN6",
        "LATIN7",
        "LATIN8",
        "LATIN9",
        "LATIN10",
        "ISO_8859_5",
        "ISO_8859_6",
        "ISO_8859_7",
        "ISO_8859_8",
        "KOI8R",
        "KOI8U",
        "WIN866",
        "WIN874",
        "WIN1250",
        "WIN1251",
        "WIN1252",
        "WIN1253",
        "WIN1254",
        "WIN1255",
        "WIN1256",
        "WIN1257",
        "WIN1258",
    ] {
        let charset = Charset::of(name, "UTF8");
        let mut codes = singles.clone();
        codes.extend(doubles());
        if name == "GB18030" {
            codes.extend(
                (0x81..=0x84u8)
                    .flat_map(|a| (0x30..=0x39u8).map(move |b| (a, b)))
                    .flat_map(|(a, b)| {
                        (0x81..=0xfeu8)
                            .step_by(5)
                            .map(move |c| vec![a, b, c, 0x30 + c % 10])
                    }),
            );
        }
        let accepted: BTreeMap<String, String> = codes
            .iter()
            .filter_map(|code| {
                let text = charset.decode(code).ok()?;
                if text.chars().count() > 1 {
                    return None;
                }
                let digits = code.iter().map(|byte| format!("{byte:02x}")).collect();
                Some((digits, text.into_owned()))
            })
            .collect();
        assert!(
            accepted.len() > 60,
            "{name} accepts {} codes",
            accepted.len()
        );
        let list: Vec<&str> = accepted.keys().map(String::as_str).collect();
        let text = format!(
            "SELECT c, of_bytes('{name}', decode(c, 'hex')) FROM unnest('{{{}}}'::text[]) c",
            list.join(",")
        );
        let rows =
            support::query(server.port(), "postgres", None, "postgres", &text).expect("rows");
        for row in rows {
            let [Some(code), meant] = row.as_slice() else {
                panic!("{row:?}")
            };
            // What the server does not read at all it refuses by itself.
            if let Some(meant) = meant
                && *meant != accepted[code]
            {
                failures.push(format!(
                    "{name} {code}: {meant:?} is read as {:?}",
                    accepted[code]
                ));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} characters:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// The server of a LATIN1 database cuts names off at other places than UTF-8 has them, and may make capital letters
/// small. So two names that look like one could be two: the second here leads past an alias to the stored value.
#[test]
fn names_that_the_server_may_read_as_others_are_refused() {
    let (server, pgveil) = start_latin1();
    let long = "é".repeat(40);
    let update = |bytes: &str| {
        format!(
            "UPDATE people {long}a SET note = (SELECT {long}{bytes}.phone FROM (VALUES ('x')) AS {long}b(phone)) RETURNING note"
        )
    };
    let login = |port: u16, user: &str| {
        let parameters = [
            ("user", user),
            ("database", "latin1"),
            ("client_encoding", "UTF8"),
        ];
        Client::try_login(port, user, "", &parameters).expect("a login")
    };
    let mut direct = login(server.port(), "bare");
    for (bytes, stored) in [("a", true), ("b", false)] {
        direct.query("BEGIN");
        let frames = run(&mut direct, update(bytes).as_bytes());
        assert_eq!(shows(&frames, PHONE), stored, "{frames:?}");
        direct.query("ROLLBACK");
    }
    let mut client = login(pgveil.port(), "agent");
    for text in [
        update("a"),
        update("b"),
        "UPDATE people é SET note = É.phone RETURNING note".to_owned(),
        "WITH \"É\" AS (SELECT 1) SELECT * FROM É".to_owned(),
    ] {
        let frames = run(&mut client, text.as_bytes());
        let found = error(&frames).map(|(sqlstate, _)| sqlstate);
        assert_eq!(found.as_deref(), Some("42501"), "{text}: {frames:?}");
        assert!(!shows(&frames, PHONE), "{text}");
    }
    for text in [
        "SELECT 'É', phone AS \"É\", note AS é FROM people",
        "UPDATE people \"É\" SET note = \"É\".phone RETURNING note",
    ] {
        let frames = run(&mut client, text.as_bytes());
        assert_eq!(error(&frames), None, "{text}: {frames:?}");
        assert!(contains(&frames, b"138****8000"), "{text}: {frames:?}");
    }
}

fn start_latin1() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE ROLE agent LOGIN; CREATE ROLE bare LOGIN SUPERUSER",
    );
    server.sql(
        "postgres",
        "CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    server.sql(
        "latin1",
        &format!(
            "CREATE TABLE people(id int PRIMARY KEY, phone text, note text); INSERT INTO people VALUES (1, '{PHONE}', 'n'); \
             GRANT ALL ON people TO agent"
        ),
    );
    let mut config = Config::new(&server);
    config.policy(
        &POLICY
            .replace("  name: { columns: [public.people.\"姓名\"] }\n", "")
            .replace(", name: { show: { first: 1, last: 0 } }", ""),
    );
    config.set(
        "upstream",
        &format!(
            "{{ host: 127.0.0.1, port: {}, tls: disable, catalog_user: {{ name: postgres }}, databases: [latin1] }}",
            server.port()
        ),
    );
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}
