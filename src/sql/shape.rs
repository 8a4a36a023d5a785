//! Texts that differ in literals alone: one plan for all of them.
//!
//! A shape is a text with its literals cut out. Whether two texts of a shape have the same plan is not guessed. What the
//! planner reads of a constant are its kind, whether two constants are equal, and in some places (ORDER BY, GROUP BY,
//! arguments of SET and of functions, type modifiers) its value. So the key of a shape says each literal's kind and which
//! of them are equal, and a literal is lifted out only where [`liftable`] knows its place: an operand of a comparison in
//! WHERE or ON, a value of INSERT or UPDATE. Every other literal belongs to the key.
//!
//! The recipe for the text that runs comes from planning the shape with marks in the place of what is lifted, from
//! scratch, the judge included. It is taken only if it gives for the text at hand exactly the plan that text got by itself.
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;

use super::lex::{self, Gap, Kind, Token};
use super::parse;
use super::plan::{Plan, PositionMap, Run, StatementPlan, Verdict};

mod liftable;

/// Texts that are longer are planned one by one, in bytes.
const MAX_TEXT: usize = 16 * 1024;
/// So are those with more literals.
const MAX_LITERALS: usize = 64;
/// An integer literal of up to so many digits is an int4 to the server.
const INT4_DIGITS: usize = 9;
/// Stand in keys where a literal was; no text with one of them has a shape.
const STRING: char = '\u{1}';
const INTEGER: char = '\u{2}';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LiteralKind {
    String,
    Integer,
}

#[derive(Debug)]
struct Literal {
    span: Range<usize>,
    kind: LiteralKind,
    /// The first literal of the shape that is the same.
    class: usize,
}

/// A text seen as its shape and literals.
#[derive(Debug)]
pub struct Shape<'a> {
    text: &'a str,
    literals: Vec<Literal>,
}

impl<'a> Shape<'a> {
    /// `None`: it has no literals that could be lifted, too many, or is too long.
    pub fn of(text: &'a str) -> Option<Self> {
        let unusual = |byte: &u8| matches!(byte, 0..=2);
        if text.len() > MAX_TEXT || text.as_bytes().iter().any(unusual) {
            return None;
        }
        let tokens = lex::tokens(text).ok()?;
        let mut literals: Vec<Literal> = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            let Some(kind) = candidate(text, token, tokens.get(index + 1)) else {
                continue;
            };
            if literals.len() == MAX_LITERALS {
                return None;
            }
            let own = token.text(text);
            let same = |known: &Literal| text.get(known.span.clone()) == Some(own);
            let class = literals.iter().position(same).unwrap_or(literals.len());
            literals.push(Literal {
                span: token.span.clone(),
                kind,
                class,
            });
        }
        (!literals.is_empty()).then_some(Shape { text, literals })
    }

    /// The text without its literals; each leaves its kind and its class.
    pub fn key(&self) -> String {
        let mut key = String::with_capacity(self.text.len() + self.literals.len());
        let mut from = 0;
        for literal in &self.literals {
            key.push_str(self.text.get(from..literal.span.start).unwrap_or_default());
            key.push(match literal.kind {
                LiteralKind::String => STRING,
                LiteralKind::Integer => INTEGER,
            });
            // At most MAX_LITERALS, so a character for each.
            key.extend(
                u32::try_from(literal.class + 32)
                    .ok()
                    .and_then(char::from_u32),
            );
            from = literal.span.end;
        }
        key.push_str(self.text.get(from..).unwrap_or_default());
        key
    }

    /// Adds to a key the literals that are not lifted out. Longer than the key of any text, so that the two never meet.
    pub fn complete(&self, mut key: String, lifted: &[bool]) -> String {
        key.push(STRING);
        for (literal, lifted) in self.literals.iter().zip(lifted) {
            if !lifted {
                key.push(INTEGER);
                key.push_str(self.raw(literal));
            }
        }
        key
    }

    fn raw(&self, literal: &Literal) -> &'a str {
        self.text.get(literal.span.clone()).unwrap_or_default()
    }

    /// Which literals can be lifted out; `None`: none, or the text is not one statement.
    pub fn lifted(&self) -> Option<Vec<bool>> {
        let mut statements = parse::parse(self.text).ok()?;
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
            return None;
        };
        let places = liftable::places(&statement.tree);
        let mut lifted = vec![false; self.literals.len()];
        for place in places {
            if let Some(index) = self.literal_at(place)
                && let Some(flag) = lifted.get_mut(index)
            {
                *flag = true;
            }
        }
        // What is equal stays equal only if all of it moves together.
        let stays: Vec<usize> = self
            .literals
            .iter()
            .zip(&lifted)
            .filter(|(_, lifted)| !**lifted)
            .map(|(literal, _)| literal.class)
            .collect();
        for (literal, flag) in self.literals.iter().zip(&mut lifted) {
            *flag &= !stays.contains(&literal.class);
        }
        lifted.contains(&true).then_some(lifted)
    }

    /// The literal whose constant the tree places there: at its sign where it has one.
    fn literal_at(&self, place: usize) -> Option<usize> {
        let index = self
            .literals
            .partition_point(|literal| literal.span.start < place);
        let literal = self.literals.get(index)?;
        let before = self.text.get(place..literal.span.start)?;
        let sign = before.strip_prefix('-').unwrap_or(before);
        sign.chars().all(|gap| gap == ' ').then_some(index)
    }

    /// The literals in order.
    pub fn literals(&self) -> impl Iterator<Item = &'a str> {
        self.literals.iter().map(|literal| self.raw(literal))
    }

    /// The text with something else in the place of what is lifted, by the class of each literal: the index of the first
    /// that is the same.
    pub fn with(&self, lifted: &[bool], marks: &[String]) -> String {
        let mut text = String::with_capacity(self.text.len() + 24 * self.literals.len());
        let mut from = 0;
        for (literal, lifted) in self.literals.iter().zip(lifted) {
            if let (true, Some(mark)) = (*lifted, marks.get(literal.class)) {
                text.push_str(self.text.get(from..literal.span.start).unwrap_or_default());
                text.push_str(mark);
                from = literal.span.end;
            }
        }
        text.push_str(self.text.get(from..).unwrap_or_default());
        text
    }

    /// A literal for each class that is like it in kind and like nothing else.
    fn marks(&self) -> Vec<String> {
        let chance = RandomState::new().build_hasher().finish();
        let base = 100_000_000 + chance % 800_000_000;
        (0u64..)
            .zip(&self.literals)
            .map(|(number, literal)| match literal.kind {
                LiteralKind::String => format!("'pgveil mark {chance:016x} {number}'"),
                LiteralKind::Integer => (base + number).to_string(),
            })
            .collect()
    }
}

