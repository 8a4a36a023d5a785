#!/bin/bash
# deploy/release.sh makes the same bytes of the same sources: built from two copies of this folder, of which one has another path,
# another target folder, another home of cargo and another date. Both builds begin with nothing, and both copies are made at once:
# whoever goes on working in this folder meanwhile changes neither.
#
#   tests/deploy/reproducible.sh            half an hour of two idle cores; leaves target/reproducible/pgveil
set -eu
cd "$(dirname "$0")/../.."
kept=$PWD/target/reproducible
work=$(mktemp -d "${TMPDIR:-/tmp}/pgveil-reproducible-elsewhere.XXXXXX")
trap 'rm -rf "$work" "$kept/target" "$kept/checkout"' EXIT
rm -rf "$kept"
mkdir -p "$kept/checkout" "$work/checkout" "$work/cargo"

# Files that git knows, as they are now.
git ls-files -z | tar --null --files-from - --create >"$work/sources.tar"
for copy in "$kept/checkout" "$work/checkout"; do tar -x -f "$work/sources.tar" -C "$copy"; done
cargo fetch --locked --quiet # once, for the two would unpack into each other's way
home=${CARGO_HOME:-$HOME/.cargo}
for part in registry config.toml; do [ ! -e "$home/$part" ] || ln -s "$home/$part" "$work/cargo/$part"; done
elsewhere() {
    cd "$work/checkout"
    SOURCE_DATE_EPOCH=86400 CARGO_HOME=$work/cargo CARGO_TARGET_DIR=$work/target deploy/release.sh --out "$work/out"
}

here() {
    cd "$kept/checkout"
    CARGO_TARGET_DIR=$kept/target deploy/release.sh --out "$kept"
}

# At the same time, for the last and longest part of each keeps one core only.
elsewhere >"$kept/elsewhere.log" 2>&1 &
second=$!
first_failed=0 second_failed=0
(here) >"$kept/here.log" 2>&1 || first_failed=1
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
if strings -n 6 "$kept/pgveil" | grep -E "/home/|/root/|$PWD|$work|@$(uname -n)" | head -n 5 | grep .; then
    echo 'FAILED: a place of this machine is in the binary'
    exit 1
fi
if readelf -SW "$kept/pgveil" | grep -E ' \.(symtab|debug_[a-z]+) '; then
    echo 'FAILED: symbols were left'
    exit 1
fi
size=$(stat -c %s "$kept/pgveil")
echo "ok: $((size / 1048576)) MiB, SHA-256 $(sha256sum "$kept/pgveil" | cut -d ' ' -f 1) from both folders"
