// SPDX-License-Identifier: Apache-2.0
/* Frames out of the driver's transmit queues.
 *
 * How this works: the driver notifies, and frames go to the back-end until the queue is empty, each
 * with a checked copy of its header before the driver's buffers.
 *
 * We take frames faster than a driver makes them. Asked to notify as soon as the queue is empty, it
 * would do so for every frame of a stream, and be interrupted for every one; where it shares a CPU
 * with us, it is even stopped there until the frame has gone. So when the last frame was a long
 * one, more of its stream is expected: the driver is not asked, and a timer makes us look again.
 * Then all goes out that came meanwhile, with one interrupt. If nothing came, or it ends with a
 * short frame, the driver is asked again. So nothing waits but what follows a long frame at once.
 *
 * A stream that something else slows down has nothing for us when we look: the more often that was
 * so in a row, the more long frames pass before we try it again. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "host/loop.h"
#include "net_card.h"

enum {
    LONG_FRAME = 32 * 1024, /* bytes: of a stream, whose frames are near 64 KiB */
    /* Some such frames' time; far below the millisecond of data that Linux's TCP puts into a
     * queue, so a stream does not run dry. */
    LOOK_AGAIN_NS = 100 * 1000,
    PAUSE_MAX = 31,
};

/* Whether the offloads of a frame of @len bytes are such as the driver may ask for, and inside the
 * frame (5.1.6.2). What does not matter then is cleared. */
static bool check_header(const struct net *net, struct virtio_net_hdr_v1 *header, size_t len)
{
    bool has_checksum = header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    uint8_t type = header->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
    bool has_ecn = header->gso_type & VIRTIO_NET_HDR_GSO_ECN;
    unsigned feature =
        type == VIRTIO_NET_HDR_GSO_TCPV4 ? VIRTIO_NET_F_HOST_TSO4 : VIRTIO_NET_F_HOST_TSO6;

    header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    header->num_buffers = 0;
    if (has_checksum) {
        uint32_t end = (uint32_t)le16toh(header->csum_start) + le16toh(header->csum_offset) + 2;

        if (!virtio_dev_has_feature(&net->vdev, VIRTIO_NET_F_CSUM) || end > len)
            return false;
    } else {
        header->csum_start = header->csum_offset = 0;
    }
    if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
        header->gso_size = header->hdr_len = 0;
        return true;
    }
    if (type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6)
        return false;
    return has_checksum && virtio_dev_has_feature(&net->vdev, feature) &&
           (!has_ecn || virtio_dev_has_feature(&net->vdev, VIRTIO_NET_F_HOST_ECN)) &&
           header->gso_size != 0 && le16toh(header->hdr_len) <= len;
}

/* Sends the frame in @chain; one that is not in order is dropped. Returns 0, or -EAGAIN if the
 * back-end is full. */
static int send_chain(struct net *net, unsigned pair, struct virtqueue_chain *chain)
{
    struct virtio_net_hdr_v1 header;
    struct iovec row[NET_SEND_BUFFERS], *rest = virtqueue_readable(chain);
    size_t count = chain->readable_count;
    size_t len = chain->readable_bytes - sizeof(header);

    if (chain->readable_bytes < sizeof(header) + NET_FRAME_MIN || len > NET_FRAME_MAX)
        return 0;
    (void)iov_read(rest, count, 0, &header, sizeof(header));
    if (!check_header(net, &header, len))
        return 0;
    /* Our copy goes out: the driver may change its own after the check. */
    count = iov_skip(&rest, count, sizeof(header));
    row[0] = (struct iovec){ &header, sizeof(header) };
    memcpy(row + 1, rest, count * sizeof(*rest));
    return net->backend->ops->send(net->backend, pair, row, count + 1) == -EAGAIN ? -EAGAIN : 0;
}

/* Makes us look at the queue of @pair again without being notified. All pairs share the timer, so
 * it is not armed anew for another one. */
static void look_again_later(struct net *net, unsigned pair)
{
    net->pairs[pair].tx.looks_again = true;
    if (net->is_tx_timer_armed)
        return;
    net->is_tx_timer_armed = loop_set_timer(net->tx_timer, LOOK_AGAIN_NS) == 0;
    if (!net->is_tx_timer_armed)
        virtio_dev_notify(&net->vdev, net_tx_queue(pair));
}

static void look_again(void *ctx)
{
    struct net *net = ctx;

    net->is_tx_timer_armed = false;
    for (unsigned i = 0; i < net->pair_count; i++)
        if (net->pairs[i].tx.looks_again)
            virtio_dev_notify(&net->vdev, net_tx_queue(i));
}

int net_tx_init(struct net *net, struct loop *loop)
{
    return loop_add_timer(loop, &net->vdev.lock, look_again, net, &net->tx_timer);
}

void net_tx_fini(struct net *net)
{
    loop_remove(net->tx_timer);
    net->tx_timer = NULL;
}

/* Looking again found some frames, or none. */
static void learn(struct net_tx *tx, bool found)
{
    unsigned longer = 2 * tx->pause + 1;

    tx->pause = found ? 0 : longer < PAUSE_MAX ? longer : PAUSE_MAX;
    tx->pause_left = tx->pause;
}

/* Whether to look again after a frame of @len bytes. */
static bool expects_more(struct net_tx *tx, size_t len)
{
    if (len < LONG_FRAME)
        return false;
    if (tx->pause_left == 0)
        return true;
    tx->pause_left--;
    return false;
}

void net_tx_send_frames(struct net *net, unsigned pair)
{
    struct net_tx *tx = &net->pairs[pair].tx;
    struct virtqueue_chain chain;
    unsigned queue = net_tx_queue(pair), count = 0;
    bool looked = tx->looks_again, more = false;

    tx->looks_again = false;
    while (!tx->is_blocked &&
           (more ? virtio_dev_pop_unasked : virtio_dev_pop)(&net->vdev, queue, &chain)) {
        count++;
        if (send_chain(net, pair, &chain) == -EAGAIN) {
            virtqueue_unpop(&net->vdev.queues[queue]);
            tx->is_blocked = true;
        } else {
            virtio_dev_push(&net->vdev, queue, chain.head, 0);
            more = expects_more(tx, chain.readable_bytes);
        }
    }
    if (looked)
        learn(tx, count > 0);
    if (more && !tx->is_blocked)
        look_again_later(net, pair);
    virtio_dev_flush_interrupt(&net->vdev, queue);
}
