//! Rows of a region are there for everybody and masked for who is elsewhere, where the classes of data say so.
use crate::support::message::{Client, Frame, bind, describe, execute, parse, sync};
use crate::support::{Config, Options, Pgveil, Postgres};
use crate::{SCHEMA, cells, error, login, records};

const MORE: &str = "
    GRANT ALL ON ALL TABLES IN SCHEMA crm TO ann, erp;
    CREATE VIEW crm.book AS SELECT id, phone, owner FROM crm.contacts;
    CREATE VIEW crm.names AS SELECT c.id, p.word FROM crm.contacts c JOIN crm.plain p USING (id);
    CREATE VIEW crm.digits AS SELECT length(phone) AS n, upper(phone) AS up FROM crm.contacts;
    GRANT ALL ON crm.book, crm.names, crm.digits TO ann, erp;
    CREATE TABLE crm.parted (id int, land text, phone text) PARTITION BY LIST (land);
    CREATE TABLE crm.parted_a PARTITION OF crm.parted FOR VALUES IN ('alice');
    CREATE TABLE crm.parted_b PARTITION OF crm.parted DEFAULT;
    INSERT INTO crm.parted SELECT id, owner, phone FROM crm.contacts;
    GRANT ALL ON crm.parted, crm.parted_a, crm.parted_b TO ann, erp;
";

/// Ann sees everything but what is alice's, from elsewhere; erp has a mask of its own, and may look numbers up.
fn policy(network: &str, outside: &str) -> String {
    format!(
        r#"
version: 1
data:
  phone: {{ columns: ["crm.*.phone"], {outside} }}
regions:
  here:
    network: {network}
    rows:
      crm.contacts: {{ column: owner, values: [alice, "it's"] }}
      crm.parted: {{ column: land, values: [alice] }}
roles:
  seer: {{ who: [{{ db_user: ann }}], export: {{ rows: 1000, approvers: [dpo] }} }}
  agent: {{ who: [{{ db_user: erp }}], mask: {{ phone: {{ show: {{ last: 4 }}, lookup: exact }} }} }}
unmatched: deny
"#
    )
}

const SHOW: &str = "outside: { show: { last: 2 } }";

fn start(network: &str, outside: &str, more: &str) -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    server.sql("postgres", MORE);
    server.sql("postgres", more);
    let mut config = Config::new(&server);
    config.policy(&policy(network, outside));
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

#[test]
fn who_is_elsewhere_sees_a_regions_rows_with_their_values_masked() {
    let phones = "SELECT phone FROM crm.contacts ORDER BY id";
    let (_server, pgveil) = start("127.0.0.0/8", SHOW, "");
    let mut here = login(&pgveil, "ann");
    let clear = ["13812345678", "13912345678", "13712340000"];
    assert_eq!(cells(&here.query(phones)), clear);
    assert_eq!(
        cells(&here.query("SELECT phone FROM crm.book ORDER BY id")),
        clear
    );
    here.query("UPDATE crm.contacts SET owner = 'bob' WHERE id = 3");
    assert_eq!(
        cells(&here.query("SELECT owner FROM crm.contacts WHERE id = 3")),
        ["bob"]
    );
    drop(here);
    drop(pgveil);

    let (server, pgveil) = start("10.0.0.0/8", SHOW, "");
    let mut ann = login(&pgveil, "ann");
    let mut erp = login(&pgveil, "erp");
    let masked = ["*********78", "13912345678", "*********00"];
    assert_eq!(cells(&ann.query(phones)), masked);
    // One mask on top of the other.
    assert_eq!(
        cells(&erp.query(phones)),
        ["*********78", "*******5678", "*********00"]
    );
    let copied = ann.query("COPY (TABLE crm.contacts) TO STDOUT");
    let copied: Vec<u8> = copied
        .into_iter()
        .filter(|frame| frame.tag == b'd')
        .flat_map(|frame| frame.body)
        .collect();
    assert_eq!(
        String::from_utf8_lossy(&copied),
        "1\talice\t*********78\n2\tbob\t13912345678\n3\talice\t*********00\n"
    );
    // Partitions and parents tell rows apart as well; views do not, and show none.
    for table in ["crm.parted", "crm.parted_a"] {
        let text = format!("SELECT DISTINCT phone FROM {table} WHERE land = 'alice' ORDER BY 1");
        assert_eq!(
            cells(&ann.query(&text)),
            ["*********00", "*********78"],
            "{table}"
        );
    }
    assert_eq!(
        cells(&ann.query("SELECT phone FROM crm.parted_b")),
        ["13912345678"]
    );
    assert_eq!(
        cells(&ann.query("SELECT phone FROM crm.book ORDER BY id")),
        ["*********78", "*********78", "*********00"]
    );
    assert_eq!(cells(&ann.query("SELECT word FROM crm.names")), ["word"]);
    assert_eq!(
        cells(&ann.query("SELECT DISTINCT up FROM crm.digits")),
        ["***"]
    );
    // What is stored is not found by its value, by whatever rule of the role.
    for (user, number, found) in [
        ("ann", "13812345678", &[][..]),
        ("ann", "13912345678", &["2"]),
        ("ann", "*********78", &["1"]),
        ("erp", "13812345678", &[]),
    ] {
        let mut client = login(&pgveil, user);
        let text = format!("SELECT id FROM crm.contacts WHERE phone = '{number}'");
        assert_eq!(cells(&client.query(&text)), *found, "{user} {number}");
    }
    // A form that is saved destroys nothing.
    let saved =
        ann.query("UPDATE crm.contacts SET phone = '*********78', owner = owner WHERE id = 1");
    assert!(
        error(&saved).is_some_and(|said| said.starts_with("42501")),
        "{:?}",
        error(&saved)
    );
    assert_eq!(
        cells(
            &ann.query(
                "UPDATE crm.contacts SET phone = '*********78' WHERE id = 1 RETURNING phone"
            )
        ),
        ["*********78"]
    );
    let stored = server.sql("postgres", "SELECT phone FROM crm.contacts WHERE id = 1");
    assert_eq!(stored, [[Some("13812345678".to_owned())]]);
    ann.finish();
    while ann.read().is_some() {}

    let records = records(&pgveil);
    let of = |text: &str| {
        let found = records
            .iter()
            .find(|record| record["text"] == text && record["db_user"] == "ann");
        found.unwrap_or_else(|| panic!("{text}")).clone()
    };
    let record = of(phones);
    assert_eq!(record["outside"], serde_json::json!(["here"]));
    assert_eq!(record["masked"], serde_json::json!(["crm.contacts.phone"]));
    assert_eq!(
        of("SELECT word FROM crm.names")["masked"],
        serde_json::Value::Null
    );
}

