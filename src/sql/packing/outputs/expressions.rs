//! Expressions: what their values hold, by what the names in them do.
use std::sync::Arc;

use super::super::calls::{self, Call};
use super::super::sums::{Summed, Sums};
use super::super::{Holding, mentioned_in};
use super::forms::{self, Made, array, document, either};
use super::{Reader, Source};
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use Holding::{Anything, Array, Document, Element, Joined, Number, Own, Product, Tags};

/// `SubLinkType`, `XmlExprOp` and `A_Expr_Kind` as `pg_query` numbers them.
const EXPR_SUBLINK: i64 = 5;
const ARRAY_SUBLINK: i64 = 7;
const XMLELEMENT: i64 = 2;
const OPERATOR: i64 = 1;
const NULLIF: i64 = 6;

impl<'t> Reader<'_, 't> {
    pub(super) fn of(&mut self, tree: &'t Tree) -> Holding {
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

    pub(super) fn expression(&mut self, node: &'t Node) -> Holding {
        match node.kind {
            "ColumnRef" => self.column(node, false),
            "FuncCall" => self.call(node),
            "JsonArrayAgg" | "JsonObjectAgg" if self.counts => {
                let members = node.kind == "JsonObjectAgg";
                let inner = self.of(node.get("arg").unwrap_or(&Tree::Nothing));
                let output = node
                    .child("constructor")
                    .and_then(|common| common.child("output"));
                match is_text(output) {
                    true => document(inner, if members { Made::Rows } else { Made::Array }),
                    false => Anything,
                }
            }
            "JsonObjectConstructor" | "JsonArrayConstructor" => {
                let inner = self.of(node.get("exprs").unwrap_or(&Tree::Nothing));
                let made = match node.kind {
                    "JsonArrayConstructor" => Made::Array,
                    _ => Made::Object,
                };
                match (inner, is_text(node.child("output"))) {
                    (Own, _) => Own,
                    (inner, true) => document(inner, made),
                    _ => Anything,
                }
            }
            "JsonArrayQueryConstructor" => {
                self.gathered(node.child("query"), |inner| document(inner, Made::Array))
            }
            "SubLink" => match node.int("sub_link_type") {
                EXPR_SUBLINK => {
                    let query = node.child("subselect");
                    query.map_or(Own, |query| self.query(query).worst())
                }
                ARRAY_SUBLINK => self.gathered(node.child("subselect"), array),
                // True or false.
                _ => Own,
            },
            "CoalesceExpr" | "MinMaxExpr" => self.of(node.get("args").unwrap_or(&Tree::Nothing)),
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
                inner @ (Own | Tags | Anything) => inner,
                _ => Joined,
            },
            "XmlSerialize" => match self.fields(node) {
                inner @ (Own | Tags) => inner,
                _ => Anything,
            },
            "RowExpr" | "AArrayExpr" => match self.fields(node) {
                inner @ (Own | Number | Anything) => inner,
                _ => Joined,
            },
            "JsonValueExpr" | "JsonKeyValue" | "List" | "ResTarget" => self.fields(node),
            "SelectStmt" => self.query(node).worst(),
            _ => match self.fields(node) {
                Own => Own,
                _ => Anything,
            },
        }
    }

    fn fields(&mut self, node: &'t Node) -> Holding {
        let mut all = Own;
        for (_, field) in &node.fields {
            all = either(all, self.of(field));
        }
        all
    }

    /// A query whose rows go into one value, which is made of what each of them holds.
    fn gathered(&mut self, query: Option<&'t Node>, value: fn(Holding) -> Holding) -> Holding {
        let Some(query) = query else {
            return Own;
        };
        let inner = self.query(query).worst();
        match mentioned_in(query, self.facts.counted) || inner != Own {
            true => value(inner),
            false => Own,
        }
    }

    /// `inside`: it goes into a document as it is. A row in text form hides what it holds behind quotes.
    pub(super) fn column(&self, node: &Node, inside: bool) -> Holding {
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

    fn call(&mut self, node: &'t Node) -> Holding {
        let call = calls::call(node);
        let documents = matches!(call, Call::Document | Call::Elements | Call::Members);
        let mut arguments: Vec<Holding> = Vec::new();
        for argument in node.list("args") {
            arguments.push(match argument {
                Tree::Node(row) if documents && row.kind == "ColumnRef" => self.column(row, true),
                argument => {
                    // `row_to_json((SELECT r FROM (SELECT ...) r))`: the row itself, too.
                    self.in_document = documents && is_scalar(argument);
                    self.of(argument)
                }
            });
            self.in_document = false;
        }
        // What is sorted there is what comes out.
        if node.flag("agg_within_group") {
            arguments.push(self.of(node.get("agg_order").unwrap_or(&Tree::Nothing)));
        }
        let inner = arguments.iter().cloned().fold(Own, either);
        let collects = self.counts && (inner != Own || !self.of_uncounted(node));
        match call {
            Call::Document if inner == Own => Own,
            Call::Document => match calls::name(node) {
                "json_build_array" | "jsonb_build_array" => document(inner, Made::Array),
                _ => document(inner, Made::Object),
            },
            Call::Array if collects => array(inner),
            Call::Elements if collects => document(inner, Made::Array),
            Call::Members if collects => match document(inner, Made::Rows) {
                // Keys are texts, whatever they hold.
                Document { separators, .. } if !separators.is_empty() => Joined,
                found => found,
            },
            Call::Text if collects => match node.list("args") {
                [_, separator] => forms::list(inner, separator),
                _ => Anything,
            },
            Call::Xml if collects => {
                let element = node.list("args").first().and_then(Tree::node);
                let element =
                    element.filter(|node| node.kind == "XmlExpr" && node.int("op") == XMLELEMENT);
                match (inner, element) {
                    (Own | Tags, Some(_)) => Tags,
                    (Anything, _) => Anything,
                    _ => Joined,
                }
            }
            Call::Other if collects => Anything,
            Call::Number if collects => match (inner, self.summed(node)) {
                (Own, Some(Number)) if calls::name(node) == "avg" => Own,
                (Own | Number, Some(summed)) => summed,
                _ => Anything,
            },
            // One of them, as it is.
            Call::Shown | Call::Another => {
                arguments
                    .into_iter()
                    .next()
                    .map_or(Own, |first| match inner {
                        Own => Own,
                        inner if node.flag("agg_within_group") => inner,
                        _ => first,
                    })
            }
            _ => forms::kept(calls::name(node), node, &arguments),
        }
    }

    /// What a sum is; `None`: something that values may have been moved beside each other in.
    fn summed(&self, node: &'t Node) -> Option<Holding> {
        let sums = Sums::new(self.facts);
        let mut worst = Summed::Own;
        for argument in node.list("args") {
            worst = worst.max(sums.summed(argument.node()?, &self.level)?);
        }
        Some(match worst {
            Summed::Own => Number,
            Summed::Mixed => Product,
        })
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
        let counted = self.chosen || level.iter().any(|source| source.counted);
        !counted && !level.is_empty() && node.get("args").is_some_and(|args| own(args, level))
    }

    fn operator(&mut self, node: &'t Node) -> Holding {
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
        let [left, right] = inner;
        match (node.int("kind"), operator) {
            (NULLIF, _) => return left,
            (kind, operator) if kind != OPERATOR || TRUTHS.contains(&operator) => return Own,
            _ => {}
        }
        match (operator, left, right) {
            (_, Own, Own) => Own,
            ("||", left, right) => match (left, right) {
                (Array, Array | Own | Number | Element(_)) | (Own | Number | Element(_), Array) => {
                    Array
                }
                (one @ Document { .. }, other @ Document { .. }) => either(one, other),
                (left, right) => forms::join(left, right),
            },
            // A piece of it.
            ("->" | "->>" | "#>" | "#>>", Document { .. } | Joined, Own) => Joined,
            ("+" | "-" | "*" | "/", Own | Number, Own | Number) => Number,
            ("+" | "-" | "*" | "/", Own | Number | Product, Own | Number | Product) => Product,
            ("+" | "-" | "*" | "/", Element(key), Own)
            | ("+" | "-" | "*" | "/", Own, Element(key)) => Element(key),
            _ => Anything,
        }
    }

    /// A cast to text leaves the form as it is, but whoever puts that text into a document hides it behind quotes; so it
    /// is kept for lists alone.
    fn cast(&mut self, node: &'t Node) -> Holding {
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
            (inner @ Element(_), _) if !array => inner,
            (inner @ Document { .. }, "json" | "jsonb") if !array => inner,
            (
                inner @ (Number | Product),
                "numeric" | "int4" | "int8" | "float8" | "float4" | "money" | "text" | "varchar",
            ) if !array => inner,
            (inner @ Tags, "xml" | "text") if !array => inner,
            (inner, "text" | "varchar" | "bpchar") if !array => forms::text(inner),
            (inner @ Joined, "json" | "jsonb" | "xml") if !array => inner,
            _ => Anything,
        }
    }

    /// `(array_agg(name ORDER BY day))[1]` is one row's value, and `(array_agg(phone ORDER BY day))[1]` the same row's.
    fn indirection(&mut self, node: &'t Node) -> Holding {
        let inner = node
            .child("arg")
            .map_or(Own, |inner| self.expression(inner));
        let steps = node.list("indirection");
        let which = self.of(node.get("indirection").unwrap_or(&Tree::Nothing));
        let subscripts = steps.iter().all(|step| {
            step.node().is_some_and(|step| {
                step.kind == "AIndices" && (steps.len() == 1 || !step.flag("is_slice"))
            })
        });
        let slice = steps
            .iter()
            .filter_map(Tree::node)
            .any(|step| step.flag("is_slice"));
        match (inner, which) {
            (Own, Own) => Own,
            (Array, Own) if subscripts && slice => Array,
            (Array, Own) if subscripts => Element(
                node.child("arg")
                    .map_or_else(Arc::default, |array| key(array, steps)),
            ),
            (Document { .. } | Joined, Own) => Joined,
            _ => Anything,
        }
    }
}

/// What says which row's value an element is: the element, and the order of the rows.
fn key(array: &Node, steps: &[Tree]) -> Arc<str> {
    if array.kind != "FuncCall" || calls::name(array) != "array_agg" || array.flag("agg_distinct") {
        return Arc::default();
    }
    let mut key = String::new();
    for step in steps {
        calls::write_out(step, &mut key);
    }
    for field in ["agg_order", "agg_filter", "over"] {
        calls::write_out(array.get(field).unwrap_or(&Tree::Nothing), &mut key);
    }
    key.into()
}

/// A query that gives one value.
fn is_scalar(tree: &Tree) -> bool {
    tree.node()
        .is_some_and(|node| node.kind == "SubLink" && node.int("sub_link_type") == EXPR_SUBLINK)
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

/// SQL/JSON gives another form than text only where RETURNING says so.
fn is_text(output: Option<&Node>) -> bool {
    let Some(target) = output.and_then(|output| output.child("type_name")) else {
        return true;
    };
    let names = target.names("names").unwrap_or_default();
    matches!(names.last(), Some(&("json" | "jsonb" | "text" | "varchar")))
}
