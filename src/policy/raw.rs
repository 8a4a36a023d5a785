//! Policy files as they are written.
//!
//! Keys of the language that are not enforced yet are known here by name, so that the reader of an error learns that
//! the key is right and the version is not; a policy never promises what is not enforced.
use std::fmt;

use crate::config::yaml::Spanned;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::yaml::{Entries, OneOrMany, Scalar, Unsupported};

pub type Leaf = Option<Spanned<Scalar>>;
/// A key of the language that is not enforced yet: present or not is all that matters.
pub type NotYet = Option<Spanned<Unsupported>>;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPolicy {
    /// Version of the language: 1.
    #[schemars(extend("const" = 1))]
    pub version: Leaf,
    /// Classes of sensitive data and the columns that hold them.
    pub data: Option<Entries<Spanned<RawClass>>>,
    /// The first role from the top that matches a session is its role.
    pub roles: Option<Entries<Spanned<RawRole>>>,
    /// A session that no role matches: `deny`, or the name of a role.
    #[schemars(extend("type" = "string"))]
    pub unmatched: Leaf,
    /// What row rules know of the people who use the database: attributes by person.
    pub people: Option<Entries<Spanned<Entries<Spanned<Scalar>>>>>,
    /// Groups of people, by the names that applications give them.
    pub groups: Option<Entries<Spanned<OneOrMany>>>,
    /// Database users that an application shares among its own users, and where it names them.
    pub applications: Option<Entries<Spanned<RawApplication>>>,
    /// A query on a database that knows groups and attributes of people.
    pub directory: Option<Spanned<RawDirectory>>,
    /// Places whose rows are to be seen from there alone.
    pub regions: Option<Entries<Spanned<RawRegion>>>,
    /// Rows that nobody has a reason to touch, by values that only they have.
    pub traps: Option<Entries<Spanned<RawTrap>>>,
    pub subject: NotYet,
    pub retention: NotYet,
    pub audit: NotYet,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawClass {
    /// A grade for reports.
    #[schemars(extend("type" = "integer", "minimum" = 0, "maximum" = 9))]
    pub level: Leaf,
    /// `schema.table.column`; each part may hold `*`.
    pub columns: Option<Spanned<OneOrMany>>,
    /// What a column that matches nothing is: `error` (default) or `warn`.
    #[schemars(extend("enum" = ["error", "warn"]))]
    pub missing: Leaf,
    /// `true`: nobody has a reason to touch these columns; whoever does raises an alarm.
    #[schemars(extend("type" = "boolean"))]
    pub alarm: Leaf,
    /// What the data may be used for: for anything else it is redacted.
    pub purposes: Option<Spanned<OneOrMany>>,
    /// What becomes of rows of a region for who is not there: `hide` (default), or a mask for this class.
    pub outside: Option<Spanned<RawMask>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTrap {
    /// `schema.table.column` of what holds the values; each part may hold `*`.
    pub columns: Option<Spanned<OneOrMany>>,
    /// One value or a list.
    pub values: Option<Spanned<OneOrMany>>,
    /// What a column that matches nothing is: `error` (default) or `warn`.
    #[schemars(extend("enum" = ["error", "warn"]))]
    pub missing: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRole {
    /// Any of these makes a session one of this role.
    pub who: Option<Spanned<Vec<Spanned<RawWho>>>>,
    /// Masks by class.
    pub mask: Option<Entries<Spanned<RawMask>>>,
    pub export: Option<Spanned<RawExport>>,
    pub functions: Option<Spanned<RawAllow>>,
    pub statements: Option<Spanned<RawAllow>>,
    /// Sees everything; statements are still recorded.
    #[schemars(extend("type" = "boolean"))]
    pub unmasked: Leaf,
    /// `false`: nothing of the rules is done, and everything is put on record as it would have been.
    #[schemars(extend("type" = "boolean"))]
    pub enforce: Leaf,
    /// Columns that no class names: `pass` (default), `redact` or `deny`.
    #[schemars(extend("enum" = ["pass", "redact", "deny"]))]
    pub unlisted: Leaf,
    /// Row rules by relation, `schema.name`.
    pub rows: Option<Entries<Spanned<Scalar>>>,
    pub audit: Option<Spanned<RawRoleAudit>>,
    /// What everything is for that the role does.
    pub purpose: Leaf,
    pub when: NotYet,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRoleAudit {
    /// `normalised` (default) or `full`.
    #[schemars(extend("enum" = ["normalised", "full"]))]
    pub text: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWho {
    /// One database user or a list.
    pub db_user: Option<Spanned<OneOrMany>>,
    pub database: Option<Spanned<OneOrMany>>,
    /// Subject of the client's certificate, as the record has it.
    pub client_subject: Option<Spanned<OneOrMany>>,
    /// Common name in that subject.
    pub client_cn: Option<Spanned<OneOrMany>>,
    /// Addresses that the client may come from, `10.0.0.0/8`.
    pub network: Option<Spanned<OneOrMany>>,
    /// What the client says it is; proved by nothing.
    pub application_name: Option<Spanned<OneOrMany>>,
    pub when: Option<Spanned<RawWhen>>,
    /// The application's own user.
    pub app_user: Option<Spanned<OneOrMany>>,
    /// A group that the application's user is in.
    pub app_user_in: Option<Spanned<OneOrMany>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWhen {
    /// `mon-fri`, or a list.
    pub days: Option<Spanned<OneOrMany>>,
    /// `08:00-18:00`, or a list.
    pub hours: Option<Spanned<OneOrMany>>,
    /// `Europe/Berlin`, `+02:00`; UTC if absent.
    pub zone: Leaf,
    /// A date or a time, from which on the entry holds.
    pub from: Leaf,
    /// A date, whose end, or a time, until which it holds.
    pub until: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDirectory {
    pub database: Leaf,
    /// Gives a login in its first column, `groups` in one of this name, and attributes in all others.
    pub query: Leaf,
    /// How often it is read.
    pub refresh: Leaf,
    /// From which age on what was read is not used any more.
    pub max_age: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRegion {
    /// Where its people sit.
    pub network: Option<Spanned<OneOrMany>>,
    /// Its rows, by relation: the column that says where a row belongs, and the values that mean this region.
    pub rows: Option<Entries<Spanned<RawRegionRows>>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRegionRows {
    pub column: Leaf,
    pub values: Option<Spanned<OneOrMany>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawApplication {
    /// Key in a comment of each statement.
    pub comment: Leaf,
    /// A setting of the session.
    pub setting: Leaf,
    /// Name of the key in pgveil.yaml by which it is signed.
    pub signed: Leaf,
    /// Name of the issuer in pgveil.yaml whose tokens people log in with.
    pub token: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawExport {
    /// Most rows of protected data in one result.
    #[schemars(extend("type" = "integer"))]
    pub rows: Leaf,
    /// Most bytes of protected data in one result.
    pub bytes: Leaf,
    /// Most rows of a person within any hour, and any day.
    #[schemars(extend("type" = "integer"))]
    pub per_hour: Leaf,
    #[schemars(extend("type" = "integer"))]
    pub per_day: Leaf,
    /// Most different people whose data a person sees on one day.
    #[schemars(extend("type" = "integer"))]
    pub subjects_per_day: Leaf,
    /// Which rows count: `protected` (default) or `all`.
    #[schemars(extend("enum" = ["protected", "all"]))]
    pub counts: Leaf,
    /// Groups of which one person each must sign for more.
    pub approvers: Option<Spanned<OneOrMany>>,
    pub grants: Option<Spanned<RawGrants>>,
}

/// What signatures may grant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGrants {
    /// How long a grant holds.
    pub expires: Leaf,
    /// How often it may be used.
    #[schemars(extend("type" = "integer"))]
    pub uses: Leaf,
    /// Most rows that can be granted.
    #[schemars(extend("type" = "integer"))]
    pub max_rows: Leaf,
    /// Classes that can be granted unmasked.
    pub may_unmask: Option<Spanned<OneOrMany>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAllow {
    pub allow: Option<Spanned<OneOrMany>>,
}

/// A mask: a word, or one key with its options.
#[derive(Debug, Clone)]
pub enum RawMask {
    Leaf(Scalar),
    Keys(Box<RawMaskKeys>),
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMaskKeys {
    /// `redact: true`, for a mask that needs no options to stand beside `lookup`.
    #[schemars(extend("const" = true))]
    pub redact: Leaf,
    /// `"null": true`.
    #[schemars(extend("const" = true))]
    pub null: Leaf,
    pub show: Option<Spanned<RawShow>>,
    pub email: Option<Spanned<RawEmail>>,
    /// The name of a preset.
    pub preset: Leaf,
    pub constant: Leaf,
    pub round: Leaf,
    pub bucket: Leaf,
    #[schemars(extend("enum" = ["year", "month", "day"]))]
    pub truncate: Leaf,
    /// Masks by path within a `json` or `jsonb` value.
    pub json: Option<Entries<Spanned<RawMask>>>,
    /// Bits kept of an IPv4 address, or bits by version.
    pub network: Option<Spanned<RawNetwork>>,
    pub hash: NotYet,
    pub pseudonym: NotYet,
    pub fpe: NotYet,
    /// `exact`: equality with a constant or parameter runs on the stored value.
    #[schemars(extend("const" = "exact"))]
    pub lookup: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawShow {
    /// Characters kept at the start; 0 if absent.
    #[schemars(extend("type" = "integer", "minimum" = 0, "maximum" = 1000))]
    pub first: Leaf,
    /// Characters kept at the end; 0 if absent.
    #[schemars(extend("type" = "integer", "minimum" = 0, "maximum" = 1000))]
    pub last: Leaf,
    /// The character that stands for each hidden one; `*` if absent.
    pub char: Leaf,
}

/// `network: 24`, or `network: { ipv4: 24, ipv6: 48 }`.
#[derive(Debug, Clone)]
pub enum RawNetwork {
    Leaf(Scalar),
    Keys(RawNetworkKeys),
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawNetworkKeys {
    #[schemars(extend("type" = "integer", "minimum" = 0, "maximum" = 32))]
    pub ipv4: Leaf,
    #[schemars(extend("type" = "integer", "minimum" = 0, "maximum" = 128))]
    pub ipv6: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEmail {
    /// Characters kept of the local part; 0 if absent.
    #[schemars(extend("type" = "integer", "minimum" = 0, "maximum" = 1000))]
    pub first: Leaf,
}

/// A leaf of any kind, or keys with values.
macro_rules! leaf_or_keys {
    ($type:ident, $expecting:literal, |$map:ident| $keys:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Any;
                impl<'de> Visitor<'de> for Any {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_unit<E>(self) -> Result<$type, E> {
                        Ok($type::Leaf(Scalar::Null))
                    }
                    fn visit_bool<E>(self, value: bool) -> Result<$type, E> {
                        Ok($type::Leaf(Scalar::Bool(value)))
                    }
                    fn visit_i64<E>(self, value: i64) -> Result<$type, E> {
                        Ok($type::Leaf(Scalar::Integer(value.into())))
                    }
                    fn visit_u64<E>(self, value: u64) -> Result<$type, E> {
                        Ok($type::Leaf(Scalar::Integer(value.into())))
                    }
                    fn visit_f64<E>(self, value: f64) -> Result<$type, E> {
                        Ok($type::Leaf(Scalar::Float(value)))
                    }
                    fn visit_str<E>(self, value: &str) -> Result<$type, E> {
                        Ok($type::Leaf(Scalar::Text(value.to_owned())))
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<$type, A::Error> {
                        while list.next_element::<IgnoredAny>()?.is_some() {}
                        Ok($type::Leaf(Scalar::List))
                    }
                    fn visit_map<A: MapAccess<'de>>(self, $map: A) -> Result<$type, A::Error> {
                        Ok($type::Keys($keys))
                    }
                }
                deserializer.deserialize_any(Any)
            }
        }
    };
}

leaf_or_keys!(RawMask, "a mask", |map| Box::new(RawMaskKeys::deserialize(
    MapAccessDeserializer::new(map)
)?));
leaf_or_keys!(RawNetwork, "a number of bits", |map| {
    RawNetworkKeys::deserialize(MapAccessDeserializer::new(map))?
});
