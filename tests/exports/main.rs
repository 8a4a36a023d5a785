//! Export control against people who try to get around it: what they see in all is counted, whichever way they ask.
//!
//! Every contact has a code that nobody else has. What a person has taken out is the number of codes among all bytes that
//! came back to any of the person's sessions.
#[path = "../support/mod.rs"]
mod support;

mod approvers;
mod behind;
mod bound;
mod budgets;
mod clear;
mod cuts;
mod followed;
mod full_disk;
mod grants;
mod held;
mod kills;
mod mentioned;
mod packed;
mod portions;
mod race;
mod secure;
mod state;
mod stored;
mod temporary;
mod traces;
mod ways;
mod writes;

use std::collections::BTreeSet;
use std::thread::JoinHandle;

use support::message::{Client, Frame};
use support::{Config, Options, Pgveil, Postgres};

/// Rows of one result.
pub const ROWS: usize = 100;
/// Rows of a person on a day.
pub const DAY: usize = 300;
pub const CONTACTS: usize = 5000;

pub const PEOPLE: usize = 80;

pub fn policy(export: &str) -> String {
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

/// 5,000 contacts, and people who may look at them.
pub fn server(settings: &[(&str, &str)]) -> Postgres {
    let server = Postgres::start(Options {
        settings,
        ..Options::default()
    });
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
    server
}

pub fn start(export: &str) -> (Postgres, Pgveil) {
    start_with(export, "")
}

/// With more in the database.
pub fn start_with(export: &str, more: &str) -> (Postgres, Pgveil) {
    let server = server(&[]);
    server.sql("postgres", more);
    let mut config = Config::new(&server);
    config.policy(&policy(export));
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

pub const BOTH: &str = "rows: 100, per_day: 300, approvers: [legal, dpo]";

pub fn login(pgveil: &Pgveil, user: &str) -> Client {
    Client::login(pgveil.port(), user, "", "postgres")
}

/// The codes that came back.
#[derive(Default)]
pub struct Taken(pub BTreeSet<String>);

impl Taken {
    pub fn add(&mut self, frames: &[Frame]) {
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
    pub fn run(
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

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The codes that sessions have taken out, all in all.
pub fn together(sessions: Vec<JoinHandle<BTreeSet<String>>>) -> BTreeSet<String> {
    let taken = sessions.into_iter();
    taken
        .flat_map(|session| session.join().expect("a session"))
        .collect()
}

#[derive(Debug, Clone)]
pub struct Told {
    pub sqlstate: String,
    pub message: String,
    pub hint: String,
}

pub fn told(frames: &[Frame]) -> Option<Told> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    let field = |code| frame.field(code).unwrap_or_default();
    Some(Told {
        sqlstate: field(b'C'),
        message: field(b'M'),
        hint: field(b'H'),
    })
}

pub fn stopped(told: &Option<Told>) -> bool {
    told.as_ref()
        .is_some_and(|told| told.sqlstate == "42501" && told.hint.starts_with("export request "))
}

pub fn request_of(told: &Option<Told>) -> String {
    let hint = &told.as_ref().expect("an error").hint;
    let id = hint
        .strip_prefix("export request ")
        .and_then(|rest| rest.get(..8));
    id.unwrap_or_else(|| panic!("no request in {hint}"))
        .to_owned()
}
