//! Queries: FROM, grouping, windows, set operations, common table expressions. What is written has one result, whatever
//! the plan: LIMIT comes with an order by all columns, aggregates whose result depends on the order of rows have one.
use crate::random::Random;
use crate::schema::{TYPES, Ty};

/// A column as SQL text, and its type.
pub type Column = (String, Ty);

/// What expressions may name.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub columns: Vec<Column>,
    /// Aliases that stand for a whole row, with the columns of the row by name.
    pub rows: Vec<(String, Vec<Column>)>,
}

impl Scope {
    /// What a correlated subquery may name of it: plain columns.
    pub fn outer(&self) -> Vec<Column> {
        let plain = |text: &str| {
            text.chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "_.".contains(letter))
                && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        };
        self.columns
            .iter()
            .filter(|column| plain(&column.0))
            .cloned()
            .collect()
    }
}

/// A query and its columns.
pub struct Query {
    pub sql: String,
    pub columns: Vec<Column>,
}

pub struct Generator {
    pub random: Random,
    /// Values of `$1`, `$2`, ... in the extended protocol.
    pub parameters: Option<Vec<String>>,
    /// Calls and operators that may still be written.
    pub budget: usize,
    aliases: usize,
    /// Names of common table expressions in scope.
    pub with: Vec<(String, Vec<Column>)>,
    /// What a lateral or correlated subquery sees.
    pub outer: Vec<Column>,
    /// Within a subquery, how deep.
    pub level: usize,
}

