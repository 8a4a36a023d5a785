//! FROM: relations under their own and other names, and what stands in their place.
use super::{Item, Names, RELATIONS, Relation};

impl Names {
    /// FROM; its items can be named from now on.
    pub fn from(&mut self) -> String {
        self.levels.push(Vec::new());
        let mut text = self.source();
        for _ in 0..self.random.below(3) {
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            text = match self.random.below(10) {
                0..=2 => format!("{text}, {}", self.source()),
                3 => format!("{text} NATURAL JOIN {}", self.source()),
                4..=5 => {
                    let column = *self
                        .random
                        .pick(&["id", "id", "phone", "customers", "name"]);
                    let kind = *self
                        .random
                        .pick(&["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"]);
                    let joined = self.source();
                    let column = self.spell(column);
                    let alias = match self.random.percent(30) && self.major >= 14 {
                        true => {
                            let name = self.alias();
                            format!(" AS {}", self.spell(&name))
                        }
                        false => String::new(),
                    };
                    format!("{text} {kind} {joined} USING ({column}){alias}")
                }
                6 => format!("{text} CROSS JOIN {}", self.source()),
                7 => {
                    let (joined, name) = (self.source(), self.alias());
                    let columns = self.levels.last().map_or(Vec::new(), |level| {
                        level.iter().flat_map(|item| item.columns.clone()).collect()
                    });
                    let spelled = self.spell(&name);
                    if let Some(level) = self.levels.last_mut() {
                        level.clear();
                        level.push(Item {
                            alias: name,
                            columns,
                            schema: "",
                        });
                    }
                    format!("({text} CROSS JOIN {joined}) AS {spelled}")
                }
                _ => {
                    let kind = *self.random.pick(&["JOIN", "LEFT JOIN", "LEFT OUTER JOIN"]);
                    let joined = self.source();
                    format!("{text} {kind} {joined} ON {}", self.condition())
                }
            };
        }
        text
    }

    /// A relation by one of its names.
    pub fn relation_name(&mut self) -> (String, Item) {
        let relation: &Relation = match self.random.percent(35) {
            true => &RELATIONS[0],
            false => self.random.pick(RELATIONS),
        };
        (self.named(relation), item_of(relation))
    }

    pub fn named(&mut self, relation: &Relation) -> String {
        let name = self.spell(relation.name);
        match self.random.below(12) {
            0..=3 => name,
            4 => format!("names.{}.{name}", relation.schema),
            _ => format!("{}.{name}", self.spell(relation.schema)),
        }
    }

    /// What an item is called behind its AS, with names for its first columns perhaps.
    fn aliased(&mut self, text: String, mut item: Item, always: bool) -> String {
        if !always && self.random.percent(40) {
            return self.offered(text, item);
        }
        item.alias = self.alias();
        item.schema = "";
        let spelled = self.spell(&item.alias);
        let word = if self.random.percent(60) { "AS " } else { "" };
        let mut list = String::new();
        if self.random.percent(22) && !item.columns.is_empty() {
            let given = 1 + self.random.below(item.columns.len().min(4));
            let renamed: Vec<String> = (0..given).map(|_| self.alias()).collect();
            list = format!("({})", self.list(&renamed));
            item.columns.splice(0..given, renamed);
        }
        self.offered(format!("{text} {word}{spelled}{list}"), item)
    }

    fn offered(&mut self, text: String, item: Item) -> String {
        if let Some(level) = self.levels.last_mut() {
            level.push(item);
        }
        text
    }

    fn source(&mut self) -> String {
        match self.random.below(20) {
            0..=1 if !self.with.is_empty() => {
                let with = self.with.clone();
                let (name, columns) = self.random.pick(&with).clone();
                let spelled = self.spell(&name);
                self.aliased(
                    spelled,
                    Item {
                        alias: name,
                        columns,
                        schema: "",
                    },
                    false,
                )
            }
            2..=4 if self.budget > 0 => {
                self.budget -= 1;
                // Only LATERAL sees what stands beside it.
                let lateral = self.random.percent(35);
                let beside = match lateral {
                    true => None,
                    false => self.levels.last_mut().map(std::mem::take),
                };
                let (inner, columns) = self.query();
                if let (Some(beside), Some(level)) = (beside, self.levels.last_mut()) {
                    *level = beside;
                }
                let word = if lateral { "LATERAL " } else { "" };
                let item = Item {
                    alias: String::new(),
                    columns,
                    schema: "",
                };
                self.aliased(format!("{word}({inner})"), item, true)
            }
            5 => {
                let (values, columns) = self.values();
                let item = Item {
                    alias: String::new(),
                    columns,
                    schema: "",
                };
                self.aliased(format!("({values})"), item, true)
            }
            6..=7 => self.function(),
            _ => {
                let (name, item) = self.relation_name();
                let text = match self.random.below(12) {
                    0 => format!("ONLY {name}"),
                    1 => format!("ONLY ({name})"),
                    2 => format!("{name} *"),
                    _ => name,
                };
                self.aliased(text, item, false)
            }
        }
    }

