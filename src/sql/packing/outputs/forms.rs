//! What becomes of the form of gathered values: when one of two is taken, when they stand in a row, in a document, in a
//! list, and when functions cut or change them.
//!
//! A form is kept where each row leaves its mark in what comes out: an element, a separator, or a byte of text at least.
//! What may shrink a text by a rule of its own, as `replace` by something shorter, could be made to write many rows in one
//! byte; of that nothing is known any more.
use std::borrow::Cow;
use std::sync::Arc;

use super::super::calls;
use super::super::{Holding, Separators};
use crate::sql::tree::{Node, Tree};

use Holding::{
    Anything, Array, Document, Element, Joined, Number, Own, Product, Quotient, Scaled, Separated,
    Tags,
};

/// More kinds of separators than anybody has in a list.
const MOST_SEPARATORS: usize = 8;
/// All arrays of a document hold rows.
const ANY_DEPTH: u8 = u8::MAX;

/// What a value holds that is one or the other.
pub(super) fn either(one: Holding, other: Holding) -> Holding {
    match (one, other) {
        (Own, any) | (any, Own) => any,
        (one, other) if one == other => one,
        (Anything, _) | (_, Anything) => Anything,
        (Product, figure) | (figure, Product) if is_figure(&figure) => Product,
        (Scaled, figure) | (figure, Scaled) if is_figure(&figure) => Scaled,
        (Number, Quotient) | (Quotient, Number) => Quotient,
        // What is no figure is counted at least once.
        (figure, any @ (Element(_) | Separated(_)))
        | (any @ (Element(_) | Separated(_)), figure)
            if is_figure(&figure) =>
        {
            any
        }
        (Element(_), Element(_)) => Element(Arc::from("")),
        (
            Document {
                members: one,
                depth,
                separators: ones,
            },
            Document {
                members: other,
                depth: others_depth,
                separators: others,
            },
        ) => match union(&ones, &others) {
            Some(separators) => Document {
                members: one || other,
                depth: depth.max(others_depth),
                separators,
            },
            None => Joined,
        },
        (Separated(ones), Separated(others)) => union(&ones, &others).map_or(Joined, Separated),
        // Documents count what stands in them, and members.
        (Document { separators, .. }, Separated(others))
        | (Separated(others), Document { separators, .. }) => {
            union(&separators, &others).map_or(Joined, |separators| Document {
                members: true,
                depth: ANY_DEPTH,
                separators,
            })
        }
        _ => Joined,
    }
}

/// A number of no row, or of many.
pub(super) fn is_figure(holding: &Holding) -> bool {
    matches!(holding, Number | Quotient | Scaled)
}

/// A truth about such a value.
pub(super) fn truth(of: Holding) -> Holding {
    match of {
        Own | Number | Quotient | Scaled => Own,
        Element(key) => Element(key),
        _ => Element(Arc::from("")),
    }
}

/// A value that a truth has chosen, which may be one about a row.
pub(super) fn chosen(value: Holding, by: Holding) -> Holding {
    match (value, by) {
        (value, Own) => value,
        (Own | Number | Quotient | Scaled, by) => by,
        (Element(_), _) => Element(Arc::from("")),
        // They count nothing where they are empty.
        (Array | Document { .. } | Separated(_) | Tags, _) => Joined,
        (value, _) => value,
    }
}

fn union(ones: &Separators, others: &Separators) -> Option<Separators> {
    let mut all: Vec<Arc<str>> = ones.iter().chain(others.iter()).cloned().collect();
    all.sort();
    all.dedup();
    (all.len() <= MOST_SEPARATORS).then(|| all.into())
}

/// A value that is made text of. Elements of an array that other text stands beside cannot be told any more.
pub(super) fn text(inner: Holding) -> Holding {
    match inner {
        Array | Document { .. } | Tags => Joined,
        inner => inner,
    }
}

/// Texts one after the other. Two lists have a separator less than rows.
pub(super) fn join(one: Holding, other: Holding) -> Holding {
    match (text(one), text(other)) {
        (Own, any) | (any, Own) => any,
        (Anything, _) | (_, Anything) => Anything,
        (figure, any) | (any, figure) if is_figure(&figure) => any,
        (Product, Product) => Product,
        _ => Joined,
    }
}

/// An array of such values.
pub(super) fn array(inner: Holding) -> Holding {
    match inner {
        Own | Number | Quotient | Scaled | Element(_) | Array => Array,
        Anything => Anything,
        _ => Joined,
    }
}

/// How a document holds the values that it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// As elements of an array.
    Array,
    /// As members of an object, each of which stands for a row.
    Rows,
    /// As members of an object, or as it is.
    Object,
}

/// A document of such values.
pub(super) fn document(inner: Holding, made: Made) -> Holding {
    let members = made == Made::Rows;
    let deeper = u8::from(made == Made::Array);
    let of_values = |members, depth| Document {
        members,
        depth,
        separators: Arc::default(),
    };
    match inner {
        Own | Number | Quotient => of_values(members, deeper),
        // Each may be another row's.
        Element(_) => of_values(true, deeper),
        // It may have several dimensions.
        Array => of_values(members, ANY_DEPTH),
        Document {
            members: inside,
            depth,
            separators,
        } => Document {
            members: members || inside,
            depth: depth.saturating_add(deeper),
            separators,
        },
        // Several lists may stand beside each other, each with one row: so their members count as well.
        Separated(separators) if separators.iter().all(|text| is_verbatim_in_json(text)) => {
            Document {
                members: true,
                depth: ANY_DEPTH,
                separators,
            }
        }
        Anything => Anything,
        _ => Joined,
    }
}

