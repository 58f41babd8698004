// SPDX-License-Identifier: Apache-2.0
/* A virtio console behind a page of registers, driven only through them. */
#include "virtio/transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <sys/eventfd.h>

#include "host/state.h"
#include "virtio/console.h"
#include "virtio_driver.h"

enum {
    ADDRESS = 0x5000,
    TRANSMIT = 1,
    QUEUES = 2,
    RUNNING = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
              VIRTIO_CONFIG_S_DRIVER_OK,
};

struct fixture {
    struct driver driver;
    struct virtio_dev *vdev;
    struct device *dev;
    bool irq;
    size_t sent;
    int doorbells[QUEUES]; /* the eventfds, by the value that signals them; -1: none */
};

static void set_irq(void *ctx, bool high)
{
    ((struct fixture *)ctx)->irq = high;
}

static int connect_doorbell(void *ctx, const struct doorbell *doorbell, int fd)
{
    struct fixture *f = ctx;

    assert_int_equal(doorbell->address, ADDRESS + VIRTIO_MMIO_QUEUE_NOTIFY);
    assert_int_equal(doorbell->size, 4);
    assert_true(doorbell->has_value && doorbell->value < QUEUES);
    assert_int_equal(f->doorbells[doorbell->value], -1);
    f->doorbells[doorbell->value] = fd;
    return 0;
}

static void disconnect_doorbell(void *ctx, const struct doorbell *doorbell, int fd)
{
    struct fixture *f = ctx;

    assert_int_equal(f->doorbells[doorbell->value], fd);
    f->doorbells[doorbell->value] = -1;
}

static bool take_output(void *ctx, const uint8_t *data, size_t len)
{
    (void)data;
    ((struct fixture *)ctx)->sent += len;
    return true;
}

static void make_device(struct fixture *f)
{
    const struct console_params console = {
        .mem = f->driver.mem, .loop = f->driver.loop, .transmit = take_output, .ctx = f
    };
    struct virtio_mmio_params params = {
        .irq = { set_irq, f },
        .doorbells = { connect_doorbell, disconnect_doorbell, f },
        .address = ADDRESS,
    };

    assert_int_equal(console_create(&console, &f->vdev), 0);
    params.vdev = f->vdev;
    assert_int_equal(virtio_mmio_create(&params, &f->dev), 0);
    f->driver.vdev = f->vdev;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    driver_init(&f->driver);
    f->doorbells[0] = f->doorbells[1] = -1;
    make_device(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    device_destroy(f->dev);
    f->driver.vdev = NULL;
    assert_int_equal(f->doorbells[0], -1);
    assert_int_equal(f->doorbells[1], -1);
    driver_fini(&f->driver);
    free(f);
    return 0;
}

static uint64_t read_at(struct fixture *f, uint64_t offset, unsigned size)
{
    return f->dev->ops->read(f->dev, offset, size);
}

static uint32_t get(struct fixture *f, uint64_t offset)
{
    return (uint32_t)read_at(f, offset, 4);
}

static void set(struct fixture *f, uint64_t offset, uint32_t value)
{
    f->dev->ops->write(f->dev, offset, 4, value);
}

static void set_up_queue(struct fixture *f, unsigned index)
{
    struct driver_queue *queue = &f->driver.queues[index];

    set(f, VIRTIO_MMIO_QUEUE_SEL, index);
    driver_make_queue(&f->driver, index, (uint16_t)get(f, VIRTIO_MMIO_QUEUE_NUM_MAX));
    set(f, VIRTIO_MMIO_QUEUE_NUM, queue->size);
    set(f, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)queue->desc_gpa);
    set(f, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
    set(f, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)queue->avail_gpa);
    set(f, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0);
    set(f, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)queue->used_gpa);
    set(f, VIRTIO_MMIO_QUEUE_USED_HIGH, 0);
    set(f, VIRTIO_MMIO_QUEUE_READY, 1);
    assert_int_equal(get(f, VIRTIO_MMIO_QUEUE_READY), 1);
}

