//! Which output columns of a query are plain columns of which relation.
//!
//! PostgreSQL tells clients the table and column an output column comes from (`markTargetListOrigins` in
//! `src/backend/parser/parse_target.c`). Behind a mask expression there is none, so pgveil restores what the client's own
//! statement would have shown. Only metadata hangs on this: where anything is unclear the answer is no origin.
use super::judge::Rules;
use super::plan::Origin;
use super::scope::{Reader, WHOLE_ROW};
use super::tree::Tree;

/// For each output column of a SELECT or a RETURNING clause, also of one that is prepared or of a cursor, the column
/// it shows that is masked or of a relation under a row rule, or the relation whose whole row it is; empty where there is none, or where the number of output columns cannot be told.
pub fn masked_outputs(rules: &Rules<'_>, tree: &Tree) -> Vec<Option<Origin>> {
    let Some(mut statement) = tree.node() else {
        return Vec::new();
    };
    // Described when it is executed, and when rows are fetched.
    if matches!(statement.kind, "PrepareStmt" | "DeclareCursorStmt") {
        match statement.child("query") {
            Some(query) => statement = query,
            None => return Vec::new(),
        }
    }
    let mut reader = Reader::trusting(rules);
    let outputs = match statement.kind {
        "SelectStmt" => reader.outputs(statement),
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => reader.returned(statement),
        _ => None,
    };
    let outputs: Vec<Option<Origin>> = outputs
        .unwrap_or_default()
        .into_iter()
        .map(|output| {
            let (relation, column) = output.origin?;
            let row_type = match column {
                WHOLE_ROW if rules.role.substitutes(relation) => {
                    Some(*rules.catalog.row_types.get(&relation)?)
                }
                // Behind a fence no column is a plain one.
                _ => {
                    let ruled = rules.role.rows.contains_key(&relation);
                    let masked = rules.role.mask(relation, column).is_some();
                    (masked || ruled).then_some(())?;
                    None
                }
            };
            Some(Origin {
                relation,
                column,
                name: output.name,
                row_type,
            })
        })
        .collect();
    if outputs.iter().any(Option::is_some) {
        outputs
    } else {
        Vec::new()
    }
}
