//! Writes, and statements around queries.
use super::sources::item_of;
use super::{Item, Names, RELATIONS, Relation};

impl Names {
    /// The target as it is written, and as it is named.
    fn target_of(&mut self) -> (String, Item, &'static Relation) {
        let written: Vec<&'static Relation> = RELATIONS
            .iter()
            .filter(|relation| relation.written)
            .collect();
        let relation = match self.random.percent(55) {
            true => written[0],
            false => *self.random.pick(&written),
        };
        let mut item = item_of(relation);
        let mut text = self.named(relation);
        if self.random.percent(55) {
            item.alias = self.alias();
            item.schema = "";
            let word = if self.random.percent(60) { "AS " } else { "" };
            text = format!("{text} {word}{}", self.spell(&item.alias));
        }
        (text, item, relation)
    }

    fn settable(&mut self, relation: &Relation) -> String {
        // A new value for a text, mostly.
        let texts: Vec<&str> = relation
            .columns
            .iter()
            .copied()
            .filter(|name| {
                !matches!(
                    *name,
                    "id" | "salary" | "customer_id" | "amount" | "x1f" | "ID" | "code" | "o"
                )
            })
            .collect();
        let column = match texts.is_empty() || self.random.percent(5) {
            true => relation.columns[0],
            false => *self.random.pick(&texts),
        };
        self.spell(column)
    }

    fn set(&mut self, relation: &Relation) -> String {
        let column = self.settable(relation);
        match self.random.below(12) {
            0 => {
                let second = self.settable(relation);
                format!(
                    "({column}, {second}) = ({}, {})",
                    self.value(),
                    self.value()
                )
            }
            1 => {
                let second = self.settable(relation);
                format!(
                    "({column}, {second}) = ROW({}, {})",
                    self.value(),
                    self.value()
                )
            }
            2 if self.budget > 0 => {
                self.budget -= 1;
                let second = self.settable(relation);
                let (inner, _) = self.select_of(2);
                format!("({column}, {second}) = ({inner})")
            }
            3..=5 if self.budget > 0 => format!("{column} = {}", self.subquery()),
            6 => format!("{column} = DEFAULT"),
            7 => {
                let second = self.settable(relation);
                format!("{column} = {}, {second} = {}", self.value(), self.value())
            }
            _ => format!("{column} = {}", self.value()),
        }
    }

    fn returning(&mut self) -> String {
        if self.random.percent(40) {
            return String::new();
        }
        let lead = match self.major >= 18 && self.random.percent(30) {
            true => {
                let (old, new) = (self.alias(), self.alias());
                let text = format!(
                    "WITH (OLD AS {}, NEW AS {}) ",
                    self.spell(&old),
                    self.spell(&new)
                );
                let columns = self
                    .levels
                    .last()
                    .and_then(|level| level.first())
                    .map_or(Vec::new(), |item| item.columns.clone());
                if let Some(level) = self.levels.last_mut() {
                    for alias in [old, new] {
                        level.push(Item {
                            alias,
                            columns: columns.clone(),
                            schema: "",
                        });
                    }
                }
                text
            }
            false => {
                let columns = self
                    .levels
                    .last()
                    .and_then(|level| level.first())
                    .map_or(Vec::new(), |item| item.columns.clone());
                if self.random.percent(25)
                    && let Some(level) = self.levels.last_mut()
                {
                    for alias in ["old", "new"] {
                        level.push(Item {
                            alias: alias.to_owned(),
                            columns: columns.clone(),
                            schema: "",
                        });
                    }
                }
                String::new()
            }
        };
        let items: Vec<String> = (0..1 + self.random.below(3))
            .map(|_| self.target().0)
            .collect();
        format!(" RETURNING {lead}{}", items.join(", "))
    }

    pub fn update(&mut self) -> String {
        let (target, item, relation) = self.target_of();
        let only = if self.random.percent(5) { "ONLY " } else { "" };
        let mut others = String::new();
        if self.random.percent(40) {
            others = format!(" FROM {}", self.from());
        } else {
            self.levels.push(Vec::new());
        }
        if let Some(level) = self.levels.last_mut() {
            level.insert(0, item);
        }
        let set = self.set(relation);
        let condition = match self.random.percent(50) {
            true => format!(" WHERE {}", self.condition()),
            false => String::new(),
        };
        let returning = self.returning();
        self.levels.pop();
        format!("UPDATE {only}{target} SET {set}{others}{condition}{returning}")
    }

