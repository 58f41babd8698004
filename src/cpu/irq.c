// SPDX-License-Identifier: Apache-2.0
/* Interrupts by number (GSI): wires, which an architecture's controller serves, and beyond them
 * messages.
 *
 * A message with a number is an eventfd, bound to that number, and a route from it to an address
 * and data. The kernel knows routes only as one whole table and outwaits the readers of the old
 * one, for microseconds or some milliseconds; so a table is committed only when a route truly
 * changed. A guest masks and unmasks its vectors often: masking leaves the route as it is, since
 * who may not send a message does not signal its eventfd, and unmasking with the same message
 * finds it in place. Binding an eventfd costs at the end of the machine, so it is not done before
 * the guest connects it. vm_msi_send() needs none of this. */
#include "arch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "host/fd.h"

/* 32 PCI functions with 64 vectors each; the kernel takes 4096 routes. */
enum { MAX_GSIS = ARCH_PIN_COUNT + 32 * 64 };

int vm_set_irq(struct vm *vm, unsigned gsi, bool high)
{
    return arch_vm_set_wire(vm, gsi, high);
}

int vm_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
    struct kvm_irq_routing_msi msi = arch_msi(vm, address, data);
    struct kvm_msi message = { .address_lo = msi.address_lo,
                               .address_hi = msi.address_hi,
                               .data = msi.data };

    return ioctl(vm->fd, KVM_SIGNAL_MSI, &message) < 0 ? -errno : 0;
}

static int add_gsi(struct vm *vm, int *fd)
{
    if (vm->gsi_count == MAX_GSIS)
        return -ENOSPC;
    if (vm->gsi_count == vm->gsi_max) {
        unsigned max = 2 * vm->gsi_max;
        struct gsi_route *gsis = realloc(vm->gsis, max * sizeof(*gsis));

        if (!gsis)
            return -ENOMEM;
        vm->gsis = gsis;
        vm->gsi_max = max;
    }
    vm->gsis[vm->gsi_count++] = (struct gsi_route){ .fd = take_fd(fd) };
    return 0;
}

int vm_msi_alloc(struct vm *vm, unsigned *gsi, int *fd)
{
    AUTO_CLOSE
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event < 0)
        return -errno;

    pthread_mutex_lock(&vm->irq_lock);
    int err = add_gsi(vm, &event);
    if (!err) {
        *gsi = vm->gsi_count - 1;
        *fd = vm->gsis[*gsi].fd;
    }
    pthread_mutex_unlock(&vm->irq_lock);
    return err;
}

static int commit_routes(struct vm *vm)
{
    AUTO_FREE
    struct kvm_irq_routing *table =
        calloc(1, sizeof(*table) + vm->gsi_count * sizeof(table->entries[0]));
    if (!table)
        return -ENOMEM;

    for (unsigned gsi = 0; gsi < vm->gsi_count; gsi++) {
        const struct gsi_route *route = &vm->gsis[gsi];

        if (!route->is_routed)
            continue;
        table->entries[table->nr++] = (struct kvm_irq_routing_entry){
            .gsi = gsi,
            .type = KVM_IRQ_ROUTING_MSI,
            .u.msi = arch_msi(vm, route->address, route->data),
        };
    }
    return ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0 ? -errno : 0;
}

static int bind_eventfd(struct vm *vm, unsigned gsi)
{
    struct gsi_route *route = &vm->gsis[gsi];
    struct kvm_irqfd irqfd = { .fd = (uint32_t)route->fd, .gsi = gsi };

    if (route->fd < 0 || route->is_bound)
        return 0;
    if (ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0)
        return -errno;
    route->is_bound = true;
    return 0;
}

/* A message that the kernel refuses must not stay in the table: every later commit, for whatever
 * device, would be refused with it. */
static int change_route(struct vm *vm, unsigned gsi, uint64_t address, uint32_t data)
{
    struct gsi_route *route = &vm->gsis[gsi];

    if (route->is_routed && route->address == address && route->data == data)
        return 0;

    int err = bind_eventfd(vm, gsi);
    if (err)
        return err;

    struct gsi_route old = *route;
    route->is_routed = true;
    route->address = address;
    route->data = data;
    err = commit_routes(vm);
    if (err)
        *route = old;
    return err;
}

int vm_route_gsi(struct vm *vm, unsigned gsi, uint64_t address, uint32_t data)
{
    pthread_mutex_lock(&vm->irq_lock);
    int err = gsi < vm->gsi_count ? change_route(vm, gsi, address, data) : -EINVAL;
    pthread_mutex_unlock(&vm->irq_lock);
    return err;
}

int vm_msi_connect(struct vm *vm, unsigned gsi, uint64_t address, uint32_t data)
{
    if (gsi < ARCH_PIN_COUNT)
        return -EINVAL;
    return vm_route_gsi(vm, gsi, address, data);
}

int vm_msi_disconnect(struct vm *vm, unsigned gsi)
{
    pthread_mutex_lock(&vm->irq_lock);
    bool is_known = gsi >= ARCH_PIN_COUNT && gsi < vm->gsi_count;
    pthread_mutex_unlock(&vm->irq_lock);
    return is_known ? 0 : -EINVAL;
}
