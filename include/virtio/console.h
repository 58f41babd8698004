// SPDX-License-Identifier: Apache-2.0
/* virtio-console (virtio 1.2, 5.3), one port: hvc0. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/virtio_dev.h"

enum { CONSOLE_PIECE_MAX = 4096 };

/* Where the guest's output goes, and who is told when there is room for input. Called with the
 * device locked; must not wait. transmit() gets at most CONSOLE_PIECE_MAX bytes, which it takes,
 * and returns whether there is room for as many again: if not, output stays in the queue until
 * console_transmit_ready(). */
struct console_params {
    const struct guest_mem *mem;
    struct loop *loop;
    bool (*transmit)(void *ctx, const uint8_t *data, size_t len);
    void (*receive_ready)(void *ctx); /* may be NULL */
    void *ctx;
};

int console_create(const struct console_params *params, struct virtio_dev **ret);

/* Puts input into the guest's buffers, as much as fits; the device is locked by the caller.
 * Returns how many bytes were taken; receive_ready follows when it was not all. */
size_t console_receive(struct virtio_dev *vdev, const uint8_t *data, size_t len);

/* The receiver of the output has room again; the device is locked by the caller. */
void console_transmit_ready(struct virtio_dev *vdev);

/* The size of the terminal behind it, shown in configuration space (VIRTIO_CONSOLE_F_SIZE); the
 * device is locked by the caller. */
void console_resize(struct virtio_dev *vdev, uint16_t columns, uint16_t rows);
