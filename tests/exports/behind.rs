//! People behind a database user that an application shares: counted, asking and granted as themselves, by whatever name
//! they come, and never signing for themselves.
use crate::approvers::Approvers;
use crate::support::message::{Client, bind, execute, flush, parse, sync};
use crate::support::{Config, Folder, Pgveil, Postgres};
use crate::{DAY, ROWS, Taken, login, request_of, server, stopped, told};

/// Ann has a database user of her own, and another name in one of two applications.
const POLICY: &str = r#"
version: 1
data: { phone: { columns: [public.contacts.phone] }, code: { columns: [public.contacts.code] } }
people: { ann: { db_user: ann_db, app_user: a.smith } }
applications: { crm_app: { comment: app_user }, erp: { setting: pgveil.app_user } }
roles:
  agent:
    who: [{ db_user: [crm_app, erp, ann_db] }]
    mask: { phone: { show: { last: 4 } } }
    export: { rows: 100, per_day: 300, approvers: [legal, dpo] }
unmatched: deny
"#;

/// Each of them Ann's own, in both groups: by her name, by her database user, by her name in an application and spelt
/// otherwise, and by nothing but what the account is called.
const ANNS: [(&str, &str, &str); 4] = [
    ("ann", "ann", "legal,dpo"),
    ("night", "ann_db", "legal,dpo"),
    ("smith", "Ａ.Smith", "legal,dpo"),
    ("a.smith", "somebody else", "legal,dpo"),
];

const TEXT: &str = "SELECT code FROM contacts WHERE id > 0 ORDER BY id LIMIT 250";

struct Bench {
    pgveil: Pgveil,
    approvers: Approvers,
    _folder: Folder,
    _server: Postgres,
}

impl Bench {
    fn new() -> Bench {
        let server = server(&[]);
        server.sql(
            "postgres",
            "CREATE ROLE crm_app LOGIN; CREATE ROLE erp LOGIN; CREATE ROLE ann_db LOGIN; \
             GRANT SELECT ON contacts TO crm_app, erp, ann_db",
        );
        let mut config = Config::new(&server);
        config.policy(POLICY);
        let folder = Folder::new("behind");
        let others = [("lea", "lea", "legal"), ("dan", "dan", "dpo")];
        let accounts = [&ANNS[..], &others[..]].concat();
        let state = folder.path().join("state.db");
        let approvers = Approvers::new(&mut config, &state, &accounts);
        Bench {
            pgveil: Pgveil::start(&config),
            approvers,
            _folder: folder,
            _server: server,
        }
    }

    fn crm(&self) -> Client {
        login(&self.pgveil, "crm_app")
    }

    /// A session in which the other application says who it is for.
    fn erp(&self, user: &str) -> Client {
        let mut client = login(&self.pgveil, "erp");
        client.query(&format!("SET pgveil.app_user = '{user}'"));
        client
    }
}

fn of(user: &str, text: &str) -> String {
    format!("{text} /*app_user='{user}'*/")
}

fn rows(from: usize, count: usize) -> String {
    format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT {count}")
}

