#!/bin/bash
# The Debian package on a clean machine with a running systemd: installed, configured, started, reloaded, hung, upgraded, removed.
#
#   tests/deploy/package.sh PGVEIL
#
# Needs root, debootstrap, systemd-analyze and PostgreSQL. The binary is stripped and packed as it is (deploy/deb.sh).
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export LC_ALL=C.UTF-8
. "$here/machine.sh"
pgveil=$(realpath "${1:?the binary}")
PG_BIN=${PG_BIN:-$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)}
[ "$(id -u)" = 0 ] || { echo 'tests/deploy/package.sh: needs root' >&2; exit 1; }

work=$(mktemp -d)
chmod 711 "$work"
machine=$root/target/deploy/machine
as_server() { (cd / && runuser -u postgres -- "$@"); }
cleanup() {
    machine_end
    as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -m immediate stop >/dev/null 2>&1
    rm -rf "$work" "$machine"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

said=$work/said
. "$here/expectations.sh"
explain() { in_machine journalctl -u pgveil --no-pager 2>/dev/null | tail -20 | sed 's/^/    /'; }

# A server of its own, with a table and a user.
port=$(free_port) listen=$(free_port) admin=$(free_port)
mkdir "$work/server"
chown postgres "$work/server"
as_server "$PG_BIN/initdb" -D "$work/server/data" -A trust -U postgres -E UTF8 --no-sync >/dev/null || exit 1
as_server "$PG_BIN/pg_ctl" -D "$work/server/data" -s -w -l "$work/server/log" \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start || exit 1
direct() { psql -qAtX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres "$@"; }
direct -c 'CREATE DATABASE crm' postgres && direct -c "CREATE TABLE people (id int PRIMARY KEY, phone text); INSERT INTO people VALUES (1, '13812345678'); CREATE USER agent; GRANT SELECT ON people TO agent" crm || exit 1
expect 'the catalog user is made by its script' direct -v password=catalog-password -v databases=crm -f "$root/deploy/sql/catalog-user.sql" postgres

mkdir -p "$work/packages" "$root/target/deploy"
strip -o "$work/pgveil" "$pgveil"
for version in 0.1.0-1 0.1.0-2; do
    "$root/deploy/deb.sh" --quick --binary "$work/pgveil" --out "$work/packages" --version $version >"$work/said" 2>&1 || { cat "$work/said"; exit 1; }
done
machine_root "$machine" || exit 1
cp "$work"/packages/*.deb "$machine/root/"
machine_boot "$machine" || exit 1

expect 'no compiler is there' test ! -e "$machine/usr/bin/cc"
expect 'it installs with what a minimal system has' in_machine dpkg -i /root/pgveil_0.1.0-1_amd64.deb
expect 'its user cannot log in' in_machine sh -c 'getent passwd pgveil | grep -q ":/var/lib/pgveil:/usr/sbin/nologin"'
expect 'nobody else reads its configuration' in_machine sh -c '[ "$(stat -c "%a %U %G" /etc/pgveil)" = "750 root pgveil" ] && [ "$(stat -c %a /etc/pgveil/environment)" = 640 ]'
expect 'it is not started by itself' in_machine sh -c '! systemctl is-active -q pgveil && ! systemctl is-enabled -q pgveil'
for file in /usr/share/man/man1/pgveil.1.gz /usr/share/man/man1/pgveil-audit-verify.1.gz /usr/share/bash-completion/completions/pgveil /usr/share/zsh/vendor-completions/_pgveil /usr/share/fish/vendor_completions.d/pgveil.fish /usr/share/doc/pgveil/copyright; do
    # A minimal image may be told to leave documentation out.
    dpkg-deb -c "$work/packages/pgveil_0.1.0-1_amd64.deb" | grep -qF ".$file" && ok "$file" || bad "$file"
done
expect 'the default configuration is understood' in_machine env PGVEIL_CATALOG_PASSWORD=x pgveil check --offline --config /etc/pgveil/pgveil.yaml
expect 'the unit has no fault' in_machine systemd-analyze verify --man=no /usr/lib/systemd/system/pgveil.service
exposure=$(systemd-analyze security --offline=true "$root/deploy/debian/pgveil.service" 2>/dev/null | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
expect "systemd-analyze security says $exposure, 1.5 at most" awk -v found="$exposure" 'BEGIN { exit !(found != "" && found <= 1.5) }'

# Configured as the comments in the file say.
sed -i -e "s/^listen: .*/listen: 127.0.0.1:$listen/" -e "s/  port: 5432/  port: $port/" -e 's/  # databases: /  databases: /' -e "s/^admin: .*/admin: { listen: 127.0.0.1:$admin }/" "$machine/etc/pgveil/pgveil.yaml"
sed -i 's/^PGVEIL_CATALOG_PASSWORD=.*/PGVEIL_CATALOG_PASSWORD=catalog-password/' "$machine/etc/pgveil/environment"
cat >"$machine/etc/pgveil/policies/policy.yaml" <<'EOF'
version: 1
data: { phone: { columns: [public.people.phone] } }
roles: { agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } } } }
unmatched: deny
EOF
through() { psql -qAtX -h 127.0.0.1 -p "$listen" -U agent -c "$1" crm; }
masked() { [ "$(through 'SELECT phone FROM people')" = "138****5678" ]; }
main_pid() { in_machine systemctl show -P MainPID pgveil; }
state() { [ "$(in_machine systemctl show -P "$1" pgveil)" = "$2" ]; }

