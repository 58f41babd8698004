// SPDX-License-Identifier: Apache-2.0
/* The bus: who answers where, also while windows move under the feet of other threads. */
#include "devices/bus.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

/* A device that reads as its id and the offset, and notes what was written. */
struct probe {
    struct device dev;
    uint64_t id;
    uint64_t offset, value;
    unsigned size;
};

static uint64_t probe_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)size;
    return container_of(dev, struct probe, dev)->id << 48 | offset;
}

static void probe_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct probe *probe = container_of(dev, struct probe, dev);

    probe->offset = offset;
    probe->value = value;
    probe->size = size;
}

static const struct device_ops probe_ops = { .read = probe_read, .write = probe_write };

static void probe_init(struct probe *probe, uint64_t id)
{
    *probe = (struct probe){ .id = id };
    device_init(&probe->dev, "probe", &probe_ops, NULL);
}

static struct bus *new_bus(void)
{
    struct bus *bus;

    assert_int_equal(bus_create(&bus), 0);
    return bus;
}

static uint64_t read8(struct bus *bus, uint64_t address)
{
    uint64_t value;

    (void)bus_read(bus, address, 8, &value);
    return value;
}

static void an_access_reaches_the_window_that_holds_its_first_byte(void **state)
{
    struct bus *bus = new_bus();
    struct probe a, b;
    uint64_t value;
    (void)state;
    probe_init(&a, 1);
    probe_init(&b, 2);
    assert_int_equal(bus_add(bus, 0x2000, 0x100, &b.dev, 0), 0);
    assert_int_equal(bus_add(bus, 0x1000, 0x10, &a.dev, 0x500), 0);
    assert_int_equal(bus_add(bus, 0x1010, 0x10, &b.dev, 0x7000), 0);

    assert_int_equal(read8(bus, 0x1000), UINT64_C(1) << 48 | 0x500);
    assert_int_equal(read8(bus, 0x100f), UINT64_C(1) << 48 | 0x50f);
    assert_int_equal(read8(bus, 0x1010), UINT64_C(2) << 48 | 0x7000);
    assert_int_equal(read8(bus, 0x20ff), UINT64_C(2) << 48 | 0xff);
    assert_true(bus_write(bus, 0x1004, 2, 0xabcd1234));
    assert_int_equal(a.offset, 0x504);
    assert_int_equal(a.size, 2);
    assert_int_equal(a.value, 0x1234);
    assert_true(bus_read(bus, 0x1004, 2, &value));
    assert_int_equal(value, 0x504);
    bus_destroy(bus);
}

static void where_nothing_answers_reads_give_all_ones(void **state)
{
    struct bus *bus = new_bus();
    struct probe a;
    uint64_t value;
    (void)state;
    probe_init(&a, 1);
    assert_int_equal(bus_add(bus, 0x1000, 0x10, &a.dev, 0), 0);

    assert_false(bus_read(bus, 0xfff, 1, &value));
    assert_int_equal(value, 0xff);
    assert_false(bus_read(bus, 0x1010, 4, &value));
    assert_int_equal(value, 0xffffffff);
    assert_false(bus_read(bus, UINT64_MAX, 8, &value));
    assert_int_equal(value, UINT64_MAX);
    assert_false(bus_write(bus, 0, 4, 1));
    assert_int_equal(a.size, 0);
    bus_destroy(bus);
}

static void refuses_windows_that_overlap(void **state)
{
    struct bus *bus = new_bus();
    struct probe a;
    (void)state;
    probe_init(&a, 1);
    assert_int_equal(bus_add(bus, 0x1000, 0x1000, &a.dev, 0), 0);
    assert_int_equal(bus_add(bus, 0x4000, 0x1000, &a.dev, 0), 0);

    assert_int_equal(bus_add(bus, 0x1000, 0x1000, &a.dev, 0), -EEXIST);
    assert_int_equal(bus_add(bus, 0x1fff, 1, &a.dev, 0), -EEXIST);
    assert_int_equal(bus_add(bus, 0xfff, 2, &a.dev, 0), -EEXIST);
    assert_int_equal(bus_add(bus, 0, UINT64_MAX, &a.dev, 0), -EEXIST);
    assert_int_equal(bus_add(bus, 0x2000, 0x2001, &a.dev, 0), -EEXIST);
    assert_int_equal(bus_add(bus, 0x2000, 0x2000, &a.dev, 0), 0);
    bus_destroy(bus);
}

