//! Case files: what is said about a configuration or policy, and what a policy compiles to.
//!
//! Each file under `tests/cases/<kind>/` ends in the expected findings as lines `#> ...`. With `PGVEIL_BLESS=1` the
//! lines are written anew from what happens; read the difference before you commit it.
use std::fs;
use std::path::{Path, PathBuf};

use pgveil::catalog::{
    Catalog, Column, ColumnSource, Function, Oid, Relation, RelationKind, Type, TypeKind,
    ViewReads, Volatility,
};
use pgveil::catalog::{Tie, TieKind};
use pgveil::config::{Diagnostics, Severity};
use pgveil::policy::{self, Asking, Caller, CompiledPolicy, Directory, PolicySet, RolePolicy};

const EXPECTED: &str = "#> ";
/// In place of these where it is built with Kafka, in a file that has any.
const EXPECTED_WITH_KAFKA: &str = "#kafka> ";

fn prefix(text: &str) -> &'static str {
    let differs = text
        .lines()
        .any(|line| line.starts_with(EXPECTED_WITH_KAFKA));
    match cfg!(feature = "kafka") && differs {
        true => EXPECTED_WITH_KAFKA,
        false => EXPECTED,
    }
}

fn each_case(kind: &str, outcome: impl Fn(&Path) -> Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("no case folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    }) {
        let text = fs::read_to_string(file).expect("a case file");
        let prefix = prefix(&text);
        let expected: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(prefix))
            .collect();
        let found = outcome(file);
        if expected == found {
            continue;
        }
        if std::env::var_os("PGVEIL_BLESS").is_some() {
            let kept: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with(prefix))
                .collect();
            let found: Vec<String> = found.iter().map(|line| format!("{prefix}{line}")).collect();
            fs::write(
                file,
                format!("{}\n{}\n", kept.join("\n").trim_end(), found.join("\n")),
            )
            .expect("cannot bless");
            continue;
        }
        wrong.push(format!(
            "{}\nexpected:\n{}\nfound:\n{}",
            file.display(),
            expected.join("\n"),
            found.join("\n")
        ));
    }
    assert!(files.len() > 1, "no case in {}", folder.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// `line:column: severity: message (suggestion)`
fn lines(findings: &Diagnostics) -> Vec<String> {
    findings
        .iter()
        .map(|finding| {
            let place = match (finding.line, finding.column) {
                (Some(line), Some(column)) => format!("{line}:{column}"),
                _ => "file".to_owned(),
            };
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let help = finding
                .suggestion
                .as_ref()
                .map(|help| format!(" ({help})"))
                .unwrap_or_default();
            let folder = format!(
                "{}/",
                finding.file.parent().unwrap_or(Path::new("")).display()
            );
            format!("{place}: {severity}: {}{help}", finding.message).replace(&folder, "")
        })
        .collect()
}

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("6000".to_owned()),
        "PASSWORD" => Some("hunter2".to_owned()),
        "YES" => Some("true".to_owned()),
        "STATE" => Some("postgres://pgveil:hunter2@db:6543/state?sslmode=require".to_owned()),
        "HOOK" => Some("https://hooks.example.com/hunter2".to_owned()),
        "SECRET" => Some("hunter2-and-many-more-letters".to_owned()),
        "WORD" => Some("hunter2-as-a-port".to_owned()),
        _ => None,
    }
}

#[test]
fn configurations_are_checked() {
    each_case("config", |file| {
        match pgveil::config::load_with(file, &environment) {
            Err(findings) => {
                assert!(
                    !findings.to_string().contains("hunter2"),
                    "a finding shows a secret:\n{findings}"
                );
                lines(&findings)
            }
            Ok(settings) => {
                let shown = format!("{settings:?}");
                assert!(!shown.contains("hunter2"), "the settings show a secret");
                let folder = format!("{}/", file.parent().expect("a folder").display());
                let shown = format!("{settings:#?}").replace(&folder, "");
                shown
                    .lines()
                    .map(str::trim_end)
                    .map(str::to_owned)
                    .collect()
            }
        }
    });
}

#[test]
fn policies_are_checked() {
    each_case("policy", |file| match policy::load(file) {
        Err(findings) => lines(&findings),
        Ok(policy) => {
            let mut shown = lines(&policy.warnings);
            for user in ["crm_agent", "crm_app", "dpo", "nobody"] {
                let caller = Caller {
                    db_user: user.to_owned(),
                    database: "crm".to_owned(),
                    address: [127, 0, 0, 1].into(),
                    certificate: None,
                    application_name: String::new(),
                    token: None,
                };
                let asking = Asking {
                    caller: &caller,
                    app_user: None,
                    now: std::time::SystemTime::now(),
                };
                let role = policy
                    .match_role(asking, &Directory::None)
                    .expect("no directory")
                    .map_or("denied".to_owned(), |role| role.name.to_string());
                shown.push(format!("{user}: {role}"));
            }
            shown
        }
    });
}

