#!/bin/bash
# Other people's test suites: against PostgreSQL itself, through pgveil as an unrestricted role, and as a restricted role
# whose policy matches nothing. What ends otherwise than directly has to stand in differences.txt, and what stands there
# has to end so.
#
#   tests/suites/run.sh [--pgveil BINARY] [--targets direct,clear,agent] [SUITE ...]
#
# A suite is a file SUITE.sh next to this one. `SUITE.sh prepare` fetches and builds it below target/suites; `SUITE.sh run`
# plays it against PGHOST and PGPORT and prints `test TAB outcome` lines, and the reason of a failure behind another TAB.
# Each run has a server of its own. What the suites print lies in target/suites/log.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export LC_ALL=C.UTF-8 SUITES=$root/target/suites
pgveil=$root/target/debug/pgveil targets=(direct clear agent) suites=()
fail() { echo "tests/suites/run.sh: $*" >&2; exit 1; }
while [ $# -gt 0 ]; do
    case $1 in
        --pgveil) pgveil=$(realpath "$2"); shift ;;
        --targets) IFS=, read -ra targets <<< "$2"; shift ;;
        *) [ -f "$here/$1.sh" ] && [ "$1" != run ] || fail "no suite $1"; suites+=("$1") ;;
    esac
    shift
done
if [ ${#suites[@]} = 0 ]; then
    suites=(libpq_pipeline isolation jdbc tokio-postgres sqlx)
    # These need a checkout: tests/skips.txt.
    if [ -n "${PSYCOPG_SOURCE:-}" ]; then suites+=(psycopg psycopg_core); else echo 'psycopg: skipped: PSYCOPG_SOURCE names no checkout'; fi
    if [ -n "${NODE_POSTGRES_SOURCE:-}" ]; then suites+=(node-postgres); else echo 'node-postgres: skipped: NODE_POSTGRES_SOURCE names no checkout'; fi
fi
[ -x "$pgveil" ] || fail "no $pgveil; run cargo test --no-run --test serve first"

if [ -z "${PG_BIN:-}" ]; then
    PG_BIN=$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)
fi
export PG_BIN PATH=$PG_BIN:$PATH
[ -x "$PG_BIN/initdb" ] || fail "no initdb; install PostgreSQL or set PG_BIN"

work=$(mktemp -d)
chmod 711 "$work"
proxy_pid=
stop() {
    [ -n "$proxy_pid" ] && kill "$proxy_pid" 2>/dev/null && wait "$proxy_pid" 2>/dev/null
    proxy_pid=
    [ -f "$work/data/postmaster.pid" ] && as_server "$PG_BIN/pg_ctl" -D "$work/data" -s -m immediate stop >/dev/null 2>&1
    rm -rf "$work/data" "$work/pgveil"
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# PostgreSQL refuses to run as root.
as_server() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

template() {
    mkdir -p "$work/template" && chmod 700 "$work/template"
    [ "$(id -u)" = 0 ] && chown postgres: "$work/template"
    as_server "$PG_BIN/initdb" -D "$work/template" -U postgres -E UTF8 --locale=C.UTF-8 --no-sync -A trust >/dev/null || return
    cat > "$work/template/pg_hba.conf" <<'HBA'
local all all trust
host all pass_user 127.0.0.1/32 password
host all md5_user 127.0.0.1/32 md5
host all scram_user 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
HBA
    cat >> "$work/template/postgresql.conf" <<'CONF'
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
autovacuum = off
timezone = 'UTC'
lc_messages = 'C'
max_prepared_transactions = 10
wal_level = logical
CONF
}

start_server() {
    cp -a "$work/template" "$work/data"
    server_port=$(free_port)
    as_server "$PG_BIN/pg_ctl" -D "$work/data" -l "$work/data/log" -w -s -o "-p $server_port -k '$work/data'" start || return
    psql -X -q -h 127.0.0.1 -p "$server_port" -U postgres -d postgres -c 'CREATE DATABASE suite'
}

# start_proxy ROLE: everybody has that role.
start_proxy() {
    proxy_port=$(free_port)
    mkdir -p "$work/pgveil"
    cat > "$work/pgveil/policy.yaml" <<YAML
version: 1
data: { other: { missing: warn, columns: [elsewhere.people.phone] } }
roles:
  agent: { who: [{ db_user: suite_agent }], mask: { other: redact } }
  clear: { who: [{ db_user: suite_clear }], unmasked: true }
unmatched: $1
YAML
    cat > "$work/pgveil/pgveil.yaml" <<YAML
listen: 127.0.0.1:$proxy_port
upstream: { host: 127.0.0.1, port: $server_port, tls: disable, catalog_user: { name: postgres } }
auth: { method: passthrough }
policies: policy.yaml
state: var/state.db
audit: { dir: var/audit }
YAML
    "$pgveil" serve --config "$work/pgveil/pgveil.yaml" > "$work/pgveil/log" 2>&1 &
    proxy_pid=$!
    grep -q -m 1 'pgveil ready' < <(timeout 60 tail -n +1 -f --pid=$proxy_pid "$work/pgveil/log") || { cat "$work/pgveil/log"; return 1; }
}

# play SUITE TARGET
play() {
    local port results=$SUITES/log/$1.$2.results
    start_server || fail 'the server does not start'
    port=$server_port
    if [ "$2" != direct ]; then
        start_proxy "$2" || fail 'pgveil does not start'
        port=$proxy_port
    fi
    # Tests that look at the port from within the server find this one.
    env -u PGPASSWORD -u PGOPTIONS -u PGSERVICE PGHOST=127.0.0.1 PGPORT="$port" SERVER_PORT="$server_port" PGUSER=postgres PGDATABASE=suite TARGET="$2" \
        "$here/$1.sh" run > "$results" 2> "$SUITES/log/$1.$2.log"
    [ -n "$proxy_pid" ] && cp "$work/pgveil/log" "$SUITES/log/$1.$2.pgveil"
    stop
    [ -s "$results" ]
}

mkdir -p "$SUITES/log"
template || fail 'cannot make a cluster'
failed=0
for suite in "${suites[@]}"; do
    if ! "$here/$suite.sh" prepare > "$SUITES/log/$suite.prepare" 2>&1; then
        tail -n 5 "$SUITES/log/$suite.prepare"
        echo "FAILED $suite: cannot be prepared"
        failed=1
        continue
    fi
    # A suite may leave targets out.
    own=$(sed -n 's/^# targets: //p' "$here/$suite.sh") played=()
    for target in "${targets[@]}"; do
        [ -n "$own" ] && [[ " $own " != *" $target "* ]] && continue
        played+=("$target")
        started=$SECONDS
        play "$suite" "$target" || { tail -n 5 "$SUITES/log/$suite.$target.log"; echo "FAILED $suite $target: no results"; failed=1; }
        echo "$suite $target: $((SECONDS - started)) s"
    done
    python3 "$here/compare.py" "$suite" "$SUITES/log" "$here/differences.txt" "${played[@]}" || failed=1
done
exit $failed
