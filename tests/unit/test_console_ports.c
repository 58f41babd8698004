// SPDX-License-Identifier: Apache-2.0
/* Named console ports: what a driver is told, what it may say, and bytes both ways. */
#include "virtio/console_ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>

#include "host/state.h"
#include "virtio_driver.h"

enum {
    CONTROL_RECEIVE = 2,
    CONTROL_TRANSMIT = 3,
    SECOND_RECEIVE = 4,
    SECOND_TRANSMIT = 5,
    MULTIPORT = 1 << VIRTIO_CONSOLE_F_MULTIPORT,
    CONTROL_LEN = sizeof(struct virtio_console_control),
};

struct end {
    char data[64];
    size_t len, room;
    int ready_calls, opened, closed;
};

struct fixture {
    struct driver driver;
    struct virtio_dev *vdev;
    struct end ends[2];
};

static bool take_output(void *ctx, const uint8_t *data, size_t len)
{
    struct end *end = ctx;

    assert_true(end->len + len <= sizeof(end->data));
    memcpy(end->data + end->len, data, len);
    end->len += len;
    end->room -= len < end->room ? len : end->room;
    return end->room > 0;
}

static void note_ready(void *ctx)
{
    ((struct end *)ctx)->ready_calls++;
}

static void note_opened(void *ctx, bool is_open)
{
    struct end *end = ctx;

    end->opened += is_open;
    end->closed += !is_open;
}

static void make_ports(struct fixture *f)
{
    const struct console_port_params ports[] = {
        { "first", take_output, note_ready, note_opened, &f->ends[0] },
        { "second", take_output, note_ready, note_opened, &f->ends[1] },
    };
    const struct console_ports_params params = {
        .mem = f->driver.mem, .loop = f->driver.loop, .ports = ports, .port_count = 2
    };

    assert_int_equal(console_ports_create(&params, &f->vdev), 0);
}

static int setup(void **state)
{
    struct fixture *f = driver_setup(state, sizeof(*f));

    make_ports(f);
    driver_start(&f->driver, f->vdev, MULTIPORT);
    f->ends[0].room = f->ends[1].room = SIZE_MAX;
    return 0;
}

static void send_bytes(struct fixture *f, unsigned queue, const void *data, uint32_t len)
{
    struct driver_buffer buffer = { driver_put(&f->driver, data, len), len, false };

    driver_add(&f->driver.queues[queue], &buffer, 1);
    driver_kick(&f->driver.queues[queue]);
    driver_settle(&f->driver);
}

static void tell(struct fixture *f, uint32_t id, uint16_t event, uint16_t value)
{
    const struct virtio_console_control message = { htole32(id), htole16(event), htole16(value) };

    send_bytes(f, CONTROL_TRANSMIT, &message, sizeof(message));
    assert_true(driver_take_used(&f->driver.queues[CONTROL_TRANSMIT], NULL, NULL));
}

static gpa_t offer(struct fixture *f, unsigned queue, uint32_t len)
{
    struct driver_buffer buffer = { driver_alloc(&f->driver, len), len, true };

    driver_add(&f->driver.queues[queue], &buffer, 1);
    driver_kick(&f->driver.queues[queue]);
    driver_settle(&f->driver);
    return buffer.gpa;
}

/* Expects that the next buffer of the control queue, which was at @gpa, has this message. */
static void expect_message(struct fixture *f, gpa_t gpa, uint32_t id, uint16_t event,
                           uint16_t value, const char *name)
{
    const struct virtio_console_control *message = driver_at(&f->driver, gpa, CONTROL_LEN + 16);
    uint32_t len = 0;

    assert_true(driver_take_used(&f->driver.queues[CONTROL_RECEIVE], NULL, &len));
    assert_int_equal(len, CONTROL_LEN + strlen(name));
    assert_int_equal(le32toh(message->id), id);
    assert_int_equal(le16toh(message->event), event);
    assert_int_equal(le16toh(message->value), value);
    assert_memory_equal(message + 1, name, strlen(name));
}

static void expect_no_message(struct fixture *f)
{
    driver_settle(&f->driver);
    assert_false(driver_take_used(&f->driver.queues[CONTROL_RECEIVE], NULL, NULL));
}

