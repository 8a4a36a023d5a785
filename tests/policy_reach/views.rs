//! Views that nobody picked: nested at random over a few names that mean something else at every place. Cells of secret
//! columns hold the word CANARY, and no unmasked column of any view may show it.
use pgveil::catalog::{Catalog, RelationKind};

use tokio_postgres::{NoTls, SimpleQueryMessage, SimpleQueryRow};

use crate::nested::Generator;
use crate::support::{Options, Postgres, Rows};
use crate::{compile, read, seen};

const VIEWS: u64 = 1500;
/// Views in one message.
const BATCH: u64 = 100;

const SCHEMA: &str = "
    CREATE SCHEMA crm;
    CREATE TABLE crm.a (a text, b text, c text);
    CREATE TABLE crm.b (b text, a text, s text);
    CREATE TABLE crm.c (s text, c varchar(40), b text);
    CREATE TABLE crm.s (c text, s text, a varchar(40));
    INSERT INTO crm.a VALUES ('1', 'CANARY ab', '3'), ('2', 'CANARY ab2', '1');
    INSERT INTO crm.b VALUES ('1', 'CANARY ba', '1'), ('3', 'CANARY ba2', '2');
    INSERT INTO crm.c VALUES ('1', 'CANARY cc', '1'), ('2', 'CANARY cc2', '3');
    INSERT INTO crm.s VALUES ('1', '1', 'CANARY sa'), ('2', '3', 'CANARY sa2');";

/// Columns take each other's names, and others come and go: definitions are written with lists of aliases from then on.
/// Without defaults: for one of the views PostgreSQL 15.20 refuses those (`rule _RETURN on view ... uses its row type`).
const CHANGES: &str = "
    ALTER TABLE crm.a RENAME a TO x; ALTER TABLE crm.a RENAME b TO a; ALTER TABLE crm.a RENAME x TO b;
    ALTER TABLE crm.b ADD c text; UPDATE crm.b SET c = 'CANARY bc';
    ALTER TABLE crm.c RENAME TO x; ALTER TABLE crm.s RENAME TO c; ALTER TABLE crm.x RENAME TO s;
    ALTER TABLE crm.s ADD a text; UPDATE crm.s SET a = 'CANARY new'; ALTER TABLE crm.c RENAME c TO b;";

const POLICY: &str = "
version: 1
data: { secret: { columns: [crm.a.b, crm.b.a, crm.c.c, crm.s.a] } }
roles: { agent: { who: [{ db_user: agent }], mask: { secret: redact } } }";

/// ... after the changes.
const CHANGED_POLICY: &str = "
version: 1
data: { secret: { columns: [crm.a.a, crm.b.a, crm.b.c, crm.s.c, crm.s.a, crm.c.a] } }
roles: { agent: { who: [{ db_user: agent }], mask: { secret: redact } } }";

/// One connection for many statements.
struct Session {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Session {
    fn open(postgres: &Postgres) -> Session {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::Config::new()
                .host("127.0.0.1")
                .port(postgres.port())
                .user("postgres")
                .dbname("postgres")
                .connect(NoTls)
                .await
                .expect("a connection");
            tokio::spawn(connection);
            client
        });
        Session { runtime, client }
    }

    fn rows(&self, text: &str) -> Result<Rows, tokio_postgres::Error> {
        let messages = self.runtime.block_on(self.client.simple_query(text))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let cells = |row: &SimpleQueryRow| {
            let cells = (0..row.len()).map(|index| row.get(index).map(str::to_owned));
            cells.collect()
        };
        Ok(rows.map(cells).collect())
    }
}

/// How many views there are, how many show a secret without masks, how many columns are masked, and how many of these
/// hold none.
fn measure(session: &Session, catalog: &Catalog, policy: &str) -> [usize; 4] {
    let role = compile(catalog, policy);
    let (mut views, mut secret, mut masked, mut needless) = (0, 0, 0, 0);
    let mut leaks = Vec::new();
    let is_secret =
        |cell: &Option<String>| cell.as_ref().is_some_and(|cell| cell.contains("CANARY"));
    for view in catalog
        .relations
        .values()
        .filter(|relation| relation.schema == "crm" && relation.kind == RelationKind::View)
    {
        // Some end in an error, such as a text that is no document.
        let Ok(raw) = session.rows(&format!("TABLE {} LIMIT 100", view.full_name())) else {
            continue;
        };
        views += 1;
        secret += usize::from(raw.iter().flatten().any(is_secret));
        let shown = session.rows(&format!("{} LIMIT 100", seen(view, &role)));
        let shown = shown.expect("a masked view");
        if shown.iter().flatten().any(is_secret) {
            let definition = format!("SELECT pg_get_viewdef({})", view.oid);
            leaks.push((view.full_name(), session.rows(&definition)));
        }
        for (index, column) in view.columns.iter().enumerate() {
            if role.mask(view.oid, column.num).is_some() {
                masked += 1;
                needless +=
                    usize::from(!raw.iter().filter_map(|row| row.get(index)).any(is_secret));
            }
        }
    }
    assert!(
        leaks.is_empty(),
        "{} leaks: {:#?}",
        leaks.len(),
        leaks.first()
    );
    [views, secret, masked, needless]
}

#[test]
fn no_view_shows_a_secret_in_a_column_that_is_not_masked() {
    let postgres = Postgres::start(Options::default());
    let session = Session::open(&postgres);
    session.rows(SCHEMA).expect("the schema");
    let mut generator = Generator::new(20_261_122);
    for batch in 0..VIEWS / BATCH {
        // What the server does not take is no view.
        let tries = (0..BATCH).map(|number| {
            let text = generator.view(batch * BATCH + number);
            format!(
                "DO $do$ BEGIN EXECUTE $view${text}$view$; EXCEPTION WHEN OTHERS THEN END $do$;"
            )
        });
        let made = session.rows(&tries.collect::<String>());
        made.expect("errors are caught");
    }
    for (changes, policy) in [("", POLICY), (CHANGES, CHANGED_POLICY)] {
        session.rows(changes).expect("the changes");
        let [views, secret, masked, needless] = measure(&session, &read(&postgres), policy);
        println!(
            "{views} views, {secret} with secrets; {masked} columns masked, {needless} without a secret"
        );
        assert!(
            views > 150 && secret > 100,
            "{views} views, {secret} with secrets"
        );
    }
}
