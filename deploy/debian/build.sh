#!/bin/sh
# Makes a Debian package of programs that are built: OUTPUT/moe-training_VERSION_ARCHITECTURE.deb, and writes its name.
# Usage: build.sh OUTPUT, with PROGRAMS: where they were built.
set -eu
cd "$(dirname "$0")/../.."

output=$1
programs=${PROGRAMS:-.build/release}
for tool in dpkg-deb dpkg-shlibdeps strip; do
    command -v "$tool" >/dev/null || {
        echo "deb: there is no $tool; on Debian: apt-get install dpkg-dev binutils" >&2
        exit 1
    }
done

# Whoever builds it, and whatever umask he has.
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
doc=$tree/usr/share/doc/moe-training
mkdir -p "$tree/DEBIAN" "$work/debian"

PROGRAMS=$programs PREFIX=/usr UNITDIR=/lib/systemd/system ZSHDIR=/usr/share/zsh/vendor-completions DESTDIR=$tree \
    sh deploy/install.sh install
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$tree"/usr/bin/*

version=$("$programs/moe-coordinator" --version)
date=$(date -u -R -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")
maintainer=$(sed -n 's/^Maintainer: //p' deploy/debian/control)
mv "$doc/CHANGELOG.md" "$work/changelog"
gzip -9n <"$work/changelog" >"$doc/changelog.gz"
sed -i 's/(CHANGELOG\.md)/(changelog.gz)/' "$doc/README.md"
printf 'moe-training (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
    "$version-1" "$maintainer" "$date" | gzip -9n >"$doc/changelog.Debian.gz"
cp deploy/debian/copyright "$doc/copyright"
mkdir -p "$tree/usr/share/lintian/overrides"
cp deploy/debian/lintian-overrides "$tree/usr/share/lintian/overrides/moe-training"

architecture=$(dpkg --print-architecture)
sed -n '/^Package:/,$p' deploy/debian/control >"$work/stanza"
cp deploy/debian/control "$work/debian/control"
(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info tree/usr/bin/* >libraries 2>warnings) || {
    cat "$work/warnings" >&2
    exit 1
}
libraries=$(sed -n 's/^shlibs:Depends=//p' "$work/libraries")
{
    sed -n 's/^Package:/&/p' "$work/stanza"
    echo "Version: $version-1"
    echo "Architecture: $architecture"
    echo "Maintainer: $maintainer"
    echo "Installed-Size: $(du -k -s "$tree" | cut -f 1)"
    sed -n '/^Section:/p; /^Priority:/p' deploy/debian/control
    sed -e '/^Package:/d; /^Architecture:/d' -e "s/\${shlibs:Depends}/$libraries/" "$work/stanza"
} >"$tree/DEBIAN/control"
(cd "$tree" && find etc -type f | sed 's,^,/,' | sort) >"$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "deploy/debian/$script" "$tree/DEBIAN/$script"; done
(cd "$tree" && find usr lib -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"

mkdir -p "$output"
package=$output/moe-training_$version-1_$architecture.deb
dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
echo "$package"
