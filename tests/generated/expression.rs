//! Expressions of a wanted type over the columns in scope.
use crate::generator::{Generator, Scope};
use crate::schema::{TABLES, TYPES, Ty};

impl Generator {
    /// An expression of the type; never deeper than `depth` calls.
    pub fn value(&mut self, ty: Ty, scope: &Scope, depth: usize) -> String {
        if self.budget == 0 || depth == 0 || self.random.percent(35) {
            return self.leaf(ty, scope);
        }
        self.budget -= 1;
        if self.random.percent(22) {
            return self.any_type(ty, scope, depth - 1);
        }
        let depth = depth - 1;
        match ty {
            Ty::Int => self.int(scope, depth),
            Ty::Num => self.num(scope, depth),
            Ty::Text => self.text(scope, depth),
            Ty::Bool => self.bool(scope, depth),
            Ty::Date => self.date(scope, depth),
            Ty::Json => self.json(scope, depth),
            Ty::Array => self.array(scope, depth),
        }
    }

    /// A column of the type if there is one, else a literal.
    pub fn leaf(&mut self, ty: Ty, scope: &Scope) -> String {
        let fitting: Vec<&String> = scope
            .columns
            .iter()
            .filter(|column| column.1 == ty)
            .map(|column| &column.0)
            .collect();
        if !fitting.is_empty() && self.random.percent(80) {
            return (*self.random.pick(&fitting)).clone();
        }
        self.literal(ty)
    }

    fn any_type(&mut self, ty: Ty, scope: &Scope, depth: usize) -> String {
        match self.random.below(9) {
            0 => {
                let (a, b) = (self.value(ty, scope, depth), self.value(ty, scope, depth));
                format!("COALESCE({a}, {b})")
            }
            1 => {
                let when = self.bool(scope, depth);
                let (a, b) = (self.value(ty, scope, depth), self.value(ty, scope, depth));
                format!("CASE WHEN {when} THEN {a} ELSE {b} END")
            }
            2 => {
                let of = *self.random.pick(&[Ty::Int, Ty::Text, Ty::Date]);
                let (x, y) = (self.value(of, scope, depth), self.literal(of));
                let (a, b) = (self.value(ty, scope, depth), self.value(ty, scope, depth));
                format!("CASE {x} WHEN {y} THEN {a} ELSE {b} END")
            }
            3 => {
                let (a, b) = (self.value(ty, scope, depth), self.value(ty, scope, depth));
                format!("NULLIF({a}, {b})")
            }
            4 if ty != Ty::Json => {
                let (a, b) = (self.value(ty, scope, depth), self.value(ty, scope, depth));
                format!("{}({a}, {b})", self.random.pick(&["GREATEST", "LEAST"]))
            }
            5 | 6 => self.scalar_subquery(ty, scope),
            7 => self.field_of_row(ty, scope),
            _ => {
                let inner = self.value(ty, scope, depth);
                format!("({inner})::{}", ty.sql())
            }
        }
    }

    /// `(c).phone`, `phone(c)`: the two other ways to write a column.
    fn field_of_row(&mut self, ty: Ty, scope: &Scope) -> String {
        let fields: Vec<(&String, &String)> = scope
            .rows
            .iter()
            .flat_map(|row| row.1.iter().map(move |column| (&row.0, column)))
            .filter(|(_, column)| column.1 == ty)
            .map(|(alias, column)| (alias, &column.0))
            .collect();
        if fields.is_empty() {
            return self.leaf(ty, scope);
        }
        let (alias, column) = *self.random.pick(&fields);
        // As a function only names that a table has: pgveil does not know those of alias lists and subqueries so.
        let of_table = TABLES
            .iter()
            .any(|table| table.columns.iter().any(|known| known.0 == column));
        match of_table && self.random.percent(30) {
            true => format!("{column}({alias})"),
            false => format!("({alias}).{column}"),
        }
    }

    fn some_row(&mut self, scope: &Scope) -> Option<String> {
        let rows: Vec<&String> = scope.rows.iter().map(|row| &row.0).collect();
        (!rows.is_empty()).then(|| (*self.random.pick(&rows)).clone())
    }

