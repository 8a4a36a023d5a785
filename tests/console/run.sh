#!/bin/bash
# The whole story of an export in a real browser: refused in psql, signed by two people, run, on record.
#
#   tests/console/run.sh [PGVEIL]
#
# PGVEIL is the binary (default target/debug/pgveil). CONSOLE_TOOLS names the folder with node_modules (package.json says
# which), PG_BIN the one with initdb, CHROMIUM the browser. SCREENSHOTS=folder keeps pictures of the pages.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export LC_ALL=C.UTF-8
pgveil=$(realpath "${1:-$root/target/debug/pgveil}")
tools=${CONSOLE_TOOLS:-$root/target/console}

fail() { echo "tests/console/run.sh: $*" >&2; exit 1; }
[ -x "$pgveil" ] || fail "no $pgveil; run cargo build first"
[ -d "$tools/node_modules/playwright-core" ] || fail "no $tools/node_modules; tests/run.sh console installs them"
CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
[ -x "$CHROMIUM" ] || fail "no chromium; apt-get install chromium"
if [ -z "${PG_BIN:-}" ]; then
    PG_BIN=$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)
fi
[ -x "$PG_BIN/initdb" ] || fail "no initdb; install PostgreSQL or set PG_BIN"

work=$(mktemp -d)
chmod 711 "$work"
# PostgreSQL refuses to run as root.
as_server() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}
cleanup() {
    as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -m immediate stop >/dev/null 2>&1
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

free_port() { node -e 's=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }
server_port=$(free_port)
mkdir "$work/server"
[ "$(id -u)" = 0 ] && chown postgres "$work/server"
as_server "$PG_BIN/initdb" -D "$work/server/data" -A trust -U postgres -E UTF8 --no-sync >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; fail 'initdb failed'; }
as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -w -l "$work/server/log" \
    -o "-p $server_port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start || fail 'the server does not start'
"$PG_BIN/psql" -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$server_port" -U postgres postgres <"$here/schema.sql" || fail 'the schema cannot be loaded'

cp "$here"/*.mjs "$here"/package.json "$work"
ln -s "$tools/node_modules" "$work/node_modules"
export PGVEIL=$pgveil PG_BIN CHROMIUM WORK=$work SERVER_PORT=$server_port
PORT=$(free_port) ADMIN_PORT=$(free_port) CONSOLE_PORT=$(free_port) PROVIDER_PORT=$(free_port)
export PORT ADMIN_PORT CONSOLE_PORT PROVIDER_PORT
unset PGVEIL_TOKEN PGVEIL_CONSOLE_URL
cd "$work" && node story.mjs
