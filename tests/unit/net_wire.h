// SPDX-License-Identifier: Apache-2.0
/* A network back-end for tests: frames that are queued here are received by the card, frames that
 * it sends are kept here. Included after the system's headers. */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "virtio/net.h"

enum { WIRE_FRAMES = 1024 };

struct wire_frame {
    uint8_t *data; /* header and frame */
    size_t len;
    unsigned pair;
};

struct wire {
    struct net_backend base;
    struct net_events events;
    struct wire_frame to_card[WIRE_FRAMES], from_card[WIRE_FRAMES];
    unsigned given, taken;  /* of to_card: queued, received by the card */
    unsigned sent;          /* of from_card; more are counted and thrown away */
    unsigned full_after;    /* frames until send() answers -EAGAIN */
    int settings_err;       /* what set_offloads() and set_pairs() answer */
    unsigned receive_calls; /* how often the card asked */
    bool is_receiving[NET_MAX_QUEUE_PAIRS];
    uint64_t offloads;
    unsigned pairs;
    bool is_attached;
};

static inline struct wire *wire_of(struct net_backend *backend)
{
    return container_of(backend, struct wire, base);
}

static inline void wire_keep(struct wire_frame *frame, const struct iovec *iov, size_t count,
                             unsigned pair)
{
    frame->len = 0;
    frame->pair = pair;
    for (size_t i = 0; i < count; i++)
        frame->len += iov[i].iov_len;
    frame->data = malloc(frame->len + 1);
    if (frame->data)
        frame->len = iov_read(iov, count, 0, frame->data, frame->len);
}

static inline int wire_attach(struct net_backend *backend, struct loop *loop,
                              pthread_mutex_t *guard, const struct net_events *events)
{
    (void)loop;
    (void)guard;
    wire_of(backend)->events = *events;
    wire_of(backend)->is_attached = true;
    return 0;
}

static inline int wire_send(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                            size_t count)
{
    struct wire *wire = wire_of(backend);

    if (wire->full_after == 0)
        return -EAGAIN;
    wire->full_after--;
    if (wire->sent < WIRE_FRAMES)
        wire_keep(&wire->from_card[wire->sent], iov, count, pair);
    wire->sent++;
    return 0;
}

static inline ssize_t wire_receive(struct net_backend *backend, unsigned pair,
                                   const struct iovec *iov, size_t count)
{
    struct wire *wire = wire_of(backend);

    wire->receive_calls++;
    if (wire->taken == wire->given || wire->to_card[wire->taken].pair != pair)
        return -EAGAIN;
    const struct wire_frame *frame = &wire->to_card[wire->taken++];
    return (ssize_t)iov_write(iov, count, 0, frame->data, frame->len);
}

static inline void wire_set_receiving(struct net_backend *backend, unsigned pair, bool wanted)
{
    wire_of(backend)->is_receiving[pair] = wanted;
}

static inline int wire_set_offloads(struct net_backend *backend, uint64_t features)
{
    wire_of(backend)->offloads = features;
    return wire_of(backend)->settings_err;
}

static inline int wire_set_pairs(struct net_backend *backend, unsigned pairs)
{
    wire_of(backend)->pairs = pairs;
    return wire_of(backend)->settings_err;
}

static inline void wire_detach(struct net_backend *backend)
{
    wire_of(backend)->is_attached = false;
}

static const struct net_backend_ops wire_ops = {
    .attach = wire_attach,
    .send = wire_send,
    .receive = wire_receive,
    .set_receiving = wire_set_receiving,
    .set_offloads = wire_set_offloads,
    .set_pairs = wire_set_pairs,
    .detach = wire_detach,
};

static inline void wire_init(struct wire *wire, uint64_t offloads, unsigned pair_count)
{
    memset(wire, 0, sizeof(*wire));
    wire->base =
        (struct net_backend){ .ops = &wire_ops, .offloads = offloads, .pair_count = pair_count };
    wire->full_after = UINT32_MAX;
}

static inline void wire_fini(struct wire *wire)
{
    for (unsigned i = 0; i < WIRE_FRAMES; i++) {
        free(wire->to_card[i].data);
        free(wire->from_card[i].data);
    }
}

/* Queues a frame for the card, behind @header. The card is not told. */
static inline void wire_give(struct wire *wire, unsigned pair,
                             const struct virtio_net_hdr_v1 *header, const void *frame, size_t len)
{
    struct iovec iov[] = { { (void *)(uintptr_t)header, sizeof(*header) },
                           { (void *)(uintptr_t)frame, len } };

    wire_keep(&wire->to_card[wire->given++], iov, 2, pair);
}

/* Does what the loop would do for a back-end that has frames: calls as long as it is asked to. */
static inline void wire_call(struct wire *wire, struct virtio_dev *vdev, unsigned pair)
{
    pthread_mutex_lock(&vdev->lock);
    if (wire->is_receiving[pair])
        wire->events.can_receive(wire->events.ctx, pair);
    pthread_mutex_unlock(&vdev->lock);
}
