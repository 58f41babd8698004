// SPDX-License-Identifier: Apache-2.0
/* Hardware virtualization of x86, by the CPU's flags. */
#include "cpu/probe.h"
#include "doctor_private.h"
#include "host/cpuinfo.h"

void doctor_check_cpu(struct doctor *doctor, const struct kvm_probe *probe)
{
    const char *flag = cpuinfo_has_flag("vmx") ? "vmx" : cpuinfo_has_flag("svm") ? "svm" : NULL;
    char advice[256];

    (void)probe;
    if (flag) {
        doctor_note(doctor, "cpu-virtualization", FINDING_OK, "%s%s", flag,
                    cpuinfo_has_flag("hypervisor") ? " (nested: this is a virtual machine)" : "");
        return;
    }
    doctor_note(doctor, "cpu-virtualization", FINDING_WARN,
                "the CPU's flags have neither vmx nor svm");
    kvm_advise(NULL, 0, advice, sizeof(advice));
    doctor_advise(doctor, "%s", advice);
}
