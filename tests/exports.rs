//! Export control against people who try to get around it: what they see in all is counted, whichever way they ask.
//!
//! Every contact has a code that nobody else has. What a person has taken out is the number of codes among all bytes that
//! came back to any of the person's sessions.
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use pgveil::audit::Record;
use pgveil::export::desk::RecordFn;
use pgveil::export::request::{Approver, Request, State, Terms};
use pgveil::export::store::Sqlite;
use pgveil::export::{Desk, DeskError};
use support::message::{Client, Frame, bind, describe, execute, parse, sync};
use support::{Config, Options, Pgveil, Postgres};

/// Rows of one result.
const ROWS: usize = 100;
/// Rows of a person on a day.
const DAY: usize = 300;
const CONTACTS: usize = 5000;

const PEOPLE: usize = 40;

fn policy(export: &str) -> String {
    let users: Vec<String> = (0..PEOPLE).map(|number| format!("u{number}")).collect();
    format!(
        "version: 1\n\
         data: {{ phone: {{ level: 3, columns: [public.contacts.phone] }}, code: {{ level: 1, columns: [public.contacts.code] }} }}\n\
         people: {{ ann: {{ db_user: 'u1, u2' }} }}\n\
         roles:\n  agent:\n    who: [{{ db_user: [{}] }}]\n    mask: {{ phone: {{ show: {{ last: 4 }} }} }}\n    export: {{ {export} }}\n  \
         clear: {{ who: [{{ db_user: clear }}], unmasked: true }}\n\
         unmatched: deny\n",
        users.join(", ")
    )
}

fn start(export: &str) -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    let users: String = (0..PEOPLE)
        .map(|number| {
            format!("CREATE ROLE u{number} LOGIN; GRANT ALL ON contacts, plain TO u{number}; ")
        })
        .collect();
    server.sql(
        "postgres",
        &format!(
            "CREATE TABLE contacts(id int PRIMARY KEY, code text, phone text); \
             INSERT INTO contacts SELECT g, 'k' || lpad(g::text, 4, '0') || 'x', '138' || lpad(g::text, 8, '0') \
             FROM generate_series(1, {CONTACTS}) g; CREATE TABLE plain(id int PRIMARY KEY); \
             INSERT INTO plain SELECT generate_series(1, {CONTACTS}); CREATE ROLE clear LOGIN SUPERUSER; \
             GRANT TEMPORARY ON DATABASE postgres TO PUBLIC; {users}"
        ),
    );
    let mut config = Config::new(&server);
    config.policy(&policy(export));
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

const BOTH: &str = "rows: 100, per_day: 300, approvers: [legal, dpo]";

fn login(pgveil: &Pgveil, user: &str) -> Client {
    Client::login(pgveil.port(), user, "", "postgres")
}

/// The codes that came back.
#[derive(Default)]
struct Taken(BTreeSet<String>);

impl Taken {
    fn add(&mut self, frames: &[Frame]) {
        for frame in frames {
            let text = String::from_utf8_lossy(&frame.body);
            for (at, _) in text.match_indices('k') {
                if let Some(code) = text.get(at..at + 6)
                    && code.ends_with('x')
                    && code[1..5].bytes().all(|byte| byte.is_ascii_digit())
                {
                    self.0.insert(code.to_owned());
                }
            }
        }
    }

