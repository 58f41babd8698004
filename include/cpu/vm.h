// SPDX-License-Identifier: Apache-2.0
/* The kernel's virtual machine: memory slots, interrupts, doorbells.
 *
 * With vcpu.h the only door to KVM; linux/kvm.h stays behind it. Functions return 0 or -errno and
 * do not log, but for vm_create(), which alone knows which capability is missing. Interrupt and
 * doorbell functions may be called from any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mem/guest_mem.h"

struct vm;

/* @kvm_path: NULL for /dev/kvm. Makes a VM with its interrupt controllers for up to @cpu_count
 * vCPUs and memory that ends below @memory_end; logs the sentence that explains a failure: no such
 * device, no permission, a capability that is missing by its name, too many vCPUs, too much
 * memory. */
int vm_create(const char *kvm_path, unsigned cpu_count, uint64_t memory_end, struct vm **ret);
/* After the vCPUs. NULL is fine. */
void vm_destroy(struct vm *vm);

/* Gives every region of @mem to the guest; @mem must outlive the VM. Once, before doorbells. */
int vm_map_memory(struct vm *vm, const struct guest_mem *mem);

/* Sets the wire of global system interrupt @gsi. -EINVAL if there is no such wire. */
int vm_set_irq(struct vm *vm, unsigned gsi, bool high);

/* Whether the interrupt controllers take messages: on Arm, a GICv2 does not. */
bool vm_has_msi(const struct vm *vm);

/* On Arm the version of the Generic Interrupt Controller that the guest has, 2 or 3; else 0. */
unsigned vm_gic_version(const struct vm *vm);

/* Sends a message-signalled interrupt, as a guest programmed it. @requester: the PCI requester ID
 * of the function that sends it, which an Arm ITS goes by. A message that means nothing may be
 * refused with -EINVAL. */
int vm_msi_send(struct vm *vm, uint16_t requester, uint64_t address, uint32_t data);

/* Guest writes of @size bytes (0: of any size) at memory address @address signal @fd instead of
 * exiting; if @value is not NULL, only writes of that value. */
int vm_doorbell_add(struct vm *vm, uint64_t address, unsigned size, const uint32_t *value, int fd);
int vm_doorbell_remove(struct vm *vm, uint64_t address, unsigned size, const uint32_t *value,
                       int fd);
