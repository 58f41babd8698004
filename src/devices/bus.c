// SPDX-License-Identifier: Apache-2.0
/* The bus: windows sorted by address, found without a lock while others move them.
 *
 * How this works: every field of a window is an atomic, so a reader may look while a writer
 * shifts windows; what it then sees may be a mixture, and the sequence counter tells it. Writers
 * take turns under a mutex, make the counter odd, change the windows with release stores, and
 * make the counter even again. A reader notes an even counter, searches with acquire loads, and
 * believes what it found only if the counter is still the same: had one of its loads seen a
 * writer's store, then acquire and release order that writer's first store to the counter before
 * the reader's second look at it.
 *
 * A reader that met a writer looks again under the mutex, where nothing can move. So no reader
 * spins or starves, however fast the guest moves its BARs and wherever the host preempts a
 * writer. The mutex is only ever held for a search or a shift of the table, and nothing else is
 * locked under it: a device may add and remove windows of the bus through which it was called. */
#include "devices/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

/* 32 functions with 6 BARs each, and as many again for everything else. */
enum { BUS_MAX_WINDOWS = 384 };

struct bus_window {
    _Atomic uint64_t base, last; /* first and last address */
    _Atomic uint64_t first_offset;
    struct device *_Atomic dev;
};

struct bus {
    pthread_mutex_t mutex;     /* held by whoever changes the windows */
    _Atomic uint64_t sequence; /* odd while they change; 64 bits do not come round */
    _Atomic size_t count;
    struct bus_window windows[BUS_MAX_WINDOWS]; /* ascending, without overlap */
};

/* What a lookup found. */
struct bus_target {
    struct device *dev; /* NULL: nothing answers */
    uint64_t offset;
};

int bus_create(struct bus **ret)
{
    struct bus *bus = calloc(1, sizeof(*bus));

    if (!bus)
        return -ENOMEM;
    pthread_mutex_init(&bus->mutex, NULL); /* cannot fail without attributes */
    *ret = bus;
    return 0;
}

void bus_destroy(struct bus *bus)
{
    if (!bus)
        return;
    pthread_mutex_destroy(&bus->mutex);
    free(bus);
}

static uint64_t load64(const _Atomic uint64_t *field)
{
    return atomic_load_explicit(field, memory_order_acquire);
}

static void window_copy(struct bus_window *to, const struct bus_window *from)
{
    atomic_store_explicit(&to->base, load64(&from->base), memory_order_release);
    atomic_store_explicit(&to->last, load64(&from->last), memory_order_release);
    atomic_store_explicit(&to->first_offset, load64(&from->first_offset), memory_order_release);
    atomic_store_explicit(&to->dev, atomic_load_explicit(&from->dev, memory_order_acquire),
                          memory_order_release);
}

