// SPDX-License-Identifier: Apache-2.0
/* The checks without which nothing runs: KVM, its capabilities, and whether it is hardware. */
#include <stdio.h>
#include <string.h>

#include "cpu/probe.h"
#include "doctor_private.h"

static const char kvm_path[] = "/dev/kvm";

enum { KVM_API = 12 };
/* Below that, guest kernels run in an emulator: hardware reaches hundreds of millions, a guest
 * inside an emulated machine still tens of them. */
#define SLOW_BELOW UINT64_C(20000000)

static void advise(struct doctor *doctor, int err)
{
    char text[256];

    kvm_advise(kvm_path, err, text, sizeof(text));
    doctor_advise(doctor, "%s", text);
}

static void note_capabilities(struct doctor *doctor, const struct kvm_probe *probe)
{
    char missing[160] = "";

    for (size_t i = 0; i < probe->missing_count; i++) {
        size_t len = strlen(missing);
        (void)snprintf(missing + len, sizeof(missing) - len, "%s%s", len ? ", " : "",
                       probe->missing[i]);
    }
    if (!probe->missing_count) {
        doctor_note(doctor, "kvm-capabilities", FINDING_OK, "all that are needed");
        return;
    }
    doctor_note(doctor, "kvm-capabilities", FINDING_FAIL, "missing: %s", missing);
    doctor_advise(doctor, "run a newer Linux kernel on this host (5.10 or later)");
}

static void note_speed(struct doctor *doctor, uint64_t speed)
{
    double millions = (double)speed / 1e6;

    if (!speed) {
        doctor_note(doctor, "kvm-speed", FINDING_FAIL, "not even a tiny guest runs");
        doctor_advise(doctor, "look at what the kernel says about it: sudo dmesg | grep -i kvm");
    } else if (speed < SLOW_BELOW) {
        doctor_note(doctor, "kvm-speed", FINDING_FAIL,
                    "KVM here runs guest kernels in an instruction emulator (%.1f million "
                    "instructions per second): Linux guests do not boot",
                    millions);
        doctor_advise(doctor, "use a machine with hardware virtualization, or a virtual machine "
                              "with nested virtualization switched on");
    } else {
        doctor_note(doctor, "kvm-speed", FINDING_OK,
                    "guest kernels run natively (%.0f million instructions per second)", millions);
    }
}

void doctor_check_kvm(struct doctor *doctor)
{
    struct kvm_probe probe;

    kvm_probe(kvm_path, &probe);
    if (probe.open_error) {
        doctor_note(doctor, "kvm", FINDING_FAIL, "%s: %s", kvm_path, strerror(-probe.open_error));
        advise(doctor, probe.open_error);
        doctor_check_cpu(doctor, &probe);
        return;
    }
    if (probe.api_version != KVM_API) {
        doctor_note(doctor, "kvm", FINDING_FAIL, "%s: API %d, not %d", kvm_path, probe.api_version,
                    KVM_API);
        doctor_advise(doctor, "run a newer Linux kernel on this host");
        return;
    }
    doctor_note(doctor, "kvm", FINDING_OK, "%s opens; API %d, up to %u CPUs", kvm_path, KVM_API,
                probe.max_vcpus);
    note_capabilities(doctor, &probe);
    doctor_check_cpu(doctor, &probe);
    note_speed(doctor, probe.guest_instructions_per_second);
}
