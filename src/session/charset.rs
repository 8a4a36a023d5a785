//! The client's encoding: statement texts are decoded before they are analysed, and encoded again.
//!
//! The server cuts a text into characters before it converts them (`pg_encoding_mblen`, src/common/wchar.c), so the text
//! is cut here by the same rule, character by character: a byte that looks like a quote or a backslash inside a character
//! is never taken for one, nor the reverse. Each character must decode to one character and encode to the bytes it came
//! from; what does not is not read at all.
use std::borrow::Cow;

use encoding_rs as rs;

/// How the bytes of a text fall into characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// One byte each.
    Single,
    /// Two bytes from 0x81 on.
    Double,
    /// Two bytes, both from 0xA1 on (EUC without its three-byte sets).
    Euc,
    /// EUC with half-width katakana behind 0x8E and a third set behind 0x8F.
    EucJp,
    /// Half-width katakana are single bytes.
    Sjis,
    /// Two bytes, or four where the second is a digit.
    Gb18030,
}

/// An encoding as the server names it in ParameterStatus.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Charset {
    Utf8,
    /// ISO 8859-1: bytes are code points.
    Latin1,
    /// ISO 8859-9: as Latin 1 but for six letters.
    Latin5,
    Table(&'static rs::Encoding, Cut),
    /// Only ASCII is read.
    Ascii,
}

/// Bytes that are no text of the encoding, or of which pgveil cannot be sure what the server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is not valid in the client's encoding")]
pub struct Undecodable;

impl Charset {
    /// The encoding of what the client sends, by the server's names of both encodings. SQL_ASCII is no conversion at all
    /// (`pg_client_to_server`): the bytes are checked as the server's encoding.
    pub fn of(client: &str, server: &str) -> Self {
        let table = |encoding, cut| Charset::Table(encoding, cut);
        match client {
            "UTF8" => Charset::Utf8,
            "SQL_ASCII" if ["UTF8", "SQL_ASCII"].contains(&server) => Charset::Utf8,
            "LATIN1" => Charset::Latin1,
            "LATIN2" => table(rs::ISO_8859_2, Cut::Single),
            "LATIN3" => table(rs::ISO_8859_3, Cut::Single),
            "LATIN4" => table(rs::ISO_8859_4, Cut::Single),
            "LATIN5" => Charset::Latin5,
            "LATIN6" => table(rs::ISO_8859_10, Cut::Single),
            "LATIN7" => table(rs::ISO_8859_13, Cut::Single),
            "LATIN8" => table(rs::ISO_8859_14, Cut::Single),
            "LATIN9" => table(rs::ISO_8859_15, Cut::Single),
            "LATIN10" => table(rs::ISO_8859_16, Cut::Single),
            "ISO_8859_5" => table(rs::ISO_8859_5, Cut::Single),
            "ISO_8859_6" => table(rs::ISO_8859_6, Cut::Single),
            "ISO_8859_7" => table(rs::ISO_8859_7, Cut::Single),
            "ISO_8859_8" => table(rs::ISO_8859_8, Cut::Single),
            "KOI8R" => table(rs::KOI8_R, Cut::Single),
            "KOI8U" => table(rs::KOI8_U, Cut::Single),
            "WIN866" => table(rs::IBM866, Cut::Single),
            "WIN874" => table(rs::WINDOWS_874, Cut::Single),
            "WIN1250" => table(rs::WINDOWS_1250, Cut::Single),
            "WIN1251" => table(rs::WINDOWS_1251, Cut::Single),
            "WIN1252" => table(rs::WINDOWS_1252, Cut::Single),
            "WIN1253" => table(rs::WINDOWS_1253, Cut::Single),
            "WIN1254" => table(rs::WINDOWS_1254, Cut::Single),
            "WIN1255" => table(rs::WINDOWS_1255, Cut::Single),
            "WIN1256" => table(rs::WINDOWS_1256, Cut::Single),
            "WIN1257" => table(rs::WINDOWS_1257, Cut::Single),
            "WIN1258" => table(rs::WINDOWS_1258, Cut::Single),
            "EUC_CN" => table(rs::GBK, Cut::Euc),
            "EUC_KR" => table(rs::EUC_KR, Cut::Euc),
            "EUC_JP" => table(rs::EUC_JP, Cut::EucJp),
            "GBK" => table(rs::GBK, Cut::Double),
            "UHC" => table(rs::EUC_KR, Cut::Double),
            "BIG5" => table(rs::BIG5, Cut::Double),
            "SJIS" => table(rs::SHIFT_JIS, Cut::Sjis),
            "GB18030" => table(rs::GB18030, Cut::Gb18030),
            // EUC_TW, EUC_JIS_2004, SHIFT_JIS_2004, JOHAB, MULE_INTERNAL, and what a later version brings.
            _ => Charset::Ascii,
        }
    }

