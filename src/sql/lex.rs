//! PostgreSQL's lexical rules (`src/backend/parser/scan.l`), as far as pgveil needs them: where tokens begin and end.
//!
//! The lexer feeds the splicer and the literal remover, and it holds the caps that keep both parsers from running out
//! of stack. It is not trusted: what it gets wrong the judge refuses.
use std::ops::Range;

/// Tokens of one text at most. Real applications stay far below; a list of 10,000 parameters has 20,000.
pub const MAX_TOKENS: usize = 400_000;
/// Nesting of parentheses, brackets and CASE at most.
pub const MAX_NESTING: usize = 200;
/// Operators in a row at one nesting level: each may deepen the parse tree by one. AND and OR start a new row, since
/// the grammar makes flat lists of them.
pub const MAX_CHAIN: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An unquoted identifier or keyword.
    Word,
    /// `"..."`
    Quoted,
    /// `'...'`, without prefix.
    String,
    /// `E'..'`, `B'..'`, `X'..'`, `N'..'`, `U&'..'`, `U&".."`.
    Prefixed,
    /// `$tag$...$tag$`
    Dollar,
    /// `$1`
    Param,
    Number,
    Operator,
    /// One of `( ) [ ] , ; . :`, and `::`, `:=`, `..`.
    Punct,
}

/// What stood between a token and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    None,
    Blank,
    /// White space with a newline in it: string continuation needs it.
    Newline,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    /// Byte range in the text.
    pub span: Range<usize>,
    pub gap: Gap,
}

