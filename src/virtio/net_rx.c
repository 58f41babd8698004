// SPDX-License-Identifier: Apache-2.0
/* Frames into the driver's receive buffers.
 *
 * How this works: nobody knows how long the next frame is before it has been read, so chains are
 * popped ahead and the frame is read right into them, with a spill behind for what they do not
 * hold. It takes the first few chains (one, without VIRTIO_NET_F_MRG_RXBUF), which are pushed
 * together, as the driver must see all of a frame or nothing (virtio 1.2, 5.1.6.4); the others
 * wait for the next frame.
 *
 * How much is popped ahead follows the traffic, as reading into dozens of buffers costs more than
 * a short frame is worth: after a row of short frames the next one is expected to be short, and a
 * long one then costs a copy out of the spill.
 *
 * If the ring does not hold the frame, the driver may still be about to fill it: one that takes
 * 64 KiB frames must provide the room, so the frame waits for that. Otherwise (no TSO, or one
 * chain per frame) waiting would not help, and the frame is dropped. */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net_card.h"

enum {
    LONGEST = NET_HEADER_LEN + NET_FRAME_MAX,
    SHORT = 2048,      /* bytes with header: all that a network without TSO has */
    SHORT_FRAMES = 32, /* so many short ones in a row let another be expected */
};

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
    return rx->chain_count < NET_QUEUE_SIZE &&
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

/* Gives the driver the frame of @len bytes that is in the first chains. A tap says that it has
 * checked a checksum also to those who did not ask (5.1.6.4.1). */
static void deliver(struct net_rx *rx, size_t len)
{
    const uint8_t no_flags = 0;
    struct virtqueue_used used[NET_QUEUE_SIZE];
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
    if (!virtio_dev_has_feature(rx->vdev, VIRTIO_NET_F_GUEST_CSUM))
        (void)iov_write(rx->segments, rx->segment_count, offsetof(struct virtio_net_hdr_v1, flags),
                        &no_flags, sizeof(no_flags));
    virtio_dev_push_all(rx->vdev, rx->queue, used, count);
    drop_chains(rx, count);
}

/* Goes on with the frame that was longer than the buffers it was read into. */
static int continue_held(struct net_rx *rx)
{
    size_t len = rx->held_len;

    pop_ahead(rx, len);
    if (rx->bytes < len && takes_long_frames(rx) && has_room(rx))
        return -ENOBUFS;
    rx->held_len = 0;
    if (rx->bytes >= len) {
        (void)iov_write(rx->segments, rx->segment_count, rx->held_in_place, rx->spill,
                        len - rx->held_in_place);
        deliver(rx, len);
    }
    return 1;
}

/* Reads a frame into the first buffers, @wanted bytes or what there is, and the spill. *@in_place
 * is how many they have. */
static ssize_t read_frame(struct net_rx *rx, struct net_backend *backend, unsigned pair,
                          size_t wanted, size_t *in_place)
{
    size_t bytes = 0;
    unsigned count = 0;

    while (count < rx->segment_count && bytes < wanted)
        bytes += rx->segments[count++].iov_len;

    struct iovec displaced = rx->segments[count];

    rx->segments[count] = (struct iovec){ rx->spill, NET_FRAME_MAX };
    ssize_t len =
        backend->ops->receive(backend, pair, rx->segments, bytes < LONGEST ? count + 1 : count);
    rx->segments[count] = displaced;
    *in_place = bytes;
    return len;
}

int net_rx_take_frame(struct net_rx *rx, struct net_backend *backend, unsigned pair)
{
    size_t wanted = rx->short_frames < SHORT_FRAMES ? LONGEST : SHORT;
    size_t in_place;

    if (rx->held_len > 0)
        return continue_held(rx);
    pop_ahead(rx, can_merge(rx) ? wanted : 1);
    if (rx->chain_count == 0)
        return -ENOBUFS;

    ssize_t len = read_frame(rx, backend, pair, can_merge(rx) ? wanted : LONGEST, &in_place);

    if (len < 0)
        return 0;
    if (len < NET_HEADER_LEN + NET_FRAME_MIN || len > LONGEST)
        return 1;
    if (len > SHORT)
        rx->short_frames = 0;
    else if (rx->short_frames < SHORT_FRAMES)
        rx->short_frames++;
    if ((size_t)len <= in_place) {
        deliver(rx, (size_t)len);
    } else if (can_merge(rx)) {
        rx->held_len = (size_t)len;
        rx->held_in_place = in_place;
        return continue_held(rx);
    }
    return 1;
}