/// Whether a token is a literal of which the grammar sees nothing but the kind.
fn candidate(text: &str, token: &Token, next: Option<&Token>) -> Option<LiteralKind> {
    let raw = token.text(text);
    let kind = match token.kind {
        Kind::String => LiteralKind::String,
        Kind::Number if raw.len() <= INT4_DIGITS && raw.bytes().all(|b| b.is_ascii_digit()) => {
            LiteralKind::Integer
        }
        _ => return None,
    };
    let apart = next.is_none_or(|next| {
        // A string on a further line continues the one before.
        let continues = matches!(next.kind, Kind::String | Kind::Prefixed);
        let touches = next.gap == Gap::None && !matches!(next.kind, Kind::Operator | Kind::Punct);
        !continues && !touches
    });
    apart.then_some(kind)
}

/// Where a lifted literal stands in a text that runs.
#[derive(Debug)]
struct Place {
    /// Byte range of its mark in the recipe's text.
    span: Range<usize>,
    class: usize,
    /// 0-based character position of the mark.
    at: u32,
}

/// How the plan of any text of a shape is made.
#[derive(Debug)]
pub struct Recipe {
    statements: Arc<[StatementPlan]>,
    /// By literal: whether it is lifted.
    lifted: Vec<bool>,
    /// Length of each class's mark in characters.
    marks: Vec<u32>,
    /// Of the lifted literals in the client's text with marks: character position and class, ascending.
    client: Vec<(u32, usize)>,
    /// Length of the client's text with marks, in bytes.
    length: usize,
    /// What runs, with marks; `None`: the client's own bytes.
    text: Option<Arc<str>>,
    places: Vec<Place>,
    positions: PositionMap,
}

