#!/bin/bash
# The integration tests of node-postgres, each file a test. Its npm package carries none: NODE_POSTGRES_SOURCE names a
# checkout of its repository, and target/suites/node-postgres is taken where there is one.
SOURCE=${NODE_POSTGRES_SOURCE:-$SUITES/node-postgres}

prepare() {
    [ -f "$SOURCE/packages/pg/test/test-helper.js" ] || { echo "no checkout of node-postgres: set NODE_POSTGRES_SOURCE"; return 1; }
    [ -d "$SOURCE/node_modules/bluebird" ] && return
    local version
    version=$(node -p 'require(process.argv[1]).version' "$SOURCE/packages/pg/package.json")
    # What it depends on, as published with it.
    mkdir -p "$SUITES/node" && npm install --prefix "$SUITES/node" --no-package-lock --no-audit --no-fund --silent "pg@$version" async@2.6.4 bluebird@3.7.2 co@4.6.0 pg-copy-streams@0.3.0 &&
        ln -sfn "$SUITES/node/node_modules" "$SOURCE/node_modules"
}

run() {
    local test name said=$SUITES/log/node-postgres.$TARGET.said
    export PGTESTNOSSL=true
    cd "$SOURCE/packages/pg" || return
    find test/integration -name '*-tests.js' | sort | while read -r test; do
        name=${test#test/integration/}
        if timeout 60 node "$test" > "$said" 2>&1 < /dev/null; then
            printf '%s\tpassed\n' "$name"
        else
            printf '%s\tfailed\t%s\n' "$name" "$(grep -m 1 -iE 'error|did not' "$said" | tr '\t' ' ' | head -c 300)"
        fi
        sed "s|^|$name: |" "$said" >&2
    done
}

"$1"
