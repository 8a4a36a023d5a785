//! pg_hba.conf: whom it lets in past pgveil, and how it should look.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::finding::Findings;

/// A line of pg_hba.conf, as `pg_hba_file_rules` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    pub line: i32,
    /// `local`, `host`, `hostssl`, ...
    pub kind: String,
    pub databases: Vec<String>,
    pub users: Vec<String>,
    /// An address, a host's name, `all`, `samehost`, `samenet`; absent for `local`.
    pub address: Option<String>,
    pub netmask: Option<String>,
    pub method: String,
    pub error: Option<String>,
}

/// Addresses that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Network and its number of bits.
    Network(IpAddr, u32),
    All,
    /// The server's own addresses.
    SameHost,
    /// A name, a domain, the server's networks: more than can be told.
    Unknown,
}

impl Reach {
    fn of(rule: &Rule) -> Option<Self> {
        let text = rule.address.as_deref()?;
        Some(match (text, text.parse::<IpAddr>()) {
            ("all", _) => Reach::All,
            ("samehost", _) => Reach::SameHost,
            (_, Ok(address)) => Reach::Network(address, bits(rule.netmask.as_deref(), address)),
            _ => Reach::Unknown,
        })
    }

    /// Nobody else but this address (and, where it is the server's own machine, what is there).
    fn is_only(self, own: IpAddr) -> bool {
        match self {
            Reach::Network(address, bits) => address == own && bits == width(own),
            Reach::SameHost => own.is_loopback(),
            Reach::All | Reach::Unknown => false,
        }
    }

