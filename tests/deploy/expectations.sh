# What is expected of an installation, said line by line. Sourced; `said` is a file for what commands print, and at the end
# `failed` is 1 if anything was not so.

failed=0 said=${said:?a file}
ok() { echo "ok: $1"; }
bad() { echo "FAILED: $1"; failed=1; }
# What there is to be told beside what was said, where something is not so before long.
explain() { :; }

# expect WHAT COMMAND...: it succeeds. within WHAT COMMAND...: it does so before long.
expect() {
    local what=$1
    shift
    if "$@" >"$said" 2>&1; then ok "$what"; else bad "$what"; sed 's/^/    /' "$said" | tail -20; fi
}
within() {
    local what=$1 tries
    shift
    for tries in $(seq 300); do
        if "$@" >"$said" 2>&1; then ok "$what"; return; fi
        sleep 0.1
    done
    bad "$what"
    sed 's/^/    /' "$said" | tail -20
    explain
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
