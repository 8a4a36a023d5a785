#!/bin/bash
# Passes all tests, on a fresh Debian or Ubuntu machine too: installs what is missing (root or sudo), then runs
#   cargo    unit and integration tests, documentation examples
#   drivers  psql, pgbench, pg_dump, psycopg, node's pg and JDBC through pgveil (tests/drivers/run.sh)
#   demo     the tour of `pgveil demo`, with its expectations
# and ends with a summary; the exit code is 0 if nothing failed. tests/skips.txt names what is left out, and why.
#
#   tests/run.sh [--prepare] [SUITE ...]     --prepare installs and ends
set -u
cd "$(dirname "$0")/.." || exit 1
. deploy/packages.sh

tools=$PWD/target/drivers
prepare_only=0 suites=()
for argument in "$@"; do
    case $argument in
        --prepare) prepare_only=1 ;;
        cargo | drivers | demo) suites+=("$argument") ;;
        *) fail "unknown argument $argument; suites are cargo, drivers, demo" ;;
    esac
done
[ ${#suites[@]} = 0 ] && suites=(cargo drivers demo)

say 'What the tests need'
ensure "${BUILD_NEEDS[@]}" "${SERVER_NEEDS[@]}" openssl openssl python3 python3 node nodejs npm npm \
    javac default-jdk-headless /usr/share/java/postgresql.jar libpostgresql-jdbc-java
# Debian ships venv apart from Python.
python3 -c 'import ensurepip' 2>/dev/null || ensure /no/ensurepip python3-venv
ensure_rust

# A failure here shows up as the failure of the suite that needs it.
prepare_drivers() {
    local venv=$tools/venv node=$tools/node
    mkdir -p "$node"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r tests/drivers/python/requirements.txt || return
    if ! cmp -s tests/drivers/node/package.json "$node/installed.json"; then
        cp tests/drivers/node/package.json "$node/package.json"
        npm install --prefix "$node" --no-package-lock --no-audit --no-fund --silent || return
        cp tests/drivers/node/package.json "$node/installed.json"
    fi
}

skip_reason() {
    awk -F: -v name="$1" '!/^#/ { n = $1; gsub(/^ +| +$/, "", n); if (n == name) { sub(/^[^:]*: */, ""); print } }' tests/skips.txt
}

run_cargo() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast && cargo test --locked --doc
    else
        cargo test --locked --no-fail-fast
    fi
}

# As the tests build it: `cargo build` alone would compile half of the dependencies again, with other features.
build_binary() {
    cargo test --locked --no-run --test serve
}

run_drivers() {
    prepare_drivers || { echo 'the drivers could not be installed'; return 1; }
    build_binary && REQUIRE_TOOLS=1 DRIVER_TOOLS=$tools tests/drivers/run.sh target/debug/pgveil
}

run_demo() {
    build_binary && target/debug/pgveil demo --once
}

if [ $prepare_only = 1 ]; then
    prepare_drivers || fail 'the drivers could not be installed'
    exit 0
fi

summary=() failed=0
for suite in "${suites[@]}"; do
    reason=$(skip_reason "$suite")
    if [ -n "$reason" ]; then
        say "$suite: skipped: $reason"
        summary+=("$suite skipped ($reason)")
        continue
    fi
    say "$suite"
    started=$SECONDS
    if run_"$suite"; then
        summary+=("$suite passed in $((SECONDS - started)) s")
    else
        summary+=("$suite FAILED after $((SECONDS - started)) s")
        failed=1
    fi
done

say 'Summary'
printf '%s\n' "${summary[@]}"
exit $failed
