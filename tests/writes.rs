//! Writes of a restricted role to masked tables: a form that shows masks and is saved changes nothing behind them, a
//! new value is stored, and what the server says about the statement is what it says without pgveil.
mod support;

use std::thread;

use support::message::{Client, Frame, bind, describe, execute, parse, sync};
use support::{Config, Options, Pgveil, Postgres};

const POLICY: &str = r#"
version: 1
data:
  name: { columns: [public.form.name] }
  phone: { columns: [public.form.phone, public.form.code] }
  email: { columns: [public.form.email] }
  secret: { columns: [public.form.note, public.form.card, public.form.gone] }
  salary: { columns: [public.form.salary] }
  born: { columns: [public.form.born] }
  open: { columns: [public.form.profile, public.form.raw] }
  custom: { columns: [public.form.custom, public.form.custom_text] }
  numbers: { columns: [public.form.numbers] }
  extra: { columns: [public.form.extra] }
roles:
  agent:
    who: [{ db_user: agent }]
    mask:
      name: { show: { first: 1, last: 0 } }
      phone: { show: { first: 3, last: 4 } }
      email: { email: { first: 1 } }
      secret: redact
      salary: { bucket: 5000 }
      born: { truncate: year }
      open: "null"
      custom: { json: { phone: { show: { first: 3, last: 4 } }, "others[*].number": redact } }
      numbers: { show: { first: 3, last: 4 } }
      extra: { json: { "gone": "null", "kinds[*].gone": "null" } }
  clear: { who: [{ db_user: clear }], unmasked: true }
unmatched: deny
"#;

const TABLE: &str = "CREATE DOMAIN digits AS text CHECK (VALUE ~ '^[0-9]*$'); \
     CREATE TABLE form (id int PRIMARY KEY, name text NOT NULL, phone varchar(20), code digits, email text, note text, \
       card char(18), gone uuid, salary numeric(12,2), born date, profile jsonb, raw json, tags text[], custom jsonb, custom_text json, numbers text[], extra jsonb, version int DEFAULT 0); \
     INSERT INTO form VALUES (1, '张伟', '13800138000', '4915112345678', 'zhang@example.com', 'vip', '11010519491231002X', \
       '6b2f0c2e-9e0c-4a65-8b8e-3d7c3d1f0a11', 48763.21, '1949-12-31', '{\"a\": 1}', '{\"a\":  1}', '{x}', NULL, NULL, NULL), \
       (2, '李娜', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
const MASKED: &[&str] = &[
    "name", "phone", "code", "email", "note", "card", "gone", "salary", "born", "profile", "raw",
];

struct Bench {
    server: Postgres,
    pgveil: Pgveil,
}

fn start() -> Bench {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!("CREATE ROLE agent LOGIN; CREATE ROLE clear LOGIN SUPERUSER; {TABLE}; GRANT ALL ON form TO agent"),
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    Bench { server, pgveil }
}

impl Bench {
    fn agent(&self) -> Client {
        Client::login(self.pgveil.port(), "agent", "", "postgres")
    }

    fn stored(&self) -> Vec<Vec<Option<String>>> {
        self.server
            .sql("postgres", "SELECT f::text FROM form f ORDER BY id")
    }
}

fn errors(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .filter(|frame| frame.tag == b'E')
        .map(|frame| format!("{:?} {:?}", frame.field(b'C'), frame.field(b'M')))
        .collect()
}

/// The cells of the first row.
fn cells(frames: &[Frame]) -> Vec<Option<String>> {
    let row = frames
        .iter()
        .find(|frame| frame.tag == b'D')
        .expect("a row");
    let mut rest = &row.body[2..];
    let mut cells = Vec::new();
    while !rest.is_empty() {
        let length = i32::from_be_bytes(rest[..4].try_into().expect("four bytes"));
        rest = &rest[4..];
        match usize::try_from(length) {
            Ok(length) => {
                cells.push(Some(String::from_utf8_lossy(&rest[..length]).into_owned()));
                rest = &rest[length..];
            }
            Err(_) => cells.push(None),
        }
    }
    cells
}

fn tag(frames: &[Frame]) -> String {
    frames
        .iter()
        .filter(|frame| frame.tag == b'C')
        .map(|frame| {
            String::from_utf8_lossy(&frame.body)
                .trim_end_matches('\0')
                .to_owned()
        })
        .collect::<Vec<_>>()
        .join("; ")
}

fn literal(value: Option<&String>) -> String {
    value.map_or("NULL".to_owned(), |value| {
        format!("'{}'", value.replace('\'', "''"))
    })
}

