//! `pgveil doctor` over a real server: what is fit raises nothing, and each fault raises its own finding.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::pgveil::command;
use crate::support::{
    Authentication, Certificates, Config, Folder, Options, Pgveil, Postgres, free_port,
};

const POLICY: &str = r#"version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: redact } }
  dpo: { who: [{ db_user: dpo }], unmasked: true }
unmatched: deny
"#;
/// What stands first in pg_hba.conf.
const HBA: &str = "local all agent,dpo,pgveil reject\n";

/// A server and an installation that are fit.
struct Clinic {
    server: Postgres,
    _certificates: Certificates,
    config: Config,
    folder: Folder,
}

impl Clinic {
    fn new() -> Clinic {
        let certificates = Certificates::new();
        let server = Postgres::start(Options {
            authentication: Authentication::Scram,
            tls: Some(&certificates),
            hba: HBA,
            settings: &[
                ("max_connections", "200"),
                ("log_min_error_statement", "panic"),
            ],
            ..Options::default()
        });
        server.sql("postgres", "CREATE DATABASE crm");
        server.sql(
            "crm",
            "CREATE TABLE people (id int PRIMARY KEY, phone text); \
             CREATE USER agent PASSWORD 'a'; CREATE USER dpo PASSWORD 'd'; GRANT SELECT ON people TO agent, dpo",
        );
        let made = server
            .program("psql")
            .args(["-Xq", "-v", "password=secret", "-v", "databases=crm", "-f"])
            .arg(crate::monitoring::root().join("deploy/sql/catalog-user.sql"))
            .arg("postgres")
            .output()
            .expect("psql runs");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        server.sql(
            "crm",
            "GRANT SELECT ON pg_hba_file_rules TO pgveil; GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO pgveil",
        );
        let mut config = Config::new(&server);
        config.policy(POLICY);
        config.set(
            "upstream",
            &format!(
                "{{ host: localhost, port: {}, tls: verify-full, ca: \"{}\", databases: [crm], \
                 catalog_user: {{ name: pgveil, password: secret }} }}",
                server.port(),
                certificates.ca_file().display()
            ),
        );
        config.set(
            "audit",
            "{ dir: var/audit, retain: { age: 400d }, signing_key: audit.key, sinks: { archive: { type: file, path: archive.jsonl } } }",
        );
        config.set("limits", "{ max_sessions: 150 }");
        let clinic = Clinic {
            server,
            _certificates: certificates,
            config,
            folder: Folder::new("clinic"),
        };
        clinic.folder.write("audit.key", "a key");
        clinic.lock("audit.key", 0o600);
        clinic
    }

    fn lock(&self, name: &str, mode: u32) {
        let path = self.folder.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode is set");
    }

    fn file(&self) -> PathBuf {
        let path = self.config.write(&self.folder);
        for name in ["pgveil.yaml", "policies/test.yaml"] {
            self.lock(name, 0o640);
        }
        path
    }

    fn doctor(&self, more: &[&str]) -> (i32, Vec<Value>) {
        let mut doctor = command();
        doctor.args(["doctor", "--format", "json", "--config"]);
        run(doctor.arg(self.file()).args(more))
    }

    /// The findings, as `level check`.
    fn found(&self) -> Vec<String> {
        names(&self.doctor(&[]).1)
    }

    /// The server's configuration is changed by SQL, looked at, and brought back.
    fn with_setting(&self, set: &str) -> Vec<String> {
        let name = set.split(' ').next().expect("a name");
        self.reload(&format!("ALTER SYSTEM SET {set}"));
        let found = self.found();
        self.reload(&format!("ALTER SYSTEM RESET {name}"));
        found
    }

    fn reload(&self, change: &str) {
        let loaded = || self.server.sql("postgres", "SELECT pg_conf_load_time()");
        let before = loaded();
        self.server.sql("postgres", change);
        self.server.sql("postgres", "SELECT pg_reload_conf()");
        let began = std::time::Instant::now();
        while loaded() == before {
            assert!(
                began.elapsed() < crate::support::PATIENCE,
                "the configuration is not read again"
            );
        }
    }

