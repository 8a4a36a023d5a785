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
. "$root/tests/deploy/crm.sh"
proxy='' crowds=()
cleanup() {
    [ ${#crowds[@]} = 0 ] || kill "${crowds[@]}" 2>/dev/null
    [ -z "$proxy" ] || kill -KILL "$proxy" 2>/dev/null
    wait 2>/dev/null
    stop_crm
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
port=$(free_port) admin=$(free_port)
start_crm "-c max_connections=$((sessions + 50))"
mkdir "$work/policies"

# As many rows as the load takes.
sed -e 's/per_hour: 2000/per_hour: 1000000000/' -e 's/^\( *rows: \)[0-9].*/\11000000000/' "$root/policies/crm.yaml" >"$work/policies/crm.yaml"
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
    wait_for 3000 grep -q 'pgveil ready' "$work/pgveil.log" || { cat "$work/pgveil.log"; fail 'pgveil does not start'; }
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
    wait_for 3000 eval "[ \"\$(serving)\" = $there ]" || fail "$(serving) sessions, not $there"
    # Each has had its row: the server says of none that it has done nothing yet.
    wait_for 3000 eval "[ \"\$(direct -Atc \"SELECT count(*) = $there FROM pg_stat_activity WHERE usename = '$2' AND state = 'idle' AND query ILIKE 'SELECT%'\" postgres)\" = t ]" || fail 'sessions are not idle'
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
