#!/bin/bash
# PostgreSQL's own tests of pipelines in libpq (src/test/modules/libpq_pipeline), each with the trace of its messages.
. "$(dirname "$0")/postgresql_source"

prepare() {
    built && [ -x "$SOURCE/libpq_pipeline" ] && return
    build_libpq && cc -O1 -o "$SOURCE/libpq_pipeline" "$SOURCE/src/test/modules/libpq_pipeline/libpq_pipeline.c" \
        -I"$SOURCE/src/include" -I"$SOURCE/src/interfaces/libpq" -L"$SOURCE/src/interfaces/libpq" -L"$SOURCE/src/common" -L"$SOURCE/src/port" \
        -lpq -lpgcommon -lpgport
}

run() {
    local test trace folder=$SUITES/log/libpq_pipeline.$TARGET expected
    export LD_LIBRARY_PATH=$SOURCE/src/interfaces/libpq
    mkdir -p "$folder"
    for test in $("$SOURCE/libpq_pipeline" tests); do
        expected=$SOURCE/src/test/modules/libpq_pipeline/traces/$test.trace trace=()
        [ -f "$expected" ] && trace=(-t "$folder/$test.trace")
        if timeout 120 "$SOURCE/libpq_pipeline" -r 700 "${trace[@]}" "$test" "dbname=$PGDATABASE" >&2 2> >(tee "$folder/$test.said" >&2); then
            printf '%s\tpassed\n' "$test"
        else
            printf '%s\tfailed\t%s\n' "$test" "$(tail -n 1 "$folder/$test.said")"
        fi
        [ -f "$expected" ] || continue
        if diff "$expected" "$folder/$test.trace" > "$folder/$test.diff"; then
            printf '%s (trace)\tpassed\n' "$test"
        else
            printf '%s (trace)\tfailed\t%s\n' "$test" "$(sed -n 2p "$folder/$test.diff" | tr '\t' ' ')"
        fi
    done
}

"$1"
