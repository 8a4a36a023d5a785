#!/bin/bash
# Builds the binary that packages and images carry: optimised, without symbols, and the same bytes in whatever folder and on whatever
# day it is built (by the same toolchain and the same packages of the system).
#
#   deploy/release.sh [--out FOLDER]        the default is target/dist
set -eu
cd "$(dirname "$0")/.."
out=target/dist
[ "${1:-}" = --out ] && out=${2:?--out needs a folder}

here=$PWD cargo_home=${CARGO_HOME:-$HOME/.cargo}
# Of the last commit, so that a package made of it is the same whenever it is made.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 CARGO_INCREMENTAL=0
# No path of this machine in messages of panics and in asserts of the C code.
export RUSTFLAGS="--remap-path-prefix=$here=/pgveil --remap-path-prefix=$cargo_home=/cargo"
export CFLAGS="-ffile-prefix-map=$here=/pgveil -ffile-prefix-map=$cargo_home=/cargo -g0"
export CXXFLAGS=$CFLAGS

cargo build --locked --profile dist --bin pgveil
mkdir -p "$out"
built=${CARGO_TARGET_DIR:-target}/dist/pgveil
[ "$built" -ef "$out/pgveil" ] || install -m 755 "$built" "$out/pgveil"
if grep -aqF -e "$here/" -e "$cargo_home/" "$out/pgveil"; then
    echo "$0: paths of this machine are in the binary:" >&2
    grep -aoE "($here|$cargo_home)/[[:print:]]{0,60}" "$out/pgveil" | sort | uniq -c | sort -rn | head >&2
    exit 1
fi
echo "$out/pgveil: $(stat -c %s "$out/pgveil") bytes, SHA-256 $(sha256sum "$out/pgveil" | cut -d ' ' -f 1)"
