//! ArcSight Common Event Format, `CEF:0` ("Implementing ArcSight Common Event Format", version 26).
use super::{Recorded, Severity, severity, succeeded, summary};

/// Longest value of one extension in bytes: receivers cut what is longer in places of their own choice.
const MAX_VALUE: usize = 4000;

/// One event.
pub fn render(recorded: &Recorded<'_>) -> String {
    let entry = recorded.entry;
    let number = match severity(entry) {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    let mut out = "CEF:0|pgveil|pgveil|".to_owned();
    header(env!("CARGO_PKG_VERSION"), &mut out);
    for field in [entry.event.as_str(), &summary(entry), &number.to_string()] {
        out.push('|');
        header(field, &mut out);
    }
    out.push('|');
    let time = humantime::parse_rfc3339(&entry.time).ok();
    let time = time.and_then(|time| time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
    let time = time.map(|time| time.as_millis().to_string());
    let outcome = succeeded(entry).map(|success| if success { "success" } else { "failure" });
    let list = |names: &[String]| (!names.is_empty()).then(|| names.join(","));
    let address = entry.client_addr;
    let is_six = address.is_some_and(|address| address.is_ipv6());
    let ip = address.map(|address| address.ip().to_string());
    let (four, six) = if is_six { (None, ip) } else { (ip, None) };
    let owned = |value: Option<&str>| value.map(str::to_owned);
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let mut extensions = Extensions {
        out,
        is_first: true,
    };
    for (key, value) in [
        ("rt", time),
        ("externalId", Some(recorded.id.to_owned())),
        ("cat", Some(entry.event.clone())),
        ("src", four),
        ("spt", address.map(|address| address.port().to_string())),
        ("suser", owned(entry.actor())),
        ("duser", owned(entry.db_user.as_deref())),
        ("spriv", owned(entry.role.as_deref())),
        ("act", owned(entry.verdict.as_deref())),
        ("outcome", outcome.map(str::to_owned)),
        ("reason", owned(entry.reason.as_deref())),
        (
            "requestClientApplication",
            owned(entry.application_name.as_deref()),
        ),
        ("app", Some("postgresql".to_owned())),
        ("out", number(entry.bytes)),
        (
            "msg",
            owned(entry.message.as_deref().or(entry.rule.as_deref())),
        ),
    ] {
        extensions.push(key, value);
    }
    extensions.labelled("c6a2", "source", six);
    extensions.labelled("cs1", "statement", entry.text.clone());
    extensions.labelled("cs2", "database", entry.database.clone());
    extensions.labelled("cs3", "relationsRead", list(&entry.reads));
    extensions.labelled("cs4", "relationsWritten", list(&entry.writes));
    extensions.labelled("cs5", "columnsMasked", list(&entry.masked));
    extensions.labelled("cs6", "policyVersion", entry.policy_version.clone());
    extensions.labelled("cn1", "rows", number(entry.rows));
    extensions.labelled("cn2", "session", number(entry.session));
    extensions.labelled("cn3", "sequence", Some(entry.seq.to_string()));
    let export = entry.export.as_ref();
    extensions.labelled(
        "flexString1",
        "exportRequest",
        export.map(|export| export.request.clone()),
    );
    let kind = entry.kind.clone();
    extensions.labelled("flexString2", "statementKind", kind);
    // The head of the chain is kept elsewhere only where it travels.
    if let Some(checkpoint) = &entry.checkpoint {
        extensions.push("fileHash", Some(checkpoint.head.clone()));
        extensions.labelled("cs1", "signature", Some(checkpoint.signature.clone()));
    }
    extensions.out
}

/// `key=value` after `key=value`.
struct Extensions {
    out: String,
    is_first: bool,
}

impl Extensions {
    fn push(&mut self, key: &str, value: Option<String>) {
        let Some(value) = value else { return };
        if !self.is_first {
            self.out.push(' ');
        }
        self.is_first = false;
        self.out.push_str(key);
        self.out.push('=');
        extension(cut(&value), &mut self.out);
    }

    /// A field of free use, with the name that it has here.
    fn labelled(&mut self, key: &str, label: &str, value: Option<String>) {
        if value.is_some() {
            self.push(key, value);
            self.push(&format!("{key}Label"), Some(label.to_owned()));
        }
    }
}

fn cut(value: &str) -> &str {
    let mut end = value.len().min(MAX_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or(value)
}

/// In the header `|` and `\` are escaped, and there is no line break.
fn header(value: &str, out: &mut String) {
    for letter in value.chars() {
        match letter {
            '|' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
}

/// In a value `=` and `\` are escaped, line breaks are written as `\n` and `\r`.
fn extension(value: &str, out: &mut String) {
    for letter in value.chars() {
        match letter {
            '=' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
}
