# shellcheck shell=bash disable=SC2034
# Which emulated machine, and what its root is made of. Sourced by tests/lab/run
# and by tests/linux/run, after tools/lib.sh.

# What the linux suite's cases call, what runs the guest suite, and a shell to type in.
lab_root_packages=(bash bsdutils busybox-static coreutils cpio curl dash diffutils e2fsprogs findutils fio
    grep gzip hostname iperf3 iproute2 iputils-ping kexec-tools kmod libc-bin libcmocka0 mawk mount passt
    procps python3 sed socat util-linux)
# What more a developer has: hutch can be built there as on a machine of that architecture.
lab_build_packages=(gcc git libc6-dev libcmocka-dev libfdt-dev liblz4-dev liblzma-dev liburing-dev libzstd-dev meson
    ninja-build pkg-config zlib1g-dev)

# Sets what ARCH.sh says, and
#   lab_archive  where Debian packages for it come from (tools/foreign.sh): nothing on
#                a build machine of that architecture, whose own archive serves
#   lab_kernel_archive  the same for the kernel, which may be of another release
#   lab_root     the folder its root is made of: / there, else a small Debian, unpacked
#                in the cache, as the build machine's programs are of no use. If $builds
#                is set, it has a developer's programs, too
lab_find() { # ARCH
    # shellcheck source=x86_64.sh
    . "${BASH_SOURCE[0]%/*}/$1.sh"
    lab_archive='' lab_root=/
    [[ $(uname -m) == "$1" ]] || lab_archive=bookworm-$lab_debian
    lab_kernel_archive=${lab_kernel_archive-$lab_archive}
    [[ -n $lab_archive ]] || return 0
    lab_root=$(foreign_tree "$lab_archive" root "${lab_root_packages[@]}" \
        ${builds:+"${lab_build_packages[@]}"}) ||
        die "the programs of the $1 lab could not be downloaded, and are not cached"
}
