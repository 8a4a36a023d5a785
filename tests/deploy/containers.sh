#!/bin/bash
# What images are made of where no registry of images is within reach, and a place for containers of its own. Sourced; needs root,
# podman, runc and debootstrap. Nothing of it is among the images, containers and networks that this machine has.
#
#   containers_begin FOLDER      a store below FOLDER (kept: the base images are in it), to be ended by containers_end
#   pod ...                      podman over it
#   base_build NAME              an image that stands for docker.io/library/rust: Debian, compilers, and this machine's toolchain
#   base_runtime NAME            one that stands for distroless/cc: libraries of C, authorities, users, and no shell
#   base_postgres NAME           one that stands for docker.io/library/postgres: Debian's server, with variables and folder of that one
#   base_prometheus NAME         one that stands for docker.io/prom/prometheus
# Each of them is of the distribution that this machine has its packages from.

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
containers_store='' containers_run='' containers_limits=() containers_podman=()

containers_begin() {
    local files processes
    containers_store=$1/storage containers_run=$(mktemp -d "${TMPDIR:-/tmp}/pgveil-containers.XXXXXX")
    mkdir -p "$containers_store" "$containers_run/networks"
    # Containers and places of another time; images stand elsewhere.
    rm -rf "$containers_store/libpod"
    # A root that is itself in a container may not go beyond its own limits, and podman lowers some before it asks.
    files=$(ulimit -Hn) processes=$(ulimit -Hu)
    [ "$files" = unlimited ] && files=1048576
    [ "$processes" = unlimited ] || [ "$processes" -gt 8192 ] && processes=8192
    containers_limits=(--ulimit "nofile=$files:$files" --ulimit "nproc=$processes:$processes")
    cat >"$containers_run/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=$processes:$processes"]
[engine]
# crun knows no machine that has both kinds of cgroups.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
    export CONTAINERS_CONF=$containers_run/containers.conf
    containers_podman=(podman --root "$containers_store" --runroot "$containers_run/run" --network-config-dir "$containers_run/networks" --log-level error)
}

pod() { "${containers_podman[@]}" "$@"; }

containers_end() {
    [ -n "$containers_run" ] || return
    pod rm --all --force --time 0 --volumes >/dev/null 2>&1
    pod volume rm --all --force >/dev/null 2>&1
    pod network prune --force >/dev/null 2>&1
    umount "$containers_store/overlay" 2>/dev/null
    rm -rf "$containers_run"
    containers_run=
}

# made NAME: whether the image is there; says so.
made() { pod image exists "$1" && echo "$1 is there"; }

# base_debian NAME [PACKAGE ...]: a system without anything that is not needed, and these.
base_debian() {
    local name=$1
    shift
    made "$name" && return
    if ! pod image exists pgveil-test/debian; then
        debian_root "$containers_run/debian" ca-certificates || return
        tar -C "$containers_run/debian" -c . | pod import -q - pgveil-test/debian >/dev/null || return
        rm -rf "$containers_run/debian"
    fi
    context "$name" <<FILE
FROM pgveil-test/debian
ENV DEBIAN_FRONTEND=noninteractive
RUN mkdir -p /etc/postgresql-common/createcluster.d && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/none.conf \\
    && apt-get update && apt-get install -y --no-install-recommends $*
FILE
}

