#!/bin/bash
# Runs every driver suite through pgveil: over plaintext and TLS, with the server's login relayed and with pgveil's own.
#
#   tests/drivers/run.sh [--baseline] [--only SUITE,...] [PGVEIL]
#
# PGVEIL is the binary (default target/debug/pgveil). --baseline runs the suites against PostgreSQL itself, to see that
# they ask for nothing that PostgreSQL does not give. PG_BIN names the folder with initdb and pg_ctl. Everything lives
# in a temporary directory and on free ports of 127.0.0.1. A suite whose driver is not installed is skipped, or fails
# where REQUIRE_TOOLS is set.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# Source files and data hold Chinese names: a machine without a locale would read them as ASCII.
export LC_ALL=C.UTF-8
tools=${DRIVER_TOOLS:-$root/target/drivers}
export SKIPS=$root/tests/skips.txt
baseline=0 pgveil=$root/target/debug/pgveil
suites=(python reflection node jdbc psql pgbench pg_dump)
while [ $# -gt 0 ]; do
    case $1 in
        --baseline) baseline=1 ;;
        --only) IFS=, read -ra suites <<< "$2"; shift ;;
        *) pgveil=$(realpath "$1") ;;
    esac
    shift
done

fail() { echo "tests/drivers/run.sh: $*" >&2; exit 1; }

if [ -z "${PG_BIN:-}" ]; then
    # A link on PATH leads to the folder that has the other programs too.
    PG_BIN=$(command -v initdb >/dev/null && dirname "$(realpath "$(command -v initdb)")" || find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)
fi
export PG_BIN PATH=$PG_BIN:$PATH
[ -x "$PG_BIN/initdb" ] || fail "no initdb; install PostgreSQL or set PG_BIN"
[ $baseline = 1 ] || [ -x "$pgveil" ] || fail "no $pgveil; run cargo build first"
for program in openssl python3; do
    command -v $program >/dev/null || fail "no $program; install it first"
done

work=$(mktemp -d)
chmod 711 "$work"
proxy_pid=
cleanup() {
    [ -n "$proxy_pid" ] && kill "$proxy_pid" 2>/dev/null && wait "$proxy_pid" 2>/dev/null
    [ -f "$work/server/data/postmaster.pid" ] && as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -m immediate stop >/dev/null 2>&1
    rm -rf "$work"
}
trap cleanup EXIT
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

certificates() {
    local name
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=pgveil test authority' -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null || return
    for name in server proxy; do
        openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout "$work/$name.key" -out "$work/$name.csr" 2>/dev/null || return
        openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
            -extfile <(echo 'subjectAltName=DNS:localhost,IP:127.0.0.1') -out "$work/$name.crt" 2>/dev/null || return
    done
}

start_server() {
    local data=$work/server/data
    mkdir -p "$work/server"
    cp "$work/server.crt" "$work/server.key" "$work/server/"
    chmod 700 "$work/server" && chmod 600 "$work/server/server.key"
    [ "$(id -u)" = 0 ] && chown -R postgres: "$work/server"
    server_port=$(free_port)
    as_server "$PG_BIN/initdb" -D "$data" -U postgres -E UTF8 --locale=C --no-sync --auth-local=trust --auth-host=scram-sha-256 >/dev/null || return
    as_server "$PG_BIN/pg_ctl" -D "$data" -l "$work/server/log" -w -s -o "-p $server_port -k '$work/server' -c listen_addresses=127.0.0.1 \
        -c password_encryption=scram-sha-256 -c fsync=off -c full_page_writes=off -c max_connections=60 \
        -c ssl=on -c ssl_cert_file='$work/server/server.crt' -c ssl_key_file='$work/server/server.key'" start
}

superuser() { PGHOST=$work/server PGPORT=$server_port PGUSER=postgres PGSSLMODE=disable "$@"; }

load() {
    superuser psql -X -q -d postgres -c 'CREATE DATABASE crm' || return
    superuser psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -d crm -f "$root/deploy/crm/schema.sql" -f "$root/deploy/crm/seed.sql" || return
    superuser "$PG_BIN/pgbench" -i -q crm >/dev/null 2>&1 || return
    superuser psql -X -q -v ON_ERROR_STOP=1 -d crm <<'SQL'
ALTER ROLE crm_agent PASSWORD 'agent';
ALTER ROLE crm_dpo PASSWORD 'dpo';
ALTER ROLE pgveil PASSWORD 'catalog';
-- For auth: scram.
GRANT SELECT ON pg_catalog.pg_authid TO pgveil;
GRANT SELECT, INSERT, UPDATE ON pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history TO crm_agent, crm_dpo;
SQL
}

# start_proxy NAME: writes the configuration of that name and starts pgveil with it.
start_proxy() {
    local dir=$work/$1 tls='' auth=passthrough upstream='host: 127.0.0.1, tls: disable'
    mkdir -p "$dir/var"
    case $1 in
        plain) export PGSSLMODE=disable ;;
        tls) export PGSSLMODE=require ;;
        scram) export PGSSLMODE=require PGCHANNELBINDING=require; auth=scram upstream="host: localhost, tls: verify-full, ca: $work/ca.crt" ;;
    esac
    [ "$PGSSLMODE" = require ] && tls="tls: { cert: $work/proxy.crt, key: $work/proxy.key }"
    proxy_port=$(free_port)
    # The suites read far more than an agent may within an hour.
    sed '/^ *per_hour:/d' "$root/policies/crm.yaml" > "$work/crm.yaml"
    cat > "$dir/pgveil.yaml" <<YAML
