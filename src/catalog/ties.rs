//! What compares columns of a table with each other or with those of other rows whenever a row is written: constraints,
//! unique indexes, partition bounds, security policies, and expressions that are computed beside the row and can fail.
//!
//! Where such a thing holds two columns, a write of one of them succeeds or fails by the stored value of the other.
use serde::{Deserialize, Serialize};

use super::reader::{Reader, field};
use super::{AttNum, Catalog, CatalogError, Oid, Relation};

/// How what ties columns looks at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TieKind {
    /// A CHECK that is enforced.
    Check,
    /// A unique index, or an exclusion constraint by equality alone.
    Unique,
    /// An exclusion constraint by another operator, or a key WITHOUT OVERLAPS (version 18): a new row tells by ranges about
    /// others.
    Exclusion,
    ForeignKey,
    /// Seen from the other end: a key to whose PERIOD others refer, which must cover theirs.
    Referred,
    /// The key by which a partitioned table puts rows where they belong.
    PartitionKey,
    /// A policy of row level security that new versions of a row must meet.
    Policy,
    /// An index or generated column whose expression can raise an error, or whose value can be refused.
    Expression,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tie {
    pub kind: TieKind,
    /// Of the constraint, index, policy or column; the table's for a partition key.
    pub name: String,
    /// 0: the whole row.
    pub columns: Vec<AttNum>,
    /// The parent has one like it, so that all partitions do.
    pub inherited: bool,
    /// It holds for every row; a CHECK that was added NOT VALID may not.
    pub proven: bool,
    /// Columns of other relations that these are held against by more than equality: those that a policy reads, the other end
    /// of a foreign key with a PERIOD. 0: the whole row.
    pub others: Vec<(Oid, AttNum)>,
    /// The key of another relation to which a foreign key refers: what becomes of a row there depends on whether these hold it.
    pub refers: Vec<(Oid, AttNum)>,
}

impl Tie {
    /// In the words of an error: without its table.
    pub fn described(&self) -> String {
        let kind = match self.kind {
            TieKind::Check => "CHECK constraint",
            TieKind::Unique => "unique index",
            TieKind::Exclusion => "exclusion constraint",
            TieKind::ForeignKey | TieKind::Referred => "foreign key",
            TieKind::PartitionKey => "partition key",
            TieKind::Policy => "row level security policy",
            TieKind::Expression => "expression",
        };
        format!("{kind} {}", self.name)
    }
}

/// In the place of a column: the row itself, which is deleted.
pub const ROW: AttNum = 0;

/// A column of another relation that an UPDATE of this one carries along; with [`ROW`] what a DELETE does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cascade {
    pub from: (Oid, AttNum),
    pub to: (Oid, AttNum),
}

/// CHECK constraints and foreign keys; of those with a PERIOD (version 18) the other end, too. A constraint that is not
/// enforced (version 18) tells nothing.
const CONSTRAINTS: &str = "SELECT k.conrelid, k.contype::text, k.conname::text, coalesce(k.conkey, '{}'), \
       k.coninhcount > 0 OR k.conparentid <> 0, k.convalidated, k.confrelid, \
       CASE WHEN coalesce((to_jsonb(k) ->> 'conperiod')::bool, false) THEN k.confkey ELSE '{}' END, coalesce(k.confkey, '{}') \
     FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
     WHERE k.contype IN ('c', 'f') AND k.conrelid >= 16384 AND c.relpersistence <> 't' \
       AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true) ORDER BY k.conrelid, k.conname, k.oid";

/// Indexes that are unique, excluding, or of expressions. What expressions read is in `pg_depend`; a whole row is not
/// (find_expr_references_walker in dependency.c), and pg_get_expr writes it as `t.*`. What is left out (`$1`) may be both.
const INDEXES: &str = "SELECT i.indrelid, n.relname::text, \
       ARRAY(SELECT u.k FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u(k, o) WHERE u.o <= i.indnkeyatts AND u.k > 0 \
             UNION SELECT d.refobjsubid::int2 FROM pg_depend d \
               WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjsubid > 0 \
                 AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid \
                 AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) \
             UNION SELECT 0::int2 WHERE concat(e.exprs, ' ', e.pred) ~ '\\.\\*' ORDER BY 1), \
       EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid), i.indisunique OR i.indisexclusion, \
       EXISTS (SELECT FROM pg_constraint k, unnest(k.conexclop) o(oid) JOIN pg_operator p ON p.oid = o.oid \
               WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('x', 'p', 'u') \
                 AND p.oprname <> '='), \
       concat_ws(', ', e.exprs, e.pred) \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class n ON n.oid = i.indexrelid \
     CROSS JOIN LATERAL (SELECT CASE WHEN i.indrelid = ANY ($1) AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) \
         THEN '?.*' ELSE pg_get_expr(i.indexprs, i.indrelid) END AS exprs, \
       CASE WHEN i.indrelid <> ALL ($1) THEN pg_get_expr(i.indpred, i.indrelid) END AS pred) e \
     WHERE i.indrelid >= 16384 AND c.relpersistence <> 't' AND c.relkind IN ('r', 'p') \
       AND (i.indisunique OR i.indisexclusion OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) \
     ORDER BY i.indrelid, n.relname, i.indexrelid";

