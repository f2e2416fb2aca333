#!/bin/sh
# Installs the programs and what belongs to them, or takes them away again; `make install` and `make uninstall` call it.
# Usage: install.sh install|uninstall, with these variables:
#   PROGRAMS    where the programs were built
#   PREFIX      /usr/local, or /usr for a package
#   DESTDIR     in front of all paths, but not inside the files
#   SYSCONFDIR  (/etc, or PREFIX/etc for anybody but root) configuration; what is there already stays, also when uninstalled
#   UNITDIR     (PREFIX/lib/systemd/system) systemd's units
#   ZSHDIR      (PREFIX/share/zsh/site-functions) completions for zsh
set -eu
cd "$(dirname "$0")/.."

action=$1
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
etc=${SYSCONFDIR:-/etc}
if [ -z "${SYSCONFDIR:-}$root" ] && [ "$(id -u)" -ne 0 ]; then etc=$prefix/etc; fi
units=${UNITDIR:-$prefix/lib/systemd/system}
zsh=${ZSHDIR:-$prefix/share/zsh/site-functions}
bash=$prefix/share/bash-completion/completions
fish=$prefix/share/fish/vendor_completions.d
doc=$prefix/share/doc/moe-training
share=$prefix/share/moe-training
programs=${PROGRAMS:-.build/release}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# place MODE FILE PATH: FILE gets installed as PATH, or PATH removed.
place() {
    case $action in
    install) install -D -m "$1" "$2" "$root$3" ;;
    uninstall) rm -f "$root$3" ;;
    esac
}

# generate FILE COMMAND…: what COMMAND writes, when it is needed.
generate() {
    file=$work/$1
    shift
    [ "$action" = uninstall ] || "$@" >"$file"
}

case $action in
install)
    for program in "$programs/moe-coordinator" "$programs/moe-worker" "$programs/moe-ctl" .build/release/manual-pages; do
        [ -x "$program" ] || {
            echo "install: there is no $program; make static comes first, without sudo" >&2
            exit 1
        }
        # Under sudo nobody has looked.
        [ "$programs" != .build/static ] || [ ! ".build/release/${program##*/}" -nt "$program" ] || {
            echo "install: $program is older than what was built; make static comes first, without sudo" >&2
            exit 1
        }
    done
    ;;
uninstall) ;;
*)
    echo "usage: install.sh install|uninstall" >&2
    exit 64
    ;;
esac

# In steps, for a pipeline ends as its last command does, whatever became of the others.
manual() {
    "$programs/$1" --experimental-dump-help >"$work/help"
    .build/release/manual-pages "deploy/man/$1.mdoc" <"$work/help" >"$work/page"
    gzip -9n <"$work/page"
}

# Shells read it, and do not run it.
completion() {
    "$programs/$1" --generate-completion-script "$2" >"$work/script"
    sed '1{/^#!/d;}' "$work/script"
}

# A page whose links lead to where things are when installed; of a link to what is not, its text stays.
page() {
    sed -E '
        s,\]\(docs(/|\)),](./\1,g; s,\]\(\.//,](,g
        s,\]\(\.\./README\.md,](README.md,g
        s,\]\((\.\./)?schemas,](../../moe-training/schemas,g
        s,\]\((\.\./)?deploy/python,](../../moe-training/python,g
        s,\]\((\.\./)?deploy/(config|prometheus|grafana),](examples,g
        s,\]\(\.\./examples,](examples,g
        s,\[([^][]*)\]\((\.\./)?(Sources|Tests|Benchmarks|deploy|CONTRIBUTING\.md|LICENSE|screenshots\.py)[^)]*\),\1,g
    ' "$1"
}

for program in moe-coordinator moe-worker moe-ctl; do
    place 755 "$programs/$program" "$prefix/bin/$program"
    generate "$program.1.gz" manual "$program"
    place 644 "$work/$program.1.gz" "$prefix/share/man/man1/$program.1.gz"
    for shell in bash zsh fish; do generate "$program.$shell" completion "$program" "$shell"; done
    place 644 "$work/$program.bash" "$bash/$program"
    place 644 "$work/$program.zsh" "$zsh/_$program"
    place 644 "$work/$program.fish" "$fish/$program.fish"
done

for unit in deploy/systemd/*; do
    name=$(basename "$unit")
    generate "$name" sed "s,/usr/bin/moe-,$prefix/bin/moe-,; s,/etc/moe/,$etc/moe/,g" "$unit"
    place 644 "$work/$name" "$units/$name"
done

for file in deploy/config/*; do
    name=$(basename "$file")
    place 644 "$file" "$doc/examples/$name"
    # Passwords are not in there, but what is belongs to the administrator.
    if [ "$action" = install ] && [ ! -e "$root$etc/moe/$name" ]; then place 644 "$file" "$etc/moe/$name"; fi
done
place 755 deploy/slurm/moe.sbatch "$doc/examples/moe.sbatch"
place 644 deploy/shakespeare/config.json "$doc/examples/config.json"
for file in deploy/prometheus/*.yml deploy/grafana/*.json; do place 644 "$file" "$doc/examples/$(basename "$file")"; done
for file in examples/*.py; do place 644 "$file" "$doc/examples/$(basename "$file")"; done
for file in docs/*.png docs/*.svg; do place 644 "$file" "$doc/$(basename "$file")"; done
for file in README.md CHANGELOG.md docs/*.md; do
    name=$(basename "$file")
    generate "$name" page "$file"
    place 644 "$work/$name" "$doc/$name"
done
for file in schemas/*; do place 644 "$file" "$share/schemas/$(basename "$file")"; done
for file in deploy/python/*.py; do place 644 "$file" "$share/python/$(basename "$file")"; done

if [ "$action" = uninstall ]; then
    for directory in "$doc/examples" "$doc" "$share/schemas" "$share/python" "$share"; do
        rmdir "$root$directory" 2>/dev/null || true
    done
    [ ! -d "$root$etc/moe" ] || echo "uninstall: $root$etc/moe stays"
fi
