#!/bin/bash
# Measures pgveil beside a direct connection, haproxy in TCP mode and pgbouncer in session mode, all in one go, and prints
# one Markdown table. `tests/bench/run.sh --help` tells the options.
#
# Installs what is missing (root or sudo), builds a release where no binary is named, starts a private PostgreSQL and the
# proxies on free ports of 127.0.0.1, and ends all of them.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.." || exit 1
export LC_ALL=C.UTF-8
. deploy/packages.sh

command -v python3 >/dev/null || ensure python3 python3
case " $* " in
    *' --help '* | *' -h '*) exec python3 "$here/main.py" --help ;;
esac

say 'What the benchmark needs' >&2
ensure "${SERVER_NEEDS[@]}" haproxy haproxy pgbouncer pgbouncer openssl openssl taskset util-linux >&2

pgveil=
for argument in "$@"; do
    [ "${previous:-}" = --pgveil ] && pgveil=$argument
    previous=$argument
done
if [ -z "$pgveil" ]; then
    # As tests/run.sh builds it for what wants a fast binary.
    cargo build --locked --release --bin pgveil >&2 || fail 'pgveil could not be built'
fi
exec python3 "$here/main.py" "$@"
