//! Full texts, where a role's policy asks for them, are for the eyes of one recipient.
use std::process::Command;

use crate::support::message::{Client, bind, describe, execute, parse, sync};
use crate::support::pgveil::command;
use crate::support::{Config, Folder, Options, Pgveil, Postgres, fed};

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  vendor: { who: [{ db_user: vendor }], mask: { phone: redact }, audit: { text: full } }
  admin: { who: [{ db_user: admin }], unmasked: true, audit: { text: full } }
  agent: { who: [{ db_user: agent }], mask: { phone: redact } }
unmatched: deny
";

fn server() -> Postgres {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE ROLE vendor LOGIN; CREATE ROLE admin LOGIN; CREATE ROLE agent LOGIN; \
         CREATE TABLE people(id int PRIMARY KEY, phone text); GRANT SELECT ON people TO vendor, admin, agent",
    );
    server
}

fn keys(folder: &Folder) {
    for arguments in [
        ["genpkey", "-algorithm", "x25519", "-out", "auditor.key"].as_slice(),
        &[
            "pkey",
            "-pubout",
            "-in",
            "auditor.key",
            "-out",
            "auditor.pub",
        ],
    ] {
        let made = Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{made:?}");
    }
}

#[test]
fn texts_and_parameters_are_there_for_the_recipient_alone() {
    let (server, folder) = (server(), Folder::new("sealed"));
    keys(&folder);
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let public = folder.path().join("auditor.pub");
    config.set(
        "audit",
        &format!("{{ dir: var/audit, recipient: {} }}", public.display()),
    );
    let mut pgveil = Pgveil::start(&config);
    for user in ["vendor", "admin", "agent"] {
        let mut client = Client::login(pgveil.port(), user, "", "postgres");
        client.query(&format!(
            "SELECT 1; SELECT id FROM people WHERE phone = 'literal of {user}'"
        ));
        client.send_all(&[
            parse(
                "",
                "SELECT id FROM people WHERE phone = $1 OR phone = $2",
                &[],
            ),
            bind("", "", &[Some(&format!("parameter of {user}")), None], 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]);
        client.read_until_ready();
        client.finish();
    }
    assert!(pgveil.stop().success());
    let record = pgveil.audit_lines().join("\n") + "\n";
    for secret in ["literal of", "parameter of"] {
        assert!(!record.contains(secret), "{secret} is in the record");
    }

    let mut unseal = command();
    unseal
        .args(["audit", "unseal", "--key"])
        .arg(folder.path().join("auditor.key"));
    let output = fed(&mut unseal, record.as_str());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let opened = String::from_utf8(output.stdout).expect("utf-8");
    assert_eq!(opened.lines().count(), record.lines().count());
    for user in ["vendor", "admin"] {
        for expected in [
            format!(
                r#""full":{{"text":"SELECT id FROM people WHERE phone = 'literal of {user}'"}}"#
            ),
            format!(
                r#""full":{{"parameters":["parameter of {user}",null],"text":"SELECT id FROM people WHERE phone = $1 OR phone = $2"}}"#
            ),
        ] {
            assert!(opened.contains(&expected), "{expected} is not in\n{opened}");
        }
    }
    assert!(
        !opened.contains("of agent"),
        "a role that did not ask for it"
    );
}

#[test]
fn a_role_that_asks_for_full_texts_needs_a_recipient() {
    let server = server();
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let folder = Folder::new("no_recipient");
    let path = config.write(&folder);
    let output = command()
        .args(["serve", "--config"])
        .arg(path)
        .output()
        .expect("it ends");
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("audit.recipient"), "{told}");
}
