// SPDX-License-Identifier: Apache-2.0
/* The PCI transport as a driver finds it: capabilities, registers, the window, reset and saved
 * state. */
#include "virtio/transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#include "host/state.h"
#include "virtio_pci_bench.h"

/* --- what it looks like --- */

static void is_a_modern_virtio_function(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(config_read(f, PCI_VENDOR_ID, 2), 0x1af4);
    assert_int_equal(config_read(f, PCI_DEVICE_ID, 2), 0x1040 + VIRTIO_ID_CONSOLE);
    assert_int_equal(config_read(f, PCI_REVISION_ID, 1), 1);
    assert_int_equal(config_read(f, PCI_CLASS_REVISION, 4) >> 8, 0x078000);
    assert_true(config_read(f, PCI_SUBSYSTEM_ID, 2) >= 0x40);
    assert_int_equal(config_read(f, PCI_INTERRUPT_PIN, 1), 1);
}

static void every_structure_has_a_capability_and_its_own_place(void **state)
{
    struct fixture *f = *state;
    const uint8_t types[] = { VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG,
                              VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_CAP_DEVICE_CFG };
    const uint32_t lens[] = { sizeof(struct virtio_pci_common_cfg), QUEUES * 4, 1,
                              sizeof(struct virtio_console_config) };
    uint32_t end = 0;

    for (int i = 0; i < 4; i++) {
        unsigned cap = find_capability(f, PCI_CAP_ID_VNDR, types[i]);
        uint32_t offset = config_read(f, cap + VIRTIO_PCI_CAP_OFFSET, 4);

        assert_int_equal(config_read(f, cap + VIRTIO_PCI_CAP_LEN, 1),
                         types[i] == VIRTIO_PCI_CAP_NOTIFY_CFG ? 20 : 16);
        assert_int_equal(config_read(f, cap + VIRTIO_PCI_CAP_LENGTH, 4), lens[i]);
        for (int j = 0; j < i; j++) {
            unsigned other = find_capability(f, PCI_CAP_ID_VNDR, types[j]);
            uint32_t start = config_read(f, other + VIRTIO_PCI_CAP_OFFSET, 4);

            assert_true(offset + lens[i] <= start || offset >= start + lens[j]);
        }
        end = offset + lens[i] > end ? offset + lens[i] : end;
    }
    assert_true(end <= 0x2000);
    assert_int_not_equal(find_capability(f, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG), 0);
}

/* --- registers --- */

static void registers_take_only_accesses_of_their_size(void **state)
{
    struct fixture *f = *state;
    const unsigned offsets[] = { VIRTIO_PCI_COMMON_STATUS, VIRTIO_PCI_COMMON_NUMQ,
                                 VIRTIO_PCI_COMMON_Q_SIZE, VIRTIO_PCI_COMMON_DF };
    const unsigned sizes[] = { 1, 2, 2, 4 };

    set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    for (int i = 0; i < 4; i++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            if (size == sizes[i])
                assert_int_not_equal(common(f, offsets[i], size), 0);
            else
                assert_int_equal(common(f, offsets[i], size), 0);
        }
    }
    set_common(f, VIRTIO_PCI_COMMON_STATUS, 2, 0); /* no reset */
    set_common(f, VIRTIO_PCI_COMMON_NUMQ, 4, 0);   /* nor this, over the status */
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DF + 1, 1), 0);
    assert_int_equal(common(f, sizeof(struct virtio_pci_common_cfg), 4), 0);
    assert_int_equal(common(f, sizeof(struct virtio_pci_common_cfg) - 4, 8), 0);
}

static void features_are_shown_by_halves(void **state)
{
    struct fixture *f = *state;

    set_common(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DFSELECT, 4), 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DF, 4), 1 << (VIRTIO_F_VERSION_1 - 32));
    set_common(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
    assert_true(common(f, VIRTIO_PCI_COMMON_DF, 4) & (1 << VIRTIO_CONSOLE_F_SIZE));
    set_common(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_DF, 4), 0);
    negotiate(f);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_GFSELECT, 4), 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_GF, 4), 1 << (VIRTIO_F_VERSION_1 - 32));
}

static void a_queue_that_does_not_exist_has_no_size(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(common(f, VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, QUEUES);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2), QUEUES);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xffff);
    set_common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
    set_common(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_Q_MSIX, 2), MSIX_NO_VECTOR);
}

