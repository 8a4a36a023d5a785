use crate::catalog::{
    Catalog, Column, Function, Operator, Relation, RelationKind, Type, TypeKind, Volatility,
};
use crate::policy::compiled::{RowRule, SessionValue};
use crate::policy::rows::Condition;

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (oid, schema, name) in [
        (16, "pg_catalog", "bool"),
        (23, "pg_catalog", "int4"),
        (25, "pg_catalog", "text"),
        (1043, "pg_catalog", "varchar"),
        (1082, "pg_catalog", "date"),
        (1009, "pg_catalog", "_text"),
        (3802, "pg_catalog", "jsonb"),
        (701, "pg_catalog", "float8"),
        (1114, "pg_catalog", "timestamp"),
        (1184, "pg_catalog", "timestamptz"),
        (1185, "pg_catalog", "_timestamptz"),
        (1186, "pg_catalog", "interval"),
        (2205, "pg_catalog", "regclass"),
        (3910, "pg_catalog", "tstzrange"),
        (9000, "crm", "grade"),
    ] {
        let found = Type {
            schema: schema.into(),
            name: name.into(),
            kind: TypeKind::Base,
            category: 'S',
            base: None,
            extension: None,
        };
        catalog.insert_type(oid, found);
    }
    for (schema, name, volatility) in [
        ("pg_catalog", "lower", Volatility::Immutable),
        ("pg_catalog", "now", Volatility::Stable),
        ("pg_catalog", "count", Volatility::Immutable),
        ("pg_catalog", "timezone", Volatility::Stable),
        ("pg_catalog", "to_char", Volatility::Stable),
        ("pg_catalog", "current_setting", Volatility::Stable),
        ("pg_catalog", "date_trunc", Volatility::Stable),
        ("pg_catalog", "date_trunc", Volatility::Immutable),
        ("pg_catalog", "date_part", Volatility::Stable),
        ("pg_catalog", "age", Volatility::Stable),
        ("pg_catalog", "concat", Volatility::Stable),
        ("pg_catalog", "max", Volatility::Immutable),
        ("pg_catalog", "tstzrange", Volatility::Immutable),
        ("pg_catalog", "to_tsvector", Volatility::Stable),
        ("pg_catalog", "to_tsvector", Volatility::Immutable),
        ("pg_catalog", "btrim", Volatility::Immutable),
        ("pg_catalog", "substring", Volatility::Immutable),
        ("pg_catalog", "like_escape", Volatility::Immutable),
        ("pg_catalog", "similar_to_escape", Volatility::Immutable),
        ("pg_catalog", "random", Volatility::Volatile),
        ("evil", "lower", Volatility::Immutable),
        ("crm", "is_mine", Volatility::Stable),
    ] {
        let function = Function {
            schema: schema.into(),
            volatility,
            extension: None,
            security_definer: false,
            built_in: schema == "pg_catalog",
        };
        catalog
            .functions
            .entry(name.into())
            .or_default()
            .push(function);
    }
    let operator = Operator {
        schema: "public".into(),
        extension: Some("pg_trgm".into()),
    };
    catalog.operators.insert("<<->".into(), vec![operator]);
    let columns = "id int4, owner text, region text, open bool, tags _text, extra jsonb, since date, \"Odd col\" text";
    catalog.insert(relation(20_001, "contacts", columns));
    catalog.insert(relation(
        20_002,
        "team",
        "agent text, region text, contact_id int4",
    ));
    catalog.insert(relation(20_003, "desk", "agent text, desk text"));
    catalog.insert(relation(
        20_004,
        "visits",
        "id int4, seen timestamptz, made timestamp, day date, took interval, share float8, note text, seens _timestamptz, t_id int4",
    ));
    catalog
}

