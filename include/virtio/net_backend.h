// SPDX-License-Identifier: Apache-2.0
/* What stands behind a virtio-net card: Ethernet frames to and from the host.
 *
 * Frames carry a struct virtio_net_hdr_v1 of 12 bytes in front, in both directions; a back-end
 * without offloads gives a zeroed one and ignores what it gets. num_buffers is the card's own: a
 * back-end may leave it as it is. All on the loop's thread with the guard held, but for attach,
 * detach and destroy, which come while the loop does not run. Nothing waits: a frame that does not
 * fit is reported.
 *
 * A back-end outlives its cards: who opened it destroys it, and until then lends it to one card
 * after the other, each from attach() to detach(). So an interface stays, and a connection stays
 * up, when a reboot of the guest replaces the card. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/virtqueue.h"

struct loop;
struct net_backend;

/* The longest frame without its header: an Ethernet header and 64 KiB, as with TSO
 * (virtio 1.2, 5.1.6.3.1). */
enum { NET_FRAME_MAX = 14 + 65536, NET_FRAME_MIN = 14 };

/* The most pieces of memory that send() gets a frame in. */
enum { NET_SEND_BUFFERS = VIRTQUEUE_MAX_SEGMENTS + 1 };

/* Told to the card; with the guard held. */
struct net_events {
    void (*can_receive)(void *ctx, unsigned pair); /* receive() may give a frame */
    void (*can_send)(void *ctx, unsigned pair);    /* send() takes frames again */
    /* The other side is gone, and nothing else follows. Said once; not by receive() or send()
     * themselves, which answer -ENOTCONN from then on. */
    void (*link_lost)(void *ctx);
    void *ctx;
};

struct net_backend_ops {
    /* Tells whom to call and under which lock. Not twice without a detach() between, which is due
     * after a failure, too. All is as for the first card: no offloads, one pair, not receiving, and
     * the frames that came for a card before are thrown away. Only link_lost() and can_send() are
     * called before set_receiving(). Returns 0 or -errno. */
    int (*attach)(struct net_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                  const struct net_events *events);
    /* From now on nobody is called, and the guard and the loop may go. Harmless if nobody is
     * attached. */
    void (*detach)(struct net_backend *backend);
    /* Sends one frame of @pair with its header, at most NET_FRAME_MAX bytes behind that. Returns
     * 0, -EAGAIN if it does not fit now (can_send follows), or another -errno if this frame is
     * lost. */
    int (*send)(struct net_backend *backend, unsigned pair, const struct iovec *iov, size_t count);
    /* Takes one frame with its header. Returns its bytes, -EAGAIN if there is none, or another
     * -errno. A frame longer than the buffers is cut off and gone, and fills them. Who stops
     * before -EAGAIN comes back by himself: can_receive() is not repeated for frames that were
     * there before. */
    ssize_t (*receive)(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                       size_t count);
    /* Whether can_receive is wanted at all; a card with no buffers does not. */
    void (*set_receiving)(struct net_backend *backend, unsigned pair, bool wanted);
    /* The driver's choice of offloads: VIRTIO_NET_F_GUEST_* bits. Returns 0 or -errno. */
    int (*set_offloads)(struct net_backend *backend, uint64_t features);
    /* How many queue pairs the driver uses, from 1 to pair_count; 1 at start. Returns 0 or
     * -errno. */
    int (*set_pairs)(struct net_backend *backend, unsigned pairs);
    /* Detaches, then closes and frees. Half-built is fine. */
    void (*destroy)(struct net_backend *backend);
};

struct net_backend {
    const struct net_backend_ops *ops;
    uint64_t offloads; /* the VIRTIO_NET_F_* offload bits that it can do */
    unsigned pair_count;
    bool link_was_lost; /* link_lost() was said, to this card or to one before it */
};

/* Calls the destroy operation. NULL is fine. */
void net_backend_destroy(struct net_backend *backend);

/* A tap device by name: attached to, or created if we may (CAP_NET_ADMIN); brought up if it was
 * created. Logs what is wrong. Return 0 or -errno. */
int net_tap_open(const char *interface, unsigned pair_count, struct net_backend **ret);
/* A tap or macvtap device that somebody opened for us, with IFF_VNET_HDR and IFF_NO_PI; @fd is
 * taken over, also on failure. @name is the user's word for it in logs ("fd:5"). */
int net_tap_from_fd(int fd, const char *name, struct net_backend **ret);

/* A UNIX stream socket with a 4-byte big-endian length before each frame: QEMU's framing, which
 * passt speaks. @name is the user's word for it in logs. */
int net_stream_connect(const char *socket_path, struct net_backend **ret);
int net_stream_from_fd(int fd, const char *name, struct net_backend **ret);

/* What a guest's network is, as it learns by DHCP, or is told: whom it reaches by an address of the
 * host's network is then not in the way. The gateway is the host itself, and what asks the resolver
 * asks the host's; IPv6 is as the host has it. */
#define NET_PASST_ADDRESS "10.0.2.15"
#define NET_PASST_PREFIX "24"
#define NET_PASST_GATEWAY "10.0.2.2"
#define NET_PASST_RESOLVER "10.0.2.3"

struct net_passt_params {
    uint16_t mtu; /* that passt announces by DHCP and NDP; 0: its own choice, 65520 */
};

/* User-mode networking: starts passt on one end of a socket pair and gives the other as a
 * back-end; passt ends with it, and with us. No port of the host is published. Waits until passt
 * works (some 20 ms), so that what stops it is known before the guest runs. Logs what is wrong (no
 * passt, user namespaces forbidden). Returns 0 or -errno. */
int net_passt_start(const struct net_passt_params *params, struct net_backend **ret);
