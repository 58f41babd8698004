// SPDX-License-Identifier: Apache-2.0
/* The two queues of one console port and the bytes through them (virtio 1.2, 5.3.6), for console.c,
 * which has one port, and console_ports.c, which has several. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/console.h"

struct console_port {
    struct virtio_dev *vdev;
    unsigned receive_queue, transmit_queue;
    /* As in struct console_params. */
    bool (*transmit)(void *ctx, const uint8_t *data, size_t len);
    void (*receive_ready)(void *ctx); /* may be NULL */
    void *ctx;
    uint32_t sent;       /* bytes of the next output chain that are sent already; to be saved */
    bool input_waits;    /* receive_ready() is owed */
    bool output_blocked; /* until console_port_transmit_ready() */
};

/* Puts input into the driver's buffers, as much as fits. Returns how many bytes were taken. */
size_t console_port_receive(struct console_port *port, const uint8_t *data, size_t len);

/* The receiver of the output has room again. */
void console_port_transmit_ready(struct console_port *port);

/* The driver notified one of the two queues. */
void console_port_notify(struct console_port *port, unsigned queue);
