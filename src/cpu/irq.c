// SPDX-License-Identifier: Apache-2.0
/* Interrupts: wires, which an architecture's controller serves, and messages.
 *
 * Messages are sent by ioctl, from whichever thread of ours has one. The other way, an eventfd
 * bound to a route in the kernel's table, would be the same work for the kernel at each message,
 * and more before and after: the table is committed as a whole and outwaits the readers of the old
 * one, for some milliseconds on Linux 6.18, each time a guest programs a vector; and each bound
 * eventfd holds up the end of the machine. It would pay for devices in other processes. */
#include "arch.h"

#include <errno.h>
#include <sys/ioctl.h>

int vm_set_irq(struct vm *vm, unsigned gsi, bool high)
{
    return gsi < ARCH_PIN_COUNT ? arch_vm_set_wire(vm, gsi, high) : -EINVAL;
}

int vm_msi_send(struct vm *vm, uint16_t requester, uint64_t address, uint32_t data)
{
    struct kvm_msi message = arch_msi(vm, requester, address, data);

    return ioctl(vm->fd, KVM_SIGNAL_MSI, &message) < 0 ? -errno : 0;
}
