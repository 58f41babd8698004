// SPDX-License-Identifier: Apache-2.0
/* The network card as a driver finds it: what it offers, reset, link and saved state. */
#include "virtio/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <linux/virtio_net.h>

#include "host/state.h"
#include "net_bench.h"

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
