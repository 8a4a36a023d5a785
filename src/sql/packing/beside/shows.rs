//! What outputs of one query show beside a row of their own: rows that aggregates and window functions bring.
use std::collections::{BTreeSet, HashMap};

use super::super::MOST;
use super::super::calls::{self, Call};
use super::super::choices::Group;
use crate::sql::tree::{Node, Tree};

/// `FRAMEOPTION_NONDEFAULT` (parsenodes.h): the window has a frame of its own.
const OWN_FRAME: i64 = 1;

/// So many sums that only some rows go into count as a row.
const CONDITIONAL: u32 = 4;

/// What the outputs of one query show beside a row of their own.
#[derive(Default)]
pub(super) struct Shows {
    /// Aggregates that show one row, over a column of a relation: `max` and `min` of two columns can be those of the same
    /// rows.
    columns: HashMap<String, BTreeSet<String>>,
    /// ... over anything else.
    shown: u32,
    /// Values that window functions bring from other rows.
    others: u32,
    /// Sums of some rows only, which may be one.
    pub conditional: u32,
    /// What those of the conditions make of a row, by which candidates are chosen.
    pub conditions: u32,
    /// FROM has subqueries or functions: their columns are made.
    pub made: bool,
    pub group: Group,
    /// What may be shown by aggregates of a query around, as PostgreSQL has it where their columns are of that one.
    pub of_others: Option<Box<Shows>>,
}

impl Shows {
    pub fn of(made: bool, group: Group) -> Self {
        Shows {
            made,
            group,
            ..Shows::default()
        }
    }

    /// `chosen`: so many rows the conditions of an aggregate can choose.
    pub fn call(&mut self, node: &Node, chosen: u32) {
        let window = node.child("over");
        let call = calls::call(node);
        let argument = node.list("args").first().and_then(Tree::node);
        match call {
            Call::Another if window.is_some() => self.others += 1,
            Call::Shown if window.is_some() => self.others += 1,
            Call::Number if window.is_some_and(has_frame) => self.others += 1,
            // In a frame of one row a count is a truth about it.
            Call::Plain if calls::counts(node) && window.is_some_and(has_frame) => self.others += 1,
            // By counts and figures alone.
            _ if chosen > 0 => self.shown = self.shown.saturating_add(chosen),
            Call::Number if window.is_some() => self.conditional += 1,
            Call::Shown => match argument.filter(|argument| self.is_column(node, argument)) {
                Some(column) => {
                    let name = column.names("fields").unwrap_or_default().join(".");
                    let of = self.columns.entry(name).or_default();
                    of.insert(calls::name(node).to_owned());
                }
                None => self.shown += 1,
            },
            Call::Number if !argument.is_some_and(|argument| self.is_column(node, argument)) => {
                self.conditional += scaled_arms(node).max(1);
            }
            _ => {}
        }
    }

    fn is_column(&self, call: &Node, argument: &Node) -> bool {
        let whole = ["agg_filter", "agg_within_group"];
        argument.kind == "ColumnRef"
            && !self.made
            && whole.iter().all(|field| call.get(field).is_none())
    }

    /// What aggregates of the query around show, of which it is known here alone.
    pub fn of_others(&mut self) -> &mut Shows {
        let made = self.made;
        let others = self.of_others.get_or_insert_with(Box::default);
        others.made = made;
        others
    }

    pub fn add(&mut self, more: Shows) {
        for (name, calls) in more.columns {
            self.columns.entry(name).or_default().extend(calls);
        }
        self.shown = self.shown.saturating_add(more.shown);
        self.others = self.others.saturating_add(more.others);
        self.conditional = self.conditional.saturating_add(more.conditional);
        self.conditions = self.conditions.max(more.conditions);
        if let Some(others) = more.of_others {
            self.add(*others);
        }
    }

    pub fn factor(mut self) -> u32 {
        if let Some(others) = self.of_others.take() {
            self.add(*others);
        }
        let columns = self.columns.values().map(BTreeSet::len).max().unwrap_or(0);
        let columns = u32::try_from(columns).unwrap_or(MOST);
        let shown = columns
            .saturating_add(self.shown)
            .saturating_add(self.conditional / CONDITIONAL);
        let outputs = shown.max(1).saturating_add(self.others);
        outputs.max(self.conditions).min(MOST)
    }
}

/// Arms of CASE that move what they add to another place of a sum, which may be taken apart again.
fn scaled_arms(node: &Node) -> u32 {
    let plain = ["ColumnRef", "AConst", "ParamRef", "CaseExpr"];
    let is_scaled = |result: &Node| !plain.contains(&result.kind);
    let own = node.kind == "CaseWhen" && node.child("result").is_some_and(is_scaled);
    let mut arms = u32::from(own);
    node.each(&mut |inner| arms = arms.saturating_add(scaled_arms(inner)));
    arms
}

/// A window that is not the one a running total has; what a name stands for is not looked up.
fn has_frame(window: &Node) -> bool {
    window.int("frame_options") & OWN_FRAME != 0 || calls::is_named(window)
}