/* The number of windows that start at or below @address. */
static size_t bus_search(const struct bus *bus, uint64_t address)
{
    size_t low = 0;
    size_t high = atomic_load_explicit(&bus->count, memory_order_acquire);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (load64(&bus->windows[middle].base) <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct bus_target bus_lookup(const struct bus *bus, uint64_t address)
{
    struct bus_target target = { .dev = NULL };
    size_t index = bus_search(bus, address);

    if (index == 0)
        return target;
    const struct bus_window *window = &bus->windows[index - 1];
    if (address > load64(&window->last))
        return target;
    target.offset = load64(&window->first_offset) + (address - load64(&window->base));
    target.dev = atomic_load_explicit(&window->dev, memory_order_acquire);
    return target;
}

static struct bus_target bus_find(struct bus *bus, uint64_t address)
{
    uint64_t before = load64(&bus->sequence);

    if (!(before & 1)) {
        struct bus_target target = bus_lookup(bus, address);
        if (atomic_load_explicit(&bus->sequence, memory_order_relaxed) == before)
            return target;
    }
    pthread_mutex_lock(&bus->mutex);
    struct bus_target target = bus_lookup(bus, address);
    pthread_mutex_unlock(&bus->mutex);
    return target;
}

/* The windows change between these two, under the mutex. */
static void bus_begin_change(struct bus *bus)
{
    atomic_store_explicit(&bus->sequence, load64(&bus->sequence) + 1, memory_order_relaxed);
}

static void bus_end_change(struct bus *bus)
{
    atomic_store_explicit(&bus->sequence, load64(&bus->sequence) + 1, memory_order_release);
}

/* Finds where a window from @base to @last goes. Returns 0, -EEXIST or -ENOSPC. */
static int bus_find_gap(const struct bus *bus, uint64_t base, uint64_t last, size_t *index)
{
    size_t next = bus_search(bus, base);
    size_t count = atomic_load_explicit(&bus->count, memory_order_relaxed);

    if (next > 0 && load64(&bus->windows[next - 1].last) >= base)
        return -EEXIST;
    if (next < count && load64(&bus->windows[next].base) <= last)
        return -EEXIST;
    if (count == BUS_MAX_WINDOWS)
        return -ENOSPC;
    *index = next;
    return 0;
}

static void bus_insert(struct bus *bus, size_t index, uint64_t base, uint64_t last,
                       struct device *dev, uint64_t first_offset)
{
    size_t count = atomic_load_explicit(&bus->count, memory_order_relaxed);
    struct bus_window *window = &bus->windows[index];

    bus_begin_change(bus);
    for (size_t i = count; i > index; i--)
        window_copy(&bus->windows[i], &bus->windows[i - 1]);
    atomic_store_explicit(&window->base, base, memory_order_release);
    atomic_store_explicit(&window->last, last, memory_order_release);
    atomic_store_explicit(&window->first_offset, first_offset, memory_order_release);
    atomic_store_explicit(&window->dev, dev, memory_order_release);
    atomic_store_explicit(&bus->count, count + 1, memory_order_release);
    bus_end_change(bus);
}

int bus_add(struct bus *bus, uint64_t base, uint64_t size, struct device *dev,
            uint64_t first_offset)
{
    size_t index;

    if (size == 0 || size - 1 > UINT64_MAX - base)
        return -EINVAL;
    pthread_mutex_lock(&bus->mutex);
    int err = bus_find_gap(bus, base, base + (size - 1), &index);
    if (!err)
        bus_insert(bus, index, base, base + (size - 1), dev, first_offset);
    pthread_mutex_unlock(&bus->mutex);
    return err;
}

static int bus_remove_locked(struct bus *bus, uint64_t base)
{
    size_t end = bus_search(bus, base);
    size_t count = atomic_load_explicit(&bus->count, memory_order_relaxed);

    if (end == 0 || load64(&bus->windows[end - 1].base) != base)
        return -ENOENT;
    bus_begin_change(bus);
    for (size_t i = end; i < count; i++)
        window_copy(&bus->windows[i - 1], &bus->windows[i]);
    atomic_store_explicit(&bus->count, count - 1, memory_order_release);
    bus_end_change(bus);
    return 0;
}

int bus_remove(struct bus *bus, uint64_t base)
{
    pthread_mutex_lock(&bus->mutex);
    int err = bus_remove_locked(bus, base);
    pthread_mutex_unlock(&bus->mutex);
    return err;
}

static uint64_t all_ones(unsigned size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

bool bus_read(struct bus *bus, uint64_t address, unsigned size, uint64_t *value)
{
    struct bus_target target = bus_find(bus, address);

    *value = all_ones(size);
    if (!target.dev)
        return false;
    pthread_mutex_lock(target.dev->lock);
    *value &= target.dev->ops->read(target.dev, target.offset, size);
    pthread_mutex_unlock(target.dev->lock);
    return true;
}

bool bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
    struct bus_target target = bus_find(bus, address);

    if (!target.dev)
        return false;
    pthread_mutex_lock(target.dev->lock);
    target.dev->ops->write(target.dev, target.offset, size, value & all_ones(size));
    pthread_mutex_unlock(target.dev->lock);
    return true;
}
