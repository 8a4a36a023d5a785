//! Masks of addresses: `network`.
use super::column_type::ColumnType;
use super::sql::{call, operator, unless_null};

const IPV4: u8 = 32;
const IPV6: u8 = 128;

/// How many bits of an address stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    ipv4: u8,
    ipv6: u8,
}

impl Network {
    /// What a provider gives to one customer (RFC 6177), if the policy names bits of IPv4 alone.
    pub const IPV6_DEFAULT: u8 = 48;

    /// `None` for more bits than an address has, and where every address would stay as it is.
    pub fn new(ipv4: u8, ipv6: u8) -> Option<Self> {
        let narrower = ipv4 < IPV4 || ipv6 < IPV6;
        (ipv4 <= IPV4 && ipv6 <= IPV6 && narrower).then_some(Self { ipv4, ipv6 })
    }

    /// The kind of addresses that stay as they are.
    pub fn untouched(self) -> Option<&'static str> {
        match self {
            Network { ipv4: IPV4, .. } => Some("IPv4"),
            Network { ipv6: IPV6, .. } => Some("IPv6"),
            Network { .. } => None,
        }
    }

    /// See [`super::Mask::Network`]. A network that is wider already stays as wide as it is.
    pub(super) fn sql(self, column: &str, data_type: &ColumnType) -> String {
        let address = format!("{column}::pg_catalog.inet");
        let bits = format!(
            "LEAST({}, CASE WHEN {} THEN {} ELSE {} END)",
            call("masklen", &[&address]),
            operator(&call("family", &[&address]), "=", "4"),
            self.ipv4,
            self.ipv6,
        );
        let network = call("network", &[&call("set_masklen", &[&address, &bits])]);
        unless_null(column, &network, &data_type.sql)
    }
}
