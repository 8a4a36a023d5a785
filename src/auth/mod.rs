//! Who a client is, and how pgveil logs in to the server in its name.
//!
//! * `passthrough`: the server's own exchange is relayed, message by message.
//! * `scram`: pgveil is the SCRAM-SHA-256 server. From the client's proof it takes the ClientKey, and with that key
//!   logs in to the server as the same user, without ever knowing the password.
//! * [`token`]: of the accounts that people share by tokens, whatever the method: the client's password is a token, and
//!   pgveil logs in to the server by the account's own password.
pub mod check;
mod failure;
mod frames;
pub mod passthrough;
mod ready;
mod request;
pub mod restrict;
pub mod scram;
pub mod token;
pub mod upstream;
pub mod verifier;

use std::sync::Arc;

pub use failure::{Blame, Failure};
pub use frames::{Frame, FrameReadError, FrameReader, Peer};
pub use ready::{Ready, until_ready};
pub use request::Request;
pub use verifier::{UsersFile, Verifier, VerifierSource};

/// How clients log in.
pub enum AuthMethod {
    Passthrough,
    Scram {
        verifiers: Arc<dyn VerifierSource>,
        mock: scram::MockSecret,
    },
}

/// Why `passthrough` cannot work with TLS on both legs, or `None` where it can.
///
/// SCRAM binds itself to the TLS connection it runs in. A client that speaks TLS with pgveil and is not offered
/// SCRAM-SHA-256-PLUS says so in its first message (gs2 flag `y`); a server that offered it on its own TLS
/// connection takes that for a downgrade attack and refuses (RFC 5802, section 6). Ask at the start, when it is
/// known whether clients are offered TLS and whether the server's leg uses it.
pub fn passthrough_conflict(client_tls: bool, upstream_tls: bool) -> Option<String> {
    (client_tls && upstream_tls).then(|| {
        "`auth: { method: passthrough }` cannot work with TLS both to clients and to the server: SCRAM's channel \
         binding detects that TLS ends in between. Use `auth: { method: scram }`, or set `upstream: { tls: disable }` \
         where the network to the server is trusted, or drop `tls:`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_on_both_legs_rules_passthrough_out() {
        assert!(passthrough_conflict(true, true).is_some());
        for (client, upstream) in [(false, false), (true, false), (false, true)] {
            assert_eq!(passthrough_conflict(client, upstream), None);
        }
    }
}
