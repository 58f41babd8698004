// SPDX-License-Identifier: Apache-2.0
/* The common part of virtio devices, with a device that does only what a test tells it. */
#include "virtio/virtio_dev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/virtio_ids.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

#include "devices/device.h"
#include "host/state.h"
#include "virtio_driver.h"

static void give_back(struct virtio_dev *vdev, unsigned index, uint16_t head, uint32_t written)
{
    virtio_dev_push(vdev, index, head, written);
    virtio_dev_flush_interrupt(vdev, index);
}

enum { QUEUES = 2, SIZE = 8, CONFIG_SIZE = 6, OFFERED = 5 };

enum {
    ACKNOWLEDGE = VIRTIO_CONFIG_S_ACKNOWLEDGE,
    DRIVER = VIRTIO_CONFIG_S_DRIVER,
    FEATURES_OK = VIRTIO_CONFIG_S_FEATURES_OK,
    DRIVER_OK = VIRTIO_CONFIG_S_DRIVER_OK,
    NEEDS_RESET = VIRTIO_CONFIG_S_NEEDS_RESET,
    FAILED = VIRTIO_CONFIG_S_FAILED,
};

#define EVENT_IDX (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)
#define VERSION_1 (UINT64_C(1) << VIRTIO_F_VERSION_1)

struct probe {
    struct virtio_dev vdev;
    uint8_t config[CONFIG_SIZE];
    unsigned notified[QUEUES], activations, resets, config_writes;
    int activate_error;
    bool echoes;    /* gives back what comes */
    bool refills;   /* shows the chain to itself again, as an endless driver would */
    bool ends_all;  /* its reset ends what is in flight */
    uint32_t extra; /* its own saved state */
    unsigned popped;
    struct driver *driver;
};

static struct probe *from_vdev(struct virtio_dev *vdev)
{
    return container_of(vdev, struct probe, vdev);
}

static void probe_config_read(struct virtio_dev *vdev, uint32_t offset, void *data, uint32_t len)
{
    assert_true(offset + len <= CONFIG_SIZE);
    memcpy(data, from_vdev(vdev)->config + offset, len);
}

static void probe_config_write(struct virtio_dev *vdev, uint32_t offset, const void *data,
                               uint32_t len)
{
    assert_true(offset + len <= CONFIG_SIZE);
    memcpy(from_vdev(vdev)->config + offset, data, len);
    from_vdev(vdev)->config_writes++;
}

static int probe_activate(struct virtio_dev *vdev)
{
    from_vdev(vdev)->activations++;
    return from_vdev(vdev)->activate_error;
}

static void probe_queue_notify(struct virtio_dev *vdev, unsigned index)
{
    struct probe *probe = from_vdev(vdev);
    struct virtqueue_chain chain;

    assert_int_not_equal(pthread_mutex_trylock(&vdev->lock), 0);
    probe->notified[index]++;
    while (probe->echoes && virtio_dev_pop(vdev, index, &chain)) {
        probe->popped++;
        give_back(vdev, index, chain.head, 0);
        if (probe->refills)
            driver_publish(&probe->driver->queues[index], chain.head);
    }
}

static void probe_reset(struct virtio_dev *vdev)
{
    from_vdev(vdev)->resets++;
    while (from_vdev(vdev)->ends_all && vdev->requests_in_flight > 0)
        virtio_dev_end_request(vdev);
}

static int probe_save(struct virtio_dev *vdev, struct state_writer *out)
{
    return state_save(out, "probe", 1, &from_vdev(vdev)->extra, sizeof(uint32_t));
}

static int probe_load(struct virtio_dev *vdev, struct state_reader *in)
{
    return state_load(in, "probe", 1, &from_vdev(vdev)->extra, sizeof(uint32_t));
}

static void probe_destroy(struct virtio_dev *vdev)
{
    virtio_dev_fini(vdev);
    free(from_vdev(vdev));
}

