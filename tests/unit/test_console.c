// SPDX-License-Identifier: Apache-2.0
/* virtio-console between a driver and a receiver that may be full. */
#include "virtio/console.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>

#include "host/state.h"
#include "virtio_driver.h"

enum { RECEIVE = 0, TRANSMIT = 1, OUTPUT_MAX = 1 << 20 };

struct fixture {
    struct driver driver;
    struct virtio_dev *vdev;
    struct driver_queue *input, *output;
    size_t room; /* bytes that the receiver takes before it asks to wait */
    size_t len, largest;
    unsigned ready;
    uint8_t data[OUTPUT_MAX];
};

static bool take_output(void *ctx, const uint8_t *data, size_t len)
{
    struct fixture *f = ctx;

    assert_true(f->room > 0 && len > 0 && f->len + len <= OUTPUT_MAX);
    memcpy(f->data + f->len, data, len);
    f->len += len;
    f->largest = len > f->largest ? len : f->largest;
    f->room -= len < f->room ? len : f->room;
    return f->room > 0;
}

static void note_ready(void *ctx)
{
    struct fixture *f = ctx;

    f->ready++;
}

static void make_console(struct fixture *f)
{
    const struct console_params params = {
        .mem = f->driver.mem,
        .loop = f->driver.loop,
        .transmit = take_output,
        .receive_ready = note_ready,
        .ctx = f,
    };

    assert_int_equal(console_create(&params, &f->vdev), 0);
}

static int setup(void **state)
{
    struct fixture *f = driver_setup(state, sizeof(*f));

    make_console(f);
    driver_start(&f->driver, f->vdev, 0);
    f->input = &f->driver.queues[RECEIVE];
    f->output = &f->driver.queues[TRANSMIT];
    f->room = SIZE_MAX;
    return 0;
}

static void send_bytes(struct fixture *f, const void *data, uint32_t len)
{
    struct driver_buffer buffer = { driver_put(&f->driver, data, len), len, false };

    driver_add(f->output, &buffer, 1);
    driver_kick(f->output);
}

static gpa_t offer(struct fixture *f, uint32_t len)
{
    struct driver_buffer buffer = { driver_alloc(&f->driver, len), len, true };

    driver_add(f->input, &buffer, 1);
    driver_kick(f->input);
    return buffer.gpa;
}

static size_t receive(struct fixture *f, const char *text)
{
    return console_receive(f->vdev, (const uint8_t *)text, strlen(text));
}

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
}

/* --- output --- */

static void output_is_passed_on_in_order(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffers[] = { { driver_put(&f->driver, "hel", 3), 3, false },
                                       { driver_put(&f->driver, "lo ", 3), 3, false } };
    uint32_t len;

    driver_add(f->output, buffers, 2);
    send_bytes(f, "world", 5);
    driver_wait_used(f->output, NULL, &len);

    assert_int_equal(len, 0);
    assert_true(driver_take_used(f->output, NULL, NULL));
    assert_int_equal(f->len, 11);
    assert_memory_equal(f->data, "hello world", 11);
}

static void output_comes_in_small_pieces(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[100001];

    fill(data, sizeof(data));
    send_bytes(f, data, sizeof(data));
    driver_wait_used(f->output, NULL, NULL);

    assert_int_equal(f->len, sizeof(data));
    assert_memory_equal(f->data, data, sizeof(data));
    assert_int_equal(f->largest, CONSOLE_PIECE_MAX);
}

