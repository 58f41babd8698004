// SPDX-License-Identifier: Apache-2.0
/* How driver and device wake each other over PCI: interrupts and doorbells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "virtio_pci_bench.h"

/* --- interrupts --- */

static void the_wire_is_high_until_the_isr_is_read(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_false(f->irq);
    send_output(f);
    assert_true(f->irq);
    console_resize(f->vdev, 1, 1);

    assert_int_equal(read_isr(f), 3);
    assert_false(f->irq);
    assert_int_equal(read_isr(f), 0);
}

static void with_msix_each_queue_has_its_vector(void **state)
{
    struct fixture *f = *state;

    enable_msix(f);
    start(f);
    set_common(f, VIRTIO_PCI_COMMON_MSIX, 2, 0);
    set_queue_vector(f, TRANSMIT, 2);
    send_output(f);
    assert_int_equal(f->raised[2], 1);
    assert_int_equal(f->messages[2].data, 0x42);
    console_resize(f->vdev, 1, 1);

    assert_int_equal(f->raised[0], 1);
    assert_int_equal(f->raised[1], 0);
    assert_false(f->irq);
    assert_int_equal(read_isr(f), 0);
}

static void without_a_vector_msix_sends_nothing(void **state)
{
    struct fixture *f = *state;

    enable_msix(f);
    start(f);
    send_output(f);
    console_resize(f->vdev, 1, 1);

    assert_int_equal(f->raised[0] + f->raised[1] + f->raised[2], 0);
    assert_false(f->irq);
}

static void a_vector_that_does_not_exist_reads_back_as_none(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(common(f, VIRTIO_PCI_COMMON_MSIX, 2), MSIX_NO_VECTOR);
    assert_int_equal(queue_vector(f, 0), MSIX_NO_VECTOR);
    set_queue_vector(f, 0, VECTORS - 1);
    assert_int_equal(queue_vector(f, 0), VECTORS - 1);
    assert_int_equal(queue_vector(f, 1), MSIX_NO_VECTOR);
    set_queue_vector(f, 0, VECTORS);
    assert_int_equal(queue_vector(f, 0), MSIX_NO_VECTOR);
    set_common(f, VIRTIO_PCI_COMMON_MSIX, 2, VECTORS);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_MSIX, 2), MSIX_NO_VECTOR);
}

static void the_wire_goes_down_when_msix_is_enabled(void **state)
{
    struct fixture *f = *state;

    start(f);
    send_output(f);
    assert_true(f->irq);
    enable_msix(f);

    assert_false(f->irq);
}

static void table_and_pending_bits_are_in_the_bar(void **state)
{
    struct fixture *f = *state;
    unsigned cap = find_capability(f, PCI_CAP_ID_MSIX, 0);
    uint64_t pba = bar_address(f) + (config_read(f, cap + PCI_MSIX_PBA, 4) & ~7U);

    enable_msix(f);
    config_write(f, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    start(f);
    set_queue_vector(f, TRANSMIT, 1);
    send_output(f);
    assert_int_equal(read_at(f, pba, 8), 2);
    assert_int_equal(f->raised[1], 0);
    config_write(f, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    assert_int_equal(f->raised[1], 1);
    assert_int_equal(read_at(f, pba, 8), 0);
}

/* --- doorbells --- */

static void doorbells_are_connected_when_the_device_runs(void **state)
{
    struct fixture *f = *state;

    negotiate(f);
    set_up_queue(f, TRANSMIT);
    assert_int_equal(f->doorbell_count, 0);
    set_status(f, RUNNING);

    assert_int_equal(f->doorbell_count, 1); /* the other queue is not used */
    assert_int_equal(f->doorbells[0].doorbell.address, doorbell_address(f, TRANSMIT));
    assert_int_equal(f->doorbells[0].doorbell.size, 0); /* of any size and value */
    assert_false(f->doorbells[0].doorbell.has_value);
    send_output(f);
}

static void doorbells_follow_the_bar(void **state)
{
    struct fixture *f = *state;

    start(f);
    config_write(f, PCI_BASE_ADDRESS_0, 4, WINDOW + WINDOW_SIZE / 2);
    assert_int_equal(f->doorbell_count, QUEUES);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_true(f->doorbells[i].doorbell.address >= WINDOW + WINDOW_SIZE / 2);
    send_output(f);

    set_decoding(f, false);
    assert_int_equal(f->doorbell_count, 0);
    set_decoding(f, true);
    assert_int_equal(f->doorbell_count, QUEUES);
    send_output(f);
}

static void doorbells_stay_connected_over_a_reset(void **state)
{
    struct fixture *f = *state;

    start(f);
    set_status(f, 0);
    start(f);

    assert_int_equal(f->connects, QUEUES);
    send_output(f);
}

static void a_doorbell_also_works_as_an_exit(void **state)
{
    struct fixture *f = *state;

    f->no_doorbells = true;
    start(f);
    assert_int_equal(f->doorbell_count, 0);

    send_output(f);
    struct driver_buffer buffer = { driver_alloc(&f->driver, 10), 10, false };
    driver_add(&f->driver.queues[TRANSMIT], &buffer, 1);
    write_at(f, doorbell_address(f, TRANSMIT) + 1, 1, 0);
    write_at(f, doorbell_address(f, TRANSMIT) + 4, 2, QUEUES); /* of no queue */
    driver_settle(&f->driver);
    assert_false(driver_take_used(&f->driver.queues[TRANSMIT], NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_wire_is_high_until_the_isr_is_read),
        TEST(with_msix_each_queue_has_its_vector),
        TEST(without_a_vector_msix_sends_nothing),
        TEST(a_vector_that_does_not_exist_reads_back_as_none),
        TEST(the_wire_goes_down_when_msix_is_enabled),
        TEST(table_and_pending_bits_are_in_the_bar),
        TEST(doorbells_are_connected_when_the_device_runs),
        TEST(doorbells_follow_the_bar),
        TEST(doorbells_stay_connected_over_a_reset),
        TEST(a_doorbell_also_works_as_an_exit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