static void addresses_are_two_independent_halves(void **state)
{
    struct fixture *f = *state;
    const unsigned offsets[] = { VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_PCI_COMMON_Q_AVAILLO,
                                 VIRTIO_PCI_COMMON_Q_USEDLO };

    negotiate(f);
    for (unsigned i = 0; i < 3; i++) {
        set_common(f, offsets[i] + 4, 4, 0x11 + i);
        set_common(f, offsets[i], 4, 0xfffffff0 - i);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(common(f, offsets[i] + 4, 4), 0x11 + i);
        assert_int_equal(common(f, offsets[i], 4), 0xfffffff0 - i);
    }
    assert_int_equal(f->vdev->queues[0].state.avail, 0x12ffffffef);
    assert_int_equal(f->vdev->queues[1].state.avail, 0);
}

static void the_driver_may_choose_a_smaller_queue(void **state)
{
    struct fixture *f = *state;

    negotiate(f);
    set_common(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, TRANSMIT);
    set_common(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
    set_up_queue(f, TRANSMIT);
    set_status(f, RUNNING);

    assert_int_equal(f->driver.queues[TRANSMIT].size, 4);
    for (int i = 0; i < 10; i++)
        send_output(f);
}

static void configuration_space_takes_every_size(void **state)
{
    struct fixture *f = *state;
    uint64_t config = find_structure(f, VIRTIO_PCI_CAP_DEVICE_CFG);

    console_resize(f->vdev, 0x1234, 0x5678);
    assert_int_equal(read_at(f, config, 1), 0x34);
    assert_int_equal(read_at(f, config + 2, 2), 0x5678);
    assert_int_equal(read_at(f, config, 4), 0x56781234);
    assert_int_equal(read_at(f, config, 8), 0x56781234);
    assert_int_equal(read_at(f, config + 8, 8), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
}

/* --- the window in configuration space --- */

static void aim(struct fixture *f, uint8_t bar, uint32_t offset, uint32_t len)
{
    unsigned cap = find_capability(f, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG);

    config_write(f, cap + VIRTIO_PCI_CAP_BAR, 1, bar);
    config_write(f, cap + VIRTIO_PCI_CAP_OFFSET, 4, offset);
    config_write(f, cap + VIRTIO_PCI_CAP_LENGTH, 4, len);
}

static unsigned window_data(struct fixture *f)
{
    return find_capability(f, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG) +
           (unsigned)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
}

static void the_window_reaches_the_bar_even_if_it_does_not_decode(void **state)
{
    struct fixture *f = *state;

    set_decoding(f, false);
    aim(f, 0, VIRTIO_PCI_COMMON_STATUS, 1);
    config_write(f, window_data(f), 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(virtio_dev_read_status(f->vdev), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(config_read(f, window_data(f), 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    aim(f, 0, VIRTIO_PCI_COMMON_NUMQ, 2);
    assert_int_equal(config_read(f, window_data(f), 2), QUEUES);
    aim(f, 0, VIRTIO_PCI_COMMON_DF, 4);
    assert_int_not_equal(config_read(f, window_data(f), 4), 0);
}

static void a_window_that_is_aimed_at_nothing_does_nothing(void **state)
{
    struct fixture *f = *state;
    const struct {
        uint8_t bar;
        uint32_t offset, len;
    } bad[] = { { 1, VIRTIO_PCI_COMMON_STATUS, 1 },
                { 0, VIRTIO_PCI_COMMON_STATUS, 0 },
                { 0, VIRTIO_PCI_COMMON_STATUS, 3 },
                { 0, VIRTIO_PCI_COMMON_STATUS, 8 },
                { 0, VIRTIO_PCI_COMMON_STATUS - 2, 4 },
                { 0, 0x4000, 1 },
                { 0, UINT32_MAX, 1 },
                { 0, UINT32_MAX - 3, 4 },
                { 0, VIRTIO_PCI_COMMON_STATUS, 1U << 31 } };

    set_status(f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        aim(f, bad[i].bar, bad[i].offset, bad[i].len);
        config_write(f, window_data(f), 4, 0);
        assert_int_equal(config_read(f, window_data(f), 4), 0);
    }
    assert_int_equal(virtio_dev_read_status(f->vdev), VIRTIO_CONFIG_S_ACKNOWLEDGE);
}

/* --- reset and saved state --- */

static void a_reset_takes_vectors_and_interrupts_away(void **state)
{
    struct fixture *f = *state;

    start(f);
    set_common(f, VIRTIO_PCI_COMMON_MSIX, 2, 1);
    set_queue_vector(f, 1, 2);
    send_output(f);
    assert_true(f->irq);
    set_status(f, 0);

    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), 0);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_MSIX, 2), MSIX_NO_VECTOR);
    assert_int_equal(queue_vector(f, 1), MSIX_NO_VECTOR);
    assert_false(f->irq);
    assert_int_equal(read_isr(f), 0);
    start(f);
    send_output(f);
}

static void power_on_takes_everything_away(void **state)
{
    struct fixture *f = *state;

    enable_msix(f);
    start(f);
    uint32_t address = bar_address(f);
    config_write(f, PCI_BASE_ADDRESS_0, 4, WINDOW + WINDOW_SIZE / 2);
    f->fn->dev.ops->reset(&f->fn->dev);

    assert_int_equal(f->doorbell_count, 0);
    assert_int_equal(bar_address(f), address);
    assert_int_equal(config_read(f, PCI_COMMAND, 2), 0);
    set_decoding(f, true);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), 0);
    start(f);
    send_output(f);
    assert_true(f->irq); /* not by MSI-X any more */
}