listen: 127.0.0.1:$proxy_port
$tls
upstream: { $upstream, port: $server_port, databases: [crm], catalog_user: { name: pgveil, password: { env: PGVEIL_CATALOG_PASSWORD } } }
auth: { method: $auth }
policies: $work/crm.yaml
state: var/state.db
audit: { dir: var/audit }
YAML
    PGVEIL_CATALOG_PASSWORD=catalog "$pgveil" serve --config "$dir/pgveil.yaml" > "$dir/log" 2>&1 &
    proxy_pid=$!
    # Ends with the ready line, or when pgveil ends without one.
    grep -q -m 1 "pgveil ready" < <(timeout 60 tail -n +1 -f --pid=$proxy_pid "$dir/log") || { cat "$dir/log"; return 1; }
}

total_passed=0 total_failed=0 total_skipped=0
declare -a failures=()

run_suite() { # NAME OF THE LISTENER, SUITE
    local output counts
    case $2 in
        python) output=$("$tools/venv/bin/python" "$here/python/session.py" 2>&1) ;;
        reflection) output=$("$tools/venv/bin/python" "$here/python/reflection.py" 2>&1) ;;
        node) output=$(NODE_MODULES=$tools/node/node_modules node "$here/node/session.js" 2>&1) ;;
        jdbc) output=$(java -Dfile.encoding=UTF-8 -cp "${JDBC_JAR:-/usr/share/java/postgresql.jar}" "$here/jdbc/Session.java" 2>&1) ;;
        *) output=$("$here/$2/session.sh" 2>&1) ;;
    esac
    counts=$(printf '%s\n' "$output" | sed -nE 's/^[a-z_]+: ([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' | tail -n 1)
    printf '%s\n' "$output" | sed "s|^|[$1] |"
    if [ -z "$counts" ]; then
        total_failed=$((total_failed + 1))
        failures+=("$1/$2 (ended without a summary)")
        return
    fi
    read -r p f s <<< "$counts"
    total_passed=$((total_passed + p)) total_failed=$((total_failed + f)) total_skipped=$((total_skipped + s))
    [ "$f" = 0 ] || failures+=("$1/$2")
}

run_all() {
    local suite reason
    for suite in "${suites[@]}"; do
        reason=$(skip_reason "drivers/$suite")
        if [ -z "$reason" ]; then
            case $suite in
                python | reflection) [ -x "$tools/venv/bin/python" ] || reason="no $tools/venv; tests/run.sh makes it" ;;
                node) [ -d "$tools/node/node_modules/pg" ] || reason="no $tools/node; tests/run.sh makes it" ;;
                jdbc) command -v java >/dev/null && [ -f "${JDBC_JAR:-/usr/share/java/postgresql.jar}" ] || reason='no java or no driver; tests/run.sh installs them' ;;
            esac
        fi
        if [ -n "$reason" ] && [ -n "${REQUIRE_TOOLS:-}" ] && [ -z "$(skip_reason "drivers/$suite")" ]; then
            echo "[$1] FAILED drivers/$suite: $reason"
            total_failed=$((total_failed + 1)) failures+=("$1/$suite")
        elif [ -n "$reason" ]; then
            echo "[$1] skipped drivers/$suite: $reason"
            total_skipped=$((total_skipped + 1))
        else
            run_suite "$1" "$suite"
        fi
    done
}

skip_reason() { [ -f "$SKIPS" ] && awk -F: -v name="$1" '!/^#/ { n = $1; gsub(/^ +| +$/, "", n); if (n == name) { sub(/^[^:]*: */, ""); print } }' "$SKIPS"; }

# What pgveil has written about it all: the chain holds, and no value is in it.
check_record() {
    local dir=$work/$1 leaked
    kill -TERM $proxy_pid
    wait $proxy_pid || { echo "[$1] FAILED: pgveil ended with $?"; tail -n 5 "$dir/log"; total_failed=$((total_failed + 1)); failures+=("$1/end"); }
    proxy_pid=
    if "$pgveil" audit verify --config "$dir/pgveil.yaml" > "$dir/verify" 2>&1; then
        total_passed=$((total_passed + 1))
    else
        sed "s|^|[$1] FAILED audit verify: |" "$dir/verify"
        total_failed=$((total_failed + 1)) failures+=("$1/audit verify")
    fi
    leaked=$(cat "$dir"/var/audit/*.jsonl "$dir/log" | grep -cE '13489222564|134\*\*\*\*2564|wenbo\.wu|350203196801182412')
    if [ "$leaked" = 0 ]; then
        total_passed=$((total_passed + 1))
    else
        echo "[$1] FAILED: $leaked audit records or log lines hold values"
        total_failed=$((total_failed + 1)) failures+=("$1/values in the record")
    fi
}

certificates || fail 'cannot make certificates'
start_server || fail 'cannot start PostgreSQL'
load || fail 'cannot load deploy/crm'
export PGHOST=127.0.0.1 PGDATABASE=crm DIRECT_PORT=$server_port AGENT=crm_agent:agent DPO=crm_dpo:dpo PGVEIL_CATALOG_PASSWORD=catalog
unset PGUSER PGPASSWORD PGOPTIONS PGSERVICE

if [ $baseline = 1 ]; then
    export MASKED=0 PGPORT=$server_port PGSSLMODE=disable
    run_all direct
else
    for listener in plain tls scram; do
        unset PGCHANNELBINDING
        if start_proxy $listener; then
            PGPORT=$proxy_port
            export PGPORT
            run_all $listener
            check_record $listener
        else
            echo "[$listener] FAILED: pgveil did not get ready"
            total_failed=$((total_failed + 1)) failures+=("$listener/start")
        fi
    done
fi

[ ${#failures[@]} = 0 ] || printf 'failed: %s\n' "${failures[@]}"
echo "drivers: $total_passed passed, $total_failed failed, $total_skipped skipped"
[ "$total_failed" = 0 ]