#[test]
fn a_person_is_counted_once_by_whatever_name_and_apart_from_others() {
    let bench = Bench::new();
    let mut clients = [
        bench.crm(),
        bench.erp("a.smith"),
        login(&bench.pgveil, "ann_db"),
    ];
    const CRM: usize = 0;
    const ERP: usize = 1;
    const OWN: usize = 2;
    let mut taken = Taken::default();
    for (client, text) in [
        (CRM, of("ann", &rows(0, 90))),
        (ERP, rows(90, 90)),
        (OWN, rows(180, 90)),
        (CRM, of("ANN", &rows(270, 30))),
    ] {
        let told = taken.run(&mut clients[client], [text.clone()]);
        assert!(told.is_none(), "{text}: {told:?}");
    }
    assert_eq!(taken.count(), DAY);
    for (client, text) in [
        (CRM, of("ann", &rows(300, 1))),
        (CRM, of("a.smith", &rows(300, 1))),
        (CRM, of("ann_db", &rows(300, 1))),
        (CRM, of("ａｎｎ", &rows(300, 1))),
        (ERP, rows(300, 1)),
        (OWN, rows(300, 1)),
    ] {
        let told = taken.run(&mut clients[client], [text.clone()]);
        assert!(stopped(&told), "{text}: {told:?}");
    }
    assert_eq!(taken.count(), DAY);
    // Whom the policy knows no other name of is nobody else by spelling, either.
    let crm = &mut clients[CRM];
    let mut eves = Taken::default();
    for (number, name) in ["eve", "Eve", "ＥＶＥ", "e\u{200b}ve"].iter().enumerate() {
        eves.run(crm, [of(name, &rows(number * 90, 90))]);
    }
    assert_eq!(eves.count(), DAY);
    // Others behind the same database user, in the same session, have theirs.
    assert!(
        Taken::default()
            .run(crm, [of("bob", &rows(0, 90))])
            .is_none()
    );
}

#[test]
fn a_request_names_the_person_who_cannot_sign_it_by_any_account_or_way() {
    let bench = Bench::new();
    let asked = Taken::default().run(&mut bench.crm(), [of("ann", TEXT)]);
    let id = request_of(&asked);
    // The same from another application is the same request: she is the same person.
    let again = Taken::default().run(&mut bench.erp("a.smith"), [TEXT.to_owned()]);
    assert_eq!(request_of(&again), id);
    let request = bench.approvers.show("lea", &id);
    assert_eq!(
        [
            &request["person"],
            &request["db_user"],
            &request["history"][0]["by"]
        ],
        ["ann", "crm_app", "ann"]
    );
    for (account, ..) in ANNS {
        let by_api = bench.approvers.approve(account, &id, 1);
        assert_eq!(by_api.status, 409, "{account}: {by_api:?}");
        assert!(
            by_api.body.contains("cannot sign it"),
            "{account}: {by_api:?}"
        );
        let by_command = bench.approvers.approve_by_command(account, &id, 1);
        let said = String::from_utf8_lossy(&by_command.stderr);
        assert_eq!(by_command.status.code(), Some(1), "{account}: {said}");
        assert!(said.contains("cannot sign it"), "{account}: {said}");
        let browser = bench.approvers.browser(account);
        let page = browser.get(&format!("/requests/{id}"));
        assert_eq!(page.status, 200, "{account}: {page:?}");
        let form = format!("action=\"/requests/{id}/approve\"");
        assert!(!page.body.contains(&form), "{account}: {}", page.body);
        let forged = browser.approve(&id, 1);
        assert_eq!(forged.status, 409, "{account}: {forged:?}");
        assert!(
            forged.body.contains("cannot sign it"),
            "{account}: {forged:?}"
        );
    }
    let request = bench.approvers.show("lea", &id);
    assert_eq!(request["state"], "requested", "{request}");
    // Somebody else's browser has the form, and it signs.
    let browser = bench.approvers.browser("lea");
    let page = browser.get(&format!("/requests/{id}"));
    let form = format!("action=\"/requests/{id}/approve\"");
    assert!(page.body.contains(&form), "{}", page.body);
    assert_eq!(browser.approve(&id, 1).status, 303);

    let records = bench.pgveil.audit_lines();
    let of_statement = records.iter().find(|line| {
        line.contains("\"event\":\"export_stop\"") && line.contains("\"app_user\":\"a.smith\"")
    });
    let of_statement = of_statement.expect("the statement is on record");
    for part in ["\"person\":\"ann\"", "\"db_user\":\"erp\"", id.as_str()] {
        assert!(of_statement.contains(part), "{part} in {of_statement}");
    }
}

