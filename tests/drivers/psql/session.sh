#!/bin/bash
# A CRM session with psql, once as a restricted role and once as an unrestricted one: the backslash commands, which
# read the catalogs, print what they print without pgveil; \copy, \gdesc and the rest work.
cd "$(dirname "$0")" && . ../check.sh
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

run() { psql -X -A -t -q -v ON_ERROR_STOP=1 -P pager=off "$@" 2>&1; }

# Contact 3 of deploy/crm/seed.sql.
phone() { if masked "$1"; then echo '134****2564'; else echo 13489222564; fi; }

as_without_pgveil() { same "$(psql -X -P pager=off -c "$1" 2>&1)" "$(direct psql -X -P pager=off -c "$1" 2>&1)"; }

reads() { same "$(run -c 'SELECT phone FROM crm.contacts WHERE id = 3')" "$(phone "$1")"; }

several_statements() {
    same "$(run -c 'SELECT 1' -c 'BEGIN; SELECT phone FROM crm.contacts WHERE id = 3; COMMIT' -c 'TABLE crm.tags LIMIT 0')" "1
$(phone "$1")"
}

variables_and_gset() {
    same "$(run <<'SQL'
\set who 3
SELECT phone AS number FROM crm.contacts WHERE id = :who \gset
\echo :number
SELECT 'SELECT ' || quote_literal(phone) FROM crm.contacts WHERE id = :who \gexec
SQL
)" "$(phone "$1")
$(phone "$1")"
}

gdesc() {
    same "$(echo 'SELECT phone, birth_date FROM crm.contacts \gdesc' | run)" "phone|character varying(20)
birth_date|date"
}

copy_out() {
    run -c "\\copy (SELECT id, phone FROM crm.contacts WHERE id = 3) TO '$work/out.csv' WITH (FORMAT csv, HEADER)" || return
    same "$(cat "$work/out.csv")" "id,phone
3,$(phone "$1")"
}

copy_in() {
    printf 'from psql,told\nanother from psql,told\n' > "$work/in.csv"
    run -c "\\copy crm.tags (name, description) FROM '$work/in.csv' CSV" || return
    same "$(run -c "SELECT count(*) FROM crm.tags WHERE name LIKE '%from psql'")" 2 || return
    run -c "DELETE FROM crm.tags WHERE name LIKE '%from psql'"
}

cursor_by_fetch_count() {
    same "$(run -v FETCH_COUNT=5 -c 'SELECT id FROM crm.contacts WHERE id <= 17 ORDER BY id' | tail -1)" 17 || return
    same "$(run -v FETCH_COUNT=5 -c 'SELECT phone FROM crm.contacts WHERE id = 3')" "$(phone "$1")"
}

export_stopped() {
    local rows
    run -c "\\copy (SELECT phone FROM crm.contacts) TO '$work/all.csv'" && { echo 'all contacts came'; return 1; }
    rows=$(wc -l < "$work/all.csv")
    [ "$rows" -le 100 ] || { echo "$rows rows came"; return 1; }
    run -v FETCH_COUNT=10 -c 'SELECT phone FROM crm.contacts' > "$work/all.txt" && { echo 'all contacts came by a cursor'; return 1; }
    grep -q pgveil "$work/all.txt" || { tail -3 "$work/all.txt"; return 1; }
    rows=$(grep -c '\*' "$work/all.txt")
    [ "$rows" -le 100 ] || { echo "$rows rows came by a cursor"; return 1; }
}

refusal() {
    local said
    said=$(run -v VERBOSITY=verbose -c "SELECT query_to_xml('SELECT phone FROM crm.contacts', true, false, '')") && { echo 'was not refused'; return 1; }
    case $said in *42501*pgveil:*HINT:*) ;; *) echo "$said"; return 1 ;; esac
}

script_goes_on_after_a_refusal() {
    local said
    said=$(psql -X -A -t -q <<'SQL' 2>/dev/null
SELECT query_to_xml('SELECT 1', true, false, '');
SELECT phone FROM crm.contacts WHERE id = 3;
SQL
)
    same "$said" "$(phone "$1")"
}

server_error() {
    same "$(run -v VERBOSITY=verbose -c 'SELECT nothing FROM crm.tags' | grep -v LOCATION)" "$(direct run -v VERBOSITY=verbose -c 'SELECT nothing FROM crm.tags' | grep -v LOCATION)"
}

conninfo() { run -c "\\conninfo" | grep -q crm; }

for role in agent dpo; do
    log_in_as $role
    check psql/$role/reads reads $role
    check psql/$role/several_statements several_statements $role
    check psql/$role/variables_and_gset variables_and_gset $role
    check psql/$role/gdesc gdesc
    check psql/$role/copy_out copy_out $role
    check psql/$role/cursor_by_fetch_count cursor_by_fetch_count $role
    check psql/$role/server_error server_error
    check psql/$role/conninfo conninfo
    while IFS='|' read -r name command; do
        check "psql/$role/$name" as_without_pgveil "$command"
    done <<'COMMANDS'
d|\d
d_table|\d crm.contacts
d_plus_table|\d+ crm.contacts
d_view|\d+ crm.contact_directory
d_partitioned|\d+ crm.activities
dt|\dt crm.*
dv|\dv crm.*
di|\di crm.*
ds|\ds crm.*
dn|\dn+
df|\df crm.*
dp|\dp crm.*
du|\du
l|\l
dT|\dT
dx|\dx
sv|\sv crm.contact_directory
dd|\dd
dC|\dC
do|\do
dF|\dF+
dd_privileges|\ddp
des|\des+
dew|\dew+
det|\det+
deu|\deu
dm|\dm+ crm.*
dO|\dO
dP|\dP+
dRp|\dRp+
dX|\dX
dy|\dy
db|\db+
dc|\dc
dD|\dD
dL|\dL
drds|\drds
dA|\dA+
dAo|\dAo btree integer_ops
dconfig|\dconfig
COMMANDS
    if [ $role = agent ]; then
        check psql/$role/copy_in copy_in
    fi
    if masked $role; then
        check psql/$role/export_stopped export_stopped
        check psql/$role/refusal refusal
        check psql/$role/script_goes_on_after_a_refusal script_goes_on_after_a_refusal $role
    fi
done
summary psql