    fn int(&mut self, scope: &Scope, depth: usize) -> String {
        match self.random.below(13) {
            0 | 1 => {
                let text = self.value(Ty::Text, scope, depth);
                let function =
                    *self
                        .random
                        .pick(&["length", "char_length", "ascii", "octet_length"]);
                format!("{function}({text})")
            }
            2 | 3 => {
                let (a, b) = (
                    self.value(Ty::Int, scope, depth),
                    self.value(Ty::Int, scope, depth),
                );
                format!("({a} {} {b})", self.random.pick(&["+", "-", "#", "&"]))
            }
            4 => {
                let (a, b) = (self.value(Ty::Int, scope, depth), self.literal(Ty::Int));
                format!("({a} % NULLIF({b}, 0))")
            }
            // Raises where the divisor is 0.
            5 if self.random.percent(25) => {
                let (a, b) = (self.literal(Ty::Int), self.value(Ty::Int, scope, depth));
                format!("{a} / {b}")
            }
            6 => {
                let date = self.value(Ty::Date, scope, depth);
                let part = *self.random.pick(&["year", "month", "day", "doy"]);
                format!("EXTRACT({part} FROM {date})::int")
            }
            7 => {
                let text = self.value(Ty::Text, scope, depth);
                format!("position('1' IN {text})")
            }
            8 => {
                let array = self.value(Ty::Array, scope, depth);
                format!("cardinality({array})")
            }
            9 => {
                let num = self.value(Ty::Num, scope, depth);
                format!(
                    "{}({num} / 1000)::int",
                    self.random.pick(&["round", "floor", "ceil", "sign"])
                )
            }
            // Raises on most texts.
            10 if self.random.percent(15) => {
                let text = self.value(Ty::Text, scope, depth);
                format!("({text})::int")
            }
            11 => {
                let (a, b) = (self.value(Ty::Date, scope, depth), self.literal(Ty::Date));
                format!("({a} - {b})")
            }
            _ => {
                let a = self.value(Ty::Int, scope, depth);
                format!("abs({a})")
            }
        }
    }

    fn num(&mut self, scope: &Scope, depth: usize) -> String {
        let a = self.value(Ty::Num, scope, depth);
        match self.random.below(6) {
            0 => format!("round({a}, 1)"),
            1 => {
                let b = self.value(Ty::Num, scope, depth);
                format!("({a} {} {b})", self.random.pick(&["+", "-"]))
            }
            2 => {
                let b = self.value(Ty::Int, scope, depth);
                format!("({a} * {b})")
            }
            3 if self.random.percent(25) => {
                let b = self.literal(Ty::Num);
                format!("round({b} / {a}, 3)")
            }
            4 => {
                let b = self.value(Ty::Int, scope, depth);
                format!("({b})::numeric")
            }
            _ => format!("{}({a})", self.random.pick(&["abs", "trunc", "ceil", "-"])),
        }
    }

