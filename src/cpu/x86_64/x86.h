// SPDX-License-Identifier: Apache-2.0
/* What the x86-64 half of src/cpu shares among its files. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/entry.h"
#include "cpu/vm.h"
#include "ioapic.h"
#include "mem/guest_mem.h"

/* The message that a level-triggered pin sends, as the kernel knows it. */
struct pin_route {
    bool is_routed;
    uint64_t address;
    uint32_t data;
};

struct arch_vm {
    struct kvm_cpuid2 *supported; /* what KVM_GET_SUPPORTED_CPUID says, asked once */
    bool has_tsc_deadline;
    bool has_large_apic_ids; /* more than 255 CPUs */
    struct ioapic ioapic;

    pthread_mutex_t route_lock; /* protects what follows */
    struct pin_route routes[IOAPIC_PIN_COUNT];
};

/* Tells the kernel what pin @pin sends. Waits for the kernel if that is new. Returns 0 or -errno.
 */
int route_pin(struct vm *vm, unsigned pin, uint64_t address, uint32_t data);

/* What one CPU's CPUID is made for. */
struct cpuid_params {
    unsigned cpu_count;
    unsigned index;   /* of this CPU: its APIC ID */
    uint32_t tsc_khz; /* 0: unknown */
    bool has_tsc_deadline;
    bool has_large_apic_ids;
    const char *const *masked_features; /* as in struct cpu_model */
};

/* Makes the table for one CPU from what KVM supports. Returns 0 or -ENOMEM; the caller frees. */
int cpuid_create(const struct kvm_cpuid2 *supported, const struct cpuid_params *params,
                 struct kvm_cpuid2 **ret);

/* The entry of (@function, @index), or NULL. */
struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *table, uint32_t function, uint32_t index);

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* One bit of CPUID with its name in /proc/cpuinfo. */
struct cpu_feature {
    const char *name;
    uint32_t function, index;
    uint8_t reg; /* enum cpuid_register */
    uint8_t bit;
};

/* Finds a feature by name, or NULL. */
const struct cpu_feature *cpu_feature_find(const char *name);

/* Writes the page tables (or none) and the GDT that @mode needs. Returns 0, or -EFAULT if there is
 * no RAM for them. */
int entry_write_tables(struct guest_mem *mem, enum cpu_entry_mode mode);
/* Sets the registers that @mode starts with; the others stay. */
void entry_set_sregs(struct kvm_sregs *sregs, enum cpu_entry_mode mode);
void entry_set_regs(struct kvm_regs *regs, const struct cpu_entry *entry);
