//! What pgveil asks the server on its own: the search path, temporary relations, who is asking.
use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::catalog::Oid;
use crate::session::charset::Charset;
use crate::session::messages;

/// The search path behind a `p`, the user behind a `u`, and the names in the session's temporary schema: behind a `t` those of
/// tables, behind an `o` those of indexes and sequences, each behind its OID. In hexadecimal digits of UTF-8: the client's encoding may
/// lack their letters.
const TEMPORARY_RELATIONS: &str = "SELECT 'p' OPERATOR(pg_catalog.||) pg_catalog.current_setting('search_path') \
     UNION ALL SELECT CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'i' OR c.relkind OPERATOR(pg_catalog.=) 'S' \
     THEN 'o' ELSE 't' END OPERATOR(pg_catalog.||) c.oid::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) \
     pg_catalog.encode(pg_catalog.convert_to(c.relname::pg_catalog.text, 'UTF8'), 'hex') \
     FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
     UNION ALL SELECT 'u' OPERATOR(pg_catalog.||) CURRENT_USER::pg_catalog.text";

/// The search path behind a `p`, `client_min_messages` behind an `m`, `default_transaction_isolation` behind an `i`, behind a `u` the user whose schema `"$user"` is.
const LOGIN: &str = "SELECT 'p' OPERATOR(pg_catalog.||) pg_catalog.current_setting('search_path') \
     UNION ALL SELECT 'm' OPERATOR(pg_catalog.||) pg_catalog.current_setting('client_min_messages') \
     UNION ALL SELECT 'i' OPERATOR(pg_catalog.||) pg_catalog.current_setting('default_transaction_isolation') \
     UNION ALL SELECT 'u' OPERATOR(pg_catalog.||) CURRENT_USER::pg_catalog.text";

/// What pgveil asks the server on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asks {
    /// The search path alone. SHOW needs no snapshot, so it changes nothing about the transaction it runs in.
    #[default]
    Path,
    /// Also what `ALTER ROLE ... SET` may have preset and the server does not report.
    Login,
    /// The same later on, of a session that began as another user: that one may have become who logged in again.
    User,
    /// Also the session's temporary relations: only after a statement that changes them, which has taken a snapshot.
    Temporary,
}

impl Asks {
    /// A question, and the messages that ask it by a name of pgveil's own. `watched`: the settings that say who is asking.
    pub fn question(self, watched: &[Arc<str>], own_name: &str) -> (OwnQuery, BytesMut) {
        let further = watched.iter().map(|name| match self {
            Asks::Login => introduced(name),
            Asks::Path | Asks::User | Asks::Temporary => shown(name),
        });
        let further: Vec<String> = further.collect();
        let texts: Vec<&str> = std::iter::once(self.text())
            .chain(further.iter().map(String::as_str))
            .collect();
        let mut question = BytesMut::new();
        messages::put_batch(&mut question, own_name, &texts);
        let own = OwnQuery {
            asks: self,
            further: further.len(),
            ..OwnQuery::default()
        };
        (own, question)
    }

    const fn text(self) -> &'static str {
        match self {
            Asks::Path => "SHOW search_path",
            Asks::Login | Asks::User => LOGIN,
            Asks::Temporary => TEMPORARY_RELATIONS,
        }
    }
}

/// What pgveil's own question has brought so far.
#[derive(Debug, Default)]
pub struct OwnQuery {
    pub asks: Asks,
    /// How many of its questions were answered to the end, ...
    pub ended: usize,
    /// ... and how many there are besides the first.
    pub further: usize,
    /// What settings say of who is asking, in the order in which they are asked for.
    pub said: Vec<String>,
    pub search_path: Option<String>,
    /// `client_min_messages`.
    pub verbosity: Option<String>,
    /// `default_transaction_isolation`.
    pub isolation: Option<String>,
    /// Who the session is to the server (`ALTER ROLE ... SET role`).
    pub user: Option<String>,
    /// Names in the session's temporary schema, and what goes by them.
    pub temporary: Vec<(String, Listed)>,
    /// Goes to the client once the answer is there: the ReadyForQuery of the login.
    pub then: Option<Bytes>,
}

/// Something in the session's temporary schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// A table or view, by its OID.
    Table(Oid),
    /// An index or sequence.
    Other,
}

impl OwnQuery {
    /// Everything that was asked for has come.
    pub fn is_complete(&self) -> bool {
        self.ended == 1 + self.further && self.said.len() == self.further
    }

    /// Takes a row's only column.
    pub fn row(&mut self, value: &[u8], charset: Charset) {
        let text = charset.decode(value).ok();
        if self.ended > 0 {
            // What cannot be read is no name either.
            self.said
                .push(text.map_or_else(|| "\0".to_owned(), Cow::into_owned));
            return;
        }
        if self.asks == Asks::Path {
            self.search_path = text.map(Cow::into_owned);
            return;
        }
        match text.as_deref().and_then(|text| text.split_at_checked(1)) {
            Some(("p", path)) => self.search_path = Some(path.to_owned()),
            Some(("m", verbosity)) => self.verbosity = Some(verbosity.to_owned()),
            Some(("i", isolation)) => self.isolation = Some(isolation.to_owned()),
            Some(("u", user)) => self.user = Some(user.to_owned()),
            Some((kind @ ("t" | "o"), listed)) => {
                let (oid, digits) = listed.split_once(':').unwrap_or_default();
                if let (Ok(oid), Some(name)) = (oid.parse(), of_digits(digits)) {
                    let listed = match kind {
                        "t" => Listed::Table(oid),
                        _ => Listed::Other,
                    };
                    self.temporary.push((name, listed));
                }
            }
            _ => {}
        }
    }
}

/// The text whose bytes are written as pairs of hexadecimal digits.
fn of_digits(digits: &str) -> Option<String> {
    let pairs = (0..digits.len()).step_by(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

/// Reads a setting. SHOW needs no snapshot.
fn shown(setting: &str) -> String {
    let parts: Vec<String> = setting
        .split('.')
        .map(|part| format!("\"{part}\""))
        .collect();
    format!("SHOW {}", parts.join("."))
}

/// Makes a setting known to the session, as it is or empty: then it can be shown, whatever becomes of it.
fn introduced(setting: &str) -> String {
    format!(
        "SELECT pg_catalog.set_config('{setting}', COALESCE(pg_catalog.current_setting('{setting}', true), ''), false)"
    )
}
