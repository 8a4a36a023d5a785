//! Data-driven: a definition, and per column where it comes from, written as [`super::fixture`] says.
use super::fixture::{catalog, check, relation, shown};
use super::{Aggregates, MAX_DEFINITION, attribute_all};
use crate::catalog::{Function, Volatility};

#[test]
fn plain_columns_are_the_same_through_aliases_joins_and_subqueries() {
    check(
        "SELECT contacts.id, contacts.phone AS tel FROM crm.contacts",
        &[("id", "=contacts.id"), ("tel", "=contacts.phone")],
    );
    check(
        "SELECT phone FROM crm.contacts c",
        &[("phone", "=contacts.phone")],
    );
    check(
        "SELECT c.b FROM crm.contacts c(a, b, d)",
        &[("b", "=contacts.name")],
    );
    check(
        "SELECT c.phone, k.title FROM (crm.contacts c LEFT JOIN crm.companies k ON ((k.id = c.company_id)))",
        &[("phone", "=contacts.phone"), ("title", "=companies.title")],
    );
    check(
        "SELECT x.tel FROM (SELECT c.phone AS tel FROM crm.contacts c) x",
        &[("tel", "=contacts.phone")],
    );
    check(
        "WITH x(t) AS (SELECT c.phone FROM crm.contacts c) SELECT y.t FROM x y",
        &[("t", "=contacts.phone")],
    );
    check(
        "SELECT c.id, l.phone FROM crm.contacts c, LATERAL (SELECT c.phone) l",
        &[("id", "=contacts.id"), ("phone", "=contacts.phone")],
    );
    check(
        "SELECT j.e FROM (crm.contacts c JOIN crm.companies k ON (true)) j(a, b, e)",
        &[("e", "=contacts.phone")],
    );
    check(
        "SELECT phone FROM ONLY crm.contacts TABLESAMPLE system (10)",
        &[("phone", "=contacts.phone")],
    );
}

#[test]
fn stars_stand_for_the_columns_in_order() {
    check(
        "SELECT * FROM crm.leads",
        &[
            ("id", "=leads.id"),
            ("name", "=leads.name"),
            ("phone", "=leads.phone"),
        ],
    );
    check(
        "SELECT k.*, c.phone FROM crm.contacts c, crm.companies k",
        &[
            ("id", "=companies.id"),
            ("title", "=companies.title"),
            ("parent", "=companies.parent"),
            ("phone", "=contacts.phone"),
        ],
    );
}

#[test]
fn using_shows_the_side_the_join_keeps() {
    let columns = |id| [("id", id), ("phone", "=leads.phone")];
    check(
        "SELECT id, l.phone FROM crm.companies k JOIN crm.leads l USING (id)",
        &columns("=companies.id"),
    );
    check(
        "SELECT id, l.phone FROM crm.companies k RIGHT JOIN crm.leads l USING (id)",
        &columns("=leads.id"),
    );
    check(
        "SELECT id, l.phone FROM crm.companies k FULL JOIN crm.leads l USING (id)",
        &columns("leads.id companies.id"),
    );
    check(
        "SELECT u.id, l.phone FROM crm.companies k JOIN crm.leads l USING (id) AS u",
        &columns("=companies.id"),
    );
    check(
        "SELECT k.id, l.phone FROM crm.companies k NATURAL JOIN crm.leads l",
        &columns("=companies.id"),
    );
    check(
        "SELECT * FROM crm.leads NATURAL JOIN crm.companies",
        &[
            ("id", "=leads.id"),
            ("name", "=leads.name"),
            ("phone", "=leads.phone"),
            ("title", "=companies.title"),
            ("parent", "=companies.parent"),
        ],
    );
}

/// Which side an inner join shows depends on which of them needs a coercion.
#[test]
fn an_inner_join_of_other_types_may_show_either_side() {
    check(
        "SELECT phone FROM (crm.leads l JOIN crm.contacts c USING (phone))",
        &[("phone", "contacts.phone leads.phone")],
    );
    check(
        "SELECT phone FROM (crm.leads l LEFT JOIN crm.contacts c USING (phone))",
        &[("phone", "=leads.phone")],
    );
    check(
        "SELECT name FROM (crm.leads l JOIN (SELECT lower(c.name) AS name FROM crm.contacts c) c USING (name))",
        &[("name", "contacts.name leads.name")],
    );
}

