//! Metrics by Prometheus' conventions; rules and dashboards over them.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgveil::admin::metrics::{PROCESS, TABLE};
use serde_json::Value;

use crate::support::message::Client;
use crate::support::{Certificates, Config, Options, Pgveil, Postgres, fed, skip};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// That of tests/run.sh, or of the machine.
fn promtool() -> Option<PathBuf> {
    let own = root().join("target/deploy/prometheus/usr/bin/promtool");
    [own, "/usr/bin/promtool".into()]
        .into_iter()
        .find(|path| path.exists())
}

fn run(command: &mut Command, input: &str) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = fed(command, input);
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    (status.success(), said)
}

/// Identifiers of an expression that stand for series, outside of strings and of label lists.
fn series(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut word, mut quote, mut braces) = (String::new(), None, 0);
    for letter in expression.chars().chain([' ']) {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None if letter == '{' => braces += 1,
            None if letter == '}' => braces -= 1,
            None if braces == 0
                && (letter.is_ascii_alphanumeric() || letter == '_' || letter == ':') =>
            {
                word.push(letter);
                continue;
            }
            None => {}
        }
        let known = ["pgveil_", "process_"];
        if known.iter().any(|prefix| word.starts_with(prefix)) || word.contains(":pgveil_") {
            found.insert(word.clone());
        }
        word.clear();
    }
    found
}

/// Values of `key:` in a YAML of rules, blocks included.
fn values(yaml: &str, key: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut block: Option<usize> = None;
    for line in yaml.lines() {
        let indent = line.len() - line.trim_start().len();
        if let (Some(least), Some(last)) = (block, found.last_mut()) {
            if indent > least {
                last.push_str(line);
                continue;
            }
            block = None;
        }
        let bare = line.trim_start().trim_start_matches("- ");
        if let Some(value) = bare.strip_prefix(&format!("{key}: ")) {
            found.push(value.trim_start_matches('|').to_owned());
            block = value.starts_with('|').then_some(indent);
        }
    }
    found
}

fn recorded() -> Vec<String> {
    values(&read("deploy/prometheus/recording.yaml"), "record")
}

fn is_known(name: &str) -> bool {
    let histogram = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().any(|suffix| {
            let base = name.strip_suffix(suffix);
            TABLE
                .iter()
                .any(|(listed, kind, _)| *kind == "histogram" && Some(*listed) == base)
        })
    };
    TABLE
        .iter()
        .any(|(listed, kind, _)| *listed == name && *kind != "histogram")
        || PROCESS.contains(&name)
        || recorded().iter().any(|record| record == name)
        || histogram(name)
}

#[test]
fn no_rule_names_a_metric_that_does_not_exist() {
    for file in ["recording.yaml", "alerts.yaml"] {
        let expressions = values(&read(&format!("deploy/prometheus/{file}")), "expr");
        assert!(expressions.len() > 5, "{file}: {expressions:?}");
        for expression in expressions {
            let names = series(&expression);
            assert!(
                !names.is_empty() || expression.starts_with("up{"),
                "{file}: `{expression}` names no metric"
            );
            for name in names {
                assert!(is_known(&name), "{file}: `{name}` in `{expression}`");
            }
        }
    }
    assert!(!is_known("pgveil_planning_seconds"), "a histogram has none");
    assert!(!is_known("pgveil_sessions_total"));
}

#[test]
fn no_panel_names_a_metric_that_does_not_exist() {
    for name in ["operations", "security"] {
        let text = read(&format!("deploy/grafana/{name}.json"));
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        let panels = dashboard["panels"].as_array().expect("panels");
        let targets: Vec<&Value> = panels
            .iter()
            .filter_map(|panel| panel["targets"].as_array())
            .flatten()
            .collect();
        assert!(targets.len() > 20, "{name}");
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression");
            for metric in series(expression) {
                assert!(is_known(&metric), "{name}: `{metric}` in `{expression}`");
            }
        }
    }
}

#[test]
fn the_dashboards_are_what_their_script_writes() {
    let script = root().join("deploy/grafana/dashboards.py");
    let (good, said) = run(Command::new("python3").arg(script).arg("--check"), "");
    assert!(good, "{said}");
}

