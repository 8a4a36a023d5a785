//! What sqlx's tests of PostgreSQL ask of sqlx's own, unpublished crate `sqlx_test`. `DATABASE_URL` says where to connect.
use sqlx::{Connection, Database, Pool};

fn url() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL")
}

/// Everything is set up from outside.
pub fn setup_if_needed() {}

pub async fn new<DB: Database>() -> anyhow::Result<DB::Connection> {
    Ok(DB::Connection::connect(&url()).await?)
}

pub async fn pool<DB: Database>() -> anyhow::Result<Pool<DB>> {
    Ok(sqlx::pool::PoolOptions::new()
        .min_connections(0)
        .max_connections(5)
        .test_before_acquire(true)
        .connect(&url())
        .await?)
}
