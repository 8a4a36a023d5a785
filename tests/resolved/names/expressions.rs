//! Values, conditions, references and stars.
use super::lexemes::OPERATORS;
use super::{Item, Names, RELATIONS};

const DATABASE: &str = "names";

impl Names {
    /// An item that can be named here, mostly one of the nearest level.
    fn item(&mut self) -> Option<Item> {
        let depth = self.levels.len();
        let mut at = depth.checked_sub(1)?;
        while at > 0 && (self.levels[at].is_empty() || self.random.percent(30)) {
            at -= 1;
        }
        let level = self.levels[at].clone();
        if level.is_empty() {
            return None;
        }
        Some(self.random.pick(&level).clone())
    }

    /// What stands before the dot.
    fn qualifier(&mut self, item: &Item) -> String {
        let alias = self.spell(&item.alias);
        match self.random.below(20) {
            0..=3 => {
                let schema = if item.schema.is_empty() {
                    "crm"
                } else {
                    item.schema
                };
                format!("{}.{alias}", self.spell(schema))
            }
            4 => format!(
                "{DATABASE}.{}.{alias}",
                if item.schema.is_empty() {
                    "crm"
                } else {
                    item.schema
                }
            ),
            5 => {
                let relation = self.random.pick(RELATIONS);
                let (schema, name) = (relation.schema, relation.name);
                format!("{}.{}", self.spell(schema), self.spell(name))
            }
            6 => {
                let other = self.alias();
                self.spell(&other)
            }
            _ => alias,
        }
    }

    pub fn reference(&mut self) -> String {
        let Some(item) = self.item().filter(|item| !item.columns.is_empty()) else {
            let name = self.alias();
            return self.spell(&name);
        };
        let column = match self.random.percent(94) {
            true => self.random.pick(&item.columns).clone(),
            false => self.alias(),
        };
        let column = self.spell(&column);
        match self.random.below(20) {
            0..=8 => column,
            9 => format!("({}).{column}", self.spell(&item.alias)),
            10 => format!("{column}({})", self.spell(&item.alias)),
            // The row, or a column of its name.
            11 => self.spell(&item.alias),
            // The same as the word that it is, which may be another one.
            12 => item.alias,
            13 => column_word(&item),
            _ => format!("{}.{column}", self.qualifier(&item)),
        }
    }

    /// `*` in one of its forms.
    pub fn star(&mut self) -> (String, Vec<String>) {
        let Some(item) = self.item() else {
            return ("*".to_owned(), Vec::new());
        };
        match self.random.below(10) {
            0..=2 => {
                let all = self.levels.last().map_or(Vec::new(), |level| {
                    level.iter().flat_map(|item| item.columns.clone()).collect()
                });
                ("*".to_owned(), all)
            }
            3 => (format!("({}).*", self.spell(&item.alias)), item.columns),
            _ => (format!("{}.*", self.qualifier(&item)), item.columns),
        }
    }

    fn text(&mut self) -> String {
        let reference = self.reference();
        match self.random.percent(60) {
            true => format!("{reference}::text"),
            false => reference,
        }
    }

