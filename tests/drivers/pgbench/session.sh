#!/bin/bash
# pgbench in its three modes: its own mixture over its own (unprotected) tables, and reads of protected ones. The runner
# has made the tables.
cd "$(dirname "$0")" && . ../check.sh
bin=${PG_BIN:+$PG_BIN/}
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
clients=4 transactions=50

# Any transaction that fails ends its client, and what was processed falls short.
all_processed() {
    local said wanted=$((clients * transactions))
    said=$("${bin}pgbench" -n -c $clients -j 2 -t $transactions "$@" 2>&1) || { echo "$said"; return 1; }
    case $said in *"actually processed: $wanted/$wanted"*) ;; *) echo "$said"; return 1 ;; esac
}

cat > "$work/contacts.sql" <<'SQL'
\set id random(1, 5000)
SELECT full_name, phone, email FROM crm.contacts WHERE id = :id;
SQL
cat > "$work/pipeline.sql" <<'SQL'
\startpipeline
SELECT phone FROM crm.contacts WHERE id = 3;
SELECT 1;
SELECT name FROM crm.tags ORDER BY name LIMIT 3;
\endpipeline
SQL

for role in agent dpo; do
    log_in_as $role
    for mode in simple extended prepared; do
        check pgbench/$role/$mode/select_only all_processed -M $mode -S
        check pgbench/$role/$mode/contacts all_processed -M $mode -f "$work/contacts.sql"
        check pgbench/$role/$mode/tpcb_like all_processed -M $mode -b tpcb-like
    done
    "${bin}pgbench" --version | grep -qE ' 1[0-3]\.' || check pgbench/$role/pipeline all_processed -M extended -f "$work/pipeline.sql"
done
summary pgbench
