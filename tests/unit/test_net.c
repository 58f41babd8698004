// SPDX-License-Identifier: Apache-2.0
/* The network card, between a driver in guest RAM and a back-end that keeps frames. */
#include "virtio/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <linux/virtio_net.h>

#include "host/state.h"
#include "net_wire.h"
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

static int make_card(struct bench *bench, uint64_t offloads, unsigned pairs, uint16_t mtu,
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
static void start(struct bench *bench, uint64_t features, unsigned pairs)
{
    assert_int_equal(make_card(bench, TO_HOST | TO_GUEST, pairs, 1500, &bench->vdev), 0);
    driver_start(&bench->driver, bench->vdev, features);
}

static int make_bench(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));

    if (!bench)
        return -1;
    driver_init(&bench->driver);
    *state = bench;
    return 0;
}

static int drop_bench(void **state)
{
    struct bench *bench = *state;

    driver_fini(&bench->driver);
    assert_false(bench->wire.is_attached);
    wire_fini(&bench->wire);
    free(bench);
    return 0;
}

static void fill_pattern(uint8_t *data, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + seed);
}

static struct virtio_net_config read_config(struct bench *bench)
{
    struct virtio_net_config config = { 0 };

    virtio_dev_read_config(bench->vdev, 0, &config, offsetof(struct virtio_net_config, speed));
    return config;
}

/* --- what it offers --- */

static void tells_its_address_link_pairs_and_mtu(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(make_card(bench, 0, 3, 9000, &bench->vdev), 0);
    driver_attach(&bench->driver, bench->vdev);

    struct virtio_net_config config = read_config(bench);

    assert_memory_equal(config.mac, own_mac, sizeof(own_mac));
    assert_int_equal(le16toh(config.status), VIRTIO_NET_S_LINK_UP);
    assert_int_equal(le16toh(config.max_virtqueue_pairs), 3);
    assert_int_equal(le16toh(config.mtu), 9000);
}

static void offers_what_the_backend_can_do_and_no_more(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(make_card(bench, 0, 1, 0, &bench->vdev), 0);
    driver_attach(&bench->driver, bench->vdev);

    uint64_t features = bench->vdev->device_features;

    assert_false(features &
                 (TO_HOST | TO_GUEST | FEATURE(VIRTIO_NET_F_MQ) |
                  FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | FEATURE(VIRTIO_NET_F_MTU)));
    assert_true(features & MERGE);
    assert_true(features & FEATURE(VIRTIO_NET_F_STATUS));
}

static void offers_offloads_pairs_and_mtu(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(make_card(bench, TO_HOST | TO_GUEST, 2, 1500, &bench->vdev), 0);
    driver_attach(&bench->driver, bench->vdev);

    uint64_t expected = TO_HOST | TO_GUEST | MULTI | FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |
                        FEATURE(VIRTIO_NET_F_MTU);

    assert_int_equal(bench->vdev->device_features & expected, expected);
    assert_int_equal(bench->vdev->queue_count, 5);
}

static void a_card_on_a_lost_link_starts_with_its_link_down(void **state)
{
    struct bench *bench = *state;
    struct net_params params = { .name = "network 'wire'",
                                 .mem = bench->driver.mem,
                                 .loop = bench->driver.loop,
                                 .backend = &bench->wire.base };
    wire_init(&bench->wire, 0, 1);
    bench->wire.base.link_was_lost = true;
    assert_int_equal(net_create(&params, &bench->vdev), 0);
    driver_attach(&bench->driver, bench->vdev);

    assert_int_equal(le16toh(read_config(bench).status), 0);
}

static void refuses_an_mtu_or_pairs_out_of_range(void **state)
{
    struct bench *bench = *state;
    struct virtio_dev *vdev;

    assert_int_equal(make_card(bench, 0, 1, 67, &vdev), -EINVAL);
    assert_int_equal(make_card(bench, 0, 0, 0, &vdev), -EINVAL);
    assert_int_equal(make_card(bench, 0, NET_MAX_QUEUE_PAIRS + 1, 0, &vdev), -EINVAL);
}

static void tells_the_backend_the_drivers_choice(void **state)
{
    struct bench *bench = *state;
    uint64_t chosen = FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO6);

    start(bench, chosen, 1);
    driver_kick(&bench->driver.queues[RX]);
    driver_settle(&bench->driver);

    assert_int_equal(bench->wire.offloads, chosen);
    assert_int_equal(bench->wire.pairs, 1);
}

static void wants_no_segmentation_without_checksums(void **state)
{
    struct bench *bench = *state;

    bench->wire.offloads = UINT64_MAX;
    start(bench, FEATURE(VIRTIO_NET_F_GUEST_TSO4) | FEATURE(VIRTIO_NET_F_GUEST_ECN), 1);
    driver_kick(&bench->driver.queues[RX]);
    driver_settle(&bench->driver);

    assert_int_equal(bench->wire.offloads, 0);
}

