// SPDX-License-Identifier: Apache-2.0
/* The kernel's table of interrupt routes, of which we need those of level-triggered pins: KVM goes
 * by them to tell whose end of interrupt we want to hear of. One commit of the table for each pin
 * that a guest unmasks. */
#include <errno.h>
#include <sys/ioctl.h>

#include "../arch.h"
#include "x86.h"

static int commit_routes(const struct vm *vm)
{
    _Alignas(struct kvm_irq_routing)
        uint8_t room[sizeof(struct kvm_irq_routing) +
                     ARCH_PIN_COUNT * sizeof(struct kvm_irq_routing_entry)] = { 0 };
    struct kvm_irq_routing *table = (void *)room;

    for (unsigned pin = 0; pin < ARCH_PIN_COUNT; pin++) {
        const struct pin_route *route = &vm->arch->routes[pin];

        if (!route->is_routed)
            continue;
        const struct kvm_msi msi = arch_msi(vm, 0, route->address, route->data);
        table->entries[table->nr++] = (struct kvm_irq_routing_entry){
            .gsi = pin,
            .type = KVM_IRQ_ROUTING_MSI,
            .u.msi = { .address_lo = msi.address_lo,
                       .address_hi = msi.address_hi,
                       .data = msi.data },
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

int route_pin(struct vm *vm, unsigned pin, uint64_t address, uint32_t data)
{
    pthread_mutex_lock(&vm->arch->route_lock);
    int err = change_route(vm, &vm->arch->routes[pin], address, data);
    pthread_mutex_unlock(&vm->arch->route_lock);
    return err;
}
