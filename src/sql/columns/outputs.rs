//! The output columns of a text, each with the columns that its values come from: for explaining.
use crate::catalog::{AttNum, Catalog, Oid};
use crate::sql::lex;
use crate::sql::parse;
use crate::sql::plan::SessionFacts;
use crate::sql::temporary::Circumstances;
use crate::sql::tree::Node;

use super::Reading;
use super::cells::{Cells, Found};

/// Output columns that are told at most.
const MAX_OUTPUTS: usize = 1_664; // MaxTupleAttributeNumber

/// An output column of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    pub name: String,
    /// Columns that its values come from or depend on, in the order of the relations.
    pub sources: Vec<SourceColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// `schema.table.column`
    pub name: String,
    /// `None`: the catalog does not know the relation.
    pub cell: Option<(Oid, AttNum)>,
}

/// The output columns of the statements of a text, one after the other; nothing where the grammar does not take it. Needs
/// a stack that fits the caps of [`lex`].
pub fn outputs(text: &str, catalog: &Catalog, facts: &SessionFacts) -> Vec<OutputColumn> {
    if lex::tokens(text).is_err() {
        return Vec::new();
    }
    let Ok(statements) = parse::parse_as(text, catalog.server_version) else {
        return Vec::new();
    };
    let circumstances = Circumstances::new(catalog, facts);
    let mut all = Vec::new();
    for statement in &statements {
        let (catalog, path) = (circumstances.catalog(), circumstances.path());
        if let Some(node) = statement.tree.node() {
            let mut reading = Reading::new(Found::new(catalog, path), catalog.server_version);
            reading.tell(node, &mut all);
        }
    }
    all.truncate(MAX_OUTPUTS);
    all
}

impl<'a> Reading<'a> {
    fn tell(&mut self, node: &'a Node, all: &mut Vec<OutputColumn>) {
        match node.kind {
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                let outputs = self.outputs(node);
                for output in &outputs.columns {
                    all.push(self.told(&output.name, &output.cells));
                }
                if let Some(rest) = &outputs.rest {
                    all.push(self.told("*", rest));
                }
            }
            "PrepareStmt" | "DeclareCursorStmt" | "CreateTableAsStmt" | "CopyStmt" => {
                if let Some(query) = node.child("query") {
                    self.tell(query, all);
                }
            }
            _ => {}
        }
    }

    fn told(&self, name: &str, cells: &Cells) -> OutputColumn {
        let mut cells = cells.clone();
        cells.sort_unstable();
        cells.dedup();
        let named = |cell: &_| self.found.name(*cell);
        OutputColumn {
            name: name.to_owned(),
            sources: cells.iter().filter_map(named).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Column, Relation, RelationKind};

    fn catalog() -> Catalog {
        let column = |num, name: &str| Column {
            num,
            name: name.to_owned(),
            type_oid: 25,
            typmod: -1,
            type_sql: "text".to_owned(),
            not_null: false,
            generated_from: Vec::new(),
        };
        let mut catalog = Catalog::default();
        catalog.insert(Relation {
            oid: 20_000,
            schema: "crm".to_owned(),
            name: "contacts".to_owned(),
            kind: RelationKind::Table,
            columns: vec![column(1, "id"), column(2, "phone"), column(3, "email")],
            primary_key: Vec::new(),
            unique: Vec::new(),
            parents: Vec::new(),
            sources: Vec::new(),
            extension: None,
        });
        catalog
    }

    fn told(text: &str) -> String {
        let facts = SessionFacts::default();
        let told = outputs(text, &catalog(), &facts).into_iter().map(|output| {
            let sources = output
                .sources
                .iter()
                .map(|source| source.name.trim_start_matches("crm."));
            format!(
                "{} <- {}",
                output.name,
                sources.collect::<Vec<_>>().join(" ")
            )
        });
        told.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn values_are_followed_to_the_columns_they_come_from() {
        for (text, expected) in [
            (
                "SELECT phone, upper(email) AS mail, 1 AS one FROM crm.contacts",
                "phone <- contacts.phone; mail <- contacts.email; one <- ",
            ),
            (
                "WITH c AS (SELECT phone || email AS pair FROM crm.contacts) SELECT pair FROM c",
                "pair <- contacts.phone contacts.email",
            ),
            (
                "SELECT * FROM crm.contacts",
                "id <- contacts.id; phone <- contacts.phone; email <- contacts.email",
            ),
            (
                "UPDATE crm.contacts SET email = 'x' RETURNING phone",
                "phone <- contacts.phone",
            ),
            ("SELECT a FROM elsewhere", "a <- elsewhere.a"),
            ("SELECT", ""),
            ("SELEC 1", ""),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
