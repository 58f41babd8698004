// SPDX-License-Identifier: Apache-2.0
/* What an Arm host gives to guests: the interrupt controller and the size of addresses. Whether it
 * has virtualization at all is told by whether KVM is there. */
#include "cpu/probe.h"
#include "doctor_private.h"
#include "mem/layout.h"

static void note_gic(struct doctor *doctor, unsigned version)
{
    switch (version) {
    case 3:
        doctor_note(doctor, "interrupts", FINDING_OK, "GICv3: messages, up to %d CPUs",
                    LAYOUT_GIC_REDIST_MAX);
        break;
    case 2:
        doctor_note(doctor, "interrupts", FINDING_OK,
                    "GICv2: no messages, so virtio devices are memory-mapped; up to 8 CPUs");
        break;
    default:
        doctor_note(doctor, "interrupts", FINDING_FAIL,
                    "KVM has no interrupt controller for guests");
        doctor_advise(doctor, "look at what the kernel says about it: sudo dmesg | grep -i vgic");
        break;
    }
}

/* Guest RAM begins at 2 GiB. */
static void note_addresses(struct doctor *doctor, unsigned bits)
{
    uint64_t max_gib = ((UINT64_C(1) << bits) - LAYOUT_RAM_BASE) / GIB;

    doctor_note(doctor, "guest-addresses", FINDING_OK, "%u bits: guests of up to %ju GiB", bits,
                (uintmax_t)max_gib);
}

void doctor_check_cpu(struct doctor *doctor, const struct kvm_probe *probe)
{
    if (probe->open_error)
        return;
    note_gic(doctor, probe->gic_version);
    note_addresses(doctor, probe->address_bits);
}
