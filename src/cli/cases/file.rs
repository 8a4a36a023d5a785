//! Files of cases: as they are written, and checked.
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::yaml::Spanned;
use serde::Deserialize;

use super::beside;
use crate::config::yaml::{self, OneOrMany, Scalar};
use crate::config::{Diagnostic, Diagnostics, Origin, Source};
use crate::policy::{Caller, PolicySet};

type Leaf = Option<Spanned<Scalar>>;

/// The version of the language of cases.
const VERSION: i128 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCases {
    version: Leaf,
    policy: Leaf,
    catalog: Leaf,
    fixture: Option<Spanned<OneOrMany>>,
    cases: Option<Spanned<Vec<Spanned<RawCase>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: Leaf,
    role: Leaf,
    db_user: Leaf,
    app_user: Leaf,
    groups: Option<Spanned<OneOrMany>>,
    address: Leaf,
    application_name: Leaf,
    purpose: Leaf,
    search_path: Leaf,
    statement: Leaf,
    expect: Option<Spanned<RawExpect>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    verdict: Leaf,
    reason: Leaf,
    masked: Option<Spanned<OneOrMany>>,
    lookups: Option<Spanned<OneOrMany>>,
    rows: Option<Spanned<Vec<Spanned<RawRow>>>>,
}

/// The values of a row, in the order of its columns.
type RawRow = Vec<Spanned<Scalar>>;

/// A file of cases.
pub struct Cases {
    pub file: PathBuf,
    pub policy: Option<PathBuf>,
    pub catalog: Option<PathBuf>,
    /// SQL that fills a private database.
    pub fixture: Vec<PathBuf>,
    pub list: Vec<Case>,
}

/// Who sends a statement, and what is to become of it.
pub struct Case {
    pub name: String,
    pub line: u32,
    pub role: Option<String>,
    pub db_user: Option<String>,
    pub app_user: Option<String>,
    /// Of the token, where people log in by one.
    pub groups: Vec<String>,
    /// Where the session comes from.
    pub address: IpAddr,
    pub application_name: Option<String>,
    /// What the session says that it is for.
    pub purpose: Option<String>,
    pub search_path: Option<String>,
    pub statement: String,
    pub expect: Expect,
}

impl Case {
    /// The session of a database user that sends it.
    pub fn caller(&self, db_user: &str, database: &str, policy: &PolicySet) -> Caller {
        let groups = Some(self.groups.iter().cloned().collect());
        Caller {
            db_user: db_user.to_owned(),
            database: database.to_owned(),
            address: self.address,
            certificate: None,
            application_name: self.application_name.clone().unwrap_or_default(),
            token: policy.token_of(db_user, self.app_user.as_deref(), groups),
        }
    }
}

/// What is not said is not looked at.
pub struct Expect {
    /// `pass`, `rewrite`, `refuse`, or `denied`: no role is the session's.
    pub verdict: String,
    pub reason: Option<String>,
    pub masked: Option<Vec<String>>,
    pub lookups: Option<Vec<String>>,
    pub rows: Option<Vec<Vec<Option<String>>>>,
}

pub const VERDICTS: [&str; 4] = ["pass", "rewrite", "refuse", "denied"];

/// # Errors
/// All findings.
pub fn load(file: &Path) -> Result<Cases, Diagnostics> {
    let source = Source::read(file)?;
    let raw: RawCases = yaml::read(&source)?;
    let mut reader = Reader {
        source: &source,
        findings: Diagnostics::default(),
    };
    let cases = reader.cases(file, &raw);
    match reader.findings.has_errors() {
        true => Err(reader.findings),
        false => Ok(cases),
    }
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    findings: Diagnostics,
}

