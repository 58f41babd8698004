// SPDX-License-Identifier: Apache-2.0
/* A network card between a driver in guest RAM and a back-end that keeps frames.
 * Included after cmocka.h. */
#pragma once

#include <endian.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "net_wire.h"
#include "virtio/net.h"
#include "virtio_driver.h"

#define FEATURE(bit) (UINT64_C(1) << (bit))
#define TO_HOST                                                                                    \
    (FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_HOST_TSO4) |                                \
     FEATURE(VIRTIO_NET_F_HOST_TSO6) | FEATURE(VIRTIO_NET_F_HOST_ECN))
#define TO_GUEST                                                                                   \
    (FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4) |                         \
     FEATURE(VIRTIO_NET_F_GUEST_TSO6) | FEATURE(VIRTIO_NET_F_GUEST_ECN))
#define MERGE FEATURE(VIRTIO_NET_F_MRG_RXBUF)
#define MULTI (FEATURE(VIRTIO_NET_F_MQ) | FEATURE(VIRTIO_NET_F_CTRL_VQ))

enum { HEADER_LEN = sizeof(struct virtio_net_hdr_v1), RX = 0, TX = 1 };

static const uint8_t own_mac[NET_MAC_LEN] = { 0x02, 1, 2, 3, 4, 5 };
static const struct virtio_net_hdr_v1 no_offloads;

/* A card on a wire with a driver. */
struct bench {
    struct driver driver;
    struct wire wire;
    struct virtio_dev *vdev;
};

static inline int make_card(struct bench *bench, uint64_t offloads, unsigned pairs, uint16_t mtu,
                            struct virtio_dev **ret)
{
    struct net_params params = { .name = "network 'wire'",
                                 .mem = bench->driver.mem,
                                 .loop = bench->driver.loop,
                                 .backend = &bench->wire.base,
                                 .mtu = mtu };

    memcpy(params.mac, own_mac, sizeof(own_mac));
    wire_init(&bench->wire, offloads, pairs);
    return net_create(&params, ret);
}

/* A card with every offload, and a driver that takes @features. */
static inline void start(struct bench *bench, uint64_t features, unsigned pairs)
{
    assert_int_equal(make_card(bench, TO_HOST | TO_GUEST, pairs, 1500, &bench->vdev), 0);
    driver_start(&bench->driver, bench->vdev, features);
}

static inline int make_bench(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));

    if (!bench)
        return -1;
    driver_init(&bench->driver);
    *state = bench;
    return 0;
}

static inline int drop_bench(void **state)
{
    struct bench *bench = *state;

    driver_fini(&bench->driver);
    assert_false(bench->wire.is_attached);
    wire_fini(&bench->wire);
    free(bench);
    return 0;
}

static inline void fill_pattern(uint8_t *data, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + seed);
}

static inline struct virtio_net_config read_config(struct bench *bench)
{
    struct virtio_net_config config = { 0 };

    virtio_dev_read_config(bench->vdev, 0, &config, offsetof(struct virtio_net_config, speed));
    return config;
}

/* Adds header and frame in one buffer to the transmit queue of @pair. */
static inline void add_frame(struct bench *bench, unsigned pair,
                             const struct virtio_net_hdr_v1 *header, const void *frame, size_t len)
{
    gpa_t gpa = driver_alloc(&bench->driver, HEADER_LEN + len);
    struct driver_buffer buffer = { gpa, (uint32_t)(HEADER_LEN + len), false };

    memcpy(driver_at(&bench->driver, gpa, HEADER_LEN), header, HEADER_LEN);
    if (len > 0)
        memcpy(driver_at(&bench->driver, gpa + HEADER_LEN, len), frame, len);
    driver_add(&bench->driver.queues[2 * pair + TX], &buffer, 1);
}

static inline void kick_tx(struct bench *bench)
{
    driver_kick(&bench->driver.queues[TX]);
    driver_settle(&bench->driver);
}

/* Adds a frame of a stream to the transmit queue of @pair. Returns whether the driver is asked to
 * notify of it. */
static inline bool add_long_frame(struct bench *bench, unsigned pair)
{
    const struct driver_queue *queue = &bench->driver.queues[2 * pair + TX];
    uint16_t before = queue->added;
    uint8_t *frame = calloc(1, NET_FRAME_MAX);

    add_frame(bench, pair, &no_offloads, frame, NET_FRAME_MAX);
    free(frame);
    return driver_shall_kick(queue, before);
}

/* Whether the driver would be asked to notify of the next frame. */
static inline bool is_asked(struct bench *bench)
{
    struct driver_queue queue = bench->driver.queues[TX];
    uint16_t before = queue.added++;

    return driver_shall_kick(&queue, before);
}

/* Runs the loop until @count frames were sent in all. */
static inline void wait_sent(struct bench *bench, unsigned count)
{
    for (int ms = 0; bench->wire.sent < count && ms < DRIVER_PATIENCE_MS; ms++)
        driver_run(&bench->driver, 1);
    assert_int_equal(bench->wire.sent, count);
}

/* Adds a receive buffer of @len bytes to @pair. Returns where it is. */
static inline gpa_t add_buffer(struct bench *bench, unsigned pair, size_t len)
{
    struct driver_buffer buffer = { driver_alloc(&bench->driver, len), (uint32_t)len, true };

    driver_add(&bench->driver.queues[2 * pair + RX], &buffer, 1);
    return buffer.gpa;
}

static inline void kick_rx(struct bench *bench)
{
    driver_kick(&bench->driver.queues[RX]);
    driver_settle(&bench->driver);
}

/* Gives the card a command of @len data bytes behind @class and @number. Returns its answer. */
static inline int command(struct bench *bench, unsigned queue, uint8_t class, uint8_t number,
                          const void *data, size_t len)
{
    struct driver *driver = &bench->driver;
    uint8_t bytes[256] = { class, number };

    if (len > 0)
        memcpy(bytes + 2, data, len);
    gpa_t ack = driver_put(driver, "\xee", 1);
    struct driver_buffer buffers[3] = { { driver_put(driver, bytes, 2), 2, false },
                                        { driver_put(driver, bytes + 2, len + 1), (uint32_t)len,
                                          false },
                                        { ack, 1, true } };
    if (len == 0)
        buffers[1] = buffers[2];
    uint32_t written = 0;

    driver_add(&driver->queues[queue], buffers, len == 0 ? 2 : 3);
    driver_kick(&driver->queues[queue]);
    driver_wait_used(&driver->queues[queue], NULL, &written);
    assert_int_equal(written, 1);
    return *(uint8_t *)driver_at(driver, ack, 1);
}

static inline int set_pairs(struct bench *bench, uint16_t pairs)
{
    uint16_t data = htole16(pairs);

    return command(bench, 2 * bench->wire.base.pair_count, VIRTIO_NET_CTRL_MQ,
                   VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &data, sizeof(data));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_bench, drop_bench)