    /// A text as UTF-8, exactly.
    ///
    /// # Errors
    /// Not every byte of it is understood.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, str>, Undecodable> {
        if *self == Charset::Utf8 || bytes.is_ascii() {
            return std::str::from_utf8(bytes)
                .map(Cow::Borrowed)
                .map_err(|_| Undecodable);
        }
        let mut text = String::with_capacity(bytes.len() * 3 / 2);
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            let length = self.length(rest);
            let (character, behind) = rest.split_at_checked(length).ok_or(Undecodable)?;
            match first {
                0x00..0x80 => text.push(char::from(first)),
                _ => text.push(self.character(character).ok_or(Undecodable)?),
            }
            rest = behind;
        }
        Ok(Cow::Owned(text))
    }

    /// Whether a text that the server sends in this encoding is read as that same text: of some characters tables differ.
    pub fn keeps(&self, text: &str) -> bool {
        let comes_back = |bytes: &[u8]| self.decode(bytes).is_ok_and(|read| read == text);
        text.is_ascii() || self.encode(text).is_some_and(|bytes| comes_back(&bytes))
    }

    /// A text for the eye alone: what is not understood becomes U+FFFD.
    pub fn decode_lossy<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        if *self == Charset::Utf8 || bytes.is_ascii() {
            return String::from_utf8_lossy(bytes);
        }
        let mut text = String::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            let length = self.length(rest).min(rest.len());
            let (character, behind) = rest.split_at(length);
            text.push(match first {
                0x00..0x80 => char::from(first),
                _ => self.character(character).unwrap_or('\u{fffd}'),
            });
            rest = behind;
        }
        Cow::Owned(text)
    }

    /// The text's bytes; `None` where the encoding lacks a character of it.
    pub fn encode<'a>(&self, text: &'a str) -> Option<Cow<'a, [u8]>> {
        if *self == Charset::Utf8 || text.is_ascii() {
            return Some(Cow::Borrowed(text.as_bytes()));
        }
        let mut bytes = Vec::with_capacity(text.len());
        for character in text.chars() {
            match character.is_ascii() {
                true => bytes.push(character as u8),
                false => bytes.extend_from_slice(&self.bytes(character)?),
            }
        }
        Some(Cow::Owned(bytes))
    }

    /// The text's bytes, `?` for what the encoding lacks.
    pub fn encode_lossy<'a>(&self, text: &'a str) -> Cow<'a, [u8]> {
        self.encode(text).unwrap_or_else(|| {
            let known = |c: char| c.is_ascii() || self.bytes(c).is_some();
            let text: String = text
                .chars()
                .map(|c| if known(c) { c } else { '?' })
                .collect();
            Cow::Owned(self.encode(&text).map_or_else(Vec::new, Cow::into_owned))
        })
    }

    /// Bytes of the first character.
    fn length(&self, rest: &[u8]) -> usize {
        let first = rest.first().copied().unwrap_or(0);
        let Charset::Table(_, cut) = self else {
            return 1;
        };
        match cut {
            _ if first < 0x80 => 1,
            Cut::Single => 1,
            Cut::Sjis if (0xa1..=0xdf).contains(&first) => 1,
            Cut::Gb18030 if rest.get(1).is_some_and(u8::is_ascii_digit) => 4,
            Cut::EucJp if first == 0x8f => 3,
            Cut::Double | Cut::Euc | Cut::EucJp | Cut::Sjis | Cut::Gb18030 => 2,
        }
    }

    /// The one character that these bytes are, if encoding it gives them again.
    fn character(&self, bytes: &[u8]) -> Option<char> {
        let character = match self {
            Charset::Utf8 | Charset::Ascii => None,
            Charset::Latin1 => bytes.first().map(|byte| char::from(*byte)),
            Charset::Latin5 => bytes.first().map(|byte| {
                let replaced = LATIN5.iter().find(|(own, _)| own == byte);
                replaced.map_or(char::from(*byte), |(_, letter)| *letter)
            }),
            Charset::Table(encoding, cut) => {
                let code = code(bytes);
                if let Some((_, own)) = overrides(encoding, *cut)
                    .iter()
                    .find(|(own, _)| Some(*own) == code)
                {
                    return *own;
                }
                let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
                let mut characters = text.chars();
                match (characters.next(), characters.next()) {
                    (Some(only), None) => Some(only),
                    _ => None,
                }
            }
        }?;
        (!character.is_ascii() && self.bytes(character)? == bytes).then_some(character)
    }

    /// The bytes of a character outside of ASCII, where the server reads them as that character.
    fn bytes(&self, character: char) -> Option<Vec<u8>> {
        match self {
            Charset::Utf8 => Some(character.to_string().into_bytes()),
            Charset::Ascii => None,
            Charset::Latin1 => u8::try_from(u32::from(character))
                .ok()
                .map(|byte| vec![byte]),
            Charset::Latin5 => {
                if let Some((own, _)) = LATIN5.iter().find(|(_, letter)| *letter == character) {
                    return Some(vec![*own]);
                }
                let byte = u8::try_from(u32::from(character)).ok()?;
                LATIN5
                    .iter()
                    .all(|(own, _)| *own != byte)
                    .then(|| vec![byte])
            }
            Charset::Table(encoding, cut) => {
                let own = overrides(encoding, *cut);
                if let Some((code, _)) = own.iter().find(|(_, own)| *own == Some(character)) {
                    let bytes = code.to_be_bytes();
                    return Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect());
                }
                let text = character.to_string();
                let (bytes, _, unmappable) = encoding.encode(&text);
                let bytes = bytes.into_owned();
                let high = |byte: &u8| *byte >= 0xa1;
                let fits = match cut {
                    Cut::Single => bytes.len() == 1,
                    Cut::Euc => bytes.len() == 2 && bytes.iter().all(high),
                    _ => bytes.len() == self.length(&bytes) && bytes.first() != Some(&0x80),
                };
                let elsewhere = code(&bytes).is_some_and(|code| {
                    is_vendors(encoding, code) || own.iter().any(|(own, _)| *own == code)
                });
                (!unmappable && fits && !elsewhere).then_some(bytes)
            }
        }
    }
}

