// SPDX-License-Identifier: Apache-2.0
/* The parts of the network card among themselves: net.c is the device, net_rx.c fills the
 * driver's receive buffers, net_tx.c sends its frames, net_control.c obeys its commands and sets
 * the back-end as it wants it. */
#pragma once

#include <linux/virtio_net.h>

#include "virtio/net.h"

enum {
    NET_HEADER_LEN = sizeof(struct virtio_net_hdr_v1),
    NET_QUEUE_SIZE = 256,
    NET_RX_SEGMENTS = 2 * VIRTQUEUE_MAX_SEGMENTS, /* readv() takes 1024 */
};

#define NET_FEATURE(bit) (UINT64_C(1) << (bit))

/* Offloads towards the driver. */
#define NET_GUEST_SEGMENTATION                                                                     \
    (NET_FEATURE(VIRTIO_NET_F_GUEST_TSO4) | NET_FEATURE(VIRTIO_NET_F_GUEST_TSO6))
#define NET_GUEST_FEATURES                                                                         \
    (NET_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | NET_GUEST_SEGMENTATION |                               \
     NET_FEATURE(VIRTIO_NET_F_GUEST_ECN))

/* A receive queue; net_rx.c tells how it works. */
struct net_rx {
    struct virtio_dev *vdev;
    unsigned queue;
    /* Chains that were popped and wait for a frame, their buffers in one row, and their sum. */
    struct {
        uint16_t head;
        uint16_t segment_count;
        uint32_t bytes;
    } chains[NET_QUEUE_SIZE];
    unsigned chain_count;
    struct iovec segments[NET_RX_SEGMENTS + 1]; /* one more for the spill */
    unsigned segment_count;
    uint64_t bytes;
    unsigned short_frames; /* received in a row, as far as that matters */
    /* A frame that was longer than the buffers it was read into: its length (0: none), how much
     * of it is in them, and the rest. */
    size_t held_len, held_in_place;
    uint8_t *spill; /* NET_FRAME_MAX bytes, owned; its pages are untouched mostly */
};

int net_rx_init(struct net_rx *rx, struct virtio_dev *vdev, unsigned queue);
void net_rx_fini(struct net_rx *rx);
/* Takes one frame from @backend's @pair and gives it to the driver, without interrupt. Returns 1,
 * also if the frame had to be dropped, 0 if there is none, -ENOBUFS if it is the driver's turn:
 * queue_notify() follows. */
int net_rx_take_frame(struct net_rx *rx, struct net_backend *backend, unsigned pair);
/* The queue was reset: what was popped from it is nothing any more. */
void net_rx_forget(struct net_rx *rx);
/* Puts back what was popped, as if it had not been. */
void net_rx_put_back(struct net_rx *rx);

/* What the driver can observe beyond features and queues. */
struct net_state {
    uint8_t mac[NET_MAC_LEN];
    uint16_t pairs;          /* that the driver uses */
    uint64_t guest_offloads; /* VIRTIO_NET_F_GUEST_* that it wants now */
};

/* A transmit queue; net_tx.c tells how it works. */
struct net_tx {
    bool is_blocked;  /* the back-end takes no more frames until can_send() */
    bool looks_again; /* when the timer fires: the driver was not asked to notify */
    /* How many long frames we do not look again after, as doing so was in vain, and how many are
     * left of them. */
    unsigned pause, pause_left;
};

struct net_pair {
    struct net_rx rx;
    struct net_tx tx;
};

struct net {
    struct virtio_dev vdev;
    struct net_backend *backend;
    struct net_state state;
    uint8_t own_mac[NET_MAC_LEN]; /* before the driver changes it */
    uint16_t mtu;
    bool is_link_up;
    struct loop_source *tx_timer;
    bool is_tx_timer_armed;
    bool is_configured; /* the back-end knows state.pairs and state.guest_offloads */
    unsigned pair_count;
    struct net_pair pairs[]; /* pair_count */
};

static inline unsigned net_rx_queue(unsigned pair)
{
    return 2 * pair;
}

static inline unsigned net_tx_queue(unsigned pair)
{
    return 2 * pair + 1;
}

int net_tx_init(struct net *net, struct loop *loop);
void net_tx_fini(struct net *net);
/* Sends the frames in the transmit queue of @pair, as far as the back-end takes them. What one
 * wake-up may pop is bounded by virtio_dev_pop(). */
void net_tx_send_frames(struct net *net, unsigned pair);

/* The offloads towards the driver that may follow from @features: without checksums there is no
 * segmentation (5.1.3.1). */
uint64_t net_guest_offloads(uint64_t features);

/* Tells the back-end what the driver chose, if it does not know. Returns 0 or -errno. */
int net_configure(struct net *net);

/* Obeys the command in @readable (5.1.6.5). Returns VIRTIO_NET_OK or VIRTIO_NET_ERR. */
uint8_t net_control_execute(struct net *net, const struct iovec *readable, size_t count,
                            size_t bytes);
