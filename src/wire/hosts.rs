//! The servers that sessions may go to: in which order they are tried, at which addresses, and which of them will do.
//!
//! As libpq has it (PostgreSQL documentation, 34.1.1.3 and `target_session_attrs`): every host in turn, every address
//! of its name in turn, and names are resolved anew each time.
use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

/// A server by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A DNS name or an address.
    pub name: String,
    pub port: u16,
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// libpq's `target_session_attrs`: what a server has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    #[default]
    Any,
    /// Transactions may write: a primary, and `default_transaction_read_only` is off.
    ReadWrite,
    ReadOnly,
    /// Not in hot standby mode.
    Primary,
    Standby,
    /// A standby where there is one, else any server.
    PreferStandby,
}

impl Target {
    /// What is looked for first, and where nothing is like that, then.
    const fn passes(self) -> &'static [Target] {
        match self {
            Target::Any => &[Target::Any],
            Target::ReadWrite => &[Target::ReadWrite],
            Target::ReadOnly => &[Target::ReadOnly],
            Target::Primary => &[Target::Primary],
            Target::Standby => &[Target::Standby],
            Target::PreferStandby => &[Target::Standby, Target::Any],
        }
    }

    /// Whether a server will do.
    pub const fn takes(self, standing: Standing) -> bool {
        match self {
            Target::Any | Target::PreferStandby => true,
            Target::ReadWrite => !standing.read_only,
            Target::ReadOnly => standing.read_only,
            Target::Primary => !standing.in_recovery,
            Target::Standby => standing.in_recovery,
        }
    }

    /// Why a server will not do, in libpq's words.
    pub const fn objection(self) -> &'static str {
        match self {
            Target::Any | Target::PreferStandby => "the server is not looked at",
            Target::ReadWrite => "session is read-only",
            Target::ReadOnly => "session is not read-only",
            Target::Primary => "server is in hot standby mode",
            Target::Standby => "server is not in hot standby mode",
        }
    }
}

/// What a server is at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub in_recovery: bool,
    /// Transactions cannot write, or do not unless they ask for it.
    pub read_only: bool,
}

impl Standing {
    /// What a server says of a session in ParameterStatus; `None` before PostgreSQL 14, which reports neither.
    pub fn reported(parameters: &[(String, String)]) -> Option<Self> {
        let is_on = |name: &str| {
            let last = parameters.iter().rev().find(|(known, _)| known == name);
            last.map(|(_, value)| value == "on")
        };
        let in_recovery = is_on("in_hot_standby")?;
        Some(Standing {
            in_recovery,
            read_only: in_recovery || is_on("default_transaction_read_only")?,
        })
    }
}

/// A boxed future, for traits that are used as objects.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Finds out what a server is, by a login of pgveil's own.
pub trait Standings: Send + Sync + Debug {
    /// Of the host with that number in the list, at one of its addresses. The error is for the log.
    fn standing(&self, host: usize, addr: SocketAddr) -> Later<'_, Result<Standing, String>>;

    /// What was seen there is not true any more.
    fn forget(&self, host: usize, addr: SocketAddr);
}

/// Turns a host's name into addresses.
pub trait Resolve: Send + Sync + Debug {
    fn resolve<'a>(&'a self, host: &'a Host) -> Later<'a, io::Result<Vec<SocketAddr>>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a Host) -> Later<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.name.as_str(), host.port)).await;
            found.map(Iterator::collect)
        })
    }
}

/// Where libpq's `load_balance_hosts` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    AsWritten,
    /// Hosts, and the addresses of each, in another order each time.
    Random,
}

/// The list of servers.
#[derive(Debug, Clone)]
pub struct Hosts {
    hosts: Vec<Host>,
    target: Target,
    order: Order,
    resolver: Arc<dyn Resolve>,
}