fn relation(oid: u32, name: &str, columns: &str) -> Relation {
    let columns = columns
        .split(", ")
        .zip(1..)
        .map(|(column, num)| {
            let (name, data_type) = column.rsplit_once(' ').unwrap();
            Column {
                num,
                name: name.trim_matches('"').into(),
                type_oid: match data_type {
                    "bool" => 16,
                    "int4" => 23,
                    "timestamptz" => 1184,
                    "_timestamptz" => 1185,
                    "timestamp" => 1114,
                    "interval" => 1186,
                    "float8" => 701,
                    "date" if oid == 20_004 => 1082,
                    _ => 25,
                },
                typmod: -1,
                type_sql: data_type.into(),
                not_null: false,
                generated_from: vec![],
            }
        })
        .collect();
    Relation {
        oid,
        schema: "crm".into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns,
        primary_key: vec![1],
        unique: vec![1],
        parents: vec![],
        sources: vec![],
        extension: None,
    }
}

fn bind(text: &str) -> Result<RowRule, String> {
    bind_to("contacts", text, &catalog())
}

fn bind_to(relation: &str, text: &str, catalog: &Catalog) -> Result<RowRule, String> {
    let relation = catalog.relation("crm", relation).unwrap();
    let told = |objection: super::Objection| match objection.suggestion {
        Some(suggestion) => format!("{} ({suggestion})", objection.message),
        None => objection.message,
    };
    Condition::read(text)
        .map_err(told)?
        .bind(relation, catalog)
        .map_err(told)
}

/// The rule for a session of Ann in the region `ea'st`, over the alias `c`.
fn sql(text: &str) -> String {
    let rule = bind(text).unwrap_or_else(|message| panic!("{text}: {message}"));
    rule.sql("\"c\"", |value| match value {
        SessionValue::AppUser => Some("ann".into()),
        SessionValue::DbUser => Some("crm_app".into()),
        SessionValue::Attribute(name) if &**name == "region" => Some("ea'st".into()),
        SessionValue::Attribute(_) | SessionValue::Region(_) => None,
    })
}

#[test]
fn names_are_qualified_and_values_quoted() {
    for (text, expected) in [
        (
            "owner = {app_user}",
            "(\"c\".\"owner\" OPERATOR(pg_catalog.=) 'ann')",
        ),
        (
            "region = {attr.region}",
            "(\"c\".\"region\" OPERATOR(pg_catalog.=) 'ea''st')",
        ),
        (
            "region = {attr.none}",
            "(\"c\".\"region\" OPERATOR(pg_catalog.=) NULL)",
        ),
        (
            "contacts.owner = {db_user}",
            "(\"c\".\"owner\" OPERATOR(pg_catalog.=) 'crm_app')",
        ),
        (
            "crm.contacts.owner = {db_user}",
            "(\"c\".\"owner\" OPERATOR(pg_catalog.=) 'crm_app')",
        ),
        ("open", "(\"c\".\"open\")"),
        ("NOT open", "(NOT \"c\".\"open\")"),
        ("true", "(true)"),
        (
            "\"Odd col\" = 'x'",
            "(\"c\".\"Odd col\" OPERATOR(pg_catalog.=) 'x')",
        ),
        (
            "lower(owner) = {app_user}",
            "(pg_catalog.lower(\"c\".\"owner\") OPERATOR(pg_catalog.=) 'ann')",
        ),
        (
            "owner LIKE 'a%'",
            "(\"c\".\"owner\" OPERATOR(pg_catalog.~~) 'a%')",
        ),
        (
            "owner NOT ILIKE 'a%'",
            "(\"c\".\"owner\" OPERATOR(pg_catalog.!~~*) 'a%')",
        ),
        ("crm.is_mine(owner)", "(crm.is_mine(\"c\".\"owner\"))"),
        (
            "owner = '{{}}'",
            "(\"c\".\"owner\" OPERATOR(pg_catalog.=) '{}')",
        ),
    ] {
        assert_eq!(sql(text), expected, "{text}");
    }
}

