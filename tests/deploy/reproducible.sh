#!/bin/bash
# deploy/release.sh makes the same bytes of the same sources: built from this folder, and from a copy of it that has another path,
# another target folder, another home of cargo, no git and another date. Both builds begin with nothing.
#
#   tests/deploy/reproducible.sh            half an hour of two idle cores; leaves target/reproducible/pgveil
set -eu
cd "$(dirname "$0")/../.."
kept=$PWD/target/reproducible
work=$(mktemp -d "${TMPDIR:-/tmp}/pgveil-reproducible-elsewhere.XXXXXX")
trap 'rm -rf "$work" "$kept/target"' EXIT
rm -rf "$kept"
mkdir -p "$kept" "$work/checkout" "$work/cargo"

# Files that git knows, as they are now.
git ls-files -z | tar --null --files-from - --create | tar -x -C "$work/checkout"
cargo fetch --locked --quiet # once, for the two would unpack into each other's way
home=${CARGO_HOME:-$HOME/.cargo}
for part in registry config.toml; do [ ! -e "$home/$part" ] || ln -s "$home/$part" "$work/cargo/$part"; done
elsewhere() {
    cd "$work/checkout"
    SOURCE_DATE_EPOCH=86400 CARGO_HOME=$work/cargo CARGO_TARGET_DIR=$work/target deploy/release.sh --out "$work/out"
}

# At the same time, for the last and longest part of each keeps one core only.
elsewhere >"$kept/elsewhere.log" 2>&1 &
second=$!
first_failed=0 second_failed=0
CARGO_TARGET_DIR=$kept/target deploy/release.sh --out "$kept" >"$kept/here.log" 2>&1 || first_failed=1
wait $second || second_failed=1
tail -n 3 "$kept/here.log" "$kept/elsewhere.log"
[ $first_failed$second_failed = 00 ] || { echo 'FAILED: a build'; exit 1; }

if ! cmp "$kept/pgveil" "$work/out/pgveil"; then
    cp "$work/out/pgveil" "$kept/pgveil-elsewhere"
    echo "FAILED: the bytes differ: $kept/pgveil, $kept/pgveil-elsewhere"
    for name in pgveil pgveil-elsewhere; do strings -n 6 "$kept/$name" | sort >"$kept/$name.strings"; done
    diff "$kept/pgveil.strings" "$kept/pgveil-elsewhere.strings" | cut -c 1-200 | head -n 20
    exit 1
fi

# What a build must not say: where, who and when.
if strings -n 6 "$kept/pgveil" | grep -E "/home/|/root/|$PWD|$work|$(uname -n)/" | head -n 5 | grep .; then
    echo 'FAILED: a place of this machine is in the binary'
    exit 1
fi
if readelf -SW "$kept/pgveil" | grep -E ' \.(symtab|debug_[a-z]+) '; then
    echo 'FAILED: symbols were left'
    exit 1
fi
size=$(stat -c %s "$kept/pgveil")
echo "ok: $((size / 1048576)) MiB, SHA-256 $(sha256sum "$kept/pgveil" | cut -d ' ' -f 1) from both folders"
