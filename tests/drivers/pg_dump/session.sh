#!/bin/bash
# pg_dump as an unrestricted role gives the dump that it gives without pgveil. As a restricted role it gets no dump
# with raw values: whatever it does, nothing of them comes back.
cd "$(dirname "$0")" && . ../check.sh
bin=${PG_BIN:+$PG_BIN/}
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

dump() { "${bin}pg_dump" "$@"; }

# \restrict and \unrestrict carry a key that is new each time.
stable() { grep -vE '^\\(un)?restrict ' "$1"; }

same_dump() {
    dump "$@" > "$work/through" || return
    direct dump "$@" > "$work/direct" || return
    cmp <(stable "$work/through") <(stable "$work/direct")
}

snapshot_of_several_jobs() {
    dump -Fd -j 3 -n crm -f "$work/folder" || return
    [ "$(find "$work/folder" -name '*.dat*' | wc -l)" -ge 9 ] || { ls "$work/folder"; return 1; }
}

no_raw_values() {
    dump -n crm > "$work/agent" 2> "$work/said"
    # Contact 3 of deploy/crm/seed.sql, in case anything was dumped at all.
    ! grep -E '13489222564|wenbo\.wu68@|350203196801182412' "$work/agent"
}

log_in_as dpo
check pg_dump/dpo/schema_and_data same_dump -n crm -n hr
check pg_dump/dpo/inserts same_dump -n crm --column-inserts --data-only -t crm.contacts
check pg_dump/dpo/custom_format_in_three_jobs snapshot_of_several_jobs
log_in_as agent
if masked agent; then
    check pg_dump/agent/no_raw_values no_raw_values
fi
summary pg_dump