#[test]
fn what_reads_alike_stays_what_it_was() {
    // Bound over the alias `c`, each is the tree of the text beside it.
    for (text, meant) in [
        ("id + 2 * id = 7", "(c.id + (2 * c.id)) = 7"),
        ("id = 1 + 2", "c.id = (1 + 2)"),
        (
            "open AND id = 1 OR owner = 'x'",
            "(c.open AND c.id = 1) OR c.owner = 'x'",
        ),
        ("NOT id = 1", "NOT (c.id = 1)"),
        ("id IN (1, 2)", "c.id = 1 OR c.id = 2"),
        ("id IN (1)", "c.id = 1"),
        ("id NOT IN (1, 2)", "c.id <> 1 AND c.id <> 2"),
        ("id BETWEEN 1 AND 2", "c.id >= 1 AND c.id <= 2"),
        ("NOT id NOT BETWEEN 1 AND 2", "NOT (c.id < 1 OR c.id > 2)"),
        ("(id < 3) = open", "(c.id < 3) = c.open"),
        ("- id < -1", "(- c.id) < (-1)"),
        ("id = ANY (ARRAY[1, 2])", "c.id = ANY (ARRAY[1, 2])"),
        ("owner = ANY (tags)", "c.owner = ANY (c.tags)"),
        (
            "CASE region WHEN 'x' THEN open ELSE false END",
            "CASE WHEN c.region = 'x' THEN c.open ELSE false END",
        ),
        ("open IS NOT FALSE", "c.open IS NOT FALSE"),
        (
            "(extra -> 'a') ->> 'b' = 'x'",
            "((c.extra -> 'a') ->> 'b') = 'x'",
        ),
        ("extra ->> 'b' = 'x'", "(c.extra ->> 'b') = 'x'"),
        (
            "owner || 'x' LIKE 'a' || '%'",
            "(c.owner || 'x') ~~ ('a' || '%')",
        ),
        (
            "COALESCE(region, 'x') = 'y'",
            "COALESCE(c.region, 'x') = 'y'",
        ),
        ("tags[1] = 'x'", "c.tags[1] = 'x'"),
        ("owner = CURRENT_USER", "c.owner = CURRENT_USER"),
    ] {
        assert_eq!(
            shape(&sql(text)),
            shape(&format!("({meant})")),
            "{text}: {}",
            sql(text)
        );
    }
}

/// The tree of a condition without places and schemas, fully parenthesised by its very form.
fn shape(condition: &str) -> String {
    let bare = condition
        .replace("OPERATOR(pg_catalog.", "\u{1}")
        .replace("pg_catalog.", "")
        .replace('"', "");
    // `OPERATOR(pg_catalog.=)` binds otherwise than `=`: keep it as a qualified operator and strip it from the tree.
    let text = match bare.contains('\u{1}') {
        true => condition.to_owned(),
        false => bare,
    };
    let parsed = pg_query::parse(&format!("SELECT {text}"), 0)
        .unwrap()
        .protobuf;
    let debug = format!("{parsed:?}");
    let pg = "Node { node: Some(String(String { sval: \"pg_catalog\" })) }, ";
    let mut kept = String::new();
    for piece in debug.replace(pg, "").split("location: ") {
        kept.push_str(piece.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()));
    }
    let numbers = ["list_start: ", "list_end: ", "stmt_len: "];
    for number in numbers {
        kept = kept
            .split(number)
            .map(|piece| piece.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()))
            .collect();
    }
    kept
}

#[test]
fn casts_and_literals_name_their_types_schema() {
    for (text, part) in [
        ("id::text = 'x'", "::pg_catalog.text"),
        ("since > date '2026-01-01'", "::pg_catalog.date"),
        ("owner = 'x'::crm.grade", "::crm.grade"),
        ("owner COLLATE \"C\" < 'x'", "COLLATE pg_catalog.\"C\""),
    ] {
        let found = sql(text);
        assert!(found.contains(part), "{text}: {found}");
    }
}

#[test]
fn subqueries_reach_the_relation_and_nothing_reaches_into_them() {
    assert_eq!(
        sql(
            "EXISTS (SELECT * FROM crm.team c WHERE c.agent = {app_user} AND c.region = contacts.region)"
        ),
        "(EXISTS (SELECT * FROM crm.team pgveil_rule_1 WHERE pgveil_rule_1.agent OPERATOR(pg_catalog.=) 'ann' \
         AND pgveil_rule_1.region OPERATOR(pg_catalog.=) \"c\".\"region\"))"
    );
    // The inner relation of that name comes first.
    assert_eq!(
        sql("id IN (SELECT contacts.id FROM crm.contacts WHERE crm.contacts.owner = {app_user})"),
        "(\"c\".\"id\" OPERATOR(pg_catalog.=) ANY (SELECT pgveil_rule_1.id FROM crm.contacts pgveil_rule_1 \
         WHERE pgveil_rule_1.owner OPERATOR(pg_catalog.=) 'ann'))"
    );
    assert!(
        sql("region IN (SELECT t.region FROM crm.team t JOIN crm.desk d ON d.agent = t.agent WHERE d.desk = 'x')")
            .contains("JOIN crm.desk pgveil_rule_2 ON pgveil_rule_2.agent OPERATOR(pg_catalog.=) pgveil_rule_1.agent")
    );
}

