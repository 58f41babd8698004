# shellcheck shell=bash disable=SC2034,SC2154
# The emulated arm64 machine of the lab: a CPU with EL2, where Linux's KVM comes up
# in VHE mode. The build machine's programs are of no use in it, so its root is a
# small Debian, unpacked in the cache, with what the linux suite's cases call.
# Sourced by tests/lab/run, like x86_64.sh.

lab_packages=(qemu-system-arm)
lab_archive=bookworm-arm64
lab_kernel=linux-image-arm64 # the cloud kernel has no 9p; both have KVM built in
lab_modules=(virtio_pci virtio_console 9pnet_virtio 9p overlay tun dummy)
lab_module_options=none
lab_console=ttyAMA0
lab_append='mitigations=off'
# Signing pointers by the architecture's cipher would take half of the emulator's time.
lab_qemu=(qemu-system-aarch64 -M "virt,virtualization=on,gic-version=$gic"
    -cpu "${LABCPU:-max,pauth-impdef=on}")
lab_root_packages=(bash busybox-static coreutils cpio curl dash diffutils e2fsprogs findutils fio
    grep iperf3 iproute2 iputils-ping kexec-tools kmod mawk passt procps sed socat util-linux)

lab_find_root() {
    lab_root=$(foreign_tree "$lab_archive" root "${lab_root_packages[@]}") ||
        die "the programs of the arm64 lab could not be downloaded, and are not cached"
}