static void needs_a_reset_if_the_host_refuses_the_offloads(void **state)
{
    struct bench *bench = *state;

    start(bench, 0, 1);
    bench->wire.settings_err = -EIO;
    driver_kick(&bench->driver.queues[RX]);
    driver_settle(&bench->driver);

    assert_true(virtio_dev_read_status(bench->vdev) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* --- transmitting --- */

/* Adds header and frame in one buffer to the transmit queue of @pair. */
static void add_frame(struct bench *bench, unsigned pair, const struct virtio_net_hdr_v1 *header,
                      const void *frame, size_t len)
{
    gpa_t gpa = driver_alloc(&bench->driver, HEADER_LEN + len);
    struct driver_buffer buffer = { gpa, (uint32_t)(HEADER_LEN + len), false };

    memcpy(driver_at(&bench->driver, gpa, HEADER_LEN), header, HEADER_LEN);
    if (len > 0)
        memcpy(driver_at(&bench->driver, gpa + HEADER_LEN, len), frame, len);
    driver_add(&bench->driver.queues[2 * pair + TX], &buffer, 1);
}

static void kick_tx(struct bench *bench)
{
    driver_kick(&bench->driver.queues[TX]);
    driver_settle(&bench->driver);
}

static void sends_a_frame_with_its_offloads(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[2000];
    struct virtio_net_hdr_v1 header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                        .hdr_len = htole16(54),
                                        .gso_size = htole16(1448),
                                        .csum_start = htole16(34),
                                        .csum_offset = htole16(16) };
    uint32_t written = 1;

    start(bench, TO_HOST, 1);
    fill_pattern(frame, sizeof(frame), 1);
    add_frame(bench, 0, &header, frame, sizeof(frame));
    kick_tx(bench);

    assert_int_equal(bench->wire.sent, 1);
    assert_int_equal(bench->wire.from_card[0].len, HEADER_LEN + sizeof(frame));
    assert_memory_equal(bench->wire.from_card[0].data, &header, HEADER_LEN);
    assert_memory_equal(bench->wire.from_card[0].data + HEADER_LEN, frame, sizeof(frame));
    assert_true(driver_take_used(&bench->driver.queues[TX], NULL, &written));
    assert_int_equal(written, 0);
}

static void sends_a_frame_in_many_pieces(void **state)
{
    enum { PIECES = 256 }; /* as many as its queue has places */
    struct bench *bench = *state;
    uint8_t bytes[HEADER_LEN + 1200] = { 0 };
    struct driver_buffer buffers[PIECES];
    size_t done = 0;

    start(bench, TO_HOST, 1);
    fill_pattern(bytes + HEADER_LEN, sizeof(bytes) - HEADER_LEN, 2);
    for (unsigned i = 0; i < PIECES; i++) {
        size_t len = i == PIECES - 1 ? sizeof(bytes) - done : 1 + i % 7;

        buffers[i] = (struct driver_buffer){ driver_put(&bench->driver, bytes + done, len),
                                             (uint32_t)len, false };
        done += len;
    }
    driver_add(&bench->driver.queues[TX], buffers, PIECES);
    kick_tx(bench);

    assert_int_equal(bench->wire.sent, 1);
    assert_int_equal(bench->wire.from_card[0].len, sizeof(bytes));
    assert_memory_equal(bench->wire.from_card[0].data, bytes, sizeof(bytes));
}

static void passes_only_header_bits_that_the_driver_may_set(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };
    struct virtio_net_hdr_v1 header;

    memset(&header, 0xff, sizeof(header));
    header.flags &= (uint8_t)~VIRTIO_NET_HDR_F_NEEDS_CSUM;
    header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    start(bench, TO_HOST, 1);
    add_frame(bench, 0, &header, frame, sizeof(frame));
    kick_tx(bench);

    assert_int_equal(bench->wire.sent, 1);
    assert_memory_equal(bench->wire.from_card[0].data, &no_offloads, HEADER_LEN);
}

/* A header that is refused: with these features, before a frame of 60 bytes. */
struct bad_header {
    uint64_t features;
    struct virtio_net_hdr_v1 header;
};

static void drops_frames_whose_offloads_are_wrong(void **state)
{
    const uint8_t sum = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    const uint8_t v4 = VIRTIO_NET_HDR_GSO_TCPV4, v6 = VIRTIO_NET_HDR_GSO_TCPV6;
    const uint8_t ecn = VIRTIO_NET_HDR_GSO_ECN;
    const uint64_t csum = FEATURE(VIRTIO_NET_F_CSUM), tso4 = FEATURE(VIRTIO_NET_F_HOST_TSO4);
    const struct bad_header cases[] = {
        { 0, { .flags = sum, .csum_start = 14, .csum_offset = 16 } },   /* not negotiated */
        { csum, { .flags = sum, .csum_start = 59, .csum_offset = 0 } }, /* beyond the end */
        { csum, { .flags = sum, .csum_start = 40, .csum_offset = 19 } },
        { csum, { .flags = sum, .csum_start = 0xffff, .csum_offset = 0xffff } },
        { csum,
          { .flags = sum,
            .csum_start = 34,
            .csum_offset = 16,
            .gso_type = v4,
            .gso_size = 1448,
            .hdr_len = 54 } }, /* not negotiated */
        { csum | tso4,
          { .flags = sum,
            .csum_start = 34,
            .csum_offset = 16,
            .gso_type = v6,
            .gso_size = 1448,
            .hdr_len = 54 } },
        { TO_HOST, { .gso_type = v4, .gso_size = 1448, .hdr_len = 54 } }, /* no checksum */
        { TO_HOST,
          { .flags = sum,
            .csum_start = 34,
            .csum_offset = 16,
            .gso_type = v4,
            .gso_size = 0,
            .hdr_len = 54 } },
        { TO_HOST,
          { .flags = sum,
            .csum_start = 34,
            .csum_offset = 16,
            .gso_type = v4,
            .gso_size = 1448,
            .hdr_len = 61 } }, /* beyond the end */
        { csum | tso4,
          { .flags = sum,
            .csum_start = 34,
            .csum_offset = 16,
            .gso_type = v4 | ecn,
            .gso_size = 1448,
            .hdr_len = 54 } },
        { TO_HOST, { .gso_type = ecn } },
        { TO_HOST,
          { .flags = sum,
            .csum_start = 34,
            .csum_offset = 16,
            .gso_type = VIRTIO_NET_HDR_GSO_UDP,
            .gso_size = 1448,
            .hdr_len = 54 } },
        { TO_HOST, { .gso_type = 0x7f } },
    };
    const uint8_t frame[60] = { 0 };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench *own;

        assert_int_equal(make_bench((void **)&own), 0);
        start(own, cases[i].features, 1);
        add_frame(own, 0, &cases[i].header, frame, sizeof(frame));
        add_frame(own, 0, &no_offloads, frame, sizeof(frame));
        kick_tx(own);
        if (own->wire.sent != 1)
            print_error("case %zu: %u frames sent\n", i, own->wire.sent);
        assert_int_equal(own->wire.sent, 1);
        assert_int_equal(own->driver.queues[TX].used->idx, 2);
        drop_bench((void **)&own);
    }
}

static void drops_frames_that_are_too_short_or_too_long(void **state)
{
    struct bench *bench = *state;
    uint8_t *frame = calloc(1, NET_FRAME_MAX + 1);
    const size_t lens[] = { 0, NET_FRAME_MIN - 1, NET_FRAME_MAX + 1, NET_FRAME_MIN, NET_FRAME_MAX };
    const struct driver_buffer crumb = { driver_alloc(&bench->driver, 16), HEADER_LEN - 1, false };
    const struct driver_buffer inbound = { crumb.gpa, 16, true };

    start(bench, 0, 1);
    driver_add(&bench->driver.queues[TX], &crumb, 1);
    driver_add(&bench->driver.queues[TX], &inbound, 1);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
        add_frame(bench, 0, &no_offloads, frame, lens[i]);
    kick_tx(bench);

    assert_int_equal(bench->wire.sent, 2);
    assert_int_equal(bench->wire.from_card[0].len, HEADER_LEN + NET_FRAME_MIN);
    assert_int_equal(bench->wire.from_card[1].len, HEADER_LEN + NET_FRAME_MAX);
    assert_int_equal(bench->driver.queues[TX].used->idx, 7);
    free(frame);
}

