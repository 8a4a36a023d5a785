//! `scram`, towards the client: pgveil checks the client's proof against a stored verifier.
use std::time::SystemTime;

use super::failure::{Blame, Failure};
use super::frames::{Frame, Peer};
use super::request::{ANSWER, InitialResponse, Request};
use super::scram::{Accepted, Mechanism};
use super::scram::{
    MockSecret, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError, ScramKeys, Secret, ServerExchange,
    nonce,
};
use super::verifier::{Verifier, VerifierSource};
use crate::wire::error::{ErrorFields, sqlstate};

/// A client that has proved to know its password.
#[derive(Debug)]
pub struct Checked {
    pub keys: ScramKeys,
    pub mechanism: Mechanism,
}

/// Runs the exchange up to AuthenticationSASLFinal; AuthenticationOk is left to the caller, for when the server has
/// accepted the user too. `end_point` is the channel-binding data of the client's TLS connection.
///
/// A user without a usable verifier gets an exchange like everyone else, and the error of a wrong password.
pub async fn check(
    client: &mut Peer,
    user: &str,
    end_point: Option<Vec<u8>>,
    verifiers: &dyn VerifierSource,
    mock: &MockSecret,
) -> Result<Checked, Failure> {
    let stored = verifiers.verifier(user).await.map_err(unreadable)?;
    let (secret, doom) = match usable(stored, SystemTime::now()) {
        Ok(secret) => (secret, None),
        Err(reason) => (mock.verifier(user), Some(reason)),
    };
    let mut offered = vec![SCRAM_SHA_256.to_owned()];
    if end_point.is_some() {
        offered.insert(0, SCRAM_SHA_256_PLUS.to_owned());
    }
    ask(client, Request::Sasl(offered)).await?;
    let frame = answer(client).await?;
    let response = InitialResponse::parse(frame.body());
    let response =
        response.ok_or_else(|| Failure::client_protocol("malformed SASLInitialResponse"))?;
    let mechanism = match response.mechanism {
        SCRAM_SHA_256 => Mechanism::ScramSha256,
        SCRAM_SHA_256_PLUS if end_point.is_some() => Mechanism::ScramSha256Plus,
        _ => {
            return Err(Failure::client_protocol(
                "client selected an invalid SASL authentication mechanism",
            ));
        }
    };
    // A client may choose first and speak when asked once more (RFC 4422, section 4.3.2).
    let first = match response.data {
        Some(data) => data.to_vec(),
        None => {
            ask(client, Request::SaslContinue(Vec::new())).await?;
            answer(client).await?.body().to_vec()
        }
    };
    let exchange = ServerExchange {
        mechanism,
        end_point,
        secret,
        doomed: doom.is_some(),
    };
    let refuse = |error| refused(error, user, doom);
    let nonce = nonce().map_err(|_| no_random())?;
    let (message, next) = exchange.first(&first, &nonce).map_err(refuse)?;
    ask(client, Request::SaslContinue(message)).await?;
    let last = answer(client).await?;
    let Accepted { message, keys } = next.finish(last.body()).map_err(refuse)?;
    ask(client, Request::SaslFinal(message)).await?;
    Ok(Checked { keys, mechanism })
}

/// The verifier to check against, or why no password can be right. The reason is for the log alone.
fn usable(stored: Option<Verifier>, now: SystemTime) -> Result<Secret, &'static str> {
    let stored = stored.ok_or("the user is unknown or has no password")?;
    if stored.valid_until.is_some_and(|until| until < now) {
        return Err("the user's password has expired (VALID UNTIL)");
    }
    Secret::parse(&stored.secret).map_err(|_| "the user's password is not stored as SCRAM-SHA-256")
}

async fn ask(client: &mut Peer, request: Request) -> Result<(), Failure> {
    let frame = request.frame().map(|frame| frame.bytes());
    let sent = client.send(&frame.unwrap_or_default()).await;
    sent.map_err(|error| Failure::client_left().because(error))
}

async fn answer(client: &mut Peer) -> Result<Frame, Failure> {
    let frame = client.next().await.map_err(Failure::from_client)?;
    match frame.tag() {
        ANSWER => Ok(frame),
        _ => Err(Failure::unexpected_answer(&frame)),
    }
}

/// What PostgreSQL tells its clients in each case (auth-scram.c, `auth_failed` in auth.c).
fn refused(error: ScramError, user: &str, doom: Option<&'static str>) -> Failure {
    use sqlstate::{
        FEATURE_NOT_SUPPORTED, INVALID_AUTHORIZATION, INVALID_PASSWORD, PROTOCOL_VIOLATION,
    };
    let message = error.to_string();
    let (blame, fields) = match error {
        ScramError::Proof => {
            let message = format!("password authentication failed for user \"{user}\"");
            let fields = ErrorFields::fatal(INVALID_PASSWORD, message);
            let cause = doom.unwrap_or("the proof does not match the stored verifier");
            return Failure::new(Blame::Credentials, fields).because(cause);
        }
        ScramError::Malformed(detail) => (
            Blame::Client,
            ErrorFields::fatal(PROTOCOL_VIOLATION, message)
                .with_detail(format!("In SCRAM, {detail}.")),
        ),
        ScramError::Downgrade => (
            Blame::Client,
            ErrorFields::fatal(INVALID_AUTHORIZATION, message).with_detail(
                "The client supports SCRAM channel binding but thinks the server does not.  \
                 However, this server does support channel binding.",
            ),
        ),
        ScramError::BindingMismatch => (
            Blame::Client,
            ErrorFields::fatal(INVALID_AUTHORIZATION, message),
        ),
        _ => (
            Blame::Client,
            ErrorFields::fatal(FEATURE_NOT_SUPPORTED, message),
        ),
    };
    Failure::new(blame, fields)
}

fn unreadable(error: super::verifier::VerifierError) -> Failure {
    let fields = ErrorFields::fatal(
        sqlstate::CANNOT_CONNECT_NOW,
        "pgveil: logins are not possible now, because the users' verifiers cannot be read",
    );
    let fields = fields.with_hint("The log of pgveil has the cause. Try again later.");
    Failure::new(Blame::Pgveil, fields).because(error)
}

pub(super) fn no_random() -> Failure {
    let message = "pgveil: the system gives no random numbers";
    Failure::new(
        Blame::Pgveil,
        ErrorFields::fatal(sqlstate::INTERNAL_ERROR, message),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_expired_or_unusable_verifier_dooms_the_login() {
        let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let secret = format!("SCRAM-SHA-256$4096:AAAA${key}:{key}");
        let now = SystemTime::now();
        let check = |secret: &str, valid_until| {
            let stored = Verifier {
                secret: secret.to_owned(),
                valid_until,
            };
            usable(Some(stored), now).is_ok()
        };
        let second = Duration::from_secs(1);
        assert!(check(&secret, None));
        assert!(check(&secret, Some(now + second)));
        assert!(!check(&secret, Some(now - second)));
        assert!(!check("md5a3556571e93b0d20722ba62be61e8c2d", None));
        assert!(usable(None, now).is_err());
    }

    #[test]
    fn every_wrong_password_reads_the_same() {
        let wrong = refused(ScramError::Proof, "ann", None);
        let unknown = refused(ScramError::Proof, "ann", Some("the user is unknown"));
        assert_eq!(wrong.client_frames(), unknown.client_frames());
        assert_eq!(wrong.fields.sqlstate, "28P01");
        assert_ne!(wrong.cause, unknown.cause);
    }
}
