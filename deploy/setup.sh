#!/bin/sh
# Installs what is missing for a build, with apt, and says so in one line.
# Usage: setup.sh [text | package | test | bench]: also what fetching the training text, packages, the tests, or the
# benchmarks, need.
set -eu

fail() {
    echo "setup: $*" >&2
    exit 1
}

require_swift() {
    command -v swift >/dev/null ||
        fail "Swift 6.3 is missing: install it from https://www.swift.org/install/linux and put it on the PATH"
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    major=${version%%.*}
    minor=${version#*.}
    [ "${major:-0}" -gt 6 ] || { [ "${major:-0}" -eq 6 ] && [ "${minor:-0}" -ge 3 ]; } ||
        fail "Swift 6.3 or newer is needed, $(command -v swift) is ${version:-of no known version}:" \
            "install it from https://www.swift.org/install/linux"
    # The compiler can be there without the libraries that the package manager needs.
    swift build --version >/dev/null 2>&1 ||
        fail "swift build does not start ($(swift build --version 2>&1 | tail -n 1));" \
            "install what https://www.swift.org/install/linux lists for this system"
}

missing=
# need PACKAGES COMMAND…: PACKAGES are missing when COMMAND fails.
need() {
    packages=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $packages"
}

need_packages() {
    missing=
    need 'git ca-certificates' command -v git
    need pkg-config command -v pkg-config
    need libopenmpi-dev pkg-config --exists ompi-c
    need openmpi-bin sh -c 'command -v mpirun && command -v ompi-server'
    need libopenblas-dev pkg-config --exists openblas
    need libdnnl-dev sh -c 'PATH=$PATH:/sbin; ldconfig -p | grep -q libdnnl\.so'
    need libsqlite3-dev pkg-config --exists sqlite3
    case ${1-} in
    package | test)
        # The static Foundation wants curl; packages are made with the rest.
        need libcurl4-openssl-dev pkg-config --exists libcurl
        need dpkg-dev command -v dpkg-shlibdeps
        need binutils command -v strip
        ;;
    esac
    case ${1-} in
    test)
        # A cluster on this machine, a machine in this one, and checks of what gets installed.
        need 'slurm-wlm munge' sh -c 'PATH=$PATH:/usr/sbin; command -v slurmctld && command -v slurmd && command -v munged'
        need systemd test -x /lib/systemd/systemd
        # promtool, and a Prometheus that reads what the coordinator tells.
        need prometheus sh -c 'command -v prometheus && command -v promtool'
        need lintian command -v lintian
        need mandoc command -v mandoc
        need bsdextrautils command -v col
        need adduser command -v adduser
        # The dashboard is looked at in a browser.
        need chromium test -x /usr/bin/chromium
        # Terminals for what fills them.
        need tmux command -v tmux
        ;;
    esac
    case ${1-} in
    text) need python3-pip python3 -m pip --version ;;
    test | bench) need python3-venv python3 -c 'import ensurepip, venv' ;;
    esac
}

install() {
    command -v apt-get >/dev/null ||
        fail "there is no apt-get to install what is missing with; install the equivalents of:$missing"
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "not root, and no sudo: have an administrator run apt-get install$missing"
        as_root=sudo
    fi
    echo "setup: installing$missing"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # Packages must not start their services: tests have their own (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt).
    # shellcheck disable=SC2086,SC2016 # no command when root; one word for each package
    $as_root sh -c '
        policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then
            trap "rm -f $policy" EXIT
            printf "#!/bin/sh\nexit 101\n" >$policy
            chmod 755 $policy
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q && apt-get install -qy --no-install-recommends "$@"' \
        apt $missing >"$log" 2>&1 || {
        cat "$log" >&2
        fail "apt-get could not install$missing; see above"
    }
}

require_swift
need_packages "${1-}"
if [ -n "$missing" ]; then
    install
    need_packages "${1-}"
    [ -z "$missing" ] || fail "still missing after apt-get install:$missing"
fi
