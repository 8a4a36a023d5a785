//! What an output column without an alias is called, beside a write whose target has the same name, or a column of it: who
//! takes one for the other shows a row as it is stored. Versions of the server call some by other names.
use super::Names;

/// An expression, and what it is called or might be.
type Unnamed = (&'static str, &'static [&'static str]);

const EXPRESSIONS: &[Unnamed] = &[
    ("true", &["bool", "?column?"]),
    ("FALSE", &["bool", "?column?"]),
    ("NULL", &["?column?"]),
    ("1", &["?column?"]),
    ("'x'", &["?column?", "text"]),
    ("-1", &["?column?"]),
    ("1 + 1", &["?column?"]),
    ("NOT true", &["?column?", "bool"]),
    ("$1", &["?column?", "text"]),
    ("$1::text", &["text"]),
    ("0x1f", &["x1f", "?column?"]),
    ("0x1F", &["x1f", "?column?"]),
    ("0b1", &["b1", "?column?"]),
    ("0o7", &["o7", "?column?"]),
    ("1_000", &["_000", "?column?"]),
    ("1.5e", &["e", "?column?"]),
    ("123abc", &["abc", "?column?"]),
    ("1 abc", &["abc"]),
    ("1 value", &["value", "?column?"]),
    ("1 name", &["name"]),
    ("1 json", &["json"]),
    ("1 bool", &["bool"]),
    (
        "extract(year FROM date '2024-01-01')",
        &["extract", "date_part"],
    ),
    ("JSON_OBJECT()", &["json_object", "?column?"]),
    ("JSON_OBJECT('a': 1)", &["json_object", "?column?"]),
    ("json_object('{a,b}')", &["json_object"]),
    ("json('{}')", &["json"]),
    ("JSON_SCALAR(1)", &["json_scalar"]),
    ("JSON_SERIALIZE('{}')", &["json_serialize"]),
    ("JSON_VALUE('{}', '$')", &["json_value"]),
    ("JSON_QUERY('{}', '$')", &["json_query"]),
    ("JSON_EXISTS('{}', '$')", &["json_exists"]),
    ("JSON_ARRAY(1)", &["json_array"]),
    ("JSON_ARRAYAGG(1)", &["json_arrayagg"]),
    ("JSON_OBJECTAGG('a': 1)", &["json_objectagg"]),
    ("'{}' IS JSON", &["?column?", "json"]),
    ("system_user", &["system_user", "?column?"]),
    ("normalize('x')", &["normalize"]),
    ("'x' IS NORMALIZED", &["is_normalized", "?column?"]),
    ("'x' IS NFC NORMALIZED", &["is_normalized", "?column?"]),
    ("overlay('a' PLACING 'b' FROM 1)", &["overlay"]),
    ("trim(BOTH 'x' FROM 'y')", &["btrim", "trim"]),
    ("trim(LEADING 'x')", &["ltrim", "trim"]),
    ("substring('x' FROM 1)", &["substring"]),
    (
        "substring('x' SIMILAR 'y' ESCAPE 'z')",
        &["substring", "similar_escape"],
    ),
    ("position('x' IN 'y')", &["position", "strpos"]),
    ("'x' COLLATE \"C\"", &["?column?"]),
    ("now() AT TIME ZONE 'UTC'", &["timezone"]),
    ("now() AT LOCAL", &["timezone"]),
    ("xmlelement(name a)", &["xmlelement"]),
    ("xmlconcat('<a/>')", &["xmlconcat"]),
    ("xmlforest('x' AS a)", &["xmlforest"]),
    ("CASE WHEN true THEN 1 END", &["case"]),
    ("CASE WHEN true THEN 1 ELSE 2::int4 END", &["case", "int4"]),
    ("CASE WHEN true THEN true ELSE false END", &["case", "bool"]),
    (
        "CASE WHEN true THEN 'x' ELSE upper('x') END",
        &["upper", "case"],
    ),
    ("coalesce(1)", &["coalesce"]),
    ("ARRAY[1]", &["array"]),
    ("ARRAY[true]", &["array", "bool"]),
    ("ROW(1)", &["row"]),
    ("(1, 2)", &["row"]),
    ("NULLIF(1, 2)", &["nullif"]),
    ("GREATEST(1)", &["greatest"]),
    ("LEAST(1)", &["least"]),
    ("EXISTS (SELECT 1)", &["exists"]),
    ("ARRAY(SELECT 1)", &["array"]),
    ("1 IN (SELECT 1)", &["?column?"]),
    ("(SELECT 1)", &["?column?"]),
    ("(SELECT 1 AS a)", &["a"]),
    ("(SELECT true)", &["bool", "?column?"]),
    ("(SELECT true UNION SELECT false)", &["bool", "?column?"]),
    ("(SELECT 0x1f)", &["x1f", "?column?"]),
    ("(VALUES (1))", &["column1"]),
    ("(TABLE crm.teams LIMIT 0)", &["id"]),
    ("1::int4", &["int4"]),
    ("1::int", &["int4", "int"]),
    ("1::pg_catalog.int4", &["int4"]),
    ("true::text", &["text", "bool"]),
    ("true::bool::text", &["text", "bool"]),
    ("(true)::bool", &["bool"]),
    ("upper('x')::text", &["upper", "text"]),
    ("date '2024-01-01'", &["date"]),
    ("interval '1 day'", &["interval"]),
    ("interval '1' day", &["interval"]),
    ("timestamp '2024-01-01'", &["timestamp"]),
    ("CAST('x' AS varchar(3))", &["varchar"]),
    ("'x'::char", &["bpchar", "char"]),
    ("'x'::\"char\"", &["char"]),
    ("'{1}'::int[]", &["int4"]),
    ("B'1'", &["?column?", "bit"]),
    ("N'x'", &["bpchar", "nchar", "?column?"]),
    ("X'1F'", &["?column?", "bit"]),
    ("U&'x'", &["?column?", "u"]),
    ("current_date", &["current_date", "date"]),
    ("current_time", &["current_time"]),
    ("current_timestamp(3)", &["current_timestamp"]),
    ("localtime", &["localtime"]),
    ("current_user", &["current_user"]),
    ("user", &["user", "current_user"]),
    ("session_user", &["session_user"]),
    ("current_role", &["current_role", "current_user"]),
    ("current_catalog", &["current_catalog"]),
    ("current_schema", &["current_schema"]),
    ("count(*)", &["count"]),
    ("count(*) OVER ()", &["count"]),
    ("(ROW(1)).f1", &["f1"]),
    ("(ROW(true)).f1", &["f1", "row"]),
    ("(ARRAY[1])[1]", &["array", "?column?"]),
    ("('{1}'::int[])[1]", &["int4", "?column?"]),
    ("('{}'::jsonb)['a']", &["jsonb", "?column?"]),
    ("treat('x' AS text)", &["text", "treat"]),
    ("collation for ('x')", &["pg_collation_for"]),
    ("'x' SIMILAR TO 'y'", &["?column?"]),
    ("'x' LIKE 'y'", &["?column?"]),
    ("1 BETWEEN 0 AND 2", &["?column?"]),
    ("1 IS DISTINCT FROM 2", &["?column?"]),
    ("NULL IS NULL", &["?column?"]),
    ("true IS TRUE", &["?column?", "bool"]),
    ("(now(), now()) OVERLAPS (now(), now())", &["overlaps"]),
    ("pg_catalog.upper('x')", &["upper"]),
    ("any_value(1)", &["any_value"]),
    ("merge_action()", &["merge_action"]),
    ("int4 '1'", &["int4"]),
    ("bool 'true'", &["bool"]),
    ("json '{}'", &["json"]),
    ("crm.pair '(a,1)'", &["pair"]),
    ("(crm.pair '(a,1)').phone", &["phone"]),
    ("format('x')", &["format"]),
    ("left('x', 1)", &["left"]),
];

/// Items of FROM without an alias, and what they are called, or their columns.
const ITEMS: &[Unnamed] = &[
    ("generate_series(1, 2)", &["generate_series"]),
    ("current_date", &["current_date"]),
    ("current_user", &["current_user"]),
    ("user", &["user", "current_user"]),
    ("system_user", &["system_user"]),
    ("session_user", &["session_user"]),
    ("coalesce('x', 'y')", &["coalesce"]),
    ("nullif('x', 'y')", &["nullif"]),
    ("greatest('x', 'y')", &["greatest"]),
    ("cast('x' AS text)", &["text"]),
    ("upper('x')", &["upper"]),
    ("unnest(ARRAY[1], ARRAY['x'])", &["unnest"]),
    ("ROWS FROM (upper('x'), lower('x'))", &["upper", "lower"]),
    (
        "extract(year FROM date '2024-01-01')",
        &["extract", "date_part"],
    ),
    ("position('x' IN 'y')", &["position", "strpos"]),
    ("trim('x')", &["btrim", "trim"]),
    ("normalize('x')", &["normalize"]),
    ("substring('x' FROM 1)", &["substring"]),
    ("collation for ('x')", &["pg_collation_for"]),
    ("json_each('{}')", &["json_each", "key", "value"]),
    (
        "jsonb_each_text('{}') WITH ORDINALITY",
        &["jsonb_each_text", "key", "value", "ordinality"],
    ),
    (
        "json_array_elements('[]')",
        &["json_array_elements", "value"],
    ),
    (
        "json_to_record('{}') AS (bool text)",
        &["bool", "json_to_record"],
    ),
    (
        "JSON_TABLE('[]', '$' COLUMNS (bool text PATH '$'))",
        &["json_table", "bool"],
    ),
    (
        "XMLTABLE('/a' PASSING '<a/>' COLUMNS bool text PATH '.')",
        &["xmltable", "bool"],
    ),
    ("JSON_OBJECT()", &["json_object"]),
    ("JSON('{}')", &["json"]),
    ("json_object('{a,b}')", &["json_object"]),
    ("merge_action()", &["merge_action"]),
    ("(VALUES (1)) s", &["column1", "s"]),
    ("(SELECT 1 AS a) s", &["a", "s"]),
    ("crm.teams", &["teams", "owner", "id"]),
];

impl Names {
    /// A write that reads, within a query, something that is called like its target or a column of it.
    pub fn mistaken(&mut self) -> String {
        let from_item = self.random.percent(30);
        let (inside, known) = *self
            .random
            .pick(if from_item { ITEMS } else { EXPRESSIONS });
        let inside = inside.replace(' ', "\u{2}");
        let name = match self.random.percent(85) {
            true => (*self.random.pick(known)).to_owned(),
            false => self.alias(),
        };
        let word = self.spell(&name);
        let wanted = match self.random.below(6) {
            0 => word.clone(),
            1 => format!("{word}.phone"),
            2 => format!("({word}).phone"),
            3 => format!("count({word})::text"),
            _ => format!("{word}::text"),
        };
        let query = match (from_item, self.random.below(6)) {
            (true, 0) => format!("SELECT {wanted} FROM {inside}, crm.teams"),
            (true, 1) => format!("SELECT {wanted} FROM crm.teams CROSS JOIN {inside}"),
            (true, _) => format!("SELECT {wanted} FROM {inside}"),
            (false, 0) => format!("WITH s AS (SELECT {inside}) SELECT {wanted} FROM s"),
            (false, 1) => format!("SELECT {wanted} FROM (SELECT {inside} UNION ALL SELECT NULL) s"),
            (false, 2) => format!("SELECT {inside} FROM crm.teams ORDER BY {word}"),
            (false, 3) => format!("SELECT x FROM (SELECT {inside}, 'y' AS x) s GROUP BY x, {word}"),
            (false, _) => format!("SELECT {wanted} FROM (SELECT {inside}) s"),
        };
        // The target has the name, or one of its columns, or both.
        let alias = match self.random.percent(65) {
            true => format!(" AS {}", self.spell(&name)),
            false => String::new(),
        };
        match self.random.below(8) {
            0 => format!("DELETE FROM crm.customers{alias} WHERE ({query} LIMIT 1) IS NOT NULL"),
            1 => format!(
                "INSERT INTO crm.customers{alias} (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET region = ({query} LIMIT 1)"
            ),
            2 => {
                format!("UPDATE crm.customers{alias} SET region = 'x' RETURNING ({query} LIMIT 1)")
            }
            3 => format!(
                "UPDATE crm.customers{alias} SET (region, name) = ({query} LIMIT 1), email = 'x'"
            ),
            _ => format!("UPDATE crm.customers{alias} SET region = ({query} LIMIT 1)"),
        }
    }
}