impl Generator {
    pub fn new(seed: u64, parameters: bool) -> Generator {
        let mut random = Random::new(seed);
        let budget = 4 + random.below(24);
        Generator {
            random,
            parameters: parameters.then(Vec::new),
            budget,
            aliases: 0,
            with: Vec::new(),
            outer: Vec::new(),
            level: 0,
        }
    }

    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        let name = *self.random.pick(&["c", "d", "e", "t", "x"]);
        format!("{name}{}", self.aliases)
    }

    pub fn types(&mut self, most: usize) -> Vec<Ty> {
        let count = 1 + self.random.below(most);
        (0..count).map(|_| *self.random.pick(TYPES)).collect()
    }

    /// A subquery of wanted types in an expression.
    pub fn subquery(&mut self, types: &[Ty], scope: &Scope) -> String {
        let before = (
            std::mem::replace(&mut self.outer, scope.outer()),
            self.level,
        );
        self.level += 1;
        let sql = self.query(Some(types)).sql;
        (self.outer, self.level) = before;
        sql
    }

    pub fn scalar_subquery(&mut self, ty: Ty, scope: &Scope) -> String {
        if self.level > 1 {
            return self.leaf(ty, scope);
        }
        let inner = self.subquery(&[ty], scope);
        match ty {
            Ty::Json | Ty::Array | Ty::Bool => {
                format!("(SELECT q FROM ({inner}) AS s(q) ORDER BY 1 LIMIT 1)")
            }
            _ => format!(
                "(SELECT {}(q) FROM ({inner}) AS s(q))",
                self.random.pick(&["min", "max"])
            ),
        }
    }

    /// A query whose columns have the wanted types, or any.
    pub fn query(&mut self, wanted: Option<&[Ty]>) -> Query {
        let known = self.with.len();
        let mut head = String::new();
        if self.level < 2
            && self.budget > 6
            && self.random.percent(if self.level == 0 { 22 } else { 6 })
        {
            head = self.with_clause();
        }
        let mut query = self.body(wanted);
        self.with.truncate(known);
        query.sql = format!("{head}{}", query.sql);
        query
    }

    pub fn body(&mut self, wanted: Option<&[Ty]>) -> Query {
        let types = wanted.map_or_else(|| self.types(4), <[Ty]>::to_vec);
        if self.budget > 4 && self.random.percent(10) {
            let (left, right) = (self.select(&types, false), self.select(&types, false));
            let operator =
                *self
                    .random
                    .pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
            return Query {
                sql: format!("{} {operator} {}", left.sql, right.sql),
                columns: left.columns,
            };
        }
        if self.random.percent(4) {
            let empty = Scope::default();
            let mut rows = Vec::new();
            for _ in 0..1 + self.random.below(3) {
                let cells: Vec<String> =
                    types.iter().map(|ty| self.value(*ty, &empty, 2)).collect();
                rows.push(format!("({})", cells.join(", ")));
            }
            let columns = types
                .iter()
                .enumerate()
                .map(|(at, ty)| (format!("column{}", at + 1), *ty));
            return Query {
                columns: columns.collect(),
                sql: format!("VALUES {}", rows.join(", ")),
            };
        }
        self.select(&types, wanted.is_none())
    }

    /// Two or one common table expressions; they may hide tables.
    fn with_clause(&mut self) -> String {
        let mut parts = Vec::new();
        let recursive = self.random.percent(25);
        for _ in 0..1 + self.random.below(2) {
            let mut name =
                (*self
                    .random
                    .pick(&["q", "w", "contacts", "deals", "leads", "v_contacts"]))
                .to_owned();
            while self.with.iter().any(|with| with.0 == name) {
                name.push('1');
            }
            let types = self.types(3);
            self.level += 1;
            let inner = self.body(Some(&types)).sql;
            self.level -= 1;
            let columns: Vec<Column> = types
                .iter()
                .enumerate()
                .map(|(at, ty)| (format!("f{at}"), *ty))
                .collect();
            let names: Vec<&str> = columns.iter().map(|column| column.0.as_str()).collect();
            let hint = *self
                .random
                .pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            parts.push(format!("{name}({}) AS {hint}({inner})", names.join(", ")));
            self.with.push((name, columns));
        }
        if recursive {
            let seed = (*self.random.pick(&["contacts", "deals", "events"])).to_owned();
            // A common table expression may have hidden the table: by its schema it is meant.
            let column = match seed.as_str() {
                "deals" => "stage",
                _ => "phone",
            };
            parts.push(format!(
                "r(n, s) AS (SELECT id, {column}::text FROM crm.{seed} WHERE id < 4 UNION ALL \
                 SELECT n + 1, s || left(s, 1) FROM r WHERE n < 5)"
            ));
            self.with.push((
                "r".into(),
                vec![("n".into(), Ty::Int), ("s".into(), Ty::Text)],
            ));
        }
        format!(
            "WITH {}{} ",
            if recursive { "RECURSIVE " } else { "" },
            parts.join(", ")
        )
    }

    fn select(&mut self, types: &[Ty], free: bool) -> Query {
        let (from, mut scope) = self.from();
        scope.columns.extend(self.outer.iter().cloned());
        let mut filter = String::new();
        if self.random.percent(60) {
            filter = format!(" WHERE {}", self.value(Ty::Bool, &scope, 3));
        }
        // The client's own star, and whole rows.
        if free && self.random.percent(18) {
            let list = self.star(&scope);
            return Query {
                sql: format!("SELECT {list} FROM {from}{filter}"),
                columns: Vec::new(),
            };
        }
        let mut tail = String::new();
        if self.budget > 2 && self.random.percent(22) {
            (scope, tail) = self.grouped(&scope);
        } else if self.budget > 2 && self.random.percent(14) {
            self.windows(&mut scope);
        }
        let mut list = Vec::new();
        let mut columns = Vec::new();
        for (at, ty) in types.iter().enumerate() {
            let value = self.value(*ty, &scope, 3);
            let name = format!("o{at}");
            // Without AS the name is the column's own; in a subquery it must be known.
            if self.level == 0 && free && self.random.percent(40) {
                list.push(value);
            } else {
                list.push(format!("{value} AS {name}"));
            }
            columns.push((name, *ty));
        }
        let distinct = if self.random.percent(8) {
            "DISTINCT "
        } else {
            ""
        };
        Query {
            sql: format!(
                "SELECT {distinct}{} FROM {from}{filter}{tail}",
                list.join(", ")
            ),
            columns,
        }
    }

    fn star(&mut self, scope: &Scope) -> String {
        let Some((row, _)) = scope.rows.first().cloned() else {
            return "*".into();
        };
        match self.random.below(5) {
            0 => format!("{row}.*"),
            1 => format!("({row}).*"),
            2 => row,
            3 => format!("{row}, 1"),
            _ => "*".into(),
        }
    }
}
