//! What a grant is bound to besides person and parameters: the relations that were read, and the masks that were on.
use crate::approvers::Approvers;
use crate::support::message::{Client, Frame};
use crate::support::{Config, Folder, Pgveil, Postgres};
use crate::{ROWS, Taken, login, request_of, server, told};

/// Phone numbers are clear for who asks for support, and for nobody else.
const POLICY: &str = r#"
version: 1
data:
  phone: { columns: [public.contacts.phone], purposes: [support] }
  code: { columns: [public.contacts.code, archive.contacts.code] }
roles:
  agent:
    who: [{ db_user: u0 }]
    mask: {}
    export: { rows: 100, approvers: [legal, dpo] }
unmatched: deny
"#;

struct Bench {
    pgveil: Pgveil,
    approvers: Approvers,
    _folder: Folder,
    _server: Postgres,
}

fn bench() -> Bench {
    let server = server(&[]);
    server.sql(
        "postgres",
        "CREATE SCHEMA archive; CREATE TABLE archive.contacts AS SELECT id, upper(code) AS code FROM contacts; \
         GRANT USAGE ON SCHEMA archive TO u0; GRANT SELECT ON archive.contacts TO u0",
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let folder = Folder::new("bound");
    let accounts = [("lea", "lea", "legal"), ("dan", "dan", "dpo")];
    let approvers = Approvers::new(&mut config, &folder.path().join("state.db"), &accounts);
    Bench {
        pgveil: Pgveil::start(&config),
        approvers,
        _folder: folder,
        _server: server,
    }
}

impl Bench {
    fn sign(&self, id: &str) {
        assert_eq!(self.approvers.approve("lea", id, 1).status, 200);
        assert_eq!(self.approvers.approve("dan", id, 2).status, 200);
    }
}

fn rows(frames: &[Frame]) -> usize {
    frames.iter().filter(|frame| frame.tag == b'D').count()
}

/// Phone numbers as they are.
fn clear(frames: &[Frame]) -> usize {
    let values = frames
        .iter()
        .filter(|frame| frame.tag == b'D')
        .flat_map(Frame::columns);
    values
        .flatten()
        .filter(|value| value.starts_with(b"138"))
        .count()
}

#[test]
fn a_grant_holds_for_the_relations_that_were_read() {
    let bench = bench();
    let text = "SELECT code FROM contacts WHERE id > 0 ORDER BY id LIMIT 200";
    let mut client = login(&bench.pgveil, "u0");
    client.query("SET search_path = archive, public");
    let id = request_of(&told(&client.query(text)));
    let request = bench.approvers.show("lea", &id);
    assert_eq!(request["reads"][0], "archive.contacts", "{request}");
    bench.sign(&id);
    // The same letters, and another table.
    client.query("SET search_path = public");
    let mut taken = Taken::default();
    let other = taken.run(&mut client, [text.to_owned()]);
    assert_ne!(request_of(&other), id);
    assert_eq!(taken.count(), ROWS);
    client.query("SET search_path = archive");
    let frames = client.query(text);
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
    assert_eq!(rows(&frames), 200);
}

#[test]
fn a_grant_holds_for_the_purpose_under_whose_masks_it_was_asked_for() {
    let bench = bench();
    let text = "SELECT phone FROM contacts WHERE id > 0 ORDER BY id LIMIT 200";
    let ask = |client: &mut Client, purpose: &str| {
        client.query(&format!("SET pgveil.purpose = '{purpose}'"));
        client.query(text)
    };
    let mut client = login(&bench.pgveil, "u0");
    let frames = ask(&mut client, "billing");
    assert_eq!((rows(&frames), clear(&frames)), (ROWS, 0));
    let id = request_of(&told(&frames));
    let request = bench.approvers.show("lea", &id);
    assert_eq!(request["purpose"], "billing", "{request}");
    assert_eq!(request["columns"][0]["masked"], true, "{request}");
    let page = bench
        .approvers
        .browser("lea")
        .get(&format!("/requests/{id}"));
    assert!(
        page.body.contains("<dt>Purpose</dt><dd>billing</dd>"),
        "{}",
        page.body
    );
    bench.sign(&id);
    // What was signed for leaves masked: it is no grant for numbers as they are.
    let frames = ask(&mut client, "support");
    assert!(clear(&frames) <= ROWS, "{} numbers", clear(&frames));
    let other = request_of(&told(&frames));
    assert_ne!(other, id);
    let request = bench.approvers.show("lea", &other);
    assert_eq!(request["columns"][0]["masked"], false, "{request}");
    let frames = ask(&mut client, "billing");
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
    assert_eq!((rows(&frames), clear(&frames)), (200, 0));
}
