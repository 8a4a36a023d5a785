//! What a column reference means.
//!
//! Follows `transformColumnRef` in `src/backend/parser/parse_expr.c` and `colNameToVar` in `parse_relation.c`.
use std::borrow::Cow;
use std::rc::Rc;

use crate::sql::tree::{Node, Tree};

use super::Reading;
use super::cells::{Cell, Cells, Use};
use super::from::{Item, Output, Outputs, Part, Source};

/// How well an item knows a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    No,
    /// It has columns that are not known.
    Perhaps,
    Yes,
}

/// Columns that every table has (`src/backend/catalog/heap.c`). They hold no data.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"];

impl<'a> Reading<'a> {
    /// The columns behind a reference, added to `cells`.
    pub fn reference(&mut self, node: &'a Node, cells: &mut Cells) {
        if !self.found.spend(1) {
            return;
        }
        let from = cells.len();
        let fields = node.list("fields");
        let names: Vec<&'a str> = fields.iter().filter_map(Tree::string).collect();
        if names.len() < fields.len() {
            // `*` or `c.*`, in an expression.
            let outputs = self.expand(&names);
            cells.extend(outputs.all());
            return;
        }
        match names.as_slice() {
            [] => {}
            [name] => self.bare(name, cells),
            [rest @ .., alias, name] => self.qualified(rest.last().copied(), alias, name, cells),
        }
        let named: Cells = cells.get(from..).unwrap_or(&[]).to_vec();
        self.found.mark(&named, Use::Named);
    }

