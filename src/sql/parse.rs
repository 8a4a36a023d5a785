//! PostgreSQL's own grammar, through libpg_query (the grammar of PostgreSQL 18).
use super::tree::Tree;

/// One statement of a text.
#[derive(Debug)]
pub struct Statement {
    pub tree: Tree,
    /// Byte range in the text, the separating `;` left out.
    pub span: (usize, usize),
}

/// The grammar does not accept the text. The message is the grammar's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(pub String);

/// Parses a text of any number of statements. Needs a stack that fits the caps of [`super::lex`].
///
/// # Errors
/// Where the grammar rejects the text, and where it holds a NUL byte.
pub fn parse(text: &str) -> Result<Vec<Statement>, SyntaxError> {
    let result = pg_query::parse(text, pg_query::ParserOptions::default())
        .map_err(|error| SyntaxError(message(&error)))?;
    let mut statements = Vec::with_capacity(result.protobuf.stmts.len());
    for raw in &result.protobuf.stmts {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0);
        let len = usize::try_from(raw.stmt_len).unwrap_or(0);
        let end = if len == 0 { text.len() } else { start + len };
        statements.push(Statement {
            tree: Tree::of(&raw.stmt),
            span: (start, end.min(text.len())),
        });
    }
    Ok(statements)
}

fn message(error: &pg_query::Error) -> String {
    match error {
        pg_query::Error::Parse(message) => message.clone(),
        // Neither quotes the text.
        pg_query::Error::Conversion(_) => "the text holds a NUL byte".to_owned(),
        _ => "the parse tree could not be read".to_owned(),
    }
}