/// Columns that take part in a key depend on the table for it (`StorePartitionKey` in heap.c).
const PARTITION_KEYS: &str = "SELECT p.partrelid, c.relname::text, \
       ARRAY(SELECT u.k FROM unnest(p.partattrs::int2[]) AS u(k) WHERE u.k > 0 \
             UNION SELECT d.objsubid::int2 FROM pg_depend d \
               WHERE d.classid = 'pg_class'::regclass AND d.objid = p.partrelid AND d.objsubid > 0 \
                 AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.partrelid AND d.refobjsubid = 0 \
                 AND d.deptype = 'i' ORDER BY 1) \
     FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid \
     WHERE c.relpersistence <> 't' ORDER BY p.partrelid";

/// Policies that a new version of a row must meet (those for SELECT, too, where the UPDATE reads), or a new row. What they read
/// of other relations is in `pg_depend`; of a whole row the relation alone.
const POLICIES: &str = "SELECT p.polrelid, p.polname::text, \
       ARRAY(SELECT d.refobjsubid::int2 FROM pg_depend d \
               WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refobjsubid > 0 \
                 AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid AND p.polcmd <> 'a' \
             UNION SELECT 0::int2 WHERE w.whole AND p.polcmd <> 'a' ORDER BY 1), \
       array_agg(o.refobjid ORDER BY o.refobjid, o.refobjsubid) FILTER (WHERE o.refobjid IS NOT NULL), \
       array_agg(o.refobjsubid::int2 ORDER BY o.refobjid, o.refobjsubid) FILTER (WHERE o.refobjid IS NOT NULL) \
     FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid \
     CROSS JOIN LATERAL (SELECT CASE WHEN p.polrelid = ANY ($1) THEN true \
       ELSE concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid)) ~ '\\.\\*' END AS whole) w \
     LEFT JOIN pg_depend o ON o.classid = 'pg_policy'::regclass AND o.objid = p.oid AND o.refclassid = 'pg_class'::regclass \
       AND o.refobjid <> p.polrelid AND (o.refobjsubid > 0 OR w.whole) \
     WHERE c.relrowsecurity AND p.polcmd IN ('*', 'r', 'w', 'a') \
     GROUP BY p.oid, p.polrelid, p.polname, p.polcmd, w.whole ORDER BY p.polrelid, p.polname";

/// Generated columns. What is computed when it is read (version 18) raises then, and at a write where it may not be NULL.
const GENERATED: &str = "SELECT d.adrelid, d.adnum, a.attname::text, \
       CASE WHEN d.adrelid <> ALL ($1) THEN pg_get_expr(d.adbin, d.adrelid) END, \
       a.attnotnull OR a.atttypmod >= 0 OR t.typtype = 'd', a.attinhcount > 0 \
     FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated <> '' \
     JOIN pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid \
     WHERE c.relpersistence <> 't' AND NOT a.attisdropped ORDER BY d.adrelid, d.adnum";

/// Foreign keys by which an UPDATE or DELETE of the referred row writes to those that refer to it, or deletes them.
const CASCADES: &str = "SELECT f.confrelid, w.referred, f.conrelid, w.num FROM pg_constraint f \
     JOIN pg_class c ON c.oid = f.conrelid CROSS JOIN LATERAL (\
       SELECT k.referred, k.num FROM unnest(f.conkey, f.confkey) AS k(num, referred) WHERE f.confupdtype IN ('c', 'n', 'd') \
       UNION ALL SELECT 0::int2, k.num FROM unnest(f.conkey) AS k(num) WHERE f.confdeltype IN ('n', 'd') \
       UNION ALL SELECT 0::int2, 0::int2 WHERE f.confdeltype = 'c') w \
     WHERE f.contype = 'f' AND c.relpersistence <> 't' ORDER BY 1, 2, 3, 4";

