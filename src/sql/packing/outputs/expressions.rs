//! Expressions: what their values hold, by what the names in them do.
use std::sync::Arc;

use super::super::calls::{self, Call};
use super::super::{Holding, mentioned_in};
use super::columns::either;
use super::{Reader, Source};
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use Holding::{Anything, Array, Document, Number, Own, Separated, Tags};

/// `SubLinkType`, `XmlExprOp` and `A_Expr_Kind` as `pg_query` numbers them.
const EXPR_SUBLINK: i64 = 5;
const ARRAY_SUBLINK: i64 = 7;
const XMLELEMENT: i64 = 2;
const OPERATOR: i64 = 1;

impl Reader<'_> {
    pub(super) fn of(&mut self, tree: &Tree) -> Holding {
        match tree {
            Tree::List(items) => {
                let mut all = Own;
                for item in items {
                    all = either(all, self.of(item));
                }
                all
            }
            Tree::Node(node) => self.expression(node),
            _ => Own,
        }
    }

    pub(super) fn expression(&mut self, node: &Node) -> Holding {
        match node.kind {
            "ColumnRef" => self.column(node, false),
            "FuncCall" => self.call(node),
            "JsonArrayAgg" | "JsonObjectAgg" if self.counts => {
                let members = node.kind == "JsonObjectAgg";
                let inner = self.of(node.get("arg").unwrap_or(&Tree::Nothing));
                let output = node
                    .child("constructor")
                    .and_then(|common| common.child("output"));
                match (is_text(output), document(inner)) {
                    (true, Some(inside)) => Document {
                        members: members || inside,
                    },
                    _ => Anything,
                }
            }
            "JsonObjectConstructor" | "JsonArrayConstructor" => {
                let inner = self.of(node.get("exprs").unwrap_or(&Tree::Nothing));
                match (inner, is_text(node.child("output"))) {
                    (Own, _) => Own,
                    (inner, true) => {
                        document(inner).map_or(Anything, |members| Document { members })
                    }
                    _ => Anything,
                }
            }
            "JsonArrayQueryConstructor" => self.gathered(node.child("query"), |inner| {
                document(inner).map_or(Anything, |members| Document { members })
            }),
            "SubLink" => match node.int("sub_link_type") {
                EXPR_SUBLINK => {
                    let query = node.child("subselect");
                    query.map_or(Own, |query| self.query(query).worst())
                }
                ARRAY_SUBLINK => self.gathered(node.child("subselect"), array),
                // True or false.
                _ => Own,
            },
            "CoalesceExpr" => self.of(node.get("args").unwrap_or(&Tree::Nothing)),
            "CaseExpr" => {
                let mut all = node
                    .child("defresult")
                    .map_or(Own, |value| self.expression(value));
                for when in node.list("args").iter().filter_map(Tree::node) {
                    let result = when
                        .child("result")
                        .map_or(Own, |value| self.expression(value));
                    all = either(all, result);
                }
                all
            }
            "CollateClause" | "NamedArgExpr" => node
                .child("arg")
                .map_or(Own, |inner| self.expression(inner)),
            "BoolExpr" | "NullTest" | "BooleanTest" => Own,
            "AExpr" => self.operator(node),
            "TypeCast" => self.cast(node),
            "AIndirection" => self.indirection(node),
            "XmlExpr" if node.int("op") == XMLELEMENT => match self.fields(node) {
                inner @ (Own | Tags) => inner,
                _ => Anything,
            },
            "XmlSerialize" => match self.fields(node) {
                inner @ (Own | Tags) => inner,
                _ => Anything,
            },
            "JsonValueExpr" | "JsonKeyValue" | "List" | "ResTarget" => self.fields(node),
            "SelectStmt" => self.query(node).worst(),
            _ => match self.fields(node) {
                Own => Own,
                _ => Anything,
            },
        }
    }

    fn fields(&mut self, node: &Node) -> Holding {
        let mut all = Own;
        for (_, field) in &node.fields {
            all = either(all, self.of(field));
        }
        all
    }

    /// A query whose rows go into one value, which is made of what each of them holds.
    fn gathered(&mut self, query: Option<&Node>, value: fn(Holding) -> Holding) -> Holding {
        let Some(query) = query else {
            return Own;
        };
        let inner = self.query(query).worst();
        match mentioned_in(query, self.protected) || inner != Own {
            true => value(inner),
            false => Own,
        }
    }

    /// `inside`: it goes into a document as it is. A row in text form hides what it holds behind quotes.
    fn column(&self, node: &Node, inside: bool) -> Holding {
        let row = |holding: Holding| match holding {
            Own => Own,
            holding if inside => holding,
            _ => Anything,
        };
        let fields = node.list("fields");
        let star = naming::is_star(node);
        let names: Vec<&str> = fields.iter().filter_map(Tree::string).collect();
        let (relation, name) = match names.as_slice() {
            [relation] if star => (Some(*relation), None),
            [name] => (None, Some(*name)),
            [.., relation, name] => (Some(*relation), Some(*name)),
            [] => (None, None),
        };
        for level in self.scope.iter().rev() {
            let mut found = None;
            for source in level {
                let holding = match (relation, name) {
                    (Some(relation), name) if source.alias == relation => match name {
                        Some(name) => Some(source.outputs.named(name).unwrap_or(Own)),
                        None => Some(row(source.outputs.worst())),
                    },
                    (Some(_), _) => None,
                    (None, Some(name)) if source.alias == name => Some(row(source.outputs.worst())),
                    (None, Some(name)) => source.outputs.named(name),
                    (None, None) => Some(row(source.outputs.worst())),
                };
                found = match (found, holding) {
                    (None, holding) => holding,
                    (found, None) => found,
                    (Some(one), Some(other)) => Some(either(one, other)),
                };
            }
            if let Some(found) = found {
                return found;
            }
        }
        Own
    }

    fn call(&mut self, node: &Node) -> Holding {
        let call = calls::call(node);
        let documents = matches!(call, Call::Document | Call::Elements | Call::Members);
        let mut inner = Own;
        for argument in node.list("args") {
            let holding = match argument {
                Tree::Node(row) if documents && row.kind == "ColumnRef" => self.column(row, true),
                argument => self.of(argument),
            };
            inner = either(inner, holding);
        }
        // What is sorted there is what comes out.
        if node.flag("agg_within_group") {
            inner = either(
                inner,
                self.of(node.get("agg_order").unwrap_or(&Tree::Nothing)),
            );
        }
        let collects = self.counts && (inner != Own || !self.of_uncounted(node));
        match call {
            Call::Document => match inner {
                Own => Own,
                inner => document(inner).map_or(Anything, |members| Document { members }),
            },
            Call::Array if collects => array(inner),
            Call::Elements if collects => {
                document(inner).map_or(Anything, |members| Document { members })
            }
            Call::Members if collects => {
                document(inner).map_or(Anything, |_| Document { members: true })
            }
            Call::Text if collects => match (inner, node.list("args")) {
                (Own, [_, separator]) => separated(separator),
                _ => Anything,
            },
            Call::Xml if collects => {
                let element = node.list("args").first().and_then(Tree::node);
                let element =
                    element.filter(|node| node.kind == "XmlExpr" && node.int("op") == XMLELEMENT);
                match (inner, element) {
                    (Own | Tags, Some(_)) => Tags,
                    _ => Anything,
                }
            }
            Call::Other if collects => Anything,
            Call::Number if collects => {
                let plain = node
                    .list("args")
                    .iter()
                    .all(|argument| argument.node().is_some_and(calls::is_plain_number));
                match (inner, plain) {
                    (Own, true) if calls::name(node) == "avg" => Own,
                    (Own | Number, true) => Number,
                    _ => Anything,
                }
            }
            // `array_to_string` of an array of single values.
            Call::Plain if calls::name(node) == "array_to_string" && inner == Array => {
                match node.list("args") {
                    [_, separator, ..] => separated(separator),
                    _ => Anything,
                }
            }
            Call::Plain if calls::name(node) == "count" => Own,
            _ => match inner {
                Own => Own,
                Number => Number,
                _ => Anything,
            },
        }
    }

    /// The aggregate is over relations whose rows do not count: its arguments are of this query, which reads none that
    /// do, and not of the query around it, whose aggregate it would be then.
    fn of_uncounted(&self, node: &Node) -> bool {
        let Some(level) = self.scope.last() else {
            return false;
        };
        fn own(tree: &Tree, level: &[Source]) -> bool {
            match tree {
                Tree::List(items) => items.iter().any(|item| own(item, level)),
                Tree::Node(node) if node.kind == "ColumnRef" => {
                    let first = node.list("fields").first().and_then(Tree::string);
                    level
                        .iter()
                        .any(|source| first == Some(source.alias.as_str()))
                }
                Tree::Node(node) => node.fields.iter().any(|(_, field)| own(field, level)),
                _ => false,
            }
        }
        let counted = level.iter().any(|source| source.counted);
        !counted && !level.is_empty() && node.get("args").is_some_and(|args| own(args, level))
    }

    fn operator(&mut self, node: &Node) -> Holding {
        const TRUTHS: [&str; 12] = [
            "=", "<>", "!=", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "@>", "<@",
        ];
        let operator = node.names("name").unwrap_or_default();
        let operator = operator.last().copied().unwrap_or("");
        let inner = [node.child("lexpr"), node.child("rexpr")].map(|side| {
            side.map_or(Own, |side| match side.kind {
                "AConst" => Own,
                _ => self.expression(side),
            })
        });
        let constant = |side: &str| node.child(side).is_some_and(|side| side.kind == "AConst");
        match (operator, inner) {
            (_, [Own, Own]) => Own,
            (operator, _) if node.int("kind") != OPERATOR || TRUTHS.contains(&operator) => Own,
            ("||", [text @ Separated(_), Own]) if constant("rexpr") => text,
            ("||", [Own, text @ Separated(_)]) if constant("lexpr") => text,
            ("+" | "-" | "*" | "/", [Own | Number, Own | Number]) => Number,
            _ => Anything,
        }
    }

    /// A cast to text leaves the form as it is, but whoever puts that text into a document hides it behind quotes; so it
    /// is kept for lists alone.
    fn cast(&mut self, node: &Node) -> Holding {
        let inner = node
            .child("arg")
            .map_or(Own, |inner| self.expression(inner));
        let target = node.child("type_name");
        let array = target.is_some_and(|target| !target.list("array_bounds").is_empty());
        let names = target
            .and_then(|target| target.names("names"))
            .unwrap_or_default();
        let target = names.last().copied().unwrap_or("");
        match (inner, target) {
            (Own, _) => Own,
            (inner @ Array, _) if array => inner,
            (inner @ Separated(_), "text" | "varchar") if !array => inner,
            (inner @ Document { .. }, "json" | "jsonb") if !array => inner,
            (
                inner @ Number,
                "numeric" | "int4" | "int8" | "float8" | "float4" | "text" | "varchar",
            ) if !array => inner,
            (inner @ Tags, "xml" | "text") if !array => inner,
            _ => Anything,
        }
    }

    /// `(array_agg(name ORDER BY day))[1]` is one row's value.
    fn indirection(&mut self, node: &Node) -> Holding {
        let inner = node
            .child("arg")
            .map_or(Own, |inner| self.expression(inner));
        match (inner, node.list("indirection")) {
            (Own, _) => Own,
            (Array, [Tree::Node(index)]) if index.kind == "AIndices" && !index.flag("is_slice") => {
                match index.child("uidx").map(|index| index.kind) {
                    Some("AConst") => Own,
                    _ => Anything,
                }
            }
            _ => Anything,
        }
    }
}

