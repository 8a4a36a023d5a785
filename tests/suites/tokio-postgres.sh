#!/bin/bash
# The tests of the crate tokio-postgres, from its archive.
. "$(dirname "$0")/rust_crates"

prepare() {
    crates || return
    cp -r "$(crate_source tokio-postgres)/tests" "$WORKSPACE/tokio-postgres/" || return
    # The port stands in texts, some of them over several lines.
    find "$WORKSPACE/tokio-postgres/tests" -name '*.rs' -exec perl -0pi -e 's/"([^"]*5433[^"]*)"/tokio_postgres_suite::here("$1")/g' {} +
    build tokio-postgres-suite
}

run() {
    psql -X -q -p "$SERVER_PORT" -d "$PGDATABASE" >&2 <<'SQL'
SET password_encryption = 'scram-sha-256';
CREATE ROLE pass_user LOGIN PASSWORD 'password';
CREATE ROLE scram_user LOGIN PASSWORD 'password';
SET password_encryption = 'md5';
CREATE ROLE md5_user LOGIN PASSWORD 'password';
CREATE EXTENSION hstore SCHEMA pg_catalog;
CREATE EXTENSION citext SCHEMA pg_catalog;
CREATE EXTENSION ltree SCHEMA pg_catalog;
SQL
    # Where a test names no database, its user's.
    psql -X -q -p "$SERVER_PORT" -d postgres -c 'CREATE EXTENSION hstore SCHEMA pg_catalog' -c 'CREATE EXTENSION citext SCHEMA pg_catalog' -c 'CREATE EXTENSION ltree SCHEMA pg_catalog' >&2
    test_binary tokio-postgres-suite
}

"$1"