#[test]
fn queries_in_queries_take_no_longer_than_they_are_long() {
    let levels = 60;
    let definition = format!(
        "SELECT {}c.phone{} AS phone FROM crm.contacts c GROUP BY c.id",
        "(SELECT ".repeat(levels),
        " FROM crm.leads GROUP BY leads.id LIMIT 1)".repeat(levels)
    );
    check(&definition, &[("phone", "contacts.phone leads.id")]);
}

#[test]
fn expressions_are_computed_from_all_they_read() {
    for expression in [
        "upper(c.phone)",
        "c.phone::text",
        "c.phone COLLATE \"C\"",
        "CASE WHEN c.phone IS NULL THEN 'a' ELSE 'b' END",
        "COALESCE(c.phone, '')",
        "GREATEST(c.phone, 'a')",
        "c.phone ~~ '138%'",
        "c.phone IN ('a', 'b')",
        "NOT (c.phone IS DISTINCT FROM 'a')",
        "ARRAY[c.phone]",
        "(ARRAY[c.phone, 'a'])[1]",
        "('{1}'::int[])[c.phone::int]",
        "ROW(c.phone, 1)",
        "(ROW(c.phone, now())).f1",
        "XMLELEMENT(NAME x, c.phone)",
        "JSON_OBJECT('a' : c.phone)",
        "EXTRACT(year FROM c.phone::date)",
        "c.phone::crm.region",
        "crm.similarity(c.phone, 'a')",
        "c.phone AT TIME ZONE 'UTC' IS NULL",
    ] {
        let mut catalog = catalog();
        catalog
            .functions
            .entry("timezone".to_owned())
            .or_default()
            .push(Function {
                schema: "pg_catalog".to_owned(),
                volatility: Volatility::Immutable,
                extension: None,
                security_definer: false,
                built_in: true,
            });
        catalog.insert(relation(999, "crm", "v", &["x"]));
        let definition = format!("SELECT {expression} AS x FROM crm.contacts c");
        let found =
            attribute_all(&catalog, &[(999, definition)], &Aggregates::new()).expect("analysis");
        assert_eq!(
            shown(&catalog, &found[0].1[0]),
            "contacts.phone",
            "{expression}"
        );
    }
    check(
        "SELECT c.name || c.phone AS x, 1 AS y, now() AS z FROM crm.contacts c",
        &[
            ("x", "contacts.name contacts.phone"),
            ("y", "-"),
            ("z", "-"),
        ],
    );
}

#[test]
fn whole_rows_are_computed_from_every_column() {
    let all = "leads.id leads.name leads.phone";
    check(
        "SELECT row_to_json(l.*) AS x FROM crm.leads l",
        &[("x", all)],
    );
    check("SELECT l AS x FROM crm.leads l", &[("x", all)]);
    check(
        "SELECT (l.*)::crm.region AS x FROM crm.leads l",
        &[("x", all)],
    );
    check("SELECT ((l.*)).phone AS x FROM crm.leads l", &[("x", all)]);
    check(
        "SELECT x.*::text AS x FROM (SELECT l.phone FROM crm.leads l) x",
        &[("x", "leads.phone")],
    );
}

#[test]
fn scalar_subqueries_are_computed_from_all_they_read_in_any_clause() {
    check(
        "SELECT (SELECT k.title FROM crm.companies k WHERE k.id = c.company_id) AS x FROM crm.contacts c",
        &[("x", "contacts.company_id companies.id companies.title")],
    );
    check(
        "SELECT EXISTS (SELECT 1 FROM crm.leads l WHERE l.phone = '1') AS x FROM crm.contacts c",
        &[("x", "leads.phone")],
    );
    check(
        "SELECT c.id IN (SELECT l.id FROM crm.leads l ORDER BY l.phone LIMIT 1) AS x FROM crm.contacts c",
        &[("x", "contacts.id leads.id leads.phone")],
    );
    check(
        "SELECT (SELECT 1 FROM (SELECT l.id FROM crm.leads l WHERE l.phone = '1') y) AS x FROM crm.contacts c",
        &[("x", "leads.id leads.phone")],
    );
}

