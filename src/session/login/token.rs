//! A login by token: the client's password is one, and pgveil logs in to the server as the account.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::enter::{Authenticated, match_role};
use super::gate::LoginGate;
use crate::auth::token::{Bearer, Issuer, Refused};
use crate::auth::upstream::{Credential, log_in, open};
use crate::auth::{Blame, Failure, Peer, Request};
use crate::config::Secret;
use crate::policy::{Caller, Token};
use crate::wire::error::{ErrorFields, sqlstate};
use crate::wire::startup::{NEWEST_MINOR, StartupMessage, negotiate_protocol_version};
use crate::wire::stream::is_loopback;

/// Tag of PasswordMessage.
const PASSWORD: u8 = b'p';

/// A database user whose people log in by tokens.
#[derive(Debug, Clone)]
pub struct Account {
    pub issuer: Arc<Issuer>,
    /// The account's own, for the server.
    pub password: Option<Secret>,
    /// A session ends with its token.
    pub ends: bool,
    /// From this machine a token may come without TLS.
    pub allow_plaintext: bool,
}

/// The accounts by name.
#[derive(Debug, Clone, Default)]
pub struct Tokens(HashMap<String, Account>);

impl Tokens {
    pub fn new(accounts: impl IntoIterator<Item = (String, Account)>) -> Self {
        Tokens(accounts.into_iter().collect())
    }

    pub(super) fn account(&self, db_user: &str) -> Option<&Account> {
        self.0.get(db_user)
    }

    /// Goes on with what is known of the issuers that were there before.
    pub fn inherit(&self, before: &Tokens) {
        for account in self.0.values() {
            let same = before
                .0
                .values()
                .find(|known| known.issuer.name == account.issuer.name);
            if let Some(known) = same {
                account.issuer.inherit(&known.issuer);
            }
        }
    }
}

/// How a client comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub peer: SocketAddr,
    pub is_tls: bool,
}

/// Who can read the token on its way is who it says, so it comes by TLS or is not asked for. The policy is asked once it is
/// known whose it is, and the server after that.
pub(super) async fn by_token(
    client: &mut Peer,
    startup: &StartupMessage,
    way: Way,
    caller: &Caller,
    account: &Account,
    gate: &LoginGate,
) -> Result<Authenticated, Failure> {
    let is_private = way.is_tls || (account.allow_plaintext && is_loopback(&way.peer));
    if !is_private {
        return Err(in_the_clear());
    }
    if let Some(frame) = negotiate_protocol_version(startup) {
        send(client, &frame).await?;
    }
    if let Some(request) = Request::CleartextPassword.frame() {
        send(client, &request.bytes()).await?;
    }
    let token = token(client).await?;
    let bearer = account.issuer.bearer(&token, SystemTime::now()).await;
    drop(token);
    let bearer = bearer.map_err(|refused| refused_to(startup.user(), &refused))?;
    let caller = Arc::new(Caller {
        token: Some(Arc::new(proved(bearer, account))),
        ..caller.clone()
    });
    let role = match_role(startup, &caller, gate)?;
    let mut opened = open(&gate.upstream, startup.packet_of_3_0()).await?;
    let credential = Credential::Password(account.password.as_ref());
    let ok = log_in(&mut opened, credential).await.map_err(account_out)?;
    Ok(Authenticated {
        opened,
        ok,
        role,
        caller,
        method: "token".to_owned(),
        minor: startup.minor().min(NEWEST_MINOR),
    })
}

async fn send(client: &mut Peer, frame: &[u8]) -> Result<(), Failure> {
    let sent = client.send(frame).await;
    sent.map_err(|error| Failure::client_left().because(error))
}

/// What the client gives for its password.
async fn token(client: &mut Peer) -> Result<Zeroizing<String>, Failure> {
    let frame = client.next().await.map_err(Failure::from_client)?;
    if frame.tag() != PASSWORD {
        return Err(Failure::unexpected_answer(&frame));
    }
    let malformed = || Failure::client_protocol("malformed PasswordMessage");
    let text = match frame.body().split_last() {
        Some((0, text)) if !text.contains(&0) => text,
        _ => return Err(malformed()),
    };
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn proved(bearer: Bearer, account: &Account) -> Token {
    Token {
        issuer: Arc::clone(&account.issuer.name),
        person: bearer.person.into(),
        groups: Some(bearer.groups),
        attributes: bearer.attributes,
        until: account.ends.then_some(bearer.expires),
    }
}

/// Of why, a client learns what its issuer has signed and no more: whoever tries keys learns nothing.
fn refused_to(user: &str, refused: &Refused) -> Failure {
    if let Refused::NoKeys(cause) = refused {
        let fields = ErrorFields::fatal(
            sqlstate::CANNOT_CONNECT_NOW,
            "pgveil: logins by token are not possible now, because the keys of their issuer cannot be read",
        );
        let fields = fields.with_hint("The log of pgveil has the cause. Try again later.");
        return Failure::new(Blame::Pgveil, fields).because(cause);
    }
    let message = format!("token authentication failed for user \"{user}\"");
    let fields = ErrorFields::fatal(sqlstate::INVALID_PASSWORD, message);
    let hint = match refused {
        Refused::Expired => "The token has expired: get a new one.",
        Refused::NotYet => {
            "The token is not valid yet: look at the clocks of this machine and of its issuer."
        }
        Refused::Audience => {
            "The token is not for this database: get one for the audience that pgveil.yaml names."
        }
        Refused::Claim(_) => {
            "The token does not say who you are in the way that pgveil.yaml asks for."
        }
        _ => "The password of this user is a token of the issuer that pgveil.yaml names.",
    };
    Failure::new(Blame::Credentials, fields.with_hint(hint))
        .because(format!("the token is not taken: {refused}"))
}

/// The server does not take the account's password: no fault of who has the token.
fn account_out(failure: Failure) -> Failure {
    if !failure.fields.sqlstate.starts_with("28") {
        return failure;
    }
    let fields = ErrorFields::fatal(
        sqlstate::INVALID_AUTHORIZATION,
        "pgveil: the database server does not let pgveil in as the account that token logins share",
    );
    let hint = "Look at `password` of the account under `auth: { tokens: ... }` in pgveil.yaml, and at pg_hba.conf, which is to \
                say scram-sha-256 for connections from pgveil.";
    Failure::new(Blame::Pgveil, fields.with_hint(hint)).because(failure.fields.message)
}

fn in_the_clear() -> Failure {
    let fields = ErrorFields::fatal(
        sqlstate::INVALID_AUTHORIZATION,
        "pgveil: a token is taken over TLS only",
    );
    let hint =
        "Set sslmode=verify-full (libpq) or the like in the client; pgveil.yaml needs `tls:`.";
    Failure::new(Blame::Client, fields.with_hint(hint))
}
