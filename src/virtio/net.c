// SPDX-License-Identifier: Apache-2.0
/* How this works: queue 2N receives and queue 2N + 1 transmits for pair N; the last queue is for
 * commands. The back-end moves whole frames between the host and the buffers in guest RAM.
 *
 *   receive   the back-end says can_receive(); net_rx.c fills buffers until there are no more
 *             frames. Without buffers the back-end is told not to call, and the driver's
 *             notification starts it again.
 *   transmit  the driver notifies; net_tx.c sends frames until the queue is empty, and in a stream
 *             looks again by itself. A back-end that is full leaves the chain in the queue, and
 *             its can_send() starts it again.
 *
 * Both end early after a number of frames and come back, so that others get their turn, and
 * interrupt once for all.
 *
 * Features are settled and resets come on vCPU threads, but the back-end belongs to the loop's
 * thread. So these only note that the back-end is to be configured, and the first work on the
 * loop's thread does it. */
#include "virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "host/log.h"
#include "host/state.h"
#include "net_card.h"

enum { FRAMES_PER_TURN = 256, STATE_VERSION = 1, MTU_MIN = 68 };

#define CHECKSUM_FEATURES                                                                          \
    (NET_FEATURE(VIRTIO_NET_F_CSUM) | NET_FEATURE(VIRTIO_NET_F_HOST_TSO4) |                        \
     NET_FEATURE(VIRTIO_NET_F_HOST_TSO6) | NET_FEATURE(VIRTIO_NET_F_HOST_ECN))

static struct net *to_net(struct virtio_dev *vdev)
{
    return container_of(vdev, struct net, vdev);
}

/* Behind the pairs that the driver knows of (5.1.2). */
static unsigned control_queue(const struct net *net)
{
    return 2 * (virtio_dev_has_feature(&net->vdev, VIRTIO_NET_F_MQ) ? net->pair_count : 1);
}

/* --- frames --- */

static void net_can_send(void *ctx, unsigned pair)
{
    struct net *net = ctx;

    net->pairs[pair].tx.is_blocked = false;
    virtio_dev_notify(&net->vdev, net_tx_queue(pair));
}

static void receive(struct net *net, unsigned pair)
{
    struct virtio_dev *vdev = &net->vdev;
    int taken = virtio_dev_is_running(vdev) && pair < net->state.pairs ? 1 : -ENOBUFS;

    for (int turn = 0; taken > 0 && turn < FRAMES_PER_TURN; turn++)
        taken = net_rx_take_frame(&net->pairs[pair].rx, net->backend, pair);
    virtio_dev_flush_interrupt(vdev, net_rx_queue(pair));
    net->backend->ops->set_receiving(net->backend, pair, taken != -ENOBUFS);
    if (taken > 0)
        virtio_dev_notify(vdev, net_rx_queue(pair));
}

static void net_can_receive(void *ctx, unsigned pair)
{
    receive(ctx, pair);
}

/* --- commands --- */

static void obey_commands(struct net *net, unsigned queue)
{
    struct virtqueue_chain chain;

    while (virtio_dev_pop(&net->vdev, queue, &chain)) {
        uint8_t ack = net_control_execute(net, virtqueue_readable(&chain), chain.readable_count,
                                          chain.readable_bytes);
        size_t written =
            iov_write(virtqueue_writable(&chain), chain.writable_count, 0, &ack, sizeof(ack));

        virtio_dev_push(&net->vdev, queue, chain.head, (uint32_t)written);
    }
    virtio_dev_flush_interrupt(&net->vdev, queue);
}

/* --- the device --- */

static void net_link_lost(void *ctx)
{
    struct net *net = ctx;

    net->is_link_up = false;
    virtio_dev_config_changed(&net->vdev);
    /* From now on frames are lost instead of waiting. */
    for (unsigned i = 0; i < net->pair_count; i++)
        net_can_send(net, i);
}

static void net_queue_notify(struct virtio_dev *vdev, unsigned index)
{
    struct net *net = to_net(vdev);
    unsigned pair = index / 2;

    if (net_configure(net)) {
        virtio_dev_needs_reset(vdev, "the host refuses the offloads or queues");
        return;
    }
    if (index == control_queue(net)) {
        if (virtio_dev_has_feature(vdev, VIRTIO_NET_F_CTRL_VQ))
            obey_commands(net, index);
    } else if (pair < net->state.pairs) {
        if (index == net_rx_queue(pair))
            receive(net, pair);
        else
            net_tx_send_frames(net, pair);
    }
}

static void net_config_read(struct virtio_dev *vdev, uint32_t offset, void *data, uint32_t len)
{
    const struct net *net = to_net(vdev);
    struct virtio_net_config config = {
        .status = htole16(net->is_link_up ? VIRTIO_NET_S_LINK_UP : 0),
        .max_virtqueue_pairs = htole16((uint16_t)net->pair_count),
        .mtu = htole16(net->mtu),
    };

    memcpy(config.mac, net->state.mac, sizeof(config.mac));
    memcpy(data, (const uint8_t *)&config + offset, len);
}

static void start_anew(struct net *net, uint64_t driver_features)
{
    net->state.pairs = 1;
    net->state.guest_offloads = net_guest_offloads(driver_features);
    net->is_configured = false;
    for (unsigned i = 0; i < net->pair_count; i++) {
        net_rx_forget(&net->pairs[i].rx);
        net->pairs[i].tx = (struct net_tx){ 0 };
    }
}

