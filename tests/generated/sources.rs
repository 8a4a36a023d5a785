//! FROM: tables and what stands in their place, and joins.
use crate::generator::{Column, Generator, Scope};
use crate::schema::{TABLES, Table, Ty};

impl Generator {
    pub fn from(&mut self) -> (String, Scope) {
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
