// SPDX-License-Identifier: Apache-2.0
/* The commands of the network card's control queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <linux/virtio_net.h>

#include "net_bench.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests_name("net_control", tests, NULL, NULL);
}