static void a_full_backend_gets_the_rest_later(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[60];

    start(bench, FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);
    bench->wire.full_after = 2;
    for (unsigned i = 0; i < 5; i++) {
        fill_pattern(frame, sizeof(frame), i);
        add_frame(bench, 0, &no_offloads, frame, sizeof(frame));
    }
    kick_tx(bench);
    assert_int_equal(bench->wire.sent, 2);
    assert_int_equal(bench->driver.queues[TX].used->idx, 2);

    kick_tx(bench); /* does not help */
    assert_int_equal(bench->wire.sent, 2);

    bench->wire.full_after = UINT32_MAX;
    bench->wire.events.can_send(bench->wire.events.ctx, 0);
    driver_settle(&bench->driver);
    assert_int_equal(bench->wire.sent, 5);
    for (unsigned i = 0; i < 5; i++) {
        fill_pattern(frame, sizeof(frame), i);
        assert_memory_equal(bench->wire.from_card[i].data + HEADER_LEN, frame, sizeof(frame));
    }
}

static void interrupts_once_for_many_frames(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };

    start(bench, 0, 1);
    for (unsigned i = 0; i < 100; i++)
        add_frame(bench, 0, &no_offloads, frame, sizeof(frame));
    kick_tx(bench);

    assert_int_equal(bench->wire.sent, 100);
    assert_int_equal(bench->driver.queue_interrupts[TX], 1);
}

static void asks_for_no_notification_while_it_is_full(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };

    start(bench, 0, 1);
    assert_true(driver_shall_kick(&bench->driver.queues[TX], 0));
    bench->wire.full_after = 0;
    add_frame(bench, 0, &no_offloads, frame, sizeof(frame));
    kick_tx(bench);

    assert_false(driver_shall_kick(&bench->driver.queues[TX], 1));
}

/* Adds a frame of a stream to the transmit queue of @pair. Returns whether the driver is asked to
 * notify of it. */
static bool add_long_frame(struct bench *bench, unsigned pair)
{
    const struct driver_queue *queue = &bench->driver.queues[2 * pair + TX];
    uint16_t before = queue->added;
    uint8_t *frame = calloc(1, NET_FRAME_MAX);

    add_frame(bench, pair, &no_offloads, frame, NET_FRAME_MAX);
    free(frame);
    return driver_shall_kick(queue, before);
}

/* Whether the driver would be asked to notify of the next frame. */
static bool is_asked(struct bench *bench)
{
    struct driver_queue queue = bench->driver.queues[TX];
    uint16_t before = queue.added++;

    return driver_shall_kick(&queue, before);
}

/* Runs the loop until @count frames were sent in all. */
static void wait_sent(struct bench *bench, unsigned count)
{
    for (int ms = 0; bench->wire.sent < count && ms < DRIVER_PATIENCE_MS; ms++)
        driver_run(&bench->driver, 1);
    assert_int_equal(bench->wire.sent, count);
}

static void wait_asked(struct bench *bench)
{
    for (int ms = 0; !is_asked(bench) && ms < DRIVER_PATIENCE_MS; ms++)
        driver_run(&bench->driver, 1);
    assert_true(is_asked(bench));
}

static void frames_behind_a_long_one_need_no_notification(void **state)
{
    struct bench *bench = *state;

    start(bench, FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);
    assert_true(add_long_frame(bench, 0));
    driver_kick(&bench->driver.queues[TX]);
    wait_sent(bench, 1);
    assert_true(driver_take_used(&bench->driver.queues[TX], NULL, NULL));

    for (unsigned i = 0; i < 5; i++)
        assert_false(add_long_frame(bench, 0));
    wait_sent(bench, 6);
    assert_int_equal(bench->driver.queue_interrupts[TX], 2);
}

static void the_driver_is_asked_again_after_a_stream(void **state)
{
    const uint64_t features[] = { 0, FEATURE(VIRTIO_RING_F_EVENT_IDX) };
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        struct bench *own;

        assert_int_equal(make_bench((void **)&own), 0);
        start(own, features[i], 1);
        (void)add_long_frame(own, 0);
        driver_kick(&own->driver.queues[TX]);
        wait_sent(own, 1);
        assert_false(is_asked(own));
        wait_asked(own);
        drop_bench((void **)&own);
    }
}

static void looking_in_vain_makes_us_look_less(void **state)
{
    const bool asked[] = { false, true, false, true, true, true, false };
    struct bench *bench = *state;

    start(bench, FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);
    for (unsigned i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        assert_true(add_long_frame(bench, 0));
        driver_kick(&bench->driver.queues[TX]);
        wait_sent(bench, i + 1);
        assert_true(driver_take_used(&bench->driver.queues[TX], NULL, NULL));
        assert_int_equal(is_asked(bench), asked[i]);
        wait_asked(bench);
    }
}

static void the_driver_is_asked_at_once_after_a_short_frame(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[1514] = { 0 };

    start(bench, FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);
    (void)add_long_frame(bench, 0);
    add_frame(bench, 0, &no_offloads, frame, sizeof(frame));
    driver_kick(&bench->driver.queues[TX]);
    wait_sent(bench, 2);

    assert_true(is_asked(bench));
}

/* --- receiving --- */

/* Adds a receive buffer of @len bytes to @pair. Returns where it is. */
static gpa_t add_buffer(struct bench *bench, unsigned pair, size_t len)
{
    struct driver_buffer buffer = { driver_alloc(&bench->driver, len), (uint32_t)len, true };

    driver_add(&bench->driver.queues[2 * pair + RX], &buffer, 1);
    return buffer.gpa;
}

static void kick_rx(struct bench *bench)
{
    driver_kick(&bench->driver.queues[RX]);
    driver_settle(&bench->driver);
}

static void receives_a_frame_with_its_offloads(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[1514];
    struct virtio_net_hdr_v1 header = { .flags = VIRTIO_NET_HDR_F_DATA_VALID,
                                        .gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
                                        .gso_size = htole16(1400),
                                        .num_buffers = 0x5555 }; /* as a tap leaves it */
    uint32_t len = 0;

    start(bench, TO_GUEST, 1);
    gpa_t gpa = add_buffer(bench, 0, HEADER_LEN + 65550);
    fill_pattern(frame, sizeof(frame), 3);
    wire_give(&bench->wire, 0, &header, frame, sizeof(frame));
    kick_rx(bench);

    assert_true(driver_take_used(&bench->driver.queues[RX], NULL, &len));
    assert_int_equal(len, HEADER_LEN + sizeof(frame));
    header.num_buffers = htole16(1);
    assert_memory_equal(driver_at(&bench->driver, gpa, HEADER_LEN), &header, HEADER_LEN);
    assert_memory_equal(driver_at(&bench->driver, gpa + HEADER_LEN, sizeof(frame)), frame,
                        sizeof(frame));
    assert_int_equal(bench->driver.queue_interrupts[RX], 1);
}

