//! Commands in the documents do what the documents say, on a database and a proxy of their own.
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::commands::typed;
use crate::support::{Config, Folder, Options, PATIENCE, Pgveil, Postgres, free_port};
use crate::text::{Document, root};

/// In the order in which they are read: what one makes the next may use.
const DOCUMENTS: [&str; 12] = [
    "README.md",
    "docs/operators-guide.md",
    "docs/policy-guide.md",
    "docs/policy-tools.md",
    "docs/scan.md",
    "docs/operations.md",
    "docs/auditors-guide.md",
    "docs/identity.md",
    "docs/counting.md",
    "docs/drivers.md",
    "docs/availability.md",
    "SECURITY.md",
];

/// Beginnings of lines that are not run here, and why.
const ELSEWHERE: [(&str, &str); 4] = [
    (
        "pgveil accounts add root",
        "before the proxy serves: the stage is set with it",
    ),
    (
        "pgveil serve",
        "runs until it is ended: it serves all the others",
    ),
    (
        "pgveil completions",
        "writes where only root may: tests/deploy has the scripts",
    ),
    (
        "openssl genpkey -algorithm x25519 -out recipient.key",
        "the record is sealed to a key made before",
    ),
];

/// Beginnings of commands whose answer is no here, and why.
const ANSWER_NO: [(&str, &str); 3] = [
    (
        "pgveil scan --database postgres://scanner@db.example.com/crm --check",
        "the CRM has columns that the policy leaves out",
    ),
    (
        "pgveil accounts totp",
        "what is typed is not the code of the secret",
    ),
    (
        "pgveil doctor --direct",
        "the server lets itself be reached past the proxy",
    ),
];

const ADDITIONS: &str = "
  trap: { columns: [crm.tags.description], alarm: true }
