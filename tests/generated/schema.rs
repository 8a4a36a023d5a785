//! What the generator knows of tests/generated/fixture.sql: relations, types, masks.
use pgveil::policy::mask::{ColumnType, Family, Mask, Step, TimeUnit};

pub const DDL: &str = include_str!("fixture.sql");

/// Types as far as expressions tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ty {
    Int,
    Num,
    Text,
    Bool,
    Date,
    Json,
    Array,
}

pub const TYPES: &[Ty] = &[
    Ty::Int,
    Ty::Num,
    Ty::Text,
    Ty::Bool,
    Ty::Date,
    Ty::Json,
    Ty::Array,
];

impl Ty {
    pub fn sql(self) -> &'static str {
        match self {
            Ty::Int => "int",
            Ty::Num => "numeric",
            Ty::Text => "text",
            Ty::Bool => "bool",
            Ty::Date => "date",
            Ty::Json => "jsonb",
            Ty::Array => "text[]",
        }
    }
}

/// What may be done to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Read,
    /// INSERT, UPDATE, DELETE, MERGE too.
    Write,
}

pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Ty)],
    pub usage: Use,
    pub protected: bool,
    /// Partitions and children exist: ONLY makes a difference.
    pub parent: bool,
    pub view: bool,
}

const fn table(
    name: &'static str,
    columns: &'static [(&'static str, Ty)],
    usage: Use,
    protected: bool,
) -> Table {
    Table {
        name,
        columns,
        usage,
        protected,
        parent: false,
        view: false,
    }
}

const fn parent(table: Table) -> Table {
    Table {
        parent: true,
        ..table
    }
}

const fn view(table: Table) -> Table {
    Table {
        view: true,
        ..table
    }
}

use Ty::{Array, Bool, Date, Int, Json, Num, Text};

pub const TABLES: &[Table] = &[
    table(
        "contacts",
        &[
            ("id", Int),
            ("full_name", Text),
            ("phone", Text),
            ("email", Text),
            ("salary", Num),
            ("born", Date),
            ("profile", Json),
            ("tags", Array),
            ("score", Int),
            ("vip", Bool),
            ("region", Text),
            ("owner_id", Int),
            ("note", Text),
            ("created", Date),
        ],
        Use::Write,
        true,
    ),
    table(
        "deals",
        &[
            ("id", Int),
            ("contact_id", Int),
            ("amount", Num),
            ("stage", Text),
            ("closed", Date),
            ("meta", Json),
            ("labels", Array),
            ("phone", Text),
            ("won", Bool),
        ],
        Use::Write,
        false,
    ),
    parent(table(
        "events",
        &[
            ("id", Int),
            ("contact_id", Int),
            ("phone", Text),
            ("kind", Text),
            ("happened", Date),
        ],
        Use::Write,
        true,
    )),
    table(
        "events_call",
        &[
            ("id", Int),
            ("contact_id", Int),
            ("phone", Text),
            ("kind", Text),
            ("happened", Date),
        ],
        Use::Read,
        true,
    ),
    parent(table(
        "base",
        &[("id", Int), ("phone", Text), ("region", Text)],
        Use::Write,
        true,
    )),
    table(
        "child",
        &[
            ("id", Int),
            ("phone", Text),
            ("region", Text),
            ("extra", Text),
        ],
        Use::Write,
        true,
    ),
    table(
        "numbers",
        &[("id", Int), ("phone", Text), ("area", Text), ("kind", Text)],
        Use::Read,
        true,
    ),
    table(
        "leads",
        &[
            ("id", Int),
            ("full_name", Text),
            ("phone", Text),
            ("email", Text),
            ("salary", Num),
            ("born", Date),
            ("region", Text),
            ("score", Int),
        ],
        Use::Write,
        false,
    ),
    view(table(
        "v_contacts",
        &[
            ("id", Int),
            ("full_name", Text),
            ("phone", Text),
            ("salary", Num),
            ("region", Text),
            ("owner_id", Int),
        ],
        Use::Read,
        true,
    )),
    view(table(
        "v_regions",
        &[
            ("k", Int),
            ("mobile", Text),
            ("shouted", Text),
            ("region", Text),
        ],
        Use::Read,
        true,
    )),
    view(table(
        "v_deals",
        &[
            ("id", Int),
            ("amount", Num),
            ("stage", Text),
            ("region", Text),
            ("phone", Text),
        ],
        Use::Read,
        true,
    )),
    view(table(
        "m_contacts",
        &[("id", Int), ("phone", Text), ("region", Text)],
        Use::Read,
        true,
    )),
];