const LATIN5: &[(u8, char)] = &[
    (0xd0, 'Ğ'),
    (0xdd, 'İ'),
    (0xde, 'Ş'),
    (0xf0, 'ğ'),
    (0xfd, 'ı'),
    (0xfe, 'ş'),
];

/// A code that the server's tables give another character than the Encoding Standard's (`tests/encodings.rs` compares
/// all): the character, or `None` for what is not read at all.
type Override = (u16, Option<char>);

const BIG5: &[Override] = &[
    (0xa145, Some('•')),
    (0xa14e, Some('､')),
    (0xa15a, None),
    (0xa1c2, Some('‾')),
    (0xa1c3, None),
    (0xa1c5, None),
    (0xa1e3, Some('∼')),
    (0xa1f2, Some('♁')),
    (0xa1f3, Some('☉')),
    (0xa1fe, None),
    (0xa240, None),
    (0xa241, Some('／')),
    (0xa242, Some('＼')),
    (0xa244, Some('¥')),
    (0xa246, Some('¢')),
    (0xa247, Some('£')),
];
const EUC_CN: &[Override] = &[(0xa1a4, Some('・')), (0xa1aa, Some('―'))];
const KOI8U: &[Override] = &[(0xae, Some('╝')), (0xbe, Some('╬'))];
/// PostgreSQL 15 has GB 18030-2000, in which these are private characters; a later one may have GB 18030-2022.
const GB18030: &[Override] = &[
    (0xa6d9, None),
    (0xa6da, None),
    (0xa6db, None),
    (0xa6dc, None),
    (0xa6dd, None),
    (0xa6de, None),
    (0xa6df, None),
    (0xa6ec, None),
    (0xa6ed, None),
    (0xa6f3, None),
    (0xa8bc, None),
    (0xfe59, None),
    (0xfe61, None),
    (0xfe66, None),
    (0xfe67, None),
    (0xfe6d, None),
    (0xfe7e, None),
    (0xfe90, None),
    (0xfea0, None),
];

fn overrides(encoding: &'static rs::Encoding, cut: Cut) -> &'static [Override] {
    match cut {
        Cut::Double if encoding == rs::BIG5 => BIG5,
        Cut::Euc if encoding == rs::GBK => EUC_CN,
        Cut::Gb18030 => GB18030,
        Cut::Single if encoding == rs::KOI8_U => KOI8U,
        _ => &[],
    }
}

/// One or two bytes as a number.
fn code(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [only] => Some(u16::from(*only)),
        [lead, trail] => Some(u16::from_be_bytes([*lead, *trail])),
        _ => None,
    }
}

