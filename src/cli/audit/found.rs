//! Records that were found, as people and programs read them: lines of a table, of CSV, or as they are.
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use crate::audit::{Entry, Line, csv};

/// Columns of a screen where nobody knows how many there are.
const WIDTH: usize = 120;
/// From this width on a table has all of its columns.
const WIDE: usize = 110;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FoundFormat {
    /// One line for each record, cut to the width of the terminal
    #[default]
    Table,
    /// The lines as they are in the record
    Json,
    /// For spreadsheets (RFC 4180)
    Csv,
}

/// Writes records one after the other.
pub struct Found<W> {
    out: W,
    format: FoundFormat,
    /// Characters of a line; none are cut off where the output is no terminal.
    width: Option<usize>,
    /// Somebody watches.
    pub terminal: bool,
    begun: bool,
}

const CSV_HEAD: [&str; 26] = [
    "seq",
    "time",
    "event",
    "session",
    "client_addr",
    "db_user",
    "app_user",
    "person",
    "role",
    "application_name",
    "database",
    "kind",
    "verdict",
    "reason",
    "reads",
    "writes",
    "projected",
    "filtered",
    "masked",
    "classes",
    "rows",
    "bytes",
    "duration",
    "sqlstate",
    "export_request",
    "message",
];

impl<W: Write> Found<W> {
    pub fn new(out: W, format: FoundFormat) -> Self {
        let terminal = io::stdout().is_terminal();
        let known = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Found {
            out,
            format,
            width: terminal.then(|| known.unwrap_or(WIDTH)),
            terminal,
            begun: false,
        }
    }

    /// # Errors
    /// Those of the output.
    pub fn write(&mut self, line: &Line<'_>, entry: &Entry) -> io::Result<()> {
        self.put(line, entry)?;
        match self.terminal {
            true => self.out.flush(),
            false => Ok(()),
        }
    }

    fn put(&mut self, line: &Line<'_>, entry: &Entry) -> io::Result<()> {
        let begun = std::mem::replace(&mut self.begun, true);
        match self.format {
            FoundFormat::Json => {
                self.out.write_all(line.bytes)?;
                self.out.write_all(b"\n")
            }
            FoundFormat::Csv => {
                if !begun {
                    csv::line(&mut self.out, CSV_HEAD)?;
                }
                let cells = cells(entry);
                csv::line(&mut self.out, cells.iter().map(|cell| &**cell))
            }
            FoundFormat::Table => {
                if !begun {
                    let head = [
                        "SEQ", "TIME", "PERSON", "ROLE", "ACT", "VERDICT", "ROWS", "ABOUT",
                    ];
                    self.row(head.map(Cow::Borrowed))?;
                }
                self.row(row(entry))
            }
        }
    }

    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn row(&mut self, cells: [Cow<'_, str>; 8]) -> io::Result<()> {
        let wide = self.width.is_none_or(|width| width >= WIDE);
        let [seq, time, person, role, act, verdict, rows, about] = cells;
        let mut text = String::new();
        if wide {
            text += &format!("{} {} ", right(&seq, 9), left(&time, 19));
        } else {
            text += &format!("{} ", left(time.get(5..).unwrap_or(&time), 14));
        }
        text += &left(&person, if wide { 16 } else { 12 });
        text.push(' ');
        if wide {
            text += &left(&role, 12);
            text.push(' ');
        }
        text += &format!(
            "{} {} {} ",
            left(&act, 12),
            left(&verdict, 7),
            right(&rows, 8)
        );
        text += &plain(&about);
        match self.width {
            Some(width) => writeln!(self.out, "{}", cut(&text, width).0.trim_end()),
            None => writeln!(self.out, "{}", text.trim_end()),
        }
    }
}

fn row(entry: &Entry) -> [Cow<'_, str>; 8] {
    let act = match entry.event.as_str() {
        "statement" => entry.kind.as_deref().unwrap_or("statement"),
        event => event,
    };
    let time = entry.time.get(..19).unwrap_or(&entry.time);
    [
        entry.seq.to_string().into(),
        time.replace('T', " ").into(),
        entry.actor().unwrap_or_default().into(),
        entry.role.as_deref().unwrap_or_default().into(),
        act.into(),
        entry.verdict.as_deref().unwrap_or_default().into(),
        number(entry.rows).into(),
        about(entry).into(),
    ]
}

/// What a record is about, in one line.
fn about(entry: &Entry) -> String {
    let mut parts = Vec::new();
    if !entry.reads.is_empty() {
        parts.push(entry.reads.join(" "));
    }
    if !entry.writes.is_empty() {
        parts.push(format!("-> {}", entry.writes.join(" ")));
    }
    if !entry.classes.is_empty() {
        parts.push(format!("[{}]", entry.classes.join(" ")));
    }
    if let Some(export) = &entry.export {
        let action = export.action.as_deref().unwrap_or("under");
        let by = export.by.as_deref().unwrap_or(&export.person);
        parts.push(format!("export {} {action} {by}", export.request));
    }
    parts.extend(entry.reason.clone());
    parts.extend(entry.rule.clone());
    parts.extend(entry.message.clone());
    parts.join(" ")
}

fn cells(entry: &Entry) -> [Cow<'_, str>; 26] {
    fn or_empty(value: &Option<String>) -> Cow<'_, str> {
        value.as_deref().unwrap_or_default().into()
    }
    let list = |names: &[String]| Cow::Owned(names.join(" "));
    [
        entry.seq.to_string().into(),
        entry.time.as_str().into(),
        entry.event.as_str().into(),
        number(entry.session).into(),
        entry
            .client_addr
            .map(|address| address.to_string())
            .unwrap_or_default()
            .into(),
        or_empty(&entry.db_user),
        or_empty(&entry.app_user),
        or_empty(&entry.person),
        or_empty(&entry.role),
        or_empty(&entry.application_name),
        or_empty(&entry.database),
        or_empty(&entry.kind),
        or_empty(&entry.verdict),
        or_empty(&entry.reason),
        list(&entry.reads),
        list(&entry.writes),
        list(&entry.columns.projected),
        list(&entry.columns.filtered),
        list(&entry.masked),
        list(&entry.classes),
        number(entry.rows).into(),
        number(entry.bytes).into(),
        entry
            .duration
            .map(|seconds| seconds.to_string())
            .unwrap_or_default()
            .into(),
        or_empty(&entry.sqlstate),
        entry
            .export
            .as_ref()
            .map_or("", |export| export.request.as_str())
            .into(),
        or_empty(&entry.message),
    ]
}

