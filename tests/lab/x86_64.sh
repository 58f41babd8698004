# shellcheck shell=bash disable=SC2034
# The emulated x86-64 machine of the lab: an AMD CPU with SVM and nested paging,
# which QEMU's TCG does well enough for Linux's own KVM. Sourced by machine.sh;
# another architecture is another file with these same names.

lab_packages=(qemu-system-x86)
lab_debian=amd64
lab_kernel=linux-image-amd64 # the cloud kernel has no 9p
lab_modules=(virtio_pci virtio_console 9pnet_virtio 9p overlay irqbypass ccp kvm kvm-amd tun dummy)
# Without the last two, a lab of two CPUs hangs in soft lockups after a few guests.
lab_module_options='kvm-amd.ko npt=1 vgif=0 vls=0'
lab_console=ttyS0
# A busy host must not look like broken timers: the kernel would panic at its start. And
# no ciphers are tested, which takes long.
lab_append='mitigations=off no_timer_check cryptomgr.notests'
# QEMU 7.2 loses interrupts otherwise: helper_vmrun() sets CPU_INTERRUPT_VIRQ in interrupt_request
# by a plain "or", without the lock under which the main loop sets CPU_INTERRUPT_POLL there. When
# the lost one is of the one-shot timer, the machine stands still for ever: vector 236 in the IRR of
# its local APIC, nothing in interrupt_request (and it goes on when a debugger sets it again). Threads
# of one CPU are interrupted before or after that instruction, but never within.
lab_on_one_cpu=yes
# In virtual time it would deliver some interrupts twice: the file mend-qemu tells how.
lab_mends_qemu=yes
# Without erms, kernels clear and copy pages by words, not by bytes: to TCG each byte of `rep stosb` is
# an instruction of its own. It would take almost half of a lab's time, and in virtual time a page
# would be cleared at 1 GB/s, ten times as slowly as a CPU of today does it.
lab_qemu=(qemu-system-x86_64 -M q35 -cpu "${LABCPU:-max,-erms}" -vga none)
