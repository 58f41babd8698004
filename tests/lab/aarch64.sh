# shellcheck shell=bash disable=SC2034
# The emulated arm64 machine of the lab: a CPU with EL2, where Linux's KVM comes up
# in VHE mode. Sourced by machine.sh, like x86_64.sh.

lab_packages=(qemu-system-arm)
lab_debian=arm64
lab_kernel=linux-image-arm64 # the cloud kernel has no 9p; both have KVM built in
lab_modules=(virtio_pci virtio_console 9pnet_virtio 9p overlay tun dummy)
lab_module_options=none
lab_console=ttyAMA0
lab_append='mitigations=off'
# Debian has a kernel with larger pages since its release 13.
[[ -z ${pages-} ]] || lab_kernel=linux-image-arm64-${pages}k lab_kernel_archive=trixie-arm64
# By default it has one CPU. With two, a thread that ran guests read zeros, now and then, where it had
# stored a value in its own memory, and the next thread in that place found the value (twice in 2400
# starts of a guest, QEMU 7.2): as if one CPU had another page there than the other, which no program
# can bring about. A program that meets this may well crash.
lab_on_one_cpu=
# Signing pointers by the architecture's own cipher would take much of the emulator's time.
lab_qemu=(qemu-system-aarch64 -M "virt,virtualization=on,gic-version=${gic:-3}"
    -cpu "${LABCPU:-max,pauth-impdef=on}")
