// SPDX-License-Identifier: Apache-2.0
/* The queues of a virtio device: who wakes whom, on any thread, and what a reset does to them. */
#include "virtio/virtio_dev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sched.h>
#include <semaphore.h>
#include <time.h>

#include "virtio_dev_bench.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