/// The rows of kana, Cyrillic and symbols, of which every vendor of BIG5 has others.
fn is_vendors(encoding: &'static rs::Encoding, code: u16) -> bool {
    encoding == rs::BIG5 && (0xc6a1..=0xc8fe).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charset(name: &str) -> Charset {
        Charset::of(name, "UTF8")
    }

    /// The server writes these as characters that are read as others.
    #[test]
    fn characters_of_which_tables_differ_are_not_kept() {
        for character in [
            '\u{a2}', '\u{a3}', '\u{ac}', '\u{2016}', '\u{203e}', '\u{2212}', '\u{301c}', '\u{a5}',
        ] {
            assert!(
                !charset("SJIS").keeps(&format!(", {character}")),
                "{character}"
            );
            assert!(charset("UTF8").keeps(&character.to_string()));
        }
        for (name, text) in [
            ("SJIS", "、"),
            ("GBK", "，"),
            ("LATIN1", "·"),
            ("SJIS", ", "),
        ] {
            assert!(charset(name).keeps(text), "{name} {text}");
        }
        assert!(!charset("LATIN1").keeps("、"));
    }

    #[test]
    fn texts_come_back_byte_for_byte() {
        for (name, bytes, text) in [
            ("GBK", &b"'\xd6\xd0\xce\xc4'"[..], "'中文'"),
            ("EUC_CN", b"\xd6\xd0\xce\xc4", "中文"),
            ("GB18030", b"\xd6\xd0\x81\x30\x86\x30", "中¸"),
            ("BIG5", b"\xa4\xa4\xa4\xe5", "中文"),
            ("SJIS", b"\x95\x5c\x8e\xa6\xb1", "表示ｱ"),
            ("EUC_JP", b"\xc9\xbd\x8e\xb1", "表ｱ"),
            ("EUC_KR", b"\xc7\xd1", "한"),
            ("UHC", b"\x8c\x63", "똠"),
            ("LATIN1", b"\xe9\x80", "é\u{80}"),
            ("LATIN5", b"\xfd\xe9", "ıé"),
            ("WIN1252", b"\x80", "€"),
            ("KOI8R", b"\xc1", "а"),
            ("UTF8", "中".as_bytes(), "中"),
            ("JOHAB", b"SELECT 1", "SELECT 1"),
        ] {
            let charset = charset(name);
            assert_eq!(charset.decode(bytes).as_deref(), Ok(text), "{name}");
            assert_eq!(charset.encode(text).as_deref(), Some(bytes), "{name}");
        }
    }

    #[test]
    fn bytes_that_hide_ascii_are_parts_of_their_character() {
        // 0xbf5c and 0x95 5c end in a backslash, 0x815c likewise.
        assert_eq!(charset("GBK").decode(b"'\xbf\x5c'").as_deref(), Ok("'縗'"));
        assert_eq!(charset("SJIS").decode(b"\x95\x5c'").as_deref(), Ok("表'"));
        for (name, bytes) in [
            // A quote as second byte: no character, whoever cuts the text otherwise.
            ("GBK", &b"\xbf\x27"[..]),
            ("GBK", b"\x80\x27"),
            ("GBK", b"\x80"),
            ("GBK", b"\xff\x41"),
            ("GBK", b"\xd6"),
            ("GBK", b"\x81\x30\x81\x30"),
            ("BIG5", b"\xa4\x27"),
            ("SJIS", b"\x81\x27"),
            ("SJIS", b"\x80"),
            ("UHC", b"\x81\x27"),
            ("GB18030", b"\x81\x27"),
            ("GB18030", b"\x81\x30\x27\x30"),
            ("GB18030", b"\x80"),
            ("EUC_CN", b"\x81\x40"),
            ("EUC_CN", b"\x8e\xa1\xa1"),
            ("EUC_KR", b"\x81\x41"),
            ("EUC_JP", b"\x8f\xa2\xb8"),
            ("EUC_JP", b"\xb0\x27"),
            ("JOHAB", b"\xd0\x65"),
            ("EUC_TW", b"\xc4\xe3"),
            ("MULE_INTERNAL", b"\x81\xe9"),
            ("UTF8", b"\xc0\x27"),
            ("UTF8", b"\xed\xa0\x80"),
        ] {
            assert_eq!(
                charset(name).decode(bytes),
                Err(Undecodable),
                "{name} {bytes:x?}"
            );
        }
    }

    #[test]
    fn ascii_is_itself_in_every_encoding() {
        let ascii: String = (1..128u8).map(char::from).collect();
        for name in [
            "GBK", "SJIS", "BIG5", "LATIN1", "KOI8R", "EUC_TW", "GB18030",
        ] {
            let text = charset(name).decode(ascii.as_bytes()).map(Cow::into_owned);
            assert_eq!(text.as_ref(), Ok(&ascii));
        }
    }

    #[test]
    fn what_an_encoding_lacks_cannot_be_sent_in_it() {
        assert_eq!(charset("LATIN1").encode("中"), None);
        assert_eq!(charset("GBK").encode("한"), None);
        assert_eq!(charset("LATIN1").encode_lossy("é中").as_ref(), b"\xe9?");
        assert_eq!(charset("GBK").decode_lossy(b"a\xbf\x27b"), "a\u{fffd}b");
    }

    #[test]
    fn sql_ascii_is_the_servers_own_encoding() {
        assert_eq!(Charset::of("SQL_ASCII", "UTF8"), Charset::Utf8);
        assert_eq!(Charset::of("SQL_ASCII", "LATIN1"), Charset::Ascii);
    }
}
