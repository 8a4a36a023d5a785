//! Checks regions, and gives every role that is analysed their row rules.
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::policy::compiled::SessionValue;
use crate::policy::mask::Mask;
use crate::policy::pattern::RelationName;
use crate::policy::raw::{RawMask, RawRegion, RawRegionRows};
use crate::policy::region::{MAX_MASKED, Region, RegionRows};
use crate::policy::rows::{Condition, is_name};
use crate::policy::rules::{ClassRule, RoleRule, RowsRule};

impl Checker {
    pub(super) fn region(
        &mut self,
        source: &Arc<Source>,
        name: &Spanned<String>,
        raw: &Spanned<RawRegion>,
    ) {
        let origin = Origin::new(source, name);
        if !is_name(&name.value) {
            self.error(&origin, format!("`{}` is no name of a region", name.value));
            return;
        }
        if self.regions.iter().any(|region| *region.name == name.value) {
            let message = format!("the region `{}` stands here twice", name.value);
            self.error(&origin, message);
        }
        let networks = match &raw.value.network {
            Some(value) => self.networks(source, value),
            None => {
                let message = format!("the region `{}` names no `network`", name.value);
                let diagnostic = Diagnostic::error(&origin, message);
                self.diagnostics.push(
                    diagnostic.suggest("say where its people sit, as in `network: 10.1.0.0/16`"),
                );
                Vec::new()
            }
        };
        let mut rows = Vec::new();
        for (relation, raw) in raw.value.rows.iter().flat_map(|entries| &entries.0) {
            rows.extend(self.region_rows(source, relation, raw));
        }
        if rows.is_empty() {
            let message = format!("the region `{}` names no `rows`", name.value);
            let diagnostic = Diagnostic::error(&origin, message);
            self.diagnostics.push(diagnostic.suggest(
                "say which, as in `rows: { crm.contacts: { column: region, values: [EU] } }`",
            ));
        }
        self.regions.push(Region {
            name: name.value.as_str().into(),
            networks,
            rows,
        });
    }

    fn region_rows(
        &mut self,
        source: &Arc<Source>,
        relation: &Spanned<String>,
        raw: &Spanned<RawRegionRows>,
    ) -> Option<RegionRows> {
        let origin = Origin::new(source, relation);
        let named = RelationName::parse(&relation.value);
        if named.is_none() {
            let message = format!("expected `schema.table`, found `{}`", relation.value);
            self.error(&origin, message);
        }
        let column = raw.value.column.as_ref().and_then(|leaf| leaf.value.text());
        let values = match &raw.value.values {
            Some(values) => self.texts(source, values, "value"),
            None => Default::default(),
        };
        let (Some(column), false) = (column, values.is_empty()) else {
            let message = "expected a `column`, and the `values` in it that mean the region";
            let diagnostic = Diagnostic::error(&Origin::new(source, raw), message);
            self.diagnostics
                .push(diagnostic.suggest("write it as in `{ column: region, values: [EU, EEA] }`"));
            return None;
        };
        Some(RegionRows {
            relation: named?,
            column: column.to_owned(),
            values,
            masked: false,
            origin,
        })
    }

    /// What a class says of rows of a region: how it is masked, `None` where they are hidden.
    pub(super) fn outside(&mut self, source: &Arc<Source>, raw: &Spanned<RawMask>) -> Option<Mask> {
        if matches!(&raw.value, RawMask::Leaf(leaf) if leaf.text() == Some("hide")) {
            return None;
        }
        let origin = Origin::new(source, raw);
        if let RawMask::Keys(keys) = &raw.value
            && let Some(lookup) = &keys.lookup
        {
            let message =
                "`lookup` would tell the stored value of a row that is masked for where it belongs";
            let diagnostic = Diagnostic::error(&Origin::new(source, lookup), message);
            self.diagnostics.push(diagnostic.suggest("take it out"));
        }
        self.mask(source, &origin, &raw.value)
    }

    /// Rows are masked if every class that names columns of the relation says how; one switch for all would show those of
    /// which nobody has said so.
    fn masked(&mut self, rows: &RegionRows) -> bool {
        let name = &rows.relation;
        let of_it = |class: &&ClassRule| {
            class.columns.iter().any(|column| {
                column.pattern.schema.matches(&name.schema)
                    && column.pattern.table.matches(&name.name)
            })
        };
        let (masked, hidden): (Vec<&ClassRule>, Vec<&ClassRule>) = self
            .classes
            .iter()
            .filter(of_it)
            .partition(|class| class.outside.is_some());
        if let (Some(masked), Some(hidden)) = (masked.first(), hidden.first()) {
            let message = format!(
                "rows of `{name}` are hidden from who is outside, for the class `{}` hides them",
                hidden.name
            );
            let diagnostic = Diagnostic::warning(&masked.origin, message);
            let way_out = format!(
                "say `outside` in `{}` as well, for instance `outside: redact`",
                hidden.name
            );
            self.diagnostics.push(diagnostic.suggest(way_out));
        }
        !masked.is_empty() && hidden.is_empty()
    }

    /// Each role that is analysed gets the rules of all regions, beside its own.
    pub(super) fn residency(&mut self) {
        let mut regions = std::mem::take(&mut self.regions);
        for rows in regions.iter_mut().flat_map(|region| &mut region.rows) {
            rows.masked = self.masked(rows);
        }
        let masked = regions
            .iter()
            .filter(|region| region.rows.iter().any(|rows| rows.masked));
        if let Some(beyond) = masked.clone().nth(MAX_MASKED)
            && let Some(rows) = beyond.rows.first()
        {
            let message = format!("rows of more than {MAX_MASKED} regions cannot be masked");
            let diagnostic = Diagnostic::error(&rows.origin, message);
            self.diagnostics
                .push(diagnostic.suggest("let the classes of some relations `hide` them"));
        }
        let mut roles = std::mem::take(&mut self.roles);
        for role in roles.iter_mut().filter(|role| role.restricted()) {
            for region in &regions {
                for rows in region.rows.iter().filter(|rows| !rows.masked) {
                    self.reside(role, &region.name, rows);
                }
            }
        }
        for rule in roles.iter().flat_map(|role| &role.rows) {
            for value in rule.condition.values() {
                let SessionValue::Region(name) = value else {
                    continue;
                };
                let names = regions.iter().map(|region| &*region.name);
                if !names.clone().any(|known| *known == **name) {
                    let message = format!("no region is called `{name}`");
                    let diagnostic = Diagnostic::error(&rule.origin, message);
                    self.diagnostics.push(diagnostic.did_you_mean(name, names));
                }
            }
        }
        self.roles = roles;
        self.regions = regions;
    }

    fn reside(&mut self, role: &mut RoleRule, region: &str, rows: &RegionRows) {
        let own = role
            .rows
            .iter_mut()
            .find(|rule| rule.relation == rows.relation);
        let condition = rows.condition(region);
        let text = match &own {
            // A comment in it ends with the line.
            Some(own) => format!("({}\n) AND ({condition})", own.text),
            None => condition,
        };
        match Condition::read(&text) {
            Ok(condition) => match own {
                Some(own) => {
                    own.condition = condition;
                    own.text = text;
                }
                None => role.rows.push(RowsRule {
                    text,
                    relation: rows.relation.clone(),
                    named: rows.origin.clone(),
                    condition,
                    origin: rows.origin.clone(),
                }),
            },
            Err(objection) => self.diagnostics.push(objection.at(&rows.origin)),
        }
    }
}