# context NAME [FILE ...]: builds an image of a Dockerfile on standard input, with these files beside it.
context() {
    local name=$1 folder
    shift
    folder=$(mktemp -d "$containers_run/context.XXXXXX")
    cat >"$folder/Dockerfile"
    [ $# = 0 ] || cp -a "$@" "$folder/"
    pod build -q --network host "${containers_limits[@]}" -t "$name" "$folder" >"$containers_run/build.log" 2>&1 || { tail -20 "$containers_run/build.log" >&2; return 1; }
    rm -rf "$folder"
    echo "$name was made"
}

base_build() {
    made "$1" && return
    base_debian pgveil-test/compilers build-essential curl git || return
    # Hard links: the toolchain is large.
    local folder=$containers_run/toolchain sysroot
    sysroot=$(rustc --print sysroot) || return
    mkdir "$folder"
    cp -a "$sysroot/bin" "$sysroot/lib" "$folder/" || return
    rm -rf "$folder/lib/rustlib/src" "$folder/share"
    # A network that looks into TLS has an authority of its own.
    context "$1" "$folder" /etc/ssl/certs/ca-certificates.crt <<'FILE'
FROM pgveil-test/compilers
COPY toolchain /usr/local/
COPY ca-certificates.crt /usr/local/share/authorities.crt
ENV CARGO_HOME=/usr/local/cargo CARGO_HTTP_CAINFO=/usr/local/share/authorities.crt
FILE
    rm -rf "$folder"
}

base_runtime() {
    made "$1" && return
    local folder=$containers_run/runtime package
    mkdir -p "$folder/root" "$folder/packages"
    (cd "$folder/packages" && apt-get download -q base-files netbase tzdata libc6 libgcc-s1 libgomp1 libstdc++6) >/dev/null 2>&1 || return
    for package in "$folder"/packages/*.deb; do dpkg-deb -x "$package" "$folder/root" || return; done
    mkdir -p "$folder/root/etc/ssl/certs" "$folder/root/home/nonroot" "$folder/root/tmp"
    chmod 1777 "$folder/root/tmp"
    chown 65532:65532 "$folder/root/home/nonroot"
    cp /etc/ssl/certs/ca-certificates.crt "$folder/root/etc/ssl/certs/"
    printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$folder/root/etc/passwd"
    printf '%s\n' 'root:x:0:' 'nobody:x:65534:' 'nonroot:x:65532:' >"$folder/root/etc/group"
    tar -C "$folder/root" -c . | pod import -q --change USER=65532 --change WORKDIR=/home/nonroot --change ENV=SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt - "$1" >/dev/null || return
    rm -rf "$folder"
    echo "$1 was made"
}

base_postgres() {
    made "$1" && return
    base_debian pgveil-test/postgresql postgresql openssl || return
    cat >"$containers_run/entrypoint" <<'FILE'
#!/bin/bash
# What compose.yaml uses of the entry point of docker.io/library/postgres: POSTGRES_PASSWORD, POSTGRES_DB and the folder of scripts.
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
data=/var/lib/postgresql/data
as_server() { runuser -u postgres -- env PATH="$PATH" "$@"; }
chown postgres "$data"
chmod 700 "$data"
if [ ! -s "$data/PG_VERSION" ]; then
    as_server initdb -D "$data" -U postgres -E UTF8 --locale=C.UTF-8 --no-sync --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
    as_server pg_ctl -D "$data" -s -w -o '-c listen_addresses=' start
    as_server psql -qX -v ON_ERROR_STOP=1 -d postgres -c "ALTER ROLE postgres PASSWORD '$POSTGRES_PASSWORD'" -c "CREATE DATABASE \"$POSTGRES_DB\""
    for script in /docker-entrypoint-initdb.d/*.sql; do as_server psql -qX -v ON_ERROR_STOP=1 -d "$POSTGRES_DB" <"$script"; done
    as_server pg_ctl -D "$data" -s -w -m fast stop
fi
exec runuser -u postgres -- env PATH="$PATH" postgres -D "$data" -c listen_addresses='*'
FILE
    chmod 755 "$containers_run/entrypoint"
    context "$1" "$containers_run/entrypoint" <<'FILE'
FROM pgveil-test/postgresql
COPY entrypoint /usr/local/bin/entrypoint
RUN ln -s /usr/lib/postgresql/*/bin/pg_isready /usr/local/bin/ && mkdir -p /var/lib/postgresql/data /docker-entrypoint-initdb.d
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["/usr/local/bin/entrypoint"]
FILE
}

base_prometheus() {
    made "$1" && return
    base_debian pgveil-test/prometheus-package prometheus || return
    context "$1" <<'FILE'
FROM pgveil-test/prometheus-package
RUN mkdir -p /prometheus && chown nobody:nogroup /prometheus
USER nobody
VOLUME /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
FILE
}
