//! The few messages whose bodies a session reads or builds. Each is parsed strictly inside its own slice.
use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use crate::wire::frame::{Fields, Malformed, front, put_frame};

/// `NAMEDATALEN - 1`: the server keys statements and portals by this many bytes (`HASH_STRINGS` of dynahash.c).
const NAME_BYTES: usize = 63;

/// The name of a prepared statement or portal as the server tells them apart; empty for the unnamed one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Name(Box<[u8]>);

impl Name {
    pub fn new(bytes: &[u8]) -> Self {
        Name(bytes.get(..NAME_BYTES).unwrap_or(bytes).into())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// It may be longer than what is told apart.
    pub fn is_cut(&self) -> bool {
        self.0.len() >= NAME_BYTES
    }

    pub fn is_unnamed(&self) -> bool {
        self.0.is_empty()
    }

    /// The name is spelled so in SQL.
    pub fn is(&self, spelled: &str) -> bool {
        *self == Name::from(spelled)
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Name::new(name.as_bytes())
    }
}

/// What a Describe or Close names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Statement(Name),
    Portal(Name),
}

/// A Parse message.
#[derive(Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub text: &'a [u8],
    /// Number and types of the parameters, as on the wire.
    pub parameters: &'a [u8],
}

impl<'a> Parse<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        let name = fields.string()?;
        let text = fields.string()?;
        let parameters = fields.rest();
        let count = usize::try_from(fields.int16()?).map_err(|_| Malformed)?;
        fields.bytes(4 * count)?;
        fields.end()?;
        Ok(Parse {
            name,
            text,
            parameters,
        })
    }
}

/// The text of a Query message.
pub fn read_query(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::new(body);
    let text = fields.string()?;
    fields.end()?;
    Ok(text)
}

/// The names at the head of a Bind message: portal, statement. `Malformed` also while they have not been read.
pub fn read_bind_names(seen: &[u8]) -> Result<(Name, Name), Malformed> {
    let mut fields = Fields::new(seen);
    let portal = Name::new(fields.string()?);
    let statement = Name::new(fields.string()?);
    Ok((portal, statement))
}

/// Formats and values of a Bind message's parameters: what stands between its names and the formats of results.
pub fn bound_values(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::new(body);
    let length = body.len();
    let mut names = 0;
    for _ in 0..2 {
        names += fields.string()?.len() + 1;
    }
    // Up to 65,535 of each.
    let formats = fields.int16()?.cast_unsigned();
    for _ in 0..formats {
        fields.int16()?;
    }
    let values = fields.int16()?.cast_unsigned();
    let mut end = names + 4 + 2 * usize::from(formats);
    for _ in 0..values {
        end += 4;
        if let Ok(length) = usize::try_from(fields.int32()?) {
            fields.bytes(length)?;
            end += length;
        }
    }
    body.get(names..end.min(length)).ok_or(Malformed)
}

/// The parameters that [`bound_values`] holds: text as it is, binary in hexadecimal after `\x`. `None` where they are not
/// laid out as the protocol says.
pub fn read_values(values: &[u8]) -> Option<Vec<Option<String>>> {
    let (formats, values) = laid_out(values)?;
    // One format stands for all (protocol, "Bind").
    let format = |index: usize| match formats.as_slice() {
        [one] => Some(one),
        formats => formats.get(index),
    };
    let read = |(index, value): (usize, Option<&[u8]>)| {
        value.map(|bytes| match (format(index), std::str::from_utf8(bytes)) {
            (None | Some(0), Ok(text)) => text.to_owned(),
            _ => bytes.iter().fold("\\x".to_owned(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }),
        })
    };
    Some(values.into_iter().enumerate().map(read).collect())
}

/// Parameters as they travel; `None`: NULL.
type Values<'a> = Vec<Option<&'a [u8]>>;

/// The parameters that [`bound_values`] holds, as they travel. `None` where they are not laid out as the protocol says.
pub fn all_values(values: &[u8]) -> Option<Values<'_>> {
    laid_out(values).map(|(_, values)| values)
}

