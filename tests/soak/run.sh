#!/bin/bash
# Half an hour of mixed clients through pgveil: memory and descriptors stay flat, every statement is on record.
# `tests/soak/run.sh --help` tells the options.
#
# Installs what is missing (root or sudo), builds a release where no binary is named, starts a private PostgreSQL and
# pgveil on free ports of 127.0.0.1, and ends both.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.." || exit 1
export LC_ALL=C.UTF-8
. deploy/packages.sh

command -v python3 >/dev/null || ensure python3 python3
case " $* " in
    *' --help '* | *' -h '*) exec python3 "$here/soak.py" --help ;;
esac

say 'What the soak needs' >&2
ensure "${SERVER_NEEDS[@]}" openssl openssl >&2
case " $* " in
    *' --pgveil '*) ;;
    *) cargo build --locked --release --bin pgveil >&2 || fail 'pgveil could not be built' ;;
esac
exec python3 "$here/soak.py" "$@"