impl Recipe {
    /// The recipe of a text's shape. `own` is the plan of the text, `plan` makes one.
    pub fn derive(
        shape: &Shape<'_>,
        lifted: Vec<bool>,
        own: &Plan,
        plan: impl Fn(&str) -> Plan,
    ) -> Option<Recipe> {
        let refused = |statement: &StatementPlan| matches!(statement.verdict, Verdict::Refuse(_));
        if own.statements.len() != 1 || own.statements.iter().any(refused) {
            return None;
        }
        let marks = shape.marks();
        let marked = shape.with(&lifted, &marks);
        let Plan {
            statements,
            text,
            positions,
            ..
        } = plan(&marked);
        let recipe = Recipe {
            places: match &text {
                Some(text) => places(text, &marks)?,
                None => Vec::new(),
            },
            client: places(&marked, &marks)?
                .iter()
                .map(|place| (place.at, place.class))
                .collect(),
            length: marked.len(),
            marks: marks.iter().map(|mark| length(mark)).collect(),
            statements,
            lifted,
            text,
            positions,
        };
        (recipe.client.len() == recipe.lifted.iter().filter(|lifted| **lifted).count()
            && is_same(&recipe.plan(shape), own))
        .then_some(recipe)
    }

    /// The plan of a text whose completed key is that of the recipe.
    pub fn plan(&self, shape: &Shape<'_>) -> Plan {
        let literals: Vec<&str> = shape.literals().collect();
        let text = self.text.as_ref().map(|text| self.filled(text, &literals));
        let positions = match text {
            Some(_) => self.moved(&literals),
            None => PositionMap::default(),
        };
        let grown = shape.text.len().wrapping_sub(self.length);
        Plan::of_shape(Arc::clone(&self.statements), text, positions, grown)
    }

    fn filled(&self, text: &str, literals: &[&str]) -> Arc<str> {
        let mut out = String::with_capacity(text.len() + 32 * self.places.len());
        let mut from = 0;
        for place in &self.places {
            out.push_str(text.get(from..place.span.start).unwrap_or_default());
            out.push_str(literals.get(place.class).copied().unwrap_or_default());
            from = place.span.end;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        out.into()
    }

    /// The positions, moved by how much longer the literals before them are than their marks.
    fn moved(&self, literals: &[&str]) -> PositionMap {
        let growth: Vec<u32> = literals
            .iter()
            .zip(&self.marks)
            .map(|(literal, mark)| length(literal).wrapping_sub(*mark))
            .collect();
        let shift = |at: u32, places: &mut dyn Iterator<Item = (u32, usize)>| {
            places
                .take_while(|(place, _)| *place < at)
                .filter_map(|(_, class)| growth.get(class))
                .fold(at, |at, growth| at.wrapping_add(*growth))
        };
        let runs = self.positions.runs.iter().map(|run| Run {
            sent: shift(
                run.sent,
                &mut self.places.iter().map(|place| (place.at, place.class)),
            ),
            client: shift(run.client, &mut self.client.iter().copied()),
            copied: run.copied,
        });
        PositionMap {
            runs: runs.collect(),
        }
    }

    /// Memory that it takes, in bytes, as the cache counts it.
    pub fn size(&self) -> usize {
        let text = self.text.as_ref().map_or(0, |text| text.len());
        text + self.places.len() * size_of::<Place>()
            + self.positions.runs.len() * size_of::<Run>()
            + self.lifted.len() * 16
            + self
                .statements
                .iter()
                .map(StatementPlan::size)
                .sum::<usize>()
    }

    /// By literal: whether it is lifted out.
    pub fn lifted(&self) -> &[bool] {
        &self.lifted
    }
}

/// The plans say the same of the same text.
fn is_same(one: &Plan, other: &Plan) -> bool {
    let bare = |statement: &StatementPlan| StatementPlan {
        span: (0, 0),
        ..statement.clone()
    };
    one.text == other.text
        && one.positions == other.positions
        && one.span(0) == other.span(0)
        && one
            .statements
            .iter()
            .map(bare)
            .eq(other.statements.iter().map(bare))
}

fn length(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// Where marks stand in a text; `None` where one stands in anything but a token of its own.
fn places(text: &str, marks: &[String]) -> Option<Vec<Place>> {
    let tokens = lex::tokens(text).ok()?;
    let mut found = Vec::new();
    let (mut bytes, mut characters) = (0, 0u32);
    for token in tokens {
        let raw = token.text(text);
        if let Some(class) = marks.iter().position(|mark| mark == raw) {
            characters += length(text.get(bytes..token.span.start)?);
            bytes = token.span.start;
            found.push(Place {
                span: token.span,
                class,
                at: characters,
            });
        }
    }
    let seen = marks.iter().map(|mark| text.matches(mark.as_str()).count());
    (seen.sum::<usize>() == found.len()).then_some(found)
}

#[cfg(test)]
mod tests;
