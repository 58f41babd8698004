// SPDX-License-Identifier: Apache-2.0
/* What a driver sends through the network card. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <linux/virtio_net.h>

#include "net_bench.h"

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
        struct bench *own = NULL;

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
        struct bench *own = NULL;

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests_name("net_tx", tests, NULL, NULL);
}