    fn holds(self, other: Reach) -> bool {
        match (self, other) {
            (Reach::All, _) => true,
            (Reach::Network(address, bits), Reach::Network(inner, inner_bits)) => {
                bits <= inner_bits && masked(address, bits) == masked(inner, bits)
            }
            (one, other) => one == other,
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(netmask: Option<&str>, address: IpAddr) -> u32 {
    match netmask.and_then(|mask| mask.parse::<IpAddr>().ok()) {
        Some(IpAddr::V4(mask)) => mask.to_bits().count_ones(),
        Some(IpAddr::V6(mask)) => mask.to_bits().count_ones(),
        None => width(address),
    }
}

/// The network that an address is in; `None` beyond its width.
fn masked(address: IpAddr, bits: u32) -> Option<u128> {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
            Some(u128::from(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128_u32.checked_sub(bits)?)
                .unwrap_or(0);
            Some(address.to_bits() & mask)
        }
    }
}

impl Rule {
    /// Groups (`+name`), patterns and `samerole` may mean anybody.
    fn may_mean(words: &[String], name: &str) -> bool {
        words.iter().any(|word| {
            word == name
                || word == "all"
                || word.starts_with(['+', '/'])
                || word.starts_with("same")
        })
    }

    fn surely_means(words: &[String], name: &str) -> bool {
        words.iter().any(|word| word == name || word == "all")
    }

    fn lets_in(&self) -> bool {
        self.method != "reject"
    }

    fn is_replication_only(&self) -> bool {
        self.databases.iter().all(|name| name == "replication")
    }
}

/// `own`: pgveil's address as the server sees it; `users`: those of the policy; `databases`: those served, all if none.
pub fn look(
    rules: &[Rule],
    own: IpAddr,
    users: &BTreeSet<String>,
    databases: &[String],
    findings: &mut Findings,
) {
    for rule in rules.iter().filter(|rule| rule.error.is_some()) {
        findings.warning(
            "hba.error",
            format!(
                "line {} of pg_hba.conf is wrong, and the file from before may be in force",
                rule.line
            ),
            "mend it; SELECT * FROM pg_hba_file_rules says what is wrong",
        );
    }
    for (place, rule) in rules.iter().enumerate() {
        if rule.error.is_some() || !rule.lets_in() || rule.is_replication_only() {
            continue;
        }
        let let_in: Vec<&str> = users
            .iter()
            .filter(|user| Rule::may_mean(&rule.users, user))
            .filter(|user| {
                let before = rules.get(..place).unwrap_or_default();
                !before
                    .iter()
                    .any(|earlier| shadows(earlier, rule, user, databases))
            })
            .map(String::as_str)
            .collect();
        if let_in.is_empty() {
            continue;
        }
        weigh(rule, own, &listed(&let_in), findings);
    }
}

fn weigh(rule: &Rule, own: IpAddr, users: &str, findings: &mut Findings) {
    let line = rule.line;
    match Reach::of(rule) {
        None if rule.method == "trust" => findings.error(
            "hba.open",
            format!("line {line} of pg_hba.conf lets everybody with a shell on the server be {users} without a password"),
            format!("let only the administrator in by `local`, with method peer, and put the rest behind line {line}: pgveil doctor --hba"),
        ),
        None => {}
        Some(reach) if reach.is_only(own) => match rule.method.as_str() {
            "trust" => findings.error(
                "hba.trust",
                format!("line {line} of pg_hba.conf lets every program on pgveil's machine be {users} without a password"),
                format!("set method scram-sha-256 in line {line}"),
            ),
            "password" | "md5" | "ident" => findings.warning(
                "hba.method",
                format!("line {line} of pg_hba.conf takes method {} for {users}", rule.method),
                format!("set password_encryption = 'scram-sha-256', have passwords set anew, then method scram-sha-256 in line {line}"),
            ),
            _ => {}
        },
        Some(_) => findings.error(
            "hba.open",
            format!(
                "line {line} of pg_hba.conf lets {users} in from {}, past pgveil at {own}",
                told(rule)
            ),
            format!("narrow line {line} to {own}/{}, then SELECT pg_reload_conf(); pgveil doctor --hba prints how it should look", width(own)),
        ),
    }
}

/// Whether nobody whom `rule` is about gets to it: an earlier line has decided on all of them.
fn shadows(earlier: &Rule, rule: &Rule, user: &str, databases: &[String]) -> bool {
    // `host` covers what comes with and without TLS.
    let kind = earlier.kind == rule.kind || earlier.kind == "host" && rule.kind.starts_with("host");
    let all_databases = earlier.databases.iter().any(|name| name == "all")
        || !databases.is_empty()
            && databases
                .iter()
                .all(|name| Rule::surely_means(&earlier.databases, name));
    let addresses = match (Reach::of(earlier), Reach::of(rule)) {
        (Some(earlier), Some(rule)) => earlier.holds(rule),
        (None, None) => true,
        _ => false,
    };
    kind && earlier.error.is_none()
        && all_databases
        && addresses
        && Rule::surely_means(&earlier.users, user)
}

fn told(rule: &Rule) -> String {
    let address = rule.address.as_deref().unwrap_or("the server's sockets");
    match address.parse::<IpAddr>() {
        Ok(parsed) => format!("{address}/{}", bits(rule.netmask.as_deref(), parsed)),
        Err(_) => address.to_owned(),
    }
}

fn listed(users: &[&str]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = users
        .iter()
        .take(SHOWN)
        .map(|user| format!("`{user}`"))
        .collect();
    match users.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Lines for pg_hba.conf: pgveil's users from its address alone, and nobody else by these names.
pub fn suggestion(
    own: IpAddr,
    tls: bool,
    catalog_user: &str,
    users: &BTreeSet<String>,
    databases: &[String],
) -> String {
    let host = if tls { "hostssl" } else { "host" };
    let address = format!("{own}/{}", width(own));
    let served = match databases {
        [] => "all".to_owned(),
        names => names
            .iter()
            .map(|name| quoted(name))
            .collect::<Vec<_>>()
            .join(","),
    };
    let mut text = format!(
        "# pgveil at {own}. Put these lines in front of all others, then: SELECT pg_reload_conf()\n\
         # What follows the last line may let in administrators, and nobody whom the policy names.\n"
    );
    let names = users.iter().map(String::as_str);
    for user in std::iter::once(catalog_user).chain(names) {
        let _ = writeln!(
            text,
            "{host:<8} {served:<15} {:<15} {address:<18} scram-sha-256",
            quoted(user)
        );
    }
    let everybody: Vec<String> = std::iter::once(catalog_user)
        .chain(users.iter().map(String::as_str))
        .map(quoted)
        .collect();
    let everybody = everybody.join(",");
    let _ = writeln!(text, "host     all             {everybody} all reject");
    let _ = writeln!(text, "local    all             {everybody} reject");
    text
}

/// A name is quoted where it could be read as something else.
fn quoted(name: &str) -> String {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let keyword = ["all", "sameuser", "samerole", "samegroup", "replication"].contains(&name);
    match plain && !keyword {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
#[path = "hba_tests.rs"]
mod tests;