pub(super) async fn read(reader: &Reader<'_>, catalog: &mut Catalog) -> Result<(), CatalogError> {
    for row in reader.rows("constraints", CONSTRAINTS).await? {
        let (relation, referred): (Oid, Oid) = (field(&row, 0)?, field(&row, 6)?);
        let (period, key): (Vec<AttNum>, Vec<AttNum>) = (field(&row, 7)?, field(&row, 8)?);
        let tie = Tie {
            kind: match field::<String>(&row, 1)?.as_str() {
                "c" => TieKind::Check,
                _ => TieKind::ForeignKey,
            },
            name: field(&row, 2)?,
            columns: field(&row, 3)?,
            inherited: field(&row, 4)?,
            proven: field(&row, 5)?,
            others: cells(referred, &period),
            refers: cells(referred, &key),
        };
        if !period.is_empty() {
            let other_end = Tie {
                kind: TieKind::Referred,
                others: cells(relation, &tie.columns),
                refers: Vec::new(),
                columns: period,
                ..tie.clone()
            };
            add(catalog, referred, other_end);
        }
        add(catalog, relation, tie);
    }
    for row in reader.definitions("indexes", INDEXES).await? {
        let kind = match (field(&row, 4)?, field(&row, 5)?) {
            (_, true) => TieKind::Exclusion,
            (true, false) => TieKind::Unique,
            (false, false) if may_raise(&field::<String>(&row, 6)?) => TieKind::Expression,
            (false, false) => continue,
        };
        let tie = Tie {
            kind,
            name: field(&row, 1)?,
            columns: field(&row, 2)?,
            inherited: field(&row, 3)?,
            proven: true,
            others: Vec::new(),
            refers: Vec::new(),
        };
        add(catalog, field(&row, 0)?, tie);
    }
    for row in reader.rows("partition keys", PARTITION_KEYS).await? {
        let tie = Tie {
            kind: TieKind::PartitionKey,
            name: field(&row, 1)?,
            columns: field(&row, 2)?,
            inherited: false,
            proven: true,
            others: Vec::new(),
            refers: Vec::new(),
        };
        add(catalog, field(&row, 0)?, tie);
    }
    for row in reader.definitions("policies", POLICIES).await? {
        let relations: Option<Vec<Oid>> = field(&row, 3)?;
        let columns: Option<Vec<AttNum>> = field(&row, 4)?;
        let others = relations.into_iter().flatten();
        let tie = Tie {
            kind: TieKind::Policy,
            name: field(&row, 1)?,
            columns: field(&row, 2)?,
            inherited: false,
            proven: true,
            others: others.zip(columns.into_iter().flatten()).collect(),
            refers: Vec::new(),
        };
        add(catalog, field(&row, 0)?, tie);
    }
    for row in reader.definitions("generated columns", GENERATED).await? {
        let expression: Option<String> = field(&row, 3)?;
        let tells = expression.is_none_or(|text| may_raise(&text) || may_be_null(&text));
        if field(&row, 4)? || tells {
            let tie = Tie {
                kind: TieKind::Expression,
                name: field(&row, 2)?,
                columns: vec![field(&row, 1)?],
                inherited: field(&row, 5)?,
                proven: true,
                others: Vec::new(),
                refers: Vec::new(),
            };
            add(catalog, field(&row, 0)?, tie);
        }
    }
    for row in reader.rows("cascades", CASCADES).await? {
        catalog.cascades.insert(Cascade {
            from: (field(&row, 0)?, field(&row, 1)?),
            to: (field(&row, 2)?, field(&row, 3)?),
        });
    }
    Ok(())
}

fn cells(relation: Oid, columns: &[AttNum]) -> Vec<(Oid, AttNum)> {
    columns.iter().map(|column| (relation, *column)).collect()
}

fn add(catalog: &mut Catalog, relation: Oid, tie: Tie) {
    if !(tie.columns.is_empty() && tie.others.is_empty()) {
        catalog.ties.entry(relation).or_default().push(tie);
    }
}

impl Relation {
    /// The stored columns that decide what holds these: a generated column stands for those it is made of.
    pub fn stored(&self, columns: &[AttNum]) -> Vec<AttNum> {
        let mut stored = Vec::new();
        let mut open: Vec<AttNum> = match columns.contains(&0) {
            true => self.columns.iter().map(|column| column.num).collect(),
            false => columns.to_vec(),
        };
        // Generated columns are made of stored ones, so the list ends.
        while let Some(num) = open.pop() {
            match self.column_number(num) {
                Some(column) if !column.generated_from.is_empty() => {
                    open.extend(&column.generated_from);
                }
                Some(_) if !stored.contains(&num) => stored.push(num),
                _ => {}
            }
        }
        stored.sort_unstable();
        stored
    }
}

