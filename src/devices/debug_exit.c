// SPDX-License-Identifier: Apache-2.0
/* The debug-exit port: how a test guest ends its machine with a value. It has no state. */
#include <errno.h>
#include <stdlib.h>

#include "devices/pc_chips.h"

struct debug_exit {
    struct device dev;
    struct power_port power;
};

static uint64_t debug_exit_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)dev, (void)offset, (void)size;
    return 0;
}

static void debug_exit_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct debug_exit *chip = container_of(dev, struct debug_exit, dev);

    (void)size;
    if (offset == 0)
        chip->power.request(chip->power.ctx, POWER_DEBUG_EXIT, (uint32_t)value);
}

static void debug_exit_destroy(struct device *dev)
{
    device_fini(dev);
    free(container_of(dev, struct debug_exit, dev));
}

static const struct device_ops debug_exit_ops = {
    .read = debug_exit_read,
    .write = debug_exit_write,
    .reset = device_reset_nothing,
    .save = device_save_nothing,
    .load = device_load_nothing,
    .destroy = debug_exit_destroy,
};

int debug_exit_create(const struct power_port *power, struct device **ret)
{
    struct debug_exit *chip = calloc(1, sizeof(*chip));

    if (!chip)
        return -ENOMEM;
    device_init(&chip->dev, "debug-exit", &debug_exit_ops, NULL);
    chip->power = *power;
    *ret = &chip->dev;
    return 0;
}
