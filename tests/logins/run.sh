#!/bin/bash
# Logins in every combination of sslmode, gssencmode, sslnegotiation, channel binding, protocol version and the server's
# method: through pgveil they end as directly, or as differences.txt says. What libpq 19 asks to find out whether a server negotiates
# is asked by hand.
#
#   tests/logins/run.sh [--pgveil BINARY] [--libpq FOLDER] [MAJOR=FOLDER ...]
#
# FOLDER of a server holds initdb and postgres; that of libpq, libpq.so.5 (else it is the one in psycopg's wheel).
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
pgveil=$root/target/debug/pgveil servers=()
fail() { echo "tests/logins/run.sh: $*" >&2; exit 1; }
while [ $# -gt 0 ]; do
    case $1 in
        --pgveil) pgveil=$(realpath "$2"); shift ;;
        --libpq) LD_LIBRARY_PATH=$(realpath "$2") PSYCOPG_IMPL=python; export LD_LIBRARY_PATH PSYCOPG_IMPL; shift ;;
        *=*) servers+=("$1") ;;
        *) fail "unknown argument $1" ;;
    esac
    shift
done
if [ ${#servers[@]} = 0 ]; then
    newest=$(find /usr/lib/postgresql/*/bin -maxdepth 0 | sort -V | tail -n 1)
    servers=("$(basename "$(dirname "$newest")")=$newest")
fi
venv=$root/target/suites/venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv" || fail 'no venv'
"$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$root/tests/suites/requirements.txt" || fail 'psycopg could not be installed'

work=$(mktemp -d)
chmod 711 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# One authority for everybody, and a stranger's.
for name in ca other; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=pgveil test authority $name" -keyout "$work/$name.key" -out "$work/$name.crt" 2>/dev/null || fail 'no certificates'
done
issue() { # NAME AUTHORITY SUBJECT
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$3" -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null &&
        openssl x509 -req -in "$work/$1.csr" -CA "$work/$2.crt" -CAkey "$work/$2.key" -CAcreateserial -days 2 \
            -extfile <(echo 'subjectAltName=DNS:localhost,IP:127.0.0.1') -out "$work/$1.crt" 2>/dev/null
}
issue server ca localhost && issue client ca cert_user && issue stranger other cert_user || fail 'no certificates'
chmod 600 "$work"/*.key

status=0
for server in "${servers[@]}"; do
    "$venv/bin/python" "$here/matrix.py" --work "$work" --pgveil "$pgveil" --server "$server" --differences "$here/differences.txt" || status=1
done
exit $status
