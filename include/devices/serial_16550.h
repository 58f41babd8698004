// SPDX-License-Identifier: Apache-2.0
/* A 16550A UART with FIFOs (National Semiconductor PC16550D data sheet).
 *
 * Time does not pass in it: a transmitted byte is gone at once, whatever the divisor says. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/irq.h"

/* Where transmitted bytes go, and who is told when there is room for received ones. */
struct serial_sink {
    /* The guest sent @len bytes. Called with the device locked; must not wait. Returns whether
     * there is room for more: if not, the transmitter looks busy to the guest until
     * serial_transmit_ready(). */
    bool (*transmit)(void *ctx, const uint8_t *data, size_t len);
    /* serial_receive() would take bytes again: called, with the device locked, when the guest has
     * read all that there was. May be NULL. */
    void (*receive_ready)(void *ctx);
    void *ctx;
};

struct serial_params {
    const char *name;
    struct irq_line irq;
    struct serial_sink sink;
};

/* Returns 0 or -errno; the device is the caller's to destroy. */
int serial_create(const struct serial_params *params, struct device **ret);

/* Puts bytes from outside into the receive FIFO, as many as fit; the device is locked by the
 * caller. Returns how many were taken; sink.receive_ready follows when it was not all and there
 * is room again. */
size_t serial_receive(struct device *dev, const uint8_t *data, size_t len);

/* The other end sends a break, which a driver reports and Linux takes as the SysRq key; the device
 * is locked by the caller. */
void serial_receive_break(struct device *dev);

/* The sink has room again after it said that it had none; the device is locked by the caller. */
void serial_transmit_ready(struct device *dev);