static void refuses_empty_windows_and_those_that_wrap_around(void **state)
{
    struct bus *bus = new_bus();
    struct probe a;
    (void)state;
    probe_init(&a, 1);

    assert_int_equal(bus_add(bus, 0x1000, 0, &a.dev, 0), -EINVAL);
    assert_int_equal(bus_add(bus, UINT64_MAX, 2, &a.dev, 0), -EINVAL);
    assert_int_equal(bus_add(bus, 0x1000, UINT64_MAX, &a.dev, 0), -EINVAL);
    assert_int_equal(bus_add(bus, UINT64_MAX - 0xfff, 0x1000, &a.dev, 0), 0);
    assert_int_equal(read8(bus, UINT64_MAX), UINT64_C(1) << 48 | 0xfff);
    bus_destroy(bus);
}

static void a_removed_window_answers_no_more(void **state)
{
    struct bus *bus = new_bus();
    struct probe a, b;
    (void)state;
    probe_init(&a, 1);
    probe_init(&b, 2);
    assert_int_equal(bus_add(bus, 0x1000, 0x1000, &a.dev, 0), 0);
    assert_int_equal(bus_add(bus, 0x2000, 0x1000, &b.dev, 0), 0);

    assert_int_equal(bus_remove(bus, 0x1001), -ENOENT);
    assert_int_equal(bus_remove(bus, 0xfff), -ENOENT);
    assert_int_equal(bus_remove(bus, 0x1000), 0);
    assert_int_equal(bus_remove(bus, 0x1000), -ENOENT);
    assert_int_equal(read8(bus, 0x1000), UINT64_MAX);
    assert_int_equal(read8(bus, 0x2000), UINT64_C(2) << 48);
    bus_destroy(bus);
}

static void a_full_bus_says_so_and_still_works(void **state)
{
    struct bus *bus = new_bus();
    struct probe a;
    uint64_t count = 0;
    int err;
    (void)state;
    probe_init(&a, 1);

    while ((err = bus_add(bus, (count * 37 % 1024) << 12, 0x1000, &a.dev, count << 12)) == 0)
        count++;
    assert_int_equal(err, -ENOSPC);
    assert_true(count >= 32 * 6 + 64); /* every BAR there can be, and chips */
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(read8(bus, (i * 37 % 1024) << 12), UINT64_C(1) << 48 | i << 12);
    assert_int_equal(bus_remove(bus, 37 << 12), 0);
    assert_int_equal(bus_add(bus, 37 << 12, 0x1000, &a.dev, 0), 0);
    bus_destroy(bus);
}

/* A device that moves its own window when it is written, as a BAR does. */
struct mover {
    struct device dev;
    struct bus *bus;
    uint64_t base;
};

static void mover_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct mover *mover = container_of(dev, struct mover, dev);
    (void)offset, (void)size;

    assert_int_equal(bus_remove(mover->bus, mover->base), 0);
    assert_int_equal(bus_add(mover->bus, value, 0x1000, dev, 0), 0);
    mover->base = value;
}

static void a_device_may_move_windows_of_the_bus_that_calls_it(void **state)
{
    static const struct device_ops ops = { .read = probe_read, .write = mover_write };
    struct mover mover = { .bus = new_bus(), .base = 0x1000 };
    (void)state;
    device_init(&mover.dev, "mover", &ops, NULL);
    assert_int_equal(bus_add(mover.bus, 0x1000, 0x1000, &mover.dev, 0), 0);

    assert_true(bus_write(mover.bus, 0x1000, 8, 0x5000));
    assert_false(bus_write(mover.bus, 0x1000, 8, 0x9000));
    assert_true(bus_write(mover.bus, 0x5000, 8, 0x1000));
    assert_true(bus_write(mover.bus, 0x1000, 8, 0x7000));
    bus_destroy(mover.bus);
}

/* A device that notes whether its lock was held. */
struct watcher {
    struct device dev;
    bool was_locked;
};