static void open_second(struct fixture *f)
{
    tell(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
    tell(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

/* --- control --- */

static void says_how_many_ports_there_are(void **state)
{
    struct fixture *f = *state;
    struct virtio_console_config config;

    virtio_dev_read_config(f->vdev, 0, &config, sizeof(config));

    assert_int_equal(f->vdev->device_id, VIRTIO_ID_CONSOLE);
    assert_int_equal(f->vdev->queue_count, 6);
    assert_int_equal(le32toh(config.max_nr_ports), 2);
}

static void a_ready_driver_is_told_of_every_port(void **state)
{
    struct fixture *f = *state;
    gpa_t first = offer(f, CONTROL_RECEIVE, 64), second = offer(f, CONTROL_RECEIVE, 64);

    expect_no_message(f);
    tell(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);

    expect_message(f, first, 0, VIRTIO_CONSOLE_PORT_ADD, 1, "");
    expect_message(f, second, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
}

static void a_ready_port_is_named_and_open(void **state)
{
    struct fixture *f = *state;
    gpa_t first = offer(f, CONTROL_RECEIVE, 64), second = offer(f, CONTROL_RECEIVE, 64);

    tell(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);

    expect_message(f, first, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "second");
    expect_message(f, second, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
}

static void messages_wait_for_buffers(void **state)
{
    struct fixture *f = *state;

    tell(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect_no_message(f);
    gpa_t first = offer(f, CONTROL_RECEIVE, 64);
    expect_message(f, first, 0, VIRTIO_CONSOLE_PORT_ADD, 1, "");
    gpa_t second = offer(f, CONTROL_RECEIVE, 64);
    expect_message(f, second, 1, VIRTIO_CONSOLE_PORT_ADD, 1, "");
    offer(f, CONTROL_RECEIVE, 64);
    expect_no_message(f);
}

static void a_driver_that_asks_again_and_again_gets_one_answer_for_its_buffers(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 1000; i++)
        tell(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
    gpa_t first = offer(f, CONTROL_RECEIVE, 64), second = offer(f, CONTROL_RECEIVE, 64);
    expect_message(f, first, 0, VIRTIO_CONSOLE_PORT_NAME, 1, "first");
    expect_message(f, second, 0, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
    offer(f, CONTROL_RECEIVE, 64);
    expect_no_message(f);
}

static void nonsense_on_the_control_queue_comes_back(void **state)
{
    struct fixture *f = *state;

    offer(f, CONTROL_RECEIVE, 64);
    tell(f, 2, VIRTIO_CONSOLE_PORT_READY, 1);
    tell(f, UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
    tell(f, 0, 99, 1);
    tell(f, 0, VIRTIO_CONSOLE_PORT_OPEN, 1); /* it is not ready */
    send_bytes(f, CONTROL_TRANSMIT, "abc", 3);

    assert_true(driver_take_used(&f->driver.queues[CONTROL_TRANSMIT], NULL, NULL));
    assert_int_equal(f->ends[0].opened, 0);
    expect_no_message(f);
}

static void a_message_is_cut_to_a_small_buffer(void **state)
{
    struct fixture *f = *state;
    uint32_t len;

    offer(f, CONTROL_RECEIVE, 4);
    tell(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);

    assert_true(driver_take_used(&f->driver.queues[CONTROL_RECEIVE], NULL, &len));
    assert_int_equal(len, 4);
}

static void the_host_hears_of_opening_and_closing(void **state)
{
    struct fixture *f = *state;

    open_second(f);
    tell(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1); /* no change */
    assert_int_equal(f->ends[1].opened, 1);
    tell(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    assert_int_equal(f->ends[1].closed, 1);
    assert_int_equal(f->ends[0].opened, 0);
}

static void the_guest_hears_of_closing(void **state)
{
    struct fixture *f = *state;

    open_second(f);
    offer(f, CONTROL_RECEIVE, 64);
    offer(f, CONTROL_RECEIVE, 64);
    while (driver_take_used(&f->driver.queues[CONTROL_RECEIVE], NULL, NULL))
        ;
    gpa_t gpa = offer(f, CONTROL_RECEIVE, 64);
    console_ports_set_open(f->vdev, 1, false);
    console_ports_set_open(f->vdev, 1, false);

    expect_message(f, gpa, 1, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
}

static void a_reset_closes_all(void **state)
{
    struct fixture *f = *state;

    open_second(f);
    virtio_dev_write_status(f->vdev, 0);
    assert_int_equal(f->ends[1].closed, 1);
    driver_start(&f->driver, f->vdev, MULTIPORT);
    offer(f, CONTROL_RECEIVE, 64);
    expect_no_message(f);
}

static void a_driver_without_ports_is_refused(void **state)
{
    struct fixture *f = *state;

    virtio_dev_write_status(f->vdev, 0);
    assert_true(driver_negotiate(&f->driver, 0));
    driver_go(&f->driver);

    assert_false(virtio_dev_is_running(f->vdev));
}

/* --- bytes --- */

static void each_port_has_its_own_output(void **state)
{
    struct fixture *f = *state;

    send_bytes(f, 1, "one", 3);
    send_bytes(f, SECOND_TRANSMIT, "two!", 4);

    assert_int_equal(f->ends[0].len, 3);
    assert_memory_equal(f->ends[0].data, "one", 3);
    assert_int_equal(f->ends[1].len, 4);
    assert_memory_equal(f->ends[1].data, "two!", 4);
}

static void a_full_port_holds_up_no_other(void **state)
{
    struct fixture *f = *state;

    f->ends[0].room = 1;
    send_bytes(f, 1, "a", 1);
    send_bytes(f, 1, "b", 1);
    send_bytes(f, SECOND_TRANSMIT, "c", 1);
    assert_int_equal(f->ends[0].len, 1);
    assert_int_equal(f->ends[1].len, 1);

    f->ends[0].room = SIZE_MAX;
    console_ports_transmit_ready(f->vdev, 0);
    assert_memory_equal(f->ends[0].data, "ab", 2);
}

static void input_goes_into_the_ports_own_buffers(void **state)
{
    struct fixture *f = *state;
    gpa_t other = offer(f, 0, 16), gpa = offer(f, SECOND_RECEIVE, 4);

    assert_int_equal(console_ports_receive(f->vdev, 1, (const uint8_t *)"abcdef", 6), 4);
    assert_memory_equal(driver_at(&f->driver, gpa, 4), "abcd", 4);
    assert_memory_equal(driver_at(&f->driver, other, 1), "", 1);

    gpa = offer(f, SECOND_RECEIVE, 4);
    assert_int_equal(f->ends[1].ready_calls, 1);
    assert_int_equal(f->ends[0].ready_calls, 0);
    assert_int_equal(console_ports_receive(f->vdev, 1, (const uint8_t *)"ef", 2), 2);
    assert_memory_equal(driver_at(&f->driver, gpa, 2), "ef", 2);
}

/* --- state --- */

static void a_restored_device_says_what_is_due(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved = { 0 };

    open_second(f);
    console_ports_set_open(f->vdev, 0, false);
    assert_int_equal(virtio_dev_save(f->vdev, &saved), 0);
    virtio_dev_destroy(f->vdev);
    make_ports(f);
    driver_attach(&f->driver, f->vdev);
    struct state_reader in = { saved.data, saved.len, 0 };
    assert_int_equal(virtio_dev_load(f->vdev, &in), 0);

    gpa_t first = offer(f, CONTROL_RECEIVE, 64), second = offer(f, CONTROL_RECEIVE, 64);
    expect_message(f, first, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "second");
    expect_message(f, second, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
    gpa_t third = offer(f, CONTROL_RECEIVE, 64), fourth = offer(f, CONTROL_RECEIVE, 64);
    tell(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_message(f, third, 0, VIRTIO_CONSOLE_PORT_NAME, 1, "first");
    expect_message(f, fourth, 0, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
    state_writer_fini(&saved);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(says_how_many_ports_there_are),
        TEST(a_ready_driver_is_told_of_every_port),
        TEST(a_ready_port_is_named_and_open),
        TEST(messages_wait_for_buffers),
        TEST(a_driver_that_asks_again_and_again_gets_one_answer_for_its_buffers),
        TEST(nonsense_on_the_control_queue_comes_back),
        TEST(a_message_is_cut_to_a_small_buffer),
        TEST(the_host_hears_of_opening_and_closing),
        TEST(the_guest_hears_of_closing),
        TEST(a_reset_closes_all),
        TEST(a_driver_without_ports_is_refused),
        TEST(each_port_has_its_own_output),
        TEST(a_full_port_holds_up_no_other),
        TEST(input_goes_into_the_ports_own_buffers),
        TEST(a_restored_device_says_what_is_due),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
