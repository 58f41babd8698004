// SPDX-License-Identifier: Apache-2.0
/* What the arm64 half of src/cpu shares among its files. */
#pragma once

#include <asm/kvm.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu_model;
struct vm;

/* Parts of a CPU that KVM gives to a guest only when asked. */
struct cpu_parts {
    bool sve;
    bool pauth; /* pointer authentication, of addresses and generic */
    bool pmu;
};

/* INTIDs of a CPU's own; the shared ones are behind them. */
enum { PRIVATE_INTERRUPTS = 32 };

struct arch_vm {
    unsigned gic_version; /* 2 or 3 */
    int gic_fd, its_fd;   /* devices of KVM; -1: none */
    bool is_gic_complete;
    uint64_t early_wires;   /* those that were high before that, a bit each */
    void *stolen_time;      /* LAYOUT_STOLEN_TIME_SIZE bytes, or MAP_FAILED */
    struct cpu_parts parts; /* the host's */
    bool has_pmu;           /* the vCPUs */
};

/* --- features.c --- */

/* What a CPU under @model has of what the host offers. */
struct cpu_parts cpu_parts_chosen(const struct cpu_parts *offered, const struct cpu_model *model);

/* The sizes of pages, ORed, of a CPU whose ID_AA64MMFR0_EL1 is this. */
uint64_t cpu_page_sizes_of(uint64_t mmfr0);

/* --- gic.c --- */

/* Makes the best interrupt controller that KVM has, without its last setup. Logs. Returns 0 or
 * -errno. */
int gic_create(struct vm *vm);
/* The last setup, when all vCPUs were created; once. Logs. */
int gic_complete(struct vm *vm);
/* Which version a guest would get of KVM; 0: none. @vm_fd is a VM without one. */
unsigned gic_best_version(int vm_fd);

/* --- the common words of KVM's interface --- */

/* Sets an attribute of a KVM device or a vCPU. Returns 0 or -errno. */
int kvm_set_attribute(int fd, uint32_t group, uint64_t attribute, const void *value);

/* A core register by its place in struct kvm_regs. */
#define CORE_REGISTER(field)                                                                       \
    (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(field))

/* Returns 0 or -errno. */
int kvm_get_register(int vcpu_fd, uint64_t id, uint64_t *value);
int kvm_set_register(int vcpu_fd, uint64_t id, uint64_t value);

/* The processor state at a start: EL1 with its own stack pointer, all exceptions masked. */
#define PSTATE_START (PSR_D_BIT | PSR_A_BIT | PSR_I_BIT | PSR_F_BIT | PSR_MODE_EL1h)
