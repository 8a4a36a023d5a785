//! Two databases that differ in what the person may not see answer alike, by whichever way the person is told.
use crate::support::message::{Client, Frame, bind, describe, execute, parse, sync};
use crate::support::{Config, Options, Pgveil, Postgres};
use crate::{POLICY, SCHEMA, for_user};

/// In both, alice sees one row of hers, masked alike; what else there is differs.
const SECRETS: [&str; 2] = [
    "DELETE FROM crm.contacts; INSERT INTO crm.contacts VALUES (1, 'alice', '13812345678'), (2, 'bob', '13912341111'), (3, 'eve', '1')",
    "DELETE FROM crm.contacts; INSERT INTO crm.contacts VALUES (1, 'alice', '15599995678'), (2, 'bob', '17700000000'), (4, 'zoe', '2'), (5, 'zoe', '3')",
];

const STATEMENTS: &[&str] = &[
    "SELECT * FROM crm.contacts",
    "SELECT count(*), max(id), min(phone) FROM crm.contacts",
    "SELECT phone::bigint FROM crm.contacts WHERE id = 2",
    "SELECT 1 / (id - 2) FROM crm.contacts",
    "SELECT owner FROM crm.contacts WHERE phone LIKE '138%'",
    "SELECT string_agg(c::text, ',') FROM crm.contacts c",
    "SELECT p.word FROM crm.plain p LEFT JOIN crm.contacts c ON c.id = p.id + 1 WHERE c.id IS NULL",
    "CREATE TEMP TABLE t AS SELECT * FROM crm.contacts",
    "SELECT * FROM t",
    "COPY crm.contacts TO STDOUT",
    "EXECUTE p",
    "FETCH ALL FROM c",
    "SELECT phone FROM crm.contacts WHERE id = currval('nothing')",
    "SELECT current_setting('pgveil.app_user', true)",
];

fn twins(user: &str) -> (Vec<Postgres>, Vec<Pgveil>, Vec<Client>) {
    let servers: Vec<Postgres> = SECRETS
        .iter()
        .map(|secrets| {
            let server = Postgres::start(Options::default());
            server.sql("postgres", SCHEMA);
            server.sql("postgres", secrets);
            server
        })
        .collect();
    let policy = POLICY.replace(", signed: crm", "");
    let proxies: Vec<Pgveil> = servers
        .iter()
        .map(|server| Pgveil::start(Config::new(server).policy(&policy)))
        .collect();
    let clients = proxies
        .iter()
        .map(|pgveil| Client::login(pgveil.port(), user, "", "postgres"))
        .collect();
    (servers, proxies, clients)
}

/// Both answers to what is sent.
fn both(clients: &mut [Client], messages: &[Vec<u8>]) -> Vec<Vec<Frame>> {
    clients
        .iter_mut()
        .map(|client| {
            client.send_all(messages);
            client.read_until_ready()
        })
        .collect()
}

fn differs(answers: &[Vec<Frame>]) -> bool {
    answers.first() != answers.last()
}

#[test]
fn twins_answer_alike_by_comment() {
    let (_servers, _proxies, mut clients) = twins("crm_app");
    // Carol leaves behind what only she may see.
    for text in [
        "PREPARE p AS SELECT * FROM crm.contacts",
        "CREATE TEMP TABLE t AS SELECT * FROM crm.contacts",
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM crm.contacts",
    ] {
        let sent = crate::support::message::query(&for_user(text, "carol"));
        both(&mut clients, &[sent]);
    }
    let mut told_apart = 0;
    for text in STATEMENTS {
        let simple = [crate::support::message::query(&for_user(text, "alice"))];
        let extended = [
            parse("", &for_user(text, "alice"), &[]),
            bind("", "", &[], 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ];
        for messages in [&simple[..], &extended[..]] {
            let answers = both(&mut clients, messages);
            assert!(!differs(&answers), "{text}: {answers:?}");
        }
        let carols = [crate::support::message::query(&for_user(text, "carol"))];
        told_apart += usize::from(differs(&both(&mut clients, &carols)));
    }
    assert!(told_apart >= 6, "the comparison is blind: {told_apart}");
}

#[test]
fn twins_answer_alike_by_setting() {
    let (_servers, _proxies, mut clients) = twins("erp");
    let is =
        |user: &str| crate::support::message::query(&format!("SET pgveil.app_user = '{user}'"));
    both(&mut clients, &[is("carol")]);
    for text in [
        "PREPARE p AS SELECT * FROM crm.contacts",
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM crm.contacts",
    ] {
        both(&mut clients, &[crate::support::message::query(text)]);
    }
    let mut told_apart = 0;
    for text in STATEMENTS {
        both(&mut clients, &[is("alice")]);
        let sent = [crate::support::message::query(text)];
        let answers = both(&mut clients, &sent);
        assert!(!differs(&answers), "{text}: {answers:?}");
        both(&mut clients, &[is("carol")]);
        told_apart += usize::from(differs(&both(&mut clients, &sent)));
    }
    assert!(told_apart >= 6, "the comparison is blind: {told_apart}");
}
