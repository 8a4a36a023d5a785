//! Functions that keep a value where the session can ask for it again, outside of rows that are counted.
use crate::sql::tree::{Node, Tree};

/// Functions that keep a value which the session can ask for again in bulk (a setting, a sequence, a lock, a notification),
/// and which of their arguments that is.
const KEEPING: [(&str, &[usize]); 15] = [
    ("set_config", &[1]),
    ("setval", &[1]),
    ("pg_notify", &[0, 1]),
    ("pg_advisory_lock", &[0, 1]),
    ("pg_advisory_lock_shared", &[0, 1]),
    ("pg_advisory_unlock", &[0, 1]),
    ("pg_advisory_unlock_shared", &[0, 1]),
    ("pg_advisory_xact_lock", &[0, 1]),
    ("pg_advisory_xact_lock_shared", &[0, 1]),
    ("pg_try_advisory_lock", &[0, 1]),
    ("pg_try_advisory_lock_shared", &[0, 1]),
    ("pg_try_advisory_xact_lock", &[0, 1]),
    ("pg_try_advisory_xact_lock_shared", &[0, 1]),
    // Which of one's other sessions are gone is a value, too.
    ("pg_cancel_backend", &[0]),
    ("pg_terminate_backend", &[0, 1]),
];

/// Functions by whose arguments a value can be kept in a state, or in the name of what they change or lock, and which of them
/// that are: they may be computed, but not from what rows hold.
const KEEPING_OF_ROWS: [(&str, &[usize]); 14] = [
    ("currval", &[0]),
    ("isn_weak", &[0]),
    ("nextval", &[0]),
    // What these look at stays locked until the transaction ends.
    ("pg_get_function_sqlbody", &[0]),
    ("pg_get_functiondef", &[0]),
    ("pg_get_object_address", &[0, 1, 2]),
    ("pg_get_ruledef", &[0]),
    ("pg_get_viewdef", &[0]),
    ("pg_partition_tree", &[0]),
    ("pg_get_sequence_data", &[0]),
    ("pg_sequence_last_value", &[0]),
    ("setval", &[0]),
    ("setseed", &[0]),
    ("set_limit", &[0]),
];

/// Whether a statement that reads protected relations calls a function that keeps values with one that is made for each row, or
/// where it depends on rows whether it is called: how often, and whether, is a value, too.
pub(super) fn keeps(statement: &Node) -> bool {
    let mut shown = Vec::new();
    outputs(statement, &mut shown);
    keeps_in(statement, &shown)
}

/// Whether a statement asks where rows are.
pub(super) fn reads_places(node: &Node) -> bool {
    node.anywhere(&|node| {
        let name = node.list("fields").last().and_then(Tree::string);
        node.kind == "RangeTableSample" || (node.kind == "ColumnRef" && name == Some("ctid"))
    })
}

/// System columns that tell of a row that it was to be changed, deleted or locked, though that was taken back.
const MARKS: &[&str] = &["xmax", "cmin", "cmax"];

/// Whether a statement reads marks of what was done to rows, other than those of its own INSERT: in RETURNING `xmax = 0`
/// tells which rows are new.
pub(super) fn reads_marks(statement: &Node) -> bool {
    reads_marks_in(statement, false)
}

/// `own`: columns are those of the rows that an INSERT returns.
fn reads_marks_in(node: &Node, own: bool) -> bool {
    let own = own && node.kind != "SubLink";
    let name = node.list("fields").last().and_then(Tree::string);
    let is_mark = node.kind == "ColumnRef" && name.is_some_and(|name| MARKS.contains(&name));
    let mut found = is_mark && !own;
    for (name, field) in &node.fields {
        let own = own || (node.kind == "InsertStmt" && name.starts_with("returning"));
        field.each(&mut |inner| found |= reads_marks_in(inner, own));
    }
    found
}

/// Functions that go on where the last call left off: how often they were called shows in what they give next.
const DRAWING: &[&str] = &["random", "random_normal"];

/// Whether numbers are drawn anywhere.
pub(super) fn draws(node: &Node) -> bool {
    node.anywhere(&|node| {
        let name = node.list("funcname").last().and_then(Tree::string);
        node.kind == "FuncCall" && name.is_some_and(|name| DRAWING.contains(&name))
    })
}

/// Whether a function that keeps values is called anywhere.
pub(super) fn calls_any(node: &Node) -> bool {
    keeps_in(node, &[])
}

/// What is computed once for each row that the client gets, or that is written and counted.
fn outputs<'a>(node: &'a Node, shown: &mut Vec<&'a Node>) {
    let inner = |field: &str| node.child(field);
    match node.kind {
        "SelectStmt" if node.get("limit_offset").is_some() => {}
        "SelectStmt" | "UpdateStmt" => {
            let outputs = node.list("target_list").iter().filter_map(Tree::node);
            shown.extend(outputs.filter_map(|output| output.child("val")));
            let rows = node.list("values_lists").iter();
            let values = rows.flat_map(|row| row.items().unwrap_or_default());
            shown.extend(values.filter_map(Tree::node));
        }
        "InsertStmt" => inner("select_stmt")
            .into_iter()
            .for_each(|query| outputs(query, shown)),
        "PrepareStmt" | "CopyStmt" | "CreateTableAsStmt" => {
            inner("query")
                .into_iter()
                .for_each(|query| outputs(query, shown));
        }
        _ => {}
    }
}

fn keeps_in(node: &Node, shown: &[&Node]) -> bool {
    let kept = |name: &str| KEEPING.iter().find(|(known, _)| *known == name);
    let of = |name: &str| KEEPING_OF_ROWS.iter().find(|(known, _)| *known == name);
    let last = |field| node.list(field).last().and_then(Tree::string).unwrap_or("");
    let takes = |name: &str| kept(name).is_some() || of(name).is_some();
    let here = match node.kind {
        "FuncCall" if takes(last("funcname")) => {
            let arguments = node.list("args");
            let computed = kept(last("funcname")).is_some_and(|(_, kept)| {
                let mut given = arguments.iter().enumerate();
                given.any(|(at, argument)| kept.contains(&at) && !is_constant(argument))
            });
            let of_row = of(last("funcname")).is_some_and(|(_, kept)| {
                let mut kept = kept.iter().filter_map(|at| arguments.get(*at));
                kept.any(of_rows)
            });
            computed || of_row || !shown.iter().any(|output| std::ptr::eq(*output, node))
        }
        // The notation of a field is a call, too.
        "ColumnRef" => takes(last("fields")),
        "AIndirection" => {
            let names = node.list("indirection").iter();
            names.filter_map(Tree::string).any(takes)
        }
        _ => false,
    };
    let mut found = here;
    for (_, field) in &node.fields {
        field.each(&mut |inner| found |= keeps_in(inner, shown));
    }
    found
}

/// Whether an expression takes anything from rows.
fn of_rows(tree: &Tree) -> bool {
    tree.anywhere(&|node| matches!(node.kind, "ColumnRef" | "SubLink"))
}

/// A literal or a parameter, of whatever type.
pub(super) fn is_constant(tree: &Tree) -> bool {
    tree.node().is_some_and(|node| match node.kind {
        "AConst" | "ParamRef" => true,
        "TypeCast" => node.get("arg").is_some_and(is_constant),
        _ => false,
    })
}
