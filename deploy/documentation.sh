#!/bin/sh
# Makes the library's documentation with DocC from what is built already. Started by `make docs`.
# Usage: documentation.sh MODULES DIRECTORY: folder of the built modules, folder for the pages.
set -eu
modules=$1
pages=$2
cd "$(dirname "$0")/.."

graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
# What the C modules of the numerics include.
flags=$(pkg-config --cflags openblas)
for module in ExpertParallelism ExpertPlacement Layers MessagePassing Tensors Randomness; do
    # shellcheck disable=SC2086 # several flags
    swift symbolgraph-extract -module-name "$module" -target "$(uname -m)-unknown-linux-gnu" -minimum-access-level public \
        -I "$modules" -I Sources/COpenBLAS -I Sources/CVectors -Xcc -ISources/COpenBLAS $flags -output-dir "$graphs" \
        -skip-inherited-docs -skip-synthesized-members
done
said=$graphs/said
docc convert Sources/ExpertParallelism/ExpertParallelism.docc --additional-symbol-graph-dir "$graphs" \
    --fallback-display-name ExpertParallelism --fallback-bundle-identifier ExpertParallelism --output-dir "$pages" >"$said" 2>&1 || {
    cat "$said" >&2
    exit 1
}
# Parameters whose names say it all have no comment; any other warning, such as of a link that leads nowhere, is an error.
if grep '^warning: ' "$said" | grep -qv 'is missing documentation$'; then
    grep -A 8 '^warning: ' "$said" >&2
    exit 1
fi
echo "documentation: $pages"