fn number(value: Option<u64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Without what a terminal would act on: names are of clients' choosing.
fn plain(text: &str) -> String {
    let harmless = |c: char| match c {
        c if c.is_control() => '\u{fffd}',
        // Marks that turn the direction of writing (Unicode 15, 3.12).
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    };
    text.chars().map(harmless).collect()
}

/// Columns that a character takes on a screen: two for East Asian wide ones (Unicode Standard Annex 11).
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => {
            2
        }
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// At most so many columns of a text, and how many there are; an ellipsis stands for what is cut off.
fn cut(text: &str, width: usize) -> (String, usize) {
    let total: usize = text.chars().map(columns).sum();
    if total <= width {
        return (text.to_owned(), total);
    }
    let mut taken = 0;
    let mut short = String::new();
    for c in text.chars() {
        if taken + columns(c) + 1 > width {
            break;
        }
        taken += columns(c);
        short.push(c);
    }
    short.push('…');
    (short, taken + 1)
}

fn left(text: &str, width: usize) -> String {
    let (text, taken) = cut(&plain(text), width);
    text + &" ".repeat(width.saturating_sub(taken))
}

fn right(text: &str, width: usize) -> String {
    let (text, taken) = cut(&plain(text), width);
    " ".repeat(width.saturating_sub(taken)) + &text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(width: usize, entry: &Entry) -> String {
        let mut found = Found {
            out: Vec::new(),
            format: FoundFormat::Table,
            width: Some(width),
            terminal: true,
            begun: true,
        };
        found.row(row(entry)).expect("written");
        String::from_utf8(found.out).expect("utf-8")
    }

    fn entry() -> Entry {
        Entry {
            seq: 12,
            time: "2026-11-22T07:21:36.000001Z".to_owned(),
            event: "statement".to_owned(),
            db_user: Some("王芳\u{1b}[31m".to_owned()),
            role: Some("agent".to_owned()),
            kind: Some("SELECT".to_owned()),
            verdict: Some("rewrite".to_owned()),
            rows: Some(40),
            reads: vec!["crm.contacts".to_owned()],
            classes: vec!["phone".to_owned()],
            ..Entry::default()
        }
    }

    #[test]
    fn a_line_fits_the_terminal_and_does_nothing_to_it() {
        assert_eq!(
            line(130, &entry()),
            "       12 2026-11-22 07:21:36 王芳\u{fffd}[31m        agent        SELECT       rewrite       40 crm.contacts [phone]\n"
        );
        let narrow = line(70, &entry());
        assert!(narrow.starts_with("11-22 07:21:36 王芳"), "{narrow}");
        assert!(narrow.ends_with("…\n"), "{narrow}");
        let taken: usize = narrow.trim_end().chars().map(columns).sum();
        assert_eq!(taken, 70);
    }

    #[test]
    fn csv_has_as_many_cells_as_its_head() {
        assert_eq!(cells(&entry()).len(), CSV_HEAD.len());
        assert_eq!(cells(&entry())[CSV_HEAD.len() - 6], "40");
    }
}