/// An array of such values.
fn array(inner: Holding) -> Holding {
    match inner {
        Own | Number | Array => Array,
        _ => Anything,
    }
}

/// Whether members of objects in a document of such values stand for rows; `None`: they are not told by its form.
fn document(inner: Holding) -> Option<bool> {
    match inner {
        Own | Number | Array => Some(false),
        Document { members } => Some(members),
        _ => None,
    }
}

/// What is cast to text.
pub(super) fn as_text(node: &Node) -> Option<&Node> {
    let target = node
        .child("type_name")
        .filter(|_| node.kind == "TypeCast")?;
    let names = target.names("names")?;
    let text = matches!(names.last(), Some(&("text" | "varchar")));
    (text && target.list("array_bounds").is_empty()).then(|| node.child("arg"))?
}

fn separated(separator: &Tree) -> Holding {
    let text = separator
        .node()
        .filter(|node| node.kind == "AConst")
        .and_then(|node| node.get("val").and_then(Tree::string));
    match text {
        Some(text) if !text.is_empty() => Separated(Arc::from(text)),
        _ => Anything,
    }
}

/// SQL/JSON gives another form than text only where RETURNING says so.
fn is_text(output: Option<&Node>) -> bool {
    let Some(target) = output.and_then(|output| output.child("type_name")) else {
        return true;
    };
    let names = target.names("names").unwrap_or_default();
    matches!(names.last(), Some(&("json" | "jsonb" | "text" | "varchar")))
}