impl Reader<'_> {
    fn cases(&mut self, file: &Path, raw: &RawCases) -> Cases {
        match &raw.version {
            Some(leaf) if leaf.value.integer() == Some(VERSION) => {}
            Some(leaf) => self.error(
                Origin::new(self.source, leaf),
                format!(
                    "expected `version: {VERSION}`, found {}",
                    leaf.value.describe()
                ),
            ),
            None => self.error(
                Origin::start(self.source),
                format!("missing key `version`: start the file with `version: {VERSION}`"),
            ),
        }
        let list = match &raw.cases {
            Some(cases) => cases
                .value
                .iter()
                .filter_map(|raw| self.case(raw))
                .collect(),
            None => {
                self.error(Origin::start(self.source), "missing key `cases`".to_owned());
                Vec::new()
            }
        };
        let fixture = match &raw.fixture {
            Some(named) => self.texts(named, "a file"),
            None => Vec::new(),
        };
        let mut path = |leaf: &Leaf| self.text(leaf).map(|named| beside(file, &named));
        Cases {
            file: file.to_owned(),
            policy: path(&raw.policy),
            catalog: path(&raw.catalog),
            fixture: fixture.iter().map(|named| beside(file, named)).collect(),
            list,
        }
    }

    fn case(&mut self, raw: &Spanned<RawCase>) -> Option<Case> {
        let origin = Origin::new(self.source, raw);
        let line = origin.position.line;
        let raw = &raw.value;
        if raw.role.is_none() && raw.db_user.is_none() {
            let way_out = "say who sends the statement: `role: name`, or `db_user: name` for the role the policy gives them";
            self.findings
                .push(Diagnostic::error(&origin, "missing key `role`").suggest(way_out));
        }
        if let (Some(role), Some(_)) = (&raw.role, &raw.db_user) {
            // Both: the role is told, and whether it is the user's is looked at.
            self.text(&Some(role.clone()));
        }
        let statement = match &raw.statement {
            Some(_) => self.text(&raw.statement)?,
            None => {
                self.error(origin, "missing key `statement`".to_owned());
                return None;
            }
        };
        let Some(expect) = &raw.expect else {
            let diagnostic = Diagnostic::error(&origin, "missing key `expect`");
            self.findings
                .push(diagnostic.suggest("write `expect: { verdict: rewrite }`"));
            return None;
        };
        let first_line = statement.lines().next().unwrap_or_default().to_owned();
        Some(Case {
            name: self.text(&raw.name).unwrap_or(first_line),
            line,
            role: self.text(&raw.role),
            db_user: self.text(&raw.db_user),
            app_user: self.text(&raw.app_user),
            groups: match &raw.groups {
                Some(groups) => self.texts(groups, "a group"),
                None => Vec::new(),
            },
            address: self.address(&raw.address),
            application_name: self.text(&raw.application_name),
            purpose: self.text(&raw.purpose),
            search_path: self.text(&raw.search_path),
            expect: self.expect(expect)?,
            statement,
        })
    }

    /// Loopback, where nothing is said.
    fn address(&mut self, leaf: &Leaf) -> IpAddr {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (Some(said), Some(text)) = (leaf, self.text(leaf)) else {
            return loopback;
        };
        text.parse().unwrap_or_else(|_| {
            let message = format!("expected an address, as in `10.20.0.7`, found `{text}`");
            self.error(Origin::new(self.source, said), message);
            loopback
        })
    }

    fn expect(&mut self, raw: &Spanned<RawExpect>) -> Option<Expect> {
        let origin = Origin::new(self.source, raw);
        let raw = &raw.value;
        let Some(leaf) = &raw.verdict else {
            let diagnostic = Diagnostic::error(&origin, "missing key `verdict`");
            let words = VERDICTS.map(|word| format!("`{word}`")).join(", ");
            self.findings
                .push(diagnostic.suggest(format!("one of {words}")));
            return None;
        };
        let verdict = self.text(&raw.verdict)?;
        let at = Origin::new(self.source, leaf);
        if !VERDICTS.contains(&verdict.as_str()) {
            let message = format!("`{verdict}` is no verdict");
            let diagnostic = Diagnostic::error(&at, message).did_you_mean(&verdict, VERDICTS);
            self.findings.push(diagnostic);
        }
        if let (Some(rows), "refuse" | "denied") = (&raw.rows, verdict.as_str()) {
            let at = Origin::new(self.source, rows);
            self.error(at, format!("there are no rows with `verdict: {verdict}`"));
        }
        if let (Some(reason), "pass" | "rewrite" | "denied") = (&raw.reason, verdict.as_str()) {
            let at = Origin::new(self.source, reason);
            self.error(at, format!("there is no reason with `verdict: {verdict}`"));
        }
        Some(Expect {
            reason: self.text(&raw.reason),
            masked: raw.masked.as_ref().map(|names| self.names(names)),
            lookups: raw.lookups.as_ref().map(|names| self.names(names)),
            rows: raw.rows.as_ref().map(|rows| self.rows(rows)),
            verdict,
        })
    }

    fn names(&mut self, names: &Spanned<OneOrMany>) -> Vec<String> {
        let mut names = self.texts(names, "`schema.table.column`");
        names.sort();
        names
    }

    fn texts(&mut self, names: &Spanned<OneOrMany>, what: &str) -> Vec<String> {
        let leaves: Vec<(Origin, &Scalar)> = match &names.value {
            OneOrMany::One(scalar) => vec![(Origin::new(self.source, names), scalar)],
            OneOrMany::Many(list) => list
                .iter()
                .map(|leaf| (Origin::new(self.source, leaf), &leaf.value))
                .collect(),
        };
        let mut texts = Vec::new();
        for (origin, scalar) in leaves {
            match scalar.text() {
                Some(text) => texts.push(text.to_owned()),
                None => {
                    let found = scalar.describe();
                    self.error(origin, format!("expected {what}, found {found}"));
                }
            }
        }
        texts
    }

    fn rows(
        &mut self,
        rows: &Spanned<Vec<Spanned<Vec<Spanned<Scalar>>>>>,
    ) -> Vec<Vec<Option<String>>> {
        let mut all = Vec::new();
        for row in &rows.value {
            let mut values = Vec::new();
            for value in &row.value {
                values.push(match &value.value {
                    Scalar::Null => None,
                    Scalar::Text(text) => Some(text.clone()),
                    Scalar::Integer(number) => Some(number.to_string()),
                    Scalar::Float(number) => Some(number.to_string()),
                    // As PostgreSQL writes them.
                    Scalar::Bool(true) => Some("t".to_owned()),
                    Scalar::Bool(false) => Some("f".to_owned()),
                    other => {
                        let found = other.describe();
                        let at = Origin::new(self.source, value);
                        self.error(at, format!("expected a value, found {found}"));
                        None
                    }
                });
            }
            all.push(values);
        }
        all
    }

    fn text(&mut self, leaf: &Leaf) -> Option<String> {
        let leaf = leaf.as_ref()?;
        match leaf.value.text() {
            Some(text) => Some(text.to_owned()),
            None => {
                let found = leaf.value.describe();
                let at = Origin::new(self.source, leaf);
                self.error(at, format!("expected a text, found {found}"));
                None
            }
        }
    }

    fn error(&mut self, origin: Origin, message: String) {
        self.findings.push(Diagnostic::error(&origin, message));
    }
}