/// Of each alert, one moment when it fires and one when it does not.
#[test]
fn every_alert_says_what_to_do_and_has_a_test() {
    let (alerts, tests) = (
        read("deploy/prometheus/alerts.yaml"),
        read("deploy/prometheus/alerts_test.yaml"),
    );
    let names = values(&alerts, "alert");
    assert!(names.len() >= 20, "{names:?}");
    assert_eq!(
        names.len(),
        names.iter().collect::<BTreeSet<_>>().len(),
        "a name stands there twice"
    );
    for key in ["summary", "description", "action"] {
        assert_eq!(values(&alerts, key).len(), names.len(), "{key}");
    }
    for name in names {
        let fires = format!("{{ labels: '{{alertname=\"{name}\"}}', value: 1 }}");
        let quiet = format!("(ALERTS{{alertstate=\"firing\",alertname=\"{name}\"}})\n");
        assert!(tests.contains(&fires), "{name} is never seen to fire");
        assert!(tests.contains(&quiet), "{name} is never seen not to fire");
    }
}

#[test]
fn the_documentation_has_every_alert_and_every_finding_of_the_doctor() {
    let text = read("docs/operations.md");
    let alerts: BTreeSet<String> = values(&read("deploy/prometheus/alerts.yaml"), "alert")
        .into_iter()
        .collect();
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    let told: BTreeSet<String> = words
        .filter(|word| word.starts_with("Pgveil"))
        .map(str::to_owned)
        .collect();
    assert_eq!(told, alerts);
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for file in fs::read_dir(root().join("src/cli/doctor"))
        .expect("a folder")
        .flatten()
    {
        let source = fs::read_to_string(file.path()).expect("a source");
        for part in source.split('"') {
            let kinds = [
                "hba.",
                "direct.",
                "catalog_user.",
                "users.",
                "server.",
                "certificates.",
                "files.",
                "disk.",
            ];
            let Some((group, name)) = part.split_once('.') else {
                continue;
            };
            let is_check = kinds.contains(&format!("{group}.").as_str())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let is_told = rows.iter().any(|row| {
                row.contains(&format!("`{group}.")) && row.contains(&format!(".{name}`"))
            });
            // What answers and is no way around.
            let harmless = ["direct.pgveil", "direct.other", "direct.closed"];
            assert!(!is_check || is_told || harmless.contains(&part), "{part}");
        }
    }
}

#[test]
fn promtool_agrees_with_the_rules() {
    let Some(promtool) = promtool() else {
        skip(
            "promtool_agrees_with_the_rules",
            "there is no promtool (tests/run.sh installs it)",
        );
        return;
    };
    for words in [
        &["check", "config", "prometheus.yaml"][..],
        &["test", "rules", "alerts_test.yaml"],
    ] {
        let mut command = Command::new(&promtool);
        command
            .args(words)
            .current_dir(root().join("deploy/prometheus"));
        let (good, said) = run(&mut command, "");
        assert!(good, "{said}");
    }
}

const POLICY: &str = r#"version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent:
    who: [{ db_user: agent }]
    mask: { phone: { show: { first: 3, last: 4 }, lookup: exact } }
    export: { rows: 5 }
  all: { who: [{ db_user: postgres }], unmasked: true }
unmatched: deny
"#;

/// A proxy that has done a bit of everything, and its metrics.
fn worked() -> (Postgres, Pgveil, Certificates, String) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE TABLE people (id int PRIMARY KEY, phone text); CREATE USER agent; \
         GRANT SELECT ON people TO agent; \
         INSERT INTO people SELECT n, '138' || n FROM generate_series(10000000, 10000099) n",
    );
    let certificates = Certificates::new();
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set(
        "tls",
        &format!(
            "{{ cert: \"{}\", key: \"{}\" }}",
            certificates.cert_file().display(),
            certificates.key_file().display()
        ),
    );
    config.set(
        "audit",
        "{ dir: var/audit, sinks: { archive: { type: file, path: var/archive.jsonl } } }",
    );
    let pgveil = Pgveil::start(&config);
    let sql = |user: &str, text: &str| pgveil.sql(user, "postgres", text);
    assert_eq!(
        sql(
            "agent",
            "SELECT phone FROM people WHERE phone = '13810000001'"
        )
        .map(|rows| rows.len())
        .ok(),
        Some(1)
    );
    sql("agent", "SELECT pg_read_file('/etc/passwd')").expect_err("refused");
    sql("agent", "SELECT * FROM people").expect_err("stopped");
    sql("nobody_known", "SELECT 1").expect_err("denied");
    sql("postgres", "CREATE TABLE other (x int)").expect("made");
    sql("postgres", "\u{1F600} no SQL at all").expect_err("no SQL");
    drop(Client::login(pgveil.port(), "postgres", "", "postgres"));
    let metrics = pgveil.http("/metrics");
    let (_, body) = metrics.split_once("\r\n\r\n").expect("a body");
    let body = body.to_owned();
    (server, pgveil, certificates, body)
}

