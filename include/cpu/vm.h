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
 * vCPUs; logs the sentence that explains a failure: no such device, no permission, a capability
 * that is missing by its name, too many vCPUs. */
int vm_create(const char *kvm_path, unsigned cpu_count, struct vm **ret);
/* After the vCPUs. NULL is fine. */
void vm_destroy(struct vm *vm);

/* Gives every region of @mem to the guest; @mem must outlive the VM. Once, before doorbells. */
int vm_map_memory(struct vm *vm, const struct guest_mem *mem);

/* Sets the wire of global system interrupt @gsi. */
int vm_set_irq(struct vm *vm, unsigned gsi, bool high);

/* Message-signalled interrupts. vm_msi_alloc() reserves a GSI beyond the pins with an eventfd for
 * it (the VM's); vm_msi_connect() routes it (address, data); signalling the eventfd then sends the
 * message, from the kernel, without another exit. After vm_msi_disconnect() the caller signals it
 * no more until it connects it again. A message that KVM refuses leaves the old one in place. */
int vm_msi_alloc(struct vm *vm, unsigned *gsi, int *fd);
int vm_msi_connect(struct vm *vm, unsigned gsi, uint64_t address, uint32_t data);
int vm_msi_disconnect(struct vm *vm, unsigned gsi);
/* Sends a message at once, without a GSI, a route or an eventfd: for who sends from our own
 * threads. The same work for the kernel as an eventfd that is signalled, and nothing to set up. */
int vm_msi_send(struct vm *vm, uint64_t address, uint32_t data);

/* Guest writes of @size bytes (0: of any size) at memory address @address signal @fd instead of
 * exiting; if @value is not NULL, only writes of that value. */
int vm_doorbell_add(struct vm *vm, uint64_t address, unsigned size, const uint32_t *value, int fd);
int vm_doorbell_remove(struct vm *vm, uint64_t address, unsigned size, const uint32_t *value,
                       int fd);
