// SPDX-License-Identifier: Apache-2.0
/* Interrupts: wires (GSIs of the I/O APIC's pins) and messages (GSIs beyond them).
 *
 * A message is an eventfd bound to a GSI, and a route from that GSI to an address and data. The
 * kernel knows routes only as one whole table, and each new table makes it wait for the readers of
 * the old one; so a table is committed only when a route truly changed. A guest masks and unmasks
 * its vectors often: masking leaves the route as it is, since who may not send a message does not
 * signal its eventfd, and unmasking with the same message finds it in place. */
#include "arch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "host/fd.h"

/* Enough for 32 PCI functions with 64 vectors each; the kernel's own bound on routes is 4096. */
enum { MAX_MSIS = 2048 };

int vm_set_irq(struct vm *vm, unsigned gsi, bool high)
{
    struct kvm_irq_level line = { .irq = gsi, .level = high };

    return ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0 ? -errno : 0;
}

static int add_msi(struct vm *vm, int *fd)
{
    if (vm->msi_count == MAX_MSIS)
        return -ENOSPC;
    if (vm->msi_count == vm->msi_max) {
        unsigned max = vm->msi_max ? 2 * vm->msi_max : 16;
        struct msi_route *msis = realloc(vm->msis, max * sizeof(*msis));

        if (!msis)
            return -ENOMEM;
        vm->msis = msis;
        vm->msi_max = max;
    }

    struct kvm_irqfd irqfd = { .fd = (uint32_t)*fd, .gsi = ARCH_PIN_COUNT + vm->msi_count };
    if (ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0)
        return -errno;
    vm->msis[vm->msi_count++] = (struct msi_route){ .fd = take_fd(fd) };
    return 0;
}

int vm_msi_alloc(struct vm *vm, unsigned *gsi, int *fd)
{
    AUTO_CLOSE
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event < 0)
        return -errno;

    pthread_mutex_lock(&vm->irq_lock);
    int err = add_msi(vm, &event);
    if (!err) {
        *gsi = ARCH_PIN_COUNT + vm->msi_count - 1;
        *fd = vm->msis[vm->msi_count - 1].fd;
    }
    pthread_mutex_unlock(&vm->irq_lock);
    return err;
}

static int commit_routes(struct vm *vm)
{
    size_t max = ARCH_PIN_ROUTE_COUNT + vm->msi_count;
    AUTO_FREE
    struct kvm_irq_routing *table = calloc(1, sizeof(*table) + max * sizeof(table->entries[0]));
    if (!table)
        return -ENOMEM;

    arch_pin_routes(table->entries);
    table->nr = ARCH_PIN_ROUTE_COUNT;
    for (unsigned i = 0; i < vm->msi_count; i++) {
        const struct msi_route *msi = &vm->msis[i];

        if (!msi->is_routed)
            continue;
        table->entries[table->nr++] = (struct kvm_irq_routing_entry){
            .gsi = ARCH_PIN_COUNT + i,
            .type = KVM_IRQ_ROUTING_MSI,
            .u.msi = { .address_lo = (uint32_t)msi->address,
                       .address_hi = (uint32_t)(msi->address >> 32),
                       .data = msi->data },
        };
    }
    return ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0 ? -errno : 0;
}

/* A message that the kernel refuses must not stay in the table: every later commit, for whatever
 * device, would be refused with it. */
static int change_route(struct vm *vm, struct msi_route *msi, uint64_t address, uint32_t data)
{
    struct msi_route old = *msi;

    if (old.is_routed && old.address == address && old.data == data)
        return 0;
    msi->is_routed = true;
    msi->address = address;
    msi->data = data;

    int err = commit_routes(vm);
    if (err)
        *msi = old;
    return err;
}

int vm_msi_connect(struct vm *vm, unsigned gsi, uint64_t address, uint32_t data)
{
    int err = -EINVAL;

    pthread_mutex_lock(&vm->irq_lock);
    if (gsi >= ARCH_PIN_COUNT && gsi - ARCH_PIN_COUNT < vm->msi_count)
        err = change_route(vm, &vm->msis[gsi - ARCH_PIN_COUNT], address, data);
    pthread_mutex_unlock(&vm->irq_lock);
    return err;
}

int vm_msi_disconnect(struct vm *vm, unsigned gsi)
{
    pthread_mutex_lock(&vm->irq_lock);
    bool is_known = gsi >= ARCH_PIN_COUNT && gsi - ARCH_PIN_COUNT < vm->msi_count;
    pthread_mutex_unlock(&vm->irq_lock);
    return is_known ? 0 : -EINVAL;
}