#[test]
fn saving_a_form_of_masks_keeps_what_is_stored() {
    let bench = start();
    let before = bench.stored();
    for id in [1, 2] {
        let mut client = bench.agent();
        let shown = cells(&client.query(&format!(
            "SELECT {} FROM form WHERE id = {id}",
            MASKED.join(", ")
        )));
        let named = || MASKED.iter().zip(&shown);
        let each: Vec<String> = named()
            .map(|(name, value)| format!("{name} = {}", literal(value.as_ref())))
            .collect();
        let values: Vec<String> = shown.iter().map(|value| literal(value.as_ref())).collect();
        let parameters: Vec<String> = (1..=MASKED.len()).map(|n| format!("${n}")).collect();
        let set: Vec<String> = named()
            .zip(&parameters)
            .map(|((name, _), n)| format!("{name} = {n}"))
            .collect();
        let is_offered = |name: &str| name != "code";
        let offered: Vec<&str> = MASKED
            .iter()
            .copied()
            .filter(|name| is_offered(name))
            .collect();
        let offered = offered.join(", ");
        let offered_values: Vec<&str> = MASKED
            .iter()
            .zip(&values)
            .filter(|(name, _)| is_offered(name))
            .map(|(_, value)| value.as_str())
            .collect();
        let offered_values = offered_values.join(", ");
        let (columns, values) = (MASKED.join(", "), values.join(", "));
        let excluded: Vec<String> = MASKED
            .iter()
            // The row to insert must itself be one that the table takes: the mask of a domain's value may not be.
            .filter(|name| is_offered(name))
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        for (how, text) in [
            (
                "literals",
                format!("UPDATE form SET {} WHERE id = {id}", each.join(", ")),
            ),
            (
                "a row",
                format!("UPDATE form f SET ({columns}) = ({values}) WHERE f.id = {id}"),
            ),
            (
                "upsert",
                format!(
                    "INSERT INTO form (id, {offered}) VALUES ({id}, {offered_values}) ON CONFLICT (id) DO UPDATE SET {}",
                    excluded.join(", ")
                ),
            ),
            (
                "merge",
                format!(
                    "MERGE INTO form f USING (SELECT {id} AS id) s ON s.id = f.id WHEN MATCHED THEN UPDATE SET {}",
                    each.join(", ")
                ),
            ),
            (
                "prepared",
                format!(
                    "PREPARE save AS UPDATE form SET {} WHERE id = {id}; EXECUTE save({values}); DEALLOCATE save",
                    set.join(", ")
                ),
            ),
        ] {
            let frames = client.query(&text);
            assert_eq!(errors(&frames), [""; 0], "{how}: {text}");
            assert!(tag(&frames).contains(" 1"), "{how}: {}", tag(&frames));
            assert_eq!(bench.stored(), before, "{how} of row {id}");
        }
        let bound: Vec<Option<&str>> = shown.iter().map(Option::as_deref).collect();
        client.send_all(&[
            parse(
                "",
                &format!("UPDATE form SET {} WHERE id = {id}", set.join(", ")),
                &[],
            ),
            bind("", "", &bound, 0),
            execute("", 0),
            sync(),
        ]);
        let frames = client.read_until_ready();
        assert_eq!(
            (errors(&frames).len(), tag(&frames).as_str()),
            (0, "UPDATE 1"),
            "{frames:?}"
        );
        assert_eq!(bench.stored(), before, "parameters of row {id}");
    }
}

#[test]
fn a_new_value_is_stored() {
    let bench = start();
    let mut client = bench.agent();
    for (column, value) in [
        ("name", "Anna"),
        ("phone", "13911112222"),
        ("code", "123"),
        ("email", "new@example.com"),
        ("note", "fresh"),
        ("card", "44030019700101777X"),
        ("gone", "00000000-0000-4000-8000-000000000001"),
        ("salary", "51234.50"),
        ("born", "1980-05-06"),
        ("profile", "{\"b\": 2}"),
        ("raw", "{\"b\":2}"),
    ] {
        let text =
            format!("UPDATE form SET {column} = '{value}' WHERE id = 1 RETURNING id, {column}");
        let frames = client.query(&text);
        assert_eq!(errors(&frames), [""; 0], "{text}");
        let stored = bench.server.sql(
            "postgres",
            &format!("SELECT {column}::text FROM form WHERE id = 1"),
        );
        assert_eq!(stored[0][0].as_deref(), Some(value), "{column}");
        client.send_all(&[
            parse(
                "",
                &format!("UPDATE form SET {column} = $1 WHERE id = $2"),
                &[],
            ),
            bind("", "", &[Some(value), Some("2")], 0),
            execute("", 0),
            sync(),
        ]);
        assert_eq!(errors(&client.read_until_ready()), [""; 0]);
        let stored = bench.server.sql(
            "postgres",
            &format!("SELECT {column}::text FROM form WHERE id = 2"),
        );
        assert_eq!(
            stored[0][0].as_deref(),
            Some(value),
            "{column} by parameter"
        );
    }
    // The column's own limits hold.
    let frames = client.query("UPDATE form SET phone = '123456789012345678901' WHERE id = 1");
    assert!(errors(&frames)[0].contains("22001"), "{frames:?}");
    let frames = client.query("UPDATE form SET code = 'no digits' WHERE id = 1");
    assert!(errors(&frames)[0].contains("23514"), "{frames:?}");
}