# systemd waits for READY=1: the command returns when sessions can come.
expect 'it starts' in_machine systemctl enable --now pgveil
expect 'and serves when it has said so' masked
expect 'it says what it does' in_machine sh -c "systemctl status pgveil --no-pager | grep -q 'Status: \"listening on 127.0.0.1:$listen\"'"
expect 'its health command agrees' in_machine pgveil health --admin 127.0.0.1:$admin
pid=$(main_pid)
expect 'it has no capability, and a filter of system calls' in_machine sh -c "grep -q 'CapEff:.0000000000000000' /proc/$pid/status && grep -q 'CapBnd:.0000000000000000' /proc/$pid/status && grep -q 'NoNewPrivs:.1' /proc/$pid/status && grep -q 'Seccomp:.2' /proc/$pid/status"
expect 'it runs as its user' in_machine sh -c "[ \$(stat -c %U /proc/$pid) = pgveil ]"
# What the machine allows is less where nobody may raise it.
allowed=$(in_machine sh -c 'awk "/^Max open files/ { print (\$5 == \"unlimited\" || \$5 > 65536) ? 65536 : \$5 }" /proc/1/limits')
expect "many files may be open ($allowed)" in_machine sh -c "grep -q 'Max open files *$allowed' /proc/$pid/limits"
expect 'the record is its own' in_machine sh -c '[ "$(stat -c "%a %U" /var/lib/pgveil)" = "700 pgveil" ] && ls /var/lib/pgveil/audit/*.jsonl'
expect 'the doctor finds nothing bad' in_machine runuser -u pgveil -- env PGVEIL_CATALOG_PASSWORD=catalog-password pgveil doctor --config /etc/pgveil/pgveil.yaml

in_machine sed -i 's/last: 4/last: 2/' /etc/pgveil/policies/policy.yaml
expect 'it reloads' in_machine systemctl reload pgveil
within 'another policy is in force after it' sh -c "[ \"\$(psql -qAtX -h 127.0.0.1 -p $listen -U agent -c 'SELECT phone FROM people' crm)\" = '138******78' ]"
expect 'without another process' [ "$(main_pid)" = "$pid" ]

