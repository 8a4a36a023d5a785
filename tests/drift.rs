//! The schema changes under a policy: what was protected stays protected, and the alarm is raised.
mod support;

use std::time::{Duration, Instant};

use support::{Config, Options, PATIENCE, Pgveil, Postgres};

/// Between two looks at what is to come: the machine is there for pgveil and the server.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

const SECRET: &str = "13812345678";
const MASKED: &str = "138****5678";

const SCHEMA: &str = "
    CREATE ROLE agent LOGIN; CREATE ROLE ruled LOGIN; CREATE ROLE dba LOGIN SUPERUSER;
    CREATE SCHEMA crm; CREATE SCHEMA archive;
    CREATE TABLE crm.contacts (id int PRIMARY KEY, owner text, phone text, score int);
    INSERT INTO crm.contacts VALUES (1, 'ruled', '13812345678', 7), (2, 'other', '13812345678', 8);
    CREATE TABLE crm.calls (id int, phone text) PARTITION BY RANGE (id);
    CREATE TABLE crm.calls_1 PARTITION OF crm.calls FOR VALUES FROM (0) TO (10);
    INSERT INTO crm.calls VALUES (1, '13812345678');
    GRANT USAGE ON SCHEMA crm, archive TO agent, ruled;
    GRANT SELECT ON ALL TABLES IN SCHEMA crm TO agent, ruled;
    ALTER DEFAULT PRIVILEGES FOR ROLE postgres, dba GRANT SELECT ON TABLES TO agent, ruled;
";

const POLICY: &str = r#"
version: 1
data:
  phone: { columns: [crm.contacts.phone, crm.calls.phone] }
  score: { columns: [crm.contacts.score] }
roles:
  agent:
    who: [{ db_user: agent }]
    mask: { phone: { show: { first: 3, last: 4 } }, score: { bucket: 1000 } }
  ruled:
    who: [{ db_user: ruled }]
    rows: { crm.contacts: "owner = {db_user}" }
  dba: { who: [{ db_user: dba }], unmasked: true }
unmatched: deny
"#;

/// Both ways to change a schema.
#[derive(Debug, Clone, Copy)]
enum Way {
    Through,
    Beside,
}

struct World {
    server: Postgres,
    pgveil: Pgveil,
}

impl World {
    fn start() -> World {
        let server = Postgres::start(Options::default());
        server.sql("postgres", SCHEMA);
        let mut config = Config::new(&server);
        config.policy(POLICY);
        let upstream = format!(
            "{{ host: 127.0.0.1, port: {}, catalog_user: {{ name: postgres }}, databases: [postgres] }}",
            server.port()
        );
        config.set("upstream", &upstream);
        config.set("limits", "{ catalog_refresh: 200ms }");
        let pgveil = Pgveil::start(&config);
        World { server, pgveil }
    }

    fn change(&self, way: Way, ddl: &str) {
        match way {
            Way::Through => {
                self.pgveil
                    .sql("dba", "postgres", ddl)
                    .expect("the change is made");
            }
            Way::Beside => {
                self.server.sql("postgres", ddl);
            }
        }
    }

    /// What the role gets: rows, or the error's message. Never the secret.
    fn sees(&self, text: &str) -> String {
        let seen = match self.pgveil.sql("agent", "postgres", text) {
            Ok(rows) => rows
                .iter()
                .map(|row| {
                    let fields: Vec<&str> = row
                        .iter()
                        .map(|field| field.as_deref().unwrap_or("NULL"))
                        .collect();
                    fields.join(" ")
                })
                .collect::<Vec<_>>()
                .join(", "),
            Err(error) => format!("{error:?}"),
        };
        assert!(!seen.contains(SECRET), "{text}: {seen}");
        seen
    }

    /// Asks until the answer is the one expected: what is changed beside pgveil shows after the next look.
    fn comes_to_see(&self, text: &str, expected: &str) {
        let end = Instant::now() + 4 * PATIENCE;
        let mut seen = self.sees(text);
        while seen != expected {
            assert!(Instant::now() < end, "{text}: {seen}, not {expected}");
            std::thread::sleep(LOOK_AGAIN);
            seen = self.sees(text);
        }
    }

