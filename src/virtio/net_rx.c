// SPDX-License-Identifier: Apache-2.0
/* Frames into the driver's receive buffers.
 *
 * How this works: nobody knows how long the next frame is before it has been read, so chains are
 * popped ahead until the longest one would fit, and the frame is read right into them. It takes
 * the first few (one, without VIRTIO_NET_F_MRG_RXBUF), which are pushed together, as the driver
 * must see all of a frame or nothing (virtio 1.2, 5.1.6.4); the others wait for the next frame.
 *
 * When the ring runs low there may be less. The read then ends in the spill, so that nothing is
 * lost yet: a driver that takes 64 KiB frames must provide the room, and as soon as it does the
 * spilled part follows. Without that (no TSO, or one chain per frame) waiting would not help, and
 * the frame is dropped. */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net_card.h"

static bool can_merge(const struct net_rx *rx)
{
    return virtio_dev_has_feature(rx->vdev, VIRTIO_NET_F_MRG_RXBUF);
}

static bool takes_long_frames(const struct net_rx *rx)
{
    return can_merge(rx) && (virtio_dev_has_feature(rx->vdev, VIRTIO_NET_F_GUEST_TSO4) ||
                             virtio_dev_has_feature(rx->vdev, VIRTIO_NET_F_GUEST_TSO6));
}

int net_rx_init(struct net_rx *rx, struct virtio_dev *vdev, unsigned queue)
{
    rx->vdev = vdev;
    rx->queue = queue;
    rx->spill = malloc(NET_FRAME_MAX);
    return rx->spill ? 0 : -ENOMEM;
}

void net_rx_fini(struct net_rx *rx)
{
    free(rx->spill);
    rx->spill = NULL;
}

void net_rx_forget(struct net_rx *rx)
{
    rx->chain_count = rx->segment_count = 0;
    rx->bytes = 0;
    rx->held_len = 0;
}

void net_rx_put_back(struct net_rx *rx)
{
    for (unsigned i = 0; i < rx->chain_count; i++)
        virtqueue_unpop(&rx->vdev->queues[rx->queue]);
    net_rx_forget(rx);
}

/* --- buffers --- */

static bool has_room(const struct net_rx *rx)
{
    return rx->chain_count < VIRTQUEUE_MAX_SIZE &&
           rx->segment_count + VIRTQUEUE_MAX_SEGMENTS <= NET_RX_SEGMENTS;
}

static bool add_chain(struct net_rx *rx)
{
    struct virtqueue_chain chain;

    if (!virtio_dev_pop(rx->vdev, rx->queue, &chain))
        return false;
    if (chain.writable_bytes == 0) {
        virtio_dev_needs_reset(rx->vdev, "a receive buffer that cannot be written");
        return false;
    }
    rx->chains[rx->chain_count].head = chain.head;
    rx->chains[rx->chain_count].segment_count = chain.writable_count;
    rx->chains[rx->chain_count].bytes = chain.writable_bytes;
    rx->chain_count++;
    memcpy(&rx->segments[rx->segment_count], virtqueue_writable(&chain),
           chain.writable_count * sizeof(struct iovec));
    rx->segment_count += chain.writable_count;
    rx->bytes += chain.writable_bytes;
    return true;
}

/* Pops chains until they hold @len bytes, as far as there are any. */
static void pop_ahead(struct net_rx *rx, size_t len)
{
    while (rx->bytes < len && has_room(rx) && add_chain(rx))
        ;
}

/* Takes the first @count chains out of the row. */
static void drop_chains(struct net_rx *rx, unsigned count)
{
    unsigned segments = 0;

    for (unsigned i = 0; i < count; i++) {
        segments += rx->chains[i].segment_count;
        rx->bytes -= rx->chains[i].bytes;
    }
    rx->chain_count -= count;
    rx->segment_count -= segments;
    memmove(rx->chains, rx->chains + count, rx->chain_count * sizeof(rx->chains[0]));
    memmove(rx->segments, rx->segments + segments, rx->segment_count * sizeof(rx->segments[0]));
}

/* --- frames --- */

/* Gives the driver the frame of @len bytes that is in the first chains. */
static void deliver(struct net_rx *rx, size_t len)
{
    struct virtqueue_used used[VIRTQUEUE_MAX_SIZE];
    unsigned count = 0;
    size_t left = len;

    while (left > 0) {
        uint32_t bytes = rx->chains[count].bytes;
        uint32_t written = left < bytes ? (uint32_t)left : bytes;

        assert(count < rx->chain_count);
        used[count] = (struct virtqueue_used){ rx->chains[count].head, written };
        left -= written;
        count++;
    }
    uint16_t num_buffers = htole16((uint16_t)count);

    (void)iov_write(rx->segments, rx->segment_count,
                    offsetof(struct virtio_net_hdr_v1, num_buffers), &num_buffers,
                    sizeof(num_buffers));
    virtio_dev_push_all_quietly(rx->vdev, rx->queue, used, count);
    drop_chains(rx, count);
}

/* Goes on with the frame that did not fit. */
static int continue_held(struct net_rx *rx)
{
    pop_ahead(rx, rx->held_len);
    if (rx->bytes < rx->held_len && has_room(rx))
        return -ENOBUFS;

    size_t len = rx->held_len;

    rx->held_len = 0;
    if (rx->bytes < len) /* in crumbs: more of them we do not keep */
        return 1;
    (void)iov_write(rx->segments, rx->segment_count, rx->held_in_place, rx->spill,
                    len - rx->held_in_place);
    deliver(rx, len);
    return 1;
}

int net_rx_take_frame(struct net_rx *rx, struct net_backend *backend, unsigned pair)
{
    const size_t longest = NET_HEADER_LEN + NET_FRAME_MAX;

    if (rx->held_len > 0)
        return continue_held(rx);
    pop_ahead(rx, can_merge(rx) ? longest : 1);
    if (rx->chain_count == 0)
        return -ENOBUFS;

    unsigned count = rx->segment_count;

    if (rx->bytes < longest)
        rx->segments[count++] = (struct iovec){ rx->spill, NET_FRAME_MAX };

    ssize_t len = backend->ops->receive(backend, pair, rx->segments, count);

    if (len < 0)
        return 0;
    if (len < NET_HEADER_LEN + NET_FRAME_MIN || (size_t)len > longest)
        return 1;
    if ((size_t)len <= rx->bytes) {
        deliver(rx, (size_t)len);
    } else if (takes_long_frames(rx)) {
        rx->held_len = (size_t)len;
        rx->held_in_place = (size_t)rx->bytes;
        return continue_held(rx);
    }
    return 1;
}
