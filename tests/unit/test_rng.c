// SPDX-License-Identifier: Apache-2.0
/* virtio-rng and a driver that wants random numbers. */
#include "virtio/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <linux/virtio_ids.h>

#include "virtio_driver.h"

enum { CHAIN_MAX = 64 * 1024 };

struct fixture {
    struct driver driver;
    struct driver_queue *queue;
};

static int setup(void **state)
{
    struct fixture *f = driver_setup(state, sizeof(*f));
    struct virtio_dev *vdev;

    assert_int_equal(rng_create(f->driver.mem, f->driver.loop, &vdev), 0);
    driver_start(&f->driver, vdev, 0);
    f->queue = &f->driver.queues[0];
    return 0;
}

static bool is_zero(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i])
            return false;
    }
    return true;
}

static void is_an_entropy_source_without_configuration(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->driver.vdev->device_id, VIRTIO_ID_RNG);
    assert_int_equal(f->driver.vdev->config_size, 0);
}

static void fills_every_buffer_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    enum { LEN = 64 };
    gpa_t first = driver_alloc(&f->driver, 3 * LEN), second = driver_alloc(&f->driver, LEN);
    struct driver_buffer buffers[] = { { first + LEN, LEN, true }, { second, LEN, true } };
    const uint8_t *data = driver_at(&f->driver, first, 3 * LEN);
    uint32_t len;

    driver_add(f->queue, buffers, 2);
    driver_kick(f->queue);
    driver_wait_used(f->queue, NULL, &len);

    assert_int_equal(len, 2 * LEN);
    assert_true(is_zero(data, LEN));
    assert_false(is_zero(data + LEN, LEN));
    assert_true(is_zero(data + 2 * LEN, LEN));
    assert_false(is_zero(driver_at(&f->driver, second, LEN), LEN));
    assert_memory_not_equal(data + LEN, driver_at(&f->driver, second, LEN), LEN);
}

static void serves_many_chains_with_one_interrupt(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { driver_alloc(&f->driver, 32), 32, true };

    for (int i = 0; i < 10; i++)
        driver_add(f->queue, &buffer, 1);
    driver_kick(f->queue);
    driver_settle(&f->driver);

    for (int i = 0; i < 10; i++)
        assert_true(driver_take_used(f->queue, NULL, NULL));
    assert_int_equal(f->driver.queue_interrupts[0], 1);
}

static void a_large_chain_is_filled_only_partly(void **state)
{
    struct fixture *f = *state;
    gpa_t gpa = driver_alloc(&f->driver, CHAIN_MAX + 4096);
    struct driver_buffer buffers[] = { { gpa, CHAIN_MAX - 1024, true },
                                       { gpa + CHAIN_MAX - 1024, 5120, true } };
    uint32_t len;

    driver_add(f->queue, buffers, 2);
    driver_kick(f->queue);
    driver_wait_used(f->queue, NULL, &len);

    assert_int_equal(len, CHAIN_MAX);
    assert_false(is_zero(driver_at(&f->driver, gpa + CHAIN_MAX - 64, 64), 64));
    assert_true(is_zero(driver_at(&f->driver, gpa + CHAIN_MAX, 4096), 4096));
}

static void many_large_chains_take_several_wakeups(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { driver_alloc(&f->driver, CHAIN_MAX), CHAIN_MAX, true };

    for (int i = 0; i < 20; i++)
        driver_add(f->queue, &buffer, 1);
    driver_kick(f->queue);
    driver_settle(&f->driver);

    for (int i = 0; i < 20; i++)
        assert_true(driver_take_used(f->queue, NULL, NULL));
    assert_int_equal(f->driver.queue_interrupts[0], 5);
}

static void a_chain_with_nothing_to_fill_comes_back(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { driver_alloc(&f->driver, 16), 16, false };
    uint32_t len;

    driver_add(f->queue, &buffer, 1);
    driver_kick(f->queue);
    driver_wait_used(f->queue, NULL, &len);

    assert_int_equal(len, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_an_entropy_source_without_configuration),
        TEST(fills_every_buffer_and_nothing_else),
        TEST(serves_many_chains_with_one_interrupt),
        TEST(a_large_chain_is_filled_only_partly),
        TEST(many_large_chains_take_several_wakeups),
        TEST(a_chain_with_nothing_to_fill_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
