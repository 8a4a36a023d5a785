#!/bin/bash
# Shows pgveil at work on a fresh Debian or Ubuntu machine: installs what is missing, builds, then runs `pgveil demo`,
# which starts a private PostgreSQL with a CRM in a temporary directory, pgveil in front of it, and gives a tour.
#
#   deploy/demo.sh [--release] [--bin PATH] [options of `pgveil demo`: --once, --port N, --keep, ...]
#
# --release builds with all optimisations (slower to build); --bin takes a binary that is there and builds nothing.
# Needs root or sudo only where something has to be installed. No PostgreSQL that is already running is touched.
set -u
cd "$(dirname "$0")/.." || exit 1
. deploy/packages.sh

bin='' profile=dev demo_args=()
while [ $# -gt 0 ]; do
    case $1 in
        --release) profile=release ;;
        --bin) bin=${2:?--bin needs a path}; shift ;;
        -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) demo_args+=("$1") ;;
    esac
    shift
done

say 'PostgreSQL, for the demo to start one of its own'
ensure "${SERVER_NEEDS[@]}"

if [ -z "$bin" ]; then
    say 'What the build needs'
    ensure "${BUILD_NEEDS[@]}"
    ensure_rust
    say "Building pgveil (profile $profile; the first time takes about ten minutes on two cores)"
    cargo build --locked --bin pgveil --profile $profile || fail "the build failed; if the toolchain is too old: rustup update stable"
    bin=target/$([ $profile = release ] && echo release || echo debug)/pgveil
fi

say "$bin demo ${demo_args[*]:-}"
exec "$bin" demo ${demo_args[@]+"${demo_args[@]}"}