/// Functions of pg_catalog that give a value whatever they are given; forms of the grammar that are written like calls, too.
const TOTAL: &[&str] = &[
    "abs",
    "and",
    "any",
    "array",
    "btrim",
    "casefold",
    "coalesce",
    "concat",
    "concat_ws",
    "greatest",
    "in",
    "initcap",
    "least",
    "left",
    "length",
    "lower",
    "ltrim",
    "md5",
    "not",
    "nullif",
    "or",
    "reverse",
    "right",
    "row",
    "rtrim",
    "setweight",
    "then",
    "to_tsvector",
    "upper",
    "when",
    "else",
    "case",
    "is",
    "array_to_tsvector",
    "hashtext",
];
const TOTAL_OPERATORS: &[&str] = &["=", "<>", "<", ">", "<=", ">=", "||", "::"];
/// Types to which everything can be cast.
const TOTAL_TYPES: &[&str] = &["text"];

/// Whether an expression as `pg_get_expr` writes it could raise an error for some value. What is not known not to, may.
fn may_raise(expression: &str) -> bool {
    let mut rest = expression;
    let mut word = "";
    let mut cast: Option<bool> = None;
    // Whether what stands before is a constant: its cast has been tried when the expression was made.
    let mut constant = false;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        let taken = if first == '\'' || first == '"' {
            let end = quoted_end(rest, first);
            if first == '"' && cast.is_some() {
                return true; // a type by a quoted name
            }
            word = if first == '"' { "\"" } else { "" };
            constant = first == '\'';
            end
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.' | '$'))
                .unwrap_or(rest.len());
            let found = rest.get(..end).unwrap_or("");
            match cast.take() {
                Some(of_constant) => {
                    if !of_constant && !TOTAL_TYPES.contains(&found) {
                        return true;
                    }
                    constant = of_constant;
                    word = "";
                }
                None => {
                    word = found;
                    constant = first.is_ascii_digit() || ["NULL", "true", "false"].contains(&found);
                }
            }
            end
        } else if first == '(' {
            let called = !word.is_empty();
            if called && !TOTAL.contains(&word.to_lowercase().as_str()) {
                return true;
            }
            (word, constant) = ("", false);
            1
        } else if matches!(first, ')' | ',' | '[' | ']') {
            (word, constant) = ("", false);
            1
        } else {
            let end = rest
                .find(|c: char| !"+-*/<>=~!@#%^&|`?:.".contains(c))
                .unwrap_or(rest.len())
                .max(first.len_utf8());
            let found = rest.get(..end).unwrap_or("");
            if !TOTAL_OPERATORS.contains(&found) {
                return true;
            }
            cast = (found == "::").then_some(constant);
            (word, constant) = ("", false);
            end
        };
        rest = rest.get(taken..).unwrap_or("");
    }
    false
}

/// Whether an expression is NULL by a condition: what is masked stays NULL where it is. `pg_get_expr` writes an ELSE that is
/// not there.
fn may_be_null(expression: &str) -> bool {
    let parts = ["NULL::", "NULLIF("];
    parts.iter().any(|part| expression.contains(part))
}

fn quoted_end(text: &str, quote: char) -> usize {
    let mut end = quote.len_utf8();
    let after = |end: usize| text.get(end..).unwrap_or("");
    while let Some(next) = after(end).find(quote) {
        end += next + 1;
        if !after(end).starts_with(quote) {
            return end;
        }
        end += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{may_be_null, may_raise};

    #[test]
    fn an_expression_may_be_null_by_a_condition() {
        for (expression, expected) in [
            (
                "CASE WHEN (salary < ceiling) THEN 'y'::text ELSE NULL::text END",
                true,
            ),
            ("NULLIF(salary, ceiling)", true),
            ("(deleted_at IS NULL)", false),
            ("CASE WHEN (a = 1) THEN b ELSE c END", false),
        ] {
            assert_eq!(may_be_null(expression), expected, "{expression}");
        }
    }

    #[test]
    fn an_expression_raises_unless_it_is_known_not_to() {
        for harmless in [
            "lower(email)",
            "(((first_name)::text || ' '::text) || (last_name)::text)",
            "to_tsvector('english'::regconfig, ((COALESCE(title, ''::text) || ' it''s '::text) || COALESCE(body, ''::text)))",
            "(deleted_at IS NULL)",
            "((state = 'open'::ticket_state) AND (NOT \"Odd \"\"name\"))",
            "(state = ANY (ARRAY['a'::text, 'b'::text]))",
            "CASE WHEN (a > 5) THEN b ELSE NULL::integer END",
            "",
        ] {
            assert!(!may_raise(harmless), "{harmless}");
        }
        for harmful in [
            "((100)::numeric / (salary - ceiling))",
            "(phone)::integer",
            "(phone ~~ pattern)",
            "crm.phone_of(id)",
            "\"substring\"(phone, start)",
            "(t.* IS NOT NULL)",
            "(a OPERATOR(crm.=) b)",
            "(doc -> 'x'::text)",
            "(phone)::\"Digits\"",
            "date_part('year'::text, born)",
            "(a + b)",
            "(- a)",
        ] {
            assert!(may_raise(harmful), "{harmful}");
        }
    }
}