static void without_the_feature_nothing_is_said_of_checksums(void **state)
{
    struct bench *bench = *state;
    const struct virtio_net_hdr_v1 header = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
    const uint8_t frame[60] = { 0 };

    start(bench, MERGE, 1);
    gpa_t gpa = add_buffer(bench, 0, 100);
    wire_give(&bench->wire, 0, &header, frame, sizeof(frame));
    kick_rx(bench);

    assert_true(driver_take_used(&bench->driver.queues[RX], NULL, NULL));
    assert_int_equal(*(uint8_t *)driver_at(&bench->driver, gpa, 1), 0);
}

/* Collects the next received frame from its buffers. Returns its length without header. */
static size_t collect(struct bench *bench, uint8_t *bytes, unsigned *num_buffers)
{
    struct driver_queue *queue = &bench->driver.queues[RX];
    size_t done = 0;
    unsigned count = 0, expected = 1;

    while (count < expected) {
        uint16_t head;
        uint32_t len;

        if (!driver_take_used(queue, &head, &len))
            return 0;
        gpa_t gpa = le64toh(queue->desc[head].addr);
        if (len > 0)
            memcpy(bytes + done, driver_at(&bench->driver, gpa, len), len);
        if (count < expected - 1 && expected > 1)
            assert_int_equal(len, le32toh(queue->desc[head].len));
        done += len;
        count++;
        if (done >= HEADER_LEN)
            expected = bytes[10] | bytes[11] << 8;
    }
    *num_buffers = count;
    return done - HEADER_LEN;
}

static void spreads_frames_over_buffers_of_odd_sizes(void **state)
{
    static const size_t buffer_lens[] = { 12, 13, 1, 64, 1000, 1536, 4096, 77, 12, 2, 65562, 1526 };
    static const size_t frame_lens[] = { 14, 60, 1, 1514, 2000, 9014, 30001, 65550, 64, 1500 };
    const size_t lens = sizeof(buffer_lens) / sizeof(buffer_lens[0]);
    struct bench *bench = *state;
    uint8_t *frame = malloc(NET_FRAME_MAX), *bytes = malloc(4 * NET_FRAME_MAX);

    start(bench, MERGE | TO_GUEST, 1);
    for (unsigned i = 0; i < 200; i++)
        (void)add_buffer(bench, 0, buffer_lens[i % lens]);
    for (size_t i = 0; i < sizeof(frame_lens) / sizeof(frame_lens[0]); i++) {
        fill_pattern(frame, frame_lens[i], (unsigned)i);
        wire_give(&bench->wire, 0, &no_offloads, frame, frame_lens[i]);
    }
    kick_rx(bench);

    for (size_t i = 0; i < sizeof(frame_lens) / sizeof(frame_lens[0]); i++) {
        unsigned num_buffers;

        if (frame_lens[i] < NET_FRAME_MIN)
            continue; /* dropped */
        fill_pattern(frame, frame_lens[i], (unsigned)i);
        assert_int_equal(collect(bench, bytes, &num_buffers), frame_lens[i]);
        assert_memory_equal(bytes + HEADER_LEN, frame, frame_lens[i]);
    }
    assert_false(driver_take_used(&bench->driver.queues[RX], NULL, NULL));
    free(frame);
    free(bytes);
}

static void a_long_frame_behind_many_short_ones_is_whole(void **state)
{
    struct bench *bench = *state;
    uint8_t *frame = malloc(NET_FRAME_MAX), *bytes = malloc(2 * NET_FRAME_MAX);
    unsigned num_buffers;

    start(bench, MERGE | TO_GUEST, 1);
    for (unsigned i = 0; i < 200; i++)
        (void)add_buffer(bench, 0, 1536);
    for (unsigned i = 0; i < 100; i++)
        wire_give(&bench->wire, 0, &no_offloads, frame, 60);
    fill_pattern(frame, NET_FRAME_MAX, 6);
    for (unsigned i = 0; i < 2; i++)
        wire_give(&bench->wire, 0, &no_offloads, frame, NET_FRAME_MAX);
    kick_rx(bench);

    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(collect(bench, bytes, &num_buffers), 60);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(collect(bench, bytes, &num_buffers), NET_FRAME_MAX);
        assert_memory_equal(bytes + HEADER_LEN, frame, NET_FRAME_MAX);
    }
    free(frame);
    free(bytes);
}

static void spreads_a_frame_over_chains_of_several_buffers(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[5000];
    uint32_t len;

    start(bench, MERGE | TO_GUEST, 1);
    for (unsigned i = 0; i < 5; i++) {
        struct driver_buffer buffers[3] = {
            { driver_alloc(&bench->driver, 12), 12, true },
            { driver_alloc(&bench->driver, 500), 500, true },
            { driver_alloc(&bench->driver, 900), 900, true },
        };
        driver_add(&bench->driver.queues[RX], buffers, 3);
    }
    fill_pattern(frame, sizeof(frame), 9);
    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    kick_rx(bench);

    for (unsigned i = 0; i < 4; i++) {
        assert_true(driver_take_used(&bench->driver.queues[RX], NULL, &len));
        assert_int_equal(len, i < 3 ? 1412 : HEADER_LEN + 5000 - 3 * 1412);
    }
    assert_false(driver_take_used(&bench->driver.queues[RX], NULL, &len));
}

static void drops_what_is_longer_than_a_buffer_that_cannot_be_merged(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[3000] = { 0 };
    uint32_t len;

    start(bench, 0, 1);
    for (unsigned i = 0; i < 3; i++)
        (void)add_buffer(bench, 0, 1526);
    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    wire_give(&bench->wire, 0, &no_offloads, frame, 1515);
    wire_give(&bench->wire, 0, &no_offloads, frame, 1514);
    kick_rx(bench);

    assert_true(driver_take_used(&bench->driver.queues[RX], NULL, &len));
    assert_int_equal(len, 1526);
    assert_false(driver_take_used(&bench->driver.queues[RX], NULL, &len));
}

