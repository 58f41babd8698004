// SPDX-License-Identifier: Apache-2.0
/* The commands of the control queue (virtio 1.2, 5.1.6.5), and the settings of the back-end that
 * follow from them and from the features.
 *
 * Receive filters are accepted and not applied: filtering is best effort (5.1.6.5.1), and who is
 * behind the back-end does not send much that is not for this card. */
#include <endian.h>
#include <string.h>

#include "net_card.h"

/* --- the back-end's settings --- */

uint64_t net_guest_offloads(uint64_t features)
{
    features &= NET_GUEST_FEATURES;
    if (!(features & NET_FEATURE(VIRTIO_NET_F_GUEST_CSUM)))
        return 0;
    if (!(features & NET_GUEST_SEGMENTATION))
        features &= ~NET_FEATURE(VIRTIO_NET_F_GUEST_ECN);
    return features;
}

int net_configure(struct net *net)
{
    const struct net_backend_ops *ops = net->backend->ops;

    if (net->is_configured || !net->is_link_up)
        return 0;
    int err = ops->set_offloads(net->backend, net_guest_offloads(net->state.guest_offloads));

    if (!err)
        err = ops->set_pairs(net->backend, net->state.pairs);
    net->is_configured = err == 0;
    return err;
}

/* --- commands --- */

/* A command whose class and number have been read. */
struct command {
    uint8_t class, number;
    const struct iovec *iov;
    size_t iov_count;
    size_t bytes; /* behind class and number */
};

/* Copies data of the command; it must be @len bytes exactly. */
static bool take_data(const struct command *command, void *data, size_t len)
{
    return command->bytes == len && iov_read(command->iov, command->iov_count,
                                             sizeof(struct virtio_net_ctrl_hdr), data, len) == len;
}

static bool has_feature(const struct net *net, unsigned bit)
{
    return virtio_dev_has_feature(&net->vdev, bit);
}

/* VIRTIO_NET_CTRL_RX: on or off, of promiscuous and all-multicast. */
static bool set_receive_mode(const struct net *net, const struct command *command)
{
    uint8_t on;

    return has_feature(net, VIRTIO_NET_F_CTRL_RX) &&
           command->number <= VIRTIO_NET_CTRL_RX_ALLMULTI && take_data(command, &on, sizeof(on)) &&
           on <= 1;
}

/* Two tables, of unicast and multicast addresses, each behind its number of entries; @offset is
 * moved behind the one that is there. */
static bool skip_mac_table(const struct command *command, uint64_t *offset)
{
    uint32_t entries;

    if (iov_read(command->iov, command->iov_count, sizeof(struct virtio_net_ctrl_hdr) + *offset,
                 &entries, sizeof(entries)) != sizeof(entries))
        return false;
    *offset += sizeof(entries) + (uint64_t)le32toh(entries) * NET_MAC_LEN;
    return *offset <= command->bytes;
}

static bool set_mac_tables(const struct net *net, const struct command *command)
{
    uint64_t offset = 0;

    return has_feature(net, VIRTIO_NET_F_CTRL_RX) && skip_mac_table(command, &offset) &&
           skip_mac_table(command, &offset) && offset == command->bytes;
}

static bool set_mac(struct net *net, const struct command *command)
{
    return has_feature(net, VIRTIO_NET_F_CTRL_MAC_ADDR) &&
           take_data(command, net->state.mac, sizeof(net->state.mac));
}

static bool set_pairs(struct net *net, const struct command *command)
{
    struct virtio_net_ctrl_mq request;

    if (!has_feature(net, VIRTIO_NET_F_MQ) || !take_data(command, &request, sizeof(request)))
        return false;

    uint16_t pairs = le16toh(request.virtqueue_pairs);
    uint16_t before = net->state.pairs;

    if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > net->pair_count)
        return false;
    net->state.pairs = pairs;
    net->is_configured = false;
    if (net_configure(net)) {
        net->state.pairs = before;
        return false;
    }
    /* What the driver put into them before is to be looked at now. */
    for (unsigned queue = 2u * before; queue < 2u * pairs; queue++)
        virtio_dev_notify(&net->vdev, queue);
    return true;
}

static bool set_guest_offloads(struct net *net, const struct command *command)
{
    uint64_t offloads;

    if (!has_feature(net, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
        !take_data(command, &offloads, sizeof(offloads)))
        return false;
    offloads = le64toh(offloads);

    uint64_t before = net->state.guest_offloads;

    if ((offloads & ~net_guest_offloads(net->vdev.state.driver_features)) ||
        offloads != net_guest_offloads(offloads))
        return false;
    net->state.guest_offloads = offloads;
    net->is_configured = false;
    if (net_configure(net)) {
        net->state.guest_offloads = before;
        return false;
    }
    return true;
}

static bool execute(struct net *net, const struct command *command)
{
    switch (command->class) {
    case VIRTIO_NET_CTRL_RX:
        return set_receive_mode(net, command);
    case VIRTIO_NET_CTRL_MAC:
        if (command->number == VIRTIO_NET_CTRL_MAC_TABLE_SET)
            return set_mac_tables(net, command);
        return command->number == VIRTIO_NET_CTRL_MAC_ADDR_SET && set_mac(net, command);
    case VIRTIO_NET_CTRL_MQ:
        return command->number == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && set_pairs(net, command);
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
        return command->number == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET &&
               set_guest_offloads(net, command);
    default:
        return false;
    }
}

uint8_t net_control_execute(struct net *net, const struct iovec *readable, size_t count,
                            size_t bytes)
{
    struct virtio_net_ctrl_hdr header;

    if (iov_read(readable, count, 0, &header, sizeof(header)) != sizeof(header))
        return VIRTIO_NET_ERR;

    struct command command = { header.class, header.cmd, readable, count, bytes - sizeof(header) };

    return execute(net, &command) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
}
