use super::*;
use crate::cli::doctor::finding::Level;

fn rule(text: &str) -> Rule {
    let words: Vec<&str> = text.split(' ').collect();
    let list = |word: &str| word.split(',').map(str::to_owned).collect();
    let (address, method) = match words[..] {
        [_, _, _, method] => (None, method),
        [_, _, _, address, method] => (Some(address), method),
        _ => panic!("{text}"),
    };
    let (address, length) = match address.and_then(|address| address.split_once('/')) {
        Some((address, length)) => (Some(address), length.parse::<u32>().ok()),
        None => (address, None),
    };
    let netmask = length.map(|length| {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        std::net::Ipv4Addr::from_bits(mask).to_string()
    });
    Rule {
        line: 1,
        kind: words[0].to_owned(),
        databases: list(words[1]),
        users: list(words[2]),
        address: address.map(str::to_owned),
        netmask,
        method: method.to_owned(),
        error: None,
    }
}

/// The kinds of findings about some lines, for a policy with one user at 10.0.0.7.
fn found(lines: &[&str]) -> Vec<(Level, String)> {
    let rules: Vec<Rule> = lines.iter().map(|line| rule(line)).collect();
    let own = "10.0.0.7".parse().expect("an address");
    let users = BTreeSet::from(["agent".to_owned()]);
    let mut findings = Findings::default();
    look(&rules, own, &users, &["crm".to_owned()], &mut findings);
    let json = findings.json();
    json.lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let level = match value["level"].as_str() {
                Some("error") => Level::Error,
                _ => Level::Warning,
            };
            (level, value["check"].as_str().expect("a check").to_owned())
        })
        .collect()
}

fn error(check: &str) -> Vec<(Level, String)> {
    vec![(Level::Error, check.to_owned())]
}

#[test]
fn users_of_the_policy_come_from_pgveils_address_alone() {
    for lines in [
        &["hostssl crm agent 10.0.0.7/32 scram-sha-256"][..],
        // Others may come from everywhere.
        &["host all dba 0.0.0.0/0 scram-sha-256"],
        &["host all all 0.0.0.0/0 reject"],
        &["host replication all 0.0.0.0/0 scram-sha-256"],
        &["local all all peer"],
        // What a line before has turned away.
        &[
            "host all agent all reject",
            "host all all 0.0.0.0/0 scram-sha-256",
        ],
        &[
            "host crm agent 10.0.0.0/8 reject",
            "host crm agent 10.1.0.0/16 scram-sha-256",
        ],
        &[
            "host crm agent 10.0.0.0/8 reject",
            "hostssl all agent 10.1.0.0/16 scram-sha-256",
        ],
    ] {
        assert_eq!(found(lines), [], "{lines:?}");
    }
}

#[test]
fn every_other_way_in_is_found() {
    for lines in [
        &["host all all 0.0.0.0/0 scram-sha-256"][..],
        &["host all agent 10.0.0.0/24 scram-sha-256"],
        &["host crm agent 10.0.0.8/32 scram-sha-256"],
        &["hostssl all +staff all scram-sha-256"],
        &["host all /^ag samenet scram-sha-256"],
        &["host all agent office.example.com scram-sha-256"],
        &["host all agent samehost scram-sha-256"],
        &["local all all trust"],
        // Lines before that do not turn everybody away.
        &[
            "host hr agent all reject",
            "host all all 0.0.0.0/0 scram-sha-256",
        ],
        &[
            "hostssl all agent all reject",
            "host all all 0.0.0.0/0 scram-sha-256",
        ],
        &[
            "host all agent 10.0.0.0/24 reject",
            "host all all 10.0.0.0/8 scram-sha-256",
        ],
        &[
            "host all +staff all reject",
            "host all agent 10.0.0.0/24 scram-sha-256",
        ],
        &[
            "host all agent all scram-sha-256",
            "host all agent all reject",
        ],
    ] {
        assert_eq!(found(lines), error("hba.open"), "{lines:?}");
    }
}

#[test]
fn how_pgveil_itself_is_let_in_counts_too() {
    assert_eq!(
        found(&["host all agent 10.0.0.7/32 trust"]),
        error("hba.trust")
    );
    for method in ["md5", "password", "ident"] {
        let line = format!("host all all 10.0.0.7/32 {method}");
        let warning = [(Level::Warning, "hba.method".to_owned())];
        assert_eq!(found(&[&line]), warning, "{method}");
    }
}

#[test]
fn the_lines_that_are_suggested_raise_no_finding() {
    let own = "10.0.0.7".parse().expect("an address");
    let users = BTreeSet::from(["agent".to_owned(), "Odd Name".to_owned(), "all".to_owned()]);
    let text = suggestion(own, true, "pgveil", &users, &["crm".to_owned()]);
    assert!(
        text.contains(
            "hostssl  crm             agent           10.0.0.7/32        scram-sha-256\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("\"Odd Name\"") && text.contains("\"all\""),
        "{text}"
    );
    let users = BTreeSet::from(["agent".to_owned()]);
    let text = suggestion(own, true, "pgveil", &users, &["crm".to_owned()]);
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        // What was there before.
        .chain([
            "host all all 0.0.0.0/0 scram-sha-256".to_owned(),
            "local all all trust".to_owned(),
        ])
        .collect();
    assert_eq!(
        found(&lines.iter().map(String::as_str).collect::<Vec<_>>()),
        []
    );
}