static const struct virtio_dev_ops probe_ops = {
    .config_read = probe_config_read,
    .config_write = probe_config_write,
    .activate = probe_activate,
    .queue_notify = probe_queue_notify,
    .reset = probe_reset,
    .save = probe_save,
    .load = probe_load,
    .destroy = probe_destroy,
};

static struct probe *probe_create(struct driver *driver)
{
    const struct virtio_dev_params params = {
        .name = "probe",
        .device_id = VIRTIO_ID_RNG,
        .config_size = CONFIG_SIZE,
        .device_features = OFFERED,
        .queue_count = QUEUES,
        .queue_size = SIZE,
        .ops = &probe_ops,
        .mem = driver->mem,
        .loop = driver->loop,
    };
    struct probe *probe = calloc(1, sizeof(*probe));

    assert_non_null(probe);
    assert_int_equal(virtio_dev_init(&probe->vdev, &params), 0);
    probe->driver = driver;
    return probe;
}

struct fixture {
    struct driver driver;
    struct probe *probe;
    struct virtio_dev *vdev;
    gpa_t page;
};

static int setup(void **state)
{
    struct fixture *f = driver_setup(state, sizeof(*f));

    f->page = driver_alloc(&f->driver, 4096);
    f->probe = probe_create(&f->driver);
    f->vdev = &f->probe->vdev;
    driver_attach(&f->driver, f->vdev);
    return 0;
}

static void start(struct fixture *f)
{
    driver_start(&f->driver, f->vdev, 0);
}

static struct driver_queue *queue(struct fixture *f, unsigned index)
{
    return &f->driver.queues[index];
}

static uint16_t add_one(struct fixture *f, unsigned index)
{
    struct driver_buffer buffer = { f->page, 16, false };

    return driver_add(queue(f, index), &buffer, 1);
}

static uint8_t status(const struct fixture *f)
{
    return virtio_dev_read_status(f->vdev);
}

static void write_status(struct fixture *f, uint8_t value)
{
    virtio_dev_write_status(f->vdev, value);
}

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

/* --- queues --- */

static void queues_are_writable_between_features_ok_and_driver_ok(void **state)
{
    struct fixture *f = *state;

    assert_null(virtio_dev_writable_queue(f->vdev, 0));
    assert_true(driver_negotiate(&f->driver, 0));
    assert_non_null(virtio_dev_writable_queue(f->vdev, 0));
    assert_null(virtio_dev_writable_queue(f->vdev, QUEUES));
    driver_setup_queue(&f->driver, 0, SIZE);
    assert_null(virtio_dev_writable_queue(f->vdev, 0));
    driver_go(&f->driver);
    assert_null(virtio_dev_writable_queue(f->vdev, 1));
}

static void a_queue_is_not_enabled_after_driver_ok(void **state)
{
    struct fixture *f = *state;

    assert_true(driver_negotiate(&f->driver, 0));
    driver_make_queue(&f->driver, 1, SIZE);
    driver_place_queue(queue(f, 1));
    driver_go(&f->driver);
    virtio_dev_enable_queue(f->vdev, 1);
    virtio_dev_enable_queue(f->vdev, QUEUES);
    virtio_dev_enable_queue(f->vdev, UINT32_MAX);

    assert_false(virtio_dev_queue(f->vdev, 1)->state.ready);
    assert_null(virtio_dev_queue(f->vdev, QUEUES));
}

static void a_misplaced_queue_needs_a_reset(void **state)
{
    struct fixture *f = *state;

    assert_true(driver_negotiate(&f->driver, 0));
    driver_make_queue(&f->driver, 0, SIZE);
    driver_place_queue(queue(f, 0));
    f->vdev->queues[0].state.used = DRIVER_RAM_SIZE;
    virtio_dev_enable_queue(f->vdev, 0);

    assert_true(status(f) & NEEDS_RESET);
    assert_false(f->vdev->queues[0].state.ready);
}