pub fn find(name: &str) -> &'static Table {
    TABLES
        .iter()
        .find(|table| table.name == name)
        .expect("a table of the fixture")
}

pub const POLICY: &str = r#"
version: 1
data:
  person: { columns: [crm.contacts.full_name] }
  phone: { columns: [crm.contacts.phone, crm.events.phone, crm.base.phone, crm.numbers.phone] }
  email: { columns: [crm.contacts.email] }
  salary: { columns: [crm.contacts.salary] }
  birth: { columns: [crm.contacts.born] }
  profile: { columns: [crm.contacts.profile, crm.contacts.tags] }
  score: { columns: [crm.contacts.score] }
  vip: { columns: [crm.contacts.vip] }
roles:
  agent:
    who: [{ db_user: crm_app }]
    mask:
      person: { show: { first: 1, last: 0 } }
      phone: { show: { first: 3, last: 4 } }
      email: { email: { first: 1 } }
      salary: { bucket: 5000 }
      birth: { truncate: year }
      profile: redact
      score: { round: 100 }
      vip: "null"
    functions: { allow: [crm.initials] }
  clear: { who: [{ db_user: crm_clear }], unmasked: true }
unmatched: deny
"#;

/// Table, masked column, its mask and type: as [`POLICY`] says it.
pub fn masks() -> Vec<(&'static str, &'static str, String)> {
    let step = |text: &str| Step::parse(text).expect("a step");
    let phone = Mask::Show {
        first: 3,
        last: 4,
        char: '*',
    };
    let name = Mask::Show {
        first: 1,
        last: 0,
        char: '*',
    };
    let of = |table, column: &'static str, mask: &Mask, family, sql: &str| {
        let data_type = ColumnType {
            family,
            sql: sql.into(),
            typmod: -1,
            element: None,
            shown: sql.into(),
        };
        let masked = mask.sql(&format!("\"{column}\""), &data_type);
        (table, column, masked.expect("the mask takes the type"))
    };
    let text = "pg_catalog.text";
    let year = Mask::Truncate(TimeUnit::Year);
    vec![
        of("contacts", "full_name", &name, Family::Text, text),
        of(
            "contacts",
            "phone",
            &phone,
            Family::Varchar,
            "pg_catalog.varchar(20)",
        ),
        of(
            "contacts",
            "email",
            &Mask::Email { first: 1 },
            Family::Text,
            text,
        ),
        of(
            "contacts",
            "salary",
            &Mask::Bucket(step("5000")),
            Family::Numeric,
            "pg_catalog.numeric(12,2)",
        ),
        of("contacts", "born", &year, Family::Date, "pg_catalog.date"),
        of(
            "contacts",
            "profile",
            &Mask::Redact,
            Family::Json,
            "pg_catalog.jsonb",
        ),
        of(
            "contacts",
            "tags",
            &Mask::Redact,
            Family::Array,
            "pg_catalog.text[]",
        ),
        of(
            "contacts",
            "score",
            &Mask::Round(step("100")),
            Family::Int4,
            "pg_catalog.int4",
        ),
        of(
            "contacts",
            "vip",
            &Mask::Null,
            Family::Bool,
            "pg_catalog.bool",
        ),
        of("events", "phone", &phone, Family::Text, text),
        of("base", "phone", &phone, Family::Text, text),
        of("numbers", "phone", &phone, Family::Text, text),
    ]
}