#[test]
fn a_grant_is_one_persons_and_not_the_database_users() {
    let bench = Bench::new();
    let mut crm = bench.crm();
    let id = request_of(&Taken::default().run(&mut crm, [of("ann", TEXT)]));
    assert_eq!(bench.approvers.approve("lea", &id, 1).status, 200);
    assert_eq!(bench.approvers.approve("dan", &id, 2).status, 200);
    // Of others, in the session that asked and in new ones.
    for (client, text) in [
        (&mut crm, of("bob", TEXT)),
        (&mut bench.erp("bob"), TEXT.to_owned()),
        (&mut bench.crm(), of("ann.b", TEXT)),
    ] {
        let mut taken = Taken::default();
        let told = taken.run(client, [text.clone()]);
        assert_ne!(request_of(&told), id, "{text}");
        assert!(taken.count() <= ROWS, "{text}: {}", taken.count());
    }
    // Nobody in particular asks for nothing: nobody could be kept from signing it.
    let nobody = Taken::default()
        .run(&mut crm, [TEXT.to_owned()])
        .expect("stopped");
    assert_eq!(nobody.sqlstate, "42501");
    assert!(nobody.hint.contains("granted to a person"), "{nobody:?}");
    // What one has opened, another goes on with: on an account of one's own, or not at all.
    let mut erp = bench.erp("a.smith");
    erp.query("BEGIN");
    erp.query(&format!("DECLARE c CURSOR FOR {TEXT}"));
    let mut anns = Taken::default();
    anns.add(&erp.query("FETCH 60 FROM c"));
    erp.send_all(&[
        parse("", TEXT, &[]),
        bind("open", "", &[], 0),
        execute("open", 10),
        flush(),
    ]);
    while erp.read().expect("an answer").tag != b's' {}
    erp.send_all(&[sync()]);
    erp.read_until_ready();
    erp.query("SET pgveil.app_user = 'bob'");
    erp.query("SAVEPOINT s");
    let mut bobs = Taken::default();
    erp.send_all(&[execute("open", 10), sync()]);
    let frames = erp.read_until_ready();
    bobs.add(&frames);
    assert!(told(&frames).is_some_and(|told| told.message.contains("for somebody else")));
    assert_eq!(bobs.count(), 0, "on Ann's account");
    erp.query("ROLLBACK TO s");
    let frames = erp.query("FETCH 200 FROM c");
    bobs.add(&frames);
    assert_ne!(request_of(&told(&frames)), id);
    assert!(bobs.count() <= ROWS, "{}", bobs.count());
    // She uses it herself, once, by another name than she asked under.
    let mut taken = Taken::default();
    let told = taken.run(&mut crm, [of("a.smith", TEXT)]);
    assert!(told.is_none(), "{told:?}");
    assert_eq!(taken.count(), 250);
    let request = bench.approvers.show("lea", &id);
    assert_eq!(request["state"], "used", "{request}");
}

#[test]
fn a_cursor_that_is_read_under_a_grant_is_read_on_by_nobody_else() {
    let bench = Bench::new();
    let mut erp = bench.erp("a.smith");
    let opened = |client: &mut Client| {
        client.query("BEGIN");
        client.query("DECLARE c CURSOR FOR SELECT code FROM contacts ORDER BY id LIMIT 400");
        client.query("FETCH 120 FROM c")
    };
    let id = request_of(&told(&opened(&mut erp)));
    erp.query("ROLLBACK");
    assert_eq!(bench.approvers.approve("lea", &id, 1).status, 200);
    assert_eq!(bench.approvers.approve("dan", &id, 2).status, 200);
    let mut anns = Taken::default();
    anns.add(&opened(&mut erp));
    assert_eq!(anns.count(), 120, "under her grant");
    erp.query("SET pgveil.app_user = 'bob'");
    erp.query("SAVEPOINT s");
    let frames = erp.query("FETCH 60 FROM c");
    let mut bobs = Taken::default();
    bobs.add(&frames);
    assert_ne!(request_of(&told(&frames)), id);
    assert_eq!(
        bobs.count(),
        0,
        "the result has given more than he may have"
    );
    erp.query("ROLLBACK TO s");
    erp.query("SET pgveil.app_user = 'a.smith'");
    let frames = erp.query("FETCH 60 FROM c");
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
    anns.add(&frames);
    assert_eq!(anns.count(), 180);
}