    fn text(&mut self, scope: &Scope, depth: usize) -> String {
        let a = self.value(Ty::Text, scope, depth);
        let random = &mut self.random;
        match random.below(22) {
            0 | 1 => {
                let b = self.value(Ty::Text, scope, depth);
                format!("({a} || {b})")
            }
            2 | 3 => format!(
                "{}({a})",
                random.pick(&[
                    "upper",
                    "lower",
                    "reverse",
                    "md5",
                    "btrim",
                    "initcap",
                    "initials",
                    "crm.initials",
                    "quote_literal",
                    "quote_ident"
                ])
            ),
            4 => format!(
                "{}({a}, {})",
                random.pick(&["left", "right", "repeat"]),
                random.between(-1, 5)
            ),
            5 => format!(
                "substr({a}, {}, {})",
                random.between(1, 6),
                random.between(0, 6)
            ),
            6 => format!(
                "substring({a} FROM {} FOR {})",
                random.between(1, 6),
                random.between(0, 6)
            ),
            7 => format!(
                "substring({a} FROM '{}')",
                random.pick(&["[0-9]+", "^.(.)", "@(.*)$"])
            ),
            8 => format!(
                "regexp_replace({a}, '{}', '{}', 'g')",
                random.pick(&["[0-9]", "\\*", "(.)(.)"]),
                random.pick(&["", "#", "\\2\\1"])
            ),
            9 => format!(
                "split_part({a}, '{}', {})",
                random.pick(&["@", "*", " "]),
                random.between(1, 3)
            ),
            10 => format!("translate({a}, '0123*', 'abcd')"),
            11 => format!("lpad({a}, {}, '-')", random.between(0, 15)),
            12 => format!("overlay({a} PLACING 'zz' FROM {})", random.between(1, 4)),
            13 => {
                let of = *random.pick(TYPES);
                let b = self.value(of, scope, depth);
                format!("concat({a}, '/', {b})")
            }
            14 => {
                let of = *random.pick(TYPES);
                let b = self.value(of, scope, depth);
                format!("format('%s-%L', {a}, {b})")
            }
            15 | 16 => {
                let of = *random.pick(TYPES);
                let b = self.value(of, scope, depth);
                format!(
                    "({b})::{}",
                    self.random
                        .pick(&["text", "varchar", "varchar(6)", "pg_catalog.text"])
                )
            }
            17 => {
                let of = *random.pick(&[("k", Ty::Json), ("n", Ty::Json)]);
                let b = self.value(of.1, scope, depth);
                format!("({b} ->> '{}')", of.0)
            }
            18 => {
                let b = self.value(Ty::Array, scope, depth);
                match self.random.percent(50) {
                    true => format!("array_to_string({b}, '+')"),
                    false => format!("({b})[1]"),
                }
            }
            19 => {
                let b = self.value(Ty::Date, scope, depth);
                format!("to_char({b}, 'YYYY-MM')")
            }
            20 => format!(
                "encode(convert_to({a}, 'UTF8'), '{}')",
                random.pick(&["hex", "base64"])
            ),
            _ => match self.some_row(scope) {
                Some(row) => format!("({row})::text"),
                None => a,
            },
        }
    }

    fn bool(&mut self, scope: &Scope, depth: usize) -> String {
        match self.random.below(18) {
            0..=4 => {
                let ty = *self.random.pick(TYPES);
                let a = self.value(ty, scope, depth);
                let b = match self.random.percent(50) {
                    true => self.bare(ty),
                    false => self.value(ty, scope, depth),
                };
                let operator = *self
                    .random
                    .pick(&["=", "=", "<>", "<", ">=", "!=", ">", "<="]);
                format!("({a} {operator} {b})")
            }
            5 => {
                let (a, b) = (
                    self.value(Ty::Bool, scope, depth),
                    self.value(Ty::Bool, scope, depth),
                );
                format!("({a} {} {b})", self.random.pick(&["AND", "OR"]))
            }
            6 => format!("(NOT ({}))", self.value(Ty::Bool, scope, depth)),
            7 => {
                let ty = *self.random.pick(TYPES);
                let a = self.value(ty, scope, depth);
                format!("({a} IS {}NULL)", self.random.pick(&["", "NOT "]))
            }
            8 | 9 => {
                let a = self.value(Ty::Text, scope, depth);
                let operator = *self.random.pick(&[
                    "LIKE '138%'",
                    "LIKE '%0_'",
                    "ILIKE 'b%'",
                    "NOT LIKE '%*%'",
                    "~ '^1[0-9]+'",
                    "~* 'B'",
                    "!~ '[*]'",
                    "SIMILAR TO '(1|b)%'",
                    "LIKE '%!%%' ESCAPE '!'",
                    "^@ '138'",
                    "BETWEEN 'a' AND 'm'",
                ]);
                format!("({a} {operator})")
            }
            10 => {
                let ty = *self.random.pick(&[Ty::Int, Ty::Text, Ty::Date, Ty::Num]);
                let (a, b, c) = (self.value(ty, scope, depth), self.bare(ty), self.bare(ty));
                format!("({a} {}IN ({b}, {c}))", self.random.pick(&["", "NOT "]))
            }
            11 | 12 => {
                let ty = *self.random.pick(&[Ty::Int, Ty::Text, Ty::Date]);
                let a = self.value(ty, scope, depth);
                let inner = self.subquery(&[ty], scope);
                let operator = *self
                    .random
                    .pick(&["IN", "NOT IN", "= ANY", "> ALL", "<> ALL", "= SOME"]);
                format!("({a} {operator} ({inner}))")
            }
            13 => {
                let ty = *self.random.pick(TYPES);
                let inner = self.subquery(&[ty], scope);
                format!("{}EXISTS ({inner})", self.random.pick(&["", "NOT "]))
            }
            14 => {
                let (a, b) = (
                    self.value(Ty::Text, scope, depth),
                    self.value(Ty::Array, scope, depth),
                );
                match self.random.below(3) {
                    0 => format!("{a} = ANY ({b})"),
                    1 => format!("{b} @> ARRAY[{a}]"),
                    _ => format!("{b} && ARRAY[{a}, 'a']"),
                }
            }
            15 => {
                let (a, b) = (
                    self.value(Ty::Int, scope, depth),
                    self.value(Ty::Text, scope, depth),
                );
                let (x, y) = (self.literal(Ty::Int), self.literal(Ty::Text));
                let operator = *self.random.pick(&["=", "<", ">=", "IS DISTINCT FROM"]);
                format!("(({a}, {b}) {operator} ({x}, {y}))")
            }
            16 => {
                let a = self.value(Ty::Json, scope, depth);
                let operator =
                    *self
                        .random
                        .pick(&["? 'k'", "@> '{\"k\": 1}'", "@? '$.k'", "?| '{k,n}'"]);
                format!("({a} {operator})")
            }
            _ => match self.some_row(scope) {
                Some(row) => format!("({row} IS {}NULL)", self.random.pick(&["", "NOT "])),
                None => self.literal(Ty::Bool),
            },
        }
    }