static void a_full_receiver_leaves_output_in_the_queue(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[3 * CONSOLE_PIECE_MAX];

    fill(data, sizeof(data));
    f->room = 1;
    send_bytes(f, data, sizeof(data));
    send_bytes(f, "end", 3);
    driver_settle(&f->driver);
    assert_int_equal(f->len, CONSOLE_PIECE_MAX);
    assert_false(driver_take_used(f->output, NULL, NULL));

    driver_kick(f->output); /* an impatient driver changes nothing */
    driver_settle(&f->driver);
    assert_int_equal(f->len, CONSOLE_PIECE_MAX);

    f->room = CONSOLE_PIECE_MAX + 1;
    console_transmit_ready(f->vdev);
    assert_int_equal(f->len, 3 * CONSOLE_PIECE_MAX);
    assert_true(driver_take_used(f->output, NULL, NULL));
    assert_false(driver_take_used(f->output, NULL, NULL));

    f->room = SIZE_MAX;
    console_transmit_ready(f->vdev);
    assert_int_equal(f->len, sizeof(data) + 3);
    assert_memory_equal(f->data, data, sizeof(data));
    assert_memory_equal(f->data + sizeof(data), "end", 3);
    assert_true(driver_take_used(f->output, NULL, NULL));
}

static void output_goes_on_after_the_receiver_was_full(void **state)
{
    struct fixture *f = *state;

    f->room = 1;
    send_bytes(f, "a", 1);
    driver_settle(&f->driver);
    f->room = SIZE_MAX;
    console_transmit_ready(f->vdev);
    assert_true(driver_take_used(f->output, NULL, NULL));
    send_bytes(f, "b", 1);
    driver_wait_used(f->output, NULL, NULL);

    assert_memory_equal(f->data, "ab", 2);
}

static void a_chain_that_shrinks_while_it_waits_is_done(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[3 * CONSOLE_PIECE_MAX];

    f->room = 1;
    send_bytes(f, data, sizeof(data));
    driver_settle(&f->driver);
    for (uint16_t i = 0; i < f->output->size; i++)
        f->output->desc[i].len = htole32(2); /* less than was sent already */
    f->room = SIZE_MAX;
    console_transmit_ready(f->vdev);

    assert_int_equal(f->len, CONSOLE_PIECE_MAX);
    assert_true(driver_take_used(f->output, NULL, NULL));
}

static void a_reset_drops_what_was_not_sent(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[3 * CONSOLE_PIECE_MAX];

    f->room = 1;
    send_bytes(f, data, sizeof(data));
    driver_settle(&f->driver);
    virtio_dev_write_status(f->vdev, 0);
    f->room = SIZE_MAX;
    console_transmit_ready(f->vdev);
    assert_int_equal(f->len, CONSOLE_PIECE_MAX);

    driver_start(&f->driver, f->vdev, 0);
    f->len = 0;
    send_bytes(f, "new", 3);
    driver_wait_used(f->output, NULL, NULL);
    assert_int_equal(f->len, 3);
    assert_memory_equal(f->data, "new", 3);
}

static void empty_output_comes_back(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { driver_alloc(&f->driver, 16), 16, true };

    driver_add(f->output, &buffer, 1);
    driver_kick(f->output);
    driver_wait_used(f->output, NULL, NULL);

    assert_int_equal(f->len, 0);
}

/* --- input --- */

static void input_fills_the_drivers_buffers(void **state)
{
    struct fixture *f = *state;
    gpa_t first = offer(f, 4), second = offer(f, 4);
    uint32_t len;

    assert_int_equal(receive(f, "abcdef"), 6);

    assert_true(driver_take_used(f->input, NULL, &len));
    assert_int_equal(len, 4);
    assert_memory_equal(driver_at(&f->driver, first, 4), "abcd", 4);
    assert_true(driver_take_used(f->input, NULL, &len));
    assert_int_equal(len, 2);
    assert_memory_equal(driver_at(&f->driver, second, 4), "ef\0\0", 4);
    assert_int_equal(f->driver.queue_interrupts[RECEIVE], 1);
}

static void input_waits_for_buffers(void **state)
{
    struct fixture *f = *state;

    offer(f, 4);
    driver_settle(&f->driver);
    assert_int_equal(receive(f, "abcdef"), 4);
    driver_settle(&f->driver);
    assert_int_equal(f->ready, 0);

    uint16_t before = f->input->added;
    gpa_t gpa = offer(f, 4);
    assert_true(driver_shall_kick(f->input, before));
    driver_settle(&f->driver);
    assert_int_equal(f->ready, 1);
    assert_int_equal(receive(f, "ef"), 2);
    assert_memory_equal(driver_at(&f->driver, gpa, 2), "ef", 2);
}

