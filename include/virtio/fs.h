// SPDX-License-Identifier: Apache-2.0
/* virtio-fs (virtio 1.2, 5.11): the guest's side of a shared folder. */
#pragma once

#include "virtio/fs_share.h"
#include "virtio/virtio_dev.h"

enum { FS_TAG_LEN = 36, FS_MAX_QUEUES = 8 };

struct fs_params {
    const char *name; /* for logs, copied: "folder '/home/me/src'" */
    const struct guest_mem *mem;
    struct fs_share *share; /* lent: outlives the device; one device at a time */
    const char *tag;        /* what the guest mounts it by: 1 to FS_TAG_LEN bytes */
    unsigned queue_count;   /* of requests: 1 to FS_MAX_QUEUES, each with a thread, and two more */
};

int fs_create(const struct fs_params *params, struct virtio_dev **ret);