    /// What `*`, `c.*` or `s.c.*` stands for.
    pub fn expand(&mut self, qualifier: &[&'a str]) -> Outputs<'a> {
        match qualifier {
            [] => {
                let star = match self.levels.last() {
                    Some(level) => level.star.clone(),
                    None => Vec::new(),
                };
                self.star(&star)
            }
            [rest @ .., alias] => {
                let parts: Vec<Part<'a>> = self
                    .items_named(rest.last().copied(), alias)
                    .into_iter()
                    .map(|item| Part::Item(item, Vec::new()))
                    .collect();
                self.star(&parts)
            }
        }
    }

    /// The columns of `*`.
    pub fn star(&mut self, parts: &[Part<'a>]) -> Outputs<'a> {
        let mut outputs = Outputs::default();
        for part in parts {
            match part {
                Part::Merged(output) => outputs.columns.push(output.clone()),
                Part::Item(item, without) => {
                    let own = self.columns(item);
                    let kept = own.columns.into_iter();
                    outputs
                        .columns
                        .extend(kept.filter(|column| !without.contains(&&*column.name)));
                    if let Some(rest) = own.rest {
                        outputs.rest.get_or_insert_default().extend(rest);
                    }
                }
            }
        }
        outputs
    }

    pub fn star_names(&mut self, parts: &[Part<'a>]) -> Vec<&'a str> {
        let mut names = Vec::new();
        for part in parts {
            match part {
                Part::Merged(output) => names.extend(borrowed(&output.name)),
                Part::Item(item, without) => {
                    let own = self.columns(item).columns;
                    let own = own.iter().filter_map(|column| borrowed(&column.name));
                    names.extend(own.filter(|name| !without.contains(name)));
                }
            }
        }
        names
    }

    /// The column of that name in a part of `*`.
    pub fn part_column(&mut self, part: &Part<'a>, name: &'a str, cells: &mut Cells) {
        match part {
            Part::Merged(output) if output.name == name => cells.extend(&output.cells),
            Part::Merged(_) => {}
            Part::Item(item, without) if !without.contains(&name) => {
                self.column(item, name, cells);
            }
            Part::Item(..) => {}
        }
    }

    /// The columns of an item, under the names it gives them.
    fn columns(&mut self, item: &Item<'a>) -> Outputs<'a> {
        let mut outputs = match &item.source {
            Source::Query(outputs) => {
                let size = outputs.columns.len() + outputs.all().count();
                if !self.found.spend(size) {
                    return Outputs::default();
                }
                Outputs::clone(outputs)
            }
            Source::Relation(relation) => match self.found.known(*relation) {
                Some(known) if !self.found.spend(known.columns.len()) => Outputs::default(),
                Some(known) => Outputs {
                    columns: known
                        .columns
                        .iter()
                        .enumerate()
                        .map(|(column, known)| Output {
                            name: Cow::Borrowed(known.name.as_str()),
                            cells: vec![Cell {
                                relation: *relation,
                                column,
                            }],
                        })
                        .collect(),
                    rest: None,
                },
                None => Outputs {
                    columns: Vec::new(),
                    rest: Some(self.found.all(*relation)),
                },
            },
        };
        for (column, name) in outputs.columns.iter_mut().zip(&item.renamed) {
            column.name = Cow::Borrowed(name);
        }
        outputs
    }

    /// The column of that name, added to `cells`.
    fn column(&mut self, item: &Item<'a>, name: &'a str, cells: &mut Cells) -> Known {
        let renamed = item.renamed.iter().position(|known| *known == name);
        let fits = |place: usize, known: &str| match renamed {
            Some(renamed) => place == renamed,
            None => place >= item.renamed.len() && known == name,
        };
        match &item.source {
            Source::Relation(relation) => {
                let Some(known) = self.found.known(*relation) else {
                    let name = if renamed.is_some() { "*" } else { name };
                    cells.push(self.found.unknown(*relation, name));
                    return Known::Perhaps;
                };
                let mut columns = known.columns.iter().enumerate();
                match columns.find(|(place, column)| fits(*place, &column.name)) {
                    Some((column, _)) => {
                        cells.push(Cell {
                            relation: *relation,
                            column,
                        });
                        Known::Yes
                    }
                    None => Known::No,
                }
            }
            Source::Query(outputs) => {
                let mut known = Known::No;
                for (place, column) in outputs.columns.iter().enumerate() {
                    if fits(place, &column.name) {
                        cells.extend(&column.cells);
                        known = Known::Yes;
                    }
                }
                match &outputs.rest {
                    Some(rest) if known == Known::No => {
                        cells.extend(rest);
                        Known::Perhaps
                    }
                    _ => known,
                }
            }
        }
    }

    /// A name alone: a column of the nearest level that has one, or else a whole row.
    fn bare(&mut self, name: &'a str, cells: &mut Cells) {
        let mut perhaps = Cells::new();
        for depth in (0..self.levels.len()).rev() {
            let mut known = false;
            let mut unsure = Cells::new();
            for item in self.offered_at(depth) {
                let mut own = Cells::new();
                match self.column(&item, name, &mut own) {
                    Known::Yes => {
                        known = true;
                        cells.extend(own);
                    }
                    // `SELECT f FROM f(..) AS f` is all that the function gives.
                    Known::Perhaps if item.alias != name => unsure.extend(own),
                    Known::Perhaps | Known::No => {}
                }
            }
            if known {
                cells.extend(perhaps);
                return;
            }
            perhaps.extend(unsure);
        }
        for item in self.items_named(None, name) {
            let row = self.columns(&item);
            cells.extend(row.all());
        }
        cells.extend(perhaps);
    }

    /// The items of a level whose columns need no qualification.
    fn offered_at(&self, depth: usize) -> Vec<Rc<Item<'a>>> {
        let items = self.levels.get(depth).map_or(&[][..], |level| &level.items);
        let open = items.iter().filter(|item| !item.qualified_only);
        open.cloned().collect()
    }

    /// `c.name`: a column of `c`, or a function of its whole row.
    fn qualified(
        &mut self,
        schema: Option<&'a str>,
        alias: &'a str,
        name: &'a str,
        cells: &mut Cells,
    ) {
        for item in self.items_named(schema, alias) {
            if self.column(&item, name, cells) == Known::No && !SYSTEM_COLUMNS.contains(&name) {
                let row = self.columns(&item);
                cells.extend(row.all());
            }
        }
    }

    /// `(c).name` and `(c).*`; false where `c` is no row of FROM.
    pub fn field(&mut self, node: &'a Node, cells: &mut Cells) -> bool {
        let Some(row) = node.child("arg").filter(|row| row.kind == "ColumnRef") else {
            return false;
        };
        let ([name], [field, ..]) = (row.list("fields"), node.list("indirection")) else {
            return false;
        };
        let Some(name) = name.string() else {
            return false;
        };
        // A column of that name comes before the row.
        if self.is_column(name) || self.items_named(None, name).is_empty() {
            return false;
        }
        match field.string() {
            Some(field) => {
                let from = cells.len();
                self.qualified(None, name, field, cells);
                let named: Cells = cells.get(from..).unwrap_or(&[]).to_vec();
                self.found.mark(&named, Use::Named);
            }
            None => {
                let outputs = self.expand(&[name]);
                cells.extend(outputs.all());
            }
        }
        true
    }

    fn is_column(&mut self, name: &'a str) -> bool {
        (0..self.levels.len()).any(|depth| {
            let items = self.offered_at(depth);
            let mut cells = Cells::new();
            items
                .iter()
                .any(|item| self.column(item, name, &mut cells) == Known::Yes)
        })
    }

    /// The items of that name on the nearest level that has one.
    fn items_named(&self, schema: Option<&str>, alias: &str) -> Vec<Rc<Item<'a>>> {
        let fits = |item: &&Rc<Item<'a>>| {
            item.alias == alias && (schema.is_none() || item.schema == schema)
        };
        self.levels
            .iter()
            .rev()
            .map(|level| level.items.iter().filter(fits).cloned().collect())
            .find(|found: &Vec<_>| !found.is_empty())
            .unwrap_or_default()
    }
}

fn borrowed<'a>(name: &Cow<'a, str>) -> Option<&'a str> {
    match name {
        Cow::Borrowed(name) => Some(name),
        // `column1` of VALUES.
        Cow::Owned(_) => None,
    }
}
