//! Comparisons of columns with constants: as a client writes them, as pgveil writes them, and in the canonical form in which the
//! two are compared.
use crate::sql::tree::{Node, Tree};

/// A condition to be written into a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The relation's own name of the column.
    pub column: String,
    /// The operator's bare name.
    pub operator: String,
    pub shape: Shape,
    /// Byte offset of its first token in the parsed text, and of the operator.
    pub at: usize,
    pub operator_at: usize,
    /// It leaves the query: a lookup.
    pub moves: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `column op value`
    Left,
    /// `value op column`
    Right,
    /// `column op ANY (array)`
    Any,
    /// `column IN (value, ...)`
    In,
}

/// The field of a relation's node under which conditions stand in the canonical form.
pub(super) const FIELD: &str = "pgveil_conditions";

const OP: i64 = 1;
const OP_ANY: i64 = 2;
const IN: i64 = 7;
const AND: i64 = 1;
pub(super) const OR: i64 = 2;
/// Comparisons that cannot raise an error and that indexes serve.
const COMPARISONS: &[&str] = &["=", "<", ">", "<=", ">="];

/// The parts of a comparison of a column with constants: the column's name as written, the condition, and its
/// canonical node (column still to be named). The values are copied by [`Tree::duplicate`].
pub(super) fn compared(tree: &Tree) -> Option<(Vec<String>, Condition, Node)> {
    let node = tree.node().filter(|node| node.kind == "AExpr")?;
    let names = node.names("name")?;
    let [operator] = names.as_slice() else {
        return None;
    };
    let (left, right) = (node.get("lexpr")?, node.get("rexpr")?);
    let (column, shape, value) = match node.int("kind") {
        OP if is_constant(right) && is_reference(left) => (left, Shape::Left, right),
        OP if is_constant(left) && is_reference(right) => (right, Shape::Right, left),
        OP_ANY if is_constant(right) && is_reference(left) => (left, Shape::Any, right),
        IN if *operator == "=" && is_reference(left) => (left, Shape::In, right),
        _ => return None,
    };
    if !COMPARISONS.contains(operator) {
        return None;
    }
    let values: Vec<Tree> = match (shape, value) {
        (Shape::In, Tree::List(items)) if items.iter().all(is_constant) => {
            items.iter().map(Tree::duplicate).collect()
        }
        (Shape::In, Tree::Node(list)) if list.list("items").iter().all(is_constant) => {
            list.list("items").iter().map(Tree::duplicate).collect()
        }
        (Shape::In, _) => return None,
        (_, value) => vec![value.duplicate()],
    };
    let fields = column.node()?.names("fields")?;
    let fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
    let own = match shape {
        Shape::Right => turned(operator),
        _ => operator,
    };
    let canonical = canonical(own, shape == Shape::Any, values);
    let condition = Condition {
        column: String::new(),
        operator: own.to_owned(),
        shape,
        at: usize::try_from(start(tree)?).ok()?,
        operator_at: usize::try_from(node.location).ok()?,
        moves: false,
    };
    Some((fields, condition, canonical))
}

fn canonical(operator: &str, any: bool, values: Vec<Tree>) -> Node {
    Node::new(
        "PgveilCondition",
        vec![
            ("operator", Tree::Text(operator.to_owned())),
            ("any", Tree::Bool(any)),
            ("values", Tree::List(values)),
        ],
    )
}

/// A condition as it is written before CASE, over `alias.column`: its canonical node.
pub(super) fn qualified(node: &mut Node, alias: &str) -> Option<Node> {
    written_over(node, Some(alias)).map(|(_, node)| node)
}

/// A condition as it is written into a template: column and canonical node.
pub(super) fn written(node: &mut Node) -> Option<(String, Node)> {
    written_over(node, None)
}

