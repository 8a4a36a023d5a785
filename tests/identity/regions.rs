//! Rows of a region are there for sessions from its networks.
use crate::{cells, error, login, records, start};

fn policy(network: &str) -> String {
    format!(
        r#"
version: 1
data: {{ phone: {{ columns: [crm.contacts.phone] }} }}
regions:
  here: {{ network: {network}, rows: {{ crm.contacts: {{ column: owner, values: [alice, "it's"] }} }} }}
roles:
  agent: {{ who: [{{ db_user: ann }}], mask: {{ phone: redact }}, rows: {{ crm.contacts: "id < 3" }} }}
  seer: {{ who: [{{ db_user: erp }}], mask: {{ phone: redact }} }}
unmatched: deny
"#
    )
}

#[test]
fn who_is_elsewhere_does_not_see_a_regions_rows_and_the_record_says_so() {
    for (network, ann, erp) in [
        ("127.0.0.0/8", vec!["1", "2"], vec!["1", "2", "3", "4"]),
        ("10.0.0.0/8", vec!["2"], vec!["2", "4"]),
    ] {
        let (server, pgveil) = start(&policy(network));
        server.sql(
            "postgres",
            "INSERT INTO crm.contacts VALUES (4, NULL, '1'); GRANT UPDATE, INSERT ON crm.contacts TO erp",
        );
        for (user, expected) in [("ann", ann), ("erp", erp.clone())] {
            let mut client = login(&pgveil, user);
            let found = client.query("SELECT id FROM crm.contacts ORDER BY id");
            assert_eq!(
                cells(&found),
                expected,
                "{network} {user} {:?}",
                error(&found)
            );
            client.query("SELECT word FROM crm.plain");
            client.finish();
        }
        // Writes are held to it.
        let mut client = login(&pgveil, "erp");
        let changed = client.query("UPDATE crm.contacts SET id = id + 10 RETURNING id");
        assert_eq!(cells(&changed).len(), erp.len());
        let sent = client.query("INSERT INTO crm.contacts VALUES (9, 'alice', '1')");
        assert_eq!(
            error(&sent).is_some(),
            network.starts_with("10."),
            "{network}"
        );
        client.finish();
        let named: Vec<serde_json::Value> = records(&pgveil)
            .iter()
            .filter(|record| record["kind"] == "SELECT")
            .map(|record| record["outside"].clone())
            .collect();
        let outside = match network.starts_with("10.") {
            true => serde_json::json!(["here"]),
            false => serde_json::Value::Null,
        };
        let null = serde_json::Value::Null;
        assert_eq!(named, [outside.clone(), null.clone(), outside, null]);
    }
}
