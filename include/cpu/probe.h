// SPDX-License-Identifier: Apache-2.0
/* What this host's KVM can do, for `hutch doctor`: asked of the kernel, or measured. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct kvm_probe {
    int open_error;  /* 0, or why /dev/kvm did not open (-errno) */
    int api_version; /* 12 */
    unsigned max_vcpus;
    const char *missing[16]; /* capabilities hutch needs that are not there, by name */
    size_t missing_count;
    /* Guest instructions per second in kernel mode, measured with a tiny guest; 0: it did not
     * run. Hardware virtualization gives hundreds of millions, an emulated kernel mode some. */
    uint64_t guest_instructions_per_second;
    /* On Arm; else 0. */
    unsigned gic_version;  /* of the interrupt controller that guests get: 3, 2, or 0: none */
    unsigned address_bits; /* of guest physical addresses */
};

/* Fills in *@ret. Takes about 10 ms. */
void kvm_probe(const char *kvm_path, struct kvm_probe *ret);

/* Writes what the user can do when @path, that of KVM, failed to open with @err, or when there is
 * no hardware virtualization; 0 as @err is the latter. */
void kvm_advise(const char *path, int err, char *buf, size_t size);