static void watcher_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)offset, (void)size, (void)value;
    container_of(dev, struct watcher, dev)->was_locked = pthread_mutex_trylock(dev->lock) == EBUSY;
}

static void a_device_is_locked_while_it_runs(void **state)
{
    static const struct device_ops ops = { .read = probe_read, .write = watcher_write };
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct bus *bus = new_bus();
    struct watcher watcher = { .was_locked = false };
    (void)state;
    device_init(&watcher.dev, "watcher", &ops, &lock);
    assert_int_equal(bus_add(bus, 0x1000, 0x1000, &watcher.dev, 0), 0);

    assert_true(bus_write(bus, 0x1000, 8, 0));

    assert_true(watcher.was_locked);
    assert_int_equal(pthread_mutex_trylock(&lock), 0); /* and given back */
    device_fini(&watcher.dev);
    bus_destroy(bus);
}

/* --- windows that move while others look --- */

enum { FIXED_COUNT = 40, READER_COUNT = 3, MOVES = 20000 };

struct race {
    struct bus *bus;
    struct probe fixed[FIXED_COUNT], moving;
    atomic_bool is_over;
    atomic_uint wrong, found;
};

/* Fixed windows stand at odd pages; the moving one visits the even pages between them. */
static uint64_t page(uint64_t index)
{
    return index << 12;
}

static void check_moving(struct race *race, uint64_t index)
{
    uint64_t value = read8(race->bus, page(2 * index) + 0x10);

    if (value == (UINT64_C(99) << 48 | page(2 * index) | 0x10))
        atomic_fetch_add(&race->found, 1);
    else if (value != UINT64_MAX)
        atomic_fetch_add(&race->wrong, 1);
}

static void *read_all_the_time(void *ctx)
{
    struct race *race = ctx;

    for (uint64_t i = 0; !atomic_load(&race->is_over); i++) {
        uint64_t index = i % FIXED_COUNT;
        if (read8(race->bus, page(2 * index + 1) + 8) != (index << 48 | 8))
            atomic_fetch_add(&race->wrong, 1);
        check_moving(race, index);
    }
    return NULL;
}

static void move_all_the_time(struct race *race)
{
    for (uint64_t i = 0; i < MOVES; i++) {
        uint64_t base = page(2 * (i * 7 % FIXED_COUNT));
        assert_int_equal(bus_add(race->bus, base, 0x1000, &race->moving.dev, base), 0);
        assert_int_equal(bus_remove(race->bus, base), 0);
    }
}

static void readers_see_whole_windows_while_one_moves(void **state)
{
    struct race race = { .bus = new_bus() };
    pthread_t readers[READER_COUNT];
    (void)state;
    probe_init(&race.moving, 99);
    for (uint64_t i = 0; i < FIXED_COUNT; i++) {
        probe_init(&race.fixed[i], i);
        assert_int_equal(bus_add(race.bus, page(2 * i + 1), 0x1000, &race.fixed[i].dev, 0), 0);
    }

    for (int i = 0; i < READER_COUNT; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_all_the_time, &race), 0);
    move_all_the_time(&race);
    while (atomic_load(&race.found) == 0) /* on one CPU, until a reader met the moving window */
        move_all_the_time(&race);
    atomic_store(&race.is_over, true);
    for (int i = 0; i < READER_COUNT; i++)
        pthread_join(readers[i], NULL);

    assert_int_equal(atomic_load(&race.wrong), 0);
    bus_destroy(race.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_access_reaches_the_window_that_holds_its_first_byte),
        cmocka_unit_test(where_nothing_answers_reads_give_all_ones),
        cmocka_unit_test(refuses_windows_that_overlap),
        cmocka_unit_test(refuses_empty_windows_and_those_that_wrap_around),
        cmocka_unit_test(a_removed_window_answers_no_more),
        cmocka_unit_test(a_full_bus_says_so_and_still_works),
        cmocka_unit_test(a_device_may_move_windows_of_the_bus_that_calls_it),
        cmocka_unit_test(a_device_is_locked_while_it_runs),
        cmocka_unit_test(readers_see_whole_windows_while_one_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