#[test]
fn aggregates_depend_on_what_decides_their_rows() {
    check(
        "SELECT c.region, count(*) AS n, sum(c.id) AS s FROM crm.contacts c WHERE c.phone IS NOT NULL GROUP BY c.region",
        &[
            ("region", "=contacts.region"),
            ("n", "contacts.phone contacts.region"),
            ("s", "contacts.id contacts.phone contacts.region"),
        ],
    );
    check(
        "SELECT count(*) AS n FROM (SELECT c.id FROM crm.contacts c WHERE c.phone = '1') x",
        &[("n", "contacts.phone")],
    );
    check(
        "SELECT count(*) FILTER (WHERE c.phone = '1') AS n FROM crm.contacts c JOIN crm.companies k ON k.id = c.company_id",
        &[("n", "contacts.phone contacts.company_id companies.id")],
    );
    check(
        "SELECT upper(c.phone) AS p, count(*) AS n FROM crm.contacts c GROUP BY 1",
        &[("p", "contacts.phone"), ("n", "contacts.phone")],
    );
    // The value of an ordinary expression does not.
    check(
        "SELECT upper(c.name) AS n FROM crm.contacts c WHERE c.phone = '1'",
        &[("n", "contacts.name")],
    );
}

#[test]
fn window_functions_depend_on_their_windows() {
    check(
        "SELECT c.id, row_number() OVER (PARTITION BY c.region ORDER BY c.phone) AS n FROM crm.contacts c",
        &[
            ("id", "=contacts.id"),
            ("n", "contacts.phone contacts.region"),
        ],
    );
    check(
        "SELECT row_number() OVER w AS n FROM crm.contacts c WINDOW w AS (ORDER BY c.phone)",
        &[("n", "contacts.phone")],
    );
}

#[test]
fn set_operations_join_both_sides() {
    check(
        "SELECT c.id, c.phone FROM crm.contacts c UNION ALL SELECT c2.id, c2.name FROM crm.contacts c2",
        &[
            ("id", "=contacts.id"),
            ("phone", "contacts.name contacts.phone"),
        ],
    );
    check(
        "SELECT c.phone FROM crm.contacts c UNION SELECT l.phone FROM crm.leads l ORDER BY 1",
        &[("phone", "contacts.phone leads.phone")],
    );
    check("SELECT v.a FROM (VALUES (1), (2)) v(a)", &[("a", "-")]);
    check("VALUES (1, 'x')", &[("column1", "-"), ("column2", "-")]);
}

#[test]
fn recursive_queries_settle() {
    check(
        "WITH RECURSIVE t(id, parent) AS (SELECT k.id, k.parent FROM crm.companies k UNION ALL \
         SELECT k.id, k.parent FROM crm.companies k JOIN t ON t.id = k.parent) SELECT t.id, t.parent FROM t",
        &[("id", "=companies.id"), ("parent", "=companies.parent")],
    );
    // The name wanders one column further each round.
    check(
        "WITH RECURSIVE t(a, b, c) AS (SELECT k.id, k.id, k.title FROM crm.companies k UNION ALL \
         SELECT t.b, t.c, t.c FROM t) SELECT t.a, t.b, t.c FROM t",
        &[
            ("a", "companies.id companies.title"),
            ("b", "companies.id companies.title"),
            ("c", "=companies.title"),
        ],
    );
    // Another query with the same name further out is not meant.
    check(
        "WITH b AS (SELECT 1 AS x) SELECT s.x FROM (WITH RECURSIVE a AS (SELECT b.x FROM b), b AS (SELECT c.phone AS x \
         FROM crm.contacts c) SELECT a.x FROM a) s",
        &[("x", "?")],
    );
}

