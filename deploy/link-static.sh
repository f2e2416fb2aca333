#!/bin/sh
# Links the programs that `make build` has compiled once more, with Swift's libraries inside of them, for machines without
# Swift: into OUTPUT. Compiling everything with --static-swift-stdlib would give the same and take minutes; what differs
# is only which libraries the linker takes.
# Usage: link-static.sh OUTPUT
set -eu
cd "$(dirname "$0")/.."

output=$1
plan=.build/release.yaml
# What Foundation's static libraries need; the shared ones know it themselves. curl is FoundationNetworking's, which
# FlyingFox imports.
libraries="-lFoundation -lFoundationInternationalization -lFoundationEssentials -lCoreFoundation -l_FoundationICU
    -l_FoundationCShims -l_FoundationCollections -l_CFURLSessionInterface -lswiftSynchronization -lswiftDispatch -lcurl"

pkg-config --exists libcurl || {
    echo "link-static: curl's development files are missing; on Debian: apt-get install libcurl4-openssl-dev" >&2
    exit 1
}
mkdir -p "$output"
for program in moe-coordinator moe-worker moe-ctl; do
    # The command that swift build links the program with, an argument a line.
    sed -n "/^  \"C\.$program-.*\.exe\":/,/^ *args:/s/^ *args: \[\"\(.*\)\"\]$/\1/p" "$plan" 2>/dev/null |
        sed 's/","/\n/g' >"$output/$program.link"
    [ -s "$output/$program.link" ] || {
        echo "link-static: $plan does not tell how $program is linked; make build comes first" >&2
        exit 1
    }
    set --
    while IFS= read -r argument; do
        case $argument in
        */release/"$program") argument=$output/$program ;;
        esac
        set -- "$@" "$argument"
    done <"$output/$program.link"
    rm "$output/$program.link"
    # Only when something compiled is newer.
    if [ -x "$output/$program" ] && [ ! ".build/release/$program" -nt "$output/$program" ]; then continue; fi
    # shellcheck disable=SC2086 # a word for each library
    "$@" -static-stdlib -Xlinker --as-needed $libraries >"$output/log" 2>&1 || {
        cat "$output/log" >&2
        exit 1
    }
    rm "$output/log"
done
