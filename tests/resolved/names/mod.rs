//! A generator of texts that are easily misread: names that are those of schemas, tables, columns, types and keywords at
//! once, spelled in every way, and words that servers of other versions cut in another way.
//!
//! What is written is mostly valid and need not be: where the server refuses a text, pgveil's has to be refused, too.
mod expressions;
mod lexemes;
mod outputs;
mod sources;
mod writes;

use crate::random::Random;

/// The schema that it writes about.
pub const SCHEMA: &str = include_str!("../names.sql");
pub const POLICY: &str = include_str!("../names.yaml");

pub struct Relation {
    pub schema: &'static str,
    pub name: &'static str,
    pub columns: &'static [&'static str],
    pub written: bool,
}

const fn relation(
    schema: &'static str,
    name: &'static str,
    columns: &'static [&'static str],
) -> Relation {
    Relation {
        schema,
        name,
        columns,
        written: true,
    }
}

pub const LONG: &str = "a_name_that_is_as_long_as_the_server_lets_one_be_and_no_longer_";
const LONG_COLUMN: &str = "a_column_that_is_as_long_as_the_server_lets_it_be_and_no_longer";

pub const RELATIONS: &[Relation] = &[
    relation(
        "crm",
        "customers",
        &[
            "id",
            "name",
            "phone",
            "email",
            "bool",
            "salary",
            "customers",
            "crm",
            "region",
            "case",
            "?column?",
            "x1f",
            "größe",
            "system_user",
            "json",
        ],
    ),
    relation(
        "crm",
        "orders",
        &[
            "id",
            "customer_id",
            "phone",
            "customers",
            "amount",
            "memo",
            "bool",
            "row",
            "column1",
            "coalesce",
            "Phone",
        ],
    ),
    relation(
        "customers",
        "orders",
        &["id", "phone", "crm", "orders", "region"],
    ),
    relation("public", "customers", &["id", "phone", "tag"]),
    relation("crm", "phone", &["id", "phone", "name", "crm"]),
    relation("crm", "Customers", &["id", "Phone", "phone", "ID"]),
    relation("crm", "boxes", &["id", "customers", "phone", "o"]),
    relation("crm", "tickets", &["id", "owner", "phone", "note", "code"]),
    relation("crm", "teams", &["id", "owner"]),
    relation("crm", "events", &["id", "phone", "kind"]),
    relation("crm", LONG, &["id", "phone", LONG_COLUMN]),
    Relation {
        written: false,
        ..relation("crm", "v_customers", &["k", "phone", "bool", "name"])
    },
];

/// What things are called in a statement: names of the schema, of keywords, and a few of nothing.
const ALIASES: &[&str] = &[
    "customers",
    "customers",
    "orders",
    "orders",
    "crm",
    "phone",
    "phone",
    "public",
    "bool",
    "text",
    "name",
    "id",
    "x1f",
    "excluded",
    "old",
    "new",
    "?column?",
    "case",
    "row",
    "column1",
    "coalesce",
    "array",
    "c",
    "o",
    "s",
    "Customers",
    "left",
    "date",
    "int4",
    "value",
    "key",
    "json",
    "absent",
    "merge_action",
    "system_user",
    "current_user",
    "json_value",
    "größe",
    "lateral",
    "interval",
    "generate_series",
    "unnest",
    "kind",
    "region",
    "w",
    "exists",
    "pgveil_w",
    "boxes",
    "keep",
    "path",
    "string",
    "target",
    "source",
    "format",
    "period",
    "depth",
    "normalize",
    "nested",
    "json_array",
    "json_object",
    "json_query",
    "json_table",
    "json_exists",
    "json_scalar",
    "json_serialize",
    "virtual",
    "plan",
];

/// Schemas in which a session looks names up.
pub const PATHS: &[&str] = &[
    "crm, public",
    "public, crm",
    "customers, crm",
    "crm, customers, public",
];

/// An item of FROM: what it is called, and its columns.
#[derive(Debug, Clone)]
pub struct Item {
    pub alias: String,
    pub columns: Vec<String>,
    pub schema: &'static str,
}

/// A text, and the schemas in which its names are looked up.
pub struct Text {
    pub sql: String,
    pub path: &'static str,
}

/// Blanks that are part of a word or literal until the text is done.
const HARD: char = '\u{2}';

pub struct Names {
    random: Random,
    major: u32,
    /// What may still be written of queries.
    budget: usize,
    /// Items that can be named, innermost last.
    levels: Vec<Vec<Item>>,
    /// Common table expressions in scope.
    with: Vec<(String, Vec<String>)>,
}

