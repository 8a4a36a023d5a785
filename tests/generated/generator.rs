//! Queries: FROM, grouping, windows, set operations, common table expressions. What is written has one result, whatever
//! the plan: LIMIT comes with an order by all columns, aggregates whose result depends on the order of rows have one.
use crate::random::Random;
use crate::schema::{TABLES, TYPES, Table, Ty};

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
    fn outer(&self) -> Vec<Column> {
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
    with: Vec<(String, Vec<Column>)>,
    /// What a lateral or correlated subquery sees.
    outer: Vec<Column>,
    /// Within a subquery, how deep.
    level: usize,
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

    fn body(&mut self, wanted: Option<&[Ty]>) -> Query {
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

    /// GROUP BY: the scope of what stands behind it, and the clause.
    fn grouped(&mut self, scope: &Scope) -> (Scope, String) {
        let mut keys: Vec<Column> = Vec::new();
        for _ in 0..self.random.below(3) {
            let column = self.random.pick(&scope.columns).clone();
            if !self.outer.contains(&column) && !keys.contains(&column) {
                keys.push(column);
            }
        }
        let mut behind = Scope {
            columns: keys.clone(),
            rows: Vec::new(),
        };
        for _ in 0..2 + self.random.below(3) {
            let aggregate = self.aggregate(scope);
            behind.columns.push(aggregate);
        }
        behind.columns.extend(self.outer.iter().cloned());
        let names: Vec<&str> = keys.iter().map(|key| key.0.as_str()).collect();
        let list = names.join(", ");
        let mut tail = match (keys.len(), self.random.below(8)) {
            (0, _) => String::new(),
            (_, 0) => format!(" GROUP BY ROLLUP ({list})"),
            (_, 1) => format!(" GROUP BY CUBE ({list})"),
            (_, 2) => format!(" GROUP BY GROUPING SETS (({list}), ())"),
            _ => format!(" GROUP BY {list}"),
        };
        if self.random.percent(25) {
            let condition = self.value(Ty::Bool, &behind, 2);
            tail += &format!(" HAVING {condition}");
        }
        (behind, tail)
    }

    fn aggregate(&mut self, scope: &Scope) -> Column {
        let filter = match self.random.percent(20) {
            true => format!(" FILTER (WHERE {})", self.value(Ty::Bool, scope, 1)),
            false => String::new(),
        };
        let distinct = if self.random.percent(20) {
            "DISTINCT "
        } else {
            ""
        };
        let (text, ty) = match self.random.below(10) {
            0 => ("count(*)::int".into(), Ty::Int),
            1 => {
                let ty = *self.random.pick(TYPES);
                let a = self.value(ty, scope, 1);
                return (format!("(count({distinct}{a}){filter})::int"), Ty::Int);
            }
            2 => (format!("sum({})", self.value(Ty::Num, scope, 1)), Ty::Num),
            3 => (format!("avg({})", self.value(Ty::Num, scope, 1)), Ty::Num),
            4 => {
                let a = self.value(Ty::Text, scope, 1);
                (format!("string_agg({a}, ',' ORDER BY {a})"), Ty::Text)
            }
            5 => {
                let a = self.value(Ty::Text, scope, 1);
                (
                    format!("array_agg({distinct}({a})::text ORDER BY ({a})::text)"),
                    Ty::Array,
                )
            }
            6 => {
                let ty = *self.random.pick(TYPES);
                let a = self.value(ty, scope, 1);
                (format!("jsonb_agg({a} ORDER BY {a})"), Ty::Json)
            }
            7 => {
                let a = self.value(Ty::Num, scope, 1);
                (
                    format!("percentile_disc(0.5) WITHIN GROUP (ORDER BY {a})"),
                    Ty::Num,
                )
            }
            8 => {
                let a = self.value(Ty::Bool, scope, 1);
                (
                    format!(
                        "{}({a})",
                        self.random.pick(&["bool_and", "bool_or", "every"])
                    ),
                    Ty::Bool,
                )
            }
            _ => {
                let ty = *self.random.pick(&[Ty::Int, Ty::Text, Ty::Date, Ty::Num]);
                let a = self.value(ty, scope, 1);
                (format!("{}({a})", self.random.pick(&["min", "max"])), ty)
            }
        };
        match text.strip_suffix("::int") {
            Some(text) => (format!("({text}{filter})::int"), ty),
            None => (format!("{text}{filter}"), ty),
        }
    }

    /// Window functions whose value peers share.
    fn windows(&mut self, scope: &mut Scope) {
        let plain = scope.clone();
        for _ in 0..1 + self.random.below(2) {
            let order = *self.random.pick(&[Ty::Int, Ty::Text, Ty::Date]);
            let by = self.value(order, &plain, 1);
            let mut over = format!("ORDER BY ({by})");
            if self.random.percent(40) {
                over = format!("PARTITION BY {} {over}", self.random.pick(&plain.columns).0);
            }
            if self.random.percent(25) {
                over += *self.random.pick(&[
                    " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
                    " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
                    " RANGE UNBOUNDED PRECEDING EXCLUDE GROUP",
                ]);
            }
            let (call, ty) = match self.random.below(6) {
                0 => ("rank()".into(), Ty::Int),
                1 => ("dense_rank()".into(), Ty::Int),
                2 => ("count(*)".into(), Ty::Int),
                3 => (format!("sum({})", self.value(Ty::Num, &plain, 1)), Ty::Num),
                4 => (
                    format!("max({})", self.value(Ty::Text, &plain, 1)),
                    Ty::Text,
                ),
                _ => (format!("first_value(({by}))"), order),
            };
            let cast = if ty == Ty::Int { "::int" } else { "" };
            scope
                .columns
                .push((format!("({call} OVER ({over})){cast}"), ty));
        }
    }

    fn from(&mut self) -> (String, Scope) {
        let (mut sql, mut scope) = self.source(None);
        let joins = match self.level {
            0 => self.random.below(3),
            _ => usize::from(self.random.percent(25)),
        };
        for at in 0..joins {
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            sql += &self.join(&mut scope, at + 1 == joins);
        }
        (sql, scope)
    }

    /// A comma only before the `last` item: JOIN binds stronger, and its condition could not name what stands before it.
    fn join(&mut self, scope: &mut Scope, last: bool) -> String {
        let lateral = self.random.percent(15);
        let (right, joined) = self.source(lateral.then(|| scope.outer()).as_deref());
        let lateral = right.starts_with("LATERAL");
        let ids = |scope: &Scope| -> Vec<Column> {
            scope
                .columns
                .iter()
                .filter(|column| column.1 == Ty::Int)
                .cloned()
                .collect()
        };
        let same = joined
            .rows
            .first()
            .zip(scope.rows.first())
            .is_some_and(|(a, b)| {
                let has = |row: &(String, Vec<Column>)| {
                    row.1.iter().filter(|column| column.0 == "id").count() == 1
                };
                has(a) && has(b) && scope.rows.len() == 1
            });
        let (a, b) = (ids(scope), ids(&joined));
        let kind = *self.random.pick(&[
            "JOIN",
            "LEFT JOIN",
            "RIGHT JOIN",
            "FULL JOIN",
            "CROSS JOIN",
            ",",
            "USING",
            "NATURAL",
        ]);
        let text = match kind {
            "," if last => format!(", {right}"),
            "CROSS JOIN" | "," => format!(" CROSS JOIN {right}"),
            "USING" if same && !lateral => format!(" JOIN {right} USING (id)"),
            "NATURAL" if same && !lateral => format!(" NATURAL LEFT JOIN {right}"),
            _ if a.is_empty() || b.is_empty() => format!(" CROSS JOIN {right}"),
            kind => {
                let kind = match kind {
                    "USING" | "NATURAL" => "JOIN",
                    "RIGHT JOIN" | "FULL JOIN" if lateral => "LEFT JOIN",
                    kind => kind,
                };
                let mut on = format!("{} = {}", self.random.pick(&b).0, self.random.pick(&a).0);
                if kind != "FULL JOIN" && self.random.percent(25) {
                    let mut both = scope.clone();
                    both.columns.extend(joined.columns.iter().cloned());
                    on += &format!(" AND {}", self.value(Ty::Bool, &both, 1));
                }
                format!(" {kind} {right} ON {on}")
            }
        };
        scope.columns.extend(joined.columns);
        scope.rows.extend(joined.rows);
        text
    }

    /// One item of FROM. `beside` is what LATERAL sees.
    fn source(&mut self, beside: Option<&[Column]>) -> (String, Scope) {
        let alias = self.alias();
        if let Some(beside) = beside {
            let arrays: Vec<&Column> = beside
                .iter()
                .filter(|column| column.1 == Ty::Array)
                .collect();
            if !arrays.is_empty() && self.random.percent(50) {
                let array = &self.random.pick(&arrays).0;
                return item(format!("unnest({array})"), &alias, &[("u", Ty::Text)], true);
            }
            let outer = self.outer.len();
            self.outer.extend(beside.iter().cloned());
            let types = self.types(2);
            self.level += 1;
            let inner = self.body(Some(&types)).sql;
            self.level -= 1;
            self.outer.truncate(outer);
            return listed(format!("LATERAL ({inner})"), &alias, &types);
        }
        let choice = self.random.below(100);
        if choice < 12 && !self.with.is_empty() {
            let (name, columns) = self.random.pick(&self.with).clone();
            let columns: Vec<(&str, Ty)> = columns
                .iter()
                .map(|column| (column.0.as_str(), column.1))
                .collect();
            return item(name, &alias, &columns, false);
        }
        if choice < 22 && self.level < 2 && self.budget > 3 {
            let types = self.types(3);
            self.level += 1;
            let before = std::mem::take(&mut self.outer);
            let inner = self.query(Some(&types)).sql;
            self.outer = before;
            self.level -= 1;
            return listed(format!("({inner})"), &alias, &types);
        }
        if choice < 25 {
            return item(
                "generate_series(1, 4)".into(),
                &alias,
                &[("g", Ty::Int)],
                true,
            );
        }
        self.table(&alias)
    }

    fn table(&mut self, alias: &str) -> (String, Scope) {
        let table = self.some_table();
        let hidden = self.with.iter().any(|with| with.0 == table.name);
        let mut name = match hidden || self.random.percent(40) {
            true => format!("crm.{}", table.name),
            false => table.name.to_owned(),
        };
        if table.parent && self.random.percent(15) {
            name = format!("ONLY {name}");
        } else if table.parent && self.random.percent(5) {
            name += " *";
        }
        if !table.view && self.random.percent(3) {
            name += &format!(
                " {alias} TABLESAMPLE BERNOULLI (50) REPEATABLE ({})",
                self.random.below(9)
            );
            let scope = columns(alias, table.columns);
            return (name, scope);
        }
        if self.random.percent(4) {
            let given: Vec<String> = (0..table.columns.len())
                .map(|at| format!("y{at}"))
                .collect();
            let columns: Vec<(&str, Ty)> = given
                .iter()
                .zip(table.columns)
                .map(|(name, column)| (name.as_str(), column.1))
                .collect();
            let (sql, mut scope) = item(name, alias, &columns, true);
            // The row of a table as a whole has the table's column names, that of a template those of the list: known.
            scope.rows.clear();
            return (sql, scope);
        }
        item(name, alias, table.columns, false)
    }

    pub fn some_table(&mut self) -> &'static Table {
        // The table that most is masked in comes most often.
        match self.random.percent(35) {
            true => &TABLES[0],
            false => self.random.pick(TABLES),
        }
    }
}