expect 'a process that was killed' in_machine sh -c "kill -9 $pid"
within 'comes back' in_machine sh -c "systemctl is-active -q pgveil && pgveil health --admin 127.0.0.1:$admin"
# A shorter watchdog than thirty seconds, so that the test does not wait for it.
in_machine sh -c 'mkdir -p /run/systemd/system/pgveil.service.d && printf "[Service]\nWatchdogSec=2\n" >/run/systemd/system/pgveil.service.d/watchdog.conf && systemctl daemon-reload && systemctl restart pgveil'
pid=$(main_pid)
sleep 5
expect 'the watchdog is content with a process that works' [ "$(main_pid)" = "$pid" ]
in_machine sh -c "kill -STOP $pid"
within 'a process that hangs is replaced by the watchdog' sh -c "! kill -0 $pid 2>/dev/null; $(declare -f in_machine); machine_pid=$machine_pid; in_machine sh -c 'systemctl is-active -q pgveil && [ \$(systemctl show -P MainPID pgveil) != $pid ] && pgveil health --admin 127.0.0.1:$admin'"
in_machine sh -c 'rm -r /run/systemd/system/pgveil.service.d; systemctl daemon-reload'

# A session is in the middle of something while another program takes over.
coproc SESSION { psql -qAtX -h 127.0.0.1 -p "$listen" -U agent crm 2>&1; }
session() {
    local answer
    echo "$1" >&"${SESSION[1]}"
    read -r -t 30 answer <&"${SESSION[0]}"
    [ "$answer" = "$2" ] || { echo "it says: $answer"; in_machine journalctl -u pgveil -n 15 --no-pager; return 1; }
}
other_than() { in_machine sh -c 'systemctl is-active -q pgveil && pgveil health --admin "$1" && shift && case " $* " in *" $(systemctl show -P MainPID pgveil) "*) exit 1 ;; esac' sh 127.0.0.1:$admin "$@"; }
expect 'a transaction begins' session 'BEGIN; SELECT 1;' 1
pid=$(main_pid)
expect 'it is upgraded' in_machine dpkg -i /root/pgveil_0.1.0-2_amd64.deb
within 'and another process is the main one' other_than "$pid"
expect 'the transaction goes on in the old one' session "SELECT 2;" 2
new=$(main_pid)
in_machine sh -c "kill -9 $new"
within 'one that is killed meanwhile is replaced by the old one' other_than "$pid" "$new"
expect 'and the transaction goes on' session 'COMMIT; SELECT 3;' 3
exec {SESSION[1]}>&-
within 'the old one ends with its session' in_machine sh -c "! kill -0 $pid 2>/dev/null"
expect 'the service runs' state ActiveState active
third=$(main_pid)
in_machine sh -c "kill -9 $third"
within 'systemd starts it again, though it was not the one to start it' other_than "$pid" "$new" "$third"
expect 'with the configuration as it was' in_machine grep -q 'last: 2' /etc/pgveil/policies/policy.yaml
expect 'the record goes on over all of it' in_machine runuser -u pgveil -- env PGVEIL_CATALOG_PASSWORD=x pgveil audit verify --config /etc/pgveil/pgveil.yaml

in_machine sh -c 'printf "nonsense: 1\n" >>/etc/pgveil/pgveil.yaml; systemctl restart pgveil' >/dev/null 2>&1
within 'a wrong configuration is not tried again and again' state Result exit-code
expect 'and systemd has its exit code' state ExecMainStatus 2
in_machine sh -c 'sed -i /nonsense/d /etc/pgveil/pgveil.yaml; systemctl restart pgveil' || bad 'it does not start again'

expect 'it is removed' in_machine dpkg -r pgveil
expect 'and does not run' sh -c "! psql -qAtX -h 127.0.0.1 -p $listen -U agent -c 'SELECT 1' crm"
expect 'the record stays' in_machine sh -c 'ls /var/lib/pgveil/audit/*.jsonl'
expect 'it is purged' in_machine dpkg -P pgveil
expect 'and the record stays all the same' in_machine sh -c 'ls /var/lib/pgveil/audit/*.jsonl && [ ! -e /etc/pgveil ]'
exit $failed
