//! The rewriter's edits, spliced into the token stream of the client's text.
//!
//! No tree is printed back. What is not edited goes out as the client wrote it, comments left out, white space folded to
//! a blank, or to a newline where one stood (string continuation needs it).
mod changes;
mod conditions;
mod ends;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::catalog::{Catalog, Relation};
use crate::policy::compiled::RolePolicy;

use super::judge::{Access, Change, Examined, Use};
use super::lex::{Gap, Kind, Token};
use super::names::{qualified, quoted};
use super::plan::{PositionMap, Run};
use super::template::{SessionValues, Template, Templates};
use super::temporary::SCHEMA;

/// What the splicer needs besides the text.
pub struct Scene<'a> {
    pub catalog: &'a Catalog,
    pub role: &'a RolePolicy,
    pub templates: &'a Templates,
    pub values: &'a SessionValues,
}

impl Scene<'_> {
    fn template(&self, relation: &Relation, only: bool) -> Option<Arc<Template>> {
        let (version, role) = (self.catalog.version, self.role);
        self.templates
            .get(version, role, self.values, relation, only)
    }
}

/// What goes into a template besides its own.
struct Inside<'c> {
    system: &'c BTreeSet<String>,
    conditions: Vec<String>,
    fence: bool,
}

/// The conditions that the judge found for the relation named there. A lookup leaves TRUE behind.
fn inside<'c>(
    text: &str,
    tokens: &[Token],
    client: &'c Examined,
    found: &Use,
    edits: &mut Vec<Edit>,
) -> Option<Inside<'c>> {
    let mut rendered = Vec::new();
    for (at, condition) in &client.conditions {
        if *at != found.at || !(condition.moves || client.fence) {
            continue;
        }
        let place = conditions::find(text, tokens, condition)?;
        let column = quoted(&condition.column);
        rendered.push(conditions::rendered(
            text, tokens, &place, condition, &column,
        )?);
        if condition.moves {
            edits.push(Edit {
                first: place.first,
                end: place.end,
                text: "TRUE".to_owned(),
            });
        }
    }
    Some(Inside {
        system: &client.system,
        conditions: rendered,
        fence: client.fence,
    })
}

/// A run of tokens and the text that takes its place.
#[derive(Debug, PartialEq, Eq)]
struct Edit {
    first: usize,
    /// One past the last token.
    end: usize,
    text: String,
}

/// The text of one statement with each relation replaced by what the role may read of it. `None` where a use does not
/// stand where it was said to: the judge would refuse what came of it.
pub fn splice(
    scene: &Scene<'_>,
    text: &str,
    tokens: &[Token],
    uses: &[Use],
    client: &Examined,
) -> Option<Spliced> {
    let mut edits = Vec::new();
    let copies_out = tokens
        .first()
        .is_some_and(|token| token.is_word(text, "copy"));
    let mut seen = HashSet::new();
    let whole = |change: &Change| matches!(change, Change::Whole { .. });
    let uses = match client.changes.iter().any(whole) {
        true => &[],
        false => uses,
    };
    for found in uses {
        // The grammar repeats the row that several columns are assigned from.
        if !seen.insert(found.at) {
            continue;
        }
        let relation = scene.catalog.relations.get(&found.relation)?;
        let first = token_at(tokens, found.at)?;
        let end = name_end(text, tokens, first);
        let masked = scene.role.substitutes(relation.oid);
        if masked && found.access == Access::Read {
            if copies_out && first == 1 {
                edits.push(copy_edit(scene, text, tokens, relation, first, end)?);
                continue;
            }
            let inside = inside(text, tokens, client, found, &mut edits)?;
            edits.extend(substitution(
                scene,
                text,
                tokens,
                relation,
                alias_of(client, found, relation),
                (first, end),
                &inside,
            )?);
        } else if end - first != 3 || is_elsewhere(text, tokens.get(first)?, relation) {
            edits.push(Edit {
                first,
                end,
                text: qualified(&relation.schema, &relation.name),
            });
        }
    }
    for addition in &client.additions {
        let item = token_at(tokens, addition.behind)?;
        let end = name_end(text, tokens, item);
        edits.push(Edit {
            first: end,
            end,
            text: addition.text.clone(),
        });
    }
    let named = |change: &&Change| matches!(change, Change::Named { .. });
    for change in client.changes.iter().filter(|change| !named(change)) {
        edits.extend(changes::edits(text, tokens, change)?);
    }
    for change in client.changes.iter().filter(named) {
        let own = changes::edits(text, tokens, change)?;
        // Where the whole of a name is replaced its parts are gone.
        let gone = |edit: &Edit| {
            let around = |other: &Edit| other.first <= edit.first && edit.end <= other.end;
            edits.iter().any(around)
        };
        let own: Vec<Edit> = own.into_iter().filter(|edit| !gone(edit)).collect();
        edits.extend(own);
    }
    // An insertion before what is replaced at the same place.
    edits.sort_by_key(|edit| (edit.first, edit.end != edit.first));
    edits.dedup();
    let mut spliced = emit(text, tokens, &edits);
    spliced.edited = !edits.is_empty();
    Some(spliced)
}