#[test]
fn what_is_no_single_safe_condition_is_turned_down() {
    for (text, expected) in [
        ("1=1) OR (1=1", "closes what the rule did not open"),
        ("owner = 'x' -- comment", "holds no comments"),
        ("owner = /* x */ 'x'", "holds no comments"),
        ("true; DROP TABLE x", "holds no `;`"),
        ("owner = $1", "has no parameters"),
        ("true GROUP BY 1", "syntax error"),
        ("true UNION SELECT 1", "syntax error"),
        ("", "syntax error"),
        (
            "owner = {app_user} AND",
            "the rule ends where more is expected",
        ),
        ("owner = '{app_user}'", "in quotes"),
        ("owner = 'x{app_user}y'", "in quotes"),
        ("owner = E'\\'{app_user}'", "in quotes"),
        ("owner = $${app_user}$$", "in quotes"),
        ("\"{app_user}\" = 'x'", "in quotes"),
        ("owner = 'x'\n{app_user}", "in quotes"),
        ("owner = {user}", "no value is called `{user}`"),
        ("owner = {app_usr}", "did you mean `{app_user}`?"),
        ("owner = {attr.}", "no value is called"),
        ("owner = {app_user", "a brace stands alone"),
        ("owner = pgveil_x", "pgveil's own"),
        ("onwer = {app_user}", "did you mean `owner`?"),
        ("other.owner = 'x'", "names no relation of the rule"),
        ("contacts IS NOT NULL", "has no column `contacts`"),
        ("contacts.* IS NOT NULL", "cannot hold"),
        ("owner", "true or false"),
        ("1", "true or false"),
        ("random() < 1", "volatile"),
        ("is_mine(owner)", "did you mean `crm.is_mine`?"),
        ("nope(owner)", "does not exist"),
        ("owner <<-> 'x' < 1", "OPERATOR(public.<<->)"),
        ("owner IS DISTINCT FROM 'x'", "IS NULL AND"),
        ("NULLIF(owner, 'x') = 'y'", "CASE WHEN"),
        ("(id, owner) = (1, 'x')", "one by one"),
        (
            "id IN (SELECT id FROM crm.team)",
            "could mean a column of either",
        ),
        ("EXISTS (SELECT 1 FROM team t)", "needs its schema"),
        ("EXISTS (SELECT 1 FROM crm.nope t)", "does not exist"),
        (
            "EXISTS (SELECT 1 FROM crm.team t WHERE t.nope = 1)",
            "has no column `nope`",
        ),
        (
            "EXISTS (SELECT 1 FROM crm.team t JOIN crm.desk d USING (agent))",
            "ON a.x = b.x",
        ),
        (
            "EXISTS (WITH q AS (SELECT 1) SELECT 1 FROM crm.team t)",
            "`WITH`",
        ),
        (
            "EXISTS (SELECT 1 FROM crm.team t FOR UPDATE)",
            "`FOR UPDATE`",
        ),
        ("count(*) OVER () > 1", "window function"),
        ("id::nope = 1", "is no type"),
        ("id::grade = 1", "did you mean `crm.grade`?"),
        ("owner COLLATE german < 'x'", "needs its schema"),
    ] {
        match bind(text) {
            Ok(rule) => panic!("{text}: {:?}", rule.parts),
            Err(message) => assert!(message.contains(expected), "{text}: {message}"),
        }
    }
}

#[test]
fn a_deep_rule_is_read_or_turned_down_without_running_out_of_stack() {
    for text in [
        format!("{}open", "NOT ".repeat(1_000)),
        format!("id = {}1", "- ".repeat(2_000)),
        format!("{}open{}", "(".repeat(2_000), ")".repeat(2_000)),
        format!("id = 1{}", " + 1".repeat(1_000)),
    ] {
        let _ = bind(&text);
    }
    assert!(
        bind(&"x".repeat(5_000))
            .unwrap_err()
            .contains("longer than")
    );
}