fn columns(alias: &str, columns: &[(&str, Ty)]) -> Scope {
    Scope {
        columns: columns
            .iter()
            .map(|column| (format!("{alias}.{}", column.0), column.1))
            .collect(),
        rows: vec![(
            alias.to_owned(),
            columns
                .iter()
                .map(|column| (column.0.to_owned(), column.1))
                .collect(),
        )],
    }
}

fn item(name: String, alias: &str, given: &[(&str, Ty)], list: bool) -> (String, Scope) {
    let names: Vec<&str> = given.iter().map(|column| column.0).collect();
    let list = if list {
        format!("({})", names.join(", "))
    } else {
        String::new()
    };
    let mut scope = columns(alias, given);
    // Of a function's result that is no row the alias is the value itself.
    if name.starts_with("unnest") || name.starts_with("generate_series") {
        scope.rows.clear();
    }
    (format!("{name} AS {alias}{list}"), scope)
}

fn listed(sql: String, alias: &str, types: &[Ty]) -> (String, Scope) {
    let names: Vec<String> = (0..types.len()).map(|at| format!("z{at}")).collect();
    let given: Vec<(&str, Ty)> = names
        .iter()
        .map(String::as_str)
        .zip(types.iter().copied())
        .collect();
    item(sql, alias, &given, true)
}
