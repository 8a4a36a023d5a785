//! Regions: rows that are to be seen by who is in a place, told by where a session comes from.
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::PolicySet;
use super::pattern::RelationName;
use crate::config::Origin;

#[derive(Debug, Clone)]
pub struct Region {
    pub name: Arc<str>,
    /// Where its people sit.
    pub networks: Vec<IpNet>,
    pub rows: Vec<RegionRows>,
}

/// The rows of a relation that are a region's.
#[derive(Debug, Clone)]
pub struct RegionRows {
    pub relation: RelationName,
    pub column: String,
    pub values: BTreeSet<String>,
    /// For who is outside they are masked and not hidden: all classes of the relation say so.
    pub masked: bool,
    pub origin: Origin,
}

/// Regions whose rows can be masked: for each set of them that a session may be outside of roles are compiled.
pub const MAX_MASKED: usize = 4;

impl Region {
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

impl RegionRows {
    /// The row rule: all rows for who is in the region, those of elsewhere for everybody. A row of which it is not known
    /// where it belongs is nobody's alone.
    pub fn condition(&self, region: &str) -> String {
        let (column, values) = self.sql();
        format!("{{region.{region}}} IS NOT NULL OR {column} IS NULL OR {column} NOT IN ({values})")
    }

    /// What holds for the rows that are the region's.
    pub fn belongs(&self) -> String {
        let (column, values) = self.sql();
        format!("{column} IN ({values})")
    }

    /// Column and values as a rule writes them.
    fn sql(&self) -> (String, String) {
        // Braces are values of the session in a rule.
        let plain = |text: &str| text.replace('{', "{{").replace('}', "}}");
        let column = format!("\"{}\"", plain(&self.column.replace('"', "\"\"")));
        let values: Vec<String> = self
            .values
            .iter()
            .map(|value| format!("'{}'", plain(&value.replace('\'', "''"))))
            .collect();
        (column, values.join(", "))
    }
}

impl PolicySet {
    /// Regions of which some rows are masked, each with its bit.
    fn masked_regions(&self) -> impl Iterator<Item = (u32, &Region)> {
        let masked = self
            .regions
            .iter()
            .filter(|region| region.rows.iter().any(|rows| rows.masked));
        masked
            .take(MAX_MASKED)
            .enumerate()
            .map(|(index, region)| (1 << index, region))
    }

    /// The regions that an address is not in and whose rows are masked for it, as bits. Where nobody knows where somebody is,
    /// that is outside of all.
    pub fn masked_outside(&self, address: Option<IpAddr>) -> u32 {
        let is_in = |region: &Region| address.is_some_and(|address| region.holds(address));
        self.masked_regions()
            .filter(|(_, region)| !is_in(region))
            .fold(0, |bits, (bit, _)| bits | bit)
    }

    /// All sets of regions that somebody may be outside of.
    pub fn outsides(&self) -> std::ops::Range<u32> {
        1..1 << self.masked_regions().count()
    }

    /// The rows that are masked for who is outside of these regions.
    pub fn masked_rows(&self, outside: u32) -> impl Iterator<Item = &RegionRows> {
        self.masked_regions()
            .filter(move |(bit, _)| outside & bit != 0)
            .flat_map(|(_, region)| region.rows.iter().filter(|rows| rows.masked))
    }

    /// The regions that an address is in.
    pub fn inside(&self, address: IpAddr) -> impl Iterator<Item = &Region> {
        self.regions
            .iter()
            .filter(move |region| region.holds(address))
    }

    /// The regions that an address is not in, with the relations that have rows of theirs.
    pub fn outside(&self, address: IpAddr) -> Vec<(Arc<str>, Vec<String>)> {
        self.regions
            .iter()
            .filter(|region| !region.holds(address))
            .map(|region| {
                let relations = region
                    .rows
                    .iter()
                    .map(|rows| format!("{}.{}", rows.relation.schema, rows.relation.name));
                (Arc::clone(&region.name), relations.collect())
            })
            .collect()
    }
}