static int net_activate(struct virtio_dev *vdev)
{
    start_anew(to_net(vdev), vdev->state.driver_features);
    return 0;
}

static void net_reset(struct virtio_dev *vdev)
{
    struct net *net = to_net(vdev);

    start_anew(net, 0);
    memcpy(net->state.mac, net->own_mac, sizeof(net->state.mac));
}

/* --- saved state --- */

static void net_settle(struct virtio_dev *vdev)
{
    struct net *net = to_net(vdev);

    for (unsigned i = 0; i < net->pair_count; i++)
        net_rx_put_back(&net->pairs[i].rx);
}

static int net_save(struct virtio_dev *vdev, struct state_writer *out)
{
    const struct net *net = to_net(vdev);

    return state_save(out, "net", STATE_VERSION, &net->state, sizeof(net->state));
}

static int net_load(struct virtio_dev *vdev, struct state_reader *in)
{
    struct net *net = to_net(vdev);
    struct net_state state;
    int err = state_load(in, "net", STATE_VERSION, &state, sizeof(state));

    if (err)
        return err;

    unsigned most = virtio_dev_has_feature(vdev, VIRTIO_NET_F_MQ) ? net->pair_count : 1;

    if (state.pairs < 1 || state.pairs > most ||
        (state.guest_offloads & ~net_guest_offloads(vdev->state.driver_features)))
        return -EBADMSG;
    start_anew(net, 0);
    net->state = state;
    return 0;
}

/* --- making one --- */

static void net_destroy(struct virtio_dev *vdev)
{
    struct net *net = to_net(vdev);

    net->backend->ops->detach(net->backend);
    net_tx_fini(net);
    for (unsigned i = 0; i < net->pair_count; i++)
        net_rx_fini(&net->pairs[i].rx);
    virtio_dev_fini(vdev);
    free(net);
}

static const struct virtio_dev_ops net_ops = {
    .config_read = net_config_read,
    .activate = net_activate,
    .queue_notify = net_queue_notify,
    .reset = net_reset,
    .settle = net_settle,
    .save = net_save,
    .load = net_load,
    .destroy = net_destroy,
};

static uint64_t device_features(const struct net_params *params)
{
    const struct net_backend *backend = params->backend;
    uint64_t features = NET_FEATURE(VIRTIO_NET_F_MAC) | NET_FEATURE(VIRTIO_NET_F_STATUS) |
                        NET_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | NET_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
                        NET_FEATURE(VIRTIO_NET_F_CTRL_RX) | NET_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR);

    features |= backend->offloads & (CHECKSUM_FEATURES | NET_GUEST_FEATURES);
    if (backend->offloads & NET_GUEST_FEATURES)
        features |= NET_FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    if (backend->pair_count > 1)
        features |= NET_FEATURE(VIRTIO_NET_F_MQ);
    if (params->mtu)
        features |= NET_FEATURE(VIRTIO_NET_F_MTU);
    return features;
}

static int init_device(struct net *net, const struct net_params *params)
{
    const struct virtio_dev_params dev_params = {
        .name = params->name,
        .device_id = VIRTIO_ID_NET,
        .config_size = offsetof(struct virtio_net_config, speed),
        .device_features = device_features(params),
        .queue_count = 2 * net->pair_count + 1,
        .queue_size = NET_QUEUE_SIZE,
        .ops = &net_ops,
        .mem = params->mem,
        .loop = params->loop,
    };

    return virtio_dev_init(&net->vdev, &dev_params);
}

static int net_init(struct net *net, const struct net_params *params)
{
    const struct net_events events = { net_can_receive, net_can_send, net_link_lost, net };

    net->mtu = params->mtu;
    memcpy(net->own_mac, params->mac, sizeof(net->own_mac));
    memcpy(net->state.mac, params->mac, sizeof(net->state.mac));
    int err = init_device(net, params);

    for (unsigned i = 0; !err && i < net->pair_count; i++)
        err = net_rx_init(&net->pairs[i].rx, &net->vdev, net_rx_queue(i));
    start_anew(net, 0);
    if (!err)
        err = net_tx_init(net, params->loop);
    if (!err)
        err = params->backend->ops->attach(params->backend, params->loop, &net->vdev.lock, &events);
    net->is_link_up = !params->backend->link_was_lost;
    return err;
}

int net_create(const struct net_params *params, struct virtio_dev **ret)
{
    unsigned pairs = params->backend->pair_count;
    bool is_valid =
        pairs >= 1 && pairs <= NET_MAX_QUEUE_PAIRS && (params->mtu == 0 || params->mtu >= MTU_MIN);
    struct net *net = is_valid ? calloc(1, sizeof(*net) + pairs * sizeof(net->pairs[0])) : NULL;

    if (!net)
        return is_valid ? -ENOMEM : -EINVAL;
    net->backend = params->backend;
    net->pair_count = pairs;
    int err = net_init(net, params);

    if (err) {
        net_destroy(&net->vdev);
        return err;
    }
    *ret = &net->vdev;
    return 0;
}

void net_backend_destroy(struct net_backend *backend)
{
    if (backend)
        backend->ops->destroy(backend);
}
