#!/bin/sh
# Runs `make demo` on a clean machine and says how long it took to the first page; `tests/clean-image.sh test`
# runs `make test` there, any other argument that make target.
#
# The machine is a minimal Debian of this one's release with git, make and CA certificates, this machine's Rust
# and its settings of the package registries, and nothing else: no curl, no Python, no C compiler, no crates. It
# sees a clone of HEAD. All mounts live in a namespace of their own and the image is removed at the end. Needs
# root, and debootstrap (apt-get install -y debootstrap).
set -eu
cd "$(dirname "$0")/.."
target=${1:-demo}
. infra/packages.sh
[ "$(id -u)" = 0 ] || { say "mounting needs root: sudo tests/clean-image.sh $target"; exit 1; }
command -v debootstrap >/dev/null 2>&1 || install_packages "for the clean image" debootstrap

image=$(mktemp -d)
job=
stop() {
    trap - EXIT INT TERM
    # unshare ignores softer signals; with it go all processes of the image, and with these its mounts.
    [ -z "$job" ] || { kill -KILL "$job" 2>/dev/null && wait "$job" 2>/dev/null || :; }
    rm -rf --one-file-system "$image"
}
trap stop EXIT
trap 'exit 1' INT TERM

root=$image/root
mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -v security | head -n 1)
[ -n "$mirror" ] || { say "apt knows no mirror; run apt-get update first"; exit 1; }
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
say "making a minimal Debian $suite"
debootstrap --variant=minbase --include=ca-certificates,git,make "$suite" "$root" "$mirror" >"$image/debootstrap.log" 2>&1 ||
    { tail -n 20 "$image/debootstrap.log" >&2; exit 1; }

# Where packages come from, and whom to trust there.
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list \
    /etc/apt/trusted.gpg.d/* /etc/apt/keyrings/* /etc/apt/auth.conf.d/* /etc/apt/apt.conf.d/*proxy* \
    /etc/apt/apt.conf.d/*registry* /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/resolv.conf /etc/hosts \
    "$HOME/.npmrc" "$HOME/.config/pip/pip.conf" "${CARGO_HOME:-$HOME/.cargo}/config.toml"; do
    [ -f "$file" ] || continue
    case $file in "$HOME"/*) to=$root/root${file#"$HOME"} ;; *) to=$root$file ;; esac
    mkdir -p "${to%/*}" && cp "$file" "$to"
done

# Only what says where registries are and whom they are signed by: the rest of the environment is not clean.
settings=$(env | sed -nE 's/^([A-Za-z_]*(CA_BUNDLE|CERT|CAINFO|CERTS|proxy|PROXY)[A-Z_a-z]*|(PIP|CARGO|npm)_[A-Za-z_]*)=.*/\1/p' |
    grep -vx 'CARGO_HOME' || :)
set --
for name in $settings; do set -- "$@" "$name=$(printenv "$name")"; done

mkdir -p "$root/opt/rust"
git clone --quiet --no-hardlinks . "$root/root/etcd-monitor"
sysroot=$(rustc --print sysroot)
log=$image/log
say "make $target, on $(nproc) cores"
started=$(date +%s)
unshare --mount --pid --fork --kill-child sh -euc '
    root=$1 sysroot=$2
    shift 2
    mount --bind "$sysroot" "$root/opt/rust"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    exec chroot "$root" "$@"
' sh "$root" "$sysroot" /usr/bin/env -i "$@" HOME=/root LANG=C.UTF-8 TERM=dumb \
    PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    make -C /root/etcd-monitor "$target" >"$log" 2>&1 &
job=$!

if [ "$target" = demo ]; then
    # The image shares this machine's loopback, so its page is seen from here.
    while kill -0 $job 2>/dev/null; do
        url=$(sed -nE 's/^report: (http:.*)/\1/p' "$log")
        if [ -n "$url" ] && curl --silent --fail "$url" | grep -q demo; then
            say "first page after $(($(date +%s) - started)) s: $url"
            exit 0
        fi
        sleep 1
    done
    cat "$log" >&2
    say "make demo ended before there was a page"
    exit 1
fi
if wait $job; then result=0; else result=$?; fi
tail -n 100 "$log" >&2
say "make $target ended with $result after $(($(date +%s) - started)) s"
exit "$result"