impl Token {
    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.span.clone()).unwrap_or("")
    }

    /// The identifier as PostgreSQL folds it, quotes undone; `None` for other tokens.
    pub fn identifier(&self, text: &str) -> Option<String> {
        let raw = self.text(text);
        match self.kind {
            Kind::Word => Some(raw.to_ascii_lowercase()),
            Kind::Quoted => Some(raw.get(1..raw.len().checked_sub(1)?)?.replace("\"\"", "\"")),
            _ => None,
        }
    }

    pub fn is_word(&self, text: &str, word: &str) -> bool {
        self.kind == Kind::Word && self.text(text).eq_ignore_ascii_case(word)
    }

    /// A number in the notation that PostgreSQL 16 brought: `0x1f`, `0o17`, `0b11`, `1_000`.
    pub fn is_late_numeral(&self, text: &str) -> bool {
        let raw = self.text(text).as_bytes();
        let based = matches!(raw, [b'0', base, ..] if matches!(base | 0x20, b'x' | b'o' | b'b'));
        self.kind == Kind::Number && (based || raw.contains(&b'_'))
    }

    pub fn is(&self, text: &str, punct: &str) -> bool {
        matches!(self.kind, Kind::Punct | Kind::Operator) && self.text(text) == punct
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LexError {
    #[error("unterminated quoted text or comment")]
    Unterminated,
    #[error("more than {MAX_TOKENS} tokens")]
    TooManyTokens,
    #[error("nested deeper than {MAX_NESTING}")]
    TooDeep,
    #[error("more than {MAX_CHAIN} operators in a row")]
    ChainTooLong,
}

impl LexError {
    /// A cap was hit; else the text is malformed and the server will say so.
    pub fn is_limit(self) -> bool {
        self != LexError::Unterminated
    }
}

/// All tokens of a text. Comments and white space become the [`Gap`] of the token behind them.
pub fn tokens(text: &str) -> Result<Vec<Token>, LexError> {
    let mut lexer = Lexer {
        bytes: text.as_bytes(),
        at: 0,
    };
    let mut found = Vec::with_capacity(text.len() / 5 + 4);
    let mut depth = 0usize;
    // Operators seen at each open nesting level.
    let mut chains = vec![0usize];
    while let Some(token) = lexer.next()? {
        if found.len() >= MAX_TOKENS {
            return Err(LexError::TooManyTokens);
        }
        let raw = token.text(text);
        let deepens = match token.kind {
            Kind::Punct if raw == "(" || raw == "[" => 1,
            Kind::Punct if raw == ")" || raw == "]" => -1,
            Kind::Word if raw.eq_ignore_ascii_case("case") => 1,
            Kind::Word if raw.eq_ignore_ascii_case("end") => -1,
            _ => 0,
        };
        match deepens {
            1 => {
                depth += 1;
                chains.push(0);
                if depth > MAX_NESTING {
                    return Err(LexError::TooDeep);
                }
            }
            -1 => {
                depth = depth.saturating_sub(1);
                if chains.len() > 1 {
                    chains.pop();
                }
            }
            _ => {}
        }
        let links = match token.kind {
            Kind::Operator => true,
            Kind::Punct => matches!(raw, "::" | "["),
            Kind::Word => ["not", "is", "union", "intersect", "except", "join"]
                .iter()
                .any(|word| raw.eq_ignore_ascii_case(word)),
            _ => false,
        };
        if links && let Some(chain) = chains.last_mut() {
            *chain += 1;
            if *chain > MAX_CHAIN {
                return Err(LexError::ChainTooLong);
            }
        } else if starts_row(&token, text)
            && let Some(chain) = chains.last_mut()
        {
            *chain = 0;
        }
        found.push(token);
    }
    Ok(found)
}

/// Whether nothing but blanks and newlines stands between the tokens: no comment, no other white space.
pub fn bare(text: &str, tokens: &[Token]) -> bool {
    let mut end = 0;
    tokens.iter().all(|token| {
        let between = text.get(end..token.span.start).unwrap_or("\0");
        end = token.span.end;
        between.bytes().all(|byte| matches!(byte, b' ' | b'\n'))
    }) && text
        .get(end..)
        .is_some_and(|rest| rest.bytes().all(|byte| matches!(byte, b' ' | b'\n')))
}

/// Whether a vertical tab stands as white space in a text: outside of tokens and comments.
pub fn spaced_by_vertical_tab(text: &str, tokens: &[Token]) -> bool {
    if !text.contains('\u{b}') {
        return false;
    }
    let ends = std::iter::once(0).chain(tokens.iter().map(|token| token.span.end));
    let starts = tokens.iter().map(|token| token.span.start);
    let gaps = ends.zip(starts.chain(std::iter::once(text.len())));
    gaps.into_iter().any(|(from, to)| {
        let mut rest = Lexer {
            bytes: text.as_bytes().get(from..to).unwrap_or_default(),
            at: 0,
        };
        while rest.at < rest.bytes.len() {
            match (rest.peek(0), rest.peek(1)) {
                (0x0b, _) => return true,
                (b'-', b'-') => rest.skip_while(|byte| byte != b'\n' && byte != b'\r'),
                (b'/', b'*') if rest.block_comment().is_ok() => {}
                _ => rest.at += 1,
            }
        }
        false
    })
}

fn starts_row(token: &Token, text: &str) -> bool {
    match token.kind {
        Kind::Punct => matches!(token.text(text), "," | ";"),
        Kind::Word => token.is_word(text, "and") || token.is_word(text, "or"),
        _ => false,
    }
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

const OPERATOR_CHARS: &[u8] = b"~!@#^&|`?+-*/%<>=";

fn is_identifier_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_identifier_part(byte: u8) -> bool {
    is_identifier_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.at < self.bytes.len() && accept(self.peek(0)) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Result<Option<Token>, LexError> {
        let gap = self.gap()?;
        let start = self.at;
        if start >= self.bytes.len() {
            return Ok(None);
        }
        let byte = self.peek(0);
        let kind = match byte {
            b'\'' => self.quoted(b'\'', false).map(|()| Kind::String)?,
            b'"' => self.quoted(b'"', false).map(|()| Kind::Quoted)?,
            b'e' | b'E' if self.peek(1) == b'\'' => self.prefixed(1, true)?,
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if self.peek(1) == b'\'' => {
                self.prefixed(1, false)?
            }
            b'u' | b'U' if self.peek(1) == b'&' && matches!(self.peek(2), b'\'' | b'"') => {
                self.prefixed(2, false)?
            }
            b'$' => self.dollar()?,
            _ if is_identifier_start(byte) => {
                self.skip_while(is_identifier_part);
                Kind::Word
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b':' if matches!(self.peek(1), b':' | b'=') => self.punct(2),
            b'.' if self.peek(1) == b'.' => self.punct(2),
            b'(' | b')' | b'[' | b']' | b',' | b';' | b'.' | b':' => self.punct(1),
            _ if OPERATOR_CHARS.contains(&byte) => self.operator(),
            // Anything else is an error in scan.l too; one byte keeps the walk going.
            _ => self.punct(1),
        };
        Ok(Some(Token {
            kind,
            span: start..self.at,
            gap,
        }))
    }

    fn punct(&mut self, width: usize) -> Kind {
        self.at += width;
        Kind::Punct
    }

    /// White space and comments. `--` runs to a newline or a carriage return; `/* */` nests.
    fn gap(&mut self) -> Result<Gap, LexError> {
        let mut gap = Gap::None;
        loop {
            match self.peek(0) {
                b' ' | b'\t' | 0x0b | 0x0c if self.at < self.bytes.len() => {
                    self.at += 1;
                    gap = if gap == Gap::Newline { gap } else { Gap::Blank };
                }
                b'\n' | b'\r' => {
                    self.at += 1;
                    gap = Gap::Newline;
                }
                b'-' if self.peek(1) == b'-' => {
                    self.skip_while(|byte| byte != b'\n' && byte != b'\r');
                    gap = if gap == Gap::Newline { gap } else { Gap::Blank };
                }
                b'/' if self.peek(1) == b'*' => {
                    self.block_comment()?;
                    gap = if gap == Gap::Newline { gap } else { Gap::Blank };
                }
                _ => return Ok(gap),
            }
        }
    }

    fn block_comment(&mut self) -> Result<(), LexError> {
        let mut depth = 0usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ if self.at >= self.bytes.len() => return Err(LexError::Unterminated),
                _ => self.at += 1,
            }
        }
    }

    fn quoted(&mut self, quote: u8, backslashes: bool) -> Result<(), LexError> {
        self.at += 1;
        loop {
            if self.at >= self.bytes.len() {
                return Err(LexError::Unterminated);
            }
            let byte = self.peek(0);
            if (byte == b'\\' && backslashes) || (byte == quote && self.peek(1) == quote) {
                self.at += 2;
            } else if byte == quote {
                self.at += 1;
                return Ok(());
            } else {
                self.at += 1;
            }
        }
    }

    fn prefixed(&mut self, prefix: usize, backslashes: bool) -> Result<Kind, LexError> {
        self.at += prefix;
        let quote = self.peek(0);
        self.quoted(quote, backslashes)?;
        Ok(Kind::Prefixed)
    }

    fn dollar(&mut self) -> Result<Kind, LexError> {
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
            return Ok(Kind::Param);
        }
        let mut tag = 1;
        if is_identifier_start(self.peek(tag)) {
            while is_identifier_part(self.peek(tag)) && self.peek(tag) != b'$' {
                tag += 1;
            }
        }
        if self.peek(tag) != b'$' {
            return Ok(self.punct(1));
        }
        let delimiter = self.rest().get(..=tag).unwrap_or(&[]).to_vec();
        self.at += delimiter.len();
        let body = self.rest();
        match body
            .windows(delimiter.len())
            .position(|window| window == delimiter.as_slice())
        {
            Some(end) => {
                self.at += end + delimiter.len();
                Ok(Kind::Dollar)
            }
            None => Err(LexError::Unterminated),
        }
    }

    fn number(&mut self) -> Kind {
        if self.peek(0) == b'0' && matches!(self.peek(1) | 0x20, b'x' | b'o' | b'b') {
            self.at += 2;
            self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return Kind::Number;
        }
        self.skip_while(|byte| byte.is_ascii_digit() || byte == b'_');
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit() || byte == b'_');
        }
        if self.peek(0) | 0x20 == b'e' {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.skip_while(|byte| byte.is_ascii_digit() || byte == b'_');
            }
        }
        Kind::Number
    }

    /// An operator ends before a comment begins, and a multi-character one ends in `+` or `-` only if it holds one of
    /// `~ ! @ # ^ & | ` ? %`.
    fn operator(&mut self) -> Kind {
        let rest = self.rest();
        let mut end = rest
            .iter()
            .position(|byte| !OPERATOR_CHARS.contains(byte))
            .unwrap_or(rest.len());
        let run = rest.get(..end).unwrap_or(&[]);
        if let Some(comment) = run
            .windows(2)
            .position(|pair| pair == b"--" || pair == b"/*")
        {
            end = comment.max(1);
        }
        let run = rest.get(..end).unwrap_or(&[]);
        if !run.iter().any(|byte| b"~!@#^&|`?%".contains(byte)) {
            while end > 1 && matches!(rest.get(end - 1), Some(b'+' | b'-')) {
                end -= 1;
            }
        }
        self.at += end;
        Kind::Operator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexed(text: &str) -> Vec<&str> {
        tokens(text)
            .unwrap()
            .iter()
            .map(|token| token.text(text))
            .collect()
    }

    #[test]
    fn tokens_end_where_postgresql_ends_them() {
        for (text, expected) in [
            ("SELECT a.b", vec!["SELECT", "a", ".", "b"]),
            ("a/* x /* y */ */b", vec!["a", "b"]),
            ("a-- c\rb", vec!["a", "b"]),
            ("1.5e-3+.5", vec!["1.5e-3", "+", ".5"]),
            ("1..2", vec!["1", "..", "2"]),
            ("a<-1", vec!["a", "<", "-", "1"]),
            ("a@-1", vec!["a", "@-", "1"]),
            ("a*/*c*/b", vec!["a", "*", "b"]),
            (
                "'it''s' E'a\\'b' $é$ ' $é$",
                vec!["'it''s'", "E'a\\'b'", "$é$ ' $é$"],
            ),
            ("$1::text", vec!["$1", "::", "text"]),
            ("U&\"d!0061\" x'1f'", vec!["U&\"d!0061\"", "x'1f'"]),
            ("\"a\"\"b\".c", vec!["\"a\"\"b\"", ".", "c"]),
            ("a$1 $$x$$", vec!["a$1", "$$x$$"]),
        ] {
            assert_eq!(lexed(text), expected, "{text}");
        }
    }

    #[test]
    fn unterminated_text_is_an_error() {
        for text in ["'a", "\"a", "/* a", "$$ a", "E'\\'"] {
            assert_eq!(tokens(text), Err(LexError::Unterminated), "{text}");
        }
    }

    #[test]
    fn depth_and_length_are_capped() {
        assert_eq!(tokens(&"(".repeat(MAX_NESTING + 1)), Err(LexError::TooDeep));
        assert_eq!(
            tokens(&format!("SELECT 1{}", "+1".repeat(MAX_CHAIN + 1))),
            Err(LexError::ChainTooLong)
        );
        assert!(tokens(&format!("SELECT 1 IN (1{})", ",1".repeat(50_000))).is_ok());
    }
}
