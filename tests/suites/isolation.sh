#!/bin/bash
# PostgreSQL's isolation tests (src/test/isolation): several sessions that wait for each other. Tables are made, and sessions
# watched, over a connection that for a restricted role goes past pgveil: SUITE_CONTROL.
. "$(dirname "$0")/postgresql_source"

prepare() {
    built && [ -x "$SOURCE/isolationtester" ] && return
    build_libpq || return
    sed 's/PQconnectdb(conninfo)/PQconnectdb(i == 0 \&\& getenv("SUITE_CONTROL") ? getenv("SUITE_CONTROL") : conninfo)/' \
        "$SOURCE/src/test/isolation/isolationtester.c" > "$SOURCE/src/test/isolation/isolationtester_control.c"
    grep -q SUITE_CONTROL "$SOURCE/src/test/isolation/isolationtester_control.c" || return
    cc -O1 -o "$SOURCE/isolationtester" "$SOURCE/src/test/isolation/isolationtester_control.c" "$SOURCE/src/test/isolation/specparse.c" \
        -I"$SOURCE/src/test/isolation" -I"$SOURCE/src/include" -I"$SOURCE/src/interfaces/libpq" -I"$SOURCE/src/test/regress" \
        -L"$SOURCE/src/interfaces/libpq" -L"$SOURCE/src/common" -L"$SOURCE/src/port" -lpq -lpgcommon -lpgport
}

run() {
    local isolation=$SOURCE/src/test/isolation folder=$SUITES/log/isolation.$TARGET test expected outcome
    export LD_LIBRARY_PATH=$SOURCE/src/interfaces/libpq
    mkdir -p "$folder"
    [ "$TARGET" = agent ] && export SUITE_CONTROL="dbname=$PGDATABASE port=$SERVER_PORT"
    # As pg_regress does.
    psql -X -q -p "$SERVER_PORT" -c "ALTER DATABASE $PGDATABASE SET lc_messages TO 'C'; ALTER DATABASE $PGDATABASE SET timezone TO 'PST8PDT'; \
        ALTER DATABASE $PGDATABASE SET datestyle TO 'Postgres, MDY'; ALTER DATABASE $PGDATABASE SET intervalstyle TO 'postgres_verbose'" >&2
    for test in $(sed -n 's/^test: //p' "$isolation/isolation_schedule"); do
        timeout 180 "$SOURCE/isolationtester" "dbname=$PGDATABASE" < "$isolation/specs/$test.spec" > "$folder/$test.out" 2>&1
        outcome=failed
        for expected in "$isolation/expected/$test.out" "$isolation/expected/${test}"_[0-9].out; do
            [ -f "$expected" ] && diff "$expected" "$folder/$test.out" > "$folder/$test.diff" && outcome=passed && break
        done
        if [ $outcome = passed ]; then
            printf '%s\tpassed\n' "$test"
        else
            diff "$isolation/expected/$test.out" "$folder/$test.out" > "$folder/$test.diff"
            printf '%s\tfailed\t%s\n' "$test" "$(grep -m 1 '^>' "$folder/$test.diff" | tr '\t' ' ')"
        fi
    done
}

"$1"
