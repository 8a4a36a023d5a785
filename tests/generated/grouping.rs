//! GROUP BY, aggregates and window functions.
use crate::generator::{Column, Generator, Scope};
use crate::schema::{TYPES, Ty};

impl Generator {
    /// GROUP BY: the scope of what stands behind it, and the clause.
    pub fn grouped(&mut self, scope: &Scope) -> (Scope, String) {
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
    pub fn windows(&mut self, scope: &mut Scope) {
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
}