#[test]
fn nobody_moves_a_row_out_of_a_region_to_see_it() {
    let (server, pgveil) = start(
        "10.0.0.0/8",
        SHOW,
        "CREATE UNIQUE INDEX ON crm.parted (id, land)",
    );
    let mut ann = login(&pgveil, "ann");
    for text in [
        "UPDATE crm.contacts SET owner = 'bob' WHERE id = 1",
        "UPDATE crm.contacts c SET (owner, id) = ('bob', 1) WHERE id = 1 RETURNING phone",
        "UPDATE crm.contacts SET owner = DEFAULT WHERE id = 1",
        "INSERT INTO crm.contacts VALUES (1, 'bob', '1') ON CONFLICT (id) DO UPDATE SET owner = 'bob' RETURNING phone",
        "MERGE INTO crm.contacts c USING (VALUES (1)) v (id) ON c.id = v.id WHEN MATCHED THEN UPDATE SET owner = 'bob'",
        "UPDATE crm.book SET owner = 'bob' WHERE id = 1",
        "UPDATE crm.book SET id = 9 WHERE id = 1",
        "UPDATE crm.parted SET land = 'bob' WHERE id = 1",
        "UPDATE crm.parted_a SET land = 'bob' WHERE id = 1",
        "WITH moved AS (UPDATE crm.contacts SET owner = 'bob' RETURNING *) SELECT * FROM moved",
        "PREPARE p AS UPDATE crm.contacts SET owner = $1",
    ] {
        let said = error(&ann.query(text)).unwrap_or_else(|| panic!("{text}"));
        assert!(said.starts_with("42501"), "{text}: {said}");
        assert!(
            said.contains("out of a region that the session is not in"),
            "{text}: {said}"
        );
    }
    let owners = server.sql("postgres", "SELECT owner FROM crm.contacts WHERE id = 1");
    assert_eq!(owners, [[Some("alice".to_owned())]]);
    // Copies are of what is seen; new rows may be of the region.
    ann.query(
        "INSERT INTO crm.contacts SELECT id + 10, 'bob', phone FROM crm.contacts WHERE id = 1",
    );
    let own =
        ann.query("INSERT INTO crm.contacts VALUES (20, 'alice', '15500001111') RETURNING phone");
    assert_eq!(cells(&own), ["*********11"], "{:?}", error(&own));
    assert_eq!(
        cells(&ann.query("SELECT phone FROM crm.contacts WHERE id = 11")),
        ["*********78"]
    );
    ann.query("UPDATE crm.contacts SET phone = '1' WHERE id = 2");
    assert_eq!(
        cells(&ann.query("SELECT phone FROM crm.contacts WHERE id = 2")),
        ["1"]
    );
}

