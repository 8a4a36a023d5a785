//! Constants: literals with and without their type, and parameters.
use crate::generator::Generator;
use crate::schema::Ty;

const TEXTS: &[&str] = &[
    "138****0001",
    "138",
    "CN",
    "EU",
    "B",
    "B*****",
    "a",
    "",
    "note 1",
    "b***@mail.example",
    "call",
    "new",
    "12",
    "2024-01-05",
    "***",
    "x''y",
    "%8%",
];

impl Generator {
    /// A constant with its type: a cast literal, or a parameter.
    pub fn literal(&mut self, ty: Ty) -> String {
        let plain = self.constant(ty);
        if self.random.percent(4) {
            return format!("NULL::{}", ty.sql());
        }
        if self.parameters.is_some() && self.random.percent(50) {
            return format!("{}::{}", self.parameter(plain), ty.sql());
        }
        match ty {
            Ty::Int | Ty::Num if !plain.starts_with('-') => plain,
            Ty::Bool => plain,
            Ty::Text if self.random.percent(60) => format!("'{plain}'"),
            Ty::Date if self.random.percent(50) => format!("date '{plain}'"),
            _ if self.random.percent(20) => format!("CAST('{plain}' AS {})", ty.sql()),
            _ => format!("'{plain}'::{}", ty.sql()),
        }
    }

    fn parameter(&mut self, plain: String) -> String {
        let parameters = self.parameters.as_mut().expect("asked for");
        parameters.push(plain.replace("''", "'"));
        format!("${}", parameters.len())
    }

    /// A constant as a literal without a type, as applications compare columns with.
    pub fn bare(&mut self, ty: Ty) -> String {
        let plain = self.constant(ty);
        match self.parameters {
            Some(_) if self.random.percent(60) => self.parameter(plain),
            _ if matches!(ty, Ty::Int | Ty::Num | Ty::Bool) => plain,
            _ => format!("'{plain}'"),
        }
    }

    fn constant(&mut self, ty: Ty) -> String {
        let random = &mut self.random;
        match ty {
            Ty::Int => random.between(-2, 12).to_string(),
            Ty::Num => format!("{}.5", random.between(0, 9) * 2500),
            Ty::Text => (*random.pick(TEXTS)).into(),
            Ty::Bool => (*random.pick(&["true", "false"])).into(),
            Ty::Date => format!(
                "{}-01-0{}",
                random.between(1969, 2024),
                random.between(1, 9)
            ),
            Ty::Json => {
                (*random.pick(&["{\"k\": 1}", "\"***\"", "[1, \"a\"]", "{\"k\": \"x\"}"])).into()
            }
            Ty::Array => (*random.pick(&["{}", "{a}", "{a,b1}", "{CN,NULL}"])).into(),
        }
    }
}