static void a_long_frame_waits_for_the_buffers_it_needs(void **state)
{
    struct bench *bench = *state;
    uint8_t *frame = malloc(NET_FRAME_MAX), *bytes = malloc(2 * NET_FRAME_MAX);
    unsigned num_buffers = 0;

    start(bench, MERGE | TO_GUEST, 1);
    for (unsigned i = 0; i < 3; i++)
        (void)add_buffer(bench, 0, 1536);
    fill_pattern(frame, NET_FRAME_MAX, 5);
    wire_give(&bench->wire, 0, &no_offloads, frame, NET_FRAME_MAX);
    wire_give(&bench->wire, 0, &no_offloads, frame, 60);
    kick_rx(bench);
    assert_false(driver_take_used(&bench->driver.queues[RX], NULL, NULL));
    assert_false(bench->wire.is_receiving[0]);

    for (unsigned i = 0; i < 20; i++)
        (void)add_buffer(bench, 0, 1536);
    kick_rx(bench); /* still not enough */
    assert_false(driver_take_used(&bench->driver.queues[RX], NULL, NULL));

    for (unsigned i = 0; i < 30; i++)
        (void)add_buffer(bench, 0, 1536);
    kick_rx(bench);
    assert_int_equal(collect(bench, bytes, &num_buffers), NET_FRAME_MAX);
    assert_int_equal(num_buffers, 43);
    assert_memory_equal(bytes + HEADER_LEN, frame, NET_FRAME_MAX);
    assert_int_equal(collect(bench, bytes, &num_buffers), 60);
    assert_true(bench->wire.is_receiving[0]);
    free(frame);
    free(bytes);
}

static void a_driver_without_segmentation_does_not_block_on_a_long_frame(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[9000], bytes[2000];
    unsigned num_buffers;

    start(bench, MERGE, 1);
    (void)add_buffer(bench, 0, 1536);
    fill_pattern(frame, sizeof(frame), 5);
    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    wire_give(&bench->wire, 0, &no_offloads, frame, 60);
    kick_rx(bench);

    assert_int_equal(collect(bench, bytes, &num_buffers), 60);
}

static void buffers_in_crumbs_do_not_block_the_queue(void **state)
{
    struct bench *bench = *state;
    uint8_t *frame = calloc(1, NET_FRAME_MAX);
    struct driver_buffer crumbs[VIRTQUEUE_MAX_SEGMENTS];
    gpa_t page = driver_alloc(&bench->driver, 4096);

    start(bench, MERGE | TO_GUEST | FEATURE(VIRTIO_RING_F_INDIRECT_DESC), 1);
    for (unsigned i = 0; i < VIRTQUEUE_MAX_SEGMENTS; i++)
        crumbs[i] = (struct driver_buffer){ page + i, 1, true };
    for (unsigned i = 0; i < 100; i++)
        (void)driver_add_indirect(&bench->driver.queues[RX], crumbs, VIRTQUEUE_MAX_SEGMENTS);
    wire_give(&bench->wire, 0, &no_offloads, frame, NET_FRAME_MAX);
    wire_give(&bench->wire, 0, &no_offloads, frame, 60);
    kick_rx(bench);

    assert_int_equal(bench->wire.taken, 2);
    assert_int_equal(bench->driver.queues[RX].used->idx, 1);
    assert_int_equal(le32toh(bench->driver.queues[RX].used->ring[0].len), HEADER_LEN + 60);
    free(frame);
}

static void without_buffers_the_backend_is_not_asked(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };

    start(bench, MERGE, 1);
    kick_rx(bench);
    assert_int_equal(bench->wire.receive_calls, 0);
    assert_false(bench->wire.is_receiving[0]);

    (void)add_buffer(bench, 0, 2000);
    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    kick_rx(bench);
    assert_int_equal(bench->wire.taken, 1);
    assert_false(bench->wire.is_receiving[0]); /* that was the only buffer */
}

static void buffers_that_were_there_before_driver_ok_are_used(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };

    assert_int_equal(make_card(bench, 0, 1, 0, &bench->vdev), 0);
    driver_attach(&bench->driver, bench->vdev);
    assert_true(driver_negotiate(&bench->driver, 0));
    for (unsigned i = 0; i < 3; i++)
        driver_setup_queue(&bench->driver, i, 64);
    (void)add_buffer(bench, 0, 2000);
    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    driver_go(&bench->driver);
    driver_settle(&bench->driver);

    assert_true(driver_take_used(&bench->driver.queues[RX], NULL, NULL));
}

static void takes_a_bounded_number_of_frames_at_a_time(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };

    start(bench, MERGE, 1);
    for (unsigned i = 0; i < 250; i++)
        (void)add_buffer(bench, 0, 100);
    kick_rx(bench);
    for (unsigned i = 0; i < 1000; i++) /* those are thrown away, and cost no buffers */
        wire_give(&bench->wire, 0, &no_offloads, frame, 1);
    wire_call(&bench->wire, bench->vdev, 0);
    assert_in_range(bench->wire.taken, 100, 500);

    driver_settle(&bench->driver); /* and it comes back by itself */
    assert_int_equal(bench->wire.taken, 1000);
}