/// What the server tells a driver about parameters and columns of a write.
/// `SET (a, b) = (SELECT ...)`: masks that a query gives back keep what is stored, new values are taken, and a query
/// without a row gives NULLs. Many rows are saved at once from arrays and from JSON.
#[test]
fn rows_of_queries_keep_what_is_stored() {
    let bench = start();
    let mut agent = bench.agent();
    let before = bench.stored();
    for text in [
        "UPDATE form SET (name, phone, code, salary) = (SELECT s.name, s.phone, s.code, s.salary FROM form s WHERE s.id = form.id)",
        "UPDATE form f SET (version, phone) = (SELECT 0, phone)",
        "UPDATE form SET (born, email) = (VALUES (born, email))",
        "INSERT INTO form (id, name, phone) VALUES (1, '张*', '138****8000') ON CONFLICT (id) DO UPDATE SET (name, phone) = \
         (SELECT excluded.name, excluded.phone)",
        "UPDATE form SET phone = v.phone, salary = v.salary FROM unnest('{1,2}'::int[], ARRAY['138****8000', NULL], \
         '{45000,NULL}'::numeric[]) AS v(id, phone, salary) WHERE form.id = v.id",
        "UPDATE form SET phone = v.p FROM jsonb_to_recordset('[{\"k\": 1, \"p\": \"138****8000\"}]') AS v(k int, p text) \
         WHERE id = k AND phone = p",
        "UPDATE form SET (profile, raw) = (SELECT s.profile, s.raw FROM form s WHERE false)",
    ] {
        let frames = agent.query(text);
        assert!(errors(&frames).is_empty(), "{text}: {:?}", errors(&frames));
        assert_eq!(bench.stored(), before, "{text}");
    }
    let frames = agent.query(
        "UPDATE form SET (name, phone, salary) = (SELECT '王*', s.phone, 1.5 FROM form s WHERE s.id = 2) WHERE id = 1 RETURNING phone",
    );
    assert_eq!(cells(&frames), [None]);
    let stored = "SELECT name, phone, salary::text FROM form WHERE id = 1";
    assert_eq!(
        bench.server.sql("postgres", stored),
        [[Some("王*".to_owned()), None, Some("1.50".to_owned())]]
    );
    let frames = agent.query("UPDATE form SET (phone, code) = (SELECT '5', '6' FROM form)");
    assert!(
        errors(&frames)[0].contains("21000"),
        "{:?}",
        errors(&frames)
    );
    let frames = agent.query("UPDATE form SET (phone, code) = (SELECT '5')");
    assert!(
        errors(&frames)[0].contains("42601"),
        "{:?}",
        errors(&frames)
    );
}

#[test]
fn parameters_and_columns_are_described_as_without_pgveil() {
    let bench = start();
    let text = "UPDATE form SET name = $1, phone = $2, card = $3, gone = $4, salary = $5, born = $6, profile = $7, \
                raw = $8, version = $9 WHERE id = $10 AND phone = $11 RETURNING *, phone AS p, upper(email), salary::text";
    let upsert = "INSERT INTO form AS f (id, name, salary) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET salary = $4, \
                  phone = excluded.phone WHERE f.phone <> $5 RETURNING f.*, f.salary";
    for text in [
        text,
        upsert,
        "DELETE FROM form WHERE email = $1 RETURNING email",
    ] {
        let described = |mut client: Client| {
            client.send_all(&[parse("s", text, &[]), describe(b'S', "s"), sync()]);
            client.read_until_ready()
        };
        let direct = described(Client::login(bench.server.port(), "agent", "", "postgres"));
        let through = described(bench.agent());
        assert_eq!(errors(&through), [""; 0]);
        assert_eq!(through, direct, "{text}");
    }
}

