//! Authentication requests, the `R` messages of a login.
use bytes::{BufMut, BytesMut};

use super::failure::Failure;
use super::frames::Frame;

/// Tag of every authentication request.
pub const AUTHENTICATION: u8 = b'R';
/// Tag of every answer to one: PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse.
pub const ANSWER: u8 = b'p';

const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// What the server wants from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Ok,
    CleartextPassword,
    Md5Password,
    Gss,
    Sspi,
    GssContinue,
    /// The names of the mechanisms offered.
    Sasl(Vec<String>),
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
}

impl Request {
    /// Takes an `R` frame from the server apart.
    pub fn parse(frame: &Frame) -> Result<Self, Failure> {
        let split = frame.body().split_first_chunk::<4>();
        let malformed = || Failure::server_protocol("malformed authentication request");
        let (code, rest) = split.ok_or_else(malformed)?;
        let bare = |request| match rest.is_empty() {
            true => Ok(request),
            false => Err(malformed()),
        };
        match u32::from_be_bytes(*code) {
            0 => bare(Request::Ok),
            3 => bare(Request::CleartextPassword),
            5 if rest.len() == 4 => Ok(Request::Md5Password),
            7 => bare(Request::Gss),
            8 => Ok(Request::GssContinue),
            9 => bare(Request::Sspi),
            SASL => Ok(Request::Sasl(mechanisms(rest).ok_or_else(malformed)?)),
            SASL_CONTINUE => Ok(Request::SaslContinue(rest.to_vec())),
            SASL_FINAL => Ok(Request::SaslFinal(rest.to_vec())),
            code => Err(Failure::server_protocol(format!(
                "authentication request {code}, which pgveil does not know"
            ))),
        }
    }

    /// The frame that asks for it, for the requests pgveil itself makes; `None` for the others.
    pub fn frame(&self) -> Option<Frame> {
        let mut body = BytesMut::new();
        match self {
            Request::Ok => body.put_u32(0),
            Request::CleartextPassword => body.put_u32(3),
            Request::Sasl(names) => {
                body.put_u32(SASL);
                for name in names {
                    body.put_slice(name.as_bytes());
                    body.put_u8(0);
                }
                body.put_u8(0);
            }
            Request::SaslContinue(data) => {
                body.put_u32(SASL_CONTINUE);
                body.put_slice(data);
            }
            Request::SaslFinal(data) => {
                body.put_u32(SASL_FINAL);
                body.put_slice(data);
            }
            _ => return None,
        }
        Some(Frame::new(AUTHENTICATION, &body))
    }
}

/// Zero-terminated names up to an empty one, and nothing after that.
fn mechanisms(mut rest: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    loop {
        let end = rest.iter().position(|&byte| byte == 0)?;
        let (name, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        if name.is_empty() {
            return rest.is_empty().then_some(names);
        }
        names.push(std::str::from_utf8(name).ok()?.to_owned());
    }
}

/// SASLInitialResponse: the mechanism chosen, and the first message where there is one already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialResponse<'a> {
    pub mechanism: &'a str,
    pub data: Option<&'a [u8]>,
}

impl<'a> InitialResponse<'a> {
    /// `None` where the body is not one.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let end = body.iter().position(|&byte| byte == 0)?;
        let (mechanism, rest) = body.split_at_checked(end)?;
        let mechanism = std::str::from_utf8(mechanism).ok()?;
        let (length, data) = rest.get(1..)?.split_first_chunk::<4>()?;
        let data = match i32::from_be_bytes(*length) {
            -1 if data.is_empty() => None,
            length if usize::try_from(length).ok()? == data.len() => Some(data),
            _ => return None,
        };
        Some(InitialResponse { mechanism, data })
    }

    pub fn frame(&self) -> Frame {
        let mut body = BytesMut::new();
        body.put_slice(self.mechanism.as_bytes());
        body.put_u8(0);
        let length = self.data.map(|data| i32::try_from(data.len()));
        body.put_i32(length.and_then(Result::ok).unwrap_or(-1));
        body.put_slice(self.data.unwrap_or_default());
        Frame::new(ANSWER, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_way_there_and_back() {
        for request in [
            Request::Ok,
            Request::CleartextPassword,
            Request::Sasl(vec!["SCRAM-SHA-256-PLUS".into(), "SCRAM-SHA-256".into()]),
            Request::SaslContinue(b"r=abc".into()),
            Request::SaslFinal(b"v=abc".into()),
        ] {
            let frame = request.frame().unwrap();
            assert_eq!(Request::parse(&frame).unwrap(), request);
        }
    }

    #[test]
    fn malformed_requests_are_refused() {
        for body in [
            b"".as_slice(),
            b"\0\0\0",
            b"\0\0\0\0x",
            b"\0\0\0\x03x",
            b"\0\0\0\x05abc",
            b"\0\0\0\x05abcde",
            b"\0\0\0\x0a",
            b"\0\0\0\x0aSCRAM",
            b"\0\0\0\x0aSCRAM\0",
            b"\0\0\0\x0aSCRAM\0\0x",
            b"\0\0\0\x63",
        ] {
            let frame = Frame::new(AUTHENTICATION, body);
            assert!(Request::parse(&frame).is_err(), "{body:?}");
        }
    }

    #[test]
    fn an_initial_response_names_a_mechanism_and_may_lack_data() {
        for data in [None, Some(b"n,,n=,r=x".as_slice()), Some(b"")] {
            let response = InitialResponse {
                mechanism: "SCRAM-SHA-256",
                data,
            };
            let frame = response.frame();
            assert_eq!(InitialResponse::parse(frame.body()), Some(response));
            for end in 0..frame.body().len() {
                assert_eq!(InitialResponse::parse(&frame.body()[..end]), None);
            }
        }
        assert_eq!(InitialResponse::parse(b"X\0\0\0\0\x01ab"), None);
        assert_eq!(InitialResponse::parse(b"X\0\xff\xff\xff\xfea"), None);
    }
}
