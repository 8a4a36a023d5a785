//! Functions in FROM: what they are called, and what their columns are.
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use super::{Output, Reader};

/// Functions of pg_catalog that give rows of one value without a name of its own, in all versions and overloads.
const SCALAR_ROWS: &[&str] = &[
    "generate_series",
    "generate_subscripts",
    "regexp_split_to_table",
    "string_to_table",
];

impl Reader<'_> {
    /// The columns of a function that gives rows of one value: it is called as the item is (`chooseScalarFunctionAlias` in
    /// `src/backend/parser/parse_relation.c`).
    pub(super) fn scalar_rows(&self, node: &Node) -> Option<Vec<Output>> {
        if node.list("functions").len() != 1 {
            return None;
        }
        let call = first_call(node)?;
        let names = call.names("funcname").filter(|_| call.kind == "FuncCall")?;
        let name = match names.as_slice() {
            [name] | ["pg_catalog", name] => *name,
            _ => return None,
        };
        // With one argument it could be a column in the notation of a call.
        let known = SCALAR_ROWS.contains(&name) && call.list("args").len() > 1;
        let mut overloads = self.rules.catalog.functions.get(name)?.iter();
        if !known
            || node.get("coldeflist").is_some_and(is_given)
            || !overloads.all(|one| one.built_in)
        {
            return None;
        }
        let alias = node
            .child("alias")
            .map_or(name, |alias| alias.text("aliasname"));
        let mut columns = vec![alias];
        if node.flag("ordinality") {
            columns.push("ordinality");
        }
        let output = |name: &str| Output {
            name: name.to_owned(),
            origin: None,
        };
        Some(columns.into_iter().map(output).collect())
    }
}

/// The name under which functions in FROM stand without an alias: that of the first
/// (`addRangeTableEntryForFunction` in `src/backend/parser/parse_relation.c`).
pub(super) fn alias(node: &Node, version: u32) -> Option<&str> {
    naming::known(first_call(node)?, version)
}

/// Each function stands in a list of its own, before its definition of columns.
fn first_call(node: &Node) -> Option<&Node> {
    let first = node.list("functions").first()?.node()?;
    first.list("items").first().and_then(Tree::node)
}

fn is_given(tree: &Tree) -> bool {
    !matches!(tree, Tree::Nothing) && !matches!(tree, Tree::List(items) if items.is_empty())
}