/// A lock on what the form showed: with masks it holds while the mask does, and an update is never lost in silence.
#[test]
fn an_optimistic_lock_on_masks_finds_its_row() {
    let bench = start();
    let mut client = bench.agent();
    let frames = client.query("UPDATE form SET phone = '13911112222' WHERE id = 1 AND phone = '138****8000' AND salary = 45000");
    assert_eq!(tag(&frames), "UPDATE 1", "{frames:?}");
    let frames = client
        .query("UPDATE form SET phone = '13911113333' WHERE id = 1 AND phone = '138****8000'");
    assert_eq!(
        tag(&frames),
        "UPDATE 0",
        "the value changed, so the lock fails: {frames:?}"
    );
    let stored = bench
        .server
        .sql("postgres", "SELECT phone FROM form WHERE id = 1");
    assert_eq!(stored[0][0].as_deref(), Some("13911112222"));
}

/// Masks take part in EvalPlanQual as columns do: no update of a row is lost between sessions.
#[test]
fn concurrent_updates_all_count() {
    let bench = start();
    let sessions: Vec<Client> = (0..4).map(|_| bench.agent()).collect();
    thread::scope(|scope| {
        for mut client in sessions {
            scope.spawn(move || {
                for _ in 0..25 {
                    let frames = client.query(
                        "UPDATE form SET version = version + 1, phone = '138****8000' WHERE id = 1 AND phone LIKE '138%'",
                    );
                    assert_eq!(tag(&frames), "UPDATE 1", "{frames:?}");
                }
            });
        }
    });
    let stored = bench
        .server
        .sql("postgres", "SELECT version, phone FROM form WHERE id = 1");
    assert_eq!(stored[0][0].as_deref(), Some("100"));
    assert_eq!(stored[0][1].as_deref(), Some("13800138000"));
}