static void a_notification_wakes_the_device(void **state)
{
    struct fixture *f = *state;

    start(f);
    driver_kick(queue(f, 1));
    driver_settle(&f->driver);

    assert_int_equal(f->probe->notified[0], 0);
    assert_int_equal(f->probe->notified[1], 1);
}

static void notifications_of_queues_that_do_not_exist_go_nowhere(void **state)
{
    struct fixture *f = *state;

    start(f);
    virtio_dev_notify(f->vdev, QUEUES);
    virtio_dev_notify(f->vdev, UINT32_MAX);
    driver_settle(&f->driver);

    assert_int_equal(f->probe->notified[0] + f->probe->notified[1], 0);
}

static void only_enabled_queues_of_a_running_device_are_notified(void **state)
{
    struct fixture *f = *state;

    virtio_dev_notify(f->vdev, 0);
    driver_settle(&f->driver);
    assert_true(driver_negotiate(&f->driver, 0));
    driver_setup_queue(&f->driver, 0, SIZE);
    virtio_dev_notify(f->vdev, 0);
    driver_settle(&f->driver);
    assert_int_equal(f->probe->notified[0], 0);

    driver_go(&f->driver);
    virtio_dev_notify(f->vdev, 0);
    virtio_dev_notify(f->vdev, 1);
    driver_settle(&f->driver);
    assert_int_equal(f->probe->notified[0], 1);
    assert_int_equal(f->probe->notified[1], 0);
}

static void what_was_there_before_driver_ok_is_served(void **state)
{
    struct fixture *f = *state;

    f->probe->echoes = true;
    assert_true(driver_negotiate(&f->driver, 0));
    driver_setup_queue(&f->driver, 0, SIZE);
    add_one(f, 0);
    driver_kick(queue(f, 0));
    driver_settle(&f->driver);
    assert_false(driver_take_used(queue(f, 0), NULL, NULL));
    driver_go(&f->driver);

    driver_wait_used(queue(f, 0), NULL, NULL);
}

static void a_broken_ring_needs_a_reset(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_chain chain;

    start(f);
    driver_publish(queue(f, 0), SIZE);

    assert_false(virtio_dev_pop(f->vdev, 0, &chain));
    assert_true(status(f) & NEEDS_RESET);
    assert_int_equal(f->driver.config_interrupts, 1);
}

static void a_ring_that_breaks_while_it_looks_empty_needs_a_reset(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_chain chain;

    start(f);
    queue(f, 0)->avail->idx = htole16(SIZE + 1);

    assert_false(virtio_dev_pop(f->vdev, 0, &chain));
    assert_true(status(f) & NEEDS_RESET);
}

static void interrupts_the_driver_for_what_it_pushed(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_chain chain;

    start(f);
    add_one(f, 1);
    add_one(f, 1);
    assert_true(virtio_dev_pop(f->vdev, 1, &chain));
    virtio_dev_push(f->vdev, 1, chain.head, 0);
    assert_true(virtio_dev_pop(f->vdev, 1, &chain));
    virtio_dev_push(f->vdev, 1, chain.head, 0);
    assert_int_equal(f->driver.queue_interrupts[1], 0);
    virtio_dev_flush_interrupt(f->vdev, 1);
    virtio_dev_flush_interrupt(f->vdev, 1);

    assert_int_equal(f->driver.queue_interrupts[1], 1);
    assert_int_equal(f->driver.queue_interrupts[0], 0);
}

static void check_notifications(struct fixture *f)
{
    struct virtqueue_chain chain;

    assert_false(virtio_dev_pop(f->vdev, 0, &chain)); /* empty: the driver shall tell */
    uint16_t before = queue(f, 0)->added;
    add_one(f, 0);
    assert_true(driver_shall_kick(queue(f, 0), before));

    assert_true(virtio_dev_pop(f->vdev, 0, &chain)); /* busy: it need not */
    before = queue(f, 0)->added;
    add_one(f, 0);
    assert_false(driver_shall_kick(queue(f, 0), before));
}

