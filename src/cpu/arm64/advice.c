// SPDX-License-Identifier: Apache-2.0
/* The way out when there is no KVM. On Arm it is part of the kernel, never a module, and needs the
 * firmware to start the kernel at EL2, the exception level of hypervisors. */
#include <stdio.h>
#include <unistd.h>

#include "../arch.h"

/* KVM here has no emulator of guest kernels: it runs them on the CPU or not at all. */
bool arch_has_hardware_flag(void)
{
    return true;
}

void arch_advise_virtualization(bool was_tried, char *buf, size_t size)
{
    /* There from the start, if KVM is in the kernel, whether or not it found what it needs. */
    bool is_in_kernel = !access("/sys/module/kvm", F_OK);

    if (was_tried || is_in_kernel)
        (void)snprintf(
            buf, size,
            "the kernel has KVM, but was not started at EL2: have the firmware do so, or, "
            "in a virtual machine, nested virtualization switched on; in a container, "
            "pass /dev/kvm in (docker run --device /dev/kvm)");
    else
        (void)snprintf(
            buf, size,
            "this kernel was built without KVM: run one with CONFIG_KVM, as those of all "
            "distributions are");
}
