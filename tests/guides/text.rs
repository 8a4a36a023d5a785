//! A document as its readers see it: headings, code, tables.
use std::fs;
use std::path::{Path, PathBuf};

/// Those whose examples are all held to, in both languages.
pub const GUIDES: [&str; 6] = [
    "docs/operators-guide.md",
    "docs/policy-guide.md",
    "docs/auditors-guide.md",
    "docs/zh/operators-guide.md",
    "docs/zh/policy-guide.md",
    "docs/zh/auditors-guide.md",
];

/// Topics in depth, in English alone; their examples are held to as well.
pub const TOPICS: [&str; 7] = [
    "docs/availability.md",
    "docs/counting.md",
    "docs/drivers.md",
    "docs/identity.md",
    "docs/operations.md",
    "docs/policy-tools.md",
    "docs/scan.md",
];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All documents: those at the top, and everything under `docs`.
pub fn all() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = ["README.md", "SECURITY.md", "ARCHITECTURE.md"]
        .iter()
        .map(PathBuf::from)
        .collect();
    for folder in ["docs", "docs/zh"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of documents") {
            let name = entry.expect("a document").file_name();
            let path = Path::new(folder).join(name);
            if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    assert!(paths.len() >= GUIDES.len() + TOPICS.len() + 3, "{paths:?}");
    let paths = paths.iter().filter_map(|path| path.to_str());
    paths.map(Document::read).collect()
}

pub struct Document {
    pub path: String,
    pub text: String,
}

/// A block between fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands behind the fence: `yaml`, `sql`, or nothing.
    pub language: String,
    pub text: String,
}

/// A line, and whether it is code: within a fence, or indented by four or more.
pub struct Line<'t> {
    pub text: &'t str,
    pub code: bool,
}

impl Document {
    pub fn read(path: &str) -> Document {
        let text = fs::read_to_string(root().join(path));
        Document {
            path: path.to_owned(),
            text: text.unwrap_or_else(|error| panic!("{path}: {error}")),
        }
    }

    pub fn lines(&self) -> Vec<Line<'_>> {
        let mut fenced = false;
        let mut lines = Vec::new();
        for text in self.text.lines() {
            if text.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            let code = fenced || text.starts_with("    ");
            lines.push(Line { text, code });
        }
        assert!(!fenced, "{}: a fence is not closed", self.path);
        lines
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for line in self.text.lines() {
            match (line.trim_start().strip_prefix("```"), open.as_mut()) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    open = Some(Block {
                        language: language.trim().to_owned(),
                        text: String::new(),
                    });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        blocks
    }

    /// `(level, words)` of every heading.
    pub fn headings(&self) -> Vec<(usize, &str)> {
        let prose = self.lines().into_iter().filter(|line| !line.code);
        prose
            .filter_map(|line| {
                let level = line.text.bytes().take_while(|byte| *byte == b'#').count();
                let words = line.text.get(level..)?.strip_prefix(' ')?;
                (level > 0).then_some((level, words.trim()))
            })
            .collect()
    }

    /// What stands between backticks in prose.
    pub fn inline(&self) -> Vec<&str> {
        let prose = self.lines().into_iter().filter(|line| !line.code);
        prose
            .flat_map(|line| line.text.split('`').skip(1).step_by(2))
            .collect()
    }

    /// What stands between the marks `<!-- name -->` and `<!-- /name -->`.
    pub fn between(&self, name: &str) -> &str {
        self.text
            .split(&format!("<!-- {name} -->\n"))
            .nth(1)
            .and_then(|rest| rest.split(&format!("<!-- /{name} -->")).next())
            .unwrap_or_else(|| panic!("{} has no section {name}", self.path))
    }

    /// The rows of the table between these marks, without its head.
    pub fn table(&self, name: &str) -> Vec<Vec<String>> {
        let lines = self.between(name).lines().skip(2);
        lines
            .map(|line| {
                let inner = line.strip_prefix("| ").and_then(|l| l.strip_suffix(" |"));
                let inner = inner.unwrap_or_else(|| panic!("{}: no row: {line}", self.path));
                inner.split(" | ").map(str::to_owned).collect()
            })
            .collect()
    }
}