/// Whether a temporary relation is named by another schema: what DROP ... IF EXISTS names there is nowhere.
fn is_elsewhere(text: &str, schema: &Token, relation: &Relation) -> bool {
    let named = || schema.identifier(text);
    relation.schema == SCHEMA && named().is_none_or(|named| named != SCHEMA)
}

/// What a template is called whose relation has no alias.
fn alias_of<'r>(client: &'r Examined, found: &Use, relation: &'r Relation) -> Option<&'r str> {
    let given = client.given.get(&found.at).map(String::as_str);
    given.or((!found.alias).then_some(relation.name.as_str()))
}

/// The token that begins at a byte of the text.
fn token_at(tokens: &[Token], byte: usize) -> Option<usize> {
    tokens
        .binary_search_by_key(&byte, |token| token.span.start)
        .ok()
}

/// One past the tokens of a dotted name that begins at `first`.
fn name_end(text: &str, tokens: &[Token], first: usize) -> usize {
    let mut end = first + 1;
    while tokens.get(end).is_some_and(|token| token.is(text, "."))
        && tokens
            .get(end + 1)
            .is_some_and(|token| token.identifier(text).is_some() || token.kind == Kind::Prefixed)
    {
        end += 2;
    }
    end
}

/// The template in place of a relation: ONLY and TABLESAMPLE move into it, an alias is added where there was none.
fn substitution(
    scene: &Scene<'_>,
    text: &str,
    tokens: &[Token],
    relation: &Relation,
    alias: Option<&str>,
    (first, end): (usize, usize),
    inside: &Inside<'_>,
) -> Option<Vec<Edit>> {
    let (mut first, end, only) = widen(text, tokens, first, end);
    let template = scene.template(relation, only)?;
    let mut edits = Vec::new();
    let fence = inside.fence && template.rule.is_some();
    let mut open = template.open(inside.system, fence);
    // `TABLE name` is short for this.
    if let Some(table) = first.checked_sub(1)
        && tokens.get(table)?.is_word(text, "table")
    {
        first = table;
        open.insert_str(0, "SELECT * FROM ");
    }
    if let Some((from, to)) = sampling(text, tokens, end) {
        open.push(' ');
        open.push_str(&emit(text, tokens.get(from..to)?, &[]).text);
        edits.push(Edit {
            first: from,
            end: to,
            text: String::new(),
        });
    }
    open.push_str(&template.end(&inside.conditions, fence));
    if let Some(alias) = alias {
        open.push_str(" AS ");
        open.push_str(&quoted(alias));
    }
    edits.push(Edit {
        first,
        end,
        text: open,
    });
    Some(edits)
}

/// Takes `ONLY name`, `ONLY (name)` and `name *` into the range.
fn widen(text: &str, tokens: &[Token], first: usize, end: usize) -> (usize, usize, bool) {
    let before = |back: usize| first.checked_sub(back).and_then(|index| tokens.get(index));
    if before(1).is_some_and(|token| token.is_word(text, "only")) {
        return (first - 1, end, true);
    }
    if before(1).is_some_and(|token| token.is(text, "("))
        && before(2).is_some_and(|token| token.is_word(text, "only"))
        && tokens.get(end).is_some_and(|token| token.is(text, ")"))
    {
        return (first - 2, end + 1, true);
    }
    let star = tokens.get(end).is_some_and(|token| token.is(text, "*"));
    (first, end + usize::from(star), false)
}

/// The tokens of a TABLESAMPLE clause behind a relation, its alias and column list stepped over.
fn sampling(text: &str, tokens: &[Token], end: usize) -> Option<(usize, usize)> {
    let mut at = end;
    if tokens.get(at)?.is_word(text, "as") {
        at += 1;
    }
    let word = |at: usize, word: &str| {
        tokens
            .get(at)
            .is_some_and(|token| token.is_word(text, word))
    };
    if !word(at, "tablesample") && tokens.get(at)?.identifier(text).is_some() {
        at += 1;
        if tokens.get(at)?.is(text, "(") {
            at = closing(text, tokens, at)?;
        }
    }
    if !word(at, "tablesample") {
        return None;
    }
    let from = at;
    at = name_end(text, tokens, at + 1);
    at = closing(text, tokens, at)?;
    if word(at, "repeatable") {
        at = closing(text, tokens, at + 1)?;
    }
    Some((from, at))
}

