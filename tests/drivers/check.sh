# The frame of the driver suites written in shell: sourced, then `check NAME COMMAND...` and at the end `summary SUITE`.
# A check is a command that prints why it fails. SKIPS names the file with checks to leave out.
passed=0 failed=0 skipped=0

check() {
    local name=$1 reason output
    shift
    reason=$([ -f "${SKIPS:-}" ] && awk -F: -v name="$name" '!/^#/ { n = $1; gsub(/^ +| +$/, "", n); if (n == name) { sub(/^[^:]*: */, ""); print } }' "$SKIPS")
    if [ -n "$reason" ]; then
        skipped=$((skipped + 1))
        echo "skipped $name: $reason"
    elif output=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name: $(printf '%s' "$output" | head -c 2000)"
    fi
}

summary() {
    echo "$1: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}

# Sets the login of a role (agent, dpo) for every program that uses libpq.
log_in_as() {
    local login=$AGENT
    [ "$1" = dpo ] && login=$DPO
    export PGUSER=${login%%:*} PGPASSWORD=${login#*:}
}

# Whether what the role sees is masked.
masked() {
    [ "$1" = agent ] && [ "${MASKED:-1}" != 0 ]
}

same() {
    [ "$1" = "$2" ] || { printf '(< is what came, > what should have)\n'; diff <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }
}

# Runs a command on the server itself, past pgveil.
direct() {
    PGHOST=127.0.0.1 PGPORT=${DIRECT_PORT:-$PGPORT} PGSSLMODE=disable PGCHANNELBINDING=prefer "$@"
}