    /// Another pg_hba.conf; the superuser's line, for the test itself, stands before the others.
    fn hba(&self, lines: &str) {
        let text =
            format!("{HBA}host all postgres 127.0.0.1/32 trust\n{lines}").replace('\'', "''");
        let quoted = text.trim_end().replace('\n', "',E'");
        self.server.sql(
            "postgres",
            &format!("COPY (SELECT unnest(ARRAY[E'{quoted}'])) TO PROGRAM 'cat >pg_hba.conf'"),
        );
    }
}

fn run(doctor: &mut std::process::Command) -> (i32, Vec<Value>) {
    let output = doctor.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let code = output.status.code().expect("an exit code");
    assert!(code < 2, "{}", String::from_utf8_lossy(&output.stderr));
    let found = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    (code, found.collect())
}

fn names(found: &[Value]) -> Vec<String> {
    let word = |value: &Value, key: &str| value[key].as_str().expect("a word").to_owned();
    for finding in found {
        assert!(!word(finding, "action").is_empty() && !word(finding, "finding").is_empty());
    }
    found
        .iter()
        .map(|value| format!("{} {}", word(value, "level"), word(value, "check")))
        .collect()
}

#[test]
fn what_is_fit_raises_no_finding() {
    let clinic = Clinic::new();
    // The lines that the doctor itself prints.
    let printed = command()
        .args(["doctor", "--hba", "--config"])
        .arg(clinic.file())
        .output()
        .expect("it runs");
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(
        printed.contains("hostssl  crm             agent           127.0.0.1/32"),
        "{printed}"
    );
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    clinic.hba(&format!("{}\n", lines.join("\n")));
    clinic.reload("SELECT 1");
    assert_eq!(clinic.doctor(&["--strict"]), (0, Vec::new()));
    // And they do what they are for: sessions come through pgveil.
    let mut served = Config::new(&clinic.server);
    served.policy(POLICY);
    for (key, value) in [("upstream", "upstream: "), ("audit", "audit: ")] {
        let text = clinic.config.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(value))
            .expect("there");
        if key == "upstream" {
            served.set(key, line);
        }
    }
    let pgveil = Pgveil::start(&served);
    assert!(pgveil.http("/readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn settings_of_the_server_are_looked_at() {
    let clinic = Clinic::new();
    let base = clinic.found();
    assert!(base.is_empty(), "{base:?}");
    for (set, expected) in [
        (
            "log_statement = 'all'",
            &["warning server.log", "warning server.log_parameters"][..],
        ),
        (
            "log_min_duration_statement = 1000",
            &["warning server.log", "warning server.log_parameters"],
        ),
        (
            "log_transaction_sample_rate = 0.5",
            &["warning server.log", "warning server.log_parameters"],
        ),
        ("debug_print_parse = on", &["warning server.log"]),
        (
            "log_parameter_max_length_on_error = 100",
            &["warning server.log_parameters"],
        ),
        (
            "log_min_error_statement = 'error'",
            &["note server.log_min_error_statement"],
        ),
        (
            "password_encryption = 'md5'",
            &["warning server.password_encryption"],
        ),
        ("row_security = off", &["warning server.row_security"]),
    ] {
        assert_eq!(clinic.with_setting(set), expected, "{set}");
    }
    assert_eq!(clinic.found(), base);
}

#[test]
fn ways_in_past_pgveil_are_found_in_pg_hba() {
    let clinic = Clinic::new();
    for (lines, expected) in [
        (
            "hostssl crm agent,dpo,pgveil 127.0.0.1/32 scram-sha-256\n",
            &[][..],
        ),
        (
            "host all all 0.0.0.0/0 scram-sha-256\n",
            &["error hba.open"],
        ),
        ("host all all 127.0.0.1/32 trust\n", &["error hba.trust"]),
        ("host all all 127.0.0.1/32 md5\n", &["warning hba.method"]),
        (
            "hostssl crm all 127.0.0.1/32 scram-sha-256\nhost all nonsense\n",
            &["warning hba.error"],
        ),
        (
            "hostssl crm pgveil 127.0.0.1/32 scram-sha-256\nhost all all all reject\nhost crm agent 10.0.0.0/8 trust\n",
            &[],
        ),
    ] {
        // What is wrong is not loaded: the lines before are in force, and the view shows the file.
        clinic.hba(lines);
        clinic.reload("SELECT 1");
        assert_eq!(clinic.found(), expected, "{lines}");
    }
    clinic
        .server
        .sql("crm", "REVOKE SELECT ON pg_hba_file_rules FROM pgveil");
    assert_eq!(clinic.found(), ["note hba.unseen"]);
}

#[test]
fn rights_of_the_catalog_user_are_neither_too_many_nor_too_few() {
    let mut clinic = Clinic::new();
    clinic.hba("hostssl crm all 127.0.0.1/32 scram-sha-256\n");
    clinic.reload("SELECT 1");
    for (grant, revoke, expected) in [
        (
            "ALTER ROLE pgveil SUPERUSER",
            "ALTER ROLE pgveil NOSUPERUSER",
            "error catalog_user.powers",
        ),
        (
            "ALTER ROLE pgveil REPLICATION",
            "ALTER ROLE pgveil NOREPLICATION",
            "error catalog_user.powers",
        ),
        (
            "GRANT pg_read_server_files TO pgveil",
            "REVOKE pg_read_server_files FROM pgveil",
            "error catalog_user.powers",
        ),
        (
            "GRANT SELECT (phone) ON people TO pgveil",
            "REVOKE SELECT (phone) ON people FROM pgveil",
            "warning catalog_user.tables",
        ),
        (
            "GRANT SELECT ON pg_authid TO pgveil",
            "REVOKE SELECT ON pg_authid FROM pgveil",
            "warning catalog_user.verifiers",
        ),
        (
            "ALTER ROLE agent SUPERUSER",
            "ALTER ROLE agent NOSUPERUSER",
            "error users.powers",
        ),
        (
            "GRANT pg_execute_server_program TO agent",
            "REVOKE pg_execute_server_program FROM agent",
            "warning users.powers",
        ),
        (
            "ALTER ROLE dpo RENAME TO other",
            "ALTER ROLE other RENAME TO dpo",
            "note users.missing",
        ),
        (
            "ALTER ROLE pgveil NOLOGIN",
            "ALTER ROLE pgveil LOGIN",
            "error server.unreachable",
        ),
        (
            "REVOKE CONNECT ON DATABASE crm FROM pgveil, PUBLIC",
            "GRANT CONNECT ON DATABASE crm TO pgveil",
            "error server.unreachable",
        ),
    ] {
        clinic.server.sql("crm", grant);
        assert_eq!(clinic.found(), [expected], "{grant}");
        clinic.server.sql("crm", revoke);
        assert!(clinic.found().is_empty(), "{revoke}");
    }
    clinic.config.set("auth", "{ method: scram }");
    assert_eq!(clinic.found(), ["error catalog_user.verifiers"]);
    clinic
        .server
        .sql("crm", "GRANT SELECT ON pg_authid TO pgveil");
    assert!(clinic.found().is_empty());
    clinic.server.crash();
    let (code, found) = clinic.doctor(&[]);
    assert_eq!(
        (code, names(&found)),
        (1, vec!["error server.unreachable".to_owned()])
    );
}

#[test]
fn the_installation_is_looked_at() {
    let mut clinic = Clinic::new();
    clinic.hba("hostssl crm all 127.0.0.1/32 scram-sha-256\n");
    clinic.reload("SELECT 1");
    assert!(clinic.found().is_empty());
    clinic.lock("audit.key", 0o644);
    assert_eq!(clinic.found(), ["error files.secret"]);
    clinic.lock("audit.key", 0o600);
    for (mode, expected) in [
        (0o777, "error files.writable"),
        (0o770, "warning files.writable"),
        (0o755, ""),
    ] {
        clinic.lock("policies", mode);
        assert_eq!(clinic.found().concat(), expected, "{mode:o}");
    }
    fs::create_dir_all(clinic.folder.path().join("var/audit")).expect("made");
    clinic.lock("var/audit", 0o755);
    assert_eq!(clinic.found(), ["warning files.record"]);
    clinic.lock("var/audit", 0o700);

    let (expired, _) = Certificates::expired();
    let mut tls = |certificates: &Certificates| {
        let (cert, key) = (certificates.cert_file(), certificates.key_file());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
        let text = format!(
            "{{ cert: \"{}\", key: \"{}\" }}",
            cert.display(),
            key.display()
        );
        clinic.config.set("tls", &text);
        clinic.found()
    };
    assert_eq!(tls(&expired), ["error certificates.validity"]);
    let fit = Certificates::new();
    assert!(tls(&fit).is_empty());

    for (key, value, expected) in [
        (
            "audit",
            "{ dir: var/audit, on_full: drop, retain: { age: 400d }, signing_key: audit.key, sinks: { archive: { type: file, path: archive.jsonl } } }",
            &["warning settings.on_full"][..],
        ),
        (
            "audit",
            "{ dir: var/audit }",
            &[
                "warning settings.sinks",
                "note settings.signing_key",
                "note settings.retain",
            ],
        ),
    ] {
        let before = clinic.config.text();
        let before = before
            .lines()
            .find_map(|line| line.strip_prefix("audit: "))
            .expect("there")
            .to_owned();
        clinic.config.set(key, value);
        assert_eq!(clinic.found(), expected, "{value}");
        clinic.config.set(key, &before);
    }
    clinic.config.set("limits", "{ max_sessions: 500 }");
    assert_eq!(clinic.found(), ["warning server.max_connections"]);
    clinic.config.set("limits", "{ max_sessions: 150 }");
    clinic.config.remove("admin");
    assert_eq!(clinic.found(), ["warning settings.admin"]);
    clinic
        .config
        .set("listen", &format!("0.0.0.0:{}", free_port()));
    clinic.config.set("allow_plaintext", "true");
    clinic.config.set(
        "admin",
        &format!("{{ listen: \"0.0.0.0:{}\" }}", free_port()),
    );
    assert_eq!(
        clinic.found(),
        ["warning settings.plaintext", "note settings.admin"]
    );
    // Warnings are no errors, unless they are asked to be.
    assert_eq!(clinic.doctor(&[]).0, 0);
    assert_eq!(clinic.doctor(&["--strict"]).0, 1);
}

#[test]
fn a_certificate_that_has_run_out_and_an_old_protocol_are_found() {
    let (expired, _) = Certificates::expired();
    let server = Postgres::start(Options {
        tls: Some(&expired),
        settings: &[("ssl_min_protocol_version", "TLSv1")],
        ..Options::default()
    });
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set(
        "upstream",
        &format!(
            "{{ host: 127.0.0.1, port: {}, tls: require, catalog_user: {{ name: postgres }} }}",
            server.port()
        ),
    );
    let folder = Folder::new("expired");
    let mut doctor = command();
    doctor.args(["doctor", "--format", "json", "--config"]);
    let (code, found) = run(doctor.arg(config.write(&folder)));
    let found = names(&found);
    for expected in [
        "error certificates.validity",
        "warning server.ssl_min_protocol_version",
    ] {
        assert!(found.contains(&expected.to_owned()), "{found:?}");
    }
    assert_eq!(code, 1);
}

#[test]
fn from_a_clients_machine_the_server_is_seen_or_not() {
    let server = Postgres::start(Options {
        authentication: Authentication::Scram,
        hba: "host all blocked all reject\n",
        ..Options::default()
    });
    server.sql(
        "postgres",
        "CREATE TABLE people (id int PRIMARY KEY, phone text)",
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    let probe = |port: u16, user: &str| {
        let target = format!("127.0.0.1:{port}");
        let mut doctor = command();
        doctor.args([
            "doctor", "--format", "json", "--direct", &target, "--user", user,
        ]);
        let (code, found) = run(&mut doctor);
        (code, names(&found).concat())
    };
    assert_eq!(
        probe(server.port(), "agent"),
        (1, "error direct.open".to_owned())
    );
    assert_eq!(
        probe(server.port(), "blocked"),
        (0, "warning direct.reachable".to_owned())
    );
    assert_eq!(
        probe(pgveil.port(), "nobody_known"),
        (0, "note direct.pgveil".to_owned())
    );
    assert_eq!(
        probe(pgveil.admin_port(), "agent"),
        (0, "note direct.other".to_owned())
    );
    assert_eq!(
        probe(free_port(), "agent"),
        (0, "note direct.closed".to_owned())
    );
}
