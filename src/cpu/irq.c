// SPDX-License-Identifier: Apache-2.0
/* Interrupts: wires, which an architecture's controller serves, and messages.
 *
 * Messages are sent by ioctl, from whichever thread of ours has one. The other way, an eventfd
 * bound to a route in the kernel's table, would be the same work for the kernel at each message,
 * and more before and after: the table is committed as a whole and outwaits the readers of the old
 * one, for some milliseconds on Linux 6.18, each time a guest programs a vector; and each bound
 * eventfd holds up the end of the machine. It would pay for devices in other processes.
 *
 * What remains of that table are the routes of level-triggered pins, one commit for each that a
 * guest unmasks: KVM needs them to tell whose end of interrupt we want to hear of. */
#include "arch.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

int vm_set_irq(struct vm *vm, unsigned gsi, bool high)
{
    return gsi < ARCH_PIN_COUNT ? arch_vm_set_wire(vm, gsi, high) : -EINVAL;
}

int vm_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
    struct kvm_irq_routing_msi msi = arch_msi(vm, address, data);
    struct kvm_msi message = { .address_lo = msi.address_lo,
                               .address_hi = msi.address_hi,
                               .data = msi.data };

    return ioctl(vm->fd, KVM_SIGNAL_MSI, &message) < 0 ? -errno : 0;
}

static int commit_routes(struct vm *vm)
{
    _Alignas(struct kvm_irq_routing)
        uint8_t room[sizeof(struct kvm_irq_routing) +
                     ARCH_PIN_COUNT * sizeof(struct kvm_irq_routing_entry)] = { 0 };
    struct kvm_irq_routing *table = (void *)room;

    for (unsigned pin = 0; pin < ARCH_PIN_COUNT; pin++) {
        const struct pin_route *route = &vm->routes[pin];

        if (!route->is_routed)
            continue;
        table->entries[table->nr++] = (struct kvm_irq_routing_entry){
            .gsi = pin,
            .type = KVM_IRQ_ROUTING_MSI,
            .u.msi = arch_msi(vm, route->address, route->data),
        };
    }
    return ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0 ? -errno : 0;
}

/* A message that the kernel refuses must not stay in the table: every later commit would be
 * refused with it. */
static int change_route(struct vm *vm, struct pin_route *route, uint64_t address, uint32_t data)
{
    struct pin_route old = *route;

    if (old.is_routed && old.address == address && old.data == data)
        return 0;
    *route = (struct pin_route){ .is_routed = true, .address = address, .data = data };

    int err = commit_routes(vm);
    if (err)
        *route = old;
    return err;
}

int vm_route_pin(struct vm *vm, unsigned pin, uint64_t address, uint32_t data)
{
    pthread_mutex_lock(&vm->route_lock);
    int err = change_route(vm, &vm->routes[pin], address, data);
    pthread_mutex_unlock(&vm->route_lock);
    return err;
}
