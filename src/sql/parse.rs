//! PostgreSQL's own grammar, through libpg_query (the grammar of PostgreSQL 18).
use super::tree::{Node, Tree};

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

/// The first PostgreSQL to which SYSTEM_USER is a word of the grammar.
const SYSTEM_USER: u32 = 160_000;
/// `COERCE_SQL_SYNTAX` as libpg_query numbers it: a call that was written as a word of the grammar.
const BY_SYNTAX: i64 = 4;

/// The statements as a server of this version reads them. In FROM the name that SYSTEM_USER was is one of a relation: it
/// stays the call of a function that such a server does not have.
///
/// # Errors
/// As [`parse`].
pub fn parse_as(text: &str, version: u32) -> Result<Vec<Statement>, SyntaxError> {
    let mut statements = parse(text)?;
    if version < SYSTEM_USER {
        for statement in &mut statements {
            words_are_names(&mut statement.tree);
        }
    }
    Ok(statements)
}

fn words_are_names(tree: &mut Tree) {
    match tree {
        Tree::List(items) => items.iter_mut().for_each(words_are_names),
        Tree::Node(node) => {
            let is_word = node.kind == "FuncCall"
                && node.int("funcformat") == BY_SYNTAX
                && node.names("funcname").as_deref() == Some(&["pg_catalog", "system_user"]);
            if is_word {
                let text = Tree::Text("system_user".to_owned());
                let name = Node::new("String", vec![("sval", text)]);
                let fields = Tree::List(vec![Tree::Node(name)]);
                let location = node.location;
                *node = Node::new("ColumnRef", vec![("fields", fields)]);
                node.location = location;
                return;
            }
            let skipped = (node.kind == "RangeFunction").then_some("functions");
            for (field, value) in &mut node.fields {
                if skipped != Some(*field) {
                    words_are_names(value);
                } else if let Tree::List(functions) = value {
                    functions.iter_mut().for_each(arguments_are_names);
                }
            }
        }
        _ => {}
    }
}

/// The same within a function of FROM, which stands first in a list of its own.
fn arguments_are_names(function: &mut Tree) {
    let call = function
        .node_mut()
        .and_then(|function| match function.get_mut("items") {
            Some(Tree::List(items)) => items.first_mut()?.node_mut(),
            _ => None,
        });
    if let Some(call) = call {
        let fields = call.fields.iter_mut();
        fields.for_each(|(_, value)| words_are_names(value));
    }
}

fn message(error: &pg_query::Error) -> String {
    match error {
        pg_query::Error::Parse(message) => message.clone(),
        // Neither quotes the text.
        pg_query::Error::Conversion(_) => "the text holds a NUL byte".to_owned(),
        _ => "the parse tree could not be read".to_owned(),
    }
}
