//! Whether what goes to a host stays on this machine.
use std::net::IpAddr;

use url::{Host, Url};

/// `localhost`, or an address of the loopback network. An address of version 6 has no brackets here.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// That of an address; where there is none, nobody knows.
pub fn is_loopback_url(url: &Url) -> bool {
    match url.host() {
        // With a scheme that the URL standard does not know, an address of version 4 is a name, too.
        Some(Host::Domain(name)) => is_loopback(name),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
