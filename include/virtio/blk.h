// SPDX-License-Identifier: Apache-2.0
/* virtio-blk (virtio 1.2, 5.2): the guest's side of a disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/block_backend.h"
#include "virtio/virtio_dev.h"

enum { BLK_SERIAL_LEN = 20, BLK_MAX_QUEUES = 16 };

struct blk_params {
    const char *name; /* for logs, copied: "disk 'root.img'" */
    const struct guest_mem *mem;
    struct loop *loop;
    struct block_backend *backend; /* lent: outlives the device */
    char serial[BLK_SERIAL_LEN];   /* what GET_ID answers; not NUL-terminated if it fills it */
    unsigned queue_count;          /* 1 to BLK_MAX_QUEUES */
};

int blk_create(const struct blk_params *params, struct virtio_dev **ret);
