# What building and running need, on Debian and Ubuntu: sourced by deploy/demo.sh and tests/run.sh.

say() { printf '\n== %s\n' "$*"; }
fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# ensure PROGRAM-OR-FILE PACKAGE ...: installs the packages of which the program (or the file, a pattern) is missing.
ensure() {
    local missing=()
    while [ $# -gt 0 ]; do
        present "$1" || missing+=("$2")
        shift 2
    done
    if [ ${#missing[@]} = 0 ]; then
        echo 'everything is there'
        return
    fi
    echo "missing: ${missing[*]}"
    command -v apt-get >/dev/null || fail "this is no Debian or Ubuntu; install these packages, or what corresponds to them, and try again: ${missing[*]}"
    install_packages "${missing[@]}"
}

present() {
    case $1 in
        /*) compgen -G "$1" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "neither root nor sudo; run this as root first: apt-get install ${missing[*]}"
    fi
}

# Services of which a package is installed for its program alone. Once for each run, lists of packages are fetched.
UNWANTED_SERVICES=(haproxy nats-server pgbouncer rsyslog)
lists_are_new=

install_packages() {
    local own_cluster=/etc/postgresql-common/createcluster.d/pgveil.conf package status
    # Installing the server would start a cluster on port 5432. Nobody asked for one.
    as_root mkdir -p "$(dirname $own_cluster)"
    echo 'create_main_cluster = false' | as_root tee $own_cluster >/dev/null
    if [ -z "$lists_are_new" ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q || echo 'apt-get update failed; trying with what is known'
        lists_are_new=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    status=$?
    as_root rm -f $own_cluster
    # Of those that were asked for, and so not there before. Tests start their own, on ports of their own.
    if [ -d /run/systemd/system ]; then
        for package in "${UNWANTED_SERVICES[@]}"; do
            case " $* " in *" $package "*) as_root systemctl disable --quiet --now "$package" || echo "$package runs; nothing here needs it" ;; esac
        done
    fi
    [ $status = 0 ] || fail "apt-get could not install: $*"
}

# For pg_query (PostgreSQL's own parser, bound by bindgen) and aws-lc (cryptography).
BUILD_NEEDS=(cc build-essential cmake cmake clang clang '/usr/lib/llvm-*/lib/libclang.so*' libclang-dev)
SERVER_NEEDS=('/usr/lib/postgresql/*/bin/initdb' postgresql psql postgresql-client)

ensure_rust() {
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    if ! command -v cargo >/dev/null; then
        if apt-cache show rustup >/dev/null 2>&1; then
            echo 'installing rustup by apt-get, and with it the stable toolchain'
            missing=(rustup) && install_packages rustup && rustup default stable || fail 'could not install Rust'
        else
            local installer
            ensure curl curl /etc/ssl/certs/ca-certificates.crt ca-certificates
            echo 'installing the stable toolchain into ~/.cargo and ~/.rustup with the installer of https://rustup.rs'
            installer=$(mktemp) && curl -fsSL https://sh.rustup.rs -o "$installer" && sh "$installer" -y --profile minimal && rm -f "$installer" ||
                fail 'could not install Rust; see https://rustup.rs and try again'
            . "$HOME/.cargo/env"
        fi
    fi
    cargo --version
}