static void nobody_is_told_of_buffers_that_nothing_waits_for(void **state)
{
    struct fixture *f = *state;

    offer(f, 4);
    driver_settle(&f->driver);

    assert_int_equal(f->ready, 0);
}

static void input_waits_for_a_driver(void **state)
{
    struct fixture *f = *state;

    virtio_dev_write_status(f->vdev, 0);
    assert_int_equal(receive(f, "a"), 0);
    driver_start(&f->driver, f->vdev, 0);
    offer(f, 4);
    driver_settle(&f->driver);

    assert_int_equal(f->ready, 1);
    assert_int_equal(receive(f, "a"), 1);
}

static void buffers_without_room_do_not_hold_the_host(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { driver_alloc(&f->driver, 16), 16, false };

    for (int i = 0; i < 8; i++)
        driver_add(f->input, &buffer, 1);

    assert_int_equal(receive(f, "abc"), 0);
    for (int i = 0; i < 8; i++)
        assert_true(driver_take_used(f->input, NULL, NULL));
}

/* --- the rest --- */

static void shows_the_size_of_the_terminal(void **state)
{
    struct fixture *f = *state;
    struct virtio_console_config config;
    uint32_t generation = f->vdev->state.config_generation;

    console_resize(f->vdev, 132, 50);
    console_resize(f->vdev, 132, 50); /* no change */
    virtio_dev_read_config(f->vdev, 0, &config, sizeof(config));

    assert_int_equal(f->vdev->device_id, VIRTIO_ID_CONSOLE);
    assert_true(f->vdev->device_features & (1 << VIRTIO_CONSOLE_F_SIZE));
    assert_int_equal(le16toh(config.cols), 132);
    assert_int_equal(le16toh(config.rows), 50);
    assert_int_equal(f->driver.config_interrupts, 1);
    assert_int_equal(f->vdev->state.config_generation, generation + 1);
}

static void a_restored_console_sends_the_rest(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved = { 0 };
    static uint8_t data[2 * CONSOLE_PIECE_MAX];

    fill(data, sizeof(data));
    f->room = 1;
    send_bytes(f, data, sizeof(data));
    driver_settle(&f->driver);
    console_resize(f->vdev, 80, 25);
    assert_int_equal(virtio_dev_save(f->vdev, &saved), 0);
    virtio_dev_destroy(f->vdev);
    make_console(f);
    driver_attach(&f->driver, f->vdev);
    f->room = SIZE_MAX;
    struct state_reader in = { saved.data, saved.len, 0 };
    assert_int_equal(virtio_dev_load(f->vdev, &in), 0);
    driver_wait_used(f->output, NULL, NULL);

    assert_int_equal(f->len, sizeof(data));
    assert_memory_equal(f->data, data, sizeof(data));
    uint16_t columns;
    virtio_dev_read_config(f->vdev, 0, &columns, 2);
    assert_int_equal(le16toh(columns), 80);
    state_writer_fini(&saved);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(output_is_passed_on_in_order),
        TEST(output_comes_in_small_pieces),
        TEST(a_full_receiver_leaves_output_in_the_queue),
        TEST(output_goes_on_after_the_receiver_was_full),
        TEST(a_chain_that_shrinks_while_it_waits_is_done),
        TEST(a_reset_drops_what_was_not_sent),
        TEST(empty_output_comes_back),
        TEST(input_fills_the_drivers_buffers),
        TEST(input_waits_for_buffers),
        TEST(nobody_is_told_of_buffers_that_nothing_waits_for),
        TEST(input_waits_for_a_driver),
        TEST(buffers_without_room_do_not_hold_the_host),
        TEST(shows_the_size_of_the_terminal),
        TEST(a_restored_console_sends_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