static void asks_for_notifications_only_when_a_queue_was_found_empty(void **state)
{
    struct fixture *f = *state;

    start(f);
    check_notifications(f);
}

static void does_so_with_event_indices_too(void **state)
{
    struct fixture *f = *state;

    driver_start(&f->driver, f->vdev, EVENT_IDX);
    check_notifications(f);
}

static void an_empty_queue_may_be_left_without_asking(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_chain chain;

    start(f);
    add_one(f, 0);
    assert_true(virtio_dev_pop(f->vdev, 0, &chain));
    assert_false(virtio_dev_pop_unasked(f->vdev, 0, &chain));

    uint16_t before = queue(f, 0)->added;
    add_one(f, 0);
    assert_false(driver_shall_kick(queue(f, 0), before));
    assert_true(virtio_dev_pop_unasked(f->vdev, 0, &chain));
}

static void an_endless_driver_keeps_nobody_waiting(void **state)
{
    struct fixture *f = *state;

    start(f);
    f->probe->echoes = true;
    f->probe->refills = true;
    add_one(f, 0);
    driver_kick(queue(f, 0));
    driver_kick(queue(f, 1));
    driver_settle(&f->driver); /* returns at all, because each wake-up ends */

    assert_true(f->probe->notified[0] > 1); /* and goes on by itself */
    assert_int_equal(f->probe->popped, f->probe->notified[0] * VIRTQUEUE_MAX_SIZE);
    assert_int_equal(f->probe->notified[1], 1);
}

static void pops_elsewhere_do_not_use_a_wakeup_up(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_chain chain;

    start(f);
    for (int i = 0; i < 3 * VIRTQUEUE_MAX_SIZE; i++) {
        add_one(f, 0);
        assert_true(virtio_dev_pop(f->vdev, 0, &chain));
        give_back(f->vdev, 0, chain.head, 0);
        assert_true(driver_take_used(queue(f, 0), NULL, NULL));
    }
}

/* --- a driver on a thread of its own --- */

/* Sends chains one after another, as fast as they come back: kicks only when the device asked for
 * it, and sleeps until the device interrupts. One wake-up lost on either side ends it. */
struct racer {
    struct driver *driver;
    unsigned chains;
    sem_t interrupted;
    bool was_late;
};

enum { RACER_CHAINS = 20000, RACER_PATIENCE_S = 20 };

static void wake_racer(void *ctx, unsigned queue)
{
    struct racer *racer = ctx;
    (void)queue;

    sem_post(&racer->interrupted);
}

static void sleep_until_interrupted(struct racer *racer)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RACER_PATIENCE_S;
    racer->was_late = sem_timedwait(&racer->interrupted, &until) < 0;
}

static void *race(void *ctx)
{
    struct racer *racer = ctx;
    struct driver_queue *ring = &racer->driver->queues[0];
    struct driver_buffer buffer = { 0x1000, 16, false };

    for (unsigned done = 0, taken; done < RACER_CHAINS && !racer->was_late; done += taken) {
        uint16_t before = ring->added;

        while (ring->free_count > 0 && racer->chains < RACER_CHAINS) {
            driver_add(ring, &buffer, 1);
            racer->chains++;
        }
        if (ring->added != before && driver_shall_kick(ring, before))
            driver_kick(ring);
        for (taken = 0; driver_take_used(ring, NULL, NULL); taken++)
            ;
        if (taken == 0)
            sleep_until_interrupted(racer);
    }
    loop_stop(racer->driver->loop);
    return NULL;
}

