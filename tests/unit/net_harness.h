// SPDX-License-Identifier: Apache-2.0
/* A loop around a network back-end, for tests that are the card themselves. Included after
 * cmocka.h. */
#pragma once

#include <linux/virtio_net.h>
#include <string.h>

#include "host/loop.h"
#include "virtio/net_backend.h"

enum { HARNESS_HEADER = sizeof(struct virtio_net_hdr_v1), HARNESS_PATIENCE_MS = 5000 };

struct harness {
    struct loop *loop;
    struct loop_source *tick;
    pthread_mutex_t guard;
    struct net_backend *backend;
    unsigned can_receive[8], can_send, links_lost;
};

static inline void harness_stop(void *ctx)
{
    loop_stop(((struct harness *)ctx)->loop);
}

static inline void harness_can_receive(void *ctx, unsigned pair)
{
    struct harness *harness = ctx;

    assert_int_not_equal(pthread_mutex_trylock(&harness->guard), 0);
    harness->can_receive[pair]++;
    harness->backend->ops->set_receiving(harness->backend, pair, false);
    harness_stop(harness);
}

static inline void harness_can_send(void *ctx, unsigned pair)
{
    struct harness *harness = ctx;
    (void)pair;

    harness->can_send++;
    harness_stop(harness);
}

static inline void harness_link_lost(void *ctx)
{
    struct harness *harness = ctx;

    harness->links_lost++;
    harness_stop(harness);
}

static inline void harness_init(struct harness *harness)
{
    memset(harness, 0, sizeof(*harness));
    pthread_mutex_init(&harness->guard, NULL);
    assert_int_equal(loop_create(&harness->loop), 0);
    assert_int_equal(loop_add_timer(harness->loop, NULL, harness_stop, harness, &harness->tick), 0);
}

static inline void harness_attach(struct harness *harness, struct net_backend *backend)
{
    const struct net_events events = { harness_can_receive, harness_can_send, harness_link_lost,
                                       harness };

    harness->backend = backend;
    assert_int_equal(backend->ops->attach(backend, harness->loop, &harness->guard, &events), 0);
}

/* The card and its loop go, as in a reboot, and the back-end gets new ones. */
static inline void harness_replace_card(struct harness *harness)
{
    struct net_backend *backend = harness->backend;

    backend->ops->detach(backend);
    loop_destroy(harness->loop);
    pthread_mutex_destroy(&harness->guard);
    harness_init(harness);
    harness_attach(harness, backend);
}

static inline void harness_fini(struct harness *harness)
{
    net_backend_destroy(harness->backend);
    loop_destroy(harness->loop);
    pthread_mutex_destroy(&harness->guard);
}

/* Runs the loop until the back-end says something, or for @ms. */
static inline void harness_run(struct harness *harness, unsigned ms)
{
    assert_int_equal(loop_set_timer(harness->tick, (uint64_t)ms * 1000000), 0);
    assert_int_equal(loop_run(harness->loop), 0);
}

static inline ssize_t harness_try_receive(struct harness *harness, unsigned pair, void *bytes,
                                          size_t len)
{
    struct iovec iov = { bytes, len };

    return harness->backend->ops->receive(harness->backend, pair, &iov, 1);
}

/* Receives header and frame, waiting for it. Returns its bytes, or what receive() said. */
static inline ssize_t harness_receive(struct harness *harness, unsigned pair, void *bytes,
                                      size_t len)
{
    for (int tries = 0; tries < 10; tries++) {
        ssize_t got = harness_try_receive(harness, pair, bytes, len);

        if (got != -EAGAIN)
            return got;
        harness->backend->ops->set_receiving(harness->backend, pair, true);
        harness_run(harness, HARNESS_PATIENCE_MS);
        harness->backend->ops->set_receiving(harness->backend, pair, false);
    }
    return -EAGAIN;
}

static inline int harness_send(struct harness *harness, unsigned pair,
                               const struct virtio_net_hdr_v1 *header, const void *frame,
                               size_t len)
{
    const struct virtio_net_hdr_v1 none = { 0 };
    struct iovec iov[] = { { (void *)(uintptr_t)(header ? header : &none), HARNESS_HEADER },
                           { (void *)(uintptr_t)frame, len } };

    return harness->backend->ops->send(harness->backend, pair, iov, 2);
}
