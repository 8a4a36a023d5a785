#!/bin/bash
# A program of our own over all that JDBC can do (tests/drivers/jdbc/Cable.java). Each test's outcome holds a hash of
# what it saw.
here=$(cd "$(dirname "$0")" && pwd)
program=$here/../drivers/jdbc/Cable.java
driver=${JDBC_JAR:-/usr/share/java/postgresql.jar}

prepare() { mkdir -p "$SUITES/jdbc" && javac -d "$SUITES/jdbc" -cp "$driver" "$program"; }

run() {
    psql -X -q -p "$SERVER_PORT" -d "$PGDATABASE" -f "$here/jdbc.sql" >&2
    java -Dfile.encoding=UTF-8 -Duser.timezone=UTC -Duser.language=en -cp "$SUITES/jdbc:$driver" Cable
}

"$1"