static void a_buffer_that_cannot_be_written_needs_a_reset(void **state)
{
    struct bench *bench = *state;
    const struct driver_buffer buffer = { driver_alloc(&bench->driver, 2000), 2000, false };
    const uint8_t frame[60] = { 0 };

    start(bench, MERGE, 1);
    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    driver_add(&bench->driver.queues[RX], &buffer, 1);
    kick_rx(bench);

    assert_true(virtio_dev_read_status(bench->vdev) & VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_false(bench->wire.is_receiving[0]);
}

/* --- commands --- */

/* Gives the card a command of @len data bytes behind @class and @number. Returns its answer. */
static int command(struct bench *bench, unsigned queue, uint8_t class, uint8_t number,
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

static int set_pairs(struct bench *bench, uint16_t pairs)
{
    uint16_t data = htole16(pairs);

    return command(bench, 2 * bench->wire.base.pair_count, VIRTIO_NET_CTRL_MQ,
                   VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &data, sizeof(data));
}

static void streams_of_two_pairs_are_both_looked_at(void **state)
{
    struct bench *bench = *state;

    start(bench, MULTI | FEATURE(VIRTIO_RING_F_EVENT_IDX), 2);
    assert_int_equal(set_pairs(bench, 2), VIRTIO_NET_OK);
    for (unsigned pair = 0; pair < 2; pair++) {
        (void)add_long_frame(bench, pair);
        driver_kick(&bench->driver.queues[2 * pair + TX]);
    }
    wait_sent(bench, 2);
    for (unsigned pair = 0; pair < 2; pair++)
        assert_false(add_long_frame(bench, pair));

    wait_sent(bench, 4);
}

static void pairs_work_once_the_driver_uses_them(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };

    start(bench, MULTI, 3);
    add_frame(bench, 1, &no_offloads, frame, sizeof(frame));
    (void)add_buffer(bench, 1, 2000);
    driver_kick(&bench->driver.queues[3]);
    driver_kick(&bench->driver.queues[2]);
    driver_settle(&bench->driver);
    assert_int_equal(bench->wire.sent, 0);
    assert_false(bench->wire.is_receiving[1]);

    assert_int_equal(set_pairs(bench, 2), VIRTIO_NET_OK);
    driver_settle(&bench->driver);
    assert_int_equal(bench->wire.pairs, 2);
    assert_int_equal(bench->wire.sent, 1);
    assert_int_equal(bench->wire.from_card[0].pair, 1);
    assert_true(bench->wire.is_receiving[1]);

    wire_give(&bench->wire, 1, &no_offloads, frame, sizeof(frame));
    wire_call(&bench->wire, bench->vdev, 1);
    assert_true(driver_take_used(&bench->driver.queues[2], NULL, NULL));
}

static void pairs_that_are_given_up_do_not_receive(void **state)
{
    struct bench *bench = *state;

    start(bench, MULTI, 2);
    (void)add_buffer(bench, 1, 2000);
    assert_int_equal(set_pairs(bench, 2), VIRTIO_NET_OK);
    driver_settle(&bench->driver);
    assert_true(bench->wire.is_receiving[1]);

    assert_int_equal(set_pairs(bench, 1), VIRTIO_NET_OK);
    wire_call(&bench->wire, bench->vdev, 1);
    assert_int_equal(bench->wire.pairs, 1);
    assert_false(bench->wire.is_receiving[1]);
}

static void refuses_pairs_that_it_does_not_have(void **state)
{
    struct bench *bench = *state;

    start(bench, MULTI, 2);
    assert_int_equal(set_pairs(bench, 0), VIRTIO_NET_ERR);
    assert_int_equal(set_pairs(bench, 3), VIRTIO_NET_ERR);
    assert_int_equal(set_pairs(bench, 0x8001), VIRTIO_NET_ERR);
    assert_int_equal(command(bench, 4, VIRTIO_NET_CTRL_MQ, 0, "\x02", 1), VIRTIO_NET_ERR);
    assert_int_equal(command(bench, 4, VIRTIO_NET_CTRL_MQ, 1, "\x02\x00", 2), VIRTIO_NET_ERR);

    bench->wire.settings_err = -EIO;
    assert_int_equal(set_pairs(bench, 2), VIRTIO_NET_ERR);
}

static void without_multiqueue_the_third_queue_takes_commands(void **state)
{
    struct bench *bench = *state;

    start(bench, FEATURE(VIRTIO_NET_F_CTRL_VQ) | FEATURE(VIRTIO_NET_F_CTRL_RX), 2);

    assert_int_equal(command(bench, 2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\x01", 1),
                     VIRTIO_NET_OK);
    assert_int_equal(command(bench, 2, VIRTIO_NET_CTRL_MQ, 0, "\x01\x00", 2), VIRTIO_NET_ERR);
}

static void takes_receive_modes_and_filters(void **state)
{
    struct bench *bench = *state;
    /* One unicast, two multicast addresses. */
    const uint8_t tables[4 + 6 + 4 + 12] = { [0] = 1, [10] = 2 };
    const uint8_t empty[8] = { 0 };

    start(bench, FEATURE(VIRTIO_NET_F_CTRL_VQ) | FEATURE(VIRTIO_NET_F_CTRL_RX), 1);

    assert_int_equal(command(bench, 2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, "\x00", 1),
                     VIRTIO_NET_OK);
    assert_int_equal(command(bench, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, tables,
                             sizeof(tables)),
                     VIRTIO_NET_OK);
    assert_int_equal(
        command(bench, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, empty, sizeof(empty)),
        VIRTIO_NET_OK);
}

static void refuses_commands_that_are_unknown_or_malformed(void **state)
{
    static const struct {
        uint8_t class, number;
        uint8_t data[16];
        size_t len;
    } cases[] = {
        { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, { 0 }, 0 },
        { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, { 2 }, 1 },
        { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, { 1 }, 2 },
        { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, { 1 }, 1 }, /* not offered */
        { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, { 0 }, 7 },
        { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, { 0 }, 9 },
        { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, { 1 }, 8 },
        { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, { 0xff, 0xff, 0xff, 0xff }, 8 },
        { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, { 2 }, 5 },
        { VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, { 2 }, 7 },
        { VIRTIO_NET_CTRL_MAC, 2, { 0 }, 6 },
        { VIRTIO_NET_CTRL_VLAN, 0, { 0 }, 2 },
        { VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, { 0 }, 7 },
        { VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, { 0 }, 8 },
        { VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, { 0, 0x40 }, 8 }, /* UFO */
        { VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, { 0x80 }, 8 },    /* TSO without checksums */
        { 0xff, 0xff, { 0 }, 0 },
    };
    struct bench *bench = *state;

    start(bench,
          FEATURE(VIRTIO_NET_F_CTRL_VQ) | FEATURE(VIRTIO_NET_F_CTRL_RX) |
              FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) | FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |
              TO_GUEST,
          1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int ack = command(bench, 2, cases[i].class, cases[i].number, cases[i].data, cases[i].len);

        if (ack != VIRTIO_NET_ERR)
            print_error("case %zu\n", i);
        assert_int_equal(ack, VIRTIO_NET_ERR);
    }
}

static void survives_commands_without_head_or_answer(void **state)
{
    struct bench *bench = *state;
    struct driver *driver = &bench->driver;
    gpa_t gpa = driver_alloc(driver, 16);
    const struct driver_buffer buffers[] = { { gpa, 1, false }, { gpa, 16, true } };
    uint32_t written;

    start(bench, FEATURE(VIRTIO_NET_F_CTRL_VQ), 1);
    driver_add(&driver->queues[2], &buffers[0], 1); /* no answer */
    driver_add(&driver->queues[2], &buffers[1], 1); /* no command */
    driver_kick(&driver->queues[2]);
    driver_wait_used(&driver->queues[2], NULL, &written);
    assert_int_equal(written, 0);
    driver_wait_used(&driver->queues[2], NULL, &written);
    assert_int_equal(written, 1);
    assert_int_equal(*(uint8_t *)driver_at(driver, gpa, 1), VIRTIO_NET_ERR);
}

static void the_driver_may_change_the_address_until_it_resets(void **state)
{
    struct bench *bench = *state;
    const uint8_t mac[NET_MAC_LEN] = { 0x06, 9, 8, 7, 6, 5 };

    start(bench, FEATURE(VIRTIO_NET_F_CTRL_VQ) | FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR), 1);
    assert_int_equal(
        command(bench, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, sizeof(mac)),
        VIRTIO_NET_OK);
    assert_memory_equal(read_config(bench).mac, mac, sizeof(mac));

    virtio_dev_write_status(bench->vdev, 0);
    assert_memory_equal(read_config(bench).mac, own_mac, sizeof(own_mac));
}