    fn date(&mut self, scope: &Scope, depth: usize) -> String {
        let a = self.value(Ty::Date, scope, depth);
        match self.random.below(4) {
            0 => {
                let b = self.value(Ty::Int, scope, depth);
                format!("({a} + {b})")
            }
            1 => format!(
                "date_trunc('{}', {a})::date",
                self.random.pick(&["year", "month"])
            ),
            2 => format!("({a} + interval '1 month')::date"),
            _ if self.random.percent(10) => {
                let b = self.value(Ty::Text, scope, depth);
                format!("({b})::date")
            }
            _ => format!("({a} - 1)"),
        }
    }

    fn json(&mut self, scope: &Scope, depth: usize) -> String {
        let ty = *self.random.pick(TYPES);
        let a = self.value(ty, scope, depth);
        let row = self.some_row(scope);
        match (self.random.below(7), row) {
            (0, _) => format!("jsonb_build_object('k', {a})"),
            (1, _) => format!("to_jsonb({a})"),
            (2, Some(row)) => format!("to_jsonb({row})"),
            (3, Some(row)) => format!("row_to_json({row})::jsonb"),
            (4, _) => {
                let b = self.value(Ty::Json, scope, depth);
                format!("({b} -> 'k')")
            }
            (5, _) => {
                let b = self.value(Ty::Json, scope, depth);
                format!("jsonb_set({b}, '{{k}}', to_jsonb({a}))")
            }
            _ => format!("jsonb_build_array({a}, 1)"),
        }
    }

    fn array(&mut self, scope: &Scope, depth: usize) -> String {
        let a = self.value(Ty::Text, scope, depth);
        match self.random.below(6) {
            0 => {
                let b = self.value(Ty::Text, scope, depth);
                format!("ARRAY[{a}::text, {b}]")
            }
            1 => format!("string_to_array({a}, '*')"),
            2 => format!("regexp_split_to_array({a}, '[@*]+')"),
            3 => {
                let b = self.value(Ty::Array, scope, depth);
                format!("array_append({b}, {a}::text)")
            }
            4 => {
                let (b, c) = (
                    self.value(Ty::Array, scope, depth),
                    self.value(Ty::Array, scope, depth),
                );
                format!("({b} || {c})")
            }
            _ => {
                let inner = self.subquery(&[Ty::Text], scope);
                format!("ARRAY(SELECT q::text FROM ({inner}) AS s(q) ORDER BY 1)")
            }
        }
    }
}
