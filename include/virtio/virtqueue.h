// SPDX-License-Identifier: Apache-2.0
/* A split virtqueue in guest RAM (virtio 1.2, 2.7), as the device sees it.
 *
 * The guest is not believed: every index, address and length is copied out once and then checked,
 * chains are bounded, and a ring that breaks the rules is reported as broken, never repaired.
 * All functions are called with the device's lock held. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mem/guest_mem.h"

enum {
    VIRTQUEUE_MAX_SIZE = 512,     /* descriptors in a ring */
    VIRTQUEUE_MAX_SEGMENTS = 262, /* buffers in one chain, with indirect ones */
};

/* What the guest set up, and how far both sides are: all that a snapshot keeps. */
struct virtqueue_state {
    uint16_t max_size;            /* the device's offer */
    uint16_t size;                /* the driver's choice: a power of two up to max_size */
    uint16_t ready;               /* the driver enabled it */
    uint16_t event_idx, indirect; /* negotiated: VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC */
    uint16_t next_avail;          /* the next available entry to take */
    uint16_t next_used;           /* the next used entry to fill */
    uint16_t signalled_used;      /* next_used when virtqueue_wants_interrupt() was last asked */
    uint16_t padding[4];
    gpa_t desc, avail, used;
};

struct virtqueue {
    struct virtqueue_state state;
    const struct guest_mem *mem;
    /* Found by virtqueue_start(); valid while started. */
    void *desc_ring, *avail_ring, *used_ring;
    bool broken; /* the guest broke the rules; nothing more is taken from it until reset */
};

/* One request of the driver: first the buffers it may read from (readable), then the buffers it
 * wants filled (writable), as host addresses. */
struct virtqueue_chain {
    uint16_t head; /* how virtqueue_push() names it */
    uint16_t readable_count, writable_count;
    uint32_t readable_bytes, writable_bytes;
    struct iovec segments[VIRTQUEUE_MAX_SEGMENTS];
};

static inline struct iovec *virtqueue_readable(struct virtqueue_chain *chain)
{
    return chain->segments;
}
static inline struct iovec *virtqueue_writable(struct virtqueue_chain *chain)
{
    return chain->segments + chain->readable_count;
}

/* @max_size: a power of two up to VIRTQUEUE_MAX_SIZE. */
void virtqueue_init(struct virtqueue *vq, const struct guest_mem *mem, uint16_t max_size);
/* Back to how virtqueue_init() left it. */
void virtqueue_reset(struct virtqueue *vq);

/* Checks the addresses and the size that the driver chose, and finds the rings.
 * Returns 0, or -EINVAL if they are misaligned or outside RAM; the queue is then broken. */
int virtqueue_start(struct virtqueue *vq);

/* Takes the next chain. Returns 1, 0 if there is none, or -EPROTO if the ring is broken: a chain
 * that loops, is too long (VIRTQUEUE_MAX_SEGMENTS, or 4 GiB in all), points outside RAM, nests
 * indirect tables or has readable parts after writable ones; an index that claims more entries
 * than the ring has, those included that were popped and not yet pushed: so there are never more
 * chains in flight than the ring has descriptors. A buffer of length 0 is skipped. */
int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/* Puts the chain just taken back, as if it had not been popped; only for the last one popped, then
 * the one before it, and so on, as long as none popped after them was pushed. */
void virtqueue_unpop(struct virtqueue *vq);

/* Gives the chain @head back with @written bytes filled in its writable part. */
void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t written);

/* What a chain is given back with. */
struct virtqueue_used {
    uint16_t head;
    uint32_t written;
};

/* Gives @count chains back at once: the driver sees all of them or none. */
void virtqueue_push_all(struct virtqueue *vq, const struct virtqueue_used *chains, size_t count);

/* Whether the driver wants an interrupt for what was pushed since this was last asked. */
bool virtqueue_wants_interrupt(struct virtqueue *vq);

/* Asks the driver for a notification when it adds a chain, or to spare itself that.
 * virtqueue_enable_notify() returns true if chains came in meanwhile, which nobody will notify:
 * pop again. */
bool virtqueue_enable_notify(struct virtqueue *vq);
void virtqueue_disable_notify(struct virtqueue *vq);

/* How many available chains the driver has shown and the device has not taken. 0 if broken. */
uint16_t virtqueue_available(struct virtqueue *vq);

/* Copy between a row of buffers and @buf, from byte @offset of the row on, as many of @len bytes
 * as there are. Return how many. */
size_t iov_read(const struct iovec *iov, size_t count, size_t offset, void *buf, size_t len);
size_t iov_write(const struct iovec *iov, size_t count, size_t offset, const void *buf, size_t len);
/* Cuts the first @len bytes off the row, which must have them. Returns the new count; *@iov moves
 * to the first buffer that is left, whose start may be changed in place. */
size_t iov_skip(struct iovec **iov, size_t count, size_t len);