impl Hosts {
    pub fn new(hosts: Vec<Host>) -> Self {
        Hosts {
            hosts,
            target: Target::default(),
            order: Order::default(),
            resolver: Arc::new(SystemResolver),
        }
    }

    /// A list of one.
    pub fn one(name: &str, port: u16) -> Self {
        Hosts::new(vec![Host {
            name: name.to_owned(),
            port,
        }])
    }

    #[must_use]
    pub fn with_target(self, target: Target) -> Self {
        Hosts { target, ..self }
    }

    #[must_use]
    pub fn with_order(self, order: Order) -> Self {
        Hosts { order, ..self }
    }

    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Hosts { resolver, ..self }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    pub fn get(&self, host: usize) -> Option<&Host> {
        self.hosts.get(host)
    }

    pub fn target(&self) -> Target {
        self.target
    }

    /// What is looked for, in turn.
    pub fn passes(&self) -> &'static [Target] {
        self.target.passes()
    }

    /// Numbers of the hosts in the order in which they are tried now.
    pub fn turns(&self) -> Vec<usize> {
        let mut turns: Vec<usize> = (0..self.hosts.len()).collect();
        self.shuffle(&mut turns);
        turns
    }

    /// The addresses of a host as its name has them now, in the order in which they are tried.
    ///
    /// # Errors
    /// The name cannot be resolved, or has no address.
    pub async fn addresses(&self, host: usize) -> io::Result<Vec<SocketAddr>> {
        let mut addresses = match self.hosts.get(host) {
            Some(host) => self.resolver.resolve(host).await?,
            None => Vec::new(),
        };
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        self.shuffle(&mut addresses);
        Ok(addresses)
    }

    /// Fisher and Yates, with the random keys of a hash map: nobody gains by guessing them.
    fn shuffle<T>(&self, list: &mut [T]) {
        if self.order == Order::AsWritten {
            return;
        }
        let random = RandomState::new();
        for end in (1..list.len()).rev() {
            let place = random.hash_one(end) % (end as u64 + 1);
            list.swap(end, usize::try_from(place).unwrap_or(end));
        }
    }
}

impl Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, host) in self.hosts.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{host}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parameters(hot: &str, read_only: &str) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            pair("in_hot_standby", hot),
            pair("default_transaction_read_only", read_only),
        ]
    }

    #[test]
    fn servers_will_do_as_libpq_has_it() {
        use Target::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
        for (hot, read_only, taken) in [
            ("off", "off", [Any, ReadWrite, Primary]),
            ("off", "on", [Any, ReadOnly, Primary]),
            ("on", "off", [Any, ReadOnly, Standby]),
        ] {
            let standing = Standing::reported(&parameters(hot, read_only)).expect("reported");
            for target in [Any, ReadWrite, ReadOnly, Primary, Standby] {
                assert_eq!(
                    target.takes(standing),
                    taken.contains(&target),
                    "{target:?}"
                );
            }
        }
        assert_eq!(PreferStandby.passes(), [Standby, Any]);
        assert_eq!(Standing::reported(&[]), None);
    }

    #[test]
    fn a_random_order_has_everybody_and_everybody_first_at_times() {
        let list = Hosts::new(vec![
            Host {
                name: "a".to_owned(),
                port: 1
            };
            4
        ]);
        assert_eq!(list.turns(), [0, 1, 2, 3]);
        let list = list.with_order(Order::Random);
        let mut first = BTreeSet::new();
        // That one of four is never first in a thousand goes happens once in 10^125 times.
        for _ in 0..1000 {
            let mut turns = list.turns();
            first.insert(turns[0]);
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2, 3]);
        }
        assert_eq!(first.len(), 4);
    }

    #[test]
    fn a_host_is_written_with_its_port() {
        let mut list = Hosts::one("::1", 5432);
        list.hosts.push(Host {
            name: "db".to_owned(),
            port: 1,
        });
        assert_eq!(list.to_string(), "[::1]:5432, db:1");
    }
}
