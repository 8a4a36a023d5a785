//! A session that is told how the server understood each text: `debug_print_parse` sends the analysed tree of a text as a
//! message at Parse, before anything of it runs (`pg_rewrite_query` in `src/backend/tcop/postgres.c`).
use crate::node::{Value, read};
use crate::support::message::{self, Client, Frame};

pub struct Line {
    client: Client,
    path: String,
}

/// What the server says to a text.
#[derive(Debug)]
pub enum Answer {
    /// The analysed tree.
    Tree(Value),
    /// There is nothing in the text.
    Empty,
    Error {
        sqlstate: String,
        message: String,
    },
    /// A tree that could not be read, and why.
    Unreadable(String),
}

impl Line {
    pub fn login(port: u16, user: &str, database: &str) -> Line {
        let mut client = Client::login(port, user, "", database);
        let told = client.query(
            "SET client_min_messages = log; SET debug_pretty_print = off; SET debug_print_parse = on",
        );
        assert!(told.iter().all(|frame| frame.tag != b'E'), "{told:?}");
        Line {
            client,
            path: String::new(),
        }
    }

    /// Schemas in which names are looked up from now on.
    pub fn look_in(&mut self, path: &str) {
        if self.path != path {
            let told = self.client.query(&format!("SET search_path = {path}"));
            assert!(told.iter().all(|frame| frame.tag != b'E'), "{told:?}");
            self.path = path.to_owned();
        }
    }

    /// Has the server analyse texts, each for itself. Nothing is executed.
    pub fn analyse<const N: usize>(&mut self, texts: [&str; N]) -> [Answer; N] {
        let sent = texts.map(|text| [message::parse("", text, &[]), message::sync()].concat());
        self.client.send_raw(&sent.concat());
        texts.map(|text| answer(text, &self.client.read_until_ready()))
    }
}

fn answer(text: &str, frames: &[Frame]) -> Answer {
    if let Some(error) = frames.iter().find(|frame| frame.tag == b'E') {
        return Answer::Error {
            sqlstate: error.field(b'C').unwrap_or_default(),
            message: error.field(b'M').unwrap_or_default(),
        };
    }
    assert!(
        frames.last().is_some_and(|frame| frame.tag == b'Z'),
        "the server left at: {text}"
    );
    let mut printed = frames.iter().filter(|frame| {
        frame.tag == b'N'
            && frame
                .field(b'M')
                .is_some_and(|title| title.starts_with("parse tree"))
    });
    // Those before the last are of SQL functions that analysing called: a domain's CHECK.
    match printed
        .next_back()
        .map(|frame| read(&frame.field(b'D').unwrap_or_default()))
    {
        Some(Ok(tree)) => Answer::Tree(tree),
        Some(Err(why)) => Answer::Unreadable(why),
        None => Answer::Empty,
    }
}