/// Formats and values of parameters, as they travel.
fn laid_out(values: &[u8]) -> Option<(Vec<i16>, Values<'_>)> {
    let mut fields = Fields::new(values);
    let count = fields.int16().ok()?.cast_unsigned();
    let mut formats = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        formats.push(fields.int16().ok()?);
    }
    let count = fields.int16().ok()?.cast_unsigned();
    let mut values = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        values.push(match usize::try_from(fields.int32().ok()?) {
            Ok(length) => Some(fields.bytes(length).ok()?),
            Err(_) => None,
        });
    }
    Some((formats, values))
}

/// Whether [`bound_values`] holds none, whatever formats are given.
pub fn has_no_values(values: &[u8]) -> bool {
    let formats = values.first_chunk().map(|count| u16::from_be_bytes(*count));
    let at = formats.map(|formats| 2 + 2 * usize::from(formats));
    at.and_then(|at| values.get(at..)) == Some(&[0, 0])
}

/// The portal of an Execute message.
pub fn read_execute(body: &[u8]) -> Result<Name, Malformed> {
    let mut fields = Fields::new(body);
    let portal = Name::new(fields.string()?);
    fields.int32()?;
    fields.end()?;
    Ok(portal)
}

/// What a Describe or Close message names.
pub fn read_target(body: &[u8]) -> Result<Target, Malformed> {
    let mut fields = Fields::new(body);
    let kind = fields.byte()?;
    let name = Name::new(fields.string()?);
    fields.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(Malformed),
    }
}

/// A Query; `text` in the client's encoding.
pub fn put_query(out: &mut BytesMut, text: &[u8]) {
    let mut body = BytesMut::with_capacity(text.len() + 1);
    body.put_slice(text);
    body.put_u8(0);
    put_frame(out, front::QUERY, &body);
}

/// A Parse of another text under the client's name and parameter types.
pub fn put_parse(out: &mut BytesMut, name: &[u8], text: &[u8], parameters: &[u8]) {
    let mut body = BytesMut::with_capacity(name.len() + text.len() + 2 + parameters.len());
    body.put_slice(name);
    body.put_u8(0);
    body.put_slice(text);
    body.put_u8(0);
    body.put_slice(parameters);
    put_frame(out, front::PARSE, &body);
}

/// A Bind without parameters.
pub fn put_bind(out: &mut BytesMut, portal: &str, statement: &str) {
    let mut body = BytesMut::with_capacity(portal.len() + statement.len() + 8);
    body.put_slice(portal.as_bytes());
    body.put_u8(0);
    body.put_slice(statement.as_bytes());
    body.put_u8(0);
    body.put_slice(&[0; 6]); // No parameter formats, parameters, result formats.
    put_frame(out, front::BIND, &body);
}

/// The Execute with this body, its limit of rows taken off.
pub fn without_limit(body: &[u8]) -> Option<BytesMut> {
    let portal = body.get(..body.len().checked_sub(4)?)?;
    let mut unlimited = BytesMut::with_capacity(body.len());
    unlimited.put_slice(portal);
    unlimited.put_i32(0);
    let mut out = BytesMut::new();
    put_frame(&mut out, front::EXECUTE, &unlimited);
    Some(out)
}

/// A Describe of a statement (`S`) or portal (`P`).
pub fn put_describe(out: &mut BytesMut, kind: u8, name: &[u8]) {
    put_target(out, front::DESCRIBE, kind, name);
}

/// An Execute of a portal, to its end.
pub fn put_execute(out: &mut BytesMut, portal: &str) {
    let mut body = BytesMut::with_capacity(portal.len() + 5);
    body.put_slice(portal.as_bytes());
    body.put_u8(0);
    body.put_i32(0);
    put_frame(out, front::EXECUTE, &body);
}

