//! An audit record as the demo shows it: one field per line, in the order in which they were written.
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::DemoError;

/// The fields of one line of the spool.
#[derive(Debug, PartialEq)]
pub struct Shown(Vec<(String, Value)>);

impl Shown {
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(field, _)| field == name)?;
        value.as_str()
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &self.0 {
            writeln!(f, "  {name:width$}  {value}")?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Shown;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an audit record")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Shown, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Shown(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// The last record of that event in the spool; `None` where there is none, or no spool.
pub fn last(dir: &Path, event: &str) -> Result<Option<Shown>, DemoError> {
    for path in segments(dir)?.iter().rev() {
        let text = std::fs::read_to_string(path).map_err(|e| file_error("read", path, e))?;
        let records = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Shown>(line).ok());
        if let Some(record) = records
            .into_iter()
            .find(|record| record.field("event") == Some(event))
        {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// The files of the spool in the order in which they were written.
fn segments(dir: &Path) -> Result<Vec<PathBuf>, DemoError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(file_error("read the directory", dir, e)),
    };
    let mut files: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    Ok(files)
}

fn file_error(doing: &'static str, path: &Path, source: std::io::Error) -> DemoError {
    DemoError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_line_up() {
        let record: Shown =
            serde_json::from_str(r#"{"time":"now","event":"login","rows":3}"#).expect("a record");
        assert_eq!(
            record.to_string(),
            "  time   \"now\"\n  event  \"login\"\n  rows   3\n"
        );
        assert_eq!(
            (record.field("event"), record.field("rows")),
            (Some("login"), None)
        );
    }

    #[test]
    fn without_a_spool_there_is_no_record() {
        let found = last(Path::new("/nonexistent/spool"), "login").expect("no error");
        assert_eq!(found, None);
    }
}