#[test]
fn what_a_rule_reads_besides_can_be_stood_in_for() {
    let catalog = catalog();
    let relation = catalog.relation("crm", "contacts").unwrap();
    let text = "id IN (SELECT t.contact_id FROM crm.team t WHERE t.agent = {app_user})";
    let rule = Condition::read(text)
        .and_then(|condition| condition.bind_apart(relation, &catalog))
        .unwrap();
    let sql = rule.sql("c", |_| None);
    assert!(!sql.contains("crm.team"), "{sql}");
    assert!(sql.contains("NULL::"), "{sql}");
    assert!(rule.has_subquery());
    let condition = Condition::read("id = 1").unwrap();
    assert_eq!(
        condition.bind_apart(relation, &catalog),
        condition.bind(relation, &catalog)
    );
}

#[test]
fn a_rule_tells_whether_it_reads_other_relations() {
    assert!(!bind("owner = {app_user}").unwrap().has_subquery());
    assert!(
        bind("id IN (SELECT t.contact_id FROM crm.team t)")
            .unwrap()
            .has_subquery()
    );
}

/// Every client sets `TimeZone`, `DateStyle` and their like for itself.
#[test]
fn a_rule_that_settings_move_is_turned_down() {
    let mut wrong = Vec::new();
    for (text, setting) in [
        ("seen >= '2024-06-01'", "TimeZone"),
        ("'2024-06-01 00:00' <= seen", "TimeZone"),
        (
            "seen BETWEEN '2024-06-01' AND '2024-07-01 00:00+00'",
            "TimeZone",
        ),
        ("seen IN ('2024-06-01 00:00+00', '2024-06-02')", "TimeZone"),
        ("seen = ANY ('{{2024-06-01}}')", "TimeZone"),
        ("seen = ANY (ARRAY['2024-06-01'])", "TimeZone"),
        ("'2024-06-01' = ANY (seens)", "TimeZone"),
        ("seen >= timestamptz '2024-06-01'", "TimeZone"),
        ("seen >= '2024-06-01'::timestamp with time zone", "TimeZone"),
        ("seen >= '2024-06-01 00:00 UTC'", "TimeZone"),
        ("seen >= 'today'", "TimeZone"),
        ("seen <@ tstzrange('2024-06-01', NULL)", "TimeZone"),
        ("tstzrange(seen, NULL) @> '2024-06-01'", "TimeZone"),
        ("seen <@ '[2024-06-01,)'::tstzrange", "TimeZone"),
        ("seen >= {attr.since}", "TimeZone"),
        ("seen >= date '2024-06-01'", "TimeZone"),
        ("seen >= made", "TimeZone"),
        ("day >= seen", "TimeZone"),
        ("seen::date >= '2024-06-01'", "TimeZone"),
        ("made::timestamptz > now()", "TimeZone"),
        ("day >= current_date", "TimeZone"),
        ("made >= localtimestamp", "TimeZone"),
        ("day >= now()::date", "TimeZone"),
        ("now() - made < interval '3 days'", "TimeZone"),
        ("date_trunc('day', seen) = now()", "TimeZone"),
        ("extract(year from seen) = 2024", "TimeZone"),
        ("age(made) < interval '1 year'", "TimeZone"),
        ("coalesce(seen, made) > now()", "TimeZone"),
        (
            "CASE WHEN id > 1 THEN day ELSE seen END > now()",
            "TimeZone",
        ),
        ("day >= '01/06/2024'", "DateStyle"),
        ("day >= 'yesterday'", "DateStyle"),
        ("note::date >= '2024-06-01'", "DateStyle"),
        ("day::text = '2024-06-01'", "DateStyle"),
        ("share::text = '0.1'", "DateStyle"),
        ("note = 'x' || day", "DateStyle"),
        ("concat(seen, 'x') = note", "DateStyle"),
        ("took > '-1 days 2:00'", "IntervalStyle"),
        ("to_char(seen, 'YYYY') = '2024'", "settings"),
        ("note = current_setting('app.user')", "settings"),
        ("note = current_schema", "search_path"),
        ("id = 'visits'::regclass::int", "search_path"),
        (
            "to_tsvector(note) IS NOT NULL",
            "default_text_search_config",
        ),
        (
            "(seen AT TIME ZONE 'CET')::date = day",
            "timezone_abbreviations",
        ),
        ("day < (SELECT max(v.seen) FROM crm.visits v)", "TimeZone"),
        (
            "seen > (SELECT q.last FROM (SELECT max(v.day) AS last FROM crm.visits v) q)",
            "TimeZone",
        ),
        (
            "EXISTS (SELECT 1 FROM crm.visits v WHERE v.seen < '2024-06-01')",
            "TimeZone",
        ),
        ("day IN (SELECT v.seen FROM crm.visits v)", "TimeZone"),
    ] {
        match bind_to("visits", text, &catalog()) {
            Err(message) if message.contains(setting) => {}
            Err(message) => wrong.push(format!("{text}: {message}")),
            Ok(_) => wrong.push(format!("{text}: taken")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_rule_that_says_its_zone_is_taken() {
    let mut wrong = Vec::new();
    for text in [
        "seen >= '2024-06-01 00:00+08'",
        "seen >= '2024-06-01T00:00:00Z'",
        "seen >= timestamptz '2024-06-01 00:00:00.5-03:30'",
        "seen < 'infinity' AND day > '-infinity'",
        "seen = ANY ('{{2024-06-01 00:00+00,2024-06-02 00:00+00}}')",
        "seen > now() - interval '30 days'",
        "seen + took > now()",
        "seen BETWEEN now() - interval '1 month' AND now()",
        "now() - seen < interval '2 hours'",
        "seen <@ tstzrange('2024-06-01 00:00+00', NULL, '[)')",
        "day >= '2024-06-01' AND made < '2024-06-01 08:00'",
        "day >= (now() AT TIME ZONE interval '08:00')::date",
        "(seen AT TIME ZONE interval '0')::date = day",
        "(seen AT TIME ZONE 'Asia/Shanghai')::date = day",
        "made AT TIME ZONE interval '08:00' > now()",
        "day >= {attr.since}::date",
        "day + 30 > made AND made - interval '1 day' < day",
        "extract(epoch from seen) > 1000",
        "date_trunc('month', made) = '2024-06-01'",
        "concat(note, id) = 'x1'",
        "note || id = 'x1' AND id::text = '1'",
        "to_tsvector('english', note) IS NOT NULL",
        "seen > (SELECT max(v.seen) FROM crm.visits v WHERE v.seen < '2024-06-01 00:00+00')",
        "note = current_user OR note LIKE 'a%'",
        "share > 0.5 AND share < '0.7'",
    ] {
        if let Err(message) = bind_to("visits", text, &catalog()) {
            wrong.push(format!("{text}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// From version 18 on a session's zone can be made to abbreviate itself as any name (`SET timezone = '<ASIA/SHANGHAI>5'`).
#[test]
fn a_zone_by_its_name_is_the_clients_from_version_18_on() {
    let mut catalog = catalog();
    catalog.server_version = 180_000;
    let by_name = "(seen AT TIME ZONE 'Asia/Shanghai')::date = day";
    assert!(bind_to("visits", by_name, &catalog).is_err());
    let by_offset = "(seen AT TIME ZONE interval '08:00')::date = day";
    assert!(bind_to("visits", by_offset, &catalog).is_ok());
}

/// In a zone such as `XXX0YYY-167` a day has as many hours as the client likes.
#[test]
fn days_before_a_moment_are_counted_in_utc() {
    let rule = bind_to("visits", "seen > now() - interval '30 days'", &catalog()).unwrap();
    assert_eq!(
        rule.sql("\"c\"", |_| None),
        "(\"c\".\"seen\" OPERATOR(pg_catalog.>) pg_catalog.timezone('00:00:00'::interval, \
         pg_catalog.timezone('00:00:00'::interval, pg_catalog.now()) OPERATOR(pg_catalog.-) '30 days'::interval))"
    );
}