static void negotiate(struct fixture *f)
{
    set(f, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    set(f, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    set(f, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    set(f, VIRTIO_MMIO_DRIVER_FEATURES, 1 << (VIRTIO_F_VERSION_1 - 32));
    set(f, VIRTIO_MMIO_STATUS, RUNNING & ~VIRTIO_CONFIG_S_DRIVER_OK);
    assert_int_equal(get(f, VIRTIO_MMIO_STATUS), RUNNING & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static void start(struct fixture *f)
{
    negotiate(f);
    for (unsigned i = 0; i < QUEUES; i++)
        set_up_queue(f, i);
    set(f, VIRTIO_MMIO_STATUS, RUNNING);
    assert_int_equal(get(f, VIRTIO_MMIO_STATUS), RUNNING);
}

static void send_output(struct fixture *f)
{
    struct driver_queue *queue = &f->driver.queues[TRANSMIT];
    struct driver_buffer buffer = { driver_alloc(&f->driver, 10), 10, false };
    size_t before = f->sent;

    driver_add(queue, &buffer, 1);
    set(f, VIRTIO_MMIO_QUEUE_NOTIFY, TRANSMIT);
    driver_wait_used(queue, NULL, NULL);
    assert_int_equal(f->sent, before + 10);
}

static void is_a_virtio_device_of_version_2(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
    assert_int_equal(get(f, VIRTIO_MMIO_VERSION), 2);
    assert_int_equal(get(f, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_CONSOLE);
}

static void registers_take_only_aligned_words(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_at(f, VIRTIO_MMIO_MAGIC_VALUE, 1), 0);
    assert_int_equal(read_at(f, VIRTIO_MMIO_MAGIC_VALUE, 2), 0);
    assert_int_equal(read_at(f, VIRTIO_MMIO_MAGIC_VALUE, 8), 0);
    assert_int_equal(read_at(f, VIRTIO_MMIO_MAGIC_VALUE + 2, 4), 0);
    set(f, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    f->dev->ops->write(f->dev, VIRTIO_MMIO_STATUS, 1, 0);
    f->dev->ops->write(f->dev, VIRTIO_MMIO_STATUS, 8, 0);
    assert_int_equal(get(f, VIRTIO_MMIO_STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE);
}

static void features_are_shown_by_halves(void **state)
{
    struct fixture *f = *state;

    assert_true(get(f, VIRTIO_MMIO_DEVICE_FEATURES) & (1 << VIRTIO_CONSOLE_F_SIZE));
    set(f, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    assert_int_equal(get(f, VIRTIO_MMIO_DEVICE_FEATURES), 1 << (VIRTIO_F_VERSION_1 - 32));
    set(f, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 7);
    assert_int_equal(get(f, VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

static void there_is_no_shared_memory(void **state)
{
    struct fixture *f = *state;

    set(f, VIRTIO_MMIO_SHM_SEL, 0);
    assert_int_equal(get(f, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
    assert_int_equal(get(f, VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
    assert_int_equal(get(f, VIRTIO_MMIO_SHM_BASE_LOW), UINT32_MAX);
    assert_int_equal(get(f, VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
}

static void a_queue_that_does_not_exist_has_no_size(void **state)
{
    struct fixture *f = *state;

    negotiate(f);
    set(f, VIRTIO_MMIO_QUEUE_SEL, QUEUES);
    assert_int_equal(get(f, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
    set(f, VIRTIO_MMIO_QUEUE_READY, 1);
    assert_int_equal(get(f, VIRTIO_MMIO_QUEUE_READY), 0);
    set(f, VIRTIO_MMIO_QUEUE_SEL, 0x10000);
    assert_int_equal(get(f, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
}

static void addresses_are_two_halves(void **state)
{
    struct fixture *f = *state;

    negotiate(f);
    set(f, VIRTIO_MMIO_QUEUE_DESC_HIGH, 1);
    set(f, VIRTIO_MMIO_QUEUE_DESC_LOW, 2);
    set(f, VIRTIO_MMIO_QUEUE_AVAIL_LOW, 3);
    set(f, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 4);
    set(f, VIRTIO_MMIO_QUEUE_USED_LOW, 5);
    set(f, VIRTIO_MMIO_QUEUE_USED_HIGH, 6);

    assert_int_equal(f->vdev->queues[0].state.desc, 0x100000002);
    assert_int_equal(f->vdev->queues[0].state.avail, 0x400000003);
    assert_int_equal(f->vdev->queues[0].state.used, 0x600000005);
}

static void a_queue_size_beyond_16_bits_is_refused(void **state)
{
    struct fixture *f = *state;

    negotiate(f);
    set(f, VIRTIO_MMIO_QUEUE_NUM, 0x10008);
    set(f, VIRTIO_MMIO_QUEUE_READY, 1);

    assert_int_equal(get(f, VIRTIO_MMIO_QUEUE_READY), 0);
    assert_true(get(f, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_status_beyond_8_bits_is_no_reset(void **state)
{
    struct fixture *f = *state;

    start(f);
    set(f, VIRTIO_MMIO_STATUS, 0x100);

    assert_int_equal(get(f, VIRTIO_MMIO_STATUS), RUNNING);
}

static void interrupts_stay_until_they_are_acknowledged(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_false(f->irq);
    send_output(f);
    assert_int_equal(get(f, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    assert_true(f->irq);
    console_resize(f->vdev, 1, 1);
    assert_int_equal(get(f, VIRTIO_MMIO_INTERRUPT_STATUS),
                     VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);

    set(f, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    assert_true(f->irq);
    set(f, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
    assert_false(f->irq);
    assert_int_equal(get(f, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void configuration_space_takes_every_size(void **state)
{
    struct fixture *f = *state;

    console_resize(f->vdev, 0x1234, 0x5678);
    assert_int_equal(read_at(f, VIRTIO_MMIO_CONFIG + 1, 1), 0x12);
    assert_int_equal(read_at(f, VIRTIO_MMIO_CONFIG, 4), 0x56781234);
    assert_int_equal(read_at(f, VIRTIO_MMIO_CONFIG + sizeof(struct virtio_console_config), 4), 0);
    assert_int_equal(read_at(f, UINT64_MAX, 8), 0);
    assert_int_equal(get(f, VIRTIO_MMIO_CONFIG_GENERATION), 1);
}

static void doorbells_are_told_apart_by_their_value(void **state)
{
    struct fixture *f = *state;
    struct driver_queue *queue = &f->driver.queues[TRANSMIT];
    struct driver_buffer buffer = { driver_alloc(&f->driver, 10), 10, false };

    negotiate(f);
    set_up_queue(f, TRANSMIT);
    assert_int_equal(f->doorbells[TRANSMIT], -1);
    set(f, VIRTIO_MMIO_STATUS, RUNNING);
    assert_int_equal(f->doorbells[0], -1); /* it is not used */

    driver_add(queue, &buffer, 1);
    assert_int_equal(eventfd_write(f->doorbells[TRANSMIT], 1), 0);
    driver_wait_used(queue, NULL, NULL);
    assert_int_equal(f->sent, 10);
}

static void a_reset_takes_interrupts_away(void **state)
{
    struct fixture *f = *state;

    start(f);
    send_output(f);
    set(f, VIRTIO_MMIO_STATUS, 0);

    assert_int_equal(get(f, VIRTIO_MMIO_STATUS), 0);
    assert_int_equal(get(f, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    assert_false(f->irq);
    assert_int_equal(get(f, VIRTIO_MMIO_QUEUE_READY), 0);
    start(f);
    send_output(f);
}

static void power_on_takes_everything_away(void **state)
{
    struct fixture *f = *state;

    start(f);
    send_output(f);
    f->dev->ops->reset(f->dev);

    assert_false(f->irq);
    assert_int_equal(get(f, VIRTIO_MMIO_STATUS), 0);
}

static void save(struct fixture *f, struct state_writer *out)
{
    *out = (struct state_writer){ 0 };
    assert_int_equal(f->dev->ops->save(f->dev, out), 0);
}

static int load(struct fixture *f, const struct state_writer *saved)
{
    struct state_reader in = { saved->data, saved->len, 0 };

    device_destroy(f->dev);
    f->irq = false;
    make_device(f);
    return f->dev->ops->load(f->dev, &in);
}

static void a_restored_device_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    start(f);
    send_output(f);
    save(f, &saved);
    assert_int_equal(load(f, &saved), 0);

    assert_true(f->irq);
    assert_int_equal(get(f, VIRTIO_MMIO_STATUS), RUNNING);
    set(f, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    assert_false(f->irq);
    send_output(f);
    assert_true(f->irq);
    state_writer_fini(&saved);
}

static void refuses_an_interrupt_that_does_not_exist(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved = { 0 };
    const uint32_t registers[4] = { 0, 0, 0, 4 }; /* three selectors, and the interrupt status */

    assert_int_equal(state_save(&saved, "virtio-mmio", 1, registers, sizeof(registers)), 0);
    assert_int_equal(virtio_dev_save(f->vdev, &saved), 0);

    assert_int_equal(load(f, &saved), -EBADMSG);
    assert_false(f->irq);
    state_writer_fini(&saved);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_a_virtio_device_of_version_2),
        TEST(registers_take_only_aligned_words),
        TEST(features_are_shown_by_halves),
        TEST(there_is_no_shared_memory),
        TEST(a_queue_that_does_not_exist_has_no_size),
        TEST(addresses_are_two_halves),
        TEST(a_queue_size_beyond_16_bits_is_refused),
        TEST(a_status_beyond_8_bits_is_no_reset),
        TEST(interrupts_stay_until_they_are_acknowledged),
        TEST(configuration_space_takes_every_size),
        TEST(doorbells_are_told_apart_by_their_value),
        TEST(a_reset_takes_interrupts_away),
        TEST(power_on_takes_everything_away),
        TEST(a_restored_device_goes_on_where_it_was),
        TEST(refuses_an_interrupt_that_does_not_exist),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