#[test]
fn functions_in_from_are_computed_from_their_arguments() {
    check(
        "SELECT u.u FROM crm.contacts c, LATERAL unnest(ARRAY[c.phone]) u(u)",
        &[("u", "contacts.phone")],
    );
    check(
        "SELECT g.g, g.n FROM generate_series(1, 3) WITH ORDINALITY g(g, n)",
        &[("g", "-"), ("n", "-")],
    );
    check("SELECT g FROM generate_series(1, 3) g", &[("g", "-")]);
    check(
        "SELECT s.x FROM crm.crosstab('SELECT') s(x int)",
        &[("x", "?")],
    );
}

#[test]
fn system_catalogs_and_system_columns_are_known() {
    check(
        "SELECT c.relname FROM pg_class c",
        &[("relname", "=pg_class.relname")],
    );
    check(
        "SELECT c.tableoid, c.phone FROM crm.contacts c",
        &[("tableoid", "-"), ("phone", "=contacts.phone")],
    );
}

#[test]
fn what_can_read_anything_is_unknown() {
    for expression in [
        "crm.secret_of(c.id)",
        // Not pg_catalog's function of that name.
        "crm.upper(c.name)",
        "query_to_xml('SELECT 1', true, true, '')",
        "table_to_xml('crm.contacts', true, true, '')",
        "no_such_function(c.id)",
        "c.id OPERATOR(crm.<>>) 1",
        "c.id::crm.sneaky",
        "c.id::crm.no_such_type",
        "c.no_such_column",
        "no_such_table.id",
        "(SELECT crm.secret_of(1))",
        "JSON_QUERY(c.name, '$')",
    ] {
        check(
            &format!("SELECT c.id, {expression} AS x FROM crm.contacts c"),
            &[("id", "=contacts.id"), ("x", "?")],
        );
    }
    check(
        "SELECT random() AS x FROM crm.contacts c WHERE crm.secret_of(1) = 1",
        &[("x", "-")],
    );
    // An ambiguous name.
    check(
        "SELECT id AS x FROM crm.contacts c, crm.leads l",
        &[("x", "?")],
    );
    check("SELECT t.x FROM crm.gone t", &[("x", "?")]);
}

#[test]
fn definitions_that_do_not_line_up_are_unknown_as_a_whole() {
    check(
        "SELECT c.id FROM crm.contacts c",
        &[("id", "?"), ("phone", "?")],
    );
    check(
        "SELECT c.id, c.name FROM crm.contacts c",
        &[("id", "?"), ("phone", "?")],
    );
    check("SELECT * FROM crm.gone", &[("id", "?")]);
    check("SELECT c.id FROM crm.contacts c; SELECT 1", &[("id", "?")]);
    check("this is not SQL", &[("id", "?")]);
    check(
        "UPDATE crm.contacts SET id = 1 RETURNING id",
        &[("id", "?")],
    );
}

#[test]
fn nesting_of_any_depth_is_followed_or_unknown_but_never_the_end() {
    let chain = |length| {
        format!(
            "SELECT {} AS x FROM crm.contacts c",
            vec!["c.id"; length].join("+")
        )
    };
    check(&chain(20), &[("x", "contacts.id")]);
    let long = chain(40_000);
    assert!(long.len() < MAX_DEFINITION);
    check(&long, &[("x", "?")]);
    // As deep as the parser itself goes, and deeper.
    for depth in [1_000, 3_000, 30_000] {
        let mut catalog = catalog();
        catalog.insert(relation(999, "crm", "v", &["x"]));
        let nested = format!(
            "SELECT {}c.id{} AS x FROM crm.contacts c",
            "upper(".repeat(depth),
            ")".repeat(depth)
        );
        let found =
            attribute_all(&catalog, &[(999, nested)], &Aggregates::new()).expect("analysis");
        assert!(["contacts.id", "?"].contains(&shown(&catalog, &found[0].1[0]).as_str()));
    }
    let padded = format!(
        "SELECT c.id AS x FROM crm.contacts c WHERE c.name = '{}'",
        "a".repeat(MAX_DEFINITION)
    );
    check(&padded, &[("x", "?")]);
}
