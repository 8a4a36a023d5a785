//! Where tokio-postgres's tests connect: they name port 5433.

/// A connection string with the port of `PGPORT` in place of 5433.
pub fn here(text: &str) -> &'static str {
    let port = std::env::var("PGPORT").expect("PGPORT");
    Box::leak(text.replace("5433", &port).into_boxed_str())
}
