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

optional=
# want PACKAGE COMMAND…: as need, for what there may be no package of.
want() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || optional="$optional $package"
}

need_packages() {
    missing='' optional=''
    need 'git ca-certificates' command -v git
    need pkg-config command -v pkg-config
    need libopenmpi-dev pkg-config --exists ompi-c
    need openmpi-bin command -v mpirun
    need libopenblas-dev pkg-config --exists openblas
    want libdnnl-dev sh -c 'PATH=$PATH:/sbin; ldconfig -p | grep -q libdnnl\.so'
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

# apt PACKAGE…: whether apt installed them; what it said is in $log.
apt() {
    # Packages must not start their services, now or at the next boot: tests have their own
    # (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt). dash runs no EXIT trap when a signal ends it; what a
    # run left that had no time for it names a process that is no more.
    # shellcheck disable=SC2016 # the other shell's
    $as_root sh -c '
        policy=/usr/sbin/policy-rc.d
        owner=$(sed -n "s/^# Setup of moe, process //p" $policy 2>/dev/null)
        [ -z "$owner" ] || kill -0 "$owner" 2>/dev/null || rm -f $policy
        if [ ! -e $policy ]; then
            trap "rm -f $policy" EXIT
            trap "exit 129" HUP
            trap "exit 130" INT
            trap "exit 143" TERM
            printf "#!/bin/sh\n# Setup of moe, process %s\nexit 101\n" $$ >$policy
            chmod 755 $policy
        fi
        new=
        for service in munge prometheus slurmctld slurmd; do
            [ -e /lib/systemd/system/$service.service ] || new="$new $service"
        done
        export DEBIAN_FRONTEND=noninteractive
        status=0
        { apt-get update -q && apt-get install -qy --no-install-recommends "$@"; } || status=$?
        for service in $new; do
            if [ -e /lib/systemd/system/$service.service ]; then systemctl disable $service || true; fi
        done
        exit $status' \
        apt "$@" >"$log" 2>&1
}

install() {
    obstacle=
    as_root=
    if ! command -v apt-get >/dev/null; then
        obstacle="there is no apt-get to install what is missing with; install the equivalents of:"
    elif [ "$(id -u)" -ne 0 ]; then
        as_root=sudo
        command -v sudo >/dev/null ||
            obstacle="not root, and no sudo: have an administrator run apt-get install"
    fi
    if [ -n "$obstacle" ]; then
        [ -z "$missing" ] || fail "$obstacle$missing"
        return
    fi
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # shellcheck disable=SC2086 # one word for each package
    if [ -n "$missing" ]; then
        echo "setup: installing$missing"
        apt $missing || {
            cat "$log" >&2
            fail "apt-get could not install$missing; see above"
        }
    fi
    # Without lists, as where nothing was installed yet, apt-cache knows of no package.
    if [ -n "$optional" ] && [ -z "$missing" ] && ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
        apt || tail -n 1 "$log" >&2
    fi
    for package in $optional; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            echo "setup: installing $package"
            apt "$package" || tail -n 1 "$log" >&2
        fi
    done
}

require_swift
need_packages "${1-}"
if [ -n "$missing$optional" ]; then
    install
    need_packages "${1-}"
    [ -z "$missing" ] || fail "still missing after apt-get install:$missing"
    [ -z "$optional" ] || echo "setup: going on without$optional, which is optional" >&2
fi
