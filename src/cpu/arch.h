// SPDX-License-Identifier: Apache-2.0
/* What the parts of src/cpu share, and what differs by architecture.
 *
 * vm.c, irq.c, vcpu.c, measure.c and probe.c are the same for all architectures. A folder beside
 * them (x86_64/, arm64/) holds one implementation of everything here that is called arch_; nothing
 * else of it is visible. */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/probe.h"
#include "cpu/vcpu.h"
#include "cpu/vm.h"
#include "mem/layout.h"

struct arch_vm; /* what an architecture keeps per machine */

/* The wires are the GSIs below this. */
enum { ARCH_PIN_COUNT = LAYOUT_GSI_COUNT };

struct vm {
    int kvm_fd; /* /dev/kvm */
    int fd;     /* the VM */
    unsigned cpu_count;
    size_t run_size; /* bytes of a vCPU's struct kvm_run with what lies behind it */
    struct arch_vm *arch;
};

struct vcpu {
    struct vm *vm;
    int fd;
    unsigned index;
    struct kvm_run *run; /* shared with the kernel; NULL until mapped */
    unsigned mmio_done;  /* bytes of a memory exit that were handed out; see vcpu.c */
};

struct capability {
    int number; /* KVM_CAP_... */
    const char *name;
};

/* What hutch needs on this architecture, beyond what vm.c needs on all. */
extern const struct capability arch_capabilities[];
extern const size_t arch_capability_count;

/* Fills @missing with the names of capabilities that KVM (a /dev/kvm) lacks, up to @max.
 * Returns how many. */
size_t vm_missing_capabilities(int kvm_fd, const char **missing, size_t max);

/* Whether KVM runs guest kernels on the CPU itself, as far as one can see. */
bool arch_has_hardware_flag(void);
/* Writes what makes KVM come to be where it is missing. @was_tried: the kernel has it, and found no
 * hardware for it. */
void arch_advise_virtualization(bool was_tried, char *buf, size_t size);

/* KVM_CREATE_VM, again if a signal came. Returns a descriptor or -errno. */
int vm_create_fd(int kvm_fd, unsigned long type);

/* Finds the type of a VM whose memory ends below @memory_end, for KVM_CREATE_VM. Logs why there can
 * be none. Returns 0 or -errno. */
int arch_vm_type(int kvm_fd, uint64_t memory_end, unsigned long *ret);

/* Sets up what comes before memory and vCPUs: vm->arch, interrupt controllers. Logs what KVM
 * refused. Returns 0 or -errno; arch_vm_fini() is called in either case. */
int arch_vm_init(struct vm *vm);
void arch_vm_fini(struct vm *vm);

/* Makes a created vCPU look as @model says. Logs what KVM refused. Returns 0 or -errno. */
int arch_vcpu_init(struct vcpu *vcpu, const struct cpu_model *model);

/* What vcpu_complete() does. */
int arch_vcpu_complete(struct vcpu *vcpu);

int arch_vcpu_set_entry(struct vcpu *vcpu, struct guest_mem *mem, const struct cpu_entry *entry);

/* Deals with an exit that is nobody else's business, an access to an interrupt controller for one.
 * Returns true if there was nothing more to it and the vCPU can run on. */
bool arch_vcpu_settle_exit(struct vcpu *vcpu);
/* Decodes an exit that only this architecture has. Returns false if there is no such exit. */
bool arch_vcpu_decode_exit(struct vcpu *vcpu, struct vcpu_exit *exit);

/* Writes what went wrong at an exit that only this architecture has. Returns false if there is no
 * such exit. */
bool arch_vcpu_explain_exit(const struct vcpu *vcpu, char *buf, size_t size);

/* Writes where the vCPU stands: its program counter and the registers that tell its mode. */
void arch_vcpu_describe(const struct vcpu *vcpu, char *buf, size_t size);

/* Sets the wire of @pin, which is below ARCH_PIN_COUNT. */
int arch_vm_set_wire(struct vm *vm, unsigned pin, bool high);

/* Puts the destination and the sender of a message where KVM looks for them. */
struct kvm_msi arch_msi(const struct vm *vm, uint16_t requester, uint64_t address, uint32_t data);

/* The guest of measure.c: a page of code that counts down. */
struct tiny_guest {
    const void *code;
    size_t size;
    unsigned instructions_per_round;
    uint32_t last_exit; /* KVM_EXIT_... when it is through */
};
extern const struct tiny_guest arch_tiny_guest;

/* Runs the tiny guest for some milliseconds. Returns its instructions per second, 0 if it did not
 * run. */
uint64_t measure_guest_speed(int kvm_fd);
/* Sets up what a VM needs before its vCPU is created. */
void arch_tiny_prepare(int vm_fd);
/* Makes the vCPU start at @address, with @rounds to go. Returns 0 or -errno. */
int arch_tiny_start(int vm_fd, int vcpu_fd, uint64_t address, uint32_t rounds);

/* Fills in what only this architecture's KVM has to tell. */
void arch_probe(int kvm_fd, struct kvm_probe *ret);
