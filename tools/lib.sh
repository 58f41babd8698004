# shellcheck shell=bash
# What the scripts of hutch share: words to the user, Debian packages, stock
# kernels. Sourced by tools/try, tools/check, tests/lab/run and tests/linux/.
#
# It never installs a kernel: packages are downloaded and unpacked into
#   ${XDG_CACHE_HOME:-~/.cache}/hutch/kernels/<package>_<version>/
# which then holds boot/vmlinuz-V, boot/config-V and lib/modules/V with its
# modules.dep. `hutch kernel pull` uses the same folder. Kernels of another
# architecture or release of Debian are in a folder of their own (foreign.sh).

PATH=$PATH:/usr/sbin:/sbin # where Debian keeps depmod, out of an ordinary user's way
CACHE_DIR=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/hutch
# shellcheck source=foreign.sh
. "${BASH_SOURCE[0]%/*}/foreign.sh"

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "${0##*/}: $*"
    exit 125
}

# Runs a command as root: itself when we are root, else through sudo.
as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root for: $* (no sudo here: run that command as root, then try again)"
    fi
}

# Prints those of the packages which are not installed.
packages_missing() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            printf '%s\n' "$package"
    done
}

# apt-get for packages, quiet, and patient when another apt holds the lock.
apt_as_root() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

apt_update_once() {
    [[ -n ${apt_updated-} ]] && return
    apt_updated=yes
    say "apt: reading the package lists"
    apt_as_root update >&2
}

# Installs what is missing of the packages; says so; silent when nothing is.
need_packages() {
    local -a missing
    mapfile -t missing < <(packages_missing "$@")
    [[ ${#missing[@]} -eq 0 ]] && return
    command -v apt-get >/dev/null ||
        die "no apt-get here; install these yourself: ${missing[*]}"
    apt-cache show --no-all-versions "${missing[@]}" >/dev/null 2>&1 || apt_update_once
    say "apt: installing ${missing[*]}"
    if ! apt_as_root install --no-install-recommends "${missing[@]}" >&2; then
        apt_update_once
        apt_as_root install --no-install-recommends "${missing[@]}" >&2 ||
            die "apt-get could not install: ${missing[*]}"
    fi
}

# linux-image-cloud-amd64 -> linux-image-6.1.0-56-cloud-amd64: the package that
# the metapackage depends on. A name which is no metapackage is its own answer.
kernel_package() { # PACKAGE ARCHIVE
    local found
    found=$(apt_on "$2" apt-cache depends --important "$1" 2>/dev/null |
        sed -n 's/^ *Depends: *\(linux-image-[0-9][^ ]*\).*$/\1/p' | head -n 1)
    printf '%s\n' "${found:-$1}"
}

kernel_candidate() { # PACKAGE ARCHIVE
    apt_on "$2" apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p'
}

# Downloads PACKAGE=VERSION and moves it, unpacked, to DIR in one step, so that
# nobody ever finds half a kernel there. A subshell, so that it cleans up.
kernel_unpack() ( # PACKAGE VERSION DIR ARCHIVE
    mkdir -p "${3%/*}"
    tmp=$(mktemp -d "${3%/*}/.new.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    say "kernel: downloading $1 $2 (unpacked to $3, not installed)"
    if ! (cd "$tmp" && apt_on "$4" apt-get -qq download "$1=$2" >download.log 2>&1); then
        sed 's/^/apt: /' "$tmp/download.log" >&2
        return 1
    fi
    mkdir "$tmp/root"
    dpkg -x "$tmp"/*.deb "$tmp/root"
    [[ -e $tmp/root/lib || ! -d $tmp/root/usr/lib/modules ]] || ln -s usr/lib "$tmp/root/lib"
    depmod -b "$tmp/root" "$(kernel_release "$tmp/root")"
    mv -T "$tmp/root" "$3" 2>/dev/null || [[ -d $3 ]] # another run was faster: fine
)

# The newest folder of PACKAGE in a folder of kernels, for a machine without a network.
kernel_cached() {
    local dir newest=
    for dir in "$2/$1"_*/; do
        [[ -d $dir ]] && newest=${dir%/}
    done
    [[ -n $newest ]] && printf '%s\n' "$newest"
}

# Prints the folder of a stock kernel (linux-image-amd64, a metapackage, or a
# package with its version in the name), downloading it when it is not there:
# the machine's own, or one of an ARCHIVE (foreign.sh).
kernel_dir() { # PACKAGE [ARCHIVE]
    local package version dir archive=${2-}
    local kernels=$CACHE_DIR/${archive:+$archive/}kernels
    need_packages kmod
    apt_update_missing "$1" "$archive" || true
    package=$(kernel_package "$1" "$archive")
    version=$(kernel_candidate "$package" "$archive")
    dir=$kernels/${package}_${version//:/%3a}
    if [[ ! -d $dir ]] && ! kernel_unpack "$package" "$version" "$dir" "$archive"; then
        apt_update_on "$archive" || true # the archive has dropped what the old lists name
        package=$(kernel_package "$1" "$archive")
        version=$(kernel_candidate "$package" "$archive")
        dir=$kernels/${package}_${version//:/%3a}
        [[ -d $dir ]] || kernel_unpack "$package" "$version" "$dir" "$archive" ||
            dir=$(kernel_cached "$package" "$kernels") ||
            die "no kernel package '$1' could be downloaded, and none is cached"
    fi
    printf '%s\n' "$dir"
}

# Reads the package lists if they do not know PACKAGE.
apt_update_missing() { # PACKAGE ARCHIVE
    [[ -n $(kernel_candidate "$1" "$2") || $(kernel_package "$1" "$2") != "$1" ]] || apt_update_on "$2"
}

# The release (uname -r) of the kernel in a folder of kernel_dir.
kernel_release() {
    basename "$1"/lib/modules/*
}

kernel_image() {
    printf '%s\n' "$1/boot/vmlinuz-$(kernel_release "$1")"
}

# Copies modules of the kernel in DIR, with all that they depend on, to OUT and
# appends their names to OUT/order in the order of loading. A module that the
# kernel has built in, or does not have, is left out.
kernel_modules() {
    local dir=$1 out=$2 release name verb file
    shift 2
    release=$(kernel_release "$dir")
    [[ -e $dir/lib/modules/$release/modules.dep ]] || depmod -b "$dir" "$release"
    mkdir -p "$out"
    touch "$out/order"
    for name in "$@"; do
        while read -r verb file _; do
            [[ $verb == insmod ]] && kernel_module_copy "$file" "$out"
        done < <(modprobe -C /dev/null -d "$dir" -S "$release" --show-depends "$name" 2>/dev/null)
    done
}

kernel_module_copy() {
    local base
    base=$(basename "$1")
    base=${base%%.ko*}.ko
    grep -qx "$base" "$2/order" && return
    case $1 in
    *.xz) xz -dc "$1" >"$2/$base" ;;
    *.zst) zstd -qdc "$1" >"$2/$base" ;;
    *) cp "$1" "$2/$base" ;;
    esac
    printf '%s\n' "$base" >>"$2/order"
}

# Makes a cpio archive (an initramfs, uncompressed) of a folder.
make_cpio() {
    (cd "$1" && find . -print0 | LC_ALL=C sort -z |
        cpio --null --quiet --create --format=newc --owner=0:0 --reproducible) >"$2"
}