fn written_over(node: &mut Node, alias: Option<&str>) -> Option<(String, Node)> {
    if node.kind == "BoolExpr" && node.int("boolop") == OR {
        let Some(Tree::List(args)) = node.get_mut("args") else {
            return None;
        };
        let mut all: Option<(String, Vec<Tree>)> = None;
        for arg in args {
            let (column, mut single) = written_over(arg.node_mut()?, alias)?;
            let Some(Tree::List(mut values)) = single.remove("values") else {
                return None;
            };
            if single.text("operator") != "=" || single.flag("any") {
                return None;
            }
            match &mut all {
                None => all = Some((column, values)),
                Some((first, list)) if *first == column => list.append(&mut values),
                Some(_) => return None,
            }
        }
        let (column, values) = all?;
        let mut node = canonical("=", false, values);
        node.set("column", Tree::Text(column.clone()));
        return Some((column, node));
    }
    let any = match node.int("kind") {
        OP => false,
        OP_ANY => true,
        _ => return None,
    };
    if node.kind != "AExpr" {
        return None;
    }
    let names = node.names("name")?;
    let operator = match names.as_slice() {
        ["pg_catalog", operator] if COMPARISONS.contains(operator) => (*operator).to_owned(),
        _ => return None,
    };
    let left = node
        .child("lexpr")
        .filter(|left| left.kind == "ColumnRef")?;
    let column = match (left.names("fields")?.as_slice(), alias) {
        ([name], None) => (*name).to_owned(),
        ([qualifier, name], Some(alias)) if *qualifier == alias => (*name).to_owned(),
        _ => return None,
    };
    let value = node.remove("rexpr").filter(is_constant)?;
    let mut found = canonical(&operator, any, vec![value]);
    found.set("column", Tree::Text(column.clone()));
    Some((column, found))
}

/// `5 < id` is `id > 5`.
fn turned(operator: &str) -> &str {
    match operator {
        "<" => ">",
        ">" => "<",
        "<=" => ">=",
        ">=" => "<=",
        other => other,
    }
}

fn is_reference(tree: &Tree) -> bool {
    tree.node().is_some_and(|node| {
        node.kind == "ColumnRef"
            && node
                .list("fields")
                .iter()
                .all(|field| field.string().is_some())
    })
}

/// A literal, a parameter, a cast or an array of such, a negative number.
pub(super) fn is_constant(tree: &Tree) -> bool {
    let Some(node) = tree.node() else {
        return false;
    };
    match node.kind {
        "AConst" | "ParamRef" => true,
        "TypeCast" => node.get("arg").is_some_and(is_constant),
        "AArrayExpr" => node.list("elements").iter().all(is_constant),
        "AExpr" => {
            node.int("kind") == OP
                && node.get("lexpr").is_none()
                && node.names("name").as_deref() == Some(&["-"])
                && node.get("rexpr").is_some_and(is_constant)
        }
        _ => false,
    }
}

/// The conjuncts of a condition.
pub(super) fn conjuncts_mut(clause: &mut Tree) -> Vec<&mut Tree> {
    let is_and = clause
        .node()
        .is_some_and(|node| node.kind == "BoolExpr" && node.int("boolop") == AND);
    if !is_and {
        return vec![clause];
    }
    match clause.node_mut().and_then(|node| node.get_mut("args")) {
        Some(Tree::List(args)) => args.iter_mut().collect(),
        _ => Vec::new(),
    }
}

pub(super) fn conjuncts(clause: &Tree) -> Vec<&Tree> {
    match clause.node() {
        Some(node) if node.kind == "BoolExpr" && node.int("boolop") == AND => {
            node.list("args").iter().collect()
        }
        _ => vec![clause],
    }
}

/// The first byte of an expression.
pub(super) fn start(tree: &Tree) -> Option<i32> {
    match tree {
        Tree::Node(node) => node
            .fields
            .iter()
            .filter_map(|(_, value)| start(value))
            .chain((node.location >= 0).then_some(node.location))
            .min(),
        Tree::List(items) => items.iter().filter_map(start).min(),
        _ => None,
    }
}

pub(super) fn truth() -> Tree {
    let value = Node::new("Boolean", vec![("boolval", Tree::Bool(true))]);
    Tree::Node(Node::new("AConst", vec![("val", Tree::Node(value))]))
}
