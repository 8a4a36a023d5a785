#!/bin/bash
# A day at a Tryton CRM that works through pgveil as a restricted role: parties are created, found by number, edited in
# their masked form and saved, listed and exported. Afterwards the database holds every original value.
#
#   tests/crm/run.sh [PGVEIL]     PGVEIL is the binary (default target/debug/pgveil)
#
# CRM_TOOLS names the Python environment with tests/crm/requirements.txt (default target/crm); PG_BIN the folder with
# initdb. Everything lives in a temporary directory and on free ports of 127.0.0.1.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export LC_ALL=C.UTF-8
tools=${CRM_TOOLS:-$root/target/crm}
pgveil=$(realpath "${1:-$root/target/debug/pgveil}")
PG_BIN=${PG_BIN:-$(find /usr/lib/postgresql/*/bin -maxdepth 0 | sort -V | tail -n 1)}
fail() { echo "tests/crm/run.sh: $*" >&2; exit 1; }
[ -x "$PG_BIN/initdb" ] || fail "no initdb; install PostgreSQL or set PG_BIN"
[ -x "$pgveil" ] || fail "no $pgveil; build it first"
[ -x "$tools/bin/trytond-admin" ] || fail "no Tryton in $tools; see tests/run.sh --prepare"

work=$(mktemp -d)
chmod 711 "$work"
proxy_pid=
as_server() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}
cleanup() {
    [ -n "$proxy_pid" ] && kill "$proxy_pid" 2>/dev/null && wait "$proxy_pid" 2>/dev/null
    [ -f "$work/server/data/postmaster.pid" ] && as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -m immediate stop >/dev/null 2>&1
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

server_port=$(free_port)
mkdir "$work/server"
[ "$(id -u)" = 0 ] && chown postgres: "$work/server"
as_server "$PG_BIN/initdb" -D "$work/server/data" -U postgres -E UTF8 --locale=C --no-sync --auth=trust >/dev/null || fail "initdb failed"
as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -l "$work/server/log" -w -s \
    -o "-p $server_port -k '$work/server' -c listen_addresses=127.0.0.1 -c fsync=off" start || fail "no server"
sql() { PGHOST=127.0.0.1 PGPORT=$server_port PGUSER=postgres "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d "${2:-crm}" -c "$1"; }
sql "CREATE ROLE owner LOGIN; CREATE ROLE agent LOGIN" postgres && sql "CREATE DATABASE crm OWNER owner" postgres || fail "no database"

# The schema is made by its owner, past pgveil: a restricted role runs no DDL.
export SERVER_PORT=$server_port TRYTONPASSFILE=$work/password
echo 'a long password' > "$TRYTONPASSFILE"
printf '[database]\nuri = postgresql://owner@127.0.0.1:%s\n' "$server_port" > "$work/owner.conf"
"$tools/bin/trytond-admin" -c "$work/owner.conf" -d crm --email admin@example.com -u party sale_opportunity --activate-dependencies -p \
    > "$work/admin.log" 2>&1 || { tail -n 30 "$work/admin.log"; fail "Tryton could not make its schema"; }
sql "GRANT ALL ON ALL TABLES IN SCHEMA public TO agent; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO agent" || fail "no grants"

PROXY_PORT=$(free_port)
export PROXY_PORT
cat > "$work/pgveil.yaml" <<YAML
listen: 127.0.0.1:$PROXY_PORT
upstream: { host: 127.0.0.1, port: $server_port, tls: disable, databases: [crm], catalog_user: { name: postgres } }
policies: $here/policy.yaml
state: $work/state.db
audit: { dir: $work/audit }
YAML
"$pgveil" serve --config "$work/pgveil.yaml" > "$work/pgveil.log" 2>&1 &
proxy_pid=$!
grep -q -m 1 "pgveil ready" < <(timeout 60 tail -n +1 -f --pid=$proxy_pid "$work/pgveil.log") || { cat "$work/pgveil.log"; fail "pgveil did not start"; }

# The starter fits the schema that Tryton made, every column of it. Its users are the reader's to name, and what else may
# hold such data is for the reader to look at.
cat > "$work/starter.yaml" <<YAML
upstream: { host: 127.0.0.1, port: $server_port, tls: disable, databases: [crm], catalog_user: { name: postgres } }
policies: $root/policies/starters/tryton.yaml
YAML
"$pgveil" check --config "$work/starter.yaml" > "$work/starter.log" 2>&1 &&
    ! grep warning "$work/starter.log" | grep -qvE 'in no class, and by name and type|the server has no user' ||
    { cat "$work/starter.log"; fail "policies/starters/tryton.yaml does not fit"; }

AUDIT=$work/audit "$tools/bin/python" "$here/day.py"