static void check_race(struct fixture *f, uint64_t features)
{
    struct racer racer = { .driver = &f->driver };
    pthread_t thread;

    f->probe->echoes = true;
    driver_start(&f->driver, f->vdev, features);
    f->vdev->transport = (struct virtio_transport){ .queue_interrupt = wake_racer, .ctx = &racer };
    assert_int_equal(sem_init(&racer.interrupted, 0, 0), 0);
    assert_int_equal(pthread_create(&thread, NULL, race, &racer), 0);
    assert_int_equal(loop_run(f->driver.loop), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    sem_destroy(&racer.interrupted);

    assert_false(racer.was_late);
    assert_int_equal(f->probe->popped, RACER_CHAINS);
}

static void no_wakeup_is_lost_between_threads(void **state)
{
    check_race(*state, 0);
}

static void nor_with_event_indices(void **state)
{
    check_race(*state, EVENT_IDX);
}

static void *run_loop(void *ctx)
{
    struct driver *driver = ctx;

    return loop_run(driver->loop) ? driver : NULL;
}

static void rings_are_left_alone_after_a_reset_on_another_thread(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    void *failed;

    f->probe->echoes = true;
    f->driver.is_threaded = true;
    assert_int_equal(pthread_create(&thread, NULL, run_loop, &f->driver), 0);
    for (int round = 0; round < 1000; round++) {
        pthread_mutex_lock(&f->vdev->lock);
        driver_start(&f->driver, f->vdev, round % 2 ? EVENT_IDX : 0);
        pthread_mutex_unlock(&f->vdev->lock);
        for (int i = 0; i < SIZE; i++)
            add_one(f, 0);
        driver_kick(queue(f, 0));
        for (int i = 0; i < round % 16; i++)
            sched_yield();

        pthread_mutex_lock(&f->vdev->lock);
        write_status(f, 0);
        pthread_mutex_unlock(&f->vdev->lock);
        assert_int_equal(status(f), 0);
        uint16_t used = queue(f, 0)->used->idx;
        driver_kick(queue(f, 0));
        for (int i = 0; i < round % 16; i++)
            sched_yield();
        assert_int_equal(queue(f, 0)->used->idx, used);
    }
    loop_stop(f->driver.loop);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
}

/* --- reset --- */

static void reset_forgets_the_driver(void **state)
{
    struct fixture *f = *state;

    driver_start(&f->driver, f->vdev, 1 | EVENT_IDX);
    write_status(f, 0);

    assert_int_equal(status(f), 0);
    assert_int_equal(f->probe->resets, 1);
    assert_int_equal(f->vdev->state.driver_features, 0);
    assert_int_equal(f->vdev->queues[0].state.ready, 0);
    assert_int_equal(f->vdev->queues[0].state.event_idx, 0);
    start(f);
}

static void reset_waits_for_requests_that_are_with_the_host(void **state)
{
    struct fixture *f = *state;

    start(f);
    uint8_t before = status(f);
    virtio_dev_begin_request(f->vdev);
    virtio_dev_begin_request(f->vdev);
    write_status(f, 0);

    assert_int_equal(status(f), before);
    assert_false(virtio_dev_is_running(f->vdev));
    virtio_dev_end_request(f->vdev);
    assert_int_equal(status(f), before);
    write_status(f, 0); /* impatient */
    assert_int_equal(f->probe->resets, 1);
    virtio_dev_end_request(f->vdev);
    assert_int_equal(status(f), 0);
    start(f);
}

static void a_device_may_end_its_requests_when_reset(void **state)
{
    struct fixture *f = *state;

    f->probe->ends_all = true;
    start(f);
    virtio_dev_begin_request(f->vdev);
    write_status(f, 0);

    assert_int_equal(status(f), 0);
}

static void nothing_is_written_to_a_driver_that_reset(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_chain chain;
    uint32_t generation;

    start(f);
    uint16_t head = add_one(f, 0);
    add_one(f, 0);
    assert_true(virtio_dev_pop(f->vdev, 0, &chain));
    virtio_dev_begin_request(f->vdev);
    driver_kick(queue(f, 0));
    write_status(f, 0);
    driver_settle(&f->driver); /* the notification comes too late */
    generation = f->vdev->state.config_generation;
    virtio_dev_config_changed(f->vdev);
    virtio_dev_needs_reset(f->vdev, "test");
    give_back(f->vdev, 0, head, 16);
    virtio_dev_end_request(f->vdev);
    give_back(f->vdev, 0, head, 16);

    assert_int_equal(queue(f, 0)->used->idx, 0);
    assert_int_equal(f->driver.queue_interrupts[0] + f->driver.config_interrupts, 0);
    assert_int_equal(f->probe->notified[0], 0);
    assert_int_equal(f->vdev->state.config_generation, generation + 1);
    assert_int_equal(status(f), 0);
}

static void nothing_can_be_set_up_until_the_reset_is_done(void **state)
{
    struct fixture *f = *state;
    uint8_t byte = 1;

    start(f);
    virtio_dev_begin_request(f->vdev);
    write_status(f, 0);
    write_status(f, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK | FAILED);
    virtio_dev_write_features(f->vdev, 0, 1);
    virtio_dev_write_config(f->vdev, 0, &byte, 1);
    assert_null(virtio_dev_writable_queue(f->vdev, 0));
    assert_int_equal(f->probe->config_writes, 0);
    virtio_dev_end_request(f->vdev);

    assert_int_equal(status(f), 0);
    assert_int_equal(f->vdev->state.driver_features, 0);
}

/* --- saved state --- */

static void save(struct fixture *f, struct state_writer *out)
{
    *out = (struct state_writer){ 0 };
    assert_int_equal(virtio_dev_save(f->vdev, out), 0);
}

/* Puts a fresh device in the place of the old one. */
static void replace(struct fixture *f)
{
    virtio_dev_destroy(f->vdev);
    f->probe = probe_create(&f->driver);
    f->vdev = &f->probe->vdev;
    driver_attach(&f->driver, f->vdev);
}

static int load(struct fixture *f, const struct state_writer *saved)
{
    struct state_reader in = { saved->data, saved->len, 0 };

    return virtio_dev_load(f->vdev, &in);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, driver_teardown)

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
        TEST(queues_are_writable_between_features_ok_and_driver_ok),
        TEST(a_queue_is_not_enabled_after_driver_ok),
        TEST(a_misplaced_queue_needs_a_reset),
        TEST(a_notification_wakes_the_device),
        TEST(notifications_of_queues_that_do_not_exist_go_nowhere),
        TEST(only_enabled_queues_of_a_running_device_are_notified),
        TEST(what_was_there_before_driver_ok_is_served),
        TEST(a_broken_ring_needs_a_reset),
        TEST(a_ring_that_breaks_while_it_looks_empty_needs_a_reset),
        TEST(interrupts_the_driver_for_what_it_pushed),
        TEST(asks_for_notifications_only_when_a_queue_was_found_empty),
        TEST(does_so_with_event_indices_too),
        TEST(an_empty_queue_may_be_left_without_asking),
        TEST(an_endless_driver_keeps_nobody_waiting),
        TEST(pops_elsewhere_do_not_use_a_wakeup_up),
        TEST(no_wakeup_is_lost_between_threads),
        TEST(nor_with_event_indices),
        TEST(rings_are_left_alone_after_a_reset_on_another_thread),
        TEST(reset_forgets_the_driver),
        TEST(reset_waits_for_requests_that_are_with_the_host),
        TEST(a_device_may_end_its_requests_when_reset),
        TEST(nothing_is_written_to_a_driver_that_reset),
        TEST(nothing_can_be_set_up_until_the_reset_is_done),
        TEST(goes_on_where_it_was),
        TEST(a_device_that_nobody_drives_can_be_saved),
        TEST(is_not_saved_with_requests_in_flight),
        TEST(refuses_a_state_that_is_cut_off),
        TEST(refuses_a_state_that_cannot_be),
        TEST(a_device_whose_load_failed_can_be_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
