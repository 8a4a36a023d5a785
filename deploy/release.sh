#!/bin/bash
# Builds the binary that packages and images carry: optimised, without symbols, and without a path, name or date of where and when it
# was built: the same bytes from any folder (tests/deploy/reproducible.sh).
#
#   deploy/release.sh [--out FOLDER]        the default is target/dist
set -eu
cd -P "$(dirname "$0")/.."
out=target/dist
[ "${1:-}" = --out ] && out=${2:?--out needs a folder}

here=$PWD cargo_home=${CARGO_HOME:-$HOME/.cargo} target=${CARGO_TARGET_DIR:-$PWD/target}
case $target in /*) ;; *) target=$here/$target ;; esac
case "$here$cargo_home$target" in *[[:space:]]*) echo "$0: flags of compilers cannot name a path with a space" >&2; exit 1 ;; esac
# C code that says when it was compiled (__TIME__, mimalloc's options.c) goes by this.
export SOURCE_DATE_EPOCH=0 LC_ALL=C.UTF-8 CARGO_INCREMENTAL=0
unset CARGO_BUILD_RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

# No path of this machine in messages of panics and in asserts of the C code. Of several that fit, rustc and the C compilers take
# the last. A mirror of the registry has a folder of its own name, which says nothing about what is in it.
cargo fetch --locked --quiet --target "$(rustc -vV | sed -n 's/^host: //p')"
maps=("$here=/pgveil" "$target=/pgveil/target" "$cargo_home=/cargo" "$(rustc --print sysroot)=/rust")
for registry in "$cargo_home"/registry/src/*/; do
    # rustc goes by the place that a link leads to, too.
    maps+=("${registry%/}=/cargo/registry" "$(realpath "$registry")=/cargo/registry")
done
# cargo leaves flags that remap paths out of the hashes that name files and symbols.
export RUSTFLAGS="${maps[*]/#/--remap-path-prefix=}" CFLAGS="-g0 ${maps[*]/#/-ffile-prefix-map=}"
export CXXFLAGS=$CFLAGS

cargo build --locked --profile dist --bin pgveil
mkdir -p "$out"
built=$target/dist/pgveil
[ "$built" -ef "$out/pgveil" ] || install -m 755 "$built" "$out/pgveil"
# The folder itself may have a name that is in every path, such as /src.
if grep -aqF -e "$here/src/" -e "$target/" -e "$cargo_home/" "$out/pgveil"; then
    echo "$0: paths of this machine are in the binary:" >&2
    grep -aoE "($here/src|$target|$cargo_home)/[[:print:]]{0,60}" "$out/pgveil" | sort | uniq -c | sort -rn | head >&2
    exit 1
fi
echo "$out/pgveil: $(stat -c %s "$out/pgveil") bytes, SHA-256 $(sha256sum "$out/pgveil" | cut -d ' ' -f 1)"