static void the_driver_may_turn_its_offloads_off_and_on(void **state)
{
    struct bench *bench = *state;
    uint64_t some = htole64(FEATURE(VIRTIO_NET_F_GUEST_CSUM)), none = 0, all = htole64(TO_GUEST);

    start(bench,
          FEATURE(VIRTIO_NET_F_CTRL_VQ) | FEATURE(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | TO_GUEST, 1);
    assert_int_equal(command(bench, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &none, 8), VIRTIO_NET_OK);
    assert_int_equal(bench->wire.offloads, 0);
    assert_int_equal(command(bench, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &some, 8), VIRTIO_NET_OK);
    assert_int_equal(bench->wire.offloads, FEATURE(VIRTIO_NET_F_GUEST_CSUM));
    assert_int_equal(command(bench, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &all, 8), VIRTIO_NET_OK);
    assert_int_equal(bench->wire.offloads, TO_GUEST);
}

/* --- reset, link, saved state --- */

static void after_a_reset_the_old_buffers_are_left_alone(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[60];

    start(bench, MERGE, 1);
    gpa_t gpa = add_buffer(bench, 0, 2000);
    kick_rx(bench); /* popped ahead */
    assert_true(bench->wire.is_receiving[0]);
    memset(frame, 0xaa, sizeof(frame));
    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    virtio_dev_write_status(bench->vdev, 0);
    assert_int_equal(virtio_dev_read_status(bench->vdev), 0);
    wire_call(&bench->wire, bench->vdev, 0);

    assert_int_equal(bench->wire.taken, 0);
    assert_false(bench->wire.is_receiving[0]);
    assert_int_equal(*(uint8_t *)driver_at(&bench->driver, gpa + HEADER_LEN, 1), 0);
}

static void works_again_after_a_reset_amid_traffic(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };

    start(bench, MERGE, 1);
    bench->wire.full_after = 0; /* transmitting stalls */
    add_frame(bench, 0, &no_offloads, frame, sizeof(frame));
    (void)add_buffer(bench, 0, 2000);
    kick_tx(bench);
    kick_rx(bench);
    virtio_dev_write_status(bench->vdev, 0);
    driver_start(&bench->driver, bench->vdev, MERGE);
    bench->wire.full_after = UINT32_MAX;

    add_frame(bench, 0, &no_offloads, frame, sizeof(frame));
    (void)add_buffer(bench, 0, 2000);
    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    kick_tx(bench);
    kick_rx(bench);
    assert_int_equal(bench->wire.sent, 1);
    assert_true(driver_take_used(&bench->driver.queues[RX], NULL, NULL));
}

static void a_lost_link_is_told_and_swallows_frames(void **state)
{
    struct bench *bench = *state;
    const uint8_t frame[60] = { 0 };

    start(bench, 0, 1);
    bench->wire.full_after = 0;
    add_frame(bench, 0, &no_offloads, frame, sizeof(frame));
    kick_tx(bench);
    assert_int_equal(bench->driver.queues[TX].used->idx, 0);
    uint32_t generation = bench->vdev->state.config_generation;

    bench->wire.events.link_lost(bench->wire.events.ctx);
    bench->wire.full_after = UINT32_MAX; /* as send() fails otherwise from now on */
    driver_settle(&bench->driver);

    assert_int_equal(le16toh(read_config(bench).status), 0);
    assert_int_equal(bench->driver.config_interrupts, 1);
    assert_int_not_equal(bench->vdev->state.config_generation, generation);
    assert_int_equal(bench->driver.queues[TX].used->idx, 1);
}

static void a_saved_card_goes_on_in_another_one(void **state)
{
    struct bench *bench = *state;
    struct wire wire;
    struct net_params params = { .name = "network 'other'",
                                 .mem = bench->driver.mem,
                                 .loop = bench->driver.loop,
                                 .backend = &wire.base };
    struct state_writer saved = { 0 };
    struct virtio_dev *other;
    uint8_t frame[60];

    start(bench, MERGE | MULTI | TO_GUEST, 2);
    for (unsigned i = 0; i < 3; i++)
        (void)add_buffer(bench, 0, 100);
    assert_int_equal(set_pairs(bench, 2), VIRTIO_NET_OK);
    kick_rx(bench); /* all three are popped ahead */
    assert_int_equal(virtio_dev_save(bench->vdev, &saved), 0);

    wire_init(&wire, TO_HOST | TO_GUEST, 2);
    params.mtu = 1500;
    assert_int_equal(net_create(&params, &other), 0);
    struct state_reader reader = { saved.data, saved.len, 0 };
    assert_int_equal(virtio_dev_load(other, &reader), 0);
    other->transport = bench->vdev->transport;
    fill_pattern(frame, sizeof(frame), 8);
    for (unsigned i = 0; i < 3; i++)
        wire_give(&wire, 0, &no_offloads, frame, sizeof(frame));
    driver_settle(&bench->driver);

    assert_int_equal(wire.taken, 3);
    assert_int_equal(wire.pairs, 2);
    assert_int_equal(wire.offloads, TO_GUEST);
    assert_int_equal(bench->driver.queues[RX].used->idx, 3);
    virtio_dev_destroy(other);
    wire_fini(&wire);
    state_writer_fini(&saved);
}

static void a_saved_card_goes_on_itself(void **state)
{
    struct bench *bench = *state;
    struct state_writer saved = { 0 };
    const uint8_t frame[60] = { 0 };

    start(bench, MERGE, 1);
    (void)add_buffer(bench, 0, 100);
    kick_rx(bench);
    assert_int_equal(virtio_dev_save(bench->vdev, &saved), 0);
    state_writer_fini(&saved);

    wire_give(&bench->wire, 0, &no_offloads, frame, sizeof(frame));
    wire_call(&bench->wire, bench->vdev, 0);
    assert_true(driver_take_used(&bench->driver.queues[RX], NULL, NULL));
}