/// A whole batch that runs `text` under a statement and portal called `name`, and leaves neither.
///
/// A Query would be shorter, but it drops the unnamed statement and portal (`exec_simple_query`), which are the client's.
/// What a batch that failed may have left is closed first.
pub fn put_batch(out: &mut BytesMut, name: &str, texts: &[&str]) {
    put_close(out, b'S', name.as_bytes());
    for text in texts {
        put_parse(out, name.as_bytes(), text.as_bytes(), &[0, 0]);
        put_bind(out, name, name);
        put_execute(out, name);
        put_close(out, b'P', name.as_bytes());
        put_close(out, b'S', name.as_bytes());
    }
    put_frame(out, front::SYNC, &[]);
}

/// A Close of a statement (`S`) or portal (`P`).
pub fn put_close(out: &mut BytesMut, kind: u8, name: &[u8]) {
    put_target(out, front::CLOSE, kind, name);
}

fn put_target(out: &mut BytesMut, tag: u8, kind: u8, name: &[u8]) {
    let mut body = BytesMut::with_capacity(name.len() + 2);
    body.put_u8(kind);
    body.put_slice(name);
    body.put_u8(0);
    put_frame(out, tag, &body);
}

/// What a Query with one statement does, up to where its transaction would end: under the unnamed statement and portal, which
/// a Query takes from the client as well. [`put_end`] is the rest.
pub fn put_in_parts(out: &mut BytesMut, text: &[u8]) {
    put_parse(out, b"", text, &[0, 0]);
    put_bind(out, "", "");
    put_describe(out, b'P', b"");
    put_execute(out, "");
    put_frame(out, front::FLUSH, &[]);
}

/// The end of what [`put_in_parts`] began.
pub fn put_end(out: &mut BytesMut) {
    put_close(out, b'P', b"");
    put_close(out, b'S', b"");
    put_frame(out, front::SYNC, &[]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::HEADER_LEN;

    #[test]
    fn a_rebuilt_parse_reads_as_the_client_sent_it() {
        let mut out = BytesMut::new();
        let parameters = [0, 2, 0, 0, 0, 23, 0, 0, 0, 25];
        put_parse(&mut out, b"s1", b"SELECT $1", &parameters);
        let parse = Parse::read(&out[HEADER_LEN..]).unwrap();
        assert_eq!(parse.name, b"s1");
        assert_eq!(parse.text, b"SELECT $1");
        assert_eq!(parse.parameters, parameters);
    }

    #[test]
    fn bodies_that_go_on_after_their_end_are_malformed() {
        assert_eq!(read_query(b"SELECT 1\0"), Ok(&b"SELECT 1"[..]));
        for body in [&b"SELECT 1\0;DROP\0"[..], b"SELECT 1", b"", b"\0\0"] {
            assert_eq!(read_query(body), Err(Malformed), "{body:?}");
        }
        for body in [
            &b"s\0SELECT\0\0\0x"[..],
            b"s\0SELECT\0\0\x01\0\0\0",
            b"s\0SELECT\0\xff\xff",
            b"s\0SELECT\0\0",
            b"s\0SELECT",
        ] {
            assert_eq!(Parse::read(body), Err(Malformed), "{body:?}");
        }
        assert_eq!(read_execute(b"p\0\0\0\0\0"), Ok(Name::from("p")));
        assert_eq!(read_execute(b"p\0\0\0\0\0\0"), Err(Malformed));
        assert_eq!(read_target(b"Sx\0"), Ok(Target::Statement(Name::from("x"))));
        assert_eq!(read_target(b"Xx\0"), Err(Malformed));
        assert_eq!(read_target(b"Sx\0y"), Err(Malformed));
    }

    #[test]
    fn names_are_told_apart_by_63_bytes_like_on_the_server() {
        let long = "n".repeat(70);
        assert_eq!(Name::from(long.as_str()), Name::from(&long[..63]));
        assert_ne!(Name::from(&long[..62]), Name::from(&long[..63]));
    }
}
