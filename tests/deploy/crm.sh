# A private PostgreSQL with the demo's CRM, for scripts that put a load on it through pgveil: to be sourced by who has defined `fail`
# and `root`. It makes the folder `work`; who sources it ends the server (`stop_crm`) and takes the folder away.
PG_BIN=${PG_BIN:-$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)}
[ -x "$PG_BIN/initdb" ] || fail 'no initdb; install PostgreSQL or set PG_BIN'

work=$(mktemp -d "${TMPDIR:-/tmp}/pgveil-crm.XXXXXX")
chmod 711 "$work"
as_server() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# wait_for TENTHS COMMAND...: until the command succeeds.
wait_for() {
    local tenths=$1
    shift
    for _ in $(seq "$tenths"); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    return 1
}

# start_crm OPTIONS: a server with these options besides, on $server_port; `direct` is psql on it. A certificate for who listens is
# made beside it (server.crt, server.key).
start_crm() {
    server_port=$(free_port)
    mkdir "$work/server"
    [ "$(id -u)" = 0 ] && chown postgres "$work/server"
    as_server "$PG_BIN/initdb" -D "$work/server/data" -A trust -U postgres -E UTF8 --no-sync >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; fail 'initdb failed'; }
    as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -w -l "$work/server/log" \
        -o "-p $server_port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off $1" start || fail 'the server does not start'
    direct -c 'CREATE DATABASE crm' postgres && direct -f "$root/deploy/crm/schema.sql" crm >/dev/null && direct -f "$root/deploy/crm/seed.sql" crm >/dev/null || fail 'the CRM cannot be loaded'
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 90 -keyout "$work/server.key" -out "$work/server.crt" 2>/dev/null || fail 'no certificate'
}
direct() { psql -qX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$server_port" -U postgres "$@"; }
stop_crm() { as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -m immediate stop >/dev/null 2>&1; }
