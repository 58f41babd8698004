// SPDX-License-Identifier: Apache-2.0
/* What a driver receives from the network card. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <linux/virtio_net.h>

#include "net_bench.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests_name("net_rx", tests, NULL, NULL);
}
