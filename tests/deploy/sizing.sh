#!/bin/bash
# What a session takes of memory, and a thousand statements of CPU time: pgbench's load, and what /proc says of the process.
# CPU time of the process, and not the clock's: it is nearly the same on a busy machine.
#
#   tests/deploy/sizing.sh PGVEIL           the binary of a release; some minutes
#
# Starts a private PostgreSQL with the CRM, and pgveil over it with TLS; prints a table in Markdown. SESSIONS (400) and STATEMENTS (4000)
# change how many; STATEMENTS=0 leaves the first table out.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
export LC_ALL=C.UTF-8
pgveil=$(realpath "${1:?the binary}")
sessions=${SESSIONS:-400} statements=${STATEMENTS:-4000}
fail() { echo "tests/deploy/sizing.sh: $*" >&2; exit 1; }
PG_BIN=${PG_BIN:-$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)}
[ -x "$PG_BIN/initdb" ] || fail 'no initdb; install PostgreSQL or set PG_BIN'

work=$(mktemp -d "${TMPDIR:-/tmp}/pgveil-sizing.XXXXXX")
chmod 711 "$work"
proxy='' crowds=()
as_server() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}
cleanup() {
    [ ${#crowds[@]} = 0 ] || kill "${crowds[@]}" 2>/dev/null
    [ -z "$proxy" ] || kill -KILL "$proxy" 2>/dev/null
    wait 2>/dev/null
    as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -m immediate stop >/dev/null 2>&1
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() {
    for _ in $(seq 3000); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    return 1
}

server_port=$(free_port) port=$(free_port) admin=$(free_port)
mkdir "$work/server" "$work/policies"
[ "$(id -u)" = 0 ] && chown postgres "$work/server"
as_server "$PG_BIN/initdb" -D "$work/server/data" -A trust -U postgres -E UTF8 --no-sync >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; fail 'initdb failed'; }
as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -w -l "$work/server/log" \
    -o "-p $server_port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=$((sessions + 50))" start || fail 'the server does not start'
direct() { psql -qX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$server_port" -U postgres "$@"; }
direct -c 'CREATE DATABASE crm' postgres && direct -f "$root/deploy/crm/schema.sql" crm >/dev/null && direct -f "$root/deploy/crm/seed.sql" crm >/dev/null || fail 'the CRM cannot be loaded'

# As many rows as the load takes.
sed -e 's/per_hour: 2000/per_hour: 1000000000/' -e 's/^\( *rows: \)[0-9].*/\11000000000/' "$root/policies/crm.yaml" >"$work/policies/crm.yaml"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 90 -keyout "$work/server.key" -out "$work/server.crt" 2>/dev/null || fail 'no certificate'
cat >"$work/pgveil.yaml" <<EOF
listen: 127.0.0.1:$port
tls: { cert: server.crt, key: server.key }
upstream: { host: 127.0.0.1, port: $server_port, tls: disable, catalog_user: { name: pgveil }, databases: [crm] }
auth: { method: passthrough }
policies: policies
state: state.db
audit: { dir: audit }
limits: { max_sessions: $((sessions + 50)) }
admin: { listen: 127.0.0.1:$admin }
EOF
# A process that nobody has used, for what a crowd took is kept for the next one.
serve() {
    [ -z "$proxy" ] || { kill -KILL "$proxy"; wait "$proxy" 2>/dev/null; }
    "$pgveil" serve --config "$work/pgveil.yaml" >"$work/pgveil.log" 2>&1 &
    proxy=$!
    wait_for grep -q 'pgveil ready' "$work/pgveil.log" || { cat "$work/pgveil.log"; fail 'pgveil does not start'; }
}
serve

# In clock ticks and in KiB.
ticks() { sed 's/.*) //' "/proc/$proxy/stat" | awk '{ print $12 + $13 }'; }
memory() { awk '/^RssAnon:/ { print $2 }' "/proc/$proxy/status"; }
serving() { curl -sf "http://127.0.0.1:$admin/metrics" | awk '$1 == "pgveil_sessions" { print $2 }'; }
bench() { pgbench -n -h 127.0.0.1 -p "$port" "$@" crm >"$work/bench.log" 2>&1 || { tail -5 "$work/bench.log" >&2; fail "pgbench $*"; }; }
echo '\set id random(1, 2000)
SELECT full_name, phone, email FROM crm.contacts WHERE id = :id;' >"$work/one.sql"
echo 'SELECT full_name, phone, email FROM crm.contacts ORDER BY id LIMIT 1000;' >"$work/thousand.sql"
echo 'SELECT full_name, phone, email FROM crm.contacts WHERE id = 7;
\sleep 600 s' >"$work/idle.sql"

# cpu WORDS CLIENTS STATEMENTS OPTIONS...: milliseconds for a thousand, the lowest of three after a warm-up: what else runs on the
# machine empties caches, and can only add.
cpu() {
    local words=$1 clients=$2 count=$3 before spent lowest='' round
    shift 3
    bench -c "$clients" -j 1 -t $((count / clients / 10 + 1)) "$@"
    for round in 1 2 3; do
        before=$(ticks)
        bench -c "$clients" -j 1 -t $((count / clients)) "$@"
        spent=$(($(ticks) - before))
        [ -n "$lowest" ] && [ "$lowest" -le "$spent" ] || lowest=$spent
    done
    awk -v words="$words" -v ticks="$lowest" -v hertz="$(getconf CLK_TCK)" -v count=$((count / clients * clients)) \
        'BEGIN { printf "| %s | %.0f ms |\n", words, ticks * 1000 / hertz * 1000 / count }'
}

# More and more sessions of a user that have done one statement.
crowd() {
    PGSSLMODE=$3 pgbench -n -h 127.0.0.1 -p "$port" -U "$2" -f "$work/idle.sql" -c "$1" -j 1 -M prepared -T 3600 crm >"$work/crowd.log" 2>&1 &
    crowds+=($!)
    there=$((there + $1))
    wait_for eval "[ \"\$(serving)\" = $there ]" || fail "$(serving) sessions, not $there"
    # Each has had its row: the server says of none that it has done nothing yet.
    wait_for eval "[ \"\$(direct -Atc \"SELECT count(*) = $there FROM pg_stat_activity WHERE usename = '$2' AND state = 'idle' AND query ILIKE 'SELECT%'\" postgres)\" = t ]" || fail 'sessions are not idle'
}

echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores; $(psql --version | cut -d ' ' -f 3); $("$pgveil" --version)"
echo
if [ "$statements" != 0 ]; then
    echo '| CPU time of pgveil for a thousand | |'
    echo '| --- | --- |'
    export PGSSLMODE=disable
    cpu 'statements of one row, prepared, unmasked role' 8 "$statements" -U crm_dpo -M prepared -f "$work/one.sql"
    cpu 'statements of one row, prepared, masked role' 8 "$statements" -U crm_agent -M prepared -f "$work/one.sql"
    PGSSLMODE=require cpu 'the same over TLS' 8 "$statements" -U crm_agent -M prepared -f "$work/one.sql"
    cpu 'the same with literals in each text (simple protocol)' 8 "$statements" -U crm_agent -M simple -f "$work/one.sql"
    cpu 'results of 1,000 rows, masked role' 8 $((statements / 10)) -U crm_agent -M prepared -f "$work/thousand.sql"
    cpu 'logins with one statement, no TLS' 8 $((statements / 4)) -C -U crm_agent -M simple -f "$work/one.sql"
    PGSSLMODE=require cpu 'logins with one statement over TLS' 8 $((statements / 4)) -C -U crm_agent -M simple -f "$work/one.sql"
fi
echo
echo '| memory of pgveil (RssAnon) | |'
echo '| --- | --- |'
for tls in disable require; do
    for user in crm_dpo crm_agent; do
        serve
        none=$(memory) there=0
        crowd $((sessions / 4)) $user $tls
        few=$(memory)
        crowd $((sessions - sessions / 4)) $user $tls
        many=$(memory)
        echo "| idle sessions of $user, sslmode=$tls: none, $((sessions / 4)), $sessions | $((none / 1024)), $((few / 1024)), $((many / 1024)) MiB: $(((many - few) / (sessions - sessions / 4))) KiB for one more |"
        kill "${crowds[@]}"; wait "${crowds[@]}" 2>/dev/null
        crowds=()
    done
done