#[test]
fn metrics_follow_the_conventions_of_prometheus() {
    let (_server, _pgveil, _certificates, body) = worked();
    for (sample, value) in [
        ("pgveil_sessions_limit", "1000"),
        ("pgveil_login_failures_total{blame=\"policy\"}", "1"),
        (
            "pgveil_export_stops_total{limit=\"rows\",role=\"agent\"}",
            "1",
        ),
        (
            "pgveil_export_stops_total{limit=\"per_day\",role=\"agent\"}",
            "0",
        ),
        ("pgveil_alarms_total{alarm=\"honeytoken\"}", "0"),
        // The year 4096, as certificates of tests have it.
        (
            "pgveil_tls_certificate_not_after_timestamp_seconds{purpose=\"listener\"}",
            "67090118400",
        ),
    ] {
        let line = format!("{sample} {value}");
        assert!(body.lines().any(|l| l == line), "no `{line}` in\n{body}");
    }
    let Some(promtool) = promtool() else {
        skip(
            "metrics_follow_the_conventions_of_prometheus",
            "there is no promtool (tests/run.sh installs it)",
        );
        return;
    };
    let mut check = Command::new(&promtool);
    let (good, said) = run(check.args(["check", "metrics"]), &body);
    assert!(good && said.trim().is_empty(), "{said}");
    // It does look.
    let odd = body.replace("pgveil_logins_total", "pgveil_loginsTotal");
    let (good, said) = run(Command::new(promtool).args(["check", "metrics"]), &odd);
    assert!(!good && said.contains("pgveil_loginsTotal"), "{said}");
}

/// What clients send, names of users and databases included, becomes no value of a label.
#[test]
fn labels_take_values_from_closed_sets() {
    let (_server, pgveil, _certificates, _) = worked();
    for user in ["canary_user", "canary\"{}"] {
        pgveil
            .sql(user, "canary_database", "SELECT 1")
            .expect_err("denied");
    }
    for text in [
        "SELECT 1 AS canary_column FROM canary_table",
        "canary_kind of statement",
        "NOTIFY canary_channel, 'canary'",
        "PREPARE canary AS SELECT 'canary'; EXECUTE canary",
        "SET application_name = 'canary'; SELECT 'canary'",
    ] {
        for user in ["agent", "postgres"] {
            let _ = pgveil.sql(user, "postgres", text);
        }
    }
    let answer = pgveil.http("/metrics");
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in answer.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once('{') else {
            continue;
        };
        let (pairs, _) = rest.rsplit_once('}').expect("a closing brace");
        for pair in pairs.split("\",") {
            let (label, value) = pair.split_once("=\"").expect("a label");
            let values = labels.entry(label.to_owned()).or_default();
            values.insert(value.trim_end_matches('"').to_owned());
        }
    }
    assert!(!answer.contains("canary"), "{answer}");
    let names = ["role", "sink", "database"];
    for (name, known) in names
        .iter()
        .zip([&["agent", "all"][..], &["archive"], &["postgres"]])
    {
        let found = &labels[*name];
        assert!(
            found.iter().all(|value| known.contains(&value.as_str())),
            "{name}: {found:?}"
        );
    }
    for (label, most) in [
        ("alarm", 5),
        ("blame", 5),
        ("end", 5),
        ("event", 21),
        ("kind", 20),
        ("limit", 5),
        ("protected", 2),
        ("purpose", 5),
        ("reason", 20),
        ("result", 8),
        ("verdict", 3),
        ("version", 2),
    ] {
        let found = labels.get(label).map_or(0, BTreeSet::len);
        assert!(
            (1..=most).contains(&found),
            "{label}: {:?}",
            labels.get(label)
        );
    }
    let listed = ["le", "role", "sink", "database"].len() + 12;
    assert_eq!(
        labels.len(),
        listed,
        "a label that this test does not know: {labels:?}"
    );
}
