// SPDX-License-Identifier: Apache-2.0
/* A virtio-console with several named ports and no console among them (virtio 1.2, 5.3, feature
 * MULTIPORT): byte streams between programs of the guest and the host.
 *
 * A Linux guest has /dev/vport<device>p<port> for each, and the name in
 * /sys/class/virtio-ports/<port>/name. A guest's program that writes waits until the host's end is
 * open and has room; one that reads from a port whose host's end is closed gets what was sent
 * before, and then the end of file.
 *
 * All is called with the device's lock held, and so are the callbacks; none may wait. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/virtio_dev.h"

enum { CONSOLE_PORTS_MAX = 15, CONSOLE_PORT_NAME_MAX = 63 };

struct console_port_params {
    const char *name; /* at most CONSOLE_PORT_NAME_MAX bytes; outlives the device */
    /* As in struct console_params: takes at most CONSOLE_PIECE_MAX bytes of the guest's, and
     * returns whether there is room for as many again; if not, console_ports_transmit_ready() is
     * due some time. */
    bool (*transmit)(void *ctx, const uint8_t *data, size_t len);
    void (*receive_ready)(void *ctx); /* may be NULL */
    /* The guest opened or closed its end; what it sent before it closed may still come. A reset
     * closes all. May be NULL. */
    void (*opened)(void *ctx, bool is_open);
    void *ctx;
};

struct console_ports_params {
    const struct guest_mem *mem;
    struct loop *loop;
    const struct console_port_params *ports; /* copied */
    unsigned port_count;                     /* 1 to CONSOLE_PORTS_MAX */
};

/* The host's ends are open at first. */
int console_ports_create(const struct console_ports_params *params, struct virtio_dev **ret);

/* Puts bytes into the guest's buffers, as many as fit. Returns how many were taken; receive_ready
 * follows when it was not all. A guest that has not opened its end loses them. */
size_t console_ports_receive(struct virtio_dev *vdev, unsigned port, const uint8_t *data,
                             size_t len);

/* The receiver of the port's output has room again. */
void console_ports_transmit_ready(struct virtio_dev *vdev, unsigned port);

/* Opens or closes the host's end. Of several changes in a row a slow guest sees the last. */
void console_ports_set_open(struct virtio_dev *vdev, unsigned port, bool is_open);