static void a_card_saved_in_a_stream_asks_the_driver_again(void **state)
{
    struct bench *bench = *state;
    struct state_writer saved = { 0 };

    start(bench, FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);
    (void)add_long_frame(bench, 0);
    driver_kick(&bench->driver.queues[TX]);
    wait_sent(bench, 1);
    assert_int_equal(virtio_dev_save(bench->vdev, &saved), 0);
    assert_false(is_asked(bench));

    struct state_reader reader = { saved.data, saved.len, 0 };
    virtio_dev_destroy(bench->vdev);
    wire_fini(&bench->wire);
    assert_int_equal(make_card(bench, TO_HOST | TO_GUEST, 1, 1500, &bench->vdev), 0);
    driver_attach(&bench->driver, bench->vdev);
    assert_int_equal(virtio_dev_load(bench->vdev, &reader), 0);
    driver_settle(&bench->driver);

    assert_true(is_asked(bench));
    state_writer_fini(&saved);
}

/* What a saved card ends with; the layout of net.c's state. */
struct saved_net {
    uint8_t mac[NET_MAC_LEN];
    uint16_t pairs;
    uint64_t guest_offloads;
};

static void refuses_a_saved_state_that_cannot_be(void **state)
{
    const struct saved_net cases[] = { { .pairs = 0 },
                                       { .pairs = 3 },
                                       { .pairs = 1, .guest_offloads = 1 },
                                       { .pairs = 1, .guest_offloads = TO_GUEST } };
    struct bench *bench = *state;
    struct state_writer saved = { 0 };

    start(bench, MULTI, 2);
    assert_int_equal(virtio_dev_save(bench->vdev, &saved), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct state_reader reader = { saved.data, saved.len, 0 };

        memcpy(saved.data + saved.len - sizeof(cases[i]), &cases[i], sizeof(cases[i]));
        assert_int_equal(virtio_dev_load(bench->vdev, &reader), -EBADMSG);
    }
    state_writer_fini(&saved);
}

/* --- addresses --- */

static void default_addresses_are_local_unicast_and_stable(void **state)
{
    uint8_t mac[NET_MAC_LEN], again[NET_MAC_LEN];
    (void)state;

    net_default_mac("debian", 0, mac);
    net_default_mac("debian", 0, again);
    assert_memory_equal(mac, again, sizeof(mac));
    assert_int_equal(mac[0] & 3, 2);
    /* Written down: guests' configurations depend on it. */
    const uint8_t expected[NET_MAC_LEN] = { 0x02, 0xe4, 0xe3, 0x9c, 0x06, 0x34 };
    assert_memory_equal(mac, expected, sizeof(mac));
}

static void default_addresses_differ_by_name_and_card(void **state)
{
    enum { NAMES = 50, CARDS = 8 };
    uint8_t macs[NAMES * CARDS][NET_MAC_LEN];
    char name[16];
    (void)state;

    for (unsigned i = 0; i < NAMES * CARDS; i++) {
        (void)snprintf(name, sizeof(name), "vm%u", i / CARDS);
        net_default_mac(name, i % CARDS, macs[i]);
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(macs[i], macs[j], NET_MAC_LEN);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_bench, drop_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tells_its_address_link_pairs_and_mtu),
        TEST(offers_what_the_backend_can_do_and_no_more),
        TEST(offers_offloads_pairs_and_mtu),
        TEST(a_card_on_a_lost_link_starts_with_its_link_down),
        TEST(refuses_an_mtu_or_pairs_out_of_range),
        TEST(tells_the_backend_the_drivers_choice),
        TEST(wants_no_segmentation_without_checksums),
        TEST(needs_a_reset_if_the_host_refuses_the_offloads),
        TEST(sends_a_frame_with_its_offloads),
        TEST(sends_a_frame_in_many_pieces),
        TEST(passes_only_header_bits_that_the_driver_may_set),
        TEST(drops_frames_whose_offloads_are_wrong),
        TEST(drops_frames_that_are_too_short_or_too_long),
        TEST(a_full_backend_gets_the_rest_later),
        TEST(interrupts_once_for_many_frames),
        TEST(asks_for_no_notification_while_it_is_full),
        TEST(frames_behind_a_long_one_need_no_notification),
        TEST(the_driver_is_asked_again_after_a_stream),
        TEST(looking_in_vain_makes_us_look_less),
        TEST(the_driver_is_asked_at_once_after_a_short_frame),
        TEST(receives_a_frame_with_its_offloads),
        TEST(without_the_feature_nothing_is_said_of_checksums),
        TEST(spreads_frames_over_buffers_of_odd_sizes),
        TEST(a_long_frame_behind_many_short_ones_is_whole),
        TEST(spreads_a_frame_over_chains_of_several_buffers),
        TEST(drops_what_is_longer_than_a_buffer_that_cannot_be_merged),
        TEST(a_long_frame_waits_for_the_buffers_it_needs),
        TEST(a_driver_without_segmentation_does_not_block_on_a_long_frame),
        TEST(buffers_in_crumbs_do_not_block_the_queue),
        TEST(without_buffers_the_backend_is_not_asked),
        TEST(buffers_that_were_there_before_driver_ok_are_used),
        TEST(takes_a_bounded_number_of_frames_at_a_time),
        TEST(a_buffer_that_cannot_be_written_needs_a_reset),
        TEST(pairs_work_once_the_driver_uses_them),
        TEST(streams_of_two_pairs_are_both_looked_at),
        TEST(pairs_that_are_given_up_do_not_receive),
        TEST(refuses_pairs_that_it_does_not_have),
        TEST(without_multiqueue_the_third_queue_takes_commands),
        TEST(takes_receive_modes_and_filters),
        TEST(refuses_commands_that_are_unknown_or_malformed),
        TEST(survives_commands_without_head_or_answer),
        TEST(the_driver_may_change_the_address_until_it_resets),
        TEST(the_driver_may_turn_its_offloads_off_and_on),
        TEST(after_a_reset_the_old_buffers_are_left_alone),
        TEST(works_again_after_a_reset_amid_traffic),
        TEST(a_lost_link_is_told_and_swallows_frames),
        TEST(a_saved_card_goes_on_in_another_one),
        TEST(a_saved_card_goes_on_itself),
        TEST(a_card_saved_in_a_stream_asks_the_driver_again),
        TEST(refuses_a_saved_state_that_cannot_be),
        cmocka_unit_test(default_addresses_are_local_unicast_and_stable),
        cmocka_unit_test(default_addresses_differ_by_name_and_card),
    };

    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
