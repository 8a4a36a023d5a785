//! Granted results that are read in portions, as drivers with a fetch size do.
use serde_json::json;

use crate::approvers::Approvers;
use crate::support::message::{Client, bind, describe, execute, parse, sync};
use crate::support::{Config, Folder, Pgveil};
use crate::{ROWS, Taken, Told, login, policy, request_of, server, told};

/// Rows of a portion.
const PORTION: u32 = 60;
const GRANTED: usize = 400;

fn grant(approvers: &Approvers, id: &str) {
    for (account, seen) in [("lea", 1), ("dan", 2)] {
        let body = json!({ "seen": seen, "rows": GRANTED });
        let path = format!("/requests/{id}/approve");
        let signed = approvers.call(account, "POST", &path, Some(&body));
        assert_eq!(signed.status, 200, "{signed:?}");
    }
}

fn by_cursor(client: &mut Client) -> (usize, Option<Told>) {
    let mut taken = Taken::default();
    let before = [
        "BEGIN".to_owned(),
        "DECLARE c CURSOR FOR SELECT code FROM contacts WHERE id > 0 ORDER BY id LIMIT 1000"
            .to_owned(),
    ];
    let portions = (0..20).map(|_| format!("FETCH {PORTION} FROM c"));
    let told = taken.run(client, before.into_iter().chain(portions));
    client.query("ROLLBACK");
    (taken.count(), told)
}

fn by_portal(client: &mut Client) -> (usize, Option<Told>) {
    let text = "SELECT code FROM contacts WHERE id > $1 ORDER BY id LIMIT 1000";
    let mut messages = vec![
        parse("", text, &[]),
        bind("p", "", &[Some("0")], 0),
        describe(b'P', "p"),
    ];
    messages.extend((0..20).map(|_| execute("p", PORTION)));
    messages.push(sync());
    client.send_all(&messages);
    let frames = client.read_until_ready();
    let mut taken = Taken::default();
    taken.add(&frames);
    (taken.count(), told(&frames))
}

#[test]
fn a_grant_is_used_once_for_all_portions_of_a_cursor_or_portal() {
    let server = server(&[]);
    let mut config = Config::new(&server);
    config.policy(&policy("rows: 100, approvers: [legal, dpo]"));
    let folder = Folder::new("portions");
    let accounts = [("lea", "lea", "legal"), ("dan", "dan", "dpo")];
    let approvers = Approvers::new(&mut config, &folder.path().join("state.db"), &accounts);
    let pgveil = Pgveil::start(&config);
    for read in [by_cursor, by_portal] {
        let mut client = login(&pgveil, "u0");
        let (count, first) = read(&mut client);
        assert_eq!(count, ROWS);
        let id = request_of(&first);
        grant(&approvers, &id);
        let (count, last) = read(&mut client);
        assert_eq!(count, GRANTED, "{last:?}");
        // It ends by the grant's own rows, and is no request of its own.
        let last = last.expect("a thousand rows are more than granted");
        assert!(last.message.contains(&GRANTED.to_string()), "{last:?}");
        assert!(!last.hint.starts_with("export request "), "{last:?}");
        let request = approvers.show("lea", &id);
        assert_eq!(request["state"], "used", "{request}");
        let steps = request["history"].as_array().expect("steps");
        assert_eq!(steps.len(), 4, "{request}");
        let (count, again) = read(&mut client);
        assert_eq!(count, ROWS);
        assert_ne!(request_of(&again), id);
    }
}
