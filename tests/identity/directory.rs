//! Groups and attributes that a query on a database gives.
use std::time::Instant;

use crate::support::PATIENCE;
use crate::{PHONES, cells, error, for_user, login, start};

const POLICY: &str = r#"
version: 1
data: { phone: { columns: [crm.contacts.phone] } }
groups: { boss: [carol] }
applications: { crm_app: { comment: app_user } }
directory:
  database: postgres
  query: "SELECT login, groups, customer FROM staff.people -- all of them"
  refresh: 1s
  max_age: 3s
roles:
  boss: { who: [{ db_user: crm_app, app_user_in: boss }] }
  intern: { who: [{ db_user: crm_app, app_user_in: interns }], mask: { phone: redact } }
  support:
    who: [{ db_user: crm_app, app_user_in: support }]
    mask: { phone: { show: { last: 4 } } }
    rows: { crm.contacts: "owner = {attr.customer}" }
  rest: { who: [{ db_user: crm_app }], mask: { phone: { show: { last: 1 } } } }
  ann: { who: [{ db_user: ann }], mask: { phone: redact }, rows: { crm.contacts: "owner = {attr.customer}" } }
unmatched: deny
"#;

const STAFF: &str = "CREATE SCHEMA staff; CREATE TABLE staff.people (login text, groups text[], customer text); \
    INSERT INTO staff.people VALUES ('dave', '{interns}', NULL), ('alice', '{support,\"two words\"}', 'bob'), ('ann', NULL, 'alice')";

#[test]
fn groups_and_attributes_come_from_the_directory_and_fail_closed() {
    let (server, pgveil) = {
        let (server, pgveil) = start(POLICY);
        // It cannot be read yet: who is in which group is not known.
        let mut client = login(&pgveil, "crm_app");
        let said = error(&client.query(&for_user(PHONES, "alice"))).expect("refused");
        assert!(
            said.contains("who is in which group is not known"),
            "{said}"
        );
        assert_eq!(
            cells(&client.query(&for_user(PHONES, "carol"))).len(),
            3,
            "known without"
        );
        server.sql("postgres", STAFF);
        (server, pgveil)
    };
    let mut client = login(&pgveil, "crm_app");
    let mut ann = login(&pgveil, "ann");
    let mut until = |user: &str, expected: Result<&[&str], &str>| {
        let began = Instant::now();
        loop {
            let frames = match user {
                "ann" => ann.query(PHONES),
                user => client.query(&for_user(PHONES, user)),
            };
            let said = error(&frames);
            let found = cells(&frames);
            let as_expected = match expected {
                Ok(cells) => said.is_none() && found == cells,
                Err(words) => said.as_ref().is_some_and(|said| said.contains(words)),
            };
            if as_expected {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{user}: {said:?} {found:?}");
        }
    };
    until("alice", Ok(&["*******5678"]));
    until("dave", Ok(&["***", "***", "***"]));
    until("ann", Ok(&["***", "***"]));
    until("zoe", Ok(&["**********8", "**********8", "**********0"]));
    // Somebody leaves, and somebody moves.
    server.sql(
        "postgres",
        "UPDATE staff.people SET groups = '{}' WHERE login = 'dave'; UPDATE staff.people SET customer = 'alice' WHERE login = 'alice'",
    );
    until("dave", Ok(&["**********8", "**********8", "**********0"]));
    until("alice", Ok(&["*******5678", "*******0000"]));
    // Doubt about one is doubt about all; what was read before serves until it is too old.
    server.sql(
        "postgres",
        "INSERT INTO staff.people VALUES ('alice', '{boss}', 'bob')",
    );
    let unknown = "who is in which group is not known";
    until("alice", Err(unknown));
    until("zoe", Err(unknown));
    until("ann", Err(unknown));
    until("carol", Ok(&["13812345678", "13912345678", "13712340000"]));
    server.sql(
        "postgres",
        "DELETE FROM staff.people WHERE groups = '{boss}'",
    );
    until("alice", Ok(&["*******5678", "*******0000"]));
}
