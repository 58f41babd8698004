// SPDX-License-Identifier: Apache-2.0
/* What every chip of the machine is to a bus: a name, a lock and a few operations.
 *
 * A device is embedded in the struct that implements it. vCPU threads reach it only through a
 * bus, I/O threads only through loop callbacks; both hold its lock, so device code takes no lock
 * and never waits. What a guest can observe of a device lives in one plain struct, apart from the
 * host's resources, so that it can be reset, saved and loaded. */
#pragma once

#include <pthread.h>
#include <stdint.h>

struct device;
struct state_writer;
struct state_reader;

/* What the bus may ask of a device, always with the device locked.
 * @offset: bytes from the start of the device's window (see bus_add()). @size: 1, 2, 4 or 8.
 * An access that means nothing reads as 0 and writes nothing. */
struct device_ops {
    uint64_t (*read)(struct device *dev, uint64_t offset, unsigned size);
    void (*write)(struct device *dev, uint64_t offset, unsigned size, uint64_t value);
    /* Back to the state after power-on. */
    void (*reset)(struct device *dev);
    /* Return 0 or -errno. Loading is for a device as after power-on, in a machine whose vCPUs do
     * not run and whose interrupt controllers are loaded already: a device raises its line, or
     * sends a message that is due, at once. One whose load failed must be reset before it is
     * used. */
    int (*save)(struct device *dev, struct state_writer *out);
    int (*load)(struct device *dev, struct state_reader *in);
    void (*destroy)(struct device *dev); /* frees it; half-built is fine */
};

struct device {
    const char *name; /* for logs; outlives the device */
    const struct device_ops *ops;
    pthread_mutex_t *lock; /* its own, or that of the part it is the front of */
    pthread_mutex_t own_lock;
};

/* Fills in a device. @lock: NULL for a lock of its own. */
void device_init(struct device *dev, const char *name, const struct device_ops *ops,
                 pthread_mutex_t *lock);
/* Releases what device_init() made; called by the implementation's destroy operation. */
void device_fini(struct device *dev);

/* Calls the destroy operation. NULL is fine. */
void device_destroy(struct device *dev);

/* The operations for reset, save and load of a device that has no state. */
void device_reset_nothing(struct device *dev);
int device_save_nothing(struct device *dev, struct state_writer *out);
int device_load_nothing(struct device *dev, struct state_reader *in);

/* The type that embeds @member, from a pointer to it; only in that type's own file. */
#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer) - __builtin_offsetof(type, member)))
