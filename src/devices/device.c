// SPDX-License-Identifier: Apache-2.0
/* The part that all devices have in common: see devices/device.h. */
#include "devices/device.h"

#include <stddef.h>

void device_init(struct device *dev, const char *name, const struct device_ops *ops,
                 pthread_mutex_t *lock)
{
    dev->name = name;
    dev->ops = ops;
    pthread_mutex_init(&dev->own_lock, NULL); /* cannot fail without attributes */
    dev->lock = lock ? lock : &dev->own_lock;
}

void device_fini(struct device *dev)
{
    pthread_mutex_destroy(&dev->own_lock);
    dev->lock = NULL;
}

void device_destroy(struct device *dev)
{
    if (dev)
        dev->ops->destroy(dev);
}

void device_reset_nothing(struct device *dev)
{
    (void)dev;
}

int device_save_nothing(struct device *dev, struct state_writer *out)
{
    (void)dev, (void)out;
    return 0;
}

int device_load_nothing(struct device *dev, struct state_reader *in)
{
    (void)dev, (void)in;
    return 0;
}
