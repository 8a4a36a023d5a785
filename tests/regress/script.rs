//! A psql script, statement by statement.

/// What a script asks for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Statement(String),
    /// `COPY ... FROM STDIN` with the lines that follow it.
    CopyIn(String, String),
    /// A backslash command, or a statement that needs one: psql's own business.
    Psql(String),
}

/// Splits as psql does (psqlscan.l): at semicolons outside of quotes, comments, parentheses and `BEGIN ATOMIC` bodies.
pub fn items(script: &str) -> Vec<Item> {
    let bytes = script.as_bytes();
    let mut items = Vec::new();
    let mut start = 0;
    let mut at = 0;
    let mut depth = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' => at = quoted(bytes, at, escapes(bytes, at)),
            b'"' => at = quoted(bytes, at, false),
            b'$' => at = dollar_quoted(script, at),
            b'-' if bytes[at..].starts_with(b"--") => at = line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => at = comment(bytes, at),
            b'(' => {
                depth += 1;
                at += 1;
            }
            b')' => {
                depth -= 1;
                at += 1;
            }
            b'\\' => {
                // To the end of the line; with it goes what was typed before it.
                let end = line_end(bytes, at);
                items.push(Item::Psql(script[start..end].trim().to_owned()));
                start = end;
                at = end;
                depth = 0;
            }
            b';' if depth <= 0 && !in_body(&script[start..at]) => {
                at += 1;
                let statement = uncommented(&script[start..at]);
                start = at;
                depth = 0;
                let upper = statement.to_ascii_uppercase();
                if upper.starts_with("COPY") && reads_lines(&upper) {
                    let from = line_end(bytes, at) + 1;
                    let end = script
                        .get(from..)
                        .and_then(|rest| rest.find("\\.\n"))
                        .map_or(bytes.len(), |end| from + end);
                    let data = script.get(from..end).unwrap_or_default().to_owned();
                    items.push(Item::CopyIn(statement, data));
                    start = (end + 3).min(bytes.len());
                    at = start;
                } else if needs_psql(&statement) {
                    items.push(Item::Psql(statement));
                } else if statement != ";" {
                    items.push(Item::Statement(statement));
                }
            }
            _ => at += 1,
        }
    }
    items
}

/// The server sends CopyInResponse: to `FROM STDOUT` too, which the grammar takes for `FROM STDIN`.
fn reads_lines(upper: &str) -> bool {
    upper.contains("STDIN") || upper.contains("FROM STDOUT")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |end| at + end)
}

fn escapes(bytes: &[u8], at: usize) -> bool {
    let letter = |back: usize| {
        at.checked_sub(back)
            .and_then(|at| bytes.get(at))
            .copied()
            .unwrap_or(b' ')
    };
    matches!(letter(1), b'e' | b'E') && !letter(2).is_ascii_alphanumeric()
}

fn quoted(bytes: &[u8], open: usize, escapes: bool) -> usize {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte == bytes[open] => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn dollar_quoted(script: &str, open: usize) -> usize {
    let behind = &script[open + 1..];
    let tag = behind
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(0);
    let is_tag = behind[tag..].starts_with('$')
        && !behind.starts_with(|letter: char| letter.is_ascii_digit());
    if !is_tag {
        return open + 1;
    }
    let quote = &script[open..open + tag + 2];
    let body = open + quote.len();
    script[body..]
        .find(quote)
        .map_or(script.len(), |end| body + end + quote.len())
}

fn comment(bytes: &[u8], open: usize) -> usize {
    let mut at = open;
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// Within `BEGIN ATOMIC ... END` of a function.
fn in_body(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    upper
        .split_once("BEGIN ATOMIC")
        .is_some_and(|(_, body)| !body.trim_end().ends_with("END"))
}

/// Less the comment lines before it.
fn uncommented(text: &str) -> String {
    let mut rest = text.trim_start();
    while let Some(comment) = rest.strip_prefix("--") {
        rest = comment
            .split_once('\n')
            .map_or("", |(_, rest)| rest)
            .trim_start();
    }
    rest.trim().to_owned()
}

/// psql puts values of its variables in.
fn needs_psql(statement: &str) -> bool {
    statement.contains(":'") || statement.contains(":\"") || statement.contains(" :")
}
