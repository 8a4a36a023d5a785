//! People whose numbers an agent sees masked, and a data protection officer as they are.
use crate::support::{Options, Postgres};

pub const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } } }
  dpo: { who: [{ db_user: dpo }], unmasked: true }
unmatched: deny
";
pub const LOOK: &str = "SELECT phone FROM people WHERE id = 7";
pub const MASKED: &str = "138****0007";

/// A server with fifty of them.
pub fn server() -> Postgres {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE ROLE agent LOGIN; CREATE ROLE dpo LOGIN; CREATE TABLE people(id int PRIMARY KEY, phone text); \
         INSERT INTO people SELECT g, '138'||lpad(g::text, 8, '0') FROM generate_series(1, 50) g; \
         GRANT SELECT ON people TO agent, dpo",
    );
    server
}