#[test]
fn policies_compile_against_a_catalog() {
    let catalog = crm();
    each_case("compile", |file| match policy::load(file) {
        Err(findings) => lines(&findings),
        Ok(policy) => compiled(&policy, &catalog),
    });
}

/// What is right and perhaps not what was meant.
#[test]
fn policies_are_reviewed() {
    let mut catalog = crm();
    let columns = "pin varchar, code varchar, price numeric, day date, n int4, ip inet";
    let mut codes = table(40, "crm.codes", RelationKind::Table, columns, &[]);
    codes.columns[0].typmod = 4 + 4;
    codes.columns[0].type_sql = "pg_catalog.varchar(4)".into();
    codes.columns[1].typmod = 4 + 6;
    codes.columns[1].type_sql = "pg_catalog.varchar(6)".into();
    codes.columns[2].typmod = 4 + ((10 << 16) | 2);
    codes.columns[2].type_sql = "pg_catalog.numeric(10,2)".into();
    catalog.insert(codes);
    each_case("review", |file| match policy::load(file) {
        Err(findings) => lines(&findings),
        Ok(policy) => {
            let mut shown = lines(&policy.warnings);
            shown.extend(lines(&policy.review([&catalog])));
            let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
            let users = names(&["a", "b", "arzt", "pg_monitor"]);
            let databases = names(&["klinik", "postgres"]);
            shown.extend(lines(&policy.strangers(&users, &databases)));
            shown
        }
    });
}

fn compiled(policy: &PolicySet, catalog: &Catalog) -> Vec<String> {
    let (compiled, findings) = policy.compile(catalog);
    let (again, _) = policy.compile(catalog);
    let mut shown = lines(&findings);
    let mut roles: Vec<_> = compiled.roles.values().collect();
    roles.sort_by(|a, b| a.name.cmp(&b.name));
    for role in roles {
        assert_eq!(
            role.version, again.roles[&role.name].version,
            "the version of one policy is one number"
        );
        let mut masks: Vec<String> = Vec::new();
        for (oid, columns) in &role.masks {
            let relation = &catalog.relations[oid];
            assert!(
                role.protected.contains(oid),
                "a masked relation is protected"
            );
            for (num, mask) in columns {
                let column = relation.column_number(*num).expect("a column");
                masks.push(format!(
                    "{}: {}.{} {}{}: {}",
                    role.name,
                    relation.full_name(),
                    column.name,
                    mask.class,
                    if mask.lookup { " (lookup)" } else { "" },
                    short(&mask.sql.over("", &column.name))
                ));
            }
        }
        masks.sort();
        shown.extend(masks);
        let mut rows: Vec<String> = Vec::new();
        for (oid, rule) in &role.rows {
            assert!(
                role.protected.contains(oid),
                "a ruled relation is protected"
            );
            let sql = rule.sql("r", |value| Some(format!("{value:?}")));
            let name = catalog.relations[oid].full_name();
            rows.push(format!("{}: rows of {name}: {sql}", role.name));
        }
        for (oid, reason) in &role.closed {
            assert!(
                !role.rows.contains_key(oid),
                "a closed relation has no rule"
            );
            let name = catalog.relations[oid].full_name();
            rows.push(format!("{}: closed {name}: {reason}", role.name));
        }
        for (oid, columns) in &role.denied {
            let relation = &catalog.relations[oid];
            let mut names: Vec<&str> = columns
                .iter()
                .map(|num| {
                    relation
                        .column_number(*num)
                        .expect("a column")
                        .name
                        .as_str()
                })
                .collect();
            names.sort_unstable();
            rows.push(format!(
                "{}: denied {} {}",
                role.name,
                relation.full_name(),
                names.join(" ")
            ));
        }
        for ((oid, num), traps) in role.traps.iter() {
            let relation = &catalog.relations[oid];
            let column = relation.column_number(*num).expect("a column");
            for trap in traps {
                let (relation, column) = (relation.full_name(), &column.name);
                rows.push(format!(
                    "{}: trap {}: {relation}.{column}",
                    role.name, trap.name
                ));
            }
        }
        rows.sort();
        shown.extend(rows);
        let mut protected: Vec<String> = role
            .protected
            .iter()
            .map(|oid| catalog.relations[oid].full_name())
            .collect();
        protected.sort();
        shown.push(format!("{}: protected {}", role.name, protected.join(" ")));
        for outside in policy.outsides() {
            shown.extend(elsewhere(&compiled, role, outside, catalog));
        }
    }
    shown
}