    fn comes_to_drift(&self, findings: u32) {
        let wanted = format!("pgveil_policy_drift{{database=\"postgres\"}} {findings}\n");
        let end = Instant::now() + 4 * PATIENCE;
        while !self.pgveil.http("/metrics").contains(&wanted) {
            assert!(
                Instant::now() < end,
                "no {wanted} in\n{}",
                self.pgveil
                    .http("/metrics")
                    .lines()
                    .filter(|line| line.contains("drift"))
                    .collect::<String>()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn drift_records(&self) -> Vec<String> {
        self.pgveil
            .audit_lines()
            .into_iter()
            .filter(|line| line.contains("\"event\":\"drift\""))
            .collect()
    }
}

#[test]
fn a_renamed_column_stays_masked_and_the_alarm_is_raised() {
    for way in [Way::Through, Way::Beside] {
        let world = World::start();
        world.comes_to_drift(0);
        // Nobody has read the table yet.
        world.change(way, "ALTER TABLE crm.contacts RENAME phone TO phone_number");
        world.comes_to_drift(1);
        world.comes_to_see("SELECT phone_number FROM crm.contacts WHERE id = 1", MASKED);
        world.sees("SELECT * FROM crm.contacts");
        let records = world.drift_records();
        assert_eq!(records.len(), 1, "{records:?}");
        assert!(
            records[0].contains("`crm.contacts.phone` is `crm.contacts.phone_number` now"),
            "{records:?}"
        );
        // A column that takes the name over is meant as well, and the old one is not forgotten.
        world.change(
            way,
            "ALTER TABLE crm.contacts ADD phone text; UPDATE crm.contacts SET phone = '13812345678'",
        );
        world.comes_to_see(
            "SELECT phone, phone_number FROM crm.contacts WHERE id = 1",
            &format!("{MASKED} {MASKED}"),
        );
        world.change(
            way,
            "ALTER TABLE crm.contacts DROP phone; ALTER TABLE crm.contacts RENAME phone_number TO phone",
        );
        world.comes_to_drift(0);
        world.comes_to_see("SELECT phone FROM crm.contacts WHERE id = 1", MASKED);
    }
}

#[test]
fn a_column_that_is_dropped_is_missed_until_it_is_back() {
    let world = World::start();
    world.change(Way::Beside, "ALTER TABLE crm.contacts DROP phone");
    world.comes_to_drift(1);
    world.change(
        Way::Beside,
        "ALTER TABLE crm.contacts ADD phone varchar(30) DEFAULT '13812345678'",
    );
    world.comes_to_drift(0);
    world.comes_to_see("SELECT phone FROM crm.contacts WHERE id = 1", MASKED);
}

#[test]
fn a_column_of_another_type_is_redacted_where_its_mask_does_not_fit() {
    let world = World::start();
    world.comes_to_see("SELECT score FROM crm.contacts WHERE id = 1", "0");
    world.change(
        Way::Beside,
        "ALTER TABLE crm.contacts ALTER score TYPE text USING '13812345678'",
    );
    world.comes_to_drift(1);
    world.comes_to_see("SELECT score FROM crm.contacts WHERE id = 1", "***");
}

#[test]
fn a_table_is_known_under_any_name_and_in_any_schema() {
    for way in [Way::Through, Way::Beside] {
        let world = World::start();
        world.change(way, "ALTER TABLE crm.contacts RENAME TO people");
        // Two classes and a row rule name it.
        world.comes_to_drift(3);
        world.comes_to_see("SELECT phone FROM crm.people WHERE id = 1", MASKED);
        world.change(way, "ALTER TABLE crm.people SET SCHEMA archive");
        world.comes_to_see(
            "SELECT phone, score FROM archive.people WHERE id = 1",
            &format!("{MASKED} 0"),
        );
        world.comes_to_drift(3);
        // Another table takes the name.
        world.change(way, "CREATE TABLE crm.contacts AS TABLE archive.people");
        world.comes_to_see("SELECT phone FROM crm.contacts WHERE id = 1", MASKED);
        world.sees("SELECT phone FROM archive.people WHERE id = 1");
    }
}

#[test]
fn new_partitions_and_views_are_masked_from_their_first_row() {
    for way in [Way::Through, Way::Beside] {
        let world = World::start();
        world.change(
            way,
            "CREATE TABLE crm.calls_2 PARTITION OF crm.calls FOR VALUES FROM (10) TO (20);
             INSERT INTO crm.calls VALUES (11, '13812345678');
             CREATE VIEW crm.v AS SELECT id, phone AS number, 'tel:' || phone AS link FROM crm.contacts",
        );
        world.comes_to_see("SELECT phone FROM crm.calls_2", MASKED);
        world.comes_to_see(
            "SELECT number, link FROM crm.v WHERE id = 1",
            &format!("{MASKED} ***"),
        );
        world.change(way, "CREATE OR REPLACE VIEW crm.v AS SELECT id, 'x' || phone AS number, phone AS link FROM crm.contacts");
        world.comes_to_see(
            "SELECT number, link FROM crm.v WHERE id = 1",
            &format!("*** {MASKED}"),
        );
        world.comes_to_drift(0);
    }
}

mod rules {
    //! What becomes of row rules is seen in the compiled role.
    use std::sync::Arc;

    use pgveil::catalog::{Catalog, load};
    use pgveil::policy::{self, Memory, PolicySet, Recompiled, RolePolicy};

    use super::support::{Folder, Options, Postgres};
    use super::{POLICY, SCHEMA};

    fn catalog(server: &Postgres) -> Catalog {
        let port = server.port();
        let runtime = tokio::runtime::Runtime::new().expect("no runtime");
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::Config::new()
                .host("127.0.0.1")
                .port(port)
                .user("postgres")
                .dbname("postgres")
                .connect(tokio_postgres::NoTls)
                .await
                .expect("cannot connect");
            tokio::spawn(connection);
            load(&client).await.expect("no catalog")
        })
    }

    /// The server after a change, and the policy held against it once more.
    fn after(
        policy: &PolicySet,
        server: &Postgres,
        ddl: &str,
        memory: &Memory,
    ) -> (Catalog, Recompiled, Arc<RolePolicy>) {
        server.sql("postgres", ddl);
        let catalog = catalog(server);
        let compiled = policy.compile_again(&catalog, memory);
        let role = Arc::clone(&compiled.compiled.roles["ruled"]);
        (catalog, compiled, role)
    }

    fn rule(catalog: &Catalog, role: &RolePolicy, schema: &str, name: &str) -> Option<String> {
        let relation = catalog.relation(schema, name).expect("the relation");
        let rule = role.rows.get(&relation.oid)?;
        Some(rule.sql("c", |_| Some("me".to_owned())))
    }

    #[test]
    fn a_row_rule_follows_its_columns_and_its_table() {
        let folder = Folder::new("drift");
        let file = folder.write("crm.yaml", POLICY);
        let policy = policy::load(&file).expect("the policy is right");
        let server = Postgres::start(Options::default());
        let (_, first, role) = after(&policy, &server, SCHEMA, &Memory::default());
        assert!(first.drift.is_empty(), "{:?}", first.drift);

        let ddl = "ALTER TABLE crm.contacts RENAME owner TO keeper";
        let (catalog, second, renamed) = after(&policy, &server, ddl, &first.memory);
        let kept = Some("(c.\"keeper\" OPERATOR(pg_catalog.=) 'me')".to_owned());
        assert_eq!(rule(&catalog, &renamed, "crm", "contacts"), kept);
        assert_eq!(second.drift.len(), 1, "{:?}", second.drift);
        assert_ne!(role.version, renamed.version);

        let ddl =
            "ALTER TABLE crm.contacts SET SCHEMA archive; CREATE TABLE crm.contacts (owner text);
                   CREATE VIEW crm.v AS SELECT * FROM archive.contacts";
        let (catalog, third, moved) = after(&policy, &server, ddl, &second.memory);
        assert_eq!(rule(&catalog, &moved, "archive", "contacts"), kept);
        let named = Some("(c.\"owner\" OPERATOR(pg_catalog.=) 'me')".to_owned());
        assert_eq!(rule(&catalog, &moved, "crm", "contacts"), named);
        let view = catalog.relation("crm", "v").expect("the view").oid;
        assert!(moved.closed.contains_key(&view));

        // A rule whose column is gone cannot hold: nothing of the table is shown.
        let ddl = "ALTER TABLE archive.contacts DROP keeper CASCADE";
        let (catalog, fourth, closed) = after(&policy, &server, ddl, &third.memory);
        let gone = catalog
            .relation("archive", "contacts")
            .expect("the table")
            .oid;
        assert!(closed.closed.contains_key(&gone) && !closed.rows.contains_key(&gone));
        assert!(!fourth.drift.is_empty());

        // Without what was known before, rule and masks would be gone with the name.
        let ignorant = policy.compile_again(&catalog, &Memory::default());
        let role = &ignorant.compiled.roles["ruled"];
        assert!(!role.closed.contains_key(&gone) && !role.rows.contains_key(&gone));
        let masked = |compiled: &Recompiled| {
            let masks = &compiled.compiled.roles["agent"].masks;
            masks
                .get(&gone)
                .is_some_and(|columns| columns.contains_key(&3))
        };
        assert!(masked(&fourth) && !masked(&ignorant));
    }
}
