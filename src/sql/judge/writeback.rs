//! Saving what a mask shows never destroys the value behind it.
//!
//! `SET phone = <expression>` becomes: keep the stored value if the expression equals its mask, else take the expression.
//! The expression is evaluated once, and parameters in it keep the type that they have in the client's statement.
use crate::catalog::{Catalog, Column, TypeKind};
use crate::policy::compiled::MaskedPart;
use crate::sql::names::{literal, qualified, quoted};
use crate::sql::plan::{MASKED_PARTS, TIED};
use crate::sql::template::{self, FENCE};
use crate::sql::tree::{Node, Tree};

/// The text around an assigned expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteBack {
    pub open: String,
    pub close: String,
}

/// The name of the row that holds the new value and the mask of the old one.
const ROW: &str = "\"pgveil_w\"";

/// What becomes of a value that is not the one that is shown.
pub(super) enum Otherwise<'a> {
    /// It is stored, unless it holds masks of such parts.
    Taken(&'a [MaskedPart]),
    /// An error: the column may not change.
    Refused,
}

/// `target` is the quoted name of the relation that is written, `mask` the SQL of the masked stored value.
pub(super) fn around(
    catalog: &Catalog,
    column: &Column,
    target: &str,
    mask: &str,
    otherwise: Otherwise<'_>,
) -> Option<WriteBack> {
    let (base, data_type) = base_type(catalog, column)?;
    let (new, old) = match comparison(base) {
        Comparison::Own => (String::new(), String::new()),
        Comparison::As(name) => (
            format!("::pg_catalog.{name}"),
            format!("::pg_catalog.{name}"),
        ),
    };
    let stored = format!("{target}.{}", quoted(&column.name));
    let mut further = String::new();
    // Pulled up, the mask of a document would be computed at each of the places that name it.
    let mut fence = "";
    let otherwise = match otherwise {
        Otherwise::Taken(parts) => {
            let places = Places::of(parts);
            further = places.apart(&stored);
            if !parts.is_empty() {
                fence = FENCE;
            }
            format!(
                "{} ELSE {}",
                masked_parts(parts, places.rest()),
                places.value(base)
            )
        }
        Otherwise::Refused => format!(
            " WHEN {} THEN {ROW}.\"v\"",
            template::raising(TIED, &stored)
        ),
    };
    let open = format!(
        "(SELECT CASE WHEN ({ROW}.\"v\" IS NULL AND {ROW}.\"m\" IS NULL) OR {ROW}.\"v\"{new} OPERATOR(pg_catalog.=) \
         {ROW}.\"m\"{old} THEN {stored}{otherwise} END FROM (SELECT ("
    );
    let close = format!(")::{data_type} AS \"v\", {mask} AS \"m\"{fence}) AS {ROW}{further})");
    Some(WriteBack { open, close })
}

/// The name of the row that holds what is left of a document without the masks that were put back (`r`), and the document with
/// the stored values in their places (`w`).
const APART: &str = "\"pgveil_a\"";

/// Masks in a document that keys alone lead to.
struct Places<'a>(Vec<&'a [String]>);

impl<'a> Places<'a> {
    fn of(parts: &'a [MaskedPart]) -> Self {
        let places = parts.iter().filter_map(|part| match part {
            MaskedPart::JsonAt(keys) => Some(keys.as_slice()),
            _ => None,
        });
        Places(places.collect())
    }

    /// Where masks may be left that are in no such place.
    fn rest(&self) -> String {
        match self.0.is_empty() {
            true => format!("{ROW}.\"v\""),
            false => format!("{APART}.\"r\""),
        }
    }

    /// The value to store.
    fn value(&self, base: u32) -> String {
        const JSON: u32 = 114;
        match (self.0.is_empty(), base) {
            (true, _) => format!("{ROW}.\"v\""),
            // As it was written, if nothing was put back.
            (false, JSON) => format!(
                "CASE WHEN {APART}.\"w\" OPERATOR(pg_catalog.=) {ROW}.\"v\"::pg_catalog.jsonb THEN {ROW}.\"v\" \
                 ELSE {APART}.\"w\"::pg_catalog.json END"
            ),
            (false, _) => format!("{APART}.\"w\""),
        }
    }

    /// What is asked besides the new value and the mask of the stored one. Where a place holds what is shown there, `stored`
    /// has the value. Without steps a path is the document, and leaves it as it is; of anything but an object there is no
    /// such path.
    fn apart(&self, stored: &str) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let new = format!("{ROW}.\"v\"::pg_catalog.jsonb");
        let (mut rest, mut whole) = (new.clone(), new.clone());
        for keys in &self.0 {
            let keys: Vec<String> = keys.iter().map(|key| literal(key)).collect();
            let path = format!("ARRAY[{}]::pg_catalog.text[]", keys.join(", "));
            let at = |document: &str| format!("({document} OPERATOR(pg_catalog.#>) {path})");
            let shown = format!(
                "{} OPERATOR(pg_catalog.=) {}",
                at(&new),
                at(&format!("{ROW}.\"m\"::pg_catalog.jsonb"))
            );
            let old = at(&format!("{stored}::pg_catalog.jsonb"));
            let place = format!("CASE WHEN {shown} THEN {path} ELSE '{{}}'::pg_catalog.text[] END");
            rest = format!("({rest} OPERATOR(pg_catalog.#-) {place})");
            whole = format!(
                "pg_catalog.jsonb_set({whole}, {place}, CASE WHEN {shown} THEN {old} ELSE 'null'::pg_catalog.jsonb END, false)"
            );
        }
        let of_object = |document: &str| {
            format!(
                "CASE WHEN pg_catalog.jsonb_typeof({new}) OPERATOR(pg_catalog.=) 'object'::pg_catalog.text THEN {document} ELSE {new} END"
            )
        };
        format!(
            ", LATERAL (SELECT {} AS \"r\", {} AS \"w\"{FENCE}) AS {APART}",
            of_object(&rest),
            of_object(&whole)
        )
    }
}