/// What is different for who is outside of regions.
fn elsewhere(
    compiled: &CompiledPolicy,
    inside: &RolePolicy,
    outside: u32,
    catalog: &Catalog,
) -> Vec<String> {
    let role = compiled.role(&inside.name, None, outside).expect("a role");
    assert_eq!(role.version == inside.version, role.masks == inside.masks);
    let mut shown = Vec::new();
    for (oid, columns) in &role.masks {
        let relation = &catalog.relations[oid];
        for (num, mask) in columns {
            if inside.mask(*oid, *num) == Some(mask) {
                continue;
            }
            let column = relation.column_number(*num).expect("a column");
            shown.push(format!(
                "{} outside {outside}: {}.{} {}{}: {}",
                role.name,
                relation.full_name(),
                column.name,
                mask.class,
                if mask.lookup { " (lookup)" } else { "" },
                mask.sql.over("", &column.name)
            ));
        }
    }
    for (oid, columns) in &role.anchors {
        let relation = &catalog.relations[oid];
        let names = relation
            .columns
            .iter()
            .filter(|column| columns.contains(&column.num));
        let names: Vec<&str> = names.map(|column| column.name.as_str()).collect();
        shown.push(format!(
            "{} outside {outside}: anchored {} {}",
            role.name,
            relation.full_name(),
            names.join(" ")
        ));
    }
    shown.sort();
    shown
}

/// The SQL of masks has its own test (`masks`); here it only matters which mask it is.
fn short(sql: &str) -> &str {
    for (part, name) in [
        ("NULL::", "null"),
        ("\"ltrim\"", "email"),
        ("\"repeat\"", "show"),
        ("\"mod\"", "number"),
    ] {
        if sql.starts_with(part) || (part != "NULL::" && sql.contains(part)) {
            return name;
        }
    }
    if sql.contains("\"date_trunc\"") {
        return "truncate";
    }
    sql
}

