//! Data is there for its purposes.
use crate::{PHONES, cells, error, login, records, start};

const POLICY: &str = r#"
version: 1
data: { phone: { columns: [crm.contacts.phone], purposes: [support, billing] } }
applications: { crm_app: { comment: app_user } }
roles:
  people: { who: [{ db_user: crm_app, app_user: carol }] }
  agent: { who: [{ db_user: ann }], mask: { phone: { show: { last: 4 }, lookup: exact } } }
  mailer: { who: [{ db_user: erp }], mask: { phone: { show: { last: 4 } } }, purpose: marketing }
  biller: { who: [{ db_user: old }], mask: { phone: { show: { last: 4 } } }, purpose: billing }
unmatched: deny
"#;

#[test]
fn for_another_purpose_than_a_class_has_its_columns_are_redacted() {
    let (server, pgveil) = start(POLICY);
    server.sql(
        "postgres",
        "CREATE VIEW crm.v AS SELECT id, upper(phone) AS phone FROM crm.contacts; GRANT SELECT ON crm.v TO PUBLIC",
    );
    let shown = ["*******5678", "*******5678", "*******0000"];
    let redacted = ["***", "***", "***"];
    let mut ann = login(&pgveil, "ann");
    let found = "SELECT id FROM crm.contacts WHERE phone = '13812345678'";
    assert_eq!(cells(&ann.query(PHONES)), redacted);
    assert_eq!(cells(&ann.query(found)).len(), 0, "no lookup");
    ann.query("SET pgveil.purpose = 'support'");
    assert_eq!(cells(&ann.query(PHONES)), shown);
    assert_eq!(cells(&ann.query(found)), ["1"]);
    ann.query("PREPARE p AS SELECT phone FROM crm.contacts");
    ann.query("CREATE TEMP TABLE t AS SELECT phone FROM crm.contacts");
    assert_eq!(cells(&ann.query("SELECT * FROM t")).len(), 3);
    ann.query("SET pgveil.purpose = 'marketing'");
    assert_eq!(cells(&ann.query(PHONES)), redacted);
    assert_eq!(cells(&ann.query("SELECT phone FROM crm.v")), redacted);
    for text in ["EXECUTE p", "SELECT * FROM t"] {
        let frames = ann.query(text);
        assert!(
            error(&frames).is_some() && cells(&frames).is_empty(),
            "{text}"
        );
    }
    let said = ann.query(&format!("{PHONES} /*pgveil_purpose='billing'*/"));
    assert_eq!(cells(&said), shown);
    let twice = format!("{PHONES} /*pgveil_purpose='billing'*/ /*pgveil_purpose='billing'*/");
    assert!(error(&ann.query(&twice)).is_some());
    ann.query("RESET pgveil.purpose");
    assert_eq!(cells(&ann.query(PHONES)), redacted);
    ann.finish();

    // A role's own purpose is what it is.
    for (user, expected) in [("erp", redacted), ("old", shown)] {
        let mut client = login(&pgveil, user);
        client.query("SET pgveil.purpose = 'support'");
        assert_eq!(cells(&client.query(PHONES)), expected, "{user}");
        client.finish();
    }
    let mut app = login(&pgveil, "crm_app");
    let carol = |purpose: &str| format!("{PHONES} /*app_user='carol',pgveil_purpose='{purpose}'*/");
    assert_eq!(cells(&app.query(&carol("support"))), crate::ALL);
    assert_eq!(cells(&app.query(&carol("spying"))), redacted);
    app.finish();

    let purposes: Vec<String> = records(&pgveil)
        .iter()
        .filter(|record| record["kind"] == "SELECT" && record["db_user"] != "ann")
        .map(|record| record["purpose"].as_str().unwrap_or("-").to_owned())
        .collect();
    assert_eq!(purposes, ["marketing", "billing", "support", "spying"]);
}