static void save(struct fixture *f, struct state_writer *out)
{
    *out = (struct state_writer){ 0 };
    assert_int_equal(f->fn->dev.ops->save(&f->fn->dev, out), 0);
}

static int load(struct fixture *f, const struct state_writer *saved)
{
    struct state_reader in = { saved->data, saved->len, 0 };

    return f->fn->dev.ops->load(&f->fn->dev, &in);
}

static void replace(struct fixture *f)
{
    remove_function(f);
    assert_int_equal(f->doorbell_count, 0);
    memset(f->messages, 0, sizeof(f->messages));
    memset(f->raised, 0, sizeof(f->raised));
    f->irq = false;
    add_function(f);
}

static void a_restored_function_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    enable_msix(f);
    start(f);
    set_queue_vector(f, TRANSMIT, 2);
    config_write(f, PCI_BASE_ADDRESS_0, 4, WINDOW + WINDOW_SIZE / 2);
    send_output(f);
    save(f, &saved);
    replace(f);
    assert_int_equal(load(f, &saved), 0);

    assert_int_equal(bar_address(f), WINDOW + WINDOW_SIZE / 2);
    assert_int_equal(f->doorbell_count, QUEUES);
    assert_int_equal(common(f, VIRTIO_PCI_COMMON_STATUS, 1), RUNNING);
    send_output(f);
    assert_int_equal(f->raised[2], 1);
    state_writer_fini(&saved);
}

static void a_pending_wire_survives(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    start(f);
    send_output(f);
    save(f, &saved);
    replace(f);
    assert_int_equal(load(f, &saved), 0);

    assert_true(f->irq);
    assert_int_equal(read_isr(f), 1);
    assert_false(f->irq);
    state_writer_fini(&saved);
}

static void refuses_a_state_that_is_cut_off(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    start(f);
    save(f, &saved);
    for (size_t len = 0; len < saved.len; len += 7) {
        struct state_reader in = { saved.data, len, 0 };

        f->fn->dev.ops->reset(&f->fn->dev);
        assert_int_equal(f->fn->dev.ops->load(&f->fn->dev, &in), -EBADMSG);
    }
    state_writer_fini(&saved);
}

/* A saved function with @vector for its configuration changes, in an ISR of @isr. */
static int load_with(struct fixture *f, uint16_t vector, uint8_t isr)
{
    struct virtio_pci *pci = (struct virtio_pci *)f->fn;
    struct state_writer saved;

    pci->state.config_vector = vector;
    pci->state.isr = isr;
    save(f, &saved);
    replace(f);
    int err = load(f, &saved);
    state_writer_fini(&saved);
    return err;
}

static void refuses_vectors_and_interrupts_that_do_not_exist(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(load_with(f, VECTORS - 1, 3), 0);
    assert_int_equal(load_with(f, VECTORS, 0), -EBADMSG);
    f->fn->dev.ops->reset(&f->fn->dev);
    assert_int_equal(load_with(f, 0, 4), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_a_modern_virtio_function),
        TEST(every_structure_has_a_capability_and_its_own_place),
        TEST(registers_take_only_accesses_of_their_size),
        TEST(features_are_shown_by_halves),
        TEST(a_queue_that_does_not_exist_has_no_size),
        TEST(addresses_are_two_independent_halves),
        TEST(the_driver_may_choose_a_smaller_queue),
        TEST(configuration_space_takes_every_size),
        TEST(the_window_reaches_the_bar_even_if_it_does_not_decode),
        TEST(a_window_that_is_aimed_at_nothing_does_nothing),
        TEST(a_reset_takes_vectors_and_interrupts_away),
        TEST(power_on_takes_everything_away),
        TEST(a_restored_function_goes_on_where_it_was),
        TEST(a_pending_wire_survives),
        TEST(refuses_a_state_that_is_cut_off),
        TEST(refuses_vectors_and_interrupts_that_do_not_exist),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
