// SPDX-License-Identifier: Apache-2.0
/* Whether there is hardware virtualization, and the way out when there is none. */
#include <stdio.h>

#include "../arch.h"
#include "host/cpuinfo.h"

bool arch_has_hardware_flag(void)
{
    return cpuinfo_has_flag("vmx") || cpuinfo_has_flag("svm");
}

void arch_advise_virtualization(bool was_tried, char *buf, size_t size)
{
    const char *module = cpuinfo_has_flag("vmx")   ? "kvm_intel"
                         : cpuinfo_has_flag("svm") ? "kvm_amd"
                                                   : NULL;

    if (module && !was_tried) {
        (void)snprintf(buf, size,
                       "sudo modprobe %s; in a container, pass /dev/kvm in "
                       "(docker run --device /dev/kvm)",
                       module);
    } else if (!module && cpuinfo_has_flag("hypervisor")) {
        (void)snprintf(buf, size,
                       "this is a virtual machine: have nested virtualization switched on for it "
                       "(on a KVM host: nested=1 of kvm_intel or kvm_amd, and the CPU model host), "
                       "or use another machine");
    } else {
        (void)snprintf(buf, size,
                       "switch virtualization (VT-x, AMD-V, SVM) on in the firmware's setup");
    }
}