";
const VENDOR: &str = "
  vendor:
    who: [{ db_user: vendor }]
    mask: { phone: \"null\", email: \"null\", id_card: \"null\", birth_date: \"null\", amount: \"null\", salary: \"null\" }
    audit: { text: full }
";

/// A proxy in front of the CRM, after a day on which everything happened that the documents speak of.
struct Stage {
    server: Postgres,
    pgveil: Pgveil,
    _keys: Folder,
    console: u16,
    /// An administrator's, and an approver's.
    tokens: [String; 2],
    /// What stands in the documents, and what is there instead.
    instead: BTreeMap<&'static str, String>,
}

impl Stage {
    fn set() -> Stage {
        let server = Postgres::start(Options::default());
        server.sql("postgres", "CREATE DATABASE crm");
        for script in ["deploy/crm/schema.sql", "deploy/crm/seed.sql"] {
            let script = root().join(script);
            let output = Command::new("psql")
                .args([
                    "-q",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "postgres",
                ])
                .args(["-p", &server.port().to_string(), "-d", "crm", "-f"])
                .arg(&script)
                .output()
                .expect("psql");
            assert!(output.status.success(), "{output:?}");
        }
        server.sql(
            "crm",
            "CREATE ROLE scanner LOGIN; GRANT pg_read_all_data TO scanner; CREATE ROLE vendor LOGIN; \
             GRANT USAGE ON SCHEMA crm TO vendor; GRANT SELECT ON crm.tickets TO vendor;",
        );
        let (mut config, console) = (Config::new(&server), free_port());
        let policy = fs::read_to_string(root().join("policies/crm.yaml")).expect("a policy");
        let policy = policy.replacen("\ndata:", &format!("\ndata:{}", ADDITIONS.trim_end()), 1);
        let policy = policy.replacen("\nroles:", &format!("\nroles:{}", VENDOR.trim_end()), 1);
        config.policy_file("crm.yaml", &policy);
        config.set("console", &format!("{{ listen: \"127.0.0.1:{console}\" }}"));
        config.set(
            "upstream",
            &format!(
                "{{ host: 127.0.0.1, port: {}, tls: disable, databases: [crm], catalog_user: {{ name: pgveil, password: {{ env: PGVEIL_CATALOG_PASSWORD }} }} }}",
                server.port()
            ),
        );
        config.env("PGVEIL_CATALOG_PASSWORD", "unasked");
        let keys = Folder::new("recipient");
        let make = "openssl genpkey -algorithm x25519 -out recipient.key && openssl pkey -in recipient.key -pubout -out recipient.pub";
        let made = Command::new("sh")
            .args(["-c", make])
            .current_dir(keys.path())
            .output();
        assert!(made.expect("openssl").status.success());
        let recipient = keys.path().join("recipient.pub");
        config.set(
            "audit",
            &format!(
                "{{ dir: var/audit, recipient: {}, checkpoint_records: 5 }}",
                recipient.display()
            ),
        );
        let state = keys.path().join("state.db");
        config.set("state", &state.display().to_string());
        config.write(&keys);
        let offline = |line: &str| {
            let output = run(line, keys.path(), &[]);
            assert!(output.status.success(), "{line}: {output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let tokens = [("root", "admin"), ("dan", "dpo")].map(|(name, group)| {
            offline(&format!(
                "pgveil accounts add {name} --groups {group} --config pgveil.yaml"
            ));
            let told = offline(&format!(
                "pgveil accounts token {name} --label test --config pgveil.yaml"
            ));
            let token = told
                .split_whitespace()
                .find(|word| word.starts_with("pgveil_"));
            token
                .unwrap_or_else(|| panic!("no token: {told}"))
                .to_owned()
        });
        let pgveil = Pgveil::start(&config);
        fs::copy(
            keys.path().join("recipient.key"),
            pgveil.folder().join("recipient.key"),
        )
        .expect("copied");
        let mut stage = Stage {
            server,
            pgveil,
            _keys: keys,
            console,
            tokens,
            instead: BTreeMap::new(),
        };
        stage.live();
        stage
    }

    /// The day, and files that the documents take for granted.
    fn live(&mut self) {
        let agent = |text: &str| self.pgveil.sql("crm_agent", "crm", text);
        agent("SELECT full_name, phone FROM crm.contacts WHERE id = 3").expect("served");
        agent("SELECT full_name, phone FROM crm.contacts").expect_err("an export");
        agent("SELECT query_to_xml('SELECT 1', true, false, '')").expect_err("refused");
        agent("SELECT description FROM crm.tags LIMIT 1").expect("a trap");
        self.pgveil
            .sql("vendor", "crm", "SELECT count(*) FROM crm.tickets")
            .expect("served");
        self.pgveil
            .sql("nobody", "crm", "SELECT 1")
            .expect_err("not let in");
        let folder = self.pgveil.folder().to_owned();
        let copy = |from: &Path, to: &Path| {
            fs::create_dir_all(to).expect("a folder");
            let output = Command::new("cp")
                .arg("-r")
                .arg(from.join("."))
                .arg(to)
                .output();
            assert!(output.expect("cp").status.success());
        };
        copy(
            &root().join("policies/tests"),
            &folder.join("policies/tests"),
        );
        copy(&folder.join("policies"), &folder.join("policies.next"));
        fs::create_dir_all(folder.join("auditor")).expect("a folder");
        fs::create_dir_all(folder.join("draft")).expect("a folder");
        let one =
            "\\set id random(1, 2000)\nSELECT full_name, phone FROM crm.contacts WHERE id = :id;\n";
        fs::write(folder.join("one.sql"), one).expect("written");
        let yaml = fs::read_to_string(folder.join("pgveil.yaml")).expect("settings");
        let yaml = yaml.replace("policies: policies/", "policies: ../policies/");
        fs::write(folder.join("draft/pgveil.yaml"), yaml).expect("written");
        let said = |stage: &Stage, line: &str| {
            let output = stage.run(line);
            assert!(output.status.success(), "{line}: {output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        said(
            self,
            "pgveil audit key --config pgveil.yaml > auditor/signing.pub",
        );
        copy(&folder.join("var/audit"), &folder.join("archive/2026"));
        let records = self.pgveil.audit_lines().join("\n");
        let behind = |text: &str, mark: &str| {
            let found = text
                .split(mark)
                .nth(1)
                .unwrap_or_else(|| panic!("no {mark} in {text}"));
            let end = found.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            found[..end.unwrap_or(found.len())].to_owned()
        };
        let began = Instant::now();
        let incident = loop {
            let list = said(self, "pgveil audit incidents list --config pgveil.yaml");
            match list.split_whitespace().next() {
                Some(id) if id.starts_with("20") => break id.to_owned(),
                _ => assert!(began.elapsed() < PATIENCE, "no incident: {list}"),
            }
        };
        let verified = said(self, "pgveil audit verify --dir var/audit --format json");
        self.instead = BTreeMap::from([
            ("7f3a09c2", behind(&records, "\"request\":\"")),
            ("20261128-60", incident),
            ("859e73a2", behind(&records, "\"policy_version\":\"")),
            (
                "58d7246d02e0449003e052922004707f9cea9c34fb47bc4e663e85a3083232cc",
                behind(&verified, "\"hash\":\""),
            ),
            (
                "db.example.com:5432",
                format!("127.0.0.1:{}", self.server.port()),
            ),
            (
                "db.example.com/crm",
                format!("127.0.0.1:{}/crm", self.server.port()),
            ),
            ("/etc/pgveil/pgveil.yaml", "pgveil.yaml".to_owned()),
            // The policy is there already, and nobody has signed yet.
            (
                "--out policies/crm.yaml",
                "--out policies.next/found.yaml".to_owned(),
            ),
            // Periods end behind the records, whatever day it is.
            (
                "--to 2026-12-01",
                "--to $(date -u -d '2 days' +%F)".to_owned(),
            ),
            ("--seen 2", "--seen 1".to_owned()),
            // Loads are short, and of as many rows as the role may have.
            ("-T 60", "-t 3".to_owned()),
            ("-t 1000", "-t 10".to_owned()),
            ("-c 32 -j 2", "-c 4".to_owned()),
            (
                "-h db.example.com",
                format!("-h 127.0.0.1 -p {}", self.server.port()),
            ),
            (
                "-h pgveil.example.com -p 6432",
                format!("-h 127.0.0.1 -p {}", self.pgveil.port()),
            ),
            (
                "-h 127.0.0.1 -p 6432",
                format!("-h 127.0.0.1 -p {}", self.pgveil.port()),
            ),
            ("$(pidof pgveil)", self.pgveil.pid().to_string()),
        ]);
    }

    /// As a shell runs it, in the folder with `pgveil.yaml`.
    fn run(&self, line: &str) -> Output {
        let console = format!("http://127.0.0.1:{}", self.console);
        let [root, dan] = &self.tokens;
        let signs = line.starts_with("pgveil approvals");
        let token = if signs { dan } else { root };
        let mut line = line.to_owned();
        for (from, to) in &self.instead {
            line = line.replace(from, to);
        }
        let environment = [("PGVEIL_CONSOLE_URL", &*console), ("PGVEIL_TOKEN", token)];
        run(&line, self.pgveil.folder(), &environment)
    }
}

/// As a shell runs it; passwords are typed.
fn run(line: &str, folder: &Path, environment: &[(&str, &str)]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_pgveil"));
    let path = format!(
        "{}:{}",
        program.parent().expect("its folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut child = Command::new("timeout")
        .args(["60", "sh", "-c", line])
        .current_dir(folder)
        .env("PATH", path)
        .env("PGVEIL_CATALOG_PASSWORD", "unasked")
        .env("PGPASSWORD", "unasked")
        .env("PGUSER", "crm_agent")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut typed = child.stdin.take().expect("a pipe");
    // Who does not ask does not read it.
    let _ = typed.write_all(b"a long password, 4711\na long password, 4711\n");
    drop(typed);
    child.wait_with_output().expect("it ends")
}

fn is_one_of(list: &[(&str, &str)], line: &str) -> bool {
    list.iter().any(|(first, _)| line.starts_with(first))
}

#[test]
fn every_command_of_the_documents_runs() {
    let stage = Stage::set();
    let (mut ran, mut failures) = (0, Vec::new());
    for path in DOCUMENTS {
        for line in typed(&Document::read(path)) {
            let ours = ["pgveil ", "openssl ", "pgbench ", "awk "]
                .iter()
                .any(|first| line.starts_with(first));
            if !ours || is_one_of(&ELSEWHERE, &line) {
                continue;
            }
            // It goes on until somebody has seen enough.
            let follows = line.contains("--follow");
            let output = match follows {
                true => stage.run(&format!("timeout 2 {line}")),
                false => stage.run(&line),
            };
            let expected = match () {
                () if follows => 124,
                () if is_one_of(&ANSWER_NO, &line) => 1,
                () => 0,
            };
            ran += 1;
            if output.status.code() != Some(expected) {
                failures.push(format!(
                    "{path}: {line}\n  exit code {:?}, {expected} expected\n  {}{}",
                    output.status.code(),
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(ran > 50, "{ran} commands");
}
