//! A catalog and a role like those of a small CRM.
use std::collections::HashMap;
use std::sync::Arc;

use pgveil::catalog::{
    Catalog, Column, ColumnSource, Function, Relation, RelationKind, RewriteRule, RuleEvent, Type,
    TypeKind, Volatility,
};
use pgveil::policy::compiled::{ColumnMask, MaskSql, RolePolicy, RowRule, RulePart, SessionValue};
use pgveil::sql::plan::{Plan, SessionFacts};
use pgveil::sql::template::{SessionValues, Templates};

/// `name volatility` of pg_catalog's functions in PostgreSQL 15.
const FUNCTIONS: &str = include_str!("functions.txt");

pub const CONTACTS: u32 = 16_400;
pub const ORDERS: u32 = 16_410;
pub const PARENT: u32 = 16_420;
pub const VIEW: u32 = 16_430;
/// With rules of the rewrite system.
pub const RULED: u32 = 16_450;
/// With a column that a constraint ties to a masked one, and a view of it that shows neither masked column nor mask.
pub const PAY: u32 = 16_460;
pub const PAY_VIEW: u32 = 16_461;
/// New rows of it are held against masked values.
pub const BOOKINGS: u32 = 16_462;
pub const SETTINGS: u32 = 12_001;
/// With a column that the role may not name.
pub const SEALED: u32 = 16_463;
/// Under a row rule, with a column that is looked up.
pub const TICKETS: u32 = 16_440;

pub struct Fixture {
    pub catalog: Catalog,
    pub role: RolePolicy,
    pub templates: Templates,
    pub values: SessionValues,
}

impl Fixture {
    pub fn new() -> Self {
        let catalog = catalog();
        let mut role = role();
        pgveil::policy::system::guard(&mut role, &catalog);
        Fixture {
            catalog,
            role,
            templates: Templates::new(16 << 20),
            values: SessionValues::from([(SessionValue::AppUser, "o'neil".to_owned())]),
        }
    }

    pub fn plan(&self, text: &str) -> Plan {
        self.plan_in("crm, public", text)
    }

    pub fn plan_in(&self, search_path: &str, text: &str) -> Plan {
        let facts = SessionFacts {
            values: self.values.clone().into(),
            search_path: search_path.into(),
            user: "agent".into(),
            // As of a Parse that leaves the types of parameters to the server.
            parameters: Some(Vec::new()),
            ..SessionFacts::default()
        };
        pgveil::sql::planner::plan(text, &self.catalog, &self.role, &facts, &self.templates)
    }
}

fn relation(oid: u32, schema: &str, name: &str, columns: &[&str]) -> Relation {
    Relation {
        oid,
        schema: schema.into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns: columns
            .iter()
            .zip(1..)
            .map(|(name, num)| Column {
                num,
                name: (*name).into(),
                type_oid: 25,
                typmod: -1,
                type_sql: "pg_catalog.text".into(),
                not_null: false,
                generated_from: if *name == "search" {
                    vec![2]
                } else {
                    Vec::new()
                },
            })
            .collect(),
        primary_key: vec![1],
        unique: vec![1],
        parents: Vec::new(),
        sources: Vec::new(),
        extension: None,
    }
}

