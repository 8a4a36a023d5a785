use super::*;
use crate::audit::sink::Status;
use std::collections::BTreeSet;

fn used() -> Metrics {
    let metrics = Metrics::new().expect("every metric registers");
    let _session = metrics.session();
    metrics.connection(Connection::Accepted);
    metrics.login(LoginResult::Ok);
    metrics.login_failure("server");
    metrics.session_end("client closed");
    metrics.certificate("listener", 1);
    metrics.statement("agent", "SELECT", "rewrite", Duration::from_millis(3));
    metrics.lookups("agent", 1);
    metrics.planned(Duration::from_micros(70), false);
    metrics.planned(Duration::from_micros(1), true);
    metrics.rows("agent", true, 12);
    metrics.refusal("agent", "function");
    metrics.export_stop("agent", "rows");
    metrics.audit_record(Event::Statement, Duration::from_micros(20));
    metrics.alarm("honeytoken");
    metrics.not_enforced("trainee", "refuse", "function");
    metrics.policy("0123456789abcdef");
    metrics.policy_drift("crm", 1);
    metrics.notifications("mail", "sent", 1);
    metrics.audit_sink(&Status {
        name: "soc".to_owned(),
        delivered: 3,
        failures: 1,
        missing: 0,
        rejected: 0,
        lag: 2,
        oldest: Duration::from_secs(9),
    });
    metrics
}

#[test]
fn the_table_is_what_is_exposed() {
    let text = String::from_utf8(used().render().expect("rendered")).expect("utf-8");
    let exposed: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let listed: Vec<_> = TABLE
        .iter()
        .map(|(name, kind, _)| format!("{name} {kind}"))
        .collect();
    assert_eq!(exposed, listed.iter().map(String::as_str).collect());
}

#[test]
fn a_session_counts_until_it_ends() {
    let metrics = Metrics::new().expect("metrics");
    let session = metrics.session();
    assert_eq!(metrics.sessions(), 1);
    drop(session);
    assert_eq!(metrics.sessions(), 0);
}

#[test]
fn only_the_policy_in_force_is_shown() {
    let metrics = used();
    metrics.policy("new");
    let text = String::from_utf8(metrics.render().expect("rendered")).expect("utf-8");
    assert!(text.contains("pgveil_policy_info{version=\"new\"} 1"));
    assert!(!text.contains("0123456789abcdef"));
}

#[test]
fn the_process_is_shown_under_the_names_that_are_listed() {
    let metrics = Metrics::new().expect("metrics");
    let before: BTreeSet<String> = types(&metrics);
    metrics.show_process().expect("registered");
    let added: BTreeSet<String> = types(&metrics).difference(&before).cloned().collect();
    assert_eq!(added, PROCESS.iter().map(ToString::to_string).collect());
}

fn types(metrics: &Metrics) -> BTreeSet<String> {
    let text = String::from_utf8(metrics.render().expect("rendered")).expect("utf-8");
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_scrape_while_the_policy_changes_finds_one() {
    let metrics = Metrics::new().expect("every metric registers");
    metrics.policy("0");
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for number in 1..=20_000 {
                metrics.policy(&number.to_string());
            }
        });
        while !changes.is_finished() {
            let text = String::from_utf8(metrics.render().expect("rendered")).expect("utf-8");
            assert!(text.contains("pgveil_policy_info{"), "none is shown");
        }
    });
}
