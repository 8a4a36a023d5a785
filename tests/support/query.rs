//! Statements over an ordinary driver, for tests that are not themselves async.
use std::thread;

use tokio_postgres::{NoTls, SimpleQueryMessage};

/// The rows of all statements of a text, as text; NULL is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// Runs a text by the simple protocol without TLS. May be called with or without a runtime around it.
pub fn query(
    port: u16,
    user: &str,
    password: Option<&str>,
    database: &str,
    text: &str,
) -> Result<Rows, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user(user)
        .dbname(database)
        .application_name("test");
    if let Some(password) = password {
        config.password(password);
    }
    // On a thread of its own: a runtime cannot be entered from within another.
    thread::scope(|scope| {
        scope
            .spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("no runtime")
                    .block_on(run(config, text))
            })
            .join()
            .expect("the query thread panicked")
    })
}

async fn run(config: tokio_postgres::Config, text: &str) -> Result<Rows, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(text).await;
    drop(client);
    let _ = connection.await;
    Ok(messages?
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|index| row.get(index).map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        })
        .collect())
}
