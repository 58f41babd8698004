// SPDX-License-Identifier: Apache-2.0
/* One virtual CPU; turns struct kvm_run into a struct vcpu_exit.
 *
 * A vCPU is created, set up and destroyed by the thread that builds the machine, and run by one
 * thread of its own. Only vcpu_kick() may be called by others meanwhile. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/entry.h"
#include "cpu/vm.h"

struct vcpu;

/* How the CPUs look to the guest: the same for all of them. */
struct cpu_model {
    unsigned count;
    const char *const *masked_features; /* names as in /proc/cpuinfo; NULL-terminated, or NULL */
};

enum vcpu_exit_reason {
    VCPU_EXIT_NONE,        /* interrupted by vcpu_kick() or a signal; nothing to answer */
    VCPU_EXIT_PORT,        /* port I/O: size, count, data, is_write, address */
    VCPU_EXIT_MEMORY,      /* memory-mapped I/O: the same, count 1 */
    VCPU_EXIT_GUEST_DOWN,  /* triple fault; a crash that the firmware interface was told of */
    VCPU_EXIT_GUEST_OFF,   /* the firmware interface asked for power-off (arm64: PSCI) ... */
    VCPU_EXIT_GUEST_RESET, /* ... or for a reset */
    VCPU_EXIT_FAILED,      /* KVM cannot go on; vcpu_describe_failure() says why */
};

struct vcpu_exit {
    enum vcpu_exit_reason reason;
    uint64_t address;
    unsigned size;  /* bytes of one access: 1, 2, 4, 8 */
    unsigned count; /* accesses of a string instruction, in a row in @data */
    bool is_write;
    bool is_warm; /* a reset that is to keep memory (arm64: PSCI SYSTEM_RESET2) */
    void *data;   /* written data, or where read data goes before the next vcpu_run() */
};

/* Checks a feature name of --cpu=host,-NAME. Returns whether hutch knows it. */
bool cpu_feature_is_known(const char *name);
/* Which features it knows, as the second half of a sentence. */
extern const char cpu_feature_advice[];

/* The APIC ID (arm64: the affinity fields of MPIDR_EL1) of vCPU @index under @model. */
uint64_t cpu_hardware_id(const struct cpu_model *model, unsigned index);

/* Whether CPUs under @model have performance monitors that the guest must be told of (Arm's PMUv3).
 */
bool cpu_has_pmu(const struct vm *vm, const struct cpu_model *model);

/* The sizes of pages, ORed, that a kernel on this CPU can be built for; 0: not known. */
uint64_t vcpu_page_sizes(const struct vcpu *vcpu);

/* Makes vCPU @index, set up as @model says, and waiting for another one to start it unless it is
 * the first. Logs what KVM refused. Returns 0 or -errno. */
int vcpu_create(struct vm *vm, unsigned index, const struct cpu_model *model, struct vcpu **ret);
void vcpu_destroy(struct vcpu *vcpu); /* NULL is fine */

/* For each vCPU, when all of them were created: sets up what needs all of them. Logs. Returns 0 or
 * -errno. */
int vcpu_complete(struct vcpu *vcpu);

/* Lets the first vCPU start at @entry; writes page tables and descriptor tables that the mode
 * needs into @mem. Returns 0 or -errno. */
int vcpu_set_entry(struct vcpu *vcpu, struct guest_mem *mem, const struct cpu_entry *entry);

/* Runs until the guest needs an answer. Returns 0 with *@exit filled in, or -errno. */
int vcpu_run(struct vcpu *vcpu, struct vcpu_exit *exit);

/* Once, before threads run vCPUs: prepares the signal that kicks them. */
void vcpu_setup_kick_signal(void);
/* Makes a vcpu_run() on @thread return soon, or the next one at once. */
void vcpu_kick(struct vcpu *vcpu, pthread_t thread);

/* Whether VCPU_EXIT_FAILED is the guest's own doing: it ran into nowhere, or broke what its CPU
 * finds exceptions by, or, on Arm, accessed a device in a way that the CPU does not tell KVM of.
 * Only where KVM is complete; a KVM that is an emulator itself fails at what others run, and
 * nothing follows from that for the guest. */
bool vcpu_failure_is_guests(const struct vcpu *vcpu);

/* Writes why VCPU_EXIT_FAILED came, with the registers that matter, as one line. */
void vcpu_describe_failure(const struct vcpu *vcpu, char *buf, size_t size);
