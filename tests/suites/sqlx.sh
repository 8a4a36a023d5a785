#!/bin/bash
# The tests of the crate sqlx for PostgreSQL, from its archive, with those of smuggled messages (RUSTSEC-2024-0363). Left out
# are those of macros that ask a database while they are compiled, and those of types and derives, which need more of
# sqlx's unpublished test crate than connections.
. "$(dirname "$0")/rust_crates"

prepare() {
    local tests=$WORKSPACE/sqlx/tests name
    crates || return
    cp -r "$(crate_source sqlx)/tests" "$WORKSPACE/sqlx/" || return
    # One statement is a macro that would ask a database while it is compiled: the function does the same.
    sed -i 's/sqlx::query!("SELECT 1 AS one")/sqlx::query("SELECT 1 AS one")/' "$WORKSPACE/sqlx/tests/postgres/postgres.rs"
    for name in postgres describe error migrate query_builder rustsec test-attr; do
        printf '\n[[test]]\nname = "%s"\npath = "tests/postgres/%s.rs"\n' "$name" "$name"
    done >> "$WORKSPACE/sqlx/Cargo.toml"
    sed -i 's/^edition = .*/&\nautotests = false/' "$WORKSPACE/sqlx/Cargo.toml"
    build sqlx_test
}

run() {
    psql -X -q -p "$SERVER_PORT" -d "$PGDATABASE" -f "$WORKSPACE/sqlx/tests/postgres/setup.sql" >&2
    export DATABASE_URL=postgres://postgres:password@127.0.0.1:$PGPORT/$PGDATABASE
    # One at a time: many of them count connections or databases.
    cd "$WORKSPACE/sqlx" && test_binary sqlx_test --test-threads 1
}

"$1"
