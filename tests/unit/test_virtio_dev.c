// SPDX-License-Identifier: Apache-2.0
/* What every virtio device has: status, features, configuration space, saved state. */
#include "virtio/virtio_dev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>

#include "host/state.h"
#include "virtio_dev_bench.h"

/* --- creation --- */

static void a_zeroed_device_can_be_finished(void **state)
{
    struct virtio_dev vdev = { 0 };
    (void)state;

    virtio_dev_fini(&vdev);
    virtio_dev_destroy(NULL);
}

/* --- status --- */

static void the_status_goes_up_step_by_step(void **state)
{
    struct fixture *f = *state;

    write_status(f, ACKNOWLEDGE);
    assert_int_equal(status(f), ACKNOWLEDGE);
    write_status(f, ACKNOWLEDGE | DRIVER);
    assert_int_equal(status(f), ACKNOWLEDGE | DRIVER);
    virtio_dev_write_features(f->vdev, 1, VERSION_1 >> 32);
    write_status(f, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    assert_int_equal(status(f), ACKNOWLEDGE | DRIVER | FEATURES_OK);
    assert_int_equal(f->probe->activations, 0);
    write_status(f, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    assert_int_equal(status(f), ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    assert_int_equal(f->probe->activations, 1);
    assert_true(virtio_dev_is_running(f->vdev));
}

static void features_ok_needs_a_driver(void **state)
{
    struct fixture *f = *state;

    virtio_dev_write_features(f->vdev, 1, VERSION_1 >> 32);
    write_status(f, ACKNOWLEDGE);
    write_status(f, ACKNOWLEDGE | FEATURES_OK);

    assert_int_equal(status(f), ACKNOWLEDGE);
}

static void driver_ok_needs_features_ok(void **state)
{
    struct fixture *f = *state;

    write_status(f, ACKNOWLEDGE | DRIVER);
    write_status(f, ACKNOWLEDGE | DRIVER | DRIVER_OK);

    assert_int_equal(status(f), ACKNOWLEDGE | DRIVER);
    assert_int_equal(f->probe->activations, 0);
    assert_false(virtio_dev_is_running(f->vdev));
}

static void bits_are_not_cleared(void **state)
{
    struct fixture *f = *state;

    start(f);
    write_status(f, ACKNOWLEDGE);

    assert_int_equal(status(f), ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static void unknown_bits_and_needs_reset_are_not_the_drivers(void **state)
{
    struct fixture *f = *state;

    write_status(f, ACKNOWLEDGE | 0x10 | 0x20 | NEEDS_RESET);

    assert_int_equal(status(f), ACKNOWLEDGE);
}

static void activates_once(void **state)
{
    struct fixture *f = *state;

    start(f);
    driver_add_status(&f->driver, DRIVER_OK);

    assert_int_equal(f->probe->activations, 1);
}

static void a_failed_activation_needs_a_reset(void **state)
{
    struct fixture *f = *state;

    f->probe->activate_error = -EIO;
    assert_true(driver_negotiate(&f->driver, 0));
    driver_go(&f->driver);

    assert_true(status(f) & NEEDS_RESET);
    assert_false(virtio_dev_is_running(f->vdev));
    assert_int_equal(f->driver.config_interrupts, 1);
}

static void a_driver_that_gave_up_is_not_served(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_chain chain;

    start(f);
    add_one(f, 0);
    driver_add_status(&f->driver, FAILED);

    assert_false(virtio_dev_is_running(f->vdev));
    assert_false(virtio_dev_pop(f->vdev, 0, &chain));
}

static void only_a_reset_leads_on_from_needs_reset(void **state)
{
    struct fixture *f = *state;

    start(f);
    virtio_dev_needs_reset(f->vdev, "test");
    virtio_dev_needs_reset(f->vdev, "test, again");
    assert_int_equal(f->driver.config_interrupts, 1);

    /* A driver that did not see the bit yet does not clear it. */
    write_status(f, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    assert_true(status(f) & NEEDS_RESET);

    write_status(f, 0);
    assert_int_equal(status(f), 0);
    start(f);
}

static void needs_reset_is_silent_before_driver_ok(void **state)
{
    struct fixture *f = *state;

    assert_true(driver_negotiate(&f->driver, 0));
    virtio_dev_needs_reset(f->vdev, "test");

    assert_true(status(f) & NEEDS_RESET);
    assert_int_equal(f->driver.config_interrupts, 0);
    driver_go(&f->driver);
    assert_int_equal(f->probe->activations, 0);
}

/* --- features --- */

static void offers_its_features_and_the_common_ones(void **state)
{
    struct fixture *f = *state;
    uint64_t features = OFFERED | EVENT_IDX | INDIRECT | VERSION_1;

    assert_int_equal(virtio_dev_read_features(f->vdev, 0), (uint32_t)features);
    assert_int_equal(virtio_dev_read_features(f->vdev, 1), (uint32_t)(features >> 32));
    assert_int_equal(virtio_dev_read_features(f->vdev, 2), 0);
    assert_int_equal(virtio_dev_read_features(f->vdev, UINT32_MAX), 0);
}

static void takes_a_subset_of_its_features(void **state)
{
    struct fixture *f = *state;

    assert_true(driver_negotiate(&f->driver, 4 | EVENT_IDX));

    assert_true(virtio_dev_has_feature(f->vdev, 2));
    assert_false(virtio_dev_has_feature(f->vdev, 0));
    assert_int_equal(virtio_dev_read_driver_features(f->vdev, 0), 4 | EVENT_IDX);
    assert_true(f->vdev->queues[0].state.event_idx);
    assert_false(f->vdev->queues[0].state.indirect);
}

static void refuses_features_it_did_not_offer(void **state)
{
    struct fixture *f = *state;

    assert_false(driver_negotiate(&f->driver, 2));
    assert_int_equal(status(f), ACKNOWLEDGE | DRIVER);
    assert_true(driver_negotiate(&f->driver, 1)); /* it may try again */
}

static void refuses_a_driver_without_version_1(void **state)
{
    struct fixture *f = *state;

    write_status(f, ACKNOWLEDGE | DRIVER);
    virtio_dev_write_features(f->vdev, 0, 1);
    write_status(f, ACKNOWLEDGE | DRIVER | FEATURES_OK);

    assert_int_equal(status(f), ACKNOWLEDGE | DRIVER);
}

static void features_are_settled_by_features_ok(void **state)
{
    struct fixture *f = *state;

    assert_true(driver_negotiate(&f->driver, 1));
    virtio_dev_write_features(f->vdev, 0, 4);
    virtio_dev_write_features(f->vdev, 2, 4);

    assert_int_equal(f->vdev->state.driver_features, 1 | VERSION_1);
}

/* --- configuration space --- */

static void configuration_space_ends_where_it_ends(void **state)
{
    struct fixture *f = *state;
    uint32_t value = 0x11223344;

    memset(f->probe->config, 0xaa, CONFIG_SIZE);
    virtio_dev_read_config(f->vdev, 2, &value, 4);
    assert_int_equal(value, 0xaaaaaaaa);
    virtio_dev_read_config(f->vdev, 4, &value, 4);
    assert_int_equal(value, 0);
    value = 1;
    virtio_dev_read_config(f->vdev, UINT64_MAX - 1, &value, 4);
    assert_int_equal(value, 0);
    virtio_dev_write_config(f->vdev, 4, &value, 4);
    virtio_dev_write_config(f->vdev, UINT64_C(1) << 32, &value, 4);
    assert_int_equal(f->probe->config_writes, 0);
    virtio_dev_write_config(f->vdev, 2, &value, 4);
    assert_int_equal(f->probe->config_writes, 1);
}

static void a_change_of_configuration_is_told_to_a_ready_driver(void **state)
{
    struct fixture *f = *state;
    uint32_t before = f->vdev->state.config_generation;

    virtio_dev_config_changed(f->vdev);
    assert_int_equal(f->driver.config_interrupts, 0);
    start(f);
    virtio_dev_config_changed(f->vdev);
    assert_int_equal(f->driver.config_interrupts, 1);
    assert_int_equal(f->vdev->state.config_generation, before + 2);
}

/* --- saved state --- */

/* Puts a fresh device in the place of the old one. */
static void replace(struct fixture *f)
{
    virtio_dev_destroy(f->vdev);
    f->probe = probe_create(&f->driver);
    f->vdev = &f->probe->vdev;
    driver_attach(&f->driver, f->vdev);
}

static void goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    f->probe->echoes = true;
    f->probe->extra = 42;
    driver_start(&f->driver, f->vdev, 1 | EVENT_IDX | INDIRECT);
    for (int i = 0; i < 3; i++) {
        add_one(f, 0);
        driver_kick(queue(f, 0));
        driver_wait_used(queue(f, 0), NULL, NULL);
    }
    add_one(f, 1); /* not notified before the save */
    save(f, &saved);
    replace(f);
    f->probe->echoes = true;
    assert_int_equal(load(f, &saved), 0);

    assert_int_equal(f->probe->extra, 42);
    assert_int_equal(f->vdev->state.driver_features, 1 | EVENT_IDX | INDIRECT | VERSION_1);
    driver_wait_used(queue(f, 1), NULL, NULL);
    uint16_t head = add_one(f, 0), used;
    driver_kick(queue(f, 0));
    driver_wait_used(queue(f, 0), &used, NULL);
    assert_int_equal(used, head);
    assert_int_equal(f->probe->activations, 0);
    state_writer_fini(&saved);
}

static void a_device_that_nobody_drives_can_be_saved(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    save(f, &saved);
    replace(f);
    assert_int_equal(load(f, &saved), 0);
    start(f);
    state_writer_fini(&saved);
}

static void is_not_saved_with_requests_in_flight(void **state)
{
    struct fixture *f = *state;
    struct state_writer out = { 0 };

    start(f);
    virtio_dev_begin_request(f->vdev);

    assert_int_equal(virtio_dev_save(f->vdev, &out), -EBUSY);
    virtio_dev_end_request(f->vdev);
    state_writer_fini(&out);
}

static void refuses_a_state_that_is_cut_off(void **state)
{
    struct fixture *f = *state;
    struct state_writer saved;

    start(f);
    save(f, &saved);
    for (size_t len = 0; len < saved.len; len++) {
        struct state_reader in = { saved.data, len, 0 };

        write_status(f, 0);
        assert_int_equal(virtio_dev_load(f->vdev, &in), -EBADMSG);
    }
    state_writer_fini(&saved);
}

/* Saves what @spoil made of the running device's state, and expects that a fresh one refuses it. */
static void check_refused(struct fixture *f, void (*spoil)(struct virtio_dev *))
{
    struct state_writer saved;

    write_status(f, 0); /* what an earlier load left */
    driver_start(&f->driver, f->vdev, EVENT_IDX);
    spoil(f->vdev);
    save(f, &saved);
    replace(f);
    assert_int_equal(load(f, &saved), -EBADMSG);
    state_writer_fini(&saved);
}

static void spoil_status(struct virtio_dev *vdev)
{
    vdev->state.status |= 0x10;
}

static void spoil_order(struct virtio_dev *vdev)
{
    vdev->state.status = DRIVER_OK;
}

static void spoil_features(struct virtio_dev *vdev)
{
    vdev->state.driver_features |= 2;
}

static void spoil_version(struct virtio_dev *vdev)
{
    vdev->state.driver_features &= ~VERSION_1;
}

static void spoil_size(struct virtio_dev *vdev)
{
    vdev->queues[1].state.size = 2 * SIZE;
}

static void spoil_max_size(struct virtio_dev *vdev)
{
    vdev->queues[1].state.max_size = 2 * SIZE;
}

static void spoil_place(struct virtio_dev *vdev)
{
    vdev->queues[1].state.avail = UINT64_MAX - 1;
}

static void spoil_indices(struct virtio_dev *vdev)
{
    vdev->queues[1].state.next_avail += SIZE + 1;
}

static void spoil_event_idx(struct virtio_dev *vdev)
{
    vdev->queues[0].state.event_idx = 0;
}

static void spoil_ready(struct virtio_dev *vdev)
{
    vdev->queues[0].state.ready = 2;
}

static void spoil_phase(struct virtio_dev *vdev)
{
    vdev->state.status = ACKNOWLEDGE | DRIVER; /* and the queues are ready */
}

static void spoil_reset(struct virtio_dev *vdev)
{
    vdev->state.reset_pending = 1;
}

static void refuses_a_state_that_cannot_be(void **state)
{
    void (*const spoils[])(struct virtio_dev *) = {
        spoil_status, spoil_order,   spoil_features,  spoil_version, spoil_size,  spoil_max_size,
        spoil_place,  spoil_indices, spoil_event_idx, spoil_ready,   spoil_phase, spoil_reset,
    };

    for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++)
        check_refused(*state, spoils[i]);
}

static void a_device_whose_load_failed_can_be_reset(void **state)
{
    struct fixture *f = *state;

    check_refused(f, spoil_place);
    write_status(f, 0);
    start(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_zeroed_device_can_be_finished),
        TEST(the_status_goes_up_step_by_step),
        TEST(features_ok_needs_a_driver),
        TEST(driver_ok_needs_features_ok),
        TEST(bits_are_not_cleared),
        TEST(unknown_bits_and_needs_reset_are_not_the_drivers),
        TEST(activates_once),
        TEST(a_failed_activation_needs_a_reset),
        TEST(a_driver_that_gave_up_is_not_served),
        TEST(only_a_reset_leads_on_from_needs_reset),
        TEST(needs_reset_is_silent_before_driver_ok),
        TEST(offers_its_features_and_the_common_ones),
        TEST(takes_a_subset_of_its_features),
        TEST(refuses_features_it_did_not_offer),
        TEST(refuses_a_driver_without_version_1),
        TEST(features_are_settled_by_features_ok),
        TEST(configuration_space_ends_where_it_ends),
        TEST(a_change_of_configuration_is_told_to_a_ready_driver),
        TEST(goes_on_where_it_was),
        TEST(a_device_that_nobody_drives_can_be_saved),
        TEST(is_not_saved_with_requests_in_flight),
        TEST(refuses_a_state_that_is_cut_off),
        TEST(refuses_a_state_that_cannot_be),
        TEST(a_device_whose_load_failed_can_be_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