const STATEMENTS: &[&str] = &[
    "SELECT * FROM crm.contacts ORDER BY id",
    "SELECT id FROM crm.contacts ORDER BY phone, id",
    "SELECT id FROM crm.contacts WHERE phone LIKE '138%' OR phone > '1385'",
    "SELECT id FROM crm.contacts WHERE phone = '13812345678'",
    "SELECT id FROM crm.contacts WHERE phone IN ('13812345678', '13900000078')",
    "SELECT phone::bigint FROM crm.contacts WHERE owner = 'alice'",
    "SELECT phone::bigint FROM crm.contacts WHERE owner = 'bob'",
    "SELECT 1 / (length(replace(phone, '1', '')) - 10) FROM crm.contacts",
    "SELECT count(DISTINCT phone), max(phone), min(phone) FROM crm.contacts",
    "SELECT row_to_json(c), c::text FROM crm.contacts c ORDER BY id",
    "SELECT a.id, b.id FROM crm.contacts a JOIN crm.contacts b ON a.phone < b.phone ORDER BY 1, 2",
    "SELECT * FROM crm.book ORDER BY id",
    "SELECT up FROM crm.digits ORDER BY up",
    "SELECT * FROM crm.parted ORDER BY id",
    "COPY crm.contacts TO STDOUT",
    "COPY crm.parted_a TO STDOUT",
    "UPDATE crm.contacts SET phone = phone || 'x' WHERE id = 3 RETURNING phone",
    "UPDATE crm.contacts SET phone = '*********78' WHERE phone = '*********78' RETURNING id",
    "UPDATE crm.contacts SET id = id WHERE phone = '13812345678' RETURNING id",
    "DELETE FROM crm.contacts WHERE phone LIKE '13812%' RETURNING id",
    "INSERT INTO crm.contacts VALUES (1, 'alice', '2') ON CONFLICT (id) DO UPDATE SET phone = crm.contacts.phone RETURNING phone",
    "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename = 'contacts' AND attname = 'phone'",
    "CREATE TEMP TABLE t AS SELECT * FROM crm.contacts",
    "SELECT * FROM t ORDER BY id",
];

fn twins(network: &str) -> Vec<(Postgres, Pgveil)> {
    // Of equal masks for who is elsewhere; the row that is nobody's is the same in both.
    let secrets = [
        ("13812345678", "13712340000"),
        ("15599999978", "18800000000"),
    ];
    let twin = |(one, other): (&str, &str)| {
        let more = format!(
            "UPDATE crm.contacts SET phone = '{one}' WHERE id = 1; UPDATE crm.contacts SET phone = '{other}' WHERE id = 3;
             UPDATE crm.parted SET phone = '{one}' WHERE id = 1; UPDATE crm.parted SET phone = '{other}' WHERE id = 3; ANALYZE"
        );
        start(network, SHOW, &more)
    };
    secrets.into_iter().map(twin).collect()
}

/// The answers to every statement, by both protocols.
fn answers(client: &mut Client) -> Vec<(String, Vec<Frame>)> {
    let mut all = Vec::new();
    for text in STATEMENTS {
        client.query("BEGIN");
        all.push(((*text).to_owned(), client.query(text)));
        client.query("ROLLBACK");
        if text.starts_with("SELECT") && !text.contains("FROM t ") {
            let messages = [
                parse("", text, &[]),
                bind("", "", &[], 0),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ];
            client.send_all(&messages);
            all.push((format!("{text} (extended)"), client.read_until_ready()));
        }
    }
    all
}

#[test]
fn what_is_masked_for_where_it_belongs_shows_in_nothing() {
    for (network, user, alike) in [
        ("10.0.0.0/8", "ann", true),
        ("10.0.0.0/8", "erp", true),
        // The control: who is in the region sees the difference.
        ("127.0.0.0/8", "ann", false),
    ] {
        let twins = twins(network);
        let said: Vec<_> = twins
            .iter()
            .map(|(_, pgveil)| answers(&mut login(pgveil, user)))
            .collect();
        let differs: Vec<&String> = said[0]
            .iter()
            .zip(&said[1])
            .filter(|(one, other)| one.1 != other.1)
            .map(|(one, _)| &one.0)
            .collect();
        match alike {
            true => assert!(differs.is_empty(), "{user}: {differs:#?}"),
            false => assert!(differs.len() > STATEMENTS.len() / 2, "{differs:#?}"),
        }
    }
}

#[test]
fn rows_are_hidden_where_a_class_does_not_say_how_they_are_masked() {
    let (_server, pgveil) = start("10.0.0.0/8", "outside: hide", "");
    let mut ann = login(&pgveil, "ann");
    assert_eq!(
        cells(&ann.query("SELECT id FROM crm.contacts ORDER BY id")),
        ["2"]
    );
}