/// One past the parenthesis that closes the one at `open`.
fn closing(text: &str, tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.is(text, "(") {
            depth += 1;
        } else if token.is(text, ")") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(index + 1);
            }
        } else if depth == 0 {
            return None;
        }
    }
    None
}

/// `COPY relation [(columns)] TO` becomes `COPY (SELECT columns FROM template) TO`. COPY of a table leaves descendants
/// and generated columns out.
fn copy_edit(
    scene: &Scene<'_>,
    text: &str,
    tokens: &[Token],
    relation: &Relation,
    first: usize,
    end: usize,
) -> Option<Edit> {
    let template = scene.template(relation, true)?;
    let listed = tokens.get(end)?.is(text, "(");
    let (columns, end) = if listed {
        let close = closing(text, tokens, end)?;
        let names: Vec<String> = tokens
            .get(end + 1..close - 1)?
            .iter()
            .filter_map(|token| token.identifier(text))
            .map(|name| quoted(&name))
            .collect();
        (names, close)
    } else {
        let names = relation
            .columns
            .iter()
            .filter(|column| column.generated_from.is_empty())
            .map(|column| quoted(&column.name))
            .collect();
        (names, end)
    };
    Some(Edit {
        first,
        end,
        text: format!(
            "(SELECT {} FROM {}{} AS {})",
            columns.join(", "),
            template.open([], false),
            template.end(&[], false),
            quoted(&relation.name)
        ),
    })
}

/// A text made of tokens, and where its parts came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spliced {
    pub text: String,
    /// Character positions: `client` counts from the start of the whole client text.
    pub positions: PositionMap,
    /// Something was replaced.
    pub edited: bool,
}

fn emit(text: &str, tokens: &[Token], edits: &[Edit]) -> Spliced {
    let mut out = Output::new(text);
    let mut edits = edits.iter().peekable();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match edits.next_if(|edit| edit.first <= at) {
            // An insertion stands right behind the token before it.
            Some(edit) if edit.end == edit.first => out.inserted(token, &edit.text),
            Some(edit) => {
                out.added(token, &edit.text, at == 0);
                at = edit.end.max(at);
            }
            None => {
                out.copied(token, at == 0);
                at += 1;
            }
        }
    }
    for edit in edits {
        out.push(&edit.text);
    }
    out.spliced
}

struct Output<'a> {
    text: &'a str,
    spliced: Spliced,
    sent: u32,
    /// Byte and character position reached in the client's text.
    byte: usize,
    character: u32,
}

impl<'a> Output<'a> {
    fn new(text: &'a str) -> Self {
        Output {
            text,
            spliced: Spliced::default(),
            sent: 0,
            byte: 0,
            character: 0,
        }
    }

    fn push(&mut self, text: &str) {
        self.spliced.text.push_str(text);
        self.sent += u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    }

    fn gap(&mut self, token: &Token, first: bool) {
        match token.gap {
            _ if first => {}
            Gap::None => {}
            Gap::Blank => self.push(" "),
            Gap::Newline => self.push("\n"),
        }
    }

    fn client_position(&mut self, byte: usize) -> u32 {
        if byte < self.byte {
            return self.character;
        }
        let passed = self.text.get(self.byte..byte).unwrap_or("");
        self.character += u32::try_from(passed.chars().count()).unwrap_or(u32::MAX);
        self.byte = byte;
        self.character
    }

    fn run(&mut self, token: &Token, copied: bool) {
        let client = self.client_position(token.span.start);
        let follows = self.spliced.positions.runs.last().is_some_and(|run| {
            copied && run.copied && client.wrapping_sub(run.client) == self.sent - run.sent
        });
        if !follows {
            self.spliced.positions.runs.push(Run {
                sent: self.sent,
                client,
                copied,
            });
        }
    }

    fn copied(&mut self, token: &Token, first: bool) {
        self.gap(token, first);
        self.run(token, true);
        self.push(token.text(self.text));
    }

    fn inserted(&mut self, token: &Token, text: &str) {
        self.run(token, false);
        self.push(text);
    }

    fn added(&mut self, token: &Token, text: &str, first: bool) {
        self.gap(token, first);
        self.run(token, false);
        self.push(text);
    }
}