fn is_verbatim_in_json(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || c == '"' || c == '\\')
}

/// Text of such values with a separator between every two.
pub(super) fn list(inner: Holding, separator: &Tree) -> Holding {
    let own = separators(separator);
    match (text(inner), own) {
        (Anything, _) => Anything,
        (Own | Number | Quotient | Scaled | Element(_), Some(own)) => Separated(own),
        (Separated(inside), Some(own)) => union(&inside, &own).map_or(Joined, Separated),
        _ => Joined,
    }
}

/// A separator that stands in the value as it stands in the statement: bytes may be written with backslashes, here
/// (`'\x2c'`) and there.
fn separators(separator: &Tree) -> Option<Separators> {
    let text = constant(separator)?;
    (!text.is_empty() && !text.contains('\\')).then(|| Arc::from([Arc::from(text)]))
}

/// A constant text, or `chr(10)`.
fn constant(tree: &Tree) -> Option<Cow<'_, str>> {
    let node = tree.node()?;
    match (node.kind, node.list("args")) {
        ("AConst", _) => node.get("val").and_then(Tree::string).map(Cow::Borrowed),
        ("FuncCall", [code]) if calls::name(node) == "chr" => {
            let value = code.node().filter(|code| code.kind == "AConst")?;
            let code = value.child("val").map(|value| value.int("ival"))?;
            // Beyond ASCII it is up to the server's encoding.
            let letter = u8::try_from(code)
                .ok()
                .filter(|code| (1..128).contains(code))?;
            Some(Cow::Owned(char::from(letter).to_string()))
        }
        _ => None,
    }
}

/// What a function leaves of its arguments' forms that gathers nothing itself.
/// `whole`: the first one is all rows of a stored column.
pub(super) fn kept(name: &str, node: &Node, arguments: &[Holding], whole: bool) -> Holding {
    let arguments = || arguments.iter().cloned();
    let first = || arguments().next().unwrap_or(Own);
    let others = || arguments().skip(1).fold(Own, either);
    let any = arguments().fold(Own, either);
    match any {
        Own => return Own,
        any @ (Number | Quotient | Scaled) => return any,
        _ => {}
    }
    match name {
        // One piece of it.
        "left" | "right" | "substr" | "substring" | "split_part" | "trim" | "btrim" | "ltrim"
        | "rtrim" | "lpad" | "rpad"
            if others() == Own =>
        {
            text(first())
        }
        "upper" | "lower" | "initcap" => match text(first()) {
            Separated(separators)
                if separators
                    .iter()
                    .any(|text| text.contains(char::is_alphabetic)) =>
            {
                Joined
            }
            inner => inner,
        },
        "concat" | "concat_ws" | "format" => {
            arguments().fold(Own, |one, other| join(one, text(other)))
        }
        "replace" if others() == Own => replaced(text(first()), node.list("args")),
        // Nobody reads more out of a digest than it is long.
        "md5" | "sha224" | "sha256" | "sha384" | "sha512" if any != Anything => Joined,
        "array_to_string" => match (any, node.list("args")) {
            (Array, [_, separator, ..]) => list(Own, separator),
            (Array | Joined, _) => Joined,
            _ => Anything,
        },
        // Whether one of them was there.
        "array_remove" if !node.list("args").get(1).is_some_and(is_empty) => match any {
            Array | Joined => Joined,
            _ => Anything,
        },
        "array_remove" | "array_append" | "array_prepend" | "array_cat" | "trim_array"
        | "array_reverse" | "array_sort" | "array_shuffle" => match any {
            Array | Joined => any,
            _ => Anything,
        },
        // Counts. With one argument it is a column of that name.
        "count" => truth(any),
        "regr_count" if arguments().count() == 2 => truth(any),
        "array_length" | "cardinality" | "json_array_length" | "jsonb_array_length"
            if matches!(first(), Array | Document { .. }) && others() == Own =>
        {
            match whole {
                true => Own,
                false => Element(Arc::from("")),
            }
        }
        _ => match (arguments().filter(|holding| *holding != Own).count(), any) {
            // Something of one row's value.
            (1, any @ Element(_)) => any,
            _ => Anything,
        },
    }
}

/// NULL, or an empty text.
fn is_empty(tree: &Tree) -> bool {
    tree.node().is_some_and(|node| {
        node.kind == "AConst"
            && node
                .get("val")
                .is_none_or(|value| value.string() == Some(""))
    })
}

/// Other separators, or something that is not shorter in the place of a text.
fn replaced(inner: Holding, arguments: &[Tree]) -> Holding {
    let [_, from, to] = arguments else {
        return Anything;
    };
    let (Some(from), Some(by)) = (constant(from), constant(to)) else {
        return Anything;
    };
    match inner {
        Separated(old) if old.len() == 1 && old.iter().any(|old| **old == *from) => {
            separators(to).map_or(Anything, Separated)
        }
        Separated(_) | Joined | Element(_) if by.len() >= from.len() => Joined,
        _ => Anything,
    }
}
