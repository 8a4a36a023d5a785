//! The outcome of all cases: as text, by the Test Anything Protocol, as JUnit's XML.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ReportFormat;

/// A case that was tried.
pub struct Tried {
    pub file: PathBuf,
    pub line: u32,
    pub name: String,
    pub outcome: Outcome,
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// What could be looked at was as expected.
    Skipped(String),
    Failed(Vec<String>),
}

impl Outcome {
    pub fn of(wrong: Vec<String>) -> Self {
        match wrong.is_empty() {
            true => Outcome::Passed,
            false => Outcome::Failed(wrong),
        }
    }
}

pub fn text(tried: &[Tried], format: ReportFormat) -> String {
    match format {
        ReportFormat::Text => plain(tried),
        ReportFormat::Tap => tap(tried),
        ReportFormat::Junit => junit(tried),
    }
}

fn plain(tried: &[Tried]) -> String {
    let mut out = String::new();
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for one in tried {
        let place = format!("{}:{}", one.file.display(), one.line);
        let _ = match &one.outcome {
            Outcome::Passed => {
                passed += 1;
                writeln!(out, "ok       {place}: {}", one.name)
            }
            Outcome::Skipped(reason) => {
                skipped += 1;
                writeln!(out, "skipped  {place}: {} ({reason})", one.name)
            }
            Outcome::Failed(wrong) => {
                failed += 1;
                let said = wrong.join("\n           ");
                writeln!(out, "FAILED   {place}: {}\n           {said}", one.name)
            }
        };
    }
    let _ = writeln!(out, "\n{passed} passed, {skipped} skipped, {failed} failed");
    out
}

/// <https://testanything.org/tap-version-13-specification.html>
fn tap(tried: &[Tried]) -> String {
    let mut out = format!("TAP version 13\n1..{}\n", tried.len());
    for (index, one) in tried.iter().enumerate() {
        let number = index + 1;
        // A number sign would begin a directive.
        let name = one.name.replace('\\', "\\\\").replace('#', "\\#");
        let _ = match &one.outcome {
            Outcome::Passed => writeln!(out, "ok {number} - {name}"),
            Outcome::Skipped(reason) => writeln!(out, "ok {number} - {name} # SKIP {reason}"),
            Outcome::Failed(wrong) => {
                let quoted = |text: &str| serde_json::Value::from(text).to_string();
                writeln!(
                    out,
                    "not ok {number} - {name}\n  ---\n  message: {}\n  at: {}\n  ...",
                    quoted(&wrong.join("; ")),
                    quoted(&format!("{}:{}", one.file.display(), one.line))
                )
            }
        };
    }
    out
}

/// As CI systems read it: a suite for each file.
fn junit(tried: &[Tried]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let mut files: Vec<&Path> = tried.iter().map(|one| one.file.as_path()).collect();
    files.dedup();
    for file in files {
        let own: Vec<&Tried> = tried.iter().filter(|one| one.file == file).collect();
        let count = |is: fn(&Outcome) -> bool| own.iter().filter(|one| is(&one.outcome)).count();
        let took: Duration = own.iter().map(|one| one.took).sum();
        let suite = escaped(&file.display().to_string());
        let _ = writeln!(
            out,
            "  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\" time=\"{:.3}\">",
            own.len(),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
            took.as_secs_f64()
        );
        for one in own {
            let _ = write!(
                out,
                "    <testcase classname=\"{suite}\" name=\"{}\" file=\"{suite}\" line=\"{}\" time=\"{:.3}\"",
                escaped(&one.name),
                one.line,
                one.took.as_secs_f64()
            );
            let _ = match &one.outcome {
                Outcome::Passed => writeln!(out, "/>"),
                Outcome::Skipped(reason) => writeln!(
                    out,
                    "><skipped message=\"{}\"/></testcase>",
                    escaped(reason)
                ),
                Outcome::Failed(wrong) => writeln!(
                    out,
                    "><failure message=\"{}\">{}</failure></testcase>",
                    escaped(wrong.first().map_or("", String::as_str)),
                    escaped(&wrong.join("\n"))
                ),
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// XML 1.0 has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried() -> Vec<Tried> {
        let one = |name: &str, outcome| Tried {
            file: "crm.yaml".into(),
            line: 7,
            name: name.to_owned(),
            outcome,
            took: Duration::from_millis(2),
        };
        vec![
            one("plain", Outcome::Passed),
            one(
                "a #1 <b>",
                Outcome::Failed(vec!["expected \"x\" & y".to_owned()]),
            ),
            one("rows", Outcome::Skipped("no database".to_owned())),
        ]
    }

    #[test]
    fn a_name_is_no_directive_in_tap() {
        assert_eq!(
            tap(&tried()),
            "TAP version 13\n1..3\nok 1 - plain\nnot ok 2 - a \\#1 <b>\n  ---\n  \
             message: \"expected \\\"x\\\" & y\"\n  at: \"crm.yaml:7\"\n  ...\nok 3 - rows # SKIP no database\n"
        );
    }

    #[test]
    fn what_has_a_meaning_in_xml_is_escaped() {
        let xml = junit(&tried());
        assert!(
            xml.contains("tests=\"3\" failures=\"1\" skipped=\"1\""),
            "{xml}"
        );
        assert!(xml.contains("name=\"a #1 &lt;b&gt;\""), "{xml}");
        assert!(
            xml.contains("<failure message=\"expected &quot;x&quot; &amp; y\">"),
            "{xml}"
        );
    }

    #[test]
    fn the_text_counts() {
        assert!(plain(&tried()).ends_with("\n1 passed, 1 skipped, 1 failed\n"));
    }
}
