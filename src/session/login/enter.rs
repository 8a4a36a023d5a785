//! From a startup packet to both sides logged in, by either method.
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;

use super::gate::{ClientCertificate, LoginGate, Plaintext, RoleMatch};
use super::token::{Way, by_token};
use super::{LoggedIn, LoginFacts};
use crate::auth::check::check;
use crate::auth::passthrough::{Relayed, relay};
use crate::auth::scram::{Mechanism, MockSecret};
use crate::auth::upstream::{Credential, Opened, log_in, open};
use crate::auth::{
    AuthMethod, Blame, Failure, Frame, Peer, Ready, VerifierSource, restrict, until_ready,
};
use crate::policy::{Caller, Certificate};
use crate::wire::cancel::{CancelHandle, CancelTarget, Key};
use crate::wire::error::{ErrorFields, sqlstate};
use crate::wire::negotiate::ClientTls;
use crate::wire::startup::{NEWEST_MINOR, StartupMessage, negotiate_protocol_version};
use crate::wire::stream::is_loopback;

/// A session that lacks its client's stream only.
pub(super) struct Entered {
    server: Peer,
    ready: Ready,
    facts: LoginFacts,
}

impl Entered {
    pub(super) fn with(self, client: Peer) -> LoggedIn {
        let (client, client_bytes) = client.into_parts();
        LoggedIn {
            client,
            server: self.server.into_parts().0,
            client_bytes,
            pending: self.ready.pending,
            facts: self.facts,
            cancel: self.ready.cancel,
        }
    }
}

/// The role of a session.
pub(super) struct Role {
    name: Option<Arc<str>>,
    restricted: bool,
}

/// Both sides authenticated, the server's AuthenticationOk not yet passed on.
pub(super) struct Authenticated {
    pub opened: Opened,
    pub ok: Frame,
    pub role: Role,
    /// With what a token added to it.
    pub caller: Arc<Caller>,
    pub method: String,
    pub minor: u16,
}

