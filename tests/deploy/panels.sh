#!/bin/bash
# Asks a real Prometheus, which scraped a real load through pgveil, for every panel of the dashboards.
#
#   tests/deploy/panels.sh PGVEIL [PICTURES]
#
# Starts a private PostgreSQL with the CRM, pgveil with a sink that works and one that is away, and Prometheus with the rules of
# deploy/prometheus; loads them for SECONDS_OF_LOAD (25) and ends everything. A panel or recording rule without data fails. With
# PICTURES, a folder, the panels are drawn there as PNG by a Python that has matplotlib (PYTHON).
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export LC_ALL=C.UTF-8
pgveil=$(realpath "${1:?the binary}")
pictures=${2:-}
load=${SECONDS_OF_LOAD:-25}
python=${PYTHON:-python3}

fail() { echo "tests/deploy/panels.sh: $*" >&2; exit 1; }
prometheus=$root/target/deploy/prometheus/usr/bin/prometheus
[ -x "$prometheus" ] || prometheus=$(command -v prometheus) || fail 'no prometheus; tests/run.sh deploy fetches it'
. "$root/tests/deploy/crm.sh"
started=()
cleanup() {
    [ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null
    wait
    stop_crm
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
port=$(free_port) admin=$(free_port) nobody=$(free_port) prometheus_port=$(free_port)
start_crm ''

mkdir "$work/policies"
# As many rows an hour as the load takes, and lookups.
sed -e 's/per_hour: 2000/per_hour: 100000000/' -e 's/last: 4 } }     # 138/last: 4 }, lookup: exact }     # 138/' "$root/policies/crm.yaml" >"$work/policies/crm.yaml"
cat >"$work/pgveil.yaml" <<EOF
listen: 127.0.0.1:$port
tls: { cert: server.crt, key: server.key }
upstream: { host: 127.0.0.1, port: $server_port, tls: disable, catalog_user: { name: pgveil }, databases: [crm] }
auth: { method: passthrough }
policies: policies
state: state.db
audit:
  dir: audit
  sinks:
    archive: { type: file, path: archive.jsonl }
    soc: { type: webhook, url: "http://127.0.0.1:$nobody/", secret: a-secret-of-many-letters }
admin: { listen: 127.0.0.1:$admin }
EOF
"$pgveil" serve --config "$work/pgveil.yaml" >"$work/pgveil.log" 2>&1 &
started+=($!)
wait_for 300 grep -q 'pgveil ready' "$work/pgveil.log" || { cat "$work/pgveil.log"; fail 'pgveil does not start'; }

sed -e "s/127.0.0.1:9432/127.0.0.1:$admin/" -e 's/_interval: 15s/_interval: 1s/' "$root/deploy/prometheus/prometheus.yaml" >"$work/prometheus.yaml"
cp "$root"/deploy/prometheus/{recording,alerts}.yaml "$work"
"$prometheus" --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/tsdb" --web.listen-address="127.0.0.1:$prometheus_port" >"$work/prometheus.log" 2>&1 &
started+=($!)
ready() { python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$prometheus_port/-/ready')"; }
wait_for 300 ready || { tail -5 "$work/prometheus.log"; fail 'Prometheus does not start'; }

through() { psql -qAtX -h 127.0.0.1 -p "$port" -U "$@" crm; }
echo '\set id random(1, 2000)
SELECT full_name, phone, email FROM crm.contacts WHERE id = :id;' >"$work/agent.sql"
echo "\set id random(1, 2000)
SELECT count(*), max(amount) FROM crm.opportunities WHERE company_id = :id;
UPDATE crm.contacts SET job_title = job_title WHERE id = :id;" >"$work/finance.sql"
echo '\set id random(1, 2000)
SELECT * FROM crm.contacts WHERE id = :id;' >"$work/dpo.sql"
direct -c 'GRANT UPDATE ON crm.contacts TO crm_finance' crm
bench() { pgbench -n -h 127.0.0.1 -p "$port" -U "$1" -f "$work/$2.sql" -R "$3" -c "$4" -j 1 -M "$5" -T "$load" crm >"$work/$2.log" 2>&1 || cat "$work/$2.log"; }
bench crm_agent agent 80 6 prepared & loads=($!)
bench crm_finance finance 20 2 simple & loads+=($!)
bench crm_dpo dpo 15 2 extended & loads+=($!)
for round in $(seq $((load / 3))); do
    through crm_agent -c 'SELECT * FROM crm.contacts'
    through crm_agent -c "SELECT pg_read_file('/etc/passwd')"
    through crm_agent -c "SELECT id FROM crm.contacts WHERE phone = '1380000$round'" -c 'SELECT login, team FROM crm.users'
    [ $((round % 2)) = 0 ] && through crm_agent -c "SELECT query_to_xml('select 1', true, true, '')"
    through crm_finance -c 'CREATE TABLE x (y int)'
    through nobody_known -c 'SELECT 1'
    sleep 2
done >"$work/odd.log" 2>&1
wait "${loads[@]}"
sleep 2
arguments=(--prometheus "http://127.0.0.1:$prometheus_port" --seconds $((load + 5)))
[ -z "$pictures" ] || arguments+=(--out "$pictures")
"$python" "$root/deploy/grafana/draw.py" "${arguments[@]}"