/// A catalog like the demo's, with every way for data to get elsewhere.
fn crm() -> Catalog {
    use RelationKind::{MaterializedView, PartitionedTable, Table, View};
    let mut catalog = Catalog::default();
    for (oid, name, category) in [
        (16, "bool", 'B'),
        (23, "int4", 'N'),
        (25, "text", 'S'),
        (869, "inet", 'I'),
        (1043, "varchar", 'S'),
        (1082, "date", 'D'),
        (1700, "numeric", 'N'),
    ] {
        let data_type = Type {
            schema: "pg_catalog".into(),
            name: name.into(),
            kind: TypeKind::Base,
            category,
            base: None,
            extension: None,
        };
        catalog.insert_type(oid, data_type);
    }
    let domain = Type {
        schema: "crm".into(),
        name: "phone".into(),
        kind: TypeKind::Domain,
        category: 'S',
        base: Some(1043),
        extension: None,
    };
    catalog.insert_type(9000, domain);
    let mood = Type {
        schema: "crm".into(),
        name: "mood".into(),
        kind: TypeKind::Enum,
        category: 'E',
        base: None,
        extension: None,
    };
    catalog.insert_type(9001, mood);
    let lower = Function {
        schema: "pg_catalog".into(),
        volatility: Volatility::Immutable,
        extension: None,
        security_definer: false,
        built_in: true,
    };
    catalog.functions.insert("lower".into(), vec![lower]);
    let rank = Function {
        schema: "crm".into(),
        volatility: Volatility::Immutable,
        extension: None,
        security_definer: false,
        built_in: false,
    };
    catalog
        .functions
        .insert("full_text_rank".into(), vec![rank]);

    let contacts = "id int4, phone varchar, mobile phone, email text, born date, salary numeric, phone_ok bool, mood mood, tail text";
    let mut relation = table(1, "crm.contacts", Table, contacts, &[]);
    relation.columns[8].generated_from = vec![2];
    catalog.insert(relation);
    catalog.insert(table(
        2,
        "crm.leads",
        Table,
        "id int4, work_phone text, phone2 text, city text",
        &[],
    ));
    catalog.insert(table(
        3,
        "crm.events",
        PartitionedTable,
        "id int4, phone text, region text",
        &[],
    ));
    catalog.insert(table(
        4,
        "crm.events_cn",
        Table,
        "id int4, region text, phone text",
        &[3],
    ));
    catalog.insert(table(
        5,
        "crm.events_eu",
        Table,
        "id int4, phone text, region text",
        &[3],
    ));
    catalog.insert(table(6, "crm.base", Table, "id int4, phone text", &[]));
    catalog.insert(table(
        7,
        "crm.child",
        Table,
        "id int4, phone text, email text",
        &[6],
    ));
    catalog.insert(table(
        8,
        "crm.sibling",
        Table,
        "id int4, phone text, email text",
        &[6],
    ));
    catalog.insert(table(
        9,
        "crm.orders",
        Table,
        "id int4, amount numeric, memo text",
        &[],
    ));
    let same = |relation, column| ColumnSource::Same {
        relation: oid(relation),
        column,
    };
    let views = [
        (
            20,
            "crm.v_contacts",
            View,
            "id int4, mobile varchar, mail text",
            vec![same(1, 1), same(1, 2), same(1, 4)],
        ),
        (
            21,
            "crm.v_calls",
            MaterializedView,
            "call text, n int4",
            vec![
                ColumnSource::Computed {
                    from: vec![(oid(20), 2)],
                },
                ColumnSource::Computed { from: vec![] },
            ],
        ),
        (
            22,
            "crm.v_rows",
            View,
            "r text",
            vec![ColumnSource::Computed {
                from: vec![(oid(1), 0)],
            }],
        ),
        (
            23,
            "crm.v_unknown",
            View,
            "x text, y int4",
            vec![ColumnSource::Unknown],
        ),
        (
            24,
            "crm.v_orders",
            View,
            "id int4, memo text",
            vec![same(9, 1), same(9, 3)],
        ),
        (25, "crm.v_cast", View, "born text", vec![same(1, 5)]),
    ];
    for (number, name, kind, columns, sources) in views {
        let mut relation = table(number, name, kind, columns, &[]);
        relation.sources = sources;
        catalog.insert(relation);
    }
    for (view, relations, opaque) in [
        (20, vec![1], false),
        (21, vec![20], false),
        (22, vec![1], false),
        (24, vec![9, 31], false),
        (25, vec![1], true),
    ] {
        let reads = ViewReads {
            relations: relations.into_iter().map(oid).collect(),
            opaque,
            unseen: false,
        };
        catalog.view_reads.insert(oid(view), reads);
    }
    catalog.foreign_keys.insert((oid(2), 1), (oid(1), 1));
    let key = Tie {
        kind: TieKind::PartitionKey,
        name: "events".into(),
        columns: vec![3],
        inherited: false,
        proven: true,
        others: Vec::new(),
        refers: Vec::new(),
    };
    catalog.ties.insert(oid(3), vec![key]);
    let check = Tie {
        kind: TieKind::Check,
        name: "paid".into(),
        columns: vec![1, 2],
        inherited: false,
        proven: false,
        others: Vec::new(),
        refers: Vec::new(),
    };
    catalog.ties.insert(oid(31), vec![check]);
    catalog.insert(table(30, "pg_catalog.pg_phone", Table, "phone text", &[]));
    catalog.insert(table(
        31,
        "hr.employees",
        Table,
        "id int4, salary numeric",
        &[],
    ));
    catalog
}

/// Smaller ones belong to what initdb makes.
fn oid(number: Oid) -> Oid {
    20_000 + number
}

fn table(number: Oid, name: &str, kind: RelationKind, columns: &str, parents: &[Oid]) -> Relation {
    let (schema, name) = name.split_once('.').expect("a schema");
    let columns = columns
        .split(", ")
        .zip(1..)
        .map(|(column, num)| {
            let (name, data_type) = column.split_once(' ').expect("a type");
            let (type_oid, typmod, type_sql) = match data_type {
                "int4" => (23, -1, "integer"),
                "text" => (25, -1, "pg_catalog.text"),
                "varchar" => (1043, 24, "character varying(20)"),
                "phone" => (9000, -1, "crm.phone"),
                "mood" => (9001, -1, "crm.mood"),
                "date" => (1082, -1, "pg_catalog.date"),
                "inet" => (869, -1, "pg_catalog.inet"),
                "numeric" => (1700, 786_438, "numeric(12,2)"),
                _ => (16, -1, "boolean"),
            };
            Column {
                num,
                name: name.into(),
                type_oid,
                typmod,
                type_sql: type_sql.into(),
                not_null: false,
                generated_from: vec![],
            }
        })
        .collect();
    Relation {
        oid: oid(number),
        schema: schema.into(),
        name: name.into(),
        kind,
        columns,
        primary_key: vec![1],
        unique: vec![1],
        parents: parents.iter().copied().map(oid).collect(),
        sources: vec![],
        extension: None,
    }
}

#[test]
fn the_policy_that_ships_is_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let policy = policy::load(&folder).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(policy.warnings.is_empty(), "{}", policy.warnings);
}
