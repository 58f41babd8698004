// SPDX-License-Identifier: Apache-2.0
/* How devices reach the guest: the functions behind irq_line, msi_port and doorbell_port.
 *
 * Messages are sent by ioctl, not through irqfds. Our devices live in this process, so both are one
 * system call that does the same in the kernel; but every irqfd and every change of the routing
 * table makes the kernel outwait readers, when the guest sets the vector up and again at the end of
 * the machine: about a second of virtual time for a guest with a disk and a network card.
 *
 * None of them can tell a device of a failure: by then the guest has programmed the interrupt, and
 * a lost one is what broken hardware would do. */
#include <errno.h>

#include "machine_private.h"

static void pin_set(void *ctx, bool high)
{
    struct pin *pin = ctx;

    (void)vm_set_irq(pin->vm, pin->gsi, high);
}

struct irq_line machine_pin(struct pin *pin, struct vm *vm, unsigned gsi)
{
    *pin = (struct pin){ .vm = vm, .gsi = gsi };
    return (struct irq_line){ .set = pin_set, .ctx = pin };
}

static void wire_tap_set(void *ctx, bool high)
{
    struct wire_tap *tap = ctx;
    struct shared_wire *wire = tap->wire;

    if (tap->high == high) /* a tap is used under its device's lock only */
        return;
    tap->high = high;
    pthread_mutex_lock(&wire->lock);
    wire->high_count += high ? 1 : -1U;
    if (wire->high_count == (high ? 1 : 0))
        (void)vm_set_irq(wire->vm, wire->gsi, high);
    pthread_mutex_unlock(&wire->lock);
}

struct irq_line machine_wire_tap(struct wire_tap *tap, struct shared_wire *wire)
{
    *tap = (struct wire_tap){ .wire = wire };
    return (struct irq_line){ .set = wire_tap_set, .ctx = tap };
}

static int msi_connect(void *ctx, unsigned vector, const struct msi_message *message)
{
    struct msi_block *block = ctx;

    if (vector >= MSIX_MAX_VECTORS)
        return -EINVAL;
    block->is_connected[vector] = message != NULL;
    if (message)
        block->messages[vector] = *message;
    return 0;
}

static void msi_raise(void *ctx, unsigned vector)
{
    const struct msi_block *block = ctx;

    if (vector < MSIX_MAX_VECTORS && block->is_connected[vector])
        (void)vm_msi_send(block->vm, block->requester, block->messages[vector].address,
                          block->messages[vector].data);
}

struct msi_port machine_msi_port(struct msi_block *block, struct vm *vm, unsigned slot)
{
    block->vm = vm;
    block->requester = (uint16_t)(slot << 3); /* bus 0, function 0 */
    return (struct msi_port){ .connect = msi_connect, .raise = msi_raise, .ctx = block };
}

static int doorbell_connect(void *ctx, const struct doorbell *doorbell, int fd)
{
    return vm_doorbell_add(ctx, doorbell->address, doorbell->size,
                           doorbell->has_value ? &doorbell->value : NULL, fd);
}

static void doorbell_disconnect(void *ctx, const struct doorbell *doorbell, int fd)
{
    (void)vm_doorbell_remove(ctx, doorbell->address, doorbell->size,
                             doorbell->has_value ? &doorbell->value : NULL, fd);
}

struct doorbell_port machine_doorbells(struct vm *vm)
{
    return (struct doorbell_port){ .connect = doorbell_connect,
                                   .disconnect = doorbell_disconnect,
                                   .ctx = vm };
}
