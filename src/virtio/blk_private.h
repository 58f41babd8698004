// SPDX-License-Identifier: Apache-2.0
/* The two parts of a disk: blk.c is the device, blk_request.c serves its queues. All of it is
 * called with the device locked. */
#pragma once

#include <assert.h>
#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/blk.h"

enum {
    BLK_QUEUE_SIZE = 128,
    BLK_SEG_MAX = BLK_QUEUE_SIZE - 2, /* so that a request fits without indirect descriptors, too */
    BLK_RANGES_MAX = 32,              /* of one discard or write-zeroes request ... */
    BLK_RANGE_MAX_SECTORS = 256 * 1024 * 1024 / SECTOR_SIZE, /* ... and of each */
};

struct blk_request {
    struct block_request io; /* what the back-end sees */
    struct blk *blk;
    struct blk_request *next_free;
    uint8_t *status; /* the last byte that the driver gave us to write */
    uint32_t written;
    uint16_t head, queue;
    uint16_t range_count, next_range;
    union {
        struct iovec data[BLK_SEG_MAX];
        struct virtio_blk_discard_write_zeroes ranges[BLK_RANGES_MAX];
    };
};

/* What the guest can observe, beyond what struct virtio_dev keeps. */
struct blk_state {
    uint64_t sector_count;
    uint8_t writeback; /* as the driver last set it (VIRTIO_BLK_F_CONFIG_WCE) */
    uint8_t padding[7];
};

struct blk {
    struct virtio_dev vdev;
    struct blk_state state;
    struct block_backend *backend;
    char serial[BLK_SERIAL_LEN];
    bool has_logged;     /* a failure of the host; once is enough */
    bool has_unflushed;  /* something was submitted since the last flush_submissions() */
    uint32_t interrupts; /* queues that were pushed to and not yet interrupted for, as bits */
    uint32_t starved;    /* queues left alone because the pool was empty, as bits */
    /* Requests are used last in, first out, and the memory of those never needed is never
     * touched. */
    struct blk_request *pool, *free;
    unsigned pool_used;
    struct virtqueue_chain chain; /* the one being looked at */
};
static_assert(BLK_MAX_QUEUES <= 32, "the bits of a uint32_t");

/* --- blk_request.c --- */

/* Room for the requests. Returns 0 or -errno. */
int blk_make_pool(struct blk *blk);
/* Of a disk whose back-end is detached. */
void blk_free_pool(struct blk *blk);
/* Takes what the driver has queued, as far as there is room for more requests. */
void blk_serve_queue(struct blk *blk, unsigned index);
/* Of struct block_events: a row of completions has been handled. */
void blk_batch_done(void *ctx);
/* Whether written data may stay in a volatile cache until the driver flushes (5.2.6.2). */
bool blk_is_writeback(const struct blk *blk);