/// A branch of CASE that raises an error if what is left of the new value holds masks of the stored one among other things: what
/// stands behind those cannot be put back.
fn masked_parts(parts: &[MaskedPart], rest: String) -> String {
    let alike = |from: [String; 2], mine: &str, theirs: &str| {
        format!(
            "EXISTS (SELECT 1 FROM {} AS a(x), {} AS b(x) WHERE a.x{mine} OPERATOR(pg_catalog.=) b.x{theirs})",
            from[0], from[1]
        )
    };
    let query = |side: &str, path: &str| {
        format!(
            "pg_catalog.jsonb_path_query({}::pg_catalog.jsonb, {}::pg_catalog.jsonpath)",
            if side == "v" {
                rest.clone()
            } else {
                format!("{ROW}.\"{side}\"")
            },
            literal(path)
        )
    };
    let tests: Vec<String> = parts
        .iter()
        .filter_map(|part| {
            Some(match part {
                MaskedPart::JsonAt(_) => return None,
                MaskedPart::Elements => alike(
                    ["v", "m"].map(|side| format!("pg_catalog.unnest({ROW}.\"{side}\")")),
                    "::pg_catalog.text",
                    "::pg_catalog.text",
                ),
                // JSON null stays null under other masks: `? (@ != null)` leaves it out.
                MaskedPart::Json(path) => {
                    let path = format!("{path} ? (@ != null)");
                    alike(["v", "m"].map(|side| query(side, &path)), "", "")
                }
                MaskedPart::JsonRedacted(path) => {
                    let path = format!("{path} ? (@ == \"***\" || @ == 0 || @ == false)");
                    alike(["v", "m"].map(|side| query(side, &path)), "", "")
                }
                MaskedPart::JsonNull(path) => {
                    let path = format!("{path} ? (@ == null)");
                    alike(["v", "m"].map(|side| query(side, &path)), "", "")
                }
            })
        })
        .collect();
    if tests.is_empty() {
        return String::new();
    }
    format!(
        " WHEN {} THEN (CASE WHEN {} THEN {ROW}.\"v\" END)",
        tests.join(" OR "),
        template::raising(MASKED_PARTS, &format!("{ROW}.\"v\""))
    )
}

/// The type that values are cast to: without its modifier, so that a value too long is an error still, and of a domain
/// the base type, because a mask may break the domain's rules.
fn base_type(catalog: &Catalog, column: &Column) -> Option<(u32, String)> {
    let own = catalog.types.get(&column.type_oid)?;
    let oid = match own.kind {
        TypeKind::Domain => own.base?,
        _ => column.type_oid,
    };
    let base = catalog.types.get(&oid)?;
    Some((oid, qualified(&base.schema, &base.name)))
}

enum Comparison {
    /// By the type's own equality.
    Own,
    /// In another type.
    As(&'static str),
}

/// `json` has no equality, and applications write it anew; of other types only those are compared as they are whose
/// equality means the same value (`box` compares areas). OIDs from `src/include/catalog/pg_type.dat`.
fn comparison(oid: u32) -> Comparison {
    match oid {
        114 => Comparison::As("jsonb"),
        16..=21
        | 23
        | 25
        | 26
        | 650
        | 700
        | 701
        | 790
        | 829
        | 869
        | 1042
        | 1043
        | 1082
        | 1083
        | 1114
        | 1184
        | 1186
        | 1266
        | 1700
        | 2950
        | 3802 => Comparison::Own,
        _ => Comparison::As("text"),
    }
}

impl WriteBack {
    /// A text whose tree [`WriteBack::assigned`] compares with.
    pub(super) fn pattern(&self) -> String {
        format!("SELECT {}NULL{}", self.open, self.close)
    }

    /// The expression inside, if the value is exactly this text around it.
    pub(super) fn assigned(value: &mut Tree, pattern: &Tree) -> Option<Tree> {
        let expected = pattern
            .node()?
            .list("target_list")
            .first()?
            .node()?
            .get("val")?;
        let null = Node::new("AConst", vec![("isnull", Tree::Bool(true))]);
        let inside = std::mem::replace(hole(value)?, Tree::Node(null));
        (*value == *expected).then_some(inside)
    }
}

/// Where the expression stands in the text around it.
fn hole(value: &mut Tree) -> Option<&mut Tree> {
    let select = value
        .node_mut()
        .filter(|node| node.kind == "SubLink")?
        .get_mut("subselect")?
        .node_mut()?;
    let Tree::List(from) = select.get_mut("from_clause")? else {
        return None;
    };
    let inner = from
        .first_mut()?
        .node_mut()?
        .get_mut("subquery")?
        .node_mut()?;
    let Tree::List(targets) = inner.get_mut("target_list")? else {
        return None;
    };
    targets
        .first_mut()?
        .node_mut()?
        .get_mut("val")?
        .node_mut()
        .filter(|node| node.kind == "TypeCast")?
        .get_mut("arg")
}
