//! Names as people look for them: `*` stands for any run of characters.
use std::convert::Infallible;
use std::str::FromStr;

/// `crm.contacts`, `crm.*`, `*phone*`. Letters count as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glob {
    Exact(String),
    /// The pieces between the asterisks; at least two.
    Pieces(Vec<String>),
}

impl FromStr for Glob {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.contains('*') {
            true => Glob::Pieces(text.split('*').map(str::to_owned).collect()),
            false => Glob::Exact(text.to_owned()),
        })
    }
}

impl Glob {
    /// It matches whatever name there is.
    pub fn is_all(&self) -> bool {
        matches!(self, Glob::Pieces(pieces) if pieces.iter().all(String::is_empty))
    }

    pub fn matches(&self, name: &str) -> bool {
        match self {
            Glob::Exact(exact) => exact == name,
            Glob::Pieces(pieces) => matches(pieces, name),
        }
    }

    /// What stands in the JSON of every string that matches, and as much of it as there is. Records are written by
    /// `serde_json`, which has one way to write a string.
    pub fn needle(&self) -> String {
        let (text, whole) = match self {
            Glob::Exact(exact) => (exact.as_str(), true),
            Glob::Pieces(pieces) => {
                let longest = pieces.iter().max_by_key(|piece| piece.len());
                (longest.map_or("", String::as_str), false)
            }
        };
        let json = serde_json::Value::from(text).to_string();
        match whole {
            true => json,
            false => json.get(1..json.len() - 1).unwrap_or_default().to_owned(),
        }
    }
}

/// First and last piece are anchored; those between are taken leftmost first, which finds a match where there is one.
fn matches(pieces: &[String], name: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return false;
    };
    let Some(mut rest) = name
        .strip_prefix(first.as_str())
        .and_then(|rest| rest.strip_suffix(last.as_str()))
    else {
        return false;
    };
    for piece in middle {
        let Some((_, after)) = rest.split_once(piece.as_str()) else {
            return false;
        };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        let Ok(glob) = text.parse();
        glob
    }

    #[test]
    fn an_asterisk_is_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("crm.contacts", "crm.contacts", true),
            ("crm.contacts", "crm.contacts2", false),
            ("crm.*", "crm.contacts", true),
            ("crm.*", "hr.employees", false),
            ("*phone*", "crm.leads.work_phone_2", true),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("Ann", "ann", false),
        ] {
            assert_eq!(glob(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_needle_is_in_the_json_of_whatever_matches() {
        for (pattern, name) in [
            ("ann", "ann"),
            ("a\"\\\n\u{1}b", "a\"\\\n\u{1}b"),
            ("王*", "王芳"),
            ("*\"x*", "a\"xy"),
            ("*", "anything"),
            ("/", "/"),
        ] {
            let glob = glob(pattern);
            let json = serde_json::to_string(name).expect("json");
            assert!(glob.matches(name), "{pattern}");
            assert!(
                json.contains(&glob.needle()),
                "{pattern}: {}",
                glob.needle()
            );
        }
    }
}
