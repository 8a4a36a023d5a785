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
    pub origin: Origin,
}

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
        // Braces are values of the session in a rule.
        let plain = |text: &str| text.replace('{', "{{").replace('}', "}}");
        let column = format!("\"{}\"", plain(&self.column.replace('"', "\"\"")));
        let values: Vec<String> = self
            .values
            .iter()
            .map(|value| format!("'{}'", plain(&value.replace('\'', "''"))))
            .collect();
        format!(
            "{{region.{region}}} IS NOT NULL OR {column} IS NULL OR {column} NOT IN ({})",
            values.join(", ")
        )
    }
}

impl PolicySet {
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
