#!/bin/bash
# The image of deploy/Dockerfile, built and run, and deploy/compose.yaml started with it.
#
#   tests/deploy/image.sh [--binary PGVEIL]        needs root
#
# The image takes half an hour of two cores to build; with --binary it is that program in the Dockerfile's last stage, and the stage
# that builds one is left out.
#
# Base images, PostgreSQL and Prometheus are made here of Debian's packages (containers.sh), for no registry of images may be within
# reach; Grafana, of which Debian has no package, is left out. compose.yaml needs Docker's compose 2.24 or newer, as `docker compose` or
# in PGVEIL_COMPOSE; without it the image is run and compose.yaml is reported as not started.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export LC_ALL=C.UTF-8
. "$here/containers.sh"
[ "$(id -u)" = 0 ] || { echo 'tests/deploy/image.sh: needs root' >&2; exit 1; }
kept=$root/target/containers binary=''
[ "${1:-}" != --binary ] || binary=$(realpath "${2:?the binary}")

service='' doctor=''
cleanup() {
    [ -z "$doctor" ] || kill "$doctor" 2>/dev/null
    [ -z "$service" ] || kill "$service" 2>/dev/null
    containers_end
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
containers_begin "$kept"
said=$containers_run/said
. "$here/expectations.sh"
fails() { ! "$@"; }

echo 'base images'
base_build pgveil-test/rust && base_runtime pgveil-test/cc && base_postgres pgveil-test/postgres && base_prometheus pgveil-test/prometheus || exit 1

sources=$containers_run/sources dockerfile=$containers_run/Dockerfile
mkdir "$sources"
if [ -z "$binary" ]; then
    echo 'the image'
    cp "$root/deploy/Dockerfile" "$dockerfile"
    (cd "$root" && git ls-files -z | tar --null --files-from - -c) | tar -x -C "$sources"
else
    echo "the image's last stage, with $binary"
    mkdir -p "$sources/out/var/lib/pgveil" "$sources/out/etc/pgveil"
    cp "$binary" "$sources/out/pgveil"
    {
        grep '^ARG RUNTIME_IMAGE=' "$root/deploy/Dockerfile"
        printf 'FROM scratch AS build\nCOPY out /out\n'
        sed -n '/^FROM ${RUNTIME_IMAGE}/,$p' "$root/deploy/Dockerfile"
    } >"$dockerfile"
fi
pod build --network host "${containers_limits[@]}" --format docker -f "$dockerfile" -t pgveil --build-arg BUILD_IMAGE=localhost/pgveil-test/rust \
    --build-arg RUNTIME_IMAGE=localhost/pgveil-test/cc "$sources" >"$kept/build.log" 2>&1 || { tail -30 "$kept/build.log"; exit 1; }
grep -o '/out/pgveil: .*SHA-256.*' "$kept/build.log"
rm -rf "$sources"

echo "$(($(pod image inspect --format '{{.Size}}' pgveil) / 1048576)) MiB"
confined=(--read-only --read-only-tmpfs=false --cap-drop ALL --security-opt no-new-privileges --network none)
expect 'it runs without a right, on a file system that nobody writes to' pod run --rm "${confined[@]}" pgveil --version
expect 'there is no shell in it' fails pod run --rm --entrypoint /bin/sh pgveil -c true
expect 'its user is not root' test "$(pod image inspect --format '{{.User}}' pgveil)" = 65532:65532

compose=${PGVEIL_COMPOSE:-}
if [ -z "$compose" ]; then
    for place in "$HOME/.docker/cli-plugins" /usr/local/lib/docker/cli-plugins /usr/local/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins /usr/libexec/docker/cli-plugins; do
        [ ! -x "$place/docker-compose" ] || { compose=$place/docker-compose; break; }
    done
fi
if [ -z "$compose" ]; then
    echo 'SKIPPED deploy/compose: there is no compose of Docker (apt-get install docker-compose-v2 on Ubuntu)'
    exit $failed
fi

echo "compose.yaml, by $("$compose" version)"
for image in library/postgres prom/prometheus; do
    tag=$(grep -o "docker.io/$image:[^ ]*" "$root/deploy/compose.yaml" | head -n 1)
    pod tag "pgveil-test/${image##*/}" "$tag"
done
# Not by way of the function: what is ended later is podman, not the shell around it.
"${containers_podman[@]}" system service --time 0 "unix://$containers_run/docker.sock" >"$containers_run/service.log" 2>&1 &
service=$!
# Podman leaves the rounds of health checks to systemd's timers.
(while sleep 1; do for container in $(pod ps -q); do pod healthcheck run "$container"; done; done) >/dev/null 2>&1 &
doctor=$!
export DOCKER_HOST=unix://$containers_run/docker.sock
within 'containers can be asked for' test -S "$containers_run/docker.sock"

first=$(free_port) second=$(free_port) prometheus=$(free_port)
limit=$(ulimit -Hn)
cat >"$containers_run/override.yaml" <<FILE
services:
  pgveil-1: { ports: !override ["127.0.0.1:$first:6432"], ulimits: { nofile: $limit, nproc: 4096 } }
  pgveil-2: { ports: !override ["127.0.0.1:$second:6432"], ulimits: { nofile: $limit, nproc: 4096 } }
  prometheus: { ports: !override ["127.0.0.1:$prometheus:9090"] }
FILE
composed() { "$compose" -f "$root/deploy/compose.yaml" -f "$containers_run/override.yaml" "$@"; }
expect 'all but Grafana start' composed up -d --no-build --pull never postgres certificate pgveil-1 pgveil-2 prometheus

ask() { PGPASSWORD=$3 psql -qAtX -v ON_ERROR_STOP=1 "host=127.0.0.1 port=$1 dbname=crm user=$2 sslmode=require" -c "$4"; }
container() { composed ps -q "$1"; }
healthy() { [ "$(pod inspect --format '{{.State.Healthcheck.Status}}' "$(container "$1")")" = healthy ]; }
for instance in 1 2; do
    within "pgveil-$instance is healthy" healthy pgveil-$instance
done
phone() { ask "$1" "$2" "$3" 'SELECT phone FROM crm.contacts WHERE phone IS NOT NULL ORDER BY id LIMIT 1' | grep -xE "$4"; }
expect 'an agent sees masks through the first' phone "$first" crm_agent agent '.*\*{4}.*'
expect 'and through the second' phone "$second" crm_agent agent '.*\*{4}.*'
expect 'the officer sees the number' phone "$first" crm_dpo dpo '[0-9+ -]{8,}'

fact() { grep -E "$1" "/proc/$(pod inspect --format '{{.State.Pid}}' "$(container pgveil-1)")/status"; }
expect 'the process is that of the user 65532' fact '^Uid:.65532.65532.65532'
expect 'without a capability' fact '^CapBnd:.0+$'
expect 'and gets none' fact '^NoNewPrivs:.1'
network() { pod network ls --format '{{.Name}}' | grep "$1"; }
reaches() { pod run --rm --network "$(network "$1")" --entrypoint pg_isready pgveil-test/postgres -t 2 -h postgres; }
expect 'who is on the network of the database reaches it' reaches database
expect 'who is beside the proxies does not' fails reaches front
expect 'no port of it is published' test -z "$(pod port "$(container postgres)")"

targets_up() { curl -sf "http://127.0.0.1:$prometheus/api/v1/query?query=sum(up%7Bjob%3D%22pgveil%22%7D)" | grep -q '"2"'; }
within 'Prometheus has both' targets_up
rules() { [ "$(curl -sf "http://127.0.0.1:$prometheus/api/v1/rules" | grep -o '"health":"ok"' | wc -l)" -gt 20 ]; }
within 'and their rules' rules

requests() { curl -sf "http://127.0.0.1:$prometheus/api/v1/query" --data-urlencode 'query=pgveil_export_requests_pending{instance="pgveil-2:9432"} > 0' | grep '"value"'; }
expect 'nobody asked for an export' fails requests
ask "$first" crm_agent agent 'SELECT * FROM crm.contacts' >/dev/null 2>"$containers_run/stopped"
expect 'an export that the first stops asks for approval' grep -q 'approv' "$containers_run/stopped"
within 'and the second knows the request' requests

kill -9 "$(pod inspect --format '{{.State.Pid}}' "$(container pgveil-1)")"
within 'a killed proxy is there again' ask "$first" crm_agent agent 'SELECT 1'
expect 'its record is whole' pod exec "$(container pgveil-1)" /usr/bin/pgveil audit verify --config /etc/pgveil/pgveil.yaml

two=$(container pgveil-2)
expect 'it ends when it is asked to' composed stop pgveil-2
expect 'in good order' test "$(pod inspect --format '{{.State.ExitCode}}' "$two")" = 0
expect 'all are taken away' composed down --volumes --timeout 20
[ $failed = 0 ] && echo 'all passed'
exit $failed