    /// Sends texts until one is refused; the last error's message and hint.
    fn run(
        &mut self,
        client: &mut Client,
        texts: impl IntoIterator<Item = String>,
    ) -> Option<Told> {
        for text in texts {
            let frames = client.query(&text);
            self.add(&frames);
            if let Some(told) = told(&frames) {
                return Some(told);
            }
        }
        None
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

#[derive(Debug, Clone)]
struct Told {
    sqlstate: String,
    message: String,
    hint: String,
}

fn told(frames: &[Frame]) -> Option<Told> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    let field = |code| frame.field(code).unwrap_or_default();
    Some(Told {
        sqlstate: field(b'C'),
        message: field(b'M'),
        hint: field(b'H'),
    })
}

fn stopped(told: &Option<Told>) -> bool {
    told.as_ref()
        .is_some_and(|told| told.sqlstate == "42501" && told.hint.starts_with("export request "))
}

fn request_of(told: &Option<Told>) -> String {
    let hint = &told.as_ref().expect("an error").hint;
    let id = hint
        .strip_prefix("export request ")
        .and_then(|rest| rest.get(..8));
    id.unwrap_or_else(|| panic!("no request in {hint}"))
        .to_owned()
}

/// Each way of asking, as statements in order; what comes back in all stays within the day.
#[test]
fn no_way_of_asking_gets_more_than_a_day_allows() {
    let (_server, pgveil) = start(BOTH);
    let pages = |text: fn(usize) -> String| (0..CONTACTS / 50).map(text).collect::<Vec<_>>();
    let repeated = |before: &[&str], each: &str, times: usize| {
        let before = before.iter().map(|text| (*text).to_owned());
        before
            .chain((0..times).map(|_| each.to_owned()))
            .collect::<Vec<_>>()
    };
    let ways: Vec<(&str, Vec<String>, usize)> = vec![
        ("all at once", repeated(&[], "SELECT code FROM contacts", 1), ROWS),
        ("pages by OFFSET", pages(|page| format!("SELECT code FROM contacts ORDER BY id LIMIT 50 OFFSET {}", page * 50)), DAY),
        ("pages by key", pages(|page| format!("SELECT code FROM contacts WHERE id > {} ORDER BY id LIMIT 50", page * 50)), DAY),
        ("pages by ctid", pages(|page| format!("SELECT code FROM contacts WHERE ctid >= '({page},0)' AND ctid < '({},0)'", page + 1)), DAY),
        ("one by one", (1..CONTACTS).map(|id| format!("SELECT code FROM contacts WHERE id = {id}")).collect(), DAY),
        ("FETCH in portions", repeated(&["BEGIN", "DECLARE c CURSOR FOR SELECT code FROM contacts"], "FETCH 30 FROM c", 50), ROWS),
        ("many cursors", (0..20).flat_map(|page| [
            "BEGIN".to_owned(),
            format!("DECLARE c{page} CURSOR WITH HOLD FOR SELECT code FROM contacts WHERE id > {}", page * 90),
            format!("FETCH 90 FROM c{page}"), "COMMIT".to_owned(),
        ]).collect(), DAY),
        ("several statements in one message", vec![
            (0..40).map(|page| format!("SELECT code FROM contacts ORDER BY id LIMIT 90 OFFSET {}", page * 90)).collect::<Vec<_>>().join("; "),
        ], DAY),
        ("COPY", repeated(&[], "COPY contacts (code) TO STDOUT", 1), ROWS),
        ("COPY of a query in pages", pages(|page| format!("COPY (SELECT code FROM contacts ORDER BY id LIMIT 50 OFFSET {}) TO STDOUT", page * 50)), DAY),
        ("UPDATE RETURNING", repeated(&[], "UPDATE contacts SET code = code RETURNING code", 1), ROWS),
        ("DELETE RETURNING in a transaction", repeated(&["BEGIN"], "DELETE FROM contacts RETURNING code", 1), ROWS),
        ("a temporary table", vec![
            "CREATE TEMP TABLE mine AS SELECT code FROM contacts".to_owned(), "SELECT * FROM mine".to_owned(),
        ], ROWS),
        ("a temporary table in pages", [String::from("CREATE TEMP TABLE mine (code text)")].into_iter().chain(
            (0..50).map(|page| format!("INSERT INTO mine SELECT code FROM contacts WHERE id BETWEEN {} AND {}", page * 90 + 1, page * 90 + 90)))
            .chain([String::from("SELECT * FROM mine")]).collect(), DAY),
        ("a temporary table filled by UPDATE", vec![
            "CREATE TEMP TABLE mine AS SELECT n, ''::text AS code FROM generate_series(1, 5000) n".to_owned(),
            "UPDATE mine SET code = (SELECT code FROM contacts WHERE id = n)".to_owned(), "SELECT * FROM mine".to_owned(),
        ], ROWS),
        ("a temporary table filled by a prepared statement", vec![
            "CREATE TEMP TABLE mine (code text)".to_owned(), "PREPARE p AS INSERT INTO mine SELECT code FROM contacts".to_owned(),
            "EXECUTE p".to_owned(), "SELECT * FROM mine".to_owned(),
        ], ROWS),
        ("a temporary table with all in one value", vec![
            "CREATE TEMP TABLE mine AS SELECT array_agg(code) FROM contacts".to_owned(), "SELECT * FROM mine".to_owned(),
        ], 0),
        ("another table", vec!["INSERT INTO plain SELECT 10000 + id FROM contacts".to_owned()], 0),
        ("rows multiplied to hide", repeated(&[], "SELECT c.code FROM contacts c, generate_series(1, 2)", 1), ROWS),
        ("json_agg", repeated(&[], "SELECT json_agg(code) FROM contacts", 1), 0),
        ("json_agg of rows", repeated(&[], "SELECT json_agg(c) FROM contacts c", 1), 0),
        ("jsonb_agg by group", repeated(&[], "SELECT jsonb_agg(code) FROM contacts GROUP BY id % 500", 1), ROWS),
        ("json_object_agg", repeated(&[], "SELECT json_object_agg(id, code) FROM contacts GROUP BY id % 100", 1), ROWS),
        ("array_agg", repeated(&[], "SELECT array_agg(code) FROM contacts", 1), 0),
        ("array_agg by group", repeated(&[], "SELECT id / 10, array_agg(code) FROM contacts GROUP BY 1", 1), ROWS),
        ("ARRAY(...)", repeated(&[], "SELECT ARRAY(SELECT code FROM contacts)", 1), 0),
        // Text counts a row for every 16 bytes, which hold up to two and two thirds of a code.
        ("string_agg", repeated(&[], "SELECT string_agg(code, ',') FROM contacts", 1), 0),
        ("string_agg by group", repeated(&[], "SELECT string_agg(code, ',') FROM contacts GROUP BY id / 50", 1), 5 * ROWS / 2),
        ("string_agg by small groups", repeated(&[], "SELECT string_agg(code, '') FROM contacts GROUP BY id / 8", 1), 3 * ROWS),
        ("string_agg cut up again", repeated(&[], &format!("SELECT {} FROM (SELECT string_agg(code, '') AS s FROM contacts GROUP BY id / 500) x",
            (0..250).map(|piece| format!("substr(s, {}, 12)", piece * 12 + 1)).collect::<Vec<_>>().join(", ")), 1), 5 * ROWS / 2),
        ("xmlagg", repeated(&[], "SELECT xmlagg(xmlelement(name c, code)) FROM contacts", 1), 0),
        ("window ladder", repeated(&[], "SELECT string_agg(code, '') OVER (ORDER BY id) FROM contacts", 1), 5 * ROWS / 2),
        ("lag ladder", repeated(&[], &format!("SELECT {} FROM contacts",
            (1..40).map(|step| format!("lag(code, {step}) OVER w")).collect::<Vec<_>>().join(", ") + " "
        ).replace(" FROM", " FROM").replace("contacts", "contacts WINDOW w AS (ORDER BY id)"), 1), ROWS),
        ("side by side", repeated(&[], "SELECT a.code, b.code, c.code, d.code FROM contacts a JOIN contacts b ON b.id = a.id + 1000 \
            JOIN contacts c ON c.id = a.id + 2000 JOIN contacts d ON d.id = a.id + 3000", 1), ROWS),
        ("a recursive text", repeated(&[], "WITH RECURSIVE r(n, s) AS (SELECT 0, ''::text UNION ALL SELECT n + 1, s || c.code FROM r JOIN \
            contacts c ON c.id = n + 1 WHERE n < 2000) SELECT max(s) FROM r", 1), 0),
    ];
    for (number, (name, texts, most)) in ways.into_iter().enumerate() {
        let user = format!("u{}", number + 3);
        let mut taken = Taken::default();
        let mut client = login(&pgveil, &user);
        let told = taken.run(&mut client, texts);
        assert!(stopped(&told), "{name}: {} codes, {told:?}", taken.count());
        assert!(
            taken.count() <= most,
            "{name}: {} codes, {told:?}",
            taken.count()
        );
        // Nothing else brings more on the same day.
        if told.is_some_and(|told| told.message.contains("within a day")) {
            let mut again = login(&pgveil, &user);
            let more = again.query("SELECT code FROM contacts WHERE id > 4000 LIMIT 99");
            taken.add(&more);
            assert!(
                taken.count() <= DAY,
                "{name}: {} codes after a new login",
                taken.count()
            );
        }
    }
}

#[test]
fn portals_with_a_row_limit_are_one_result() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    let mut taken = Taken::default();
    client.send_all(&[
        parse("", "SELECT code FROM contacts", &[]),
        bind("p", "", &[], 0),
        describe(b'P', "p"),
    ]);
    for _ in 0..20 {
        client.send_all(&[execute("p", 30)]);
    }
    client.send_all(&[sync()]);
    let frames = client.read_until_ready();
    taken.add(&frames);
    assert!(stopped(&told(&frames)), "{:?}", told(&frames));
    assert_eq!(taken.count(), ROWS);
}