/// Logs in on both sides. On a failure nothing that ends the login has been sent to the client yet.
pub(super) async fn enter(
    client: &mut Peer,
    peer: SocketAddr,
    startup: &StartupMessage,
    tls: Option<ClientTls>,
    gate: &LoginGate,
) -> Result<Entered, Failure> {
    if tls.is_none() && gate.plaintext == Plaintext::LoopbackOnly && !is_loopback(&peer) {
        return Err(needs_tls(gate.tls.is_some()));
    }
    let subject = tls.as_ref().and_then(|tls| tls.facts.subject.as_ref());
    if subject.is_none() && gate.client_certificate == ClientCertificate::Required {
        return Err(needs_certificate());
    }
    let caller = Arc::new(caller(peer, startup, tls.as_ref()));
    let (facts, end_point) = match tls {
        Some(tls) => (Some(tls.facts), tls.end_point),
        None => (None, None),
    };
    let authenticated = match (gate.tokens.account(startup.user()), &gate.auth) {
        (Some(account), _) => {
            let way = Way {
                peer,
                is_tls: facts.is_some(),
            };
            by_token(client, startup, way, &caller, account, gate).await?
        }
        (None, AuthMethod::Passthrough) => by_passthrough(client, startup, &caller, gate).await?,
        (None, AuthMethod::Scram { verifiers, mock }) => {
            by_scram(
                client,
                startup,
                &caller,
                end_point,
                &**verifiers,
                mock,
                gate,
            )
            .await?
        }
    };
    let Authenticated {
        mut opened,
        ok,
        role,
        caller,
        method,
        minor,
    } = authenticated;
    let (addr, tls_upstream) = (opened.addr, opened.server.stream.is_tls());
    let which = Arc::clone(&opened.which);
    let register = |pid, key| {
        let target = CancelTarget {
            server: Arc::clone(&which),
            addr,
            tls: tls_upstream,
            pid,
            key: Key::new(key),
        };
        register(gate, target, minor)
    };
    let pending = BytesMut::from(ok.bytes().as_ref());
    let ready = until_ready(&mut opened.server, pending, role.restricted, register).await?;
    opened.check(&gate.upstream, &ready.parameters)?;
    if role.restricted {
        restrict::check_reported(&ready.parameters).map_err(denied)?;
    }
    let reported = |name: &str| {
        let found = ready
            .parameters
            .iter()
            .rev()
            .find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let application_name = reported("application_name");
    let facts = LoginFacts {
        session: gate.sessions.next(),
        client_addr: peer,
        server_addr: addr,
        db_user: startup.user().to_owned(),
        database: startup.database().to_owned(),
        application_name: application_name
            .or_else(|| startup.parameter("application_name"))
            .unwrap_or_default(),
        caller,
        role: role.name,
        tls: facts,
        auth_method: method,
        protocol_minor: minor,
        backend_pid: ready.backend_pid,
        client_encoding: reported("client_encoding").unwrap_or_default(),
        parameters: ready.parameters.clone(),
        // An unrestricted session may give switches that are no settings; none of its settings are then listed.
        startup_settings: restrict::settings(startup).unwrap_or_default(),
    };
    Ok(Entered {
        server: opened.server,
        ready,
        facts,
    })
}

/// The policy is asked first: whoever may not come in does not reach the server, as with a `reject` line in
/// pg_hba.conf. The client's packet goes to the server as it came.
async fn by_passthrough(
    client: &mut Peer,
    startup: &StartupMessage,
    caller: &Arc<Caller>,
    gate: &LoginGate,
) -> Result<Authenticated, Failure> {
    let role = match_role(startup, caller, gate)?;
    let mut opened = open(&gate.upstream, startup.packet()).await?;
    let protected = opened.is_protected();
    let first = opened.first.clone();
    let relayed = relay(
        client,
        &mut opened.server,
        first,
        startup.minor(),
        protected,
    )
    .await?;
    let Relayed { ok, method, minor } = relayed;
    Ok(Authenticated {
        opened,
        ok,
        role,
        caller: Arc::clone(caller),
        method,
        minor,
    })
}

/// pgveil negotiates the protocol and checks the client itself. The policy is asked once the client has proved who it
/// is, so that nobody can learn from outside which users have a role.
async fn by_scram(
    client: &mut Peer,
    startup: &StartupMessage,
    caller: &Arc<Caller>,
    end_point: Option<Vec<u8>>,
    verifiers: &dyn VerifierSource,
    mock: &MockSecret,
    gate: &LoginGate,
) -> Result<Authenticated, Failure> {
    if let Some(frame) = negotiate_protocol_version(startup) {
        let sent = client.send(&frame).await;
        sent.map_err(|error| Failure::client_left().because(error))?;
    }
    let checked = check(client, startup.user(), end_point, verifiers, mock).await?;
    let role = match_role(startup, caller, gate)?;
    let mut opened = open(&gate.upstream, startup.packet_of_3_0()).await?;
    let ok = log_in(&mut opened, Credential::Keys(&checked.keys)).await?;
    let method = match checked.mechanism {
        Mechanism::ScramSha256 => "scram-sha-256",
        Mechanism::ScramSha256Plus => "scram-sha-256-plus",
    };
    Ok(Authenticated {
        opened,
        ok,
        role,
        caller: Arc::clone(caller),
        method: method.to_owned(),
        minor: startup.minor().min(NEWEST_MINOR),
    })
}

/// What the policy is asked about. A certificate is one that the listener has verified: with any other there is no TLS.
fn caller(peer: SocketAddr, startup: &StartupMessage, tls: Option<&ClientTls>) -> Caller {
    let certificate = tls.and_then(|tls| {
        Some(Certificate {
            subject: tls.facts.subject.clone()?,
            common_name: tls.facts.common_name.clone(),
        })
    });
    Caller {
        db_user: startup.user().to_owned(),
        database: startup.database().to_owned(),
        address: peer.ip(),
        certificate,
        application_name: startup.parameter("application_name").unwrap_or_default(),
        token: None,
    }
}

pub(super) fn match_role(
    startup: &StartupMessage,
    caller: &Caller,
    gate: &LoginGate,
) -> Result<Role, Failure> {
    match (gate.role)(caller) {
        RoleMatch::Role { name, restricted } => {
            if restricted {
                restrict::check_startup(startup).map_err(denied)?;
            }
            Ok(Role { name, restricted })
        }
        RoleMatch::Denied { message, hint } => {
            let fields = ErrorFields::fatal(sqlstate::INSUFFICIENT_PRIVILEGE, message);
            Err(Failure::new(Blame::Policy, fields.with_hint(hint)))
        }
    }
}

fn denied(fields: Box<ErrorFields>) -> Failure {
    Failure::new(Blame::Policy, *fields)
}

fn register(gate: &LoginGate, target: CancelTarget, minor: u16) -> Result<CancelHandle, Failure> {
    gate.cancels.register(target, minor).map_err(|error| {
        let message = "pgveil: no cancel key could be made";
        let fields = ErrorFields::fatal(sqlstate::INTERNAL_ERROR, message);
        Failure::new(Blame::Pgveil, fields).because(error)
    })
}

/// In PostgreSQL's words (`ClientAuthentication` in `src/backend/libpq/auth.c`).
fn needs_certificate() -> Failure {
    let fields = ErrorFields::fatal(
        sqlstate::INVALID_AUTHORIZATION,
        "connection requires a valid client certificate",
    );
    let hint = "Set sslcert and sslkey (libpq) or the like in the client, and sslmode=require; the certificate is to be signed by an authority of `tls.client_ca` in pgveil.yaml.";
    Failure::new(Blame::Client, fields.with_hint(hint))
}

fn needs_tls(offered: bool) -> Failure {
    let fields = ErrorFields::fatal(
        sqlstate::INVALID_AUTHORIZATION,
        "pgveil: connections from other machines must use TLS",
    );
    let hint = match offered {
        true => "Set sslmode=require (libpq) or the like in the client.",
        false => {
            "pgveil.yaml needs `tls:`, or `allow_plaintext: true` in a network that is trusted."
        }
    };
    Failure::new(Blame::Client, fields.with_hint(hint))
}