/// Documents and arrays are masked in parts: what is stored never takes a mask for a value.
#[test]
fn a_document_takes_no_mask_for_a_value() {
    let bench = start();
    let document = r#"{"a": 1, "phone": "13800138000", "others": [{"number": "5", "kind": "x"}, {"number": "6"}]}"#;
    bench.server.sql(
        "postgres",
        &format!("UPDATE form SET custom = '{document}', custom_text = '{document}', numbers = '{{13800138000,13900139000}}'"),
    );
    let before = bench.stored();
    let mut client = bench.agent();
    let shown = cells(&client.query("SELECT custom, custom_text, numbers FROM form WHERE id = 1"));
    let [custom, text, numbers] = [0, 1, 2].map(|at| shown[at].clone().expect("a value"));
    assert!(
        custom.contains("138****8000") && !custom.contains("\"5\""),
        "{custom}"
    );
    let frames = client.query(&format!(
        "UPDATE form SET custom = '{custom}', custom_text = '{text}', numbers = '{numbers}' WHERE id = 1"
    ));
    assert_eq!(tag(&frames), "UPDATE 1", "{frames:?}");
    assert_eq!(bench.stored(), before);
    // Where keys alone lead to masks, and where a list is as it was shown, the values are put back.
    let stored = |expected: &str, column: &str| {
        let found = bench.server.sql(
            "postgres",
            &format!("SELECT {column}::jsonb::text FROM form WHERE id = 1"),
        );
        let expected = bench
            .server
            .sql("postgres", &format!("SELECT '{expected}'::jsonb::text"));
        assert_eq!(found, expected);
    };
    let two = document.replace("\"a\": 1", "\"a\": 2");
    for (changed, column, expected) in [
        (
            format!("custom = '{}'", custom.replace("\"a\": 1", "\"a\": 2")),
            "custom",
            two.clone(),
        ),
        (
            format!("custom_text = '{}'", text.replace("\"a\": 1", "\"a\": 2")),
            "custom_text",
            two.clone(),
        ),
        (
            format!(
                "custom = '{}'",
                custom.replace("138****8000", "13811112222")
            ),
            "custom",
            document.replace("13800138000", "13811112222"),
        ),
        (
            "custom = jsonb_set(custom, '{a}', '2')".to_owned(),
            "custom",
            two.clone(),
        ),
        (
            "custom = custom || '{\"b\": null}'".to_owned(),
            "custom",
            document.replace("\"a\"", "\"b\": null, \"a\""),
        ),
        (
            "custom = custom - 'others'".to_owned(),
            "custom",
            r#"{"a": 1, "phone": "13800138000"}"#.to_owned(),
        ),
        (
            "custom = custom - 'phone' - 'others'".to_owned(),
            "custom",
            r#"{"a": 1}"#.to_owned(),
        ),
    ] {
        let frames = client.query(&format!("UPDATE form SET {changed} WHERE id = 1"));
        assert_eq!(tag(&frames), "UPDATE 1", "{changed}: {frames:?}");
        stored(&expected, column);
        bench.server.sql(
            "postgres",
            &format!(
                "UPDATE form SET custom = '{document}', custom_text = '{document}' WHERE id = 1"
            ),
        );
    }
    for changed in [
        "custom = jsonb_set(custom, '{others,0,kind}', '\"y\"')".to_owned(),
        "custom = jsonb_set(custom, '{others}', custom->'others' || '[{\"number\": \"7\"}]')"
            .to_owned(),
        "custom_text = jsonb_set(custom_text::jsonb, '{others,1,kind}', '\"y\"')::json".to_owned(),
        "custom = jsonb_set(custom, '{phone}', jsonb_build_array(custom->'phone'))".to_owned(),
        "numbers = numbers || '{13811112222}'".to_owned(),
        "numbers = '{139****9000}'".to_owned(),
    ] {
        let frames = client.query(&format!("UPDATE form SET {changed} WHERE id = 1"));
        assert!(
            errors(&frames)[0].contains("42501"),
            "{changed}: {frames:?}"
        );
        assert_eq!(bench.stored(), before, "{changed}");
    }
    for (column, value) in [
        (
            "custom",
            r#"{"a": 2, "phone": "13811112222", "others": null}"#,
        ),
        ("custom", r#"{"b": null}"#),
        ("custom_text", r#"{"phone": "5"}"#),
        ("numbers", "{13811112222,NULL}"),
        ("numbers", "{}"),
    ] {
        let frames = client.query(&format!(
            "UPDATE form SET {column} = '{value}' WHERE id = 1"
        ));
        assert_eq!(tag(&frames), "UPDATE 1", "{column} {value}: {frames:?}");
        let stored = bench.server.sql(
            "postgres",
            &format!("SELECT {column}::text FROM form WHERE id = 1"),
        );
        let same = |text: &str| text.replace(' ', "");
        assert_eq!(stored[0][0].as_deref().map(same), Some(same(value)));
    }
}

/// What stands for a number, a truth or what is shown as null is a mask, too.
#[test]
fn what_is_redacted_by_kind_in_a_document_is_put_back() {
    let bench = start();
    let mut client = bench.agent();
    for (column, document) in [
        ("custom", r#"{"a": 1, "others": 5}"#),
        ("custom", r#"{"a": 1, "others": true}"#),
        ("custom", r#"{"a": 1, "others": [7, {"kind": "x"}]}"#),
        ("custom", r#"{"a": 1, "phone": true}"#),
        ("extra", r#"{"a": 1, "gone": "secret"}"#),
        ("extra", r#"{"a": 1, "kinds": [{"gone": "secret"}]}"#),
        ("extra", r#"{"a": 1, "kinds": 5}"#),
    ] {
        bench.server.sql(
            "postgres",
            &format!("UPDATE form SET {column} = '{document}' WHERE id = 1"),
        );
        let before = bench.stored();
        let change =
            format!("UPDATE form SET {column} = jsonb_set({column}, '{{a}}', '2') WHERE id = 1");
        let frames = client.query(&change);
        assert_eq!(tag(&frames), "UPDATE 1", "{document}: {frames:?}");
        let stored = bench.server.sql(
            "postgres",
            &format!(
                "SELECT {column}::jsonb = '{}'::jsonb FROM form WHERE id = 1",
                document.replace("\"a\": 1", "\"a\": 2")
            ),
        );
        assert_eq!(stored[0][0].as_deref(), Some("t"), "{document}");
        let back = format!("UPDATE form SET {column} = '{document}' WHERE id = 1");
        bench.server.sql("postgres", &back);
        // A form that is saved as it was shown, and a document of the client's own.
        let saved = format!("UPDATE form SET {column} = {column} WHERE id = 1");
        assert_eq!(tag(&client.query(&saved)), "UPDATE 1", "{document}");
        assert_eq!(bench.stored(), before, "{document}");
        let own = format!("UPDATE form SET {column} = '{{\"a\": 2}}' WHERE id = 1");
        assert_eq!(tag(&client.query(&own)), "UPDATE 1", "{document}");
    }
}

/// Poison control: without the mask the form overwrites what is stored.
#[test]
fn an_unmasked_session_stores_what_it_sends() {
    let bench = start();
    let mut client = Client::login(bench.pgveil.port(), "clear", "", "postgres");
    client.query("UPDATE form SET phone = '138****8000' WHERE id = 1");
    let stored = bench
        .server
        .sql("postgres", "SELECT phone FROM form WHERE id = 1");
    assert_eq!(stored[0][0].as_deref(), Some("138****8000"));
}