    pub fn value(&mut self) -> String {
        match self.random.below(32) {
            0..=11 => self.reference(),
            12 | 13 => self.text(),
            14 | 15 => self.constant(),
            16 => format!(
                "{} {} {}",
                self.text(),
                self.random.pick(OPERATORS),
                self.text()
            ),
            17 => {
                let (left, operator, right) =
                    (self.text(), *self.random.pick(OPERATORS), self.constant());
                format!("{left} {} {right}", operator.replace(' ', "\u{2}"))
            }
            18..=20 if self.budget > 0 => self.subquery(),
            21 => format!("coalesce({}, {})", self.text(), self.constant()),
            22 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(),
                self.text(),
                self.text()
            ),
            23 => self.call(),
            24 => {
                let row = self.reference();
                let more = match self.random.percent(40) {
                    true => self.star().0,
                    false => self.reference(),
                };
                format!("ROW({row}, {more})")
            }
            25 => format!("ARRAY[{}]", self.text()),
            26 => format!("NULLIF({}, {})", self.text(), self.constant()),
            27 => format!("greatest({}, 'x')", self.text()),
            28 => {
                let (composite, field) = (
                    self.reference(),
                    *self
                        .random
                        .pick(&["phone", "id", "customers", "name", "*", "f1"]),
                );
                format!("({composite}).{field}")
            }
            29 => self.attribute(),
            30 => self.versioned(),
            _ => format!(
                "count({}) OVER (PARTITION BY {})",
                self.star().0,
                self.reference()
            ),
        }
    }

    /// The one column of a query.
    pub fn subquery(&mut self) -> String {
        self.budget = self.budget.saturating_sub(1);
        let (inner, _) = match self.random.percent(75) {
            true => self.one_column(),
            false => self.query(),
        };
        match self.random.below(6) {
            0 => format!("EXISTS ({inner})"),
            1 => format!("ARRAY({inner})"),
            _ => format!("({inner})"),
        }
    }

    fn one_column(&mut self) -> (String, Vec<String>) {
        self.select_of(1)
    }

    fn call(&mut self) -> String {
        let name = *self.random.pick(&[
            "upper",
            "lower",
            "length",
            "pg_catalog.upper",
            "left",
            "concat",
            "row_to_json",
            "to_jsonb",
            "json_build_array",
            "pg_typeof",
            "max",
            "min",
            "array_agg",
            "string_agg",
            "count",
            "json_agg",
            "quote_literal",
            "md5",
        ]);
        let argument = match self.random.below(4) {
            0 => self
                .item()
                .map_or_else(|| "1".to_owned(), |item| item.alias),
            1 => self.reference(),
            _ => self.text(),
        };
        let argument = match argument
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric())
        {
            true => self.spell(&argument),
            false => argument,
        };
        match name {
            "left" => format!("left({argument}::text, 2)"),
            "string_agg" => format!(
                "string_agg({argument}::text, ',' ORDER BY {})",
                self.reference()
            ),
            _ => format!("{name}({argument})"),
        }
    }

    /// A function in the notation of a column, and a column in that of a function.
    fn attribute(&mut self) -> String {
        let Some(item) = self.item() else {
            return "1".to_owned();
        };
        let alias = self.spell(&item.alias);
        let function = *self.random.pick(&[
            "row_to_json",
            "to_jsonb",
            "count",
            "pg_typeof",
            "upper",
            "text",
            "name",
            "varchar",
            "phone",
            "customers",
            "bool",
        ]);
        match self.random.below(4) {
            0 => format!("{alias}.{function}"),
            1 => format!("({alias}).{function}"),
            2 => format!("{function}({alias})"),
            _ => format!("{alias}::text"),
        }
    }

    /// What newer versions have: older ones take the words for names.
    fn versioned(&mut self) -> String {
        let reference = self.text();
        let all = [
            format!("JSON_OBJECT('k' VALUE {reference})"),
            format!("json_object('k': {reference})"),
            format!("JSON_ARRAY({reference} ABSENT ON NULL)"),
            format!("JSON({reference})"),
            format!("JSON_SCALAR({reference})"),
            format!("JSON_EXISTS(to_jsonb({reference}), '$')"),
            format!("JSON_VALUE(to_jsonb({reference}), '$')"),
            format!("JSON_SERIALIZE({reference})"),
            format!("{reference} IS JSON"),
            format!("any_value({reference})"),
            format!("extract(year FROM date '2024-01-01')::text || {reference}"),
            format!("normalize({reference})"),
            format!("{reference} IS NORMALIZED"),
            format!("trim(BOTH 'x' FROM {reference})"),
            format!("substring({reference} SIMILAR 'x' ESCAPE '#')"),
            format!("substring({reference} FROM 2 FOR 3)"),
            format!("overlay({reference} PLACING 'x' FROM 1)"),
            format!("position('x' IN {reference})"),
            format!("treat({reference} AS text)"),
            format!("cast({reference} AS text)"),
            format!("xmlelement(name phone, {reference})"),
            format!("grouping({reference})"),
            format!("json_array(SELECT {reference})"),
            format!("{reference} COLLATE \"C\""),
            format!("({reference})[1]"),
            format!("{reference} AT TIME ZONE 'UTC'"),
        ];
        self.random.pick(&all).replace("'x' FROM", "'x'\u{2}FROM")
    }

    pub fn condition(&mut self) -> String {
        match self.random.below(12) {
            0..=3 => format!("{} = {}", self.reference(), self.constant()),
            4 => format!("{} = {}", self.text(), self.text()),
            5 if self.budget > 0 => {
                self.budget -= 1;
                let (inner, _) = self.query();
                format!("EXISTS ({inner})")
            }
            6 if self.budget > 0 => {
                self.budget -= 1;
                let (inner, _) = self.one_column();
                format!("{} IN ({inner})", self.reference())
            }
            7 => format!("{} IS NULL", self.reference()),
            8 => format!("{} LIKE '138%'", self.text()),
            9 => format!("{} IN ('x', '138')", self.reference()),
            10 => format!("{} AND {}", self.condition(), self.condition()),
            _ => format!("{} = 1", self.reference()),
        }
    }
}

/// The first column whose name is a word of the grammar, as that word.
fn column_word(item: &Item) -> String {
    let words = ["system_user", "json", "case", "row", "coalesce", "bool"];
    let found = item
        .columns
        .iter()
        .find(|name| words.contains(&name.as_str()));
    found.or(item.columns.first()).cloned().unwrap_or_default()
}