    /// A function in FROM is called like its column, its alias or itself.
    fn function(&mut self) -> String {
        let (text, name, columns): (&str, &str, &[&str]) =
            *self.random.pick::<(&str, &str, &[&str])>(&[
                (
                    "generate_series(1, 2)",
                    "generate_series",
                    &["generate_series"],
                ),
                ("unnest(ARRAY['a', 'b'])", "unnest", &["unnest"]),
                (
                    "unnest(ARRAY['a'], ARRAY[1])",
                    "unnest",
                    &["unnest", "unnest"],
                ),
                (
                    "jsonb_each_text('{}')",
                    "jsonb_each_text",
                    &["key", "value"],
                ),
                (
                    "json_array_elements_text('[]')",
                    "json_array_elements_text",
                    &["value"],
                ),
                (
                    "regexp_split_to_table('a', 'b')",
                    "regexp_split_to_table",
                    &["regexp_split_to_table"],
                ),
                ("upper('x')", "upper", &["upper"]),
                ("\"left\"('abc', 2)", "left", &["left"]),
                ("current_user", "current_user", &["current_user"]),
                ("current_date", "current_date", &["current_date"]),
                ("coalesce('x', 'y')", "coalesce", &["coalesce"]),
                (
                    "ROWS FROM (generate_series(1, 2), unnest(ARRAY['x']))",
                    "",
                    &["generate_series", "unnest"],
                ),
                (
                    "generate_series(1, 2) WITH ORDINALITY",
                    "generate_series",
                    &["generate_series", "ordinality"],
                ),
                (
                    "pg_catalog.generate_series(1, 2)",
                    "generate_series",
                    &["generate_series"],
                ),
                ("cast('x' AS text)", "text", &["text"]),
                (
                    "unnest(ARRAY[ROW('1', 2)::crm.pair])",
                    "unnest",
                    &["phone", "id"],
                ),
                (
                    "unnest('{}'::crm.customers[])",
                    "unnest",
                    &["id", "name", "phone"],
                ),
                (
                    "jsonb_populate_record(NULL::crm.pair, '{}')",
                    "jsonb_populate_record",
                    &["phone", "id"],
                ),
                ("date_trunc('day', now())", "date_trunc", &["date_trunc"]),
                ("system_user", "system_user", &["system_user"]),
            ]);
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        if self.random.percent(15) {
            let alias = self.alias();
            let spelled = self.spell(&alias);
            let renamed: Vec<String> = vec![self.alias(), self.alias()];
            let (a, b) = (self.spell(&renamed[0]), self.spell(&renamed[1]));
            let item = Item {
                alias,
                columns: renamed,
                schema: "",
            };
            return self.offered(
                format!("jsonb_to_recordset('[]') AS {spelled}({a} text, {b} int)"),
                item,
            );
        }
        let item = Item {
            alias: name.to_owned(),
            columns,
            schema: "",
        };
        let text = text.to_owned();
        let mut item = item;
        if self.random.percent(50) {
            return self.offered(text, item);
        }
        // Of a function with one column the alias is the column, too.
        let alias = self.alias();
        let spelled = self.spell(&alias);
        if item.columns.len() == 1 {
            item.columns = vec![alias.clone()];
        }
        item.alias = alias;
        self.offered(format!("{text} AS {spelled}"), item)
    }
}

pub fn item_of(relation: &Relation) -> Item {
    Item {
        alias: relation.name.to_owned(),
        columns: relation
            .columns
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        schema: relation.schema,
    }
}
