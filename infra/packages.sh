# Sourced by the scripts that install packages: Debian's are installed, others named with the command that gets them.

say() { printf '%s\n' "etcd-monitor: $*" >&2; }

has() { command -v "$1" >/dev/null 2>&1; }

# install_packages WHY PACKAGE...: installs Debian packages, or says which command would and stops.
install_packages() {
    why=$1
    shift
    [ $# -gt 0 ] || return 0
    if ! has apt-get; then
        say "missing $why: $*"
        elsewhere "$@"
        exit 1
    fi
    sudo=
    if [ "$(id -u)" != 0 ]; then
        sudo=sudo
        if ! has sudo; then
            say "missing $why: $*"
            say "as root, run: apt-get update && apt-get install -y --no-install-recommends $*"
            exit 1
        fi
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
        rm -f "$log"
        say "could not install $why: $*"
        say "apt-get says why above; this is what it ran: ${sudo:+$sudo }apt-get install -y --no-install-recommends $*"
        exit 1
    fi
    [ -z "$made" ] || $sudo rm -f $policy
    rm -f "$log"
}

# elsewhere PACKAGE...: the command that gets what these Debian packages hold, on systems without apt-get.
elsewhere() {
    if has dnf; then install="dnf install -y" column=2
    elif has apk; then install="apk add" column=3
    elif has pacman; then install="pacman -S --needed" column=4
    elif has brew; then install="brew install" column=5
    else
        say "these are Debian's package names; install what your system calls them, then run this again"
        return
    fi
    names=
    for package in "$@"; do
        # Debian, Fedora, Alpine, Arch, Homebrew; "-" is part of another package or of the system.
        name=$(awk -v package="$package" -v column=$column '$1 == package { print $column; exit }' <<'TABLE'
gcc                gcc                gcc           gcc       gcc
libc6-dev          glibc-devel        musl-dev      -         -
protobuf-compiler  protobuf-compiler  protobuf-dev  protobuf  protobuf
libprotobuf-dev    protobuf-devel     protobuf-dev  protobuf  protobuf
etcd-server        etcd               etcd          etcd      etcd
python3-minimal    python3            python3       python    python3
TABLE
        )
        [ "$name" = - ] || case " $names " in *" ${name:-$package} "*) ;; *) names="$names ${name:-$package}" ;; esac
    done
    say "run: $install$names"
}
