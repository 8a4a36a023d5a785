//! The client's side of a password exchange, for the raw wire client.
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

use super::message::{Client, Frame};

/// Answers authentication requests until AuthenticationOk or an error; gives the frame that ended it.
pub fn answer(client: &mut Client, user: &str, password: &str) -> Frame {
    let mut scram = None;
    loop {
        let frame = client.read().expect("the server closed during login");
        if frame.tag != b'R' {
            return frame;
        }
        let (code, rest) = frame.body.split_at(4);
        match u32::from_be_bytes(code.try_into().expect("four bytes")) {
            0 => return frame,
            3 => client.send(b'p', &zero_terminated(password)),
            5 => {
                let salt = rest.try_into().expect("a salt of four bytes");
                let hash = md5_hash(user.as_bytes(), password.as_bytes(), salt);
                client.send(b'p', &zero_terminated(&hash));
            }
            10 => {
                let exchange = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                let first = exchange.message();
                let mut body = zero_terminated(SCRAM_SHA_256);
                body.extend_from_slice(&(first.len() as u32).to_be_bytes());
                body.extend_from_slice(first);
                client.send(b'p', &body);
                scram = Some(exchange);
            }
            11 => {
                let exchange = scram.as_mut().expect("SASLContinue before SASL");
                exchange.update(rest).expect("the server's first message");
                let last = exchange.message().to_vec();
                client.send(b'p', &last);
            }
            12 => scram
                .as_mut()
                .expect("SASLFinal before SASL")
                .finish(rest)
                .expect("the server's signature"),
            other => panic!("authentication request {other} is not known to the test client"),
        }
    }
}

fn zero_terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}
