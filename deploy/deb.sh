#!/bin/bash
# Makes the Debian package of a binary that is there (deploy/release.sh builds it). The same input gives the same bytes.
#
#   deploy/deb.sh [--binary target/dist/pgveil] [--out target/dist] [--version VERSION] [--quick]
#
# --quick does not compress (for tests).
set -eu
cd "$(dirname "$0")/.."
binary=target/dist/pgveil out=target/dist version= compression=xz
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=${2:?}; shift ;;
        --out) out=${2:?}; shift ;;
        --version) version=${2:?}; shift ;;
        --quick) compression=none ;;
        *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
[ -x "$binary" ] || { echo "$0: no $binary; run deploy/release.sh first" >&2; exit 1; }
version=${version:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)-1}
architecture=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root doc=$work/root/usr/share/doc/pgveil
put() { install -D -m "$1" "$2" "$root/$3"; }
put 755 "$binary" usr/bin/pgveil
put 644 deploy/debian/pgveil.service usr/lib/systemd/system/pgveil.service
put 640 deploy/debian/pgveil.yaml etc/pgveil/pgveil.yaml
chmod 644 "$root/etc/pgveil/pgveil.yaml"
put 644 deploy/debian/policy.yaml etc/pgveil/policies/policy.yaml
put 640 deploy/debian/environment etc/pgveil/environment

mkdir -p "$root/usr/share/man/man1"
"$binary" man --out "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*
for shell in bash zsh fish; do "$binary" completions $shell >"$work/$shell"; done
put 644 "$work/bash" usr/share/bash-completion/completions/pgveil
put 644 "$work/zsh" usr/share/zsh/vendor-completions/_pgveil
put 644 "$work/fish" usr/share/fish/vendor_completions.d/pgveil.fish

mkdir -p "$doc/examples"
printf 'pgveil %s\n\nLicense: Apache-2.0\nOn Debian systems its text is in /usr/share/common-licenses/Apache-2.0.\n' "$version" >"$doc/copyright"
for file in README.md SECURITY.md docs/operations.md; do [ -e "$file" ] && gzip -9nc "$file" >"$doc/$(basename "$file").gz"; done
cp deploy/pgveil.yaml deploy/sql/*.sql deploy/audit-record.schema.json "$doc/examples"
cp policies/crm.yaml "$doc/examples/policy.yaml"
cp -r deploy/prometheus deploy/grafana "$doc/examples"
rm -rf "$doc"/examples/grafana/__pycache__

# What the binary is linked to, as the packages are called here.
mkdir -p "$work/debian"
printf 'Source: pgveil\n\nPackage: pgveil\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O -e root/usr/bin/pgveil 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<EOF
Package: pgveil
Version: $version
Architecture: $architecture
Maintainer: The pgveil authors <pgveil@localhost>
Installed-Size: $(du -sk "$root" | cut -f 1)
Depends: ${depends:-libc6}, passwd
Recommends: ca-certificates
Suggests: postgresql-client, prometheus
Section: database
Priority: optional
Description: transparent PostgreSQL proxy that masks, gates exports and records
 It stands between an application and PostgreSQL, shows each role its own view of
 the data, stops exports until people have signed for them, and puts every
 statement on a tamper-evident record before the client gets its result.
EOF
(cd "$root" && find etc -type f | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 deploy/debian/$script "$root/DEBIAN/$script"; done
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch -hd "@$SOURCE_DATE_EPOCH"

mkdir -p "$out"
package=$out/pgveil_${version}_$architecture.deb
dpkg-deb --root-owner-group -Z$compression --build "$root" "$package" >/dev/null
echo "$package: $(stat -c %s "$package") bytes"
