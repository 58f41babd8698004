// SPDX-License-Identifier: Apache-2.0
/* What stands behind a virtio-net card: Ethernet frames to and from the host.
 *
 * Frames carry a struct virtio_net_hdr_v1 of 12 bytes in front, in both directions; a back-end
 * without offloads gives a zeroed one and ignores what it gets. All on the loop's thread with the
 * guard held, but for destroy. Nothing waits: a frame that does not fit is reported. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct loop;
struct net_backend;

/* Told to the card; with the guard held. */
struct net_events {
    void (*can_receive)(void *ctx, unsigned pair); /* receive() may give a frame */
    void (*can_send)(void *ctx, unsigned pair);    /* send() takes frames again */
    void *ctx;
};

struct net_backend_ops {
    /* Tells whom to call and under which lock; once. Nothing is called before set_receiving().
     * Returns 0 or -errno. */
    int (*attach)(struct net_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                  const struct net_events *events);
    /* Sends one frame of @pair with its header. Returns 0, -EAGAIN if it does not fit now
     * (can_send follows), or another -errno if this frame is lost. */
    int (*send)(struct net_backend *backend, unsigned pair, const struct iovec *iov, size_t count);
    /* Takes one frame with its header. Returns its bytes, all of them, -EAGAIN if there is none,
     * or another -errno. A frame longer than the buffers is cut off and gone. */
    ssize_t (*receive)(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                       size_t count);
    /* Whether can_receive is wanted at all; a card with no buffers does not. */
    void (*set_receiving)(struct net_backend *backend, unsigned pair, bool wanted);
    /* The driver's choice of offloads: VIRTIO_NET_F_GUEST_* bits. Returns 0 or -errno. */
    int (*set_offloads)(struct net_backend *backend, uint64_t features);
    /* How many queue pairs the driver uses, from 1 to pair_count. Returns 0 or -errno. */
    int (*set_pairs)(struct net_backend *backend, unsigned pairs);
    void (*destroy)(struct net_backend *backend);
};

struct net_backend {
    const struct net_backend_ops *ops;
    uint64_t offloads; /* the VIRTIO_NET_F_* offload bits that it can do */
    unsigned pair_count;
};

/* A tap device by name: attached to, or created if we may (CAP_NET_ADMIN); brought up if it was
 * created. Logs what is wrong. Return 0 or -errno. */
int net_tap_open(const char *interface, unsigned pair_count, struct net_backend **ret);
/* A tap device that somebody opened for us; @fd is taken over, also on failure. */
int net_tap_from_fd(int fd, struct net_backend **ret);

/* A UNIX stream socket with a 4-byte big-endian length before each frame: QEMU's framing, which
 * passt speaks. @name is the user's word for it in logs. */
int net_stream_connect(const char *socket_path, struct net_backend **ret);
int net_stream_from_fd(int fd, const char *name, struct net_backend **ret);

/* User-mode networking: starts passt on one end of a socket pair and gives the other as a
 * back-end; passt ends with it. Logs what is wrong (no passt, user namespaces forbidden). */
int net_passt_start(struct net_backend **ret);
