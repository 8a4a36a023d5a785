//! Expressions: what their values hold, by what the names in them do.
use std::sync::Arc;

use super::super::calls::{self, Call};
use super::super::sums::{Summed, Sums};
use super::super::{Holding, mentioned_in};
use super::elements::key;
use super::forms::{self, Made, array, chosen, document, either, is_figure, truth};
use super::scaled::multiplies;
use super::{NO_LEVEL, Reader};
use crate::sql::tree::{Node, Tree};

use Holding::{
    Anything, Array, Document, Element, Joined, Number, Own, Product, Quotient, Scaled, Tags,
};

/// `SubLinkType`, `XmlExprOp` and `A_Expr_Kind` as `pg_query` numbers them.
const EXPR_SUBLINK: i64 = 5;
const ARRAY_SUBLINK: i64 = 7;
const XMLELEMENT: i64 = 2;
const OPERATOR: i64 = 1;
const ANY: i64 = 2;
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
                _ => {
                    let tested = node.child("testexpr");
                    let tested = tested.map_or(Own, |tested| self.expression(tested));
                    let query = node.child("subselect");
                    self.looked = NO_LEVEL;
                    let given = query.map_or(Own, |query| self.query(query).worst());
                    let by = match self.looked {
                        NO_LEVEL => Own,
                        _ => Element(Arc::from("")),
                    };
                    truth(either(either(tested, given), by))
                }
            },
            "CoalesceExpr" | "MinMaxExpr" => self.of(node.get("args").unwrap_or(&Tree::Nothing)),
            "CaseExpr" => self.case(node),
            "CollateClause" | "NamedArgExpr" => node
                .child("arg")
                .map_or(Own, |inner| self.expression(inner)),
            "BoolExpr" => match node.get("args") {
                Some(arguments) => truth(self.of(arguments)),
                None => Own,
            },
            "NullTest" => self.null_test(node),
            "BooleanTest" => truth(self.fields(node)),
            "AExpr" => self.operator(node),
            "TypeCast" => self.cast(node),
            "AIndirection" => self.indirection(node),
            "XmlExpr" if node.int("op") == XMLELEMENT => {
                // In attributes tags are escaped.
                let attributes = self.of(node.get("named_args").unwrap_or(&Tree::Nothing));
                let content = self.of(node.get("args").unwrap_or(&Tree::Nothing));
                match either(forms::text(attributes), content) {
                    inner @ (Own | Tags | Anything) => inner,
                    _ => Joined,
                }
            }
            "XmlSerialize" => match self.fields(node) {
                Own => Own,
                // As text they are escaped where it goes into other XML.
                Tags => Joined,
                _ => Anything,
            },
            "RowExpr" | "AArrayExpr" => match self.fields(node) {
                inner @ (Own | Number | Quotient | Scaled | Anything) => inner,
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

    fn case(&mut self, node: &'t Node) -> Holding {
        let whens: Vec<&'t Node> = node.list("args").iter().filter_map(Tree::node).collect();
        let results = whens.iter().filter_map(|when| when.child("result"));
        let results: Vec<&'t Node> = results.chain(node.child("defresult")).collect();
        let mut all = Own;
        for result in &results {
            all = either(all, self.expression(result));
        }
        let mut by = node
            .child("arg")
            .map_or(Own, |value| truth(self.expression(value)));
        // Where it says more than whether there is a list, it is a truth.
        let shown = if whens.len() == 1 { &results[..] } else { &[] };
        for condition in whens.iter().filter_map(|when| when.child("expr")) {
            by = either(by, self.condition(condition, shown));
        }
        chosen(all, by)
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

    fn call(&mut self, node: &'t Node) -> Holding {
        let by = self.call_conditions(node);
        let holding = self.called(node, &by);
        match by {
            // What is gathered has an element for each that was chosen.
            by if node.get("agg_filter").is_some() => chosen(holding, by),
            by if holding == Own || is_figure(&holding) => chosen(holding, by),
            _ => holding,
        }
    }

    /// `by`: what has chosen the rows that it is of.
    fn called(&mut self, node: &'t Node, by: &Holding) -> Holding {
        let call = calls::call(node);
        let documents = matches!(call, Call::Document | Call::Elements | Call::Members);
        let mut arguments: Vec<Holding> = Vec::new();
        for argument in node.list("args") {
            arguments.push(match argument {
                Tree::Node(row) if documents && row.kind == "ColumnRef" => {
                    self.column(row, takes_rows(node))
                }
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
        let inner = arguments.iter().cloned().fold(by.clone(), either);
        // A row as a document is a row.
        let collects = self.counts && (!is_one_row(&inner) || !self.of_uncounted(node));
        match call {
            Call::Document if inner == Own => Own,
            // Elements of the array are its keys and values then.
            Call::Document if node.flag("func_variadic") => document(inner, Made::Rows),
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
            Call::Number if collects => self.figure(node, inner),
            // One of them, as it is, or what stands there for none. Which row's it is is not known any more.
            Call::Shown | Call::Another => match inner {
                Element(_) => Element(Arc::from("")),
                inner => inner,
            },
            _ => {
                let of = node.list("args").first().and_then(Tree::node);
                let whole = of.is_some_and(|of| self.is_whole(of));
                forms::kept(calls::name(node), node, &arguments, whole)
            }
        }
    }

    /// A figure made of many rows by adding them up.
    fn figure(&self, node: &'t Node, inner: Holding) -> Holding {
        match (inner, self.summed(node)) {
            (Own | Number | Quotient | Scaled, Some(Number)) => match () {
                () if self.scales(node) => Scaled,
                () if calls::divides(node) => Quotient,
                () => Number,
            },
            (Own | Number | Quotient | Scaled, Some(summed)) => summed,
            _ => Anything,
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

    fn operator(&mut self, node: &'t Node) -> Holding {
        const TRUTHS: [&str; 12] = [
            "=", "<>", "!=", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "@>", "<@",
        ];
        let operator = node.names("name").unwrap_or_default();
        let operator = operator.last().copied().unwrap_or("");
        let inner = [node.child("lexpr"), node.child("rexpr")].map(|side| {
            side.map_or(Own, |side| match side.kind {
                "AConst" => Own,
                // `id = ANY (ARRAY(SELECT ...))` asks what `id IN (SELECT ...)` does.
                "SubLink"
                    if node.int("kind") == ANY && side.int("sub_link_type") == ARRAY_SUBLINK =>
                {
                    let query = side.child("subselect");
                    query.map_or(Own, |query| self.query(query).worst())
                }
                _ => self.expression(side),
            })
        });
        let [left, right] = inner;
        match (node.int("kind"), operator) {
            (NULLIF, _) => return chosen(left, truth(right)),
            (kind, operator) if kind != OPERATOR || TRUTHS.contains(&operator) => {
                return truth(either(left, right));
            }
            _ => {}
        }
        let added = matches!(operator, "+" | "-") && is_figure(&left) && is_figure(&right);
        let moved = ["lexpr", "rexpr"]
            .iter()
            .any(|side| node.get(side).is_some_and(multiplies));
        if self.storing && added && moved {
            return Scaled;
        }
        match (operator, left, right) {
            (_, Own, Own) => Own,
            ("||", left, right) => match (left, right) {
                (Array, Array | Own | Number | Element(_)) | (Own | Number | Element(_), Array) => {
                    Array
                }
                (one @ Document { .. }, other @ Document { .. }) => match either(one, other) {
                    // What is no array becomes an element of the other side's.
                    Document {
                        members,
                        depth,
                        separators,
                    } if !is_object(node) => Document {
                        members,
                        depth: depth.saturating_add(1),
                        separators,
                    },
                    both => both,
                },
                (left, right) => forms::join(left, right),
            },
            // A piece of it.
            ("->" | "->>" | "#>" | "#>>", Document { .. } | Joined, Own) => Joined,
            ("+" | "-" | "*" | "/", left, right)
                if [&left, &right].iter().all(|side| is_number(side)) =>
            {
                match (operator, either(left, right)) {
                    ("/", Number) => Quotient,
                    (_, both) => both,
                }
            }
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
            (Scaled, "int2" | "int4" | "int8") if !array => Number,
            (Scaled, "numeric") if !array && bounds_digits(node) => Number,
            (
                inner @ (Number | Quotient | Scaled | Product),
                "numeric" | "int4" | "int8" | "float8" | "float4" | "money" | "text" | "varchar",
            ) if !array => inner,
            (inner @ Tags, "xml") if !array => inner,
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

/// A query that gives one value.
fn is_scalar(tree: &Tree) -> bool {
    tree.node()
        .is_some_and(|node| node.kind == "SubLink" && node.int("sub_link_type") == EXPR_SUBLINK)
}

fn is_number(holding: &Holding) -> bool {
    matches!(holding, Own | Product) || is_figure(holding)
}

/// `numeric(12, 2)`: no longer than a sum that counts for nothing.
fn bounds_digits(cast: &Node) -> bool {
    const MOST: i64 = 16;
    let target = cast.child("type_name");
    let digits = target.and_then(|target| target.list("typmods").first());
    let digits = digits
        .and_then(Tree::node)
        .and_then(|digits| digits.child("val"));
    digits.is_some_and(|digits| digits.kind == "Integer" && digits.int("ival") <= MOST)
}

/// JSON that is an object for sure, where two of them are put together.
fn is_object(node: &Node) -> bool {
    match node.kind {
        "FuncCall" => matches!(
            calls::name(node),
            "jsonb_build_object"
                | "jsonb_object_agg"
                | "jsonb_object_agg_strict"
                | "jsonb_object_agg_unique"
                | "jsonb_object_agg_unique_strict"
        ),
        "CoalesceExpr" => node
            .list("args")
            .iter()
            .all(|side| side.node().is_some_and(is_object)),
        "AExpr" => ["lexpr", "rexpr"]
            .iter()
            .all(|side| node.child(side).is_some_and(is_object)),
        _ => false,
    }
}

/// Functions that make a document of a whole row; for the others its name is a column's.
fn takes_rows(call: &Node) -> bool {
    !matches!(
        calls::name(call),
        "array_to_json" | "json_strip_nulls" | "jsonb_strip_nulls"
    )
}

/// What is cast to text, or written as text.
pub(super) fn as_text(node: &Node) -> Option<&Node> {
    if node.kind == "XmlSerialize" {
        return node.child("expr");
    }
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

/// Nothing is gathered in it.
fn is_one_row(holding: &Holding) -> bool {
    match holding {
        Document { .. } => holding.is_single(),
        holding => *holding == Own,
    }
}
