# shellcheck shell=bash
# Debian packages of another architecture or release than this machine's: found,
# checked and downloaded by this machine's apt, but with lists and a status of
# their own, so that nothing of the machine's dpkg and apt changes; and unpacked,
# never installed, which needs no privileges. Sourced by tools/lib.sh.
#
# ARCHIVE is RELEASE-ARCHITECTURE, as bookworm-arm64. All of it is in
#   $CACHE_DIR/bookworm-arm64/apt/        the package lists
#   $CACHE_DIR/bookworm-arm64/kernels/    kernels, as in $CACHE_DIR/kernels
#   $CACHE_DIR/bookworm-arm64/NAME-KEY/   packages with all they depend on, as one tree

DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org}

foreign_write_config() { # ARCHIVE DIR
    local release=${1%-*} arch=${1##*-} suite
    mkdir -p "$2/lists/partial" "$2/archives/partial"
    : >"$2/status"
    for suite in "debian $release" "debian $release-updates" "debian-security $release-security"; do
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s/%s main\n' \
            "$DEBIAN_MIRROR" "$suite"
    done >"$2/sources.list"
    cat >"$2/apt.conf.$$" <<END
APT::Architecture "$arch";
#clear APT::Architectures;
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "$2";
Dir::State::status "$2/status";
Dir::Cache "$2";
Dir::Etc::SourceList "$2/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
END
    mv "$2/apt.conf.$$" "$2/apt.conf"
}

# Runs apt-get or apt-cache on an archive; on the machine's own when it is empty. What apt makes
# of the lists is kept, which containers switch off: it takes a second of CPU each time.
apt_on() { # ARCHIVE TOOL ARG...
    local archive=$1 tool=$2 dir=$CACHE_DIR/${1:+$1/}apt
    local keep=(-o "Dir::Cache::pkgcache=$dir/pkgcache.bin" -o "Dir::Cache::srcpkgcache=$dir/srcpkgcache.bin")
    shift 2
    mkdir -p "$dir"
    if [[ -z $archive ]]; then
        "$tool" "${keep[@]}" "$@"
        return
    fi
    [[ -e $dir/apt.conf ]] || foreign_write_config "$archive" "$dir"
    flock "$dir/lock" "$tool" -c "$dir/apt.conf" "${keep[@]}" "$@" </dev/null
}

# Reads the package lists, once in a run of a script; with `missing` as the second
# argument, only when there are none.
apt_update_on() { # ARCHIVE [missing]
    local lists=("$CACHE_DIR/$1/apt/lists/"*_Packages*)
    if [[ -z $1 ]]; then
        apt_update_once
        return
    fi
    [[ ${2-} != missing || ! -e ${lists[0]} ]] || return 0
    [[ " ${foreign_updated-} " != *" $1 "* ]] || return 0
    foreign_updated+=" $1"
    need_packages debian-archive-keyring
    say "apt: reading the package lists of $1"
    apt_on "$1" apt-get -qq update >&2
}

# Unpacks packages and all they depend on to DIR, in one step, so that nobody ever
# finds half a tree there. A subshell, so that it cleans up.
foreign_unpack() ( # ARCHIVE DIR PACKAGE...
    archive=$1 dir=$2
    shift 2
    mkdir -p "$CACHE_DIR/$archive"
    tmp=$(mktemp -d "$CACHE_DIR/$archive/.new.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    mkdir -p "$tmp/debs/partial" "$tmp/root/usr"/{bin,sbin,lib} "$tmp/root"/{etc,proc,sys,dev,tmp,run,root}
    for name in bin sbin lib; do
        ln -s "usr/$name" "$tmp/root/$name"
    done
    say "apt: downloading $archive packages (unpacked to $dir, not installed)"
    apt_on "$archive" apt-get -qq -y --no-install-recommends --download-only \
        -o "Dir::Cache::archives=$tmp/debs" install "$@" >"$tmp/log" 2>&1 || {
        sed 's/^/apt: /' "$tmp/log" >&2
        return 1
    }
    for deb in "$tmp/debs"/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$tmp/root"
    done
    while IFS= read -r link; do # what points to /lib means the tree's
        ln -sfnr "$tmp/root$(readlink "$link")" "$link"
    done < <(find "$tmp/root" -type l -lname '/*')
    mv -T "$tmp/root" "$dir" 2>/dev/null || [[ -d $dir ]] # another run was faster: fine
)

# Prints a folder that holds the packages and all they depend on. 1 if they cannot be had.
foreign_tree() { # ARCHIVE NAME PACKAGE...
    local archive=$1 name=$2 key dir
    shift 2
    key=$({ declare -f foreign_unpack && printf '%s\n' "$@"; } | sha256sum - | cut -c 1-12)
    dir=$CACHE_DIR/$archive/$name-$key
    if [[ ! -d $dir ]]; then
        apt_update_on "$archive" missing || return 1
        foreign_unpack "$archive" "$dir" "$@" ||
            { apt_update_on "$archive" && foreign_unpack "$archive" "$dir" "$@"; } || return 1
    fi
    printf '%s\n' "$dir"
}
