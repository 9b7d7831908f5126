# Sourced by the scripts that install Debian packages.

say() { printf '%s\n' "etcd-monitor: $*" >&2; }

# install_packages WHY PACKAGE...: installs the packages, or says which command would and stops.
install_packages() {
    why=$1
    shift
    [ $# -gt 0 ] || return 0
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    if ! command -v apt-get >/dev/null 2>&1; then
        say "missing $why: $*"
        say "these are Debian's package names; install what your system calls them, then run this again"
        exit 1
    fi
    if [ -n "$sudo" ] && ! command -v sudo >/dev/null 2>&1; then
        say "missing $why: $*"
        say "as root, run: apt-get install -y --no-install-recommends $*"
        exit 1
    fi
    say "installing $why: $*"
    log=$(mktemp)
    # A policy that refuses starts keeps Debian from running an etcd or Prometheus of its own.
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null && $sudo chmod +x $policy && made=1
    fi
    if ! { $sudo apt-get update -qq &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1; then
        [ -z "$made" ] || $sudo rm -f $policy
        tail -n 20 "$log" >&2
        say "could not install $why: $*"
        exit 1
    fi
    [ -z "$made" ] || $sudo rm -f $policy
    rm -f "$log"
}
