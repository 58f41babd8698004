// SPDX-License-Identifier: Apache-2.0
/* Frames out of the driver's transmit queues: the header of each is checked, and a copy of it goes
 * to the back-end with the driver's buffers. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "net_card.h"

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

void net_tx_send_frames(struct net *net, unsigned pair)
{
    struct virtqueue_chain chain;
    unsigned queue = net_tx_queue(pair);

    while (!net->pairs[pair].is_blocked && virtio_dev_pop(&net->vdev, queue, &chain)) {
        if (send_chain(net, pair, &chain) == -EAGAIN) {
            virtqueue_unpop(&net->vdev.queues[queue]);
            net->pairs[pair].is_blocked = true;
        } else {
            virtio_dev_push(&net->vdev, queue, chain.head, 0);
        }
    }
    virtio_dev_flush_interrupt(&net->vdev, queue);
}