#[test]
fn what_is_not_protected_is_not_counted_unless_the_policy_says_so() {
    let (_server, pgveil) = start(BOTH);
    let frames = login(&pgveil, "u0").query("SELECT * FROM plain");
    assert!(told(&frames).is_none());
    let (_server, pgveil) = start("rows: 100, counts: all, approvers: [legal, dpo]");
    let frames = login(&pgveil, "u0").query("SELECT * FROM plain");
    assert!(stopped(&told(&frames)), "{:?}", told(&frames));
}

#[test]
fn a_person_is_one_whatever_the_database_user() {
    let (_server, pgveil) = start(BOTH);
    let mut taken = Taken::default();
    for (user, from) in [("u1", 0), ("u2", 90), ("u1", 180), ("u2", 270), ("u1", 360)] {
        let text = format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 90");
        taken.run(&mut login(&pgveil, user), [text]);
    }
    assert!(taken.count() <= DAY, "{}", taken.count());
    assert!(taken.count() > DAY - 90, "{}", taken.count());
}

#[test]
fn parallel_sessions_share_one_budget() {
    let (_server, pgveil) = start(BOTH);
    let port = pgveil.port();
    let sessions: Vec<_> = (0..30)
        .map(|number| {
            thread::spawn(move || {
                let mut taken = Taken::default();
                let mut client = Client::login(port, "u0", "", "postgres");
                let texts = (0..10).map(|page| {
                    let from = number * 100 + page * 10;
                    format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 10")
                });
                taken.run(&mut client, texts);
                taken.0
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for session in sessions {
        all.extend(session.join().expect("a session"));
    }
    assert!(all.len() <= DAY, "{}", all.len());
    assert!(all.len() > DAY - 10, "{}: needlessly refused", all.len());
}

#[test]
fn a_killed_proxy_gives_nothing_back() {
    let (_server, mut pgveil) = start(BOTH);
    let mut taken = Taken::default();
    let page =
        |from: usize| format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 20");
    for round in 0..30 {
        taken.run(&mut login(&pgveil, "u0"), [page(round * 20)]);
        if round % 3 == 0 {
            pgveil.kill();
            pgveil = pgveil.restart();
        }
    }
    assert!(taken.count() <= DAY, "{}", taken.count());
}

#[test]
fn people_seen_are_counted_once_a_day() {
    let (_server, pgveil) = start("subjects_per_day: 25, approvers: [legal, dpo]");
    let mut client = login(&pgveil, "u0");
    // The same twenty customers all day.
    for round in 0..30 {
        for text in [
            "SELECT id, code FROM contacts WHERE id <= 20",
            "SELECT code, id FROM contacts WHERE id <= 20 ORDER BY id",
        ] {
            let frames = client.query(text);
            assert!(
                told(&frames).is_none(),
                "round {round}: {:?}",
                told(&frames)
            );
        }
        client.send_all(&[
            parse("", "SELECT id, code FROM contacts WHERE id <= $1", &[]),
            bind("", "", &[Some("20")], 1),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]);
        assert!(told(&client.read_until_ready()).is_none(), "round {round}");
    }
    // Ten more, of which five fit.
    let mut taken = Taken::default();
    let told = taken.run(
        &mut client,
        ["SELECT id, code FROM contacts WHERE id BETWEEN 21 AND 30".to_owned()],
    );
    assert!(stopped(&told), "{told:?}");
    assert!(told.expect("told").message.contains("people on one day"));
    assert_eq!(taken.count(), 5);
}

/// The store as approvers have it, while pgveil is down: it locks the file.
async fn desk(pgveil: &Pgveil, policy_version: &str) -> Desk {
    let store = loop {
        match Sqlite::open(&pgveil.folder().join("var/state.db")) {
            Ok(store) => break store,
            Err(error) => assert!(error.0.contains("another process"), "{error}"),
        }
    };
    let record: RecordFn = Arc::new(|_: &Record| Ok(()));
    Desk::new(Arc::new(store), record, policy_version)
        .await
        .expect("a desk")
}

fn signer(person: &str, group: &str) -> Approver {
    Approver {
        person: person.to_owned(),
        groups: [group.to_owned()].into(),
    }
}

/// Two people sign.
fn grant(pgveil: &Pgveil, id: &str, rows: u64) -> Request {
    grant_clear(pgveil, id, rows, &[])
}

fn grant_clear(pgveil: &Pgveil, id: &str, rows: u64, clear: &[&str]) -> Request {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let request = desk(pgveil, "").await;
        let version = request
            .get(id)
            .await
            .expect("the request")
            .asked
            .policy_version;
        request.policy_changed(&version);
        let terms = Terms {
            rows: Some(rows),
            clear: clear.iter().map(|class| (*class).to_owned()).collect(),
        };
        let half = request
            .approve(id, &signer("lea", "legal"), None, &terms, None)
            .await
            .expect("signed");
        assert_eq!(half.state, State::Approved);
        let twice = request
            .approve(id, &signer("lea", "dpo"), None, &terms, None)
            .await;
        assert!(matches!(twice, Err(DeskError::Objection(_))), "{twice:?}");
        request
            .approve(id, &signer("dan", "dpo"), None, &terms, None)
            .await
            .expect("signed")
    })
}

#[test]
fn an_export_goes_on_after_two_signatures_and_only_that_one() {
    let (_server, mut pgveil) = start(BOTH);
    let text = "SELECT code FROM contacts WHERE id > 0 ORDER BY id LIMIT 1000";
    let mut taken = Taken::default();
    let mut client = login(&pgveil, "u0");
    client.query("SET pgveil.reason = 'yearly letter'");
    let first = taken.run(&mut client, [text.to_owned()]);
    let id = request_of(&first);
    // The same statement finds its request, whatever its comments and blanks.
    let again = taken.run(
        &mut client,
        [format!("{} -- again", text.replace(' ', "  "))],
    );
    assert_eq!(request_of(&again), id);
    let other = taken.run(&mut client, [text.replace("id > 0", "id > 1")]);
    assert_ne!(request_of(&other), id);
    assert_eq!(taken.count(), ROWS + 1);

    pgveil.kill();
    let request = grant(&pgveil, &id, 400);
    assert_eq!(request.reason.as_deref(), Some("yearly letter"));
    let column = &request.asked.columns[0];
    assert_eq!(
        (column.name.as_str(), column.level, column.masked),
        ("public.contacts.code", Some(1), false)
    );
    let pgveil = pgveil.restart();

    // Somebody else's grant, and another statement's.
    let stranger = Taken::default().run(&mut login(&pgveil, "u5"), [text.to_owned()]);
    assert_ne!(request_of(&stranger), id);
    let mut client = login(&pgveil, "u0");
    let other = Taken::default().run(&mut client, [text.replace("id > 0", "id > 2")]);
    assert_ne!(request_of(&other), id);
    // The rows granted, once.
    let mut taken = Taken::default();
    let told = taken.run(&mut client, [text.to_owned()]);
    assert!(told.is_some(), "1,000 rows are more than 400");
    assert_eq!(taken.count(), 400);
    let mut taken = Taken::default();
    let told = taken.run(&mut client, [text.to_owned()]);
    assert_ne!(request_of(&told), id, "it was used");
    assert!(taken.count() <= ROWS);

    let lines = pgveil.audit_lines();
    let steps: Vec<&str> = ["open", "use"]
        .into_iter()
        .filter(|action| {
            lines.iter().any(|line| {
                line.contains(&format!("\"request\":\"{id}\""))
                    && line.contains(&format!("\"action\":\"{action}\""))
            })
        })
        .collect();
    assert_eq!(steps, ["open", "use"]);
    let ran = lines.iter().find(|line| {
        line.contains("\"event\":\"export_stop\"")
            && line.contains("\"rows\":400")
            && line.contains(&id)
    });
    let ran = ran.expect("the granted run is on record");
    for person in ["lea", "dan"] {
        assert!(ran.contains(person), "{ran}");
    }
    assert!(!lines.iter().any(|line| line.contains("k0001x")));
}

#[test]
fn a_grant_holds_for_the_parameters_it_was_asked_for() {
    let (_server, mut pgveil) = start("rows: 10, approvers: [legal, dpo]");
    let run = |client: &mut Client, from: &str, portion: u32| {
        client.send_all(&[
            parse(
                "",
                "SELECT code FROM contacts WHERE id > $1 ORDER BY id LIMIT 50",
                &[],
            ),
            bind("", "", &[Some(from)], 0),
            describe(b'P', ""),
            execute("", portion),
            sync(),
        ]);
        let frames = client.read_until_ready();
        let mut taken = Taken::default();
        taken.add(&frames);
        (told(&frames), taken.count())
    };
    let (first, _) = run(&mut login(&pgveil, "u0"), "100", 0);
    let id = request_of(&first);
    pgveil.kill();
    grant(&pgveil, &id, 50);
    let pgveil = pgveil.restart();
    let mut client = login(&pgveil, "u0");
    let (other, count) = run(&mut client, "200", 0);
    assert_eq!((request_of(&other) == id, count), (false, 10));
    assert_eq!(run(&mut client, "100", 0).1, 50);
}

#[test]
fn a_policy_that_changed_since_voids_a_grant() {
    let (server, mut pgveil) = start(BOTH);
    let text = "SELECT code FROM contacts";
    let told = Taken::default().run(&mut login(&pgveil, "u0"), [text.to_owned()]);
    let id = request_of(&told);
    pgveil.kill();
    grant(&pgveil, &id, 4000);
    let file = pgveil.folder().join("policies/test.yaml");
    let changed = policy("rows: 50, per_day: 300, approvers: [legal, dpo]");
    std::fs::write(file, changed).expect("written");
    let pgveil = pgveil.restart();
    let mut taken = Taken::default();
    let told = taken.run(&mut login(&pgveil, "u0"), [text.to_owned()]);
    assert_ne!(request_of(&told), id);
    assert_eq!(taken.count(), 50);
    drop(server);
}

#[test]
fn the_server_stops_working_on_a_stopped_export() {
    let (server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    let frames =
        client.query("BEGIN; SELECT c.code, g FROM contacts c, generate_series(1, 10000000) g");
    assert!(stopped(&told(&frames)), "{:?}", told(&frames));
    let running = server.sql(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'u0' AND state = 'active'",
    );
    assert_eq!(running, [[Some("0".to_owned())]]);
    // The transaction has failed, as after any error.
    assert_eq!(
        frames.last().and_then(|frame| frame.body.first()),
        Some(&b'E')
    );
    assert_eq!(
        told(&client.query("SELECT 1")).expect("aborted").sqlstate,
        "25P02"
    );
    client.query("ROLLBACK");
    assert!(told(&client.query("SELECT count(*) FROM contacts")).is_none());
}

#[test]
fn cancelled_before_its_end_a_result_still_counts() {
    let (_server, pgveil) = start("rows: 1000, per_day: 300, approvers: [legal, dpo]");
    let mut taken = Taken::default();
    for page in 0..10 {
        // An error of the client's own making, after ninety rows.
        let text = format!(
            "SELECT code, 1 / (id - {}) FROM contacts WHERE id > {} ORDER BY id",
            page * 90 + 91,
            page * 90
        );
        let frames = login(&pgveil, "u0").query(&text);
        taken.add(&frames);
    }
    assert!(taken.count() <= DAY, "{}", taken.count());
}

#[test]
fn a_grant_can_take_masks_off_where_the_policy_lets_it() {
    let (_server, mut pgveil) =
        start("rows: 10, approvers: [legal, dpo], grants: { may_unmask: [phone], uses: 3 }");
    let shown = |frames: &[Frame]| {
        let values: Vec<String> = frames
            .iter()
            .filter(|frame| frame.tag == b'D')
            .flat_map(Frame::columns)
            .flatten()
            .map(|value| String::from_utf8_lossy(&value).into_owned())
            .collect();
        let raw = values
            .iter()
            .filter(|value| value.starts_with("138"))
            .count();
        let masked = values.iter().filter(|value| value.contains('*')).count();
        (raw, masked)
    };
    let text = "SELECT phone FROM contacts WHERE id <= 20";
    let bound = |client: &mut Client, most: &str| {
        client.send_all(&[
            parse("", "SELECT phone FROM contacts WHERE id <= $1", &[]),
            bind("", "", &[Some(most)], 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]);
        client.read_until_ready()
    };
    let mut client = login(&pgveil, "u0");
    let simple = request_of(&told(&client.query(text)));
    let extended = request_of(&told(&bound(&mut client, "20")));
    pgveil.kill();
    let request = grant_clear(&pgveil, &simple, 1000, &["phone"]);
    let column = &request.asked.columns[0];
    assert_eq!(
        (
            column.name.as_str(),
            column.class.as_str(),
            column.level,
            column.masked
        ),
        ("public.contacts.phone", "phone", Some(3), true)
    );
    grant_clear(&pgveil, &extended, 15, &["phone"]);
    let pgveil = pgveil.restart();

    let mut client = login(&pgveil, "u0");
    assert_eq!(shown(&client.query(text)), (20, 0));
    // Another value, another statement, another person: masked.
    assert_eq!(
        shown(&client.query("SELECT phone FROM contacts WHERE id <= 5")),
        (0, 5)
    );
    assert_eq!(
        shown(&client.query("SELECT phone FROM contacts WHERE id < 5")),
        (0, 4)
    );
    assert_eq!(shown(&login(&pgveil, "u5").query(text)), (0, 10));
    // No condition on what is masked either.
    assert_eq!(
        shown(&client.query("SELECT phone FROM contacts WHERE phone = '13800000007'")),
        (0, 0)
    );
    // Through parameters: fifteen rows were granted.
    assert_eq!(shown(&bound(&mut client, "20")), (15, 0));
    let other = bound(&mut client, "19");
    assert_eq!(
        told(&other).map(|told| told.sqlstate).as_deref(),
        Some("42501")
    );
    assert_eq!(shown(&other), (0, 0));
    // Used as often as granted, then masked again.
    assert_eq!(shown(&client.query(text)), (20, 0));
    assert_eq!(shown(&client.query(text)), (20, 0));
    assert_eq!(shown(&client.query(text)), (0, 10));
    let ran = pgveil.audit_lines();
    let ran = ran.iter().filter(|line| {
        line.contains("\"event\":\"statement\"")
            && line.contains(&simple)
            && line.contains("\"clear\":[\"phone\"]")
    });
    assert_eq!(ran.count(), 3);
}

/// A statement that was planned without masks must not run but by the grant it was planned for.
#[test]
fn a_statement_planned_for_a_grant_runs_by_no_other_way() {
    let (_server, mut pgveil) =
        start("rows: 10, approvers: [legal, dpo], grants: { may_unmask: [phone], uses: 5 }");
    let text = "SELECT phone FROM contacts WHERE id <= $1";
    let asked = |name: &str| {
        [
            parse(name, text, &[]),
            bind("", name, &[Some("20")], 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]
    };
    let mut client = login(&pgveil, "u0");
    client.send_all(&asked(""));
    let id = request_of(&told(&client.read_until_ready()));
    pgveil.kill();
    grant_clear(&pgveil, &id, 1000, &["phone"]);
    let pgveil = pgveil.restart();
    let raw = |frames: &[Frame]| {
        frames.iter().any(|frame| {
            frame.tag == b'D' && String::from_utf8_lossy(&frame.body).contains("13800000")
        })
    };

    let mut client = login(&pgveil, "u0");
    client.send_all(&asked("s"));
    assert!(raw(&client.read_until_ready()), "the grant");
    for text in [
        "EXECUTE s(20)",
        "EXECUTE s(3)",
        "DECLARE c CURSOR FOR EXECUTE s(3)",
        "CREATE TEMP TABLE t AS EXECUTE s(20)",
    ] {
        let frames = client.query(text);
        assert!(
            !raw(&frames) && told(&frames).is_some(),
            "{text}: {frames:?}"
        );
    }
    // Another text under the name that is taken: the Parse fails, and the Bind would run the first one.
    let other = "SELECT phone FROM contacts WHERE id >= $1";
    client.send_all(&[
        parse("s", other, &[]),
        sync(),
        bind("", "s", &[Some("3")], 0),
        execute("", 0),
        sync(),
    ]);
    let mut frames = Vec::new();
    while let Some(frame) = client.read() {
        let ready = frame.tag == b'Z';
        frames.push(frame);
        if ready && frames.iter().filter(|frame| frame.tag == b'Z').count() == 2 {
            break;
        }
    }
    assert!(!raw(&frames), "{frames:?}");
}

#[test]
fn rows_that_were_stored_are_on_record() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    for text in [
        "CREATE TEMP TABLE mine AS SELECT code FROM contacts WHERE id <= 40",
        "INSERT INTO mine SELECT code FROM contacts WHERE id <= 30",
    ] {
        assert!(told(&client.query(text)).is_none(), "{text}");
    }
    let lines = pgveil.audit_lines();
    for (kind, rows) in [("CREATE TABLE AS", 40), ("INSERT", 30)] {
        let kind = format!("\"kind\":\"{kind}\"");
        let line = lines.iter().find(|line| line.contains(&kind));
        let line = line.unwrap_or_else(|| panic!("no {kind}"));
        assert!(line.contains(&format!("\"rows\":{rows},")), "{line}");
    }
}

#[test]
fn what_nobody_could_count_is_refused() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    client.query("CREATE TEMP TABLE mine (code text)");
    let told = |client: &mut Client, text: &str| told(&client.query(text));
    for text in [
        "WITH w AS (INSERT INTO mine SELECT code FROM contacts RETURNING 1) SELECT count(*) FROM w",
        "WITH c AS (SELECT code FROM contacts), w AS (INSERT INTO mine SELECT * FROM c) SELECT 1",
        "WITH w AS (UPDATE mine SET code = c.code FROM contacts c RETURNING 1) SELECT 1 FROM w",
    ] {
        let told = told(&mut client, text).expect(text);
        assert!(
            told.message.contains("a WITH query that writes"),
            "{text}: {told:?}"
        );
    }
    for text in [
        "WITH w AS (INSERT INTO mine VALUES ('x') RETURNING code) SELECT w.code FROM w, contacts c WHERE c.id = 1",
        "WITH w AS (UPDATE contacts SET code = 'y' WHERE id = 1 RETURNING id) SELECT * FROM w",
        "WITH w AS (UPDATE mine SET code = 'y' WHERE code IN (SELECT code FROM contacts) RETURNING code) SELECT * FROM w",
        "UPDATE mine SET code = 'z' WHERE code IN (SELECT code FROM contacts)",
        "INSERT INTO contacts SELECT id + 10000, code, phone FROM contacts WHERE id = 9",
    ] {
        assert!(
            told(&mut client, text).is_none(),
            "{text}: {:?}",
            told(&mut client, text)
        );
    }
}

/// A proxy whose state is in a database of its own server.
fn proxy_over(server: &Postgres, state: &Postgres, export: &str) -> Pgveil {
    let mut config = Config::new(server);
    config.policy(&policy(export));
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
        state.port()
    );
    config.set("state", &url);
    Pgveil::start(&config)
}

#[test]
fn two_proxies_that_share_a_state_share_every_budget() {
    const LIMIT: usize = 1000;
    let (server, _alone) = start(BOTH);
    let state = Postgres::start(Options::default());
    let export = format!("per_day: {LIMIT}, approvers: [legal, dpo]");
    let proxies = [
        proxy_over(&server, &state, &export),
        proxy_over(&server, &state, &export),
    ];
    let sessions: Vec<_> = (0..64)
        .map(|number| {
            let port = proxies[number % 2].port();
            thread::spawn(move || {
                let mut taken = Taken::default();
                let mut client = Client::login(port, "u0", "", "postgres");
                let texts = (0..6).map(|page| {
                    let from = number * 70 + page * 10;
                    format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 10")
                });
                taken.run(&mut client, texts);
                taken.0
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for session in sessions {
        all.extend(session.join().expect("a session"));
    }
    assert!(all.len() <= LIMIT, "{} codes", all.len());
    // What is leased and not spent is the other's to miss: a lease, for a minute.
    assert!(
        all.len() >= LIMIT - 2 * LIMIT / 32 - 20,
        "{} codes",
        all.len()
    );
    eprintln!(
        "{} of {LIMIT} rows served by two proxies to 64 clients",
        all.len()
    );

    // A request made at one proxy is found at the other.
    let text = "SELECT code FROM contacts WHERE id > 77";
    let ids: Vec<String> = proxies
        .iter()
        .map(|proxy| request_of(&Taken::default().run(&mut login(proxy, "u7"), [text.to_owned()])))
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn without_its_state_a_proxy_serves_what_needs_none() {
    let (server, _alone) = start(BOTH);
    let mut state = Postgres::start(Options::default());
    let pgveil = proxy_over(
        &server,
        &state,
        "rows: 100, per_day: 1000, approvers: [legal, dpo]",
    );
    let mut client = login(&pgveil, "u0");
    assert!(told(&client.query("SELECT code FROM contacts LIMIT 5")).is_none());
    state.crash();
    assert!(
        told(&client.query("SELECT * FROM plain")).is_none(),
        "nothing of it is counted"
    );
    // Rows that are leased still go out; then nobody knows any more.
    let mut taken = Taken::default();
    let stopped = taken.run(
        &mut client,
        (0..100).map(|_| "SELECT code FROM contacts LIMIT 5".to_owned()),
    );
    let stopped = stopped.expect("a refusal");
    assert!(stopped.message.contains("cannot be counted"), "{stopped:?}");
    assert!(told(&client.query("SELECT count(*) FROM plain")).is_none());
    assert!(pgveil.http("/metrics").contains("pgveil_state_available 0"));
    state.restart();
    let mut attempts = 0;
    while told(&client.query("SELECT code FROM contacts LIMIT 5")).is_some() {
        attempts += 1;
        assert!(attempts < 600, "it does not recover");
        thread::sleep(std::time::Duration::from_millis(100));
    }
}