/// The text of a seed.
pub fn generate(seed: u64, major: u32) -> Text {
    let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let budget = 1 + random.below(6);
    let path = *random.pick(PATHS);
    let mut names = Names {
        random,
        major,
        budget,
        levels: Vec::new(),
        with: Vec::new(),
    };
    let sql = match names.random.below(100) {
        0..=42 => names.query().0,
        43..=57 => names.mistaken(),
        58..=79 => names.update(),
        80..=85 => names.delete(),
        86..=91 => names.insert(),
        92..=95 if major >= 15 => names.merge(),
        92..=95 => names.update(),
        96..=97 => names.with_write(),
        _ => names.utility(),
    };
    Text {
        sql: names.spaced(&sql),
        path,
    }
}

impl Names {
    fn alias(&mut self) -> String {
        (*self.random.pick(ALIASES)).to_owned()
    }

    /// A name in one of the ways in which it can be written.
    fn spell(&mut self, name: &str) -> String {
        let mut letters = name.chars();
        let plain = letters
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first == '_')
            && letters.all(|letter| {
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'
            });
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let keyword = KEYWORDS.contains(&name);
        match self.random.below(20) {
            0 if plain => name.to_uppercase(),
            1 => quoted,
            2 => {
                let escaped: String = name
                    .chars()
                    .map(|letter| match self.random.percent(30) {
                        true => format!("\\{:04x}", u32::from(letter)),
                        false => letter.to_string(),
                    })
                    .collect();
                format!("U&\"{escaped}\"")
            }
            // What is too long is cut off, quoted or not.
            3 if name.len() == 63 => format!("{name}and_more"),
            4 if name.len() == 63 => format!("\"{name}and{HARD}more\""),
            5 if plain && !keyword => {
                let mut text = name.to_owned();
                if let Some(first) = text.get_mut(0..1) {
                    first.make_ascii_uppercase();
                }
                text
            }
            _ if (plain || name == "größe") && (!keyword || self.random.percent(4)) => {
                name.to_owned()
            }
            _ => quoted,
        }
    }

    fn list(&mut self, names: &[String]) -> String {
        let spelled: Vec<String> = names.iter().map(|name| self.spell(name)).collect();
        spelled.join(", ")
    }

    /// Blanks become what else divides words.
    fn spaced(&mut self, sql: &str) -> String {
        let odd = self.random.percent(25);
        let mut text = String::new();
        for letter in sql.chars() {
            match letter {
                ' ' if odd && self.random.percent(12) => text += *self.random.pick(lexemes::GAPS),
                HARD => text.push(' '),
                letter => text.push(letter),
            }
        }
        text
    }

    /// A query and its output columns.
    pub fn query(&mut self) -> (String, Vec<String>) {
        let known = self.with.len();
        let mut head = String::new();
        if self.random.percent(18) && self.budget > 0 {
            head = self.with_clause();
        }
        let (mut sql, names) = match self.random.below(20) {
            0 if self.budget > 0 => {
                self.budget -= 1;
                let (left, names) = self.select();
                let (right, _) = self.select_of(names.len());
                let how = *self
                    .random
                    .pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
                (format!("{left} {how} {right}"), names)
            }
            1 => self.values(),
            2 => {
                let (table, item) = self.relation_name();
                (format!("TABLE {table}"), item.columns)
            }
            _ => self.select(),
        };
        if !head.is_empty() {
            sql = format!("{head} {sql}");
        }
        self.with.truncate(known);
        (sql, names)
    }

    fn with_clause(&mut self) -> String {
        let recursive = self.random.percent(20);
        let mut parts = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            self.budget = self.budget.saturating_sub(1);
            let name = self.alias();
            if recursive {
                let columns = vec!["id".to_owned(), "phone".to_owned()];
                self.with.push((name.clone(), columns.clone()));
                let spelled = self.spell(&name);
                let (from, alias) = (self.spell(&name), self.alias());
                let alias = self.spell(&alias);
                let (first, _) = self.relation_name();
                parts.push(format!(
                    "{spelled} (id, phone) AS (SELECT id, phone::text FROM {first} AS f UNION ALL SELECT {alias}.id, {alias}.phone FROM {from} {alias})"
                ));
                continue;
            }
            let (inner, mut columns) = self.query();
            let mut list = String::new();
            if self.random.percent(25) && !columns.is_empty() {
                let given = 1 + self.random.below(columns.len());
                let renamed: Vec<String> = (0..given).map(|_| self.alias()).collect();
                list = format!(" ({})", self.list(&renamed));
                columns.splice(0..given, renamed);
            }
            let spelled = self.spell(&name);
            let how = *self
                .random
                .pick(&["", "", "", " MATERIALIZED", " NOT MATERIALIZED"]);
            parts.push(format!("{spelled}{list} AS{how} ({inner})"));
            self.with.push((name, columns));
        }
        let word = if recursive { "WITH RECURSIVE" } else { "WITH" };
        format!("{word} {}", parts.join(", "))
    }

    fn values(&mut self) -> (String, Vec<String>) {
        let width = 1 + self.random.below(3);
        let rows: Vec<String> = (0..1 + self.random.below(2))
            .map(|_| {
                let cells: Vec<String> = (0..width).map(|_| self.constant()).collect();
                format!("({})", cells.join(", "))
            })
            .collect();
        let names = (1..=width).map(|at| format!("column{at}")).collect();
        (format!("VALUES {}", rows.join(", ")), names)
    }

    fn select(&mut self) -> (String, Vec<String>) {
        let width = 1 + self.random.below(4);
        self.select_of(width)
    }

    fn select_of(&mut self, width: usize) -> (String, Vec<String>) {
        let from = match self.random.percent(92) {
            true => self.from(),
            false => {
                self.levels.push(Vec::new());
                String::new()
            }
        };
        let mut items = Vec::new();
        let mut names = Vec::new();
        for _ in 0..width {
            let (item, given) = self.target();
            items.push(item);
            names.extend(given);
        }
        let mut sql = String::from("SELECT ");
        if self.random.percent(6) {
            sql += "DISTINCT ";
        } else if self.random.percent(4) {
            let by = self.orderable(&names);
            sql += &format!("DISTINCT ON ({by}) ");
        }
        sql += &items.join(", ");
        if !from.is_empty() {
            sql += &format!(" FROM {from}");
        }
        if self.random.percent(35) {
            sql += &format!(" WHERE {}", self.condition());
        }
        if self.random.percent(8) {
            let by = self.orderable(&names);
            sql += &format!(" GROUP BY {by}");
            if self.random.percent(30) {
                sql += &format!(" HAVING {}", self.condition());
            }
        }
        if self.random.percent(4) {
            let name = self.alias();
            let (name, by) = (self.spell(&name), self.reference());
            sql += &format!(" WINDOW {name} AS (PARTITION BY {by})");
        }
        if self.random.percent(15) {
            let by = self.orderable(&names);
            sql += &format!(" ORDER BY {by}");
        }
        if self.random.percent(8) {
            sql += " LIMIT 3";
        }
        if self.random.percent(3) {
            sql += *self
                .random
                .pick(&[" FOR UPDATE", " FOR SHARE", " FOR NO KEY UPDATE"]);
        }
        self.levels.pop();
        (sql, names)
    }

    /// What rows are ordered or grouped by: a name of an output column or of an input column, a place, an expression.
    fn orderable(&mut self, names: &[String]) -> String {
        match self.random.below(6) {
            0 => "1".to_owned(),
            1 | 2 if !names.is_empty() => {
                let name = self.random.pick(names).clone();
                self.spell(&name)
            }
            3 => format!("{}::text", self.reference()),
            4 => format!("({})", self.reference()),
            _ => self.reference(),
        }
    }

    /// An output column, and what it is called as far as the generator knows.
    fn target(&mut self) -> (String, Vec<String>) {
        if self.random.percent(14) {
            return self.star();
        }
        let value = self.value();
        let name = self.alias();
        match self.random.below(10) {
            0..=3 => (format!("{value} AS {}", self.spell(&name)), vec![name]),
            4 => (format!("{value} {}", self.spell(&name)), vec![name]),
            5 => (format!("{value} {name}"), vec![name]),
            _ => {
                let guess = value
                    .rsplit(['.', ' ', ')'])
                    .next()
                    .unwrap_or("")
                    .trim_matches('"')
                    .to_lowercase();
                let named = match guess.is_empty() {
                    true => (*self.random.pick(&[
                        "?column?", "case", "coalesce", "bool", "array", "row", "text",
                    ]))
                    .to_owned(),
                    false => guess,
                };
                (value, vec![named])
            }
        }
    }
}

/// Words that are no name by themselves, in one version or another.
const KEYWORDS: &[&str] = &[
    "case",
    "array",
    "left",
    "lateral",
    "current_user",
    "row",
    "coalesce",
    "interval",
    "exists",
    "absent",
    "system_user",
    "merge_action",
    "json_value",
    "json",
];
