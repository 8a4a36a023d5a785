//! Views nested at random over a few names, each of which stands for a relation, a column, an alias and a common table
//! expression.
use std::fmt::Write as _;

/// Relations, and names of theirs: each stands for a relation, a column, an alias or a common table expression.
const NAMES: [&str; 4] = ["a", "b", "c", "s"];
struct Dice(u64);

impl Dice {
    /// Knuth's MMIX generator: the same views in every run.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.roll(from.len()))
    }

    fn name(&mut self) -> String {
        NAMES[self.roll(NAMES.len())].to_owned()
    }
}

#[derive(Clone)]
struct Alias {
    name: String,
    columns: Vec<String>,
}

/// An item of FROM: what can stand in front of a column, and what `*` gives.
#[derive(Clone, Default)]
struct Item {
    text: String,
    aliases: Vec<Alias>,
    columns: Vec<String>,
}

/// A query level: items of FROM.
type Level = Vec<Item>;

pub struct Generator {
    dice: Dice,
    /// The levels around the place that is being written, the innermost last.
    levels: Vec<Level>,
    /// Aliases of each level, also of what is not written yet.
    taken: Vec<Vec<String>>,
    ctes: Vec<Alias>,
}

fn once<'a>(columns: &'a [String], name: &str) -> Option<&'a String> {
    let mut found = columns.iter().filter(|known| *known == name);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator {
            dice: Dice(seed),
            levels: Vec::new(),
            taken: Vec::new(),
            ctes: Vec::new(),
        }
    }

    /// A name that stands for nothing else in this FROM, while there are any.
    fn fresh(&mut self) -> String {
        let start = self.dice.roll(NAMES.len());
        let taken = self.taken.last_mut().expect("a level");
        let mut names = (0..NAMES.len()).map(|index| NAMES[(start + index) % NAMES.len()]);
        let free = names.find(|name| !taken.iter().any(|other| other == name));
        let name = free.map_or_else(|| format!("t{}", taken.len()), str::to_owned);
        taken.push(name.clone());
        name
    }

    fn relation(&mut self) -> Alias {
        let columns: &[&str] = match self.dice.roll(4) {
            0 => &["a", "b", "c"],
            1 => &["b", "a", "s"],
            2 => &["s", "c", "b"],
            _ => &["c", "s", "a"],
        };
        let name = match columns {
            ["a", ..] => "a",
            ["b", ..] => "b",
            ["s", ..] => "c",
            _ => "s",
        };
        Alias {
            name: name.to_owned(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Puts an alias behind an item, sometimes with names for its first columns.
    fn named(&mut self, text: String, mut columns: Vec<String>, lists: bool) -> Item {
        let name = self.fresh();
        let mut text = format!("{text} AS {name}");
        if lists || self.dice.roll(3) == 0 {
            let from = self.dice.roll(NAMES.len());
            let most = columns.len().min(NAMES.len());
            let count = if lists {
                most
            } else {
                1 + self.dice.roll(most)
            };
            for index in 0..count.min(columns.len()) {
                columns[index] = NAMES[(from + index) % NAMES.len()].to_owned();
            }
            let _ = write!(
                text,
                " ({})",
                columns[..count.min(columns.len())].join(", ")
            );
        }
        Item {
            text,
            aliases: vec![Alias {
                name,
                columns: columns.clone(),
            }],
            columns,
        }
    }

    /// A column that can be named at this place, as it is written.
    fn column(&mut self) -> String {
        let outer = self.dice.roll(4) == 0 && self.levels.len() > 1;
        let at = self.levels.len() - 1 - usize::from(outer);
        let level = self.levels[at].clone();
        let Some(item) = self.dice.pick(&level).cloned() else {
            return "'none'".to_owned();
        };
        let Some(alias) = self.dice.pick(&item.aliases).cloned() else {
            return "'none'".to_owned();
        };
        let Some(column) = self.dice.pick(&alias.columns).cloned() else {
            return "'none'".to_owned();
        };
        let all: Vec<String> = level.iter().flat_map(|item| item.columns.clone()).collect();
        match self.dice.roll(5) {
            0 if once(&all, &column).is_some() => column,
            1 => format!("({}).{column}", alias.name),
            _ => format!("{}.{column}", alias.name),
        }
    }

    fn alias(&mut self) -> String {
        let level = self.levels[self.levels.len() - 1].clone();
        let aliases: Vec<Alias> = level.into_iter().flat_map(|item| item.aliases).collect();
        let alias = self.dice.pick(&aliases).map(|alias| alias.name.clone());
        alias.unwrap_or_else(|| self.dice.name())
    }

    fn value(&mut self, depth: usize) -> String {
        let deeper = depth.saturating_sub(1);
        let kind = self.dice.roll(if depth == 0 { 10 } else { 26 });
        match kind {
            0..=4 => self.column(),
            5 => format!("{}::text", self.alias()),
            6 => format!("{}.*::text", self.alias()),
            7 => format!("row_to_json({})::text", self.alias()),
            8 => format!("{}.to_jsonb::text", self.alias()),
            9 => format!("({}).row_to_json::text", self.alias()),
            10 | 11 => {
                let (text, columns) = self.query(deeper);
                match columns.len() {
                    1 => format!("({text} LIMIT 1)"),
                    _ => format!("array_to_string(ARRAY(SELECT q::text FROM ({text}) AS q), '')"),
                }
            }
            12 => {
                let (text, _) = self.query(deeper);
                let name = self.dice.name();
                format!(
                    "(SELECT {name}::text FROM ({text}) AS {} LIMIT 1)",
                    self.dice.name()
                )
            }
            13 | 14 => {
                let relation = self.relation();
                let (alias, name) = (self.alias(), self.dice.name());
                let inner = format!("SELECT ({alias}).* FROM crm.{} AS {name}", relation.name);
                format!(
                    "(SELECT {alias}::text FROM ({inner}) AS {} LIMIT 1)",
                    self.dice.name()
                )
            }
            15 => format!("coalesce({}, {})", self.value(deeper), self.value(deeper)),
            16 => format!("{} || {}", self.value(deeper), self.value(deeper)),
            17 => format!("max({}) OVER ()", self.value(deeper)),
            18 => format!("ROW({}, {})::text", self.value(deeper), self.value(deeper)),
            19 => {
                let name = ["a", "b", "c"][self.dice.roll(3)];
                let (one, other) = (self.value(deeper), self.value(deeper));
                format!("(ROW({one}, {other}, '')::crm.a).{name}")
            }
            20 => {
                let (when, then) = (self.value(deeper), self.value(deeper));
                format!("CASE WHEN {when} IS NOT NULL THEN {then} END")
            }
            21 => format!("crm.{}", self.column()),
            22 => {
                let relation = self.relation();
                let column = self
                    .dice
                    .pick(&relation.columns)
                    .cloned()
                    .unwrap_or_default();
                let name = &relation.name;
                format!(
                    "(json_populate_record(NULL::crm.{name}, row_to_json({}))).{column}",
                    self.alias()
                )
            }
            23 => format!(
                "xmlserialize(content xmlforest({} AS x) AS text)",
                self.value(deeper)
            ),
            24 => format!("nullif({}, {})", self.value(deeper), self.value(deeper)),
            _ => {
                let relation = self.relation();
                let column = self
                    .dice
                    .pick(&relation.columns)
                    .cloned()
                    .unwrap_or_default();
                format!("(SELECT max({0}.{column}) FROM crm.{0})", relation.name)
            }
        }
    }

    fn source(&mut self, depth: usize) -> Item {
        let deeper = depth.saturating_sub(1);
        match self.dice.roll(if depth == 0 { 4 } else { 14 }) {
            0 => {
                let relation = self.relation();
                self.taken
                    .last_mut()
                    .expect("a level")
                    .push(relation.name.clone());
                Item {
                    text: format!("crm.{}", relation.name),
                    columns: relation.columns.clone(),
                    aliases: vec![relation],
                }
            }
            1 => {
                let relation = self.relation();
                self.named(format!("crm.{}", relation.name), relation.columns, false)
            }
            2 | 3 => match self.dice.pick(&self.ctes.clone()).cloned() {
                Some(cte) => self.named(cte.name, cte.columns, false),
                None => {
                    let relation = self.relation();
                    self.named(format!("crm.{}", relation.name), relation.columns, false)
                }
            },
            4..=6 => {
                // What is not LATERAL does not see the items beside it.
                let hidden = self.levels.pop();
                let (text, columns) = self.query(deeper);
                self.levels.extend(hidden);
                self.named(format!("({text})"), columns, false)
            }
            7 => {
                let (text, columns) = self.query(deeper);
                self.named(format!("LATERAL ({text})"), columns, false)
            }
            8 => {
                let text = format!("LATERAL (VALUES ({}, '4'))", self.value(deeper));
                self.named(text, vec![String::new(), String::new()], true)
            }
            9 => {
                let text = format!("unnest(ARRAY[{}])", self.value(deeper));
                self.named(text, vec![String::new()], true)
            }
            _ => self.join(deeper),
        }
    }

    fn join(&mut self, depth: usize) -> Item {
        let kind = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][self.dice.roll(4)];
        let (left, right) = (self.source(depth), self.source(depth));
        let common: Vec<String> = left
            .columns
            .iter()
            .filter(|name| {
                once(&left.columns, name).is_some() && once(&right.columns, name).is_some()
            })
            .cloned()
            .collect();
        let manner = self.dice.roll(5);
        let using: Vec<String> = match manner {
            0 => common,
            1 | 2 => self.dice.pick(&common).cloned().into_iter().collect(),
            _ => Vec::new(),
        };
        let (one, other) = (&left.text, &right.text);
        let mut aliases = [left.aliases, right.aliases].concat();
        let text = match manner {
            0 => format!("{one} NATURAL {kind} {other}"),
            1 if !using.is_empty() => format!("{one} {kind} {other} USING ({})", using.join(", ")),
            2 if !using.is_empty() => {
                let name = self.fresh();
                aliases.push(Alias {
                    name: name.clone(),
                    columns: using.clone(),
                });
                format!(
                    "{one} {kind} {other} USING ({}) AS {name}",
                    using.join(", ")
                )
            }
            _ => format!("{one} {kind} {other} ON true"),
        };
        let rest = left.columns.iter().chain(&right.columns);
        let rest = rest.filter(|name| !using.contains(name)).cloned();
        let columns: Vec<String> = using.iter().cloned().chain(rest).collect();
        match self.dice.roll(3) {
            0 => self.named(format!("({text})"), columns, false),
            _ => Item {
                text,
                aliases,
                columns,
            },
        }
    }

    /// A query, with the names of its columns.
    fn query(&mut self, depth: usize) -> (String, Vec<String>) {
        self.levels.push(Level::new());
        self.taken.push(Vec::new());
        let mut from = Vec::new();
        for _ in 0..1 + usize::from(self.dice.roll(4) == 0) {
            let item = self.source(depth);
            from.push(item.text.clone());
            let level = self.levels.len() - 1;
            self.levels[level].push(item);
        }
        let (mut targets, mut columns) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.dice.roll(3) {
            let level = self.levels[self.levels.len() - 1].clone();
            let item = self.dice.pick(&level).cloned().unwrap_or_default();
            let alias = self.dice.pick(&item.aliases).cloned();
            match (self.dice.roll(7), alias) {
                (0, _) => {
                    targets.push("*".to_owned());
                    columns.extend(level.iter().flat_map(|item| item.columns.clone()));
                }
                (1, Some(alias)) => {
                    targets.push(format!("{}.*", alias.name));
                    columns.extend(alias.columns);
                }
                (2, Some(alias)) => {
                    targets.push(format!("({}).*", alias.name));
                    columns.extend(alias.columns);
                }
                _ => {
                    let (value, name) = (self.value(depth), self.dice.name());
                    targets.push(format!("{value} AS {name}"));
                    columns.push(name);
                }
            }
        }
        self.levels.pop();
        self.taken.pop();
        let tail = ["", "", "", "", " WHERE true", " ORDER BY 1", " LIMIT 3"][self.dice.roll(7)];
        let text = format!(
            "SELECT {} FROM {}{tail}",
            targets.join(", "),
            from.join(", ")
        );
        (text, columns)
    }

    /// `CREATE VIEW crm.v<number>`; the server need not take it.
    pub fn view(&mut self, number: u64) -> String {
        self.levels.clear();
        self.taken.clear();
        self.ctes.clear();
        let mut with = String::new();
        if self.dice.roll(3) == 0 {
            let recursive = self.dice.roll(2) == 0;
            let (first, mut columns) = self.query(1);
            let name = self.dice.name();
            let from = self.dice.roll(NAMES.len());
            for (index, column) in columns.iter_mut().enumerate() {
                *column = format!(
                    "{}{}",
                    NAMES[(from + index) % NAMES.len()],
                    if index < 4 { "" } else { "x" }
                );
            }
            let cte = Alias {
                name: name.clone(),
                columns: columns.clone(),
            };
            let list = columns.join(", ");
            with = match recursive {
                false => format!("WITH {name} ({list}) AS ({first}) "),
                true => {
                    let swapped: Vec<&str> = columns.iter().rev().map(String::as_str).collect();
                    let swapped = swapped.join(", ");
                    format!(
                        "WITH RECURSIVE {name} ({list}) AS (({first}) UNION SELECT {swapped} FROM {name}) "
                    )
                }
            };
            self.ctes.push(cte);
        }
        let (body, columns) = self.query(2);
        let columns: Vec<String> = (0..columns.len())
            .map(|index| format!("c{index}"))
            .collect();
        let mut text = format!(
            "CREATE VIEW crm.v{number} ({}) AS {with}({body})",
            columns.join(", ")
        );
        if self.dice.roll(4) == 0 {
            let operator = ["UNION ALL", "UNION", "EXCEPT", "INTERSECT"][self.dice.roll(4)];
            let values: Vec<String> = columns
                .iter()
                .map(|_| {
                    let relation = self.relation();
                    let column = self
                        .dice
                        .pick(&relation.columns)
                        .cloned()
                        .unwrap_or_default();
                    format!("(SELECT max({column}) FROM crm.{})", relation.name)
                })
                .collect();
            let _ = write!(text, " {operator} SELECT {}", values.join(", "));
        }
        text
    }
}
