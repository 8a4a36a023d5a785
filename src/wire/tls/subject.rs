//! The subject of a certificate, as RFC 4514 writes distinguished names.
use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Longest subject that is kept, in bytes; the rest is cut, and `…` stands for it.
const MAX_SUBJECT: usize = 2 * 1024;

/// The subject of a DER certificate. Empty where the certificate names none, or cannot be read.
pub fn subject(der: &[u8]) -> String {
    let mut subject = match X509Certificate::from_der(der) {
        Ok((_, certificate)) => written(certificate.subject()),
        Err(_) => String::new(),
    };
    if subject.len() > MAX_SUBJECT {
        let mut end = MAX_SUBJECT;
        while !subject.is_char_boundary(end) {
            end -= 1;
        }
        subject.truncate(end);
        subject.push('…');
    }
    subject
}

/// The common name of a certificate's subject: one that stands there alone, for of two nobody knows which is meant.
pub fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut names = certificate.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => text(name.attr_value()),
        _ => None,
    }
}

/// Names of attribute types: the table of RFC 4514, section 3, and descriptors registered with IANA for LDAP that
/// certificates of people commonly carry.
const TYPES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "givenName"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// Section 2.1: the last part first.
fn written(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter()
        .map(|part| {
            let attributes: Vec<String> = part.iter().map(attribute).collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// Section 2.3.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let named = TYPES.iter().find(|(known, _)| *known == oid);
    match (named, text(attribute.attr_value())) {
        (Some((_, name)), Some(value)) => format!("{name}={}", escaped(&value)),
        (named, _) => {
            let name = named.map_or(oid.as_str(), |(_, name)| name);
            format!("{name}={}", hexadecimal(attribute.attr_value()))
        }
    }
}

/// A value of one of the string types (`DirectoryString` and `IA5String`).
fn text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            String::from_utf8(value.data.to_vec()).ok()
        }
        Tag::BmpString => {
            let (pairs, []) = value.data.as_chunks::<2>() else {
                return None;
            };
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// Section 2.4, for values that are strings.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (place, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', character]),
            '#' if place == 0 => escaped.push_str("\\#"),
            ' ' if place == 0 || place == last => escaped.push_str("\\ "),
            // Only NUL must be; other control characters may be, and nobody wants them in a line.
            character if character.is_control() => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(escaped, "\\{byte:02x}");
                }
            }
            character => escaped.push(character),
        }
    }
    escaped
}

/// Section 2.4, for all other values: their BER encoding.
fn hexadecimal(value: &Any<'_>) -> String {
    let data: &[u8] = value.data;
    let constructed = if value.header.is_constructed() {
        0x20
    } else {
        0
    };
    let class = value.class() as u32;
    let mut bytes = vec![u8::try_from(class << 6 | constructed | value.tag().0).unwrap_or(0)];
    match u8::try_from(data.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let length = data.len().to_be_bytes();
            let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
            bytes.extend(significant);
        }
    }
    bytes.extend_from_slice(data);
    bytes.iter().fold(String::from("#"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn of(parts: Vec<(DnType, DnValue)>) -> String {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
        let mut name = DistinguishedName::new();
        for (kind, value) in parts {
            name.push(kind, value);
        }
        parameters.distinguished_name = name;
        let key = KeyPair::generate().unwrap();
        subject(parameters.self_signed(&key).unwrap().der())
    }

    fn utf8(value: &str) -> DnValue {
        DnValue::Utf8String(value.to_owned())
    }

    #[test]
    fn the_last_part_comes_first_under_its_short_name() {
        let country = DnValue::PrintableString("CN".try_into().unwrap());
        assert_eq!(
            of(vec![
                (DnType::CountryName, country),
                (DnType::OrganizationName, utf8("Example 有限公司")),
                (
                    DnType::CommonName,
                    DnValue::BmpString("李雷".try_into().unwrap())
                ),
                (
                    DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]),
                    utf8("lilei")
                ),
            ]),
            "UID=lilei,CN=李雷,O=Example 有限公司,C=CN"
        );
    }

    #[test]
    fn what_means_something_in_a_name_is_escaped() {
        for (value, expected) in [
            ("a,b+c\"d\\e<f>g;h=i", r#"CN=a\,b\+c\"d\\e<f\>g\;h=i"#),
            (" #x ", r"CN=\ #x\ "),
            ("#x", r"CN=\#x"),
            (" ", r"CN=\ "),
            ("a\u{0}b\nc", r"CN=a\00b\0ac"),
        ] {
            let expected = expected.replace("e<f", r"e\<f");
            assert_eq!(of(vec![(DnType::CommonName, utf8(value))]), expected);
        }
    }

    #[test]
    fn a_type_without_a_name_stands_by_its_number_and_encoding() {
        let kind = || DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 1]);
        assert_eq!(of(vec![(kind(), utf8("hi"))]), "1.3.6.1.4.1.1=#0c026869");
        let long = of(vec![(kind(), utf8(&"x".repeat(300)))]);
        assert!(long.starts_with("1.3.6.1.4.1.1=#0c82012c78"), "{long}");
    }

    #[test]
    fn a_subject_is_bounded_and_may_be_missing() {
        assert_eq!(of(Vec::new()), "");
        assert_eq!(subject(b"garbage"), "");
        let long = of(vec![(DnType::CommonName, utf8(&"汉".repeat(2_000)))]);
        assert!(long.ends_with('…') && long.len() <= MAX_SUBJECT + '…'.len_utf8());
    }
}
