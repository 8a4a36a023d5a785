#!/bin/bash
# The tests of psycopg 3, async and sync, with the libpq of its wheel. No registry carries them: PSYCOPG_SOURCE names a
# checkout of its repository, and target/suites/psycopg is taken where there is one. A restricted role plays psycopg_core.
# targets: direct clear
SOURCE=${PSYCOPG_SOURCE:-$SUITES/psycopg}
here=$(cd "$(dirname "$0")" && pwd)

prepare() {
    [ -f "$SOURCE/tests/conftest.py" ] || { echo "no checkout of psycopg: set PSYCOPG_SOURCE"; return 1; }
    [ -x "$SUITES/venv/bin/python" ] || python3 -m venv "$SUITES/venv" || return
    "$SUITES/venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/requirements.txt"
}

run() {
    local folder=$SUITES/log
    # A run that was ended leaves word that it crashed, and the next refuses to begin.
    rm -rf "$folder/pytest"
    cd "$SOURCE" || return
    # Those that look at types, packages or timers have nothing to ask of a server.
    PYTHONPATH=$here:$SOURCE/psycopg_pool PSYCOPG_IMPL=binary timeout 3000 "$SUITES/venv/bin/python" -m pytest -q -p outcomes -o cache_dir=$folder/pytest --tb=line --timeout 60 -m 'not slow and not timing' \
        --ignore=tests/test_typing.py --ignore=tests/scripts --ignore=tests/crdb --outcomes "$folder/$(basename "$0" .sh).$TARGET.outcomes" \
        --test-dsn "host=127.0.0.1 port=$PGPORT user=postgres dbname=$PGDATABASE" ${PSYCOPG_TESTS:-tests} >&2
    cat "$folder/$(basename "$0" .sh).$TARGET.outcomes"
}

"$1"