#[allow(clippy::field_reassign_with_default)] // the indexes are private
fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    catalog.version = 1;
    catalog.database = "crmdb".into();
    catalog.server_version = 150_000;
    catalog
        .schemas
        .extend(["pg_catalog", "public", "attacker", "information_schema"].map(String::from));
    catalog.insert(relation(
        CONTACTS,
        "crm",
        "contacts",
        &["id", "name", "phone", "region", "search"],
    ));
    // Of the name of a protected relation.
    catalog.insert(relation(16_470, "attacker", "contacts", &["id", "tag"]));
    catalog.insert(relation(
        ORDERS,
        "crm",
        "orders",
        &["id", "contact_id", "total"],
    ));
    catalog.insert(relation(
        PARENT,
        "public",
        "Odd \"Table\"",
        &["id", "phone"],
    ));
    catalog.insert(relation(
        TICKETS,
        "crm",
        "tickets",
        &["id", "owner", "phone", "note"],
    ));
    let mut view = relation(VIEW, "crm", "v_contacts", &["k", "mobile"]);
    view.kind = RelationKind::View;
    view.sources = vec![
        ColumnSource::Same {
            relation: CONTACTS,
            column: 1,
        },
        ColumnSource::Same {
            relation: CONTACTS,
            column: 3,
        },
    ];
    catalog.insert(view);
    catalog.insert(relation(PAY, "crm", "pay", &["id", "cap", "phone", "note"]));
    let mut view = relation(PAY_VIEW, "crm", "v_pay", &["id", "cap"]);
    view.kind = RelationKind::View;
    view.sources = [1, 2]
        .map(|column| ColumnSource::Same {
            relation: PAY,
            column,
        })
        .into();
    catalog.insert(view);
    catalog.insert(relation(
        BOOKINGS,
        "crm",
        "bookings",
        &["id", "upto", "phone"],
    ));
    catalog.insert(relation(SEALED, "crm", "sealed", &["id", "code", "note"]));
    catalog.insert(relation(RULED, "crm", "ruled", &["id", "note"]));
    let rule = |name: &str, event, definition: &str| RewriteRule {
        name: name.into(),
        event,
        definition: format!("CREATE RULE {name} AS {definition}"),
        calls: Vec::new(),
    };
    catalog.rewrite_rules.insert(
        RULED,
        vec![
            rule(
                "peek",
                RuleEvent::Insert,
                "ON INSERT TO crm.ruled DO ALSO SELECT contacts.phone FROM crm.contacts",
            ),
            rule(
                "keep",
                RuleEvent::Delete,
                "ON DELETE TO crm.ruled DO INSTEAD NOTHING",
            ),
            rule(
                "pass",
                RuleEvent::Update,
                "ON UPDATE TO crm.ruled WHERE (new.id > 1) DO ALSO INSERT INTO crm.orders (id) VALUES (old.id)",
            ),
        ],
    );
    catalog.insert(relation(
        2_615,
        "pg_catalog",
        "pg_namespace",
        &["oid", "nspname"],
    ));
    catalog.insert(relation(
        12_000,
        "pg_catalog",
        "pg_statistic",
        &["starelid", "stavalues1"],
    ));
    catalog.insert(relation(
        SETTINGS,
        "pg_catalog",
        "pg_settings",
        &["name", "setting"],
    ));
    for line in FUNCTIONS.lines() {
        let (name, volatility) = line.split_once(' ').expect("name volatility");
        catalog
            .functions
            .entry(name.into())
            .or_default()
            .push(Function {
                schema: "pg_catalog".into(),
                volatility: match volatility {
                    "i" => Volatility::Immutable,
                    "s" => Volatility::Stable,
                    _ => Volatility::Volatile,
                },
                extension: None,
                security_definer: false,
                built_in: true,
            });
    }
    // What inherits from protected tables, and the other way round, is not open throughout.
    let mut child = relation(16_472, "crm", "old_contacts", &["id"]);
    child.parents = vec![CONTACTS];
    catalog.insert(child);
    catalog.insert(relation(16_473, "crm", "archive", &["id"]));
    let mut child = relation(16_474, "crm", "old_pay", &["id"]);
    child.parents = vec![16_473, PAY];
    catalog.insert(child);
    let mut index = relation(16_471, "crm", "orders_total", &[]);
    index.kind = RelationKind::Other;
    catalog.insert(index);
    catalog.functions.insert(
        "uuid_generate_v4".into(),
        vec![Function {
            schema: "public".into(),
            volatility: Volatility::Volatile,
            extension: Some("uuid-ossp".into()),
            security_definer: false,
            built_in: false,
        }],
    );
    for (name, schema) in [
        ("phone_of", "crm"),
        ("json_value", "crm"),
        ("left", "attacker"),
        ("rank_text", "crm"),
    ] {
        catalog
            .functions
            .entry(name.into())
            .or_default()
            .push(Function {
                schema: schema.into(),
                volatility: Volatility::Stable,
                extension: None,
                security_definer: false,
                built_in: false,
            });
    }
    catalog
        .operators
        .entry("=".into())
        .or_default()
        .push(pgveil::catalog::Operator {
            schema: "attacker".into(),
            extension: None,
        });
    for (oid, name, category) in [
        (25, "text", 'S'),
        (23, "int4", 'N'),
        (1_043, "varchar", 'S'),
        (1_082, "date", 'D'),
        (20, "int8", 'N'),
    ] {
        catalog.insert_type(
            oid,
            Type {
                schema: "pg_catalog".into(),
                name: name.into(),
                kind: TypeKind::Base,
                category,
                base: None,
                extension: None,
            },
        );
    }
    catalog
}

fn role() -> RolePolicy {
    let mask = || {
        HashMap::from([(
            3,
            ColumnMask {
                class: "phone".into(),
                sql: MaskSql::from_template("(pg_catalog.\"left\"(\0, 3))::pg_catalog.text"),
                lookup: false,
                parts: Vec::new(),
            },
        )])
    };
    let second = || {
        HashMap::from([(
            2,
            ColumnMask {
                class: "phone".into(),
                sql: MaskSql::from_template("NULL::pg_catalog.text"),
                lookup: false,
                parts: Vec::new(),
            },
        )])
    };
    let looked_up = HashMap::from([(
        3,
        ColumnMask {
            class: "phone".into(),
            sql: MaskSql::from_template("(pg_catalog.\"left\"(\0, 3))::pg_catalog.text"),
            lookup: true,
            parts: Vec::new(),
        },
    )]);
    let rule = RowRule {
        parts: vec![
            RulePart::Column("owner".into()),
            RulePart::Sql(" OPERATOR(pg_catalog.=) ".into()),
            RulePart::Value(SessionValue::AppUser),
        ],
    };
    RolePolicy {
        full_text: false,
        shares_session: false,
        name: Arc::from("agent"),
        policy: Arc::from("v1"),
        version: 1,
        unmasked: false,
        trial: None,
        masks: HashMap::from([
            (CONTACTS, mask()),
            (PARENT, second()),
            (VIEW, second()),
            (TICKETS, looked_up),
            (PAY, mask()),
            (BOOKINGS, mask()),
        ]),
        protected: [CONTACTS, PARENT, VIEW, TICKETS].into(),
        rows: HashMap::from([(TICKETS, Arc::new(rule))]),
        denied: HashMap::from([(SEALED, [2].into())]),
        anchors: HashMap::new(),
        tied: [PAY, PAY_VIEW]
            .map(|relation| {
                let why: Arc<str> = Arc::from("the CHECK constraint pay_cap of crm.pay");
                (relation, HashMap::from([(2, why)]))
            })
            .into(),
        carried: HashMap::new(),
        probed: HashMap::from([(
            BOOKINGS,
            Arc::from("the exclusion constraint one of crm.bookings"),
        )]),
        closed: HashMap::new(),
        traps: Arc::default(),
        classes: Default::default(),
        subjects: Default::default(),
        export: std::sync::Arc::new(pgveil::policy::ExportRule {
            rows: Some(100),
            ..Default::default()
        }),
        functions: ["crm.rank_text".to_owned()].into(),
        statements: Default::default(),
    }
}