    pub fn delete(&mut self) -> String {
        let (target, item, _) = self.target_of();
        let mut others = String::new();
        if self.random.percent(40) {
            others = format!(" USING {}", self.from());
        } else {
            self.levels.push(Vec::new());
        }
        if let Some(level) = self.levels.last_mut() {
            level.insert(0, item);
        }
        let condition = self.condition();
        let returning = self.returning();
        self.levels.pop();
        format!("DELETE FROM {target}{others} WHERE {condition}{returning}")
    }

    pub fn insert(&mut self) -> String {
        let (mut target, mut item, relation) = self.target_of();
        // INSERT wants AS.
        if !target.contains(" AS ") && target.contains(' ') {
            item = item_of(relation);
            target = self.named(relation);
        }
        let first = self.settable(relation);
        let columns = format!("id, {first}");
        let source = match self.random.below(4) {
            0 if self.budget > 0 => {
                self.budget -= 1;
                self.select_of(2).0
            }
            1 => {
                let (table, _) = self.relation_name();
                let alias = self.alias();
                let alias = self.spell(&alias);
                format!("SELECT {alias}.id, {alias}.phone FROM {table} AS {alias}")
            }
            _ => format!("VALUES (1, {})", self.constant()),
        };
        let excluded = Item {
            alias: "excluded".to_owned(),
            columns: item.columns.clone(),
            schema: "",
        };
        self.levels.push(vec![item.clone(), excluded]);
        let mut conflict = String::new();
        match self.random.below(4) {
            0 => conflict = " ON CONFLICT DO NOTHING".to_owned(),
            1 | 2 => {
                let set = self.set(relation);
                let condition = match self.random.percent(40) {
                    true => format!(" WHERE {}", self.condition()),
                    false => String::new(),
                };
                conflict = format!(" ON CONFLICT (id) DO UPDATE SET {set}{condition}");
            }
            _ => {}
        }
        self.levels.pop();
        self.levels.push(vec![item]);
        let returning = self.returning();
        self.levels.pop();
        format!("INSERT INTO {target} ({columns}) {source}{conflict}{returning}")
    }

    pub fn merge(&mut self) -> String {
        let (target, item, relation) = self.target_of();
        let mut source = self.from();
        if source.contains("JOIN") || source.contains(',') && !source.contains('(') {
            // One source.
            self.levels.pop();
            self.levels.push(Vec::new());
            let (name, other) = self.relation_name();
            let alias = self.alias();
            source = format!("{name} AS {}", self.spell(&alias));
            if let Some(level) = self.levels.last_mut() {
                level.push(Item {
                    alias,
                    schema: "",
                    ..other
                });
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.insert(0, item);
        }
        let condition = self.condition();
        let also = match self.random.percent(40) {
            true => format!(" AND {}", self.condition()),
            false => String::new(),
        };
        let matched = match self.random.below(4) {
            0 => "DELETE".to_owned(),
            1 => "DO NOTHING".to_owned(),
            _ => format!("UPDATE SET {}", self.set(relation)),
        };
        let otherwise = match self.random.percent(30) {
            true => {
                let value = self.value();
                format!(
                    " WHEN NOT MATCHED THEN INSERT (id, {}) VALUES (1, {value})",
                    self.settable(relation)
                )
            }
            false => String::new(),
        };
        let returning = if self.major >= 17 {
            self.returning()
        } else {
            String::new()
        };
        self.levels.pop();
        format!(
            "MERGE INTO {target} USING {source} ON {condition} WHEN MATCHED{also} THEN {matched}{otherwise}{returning}"
        )
    }

    /// A write within WITH, beside expressions of its name.
    pub fn with_write(&mut self) -> String {
        let name = self.alias();
        let inner = match self.random.below(3) {
            0 => self.delete(),
            1 => self.insert(),
            _ => self.update(),
        };
        let inner = match inner.contains(" RETURNING ") {
            true => inner,
            false => format!("{inner} RETURNING id, phone"),
        };
        self.with
            .push((name.clone(), vec!["id".to_owned(), "phone".to_owned()]));
        let outer = match self.random.percent(60) {
            true => self.select().0,
            false => self.update(),
        };
        self.with.pop();
        format!("WITH {} AS ({inner}) {outer}", self.spell(&name))
    }

    pub fn utility(&mut self) -> String {
        let (query, _) = self.query();
        match self.random.below(4) {
            0 => format!("EXPLAIN {query}"),
            1 => format!("DECLARE phone CURSOR FOR {query}"),
            2 => format!("PREPARE phone AS {query}"),
            _ => format!("COPY ({query}) TO STDOUT"),
        }
    }
}
