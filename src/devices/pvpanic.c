// SPDX-License-Identifier: Apache-2.0
/* pvpanic: the port through which a kernel says that it panicked. It has no state.
 *
 * A read tells which events it knows, a write announces one. */
#include <errno.h>
#include <misc/pvpanic.h>
#include <stdlib.h>

#include "devices/pc_chips.h"

struct pvpanic {
    struct device dev;
    struct power_port power;
};

static uint64_t pvpanic_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    return offset == 0 && size == 1 ? PVPANIC_PANICKED | PVPANIC_CRASH_LOADED : 0;
}

static void pvpanic_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    const struct power_port *power = &container_of(dev, struct pvpanic, dev)->power;

    if (offset != 0 || size != 1)
        return;
    if (value & PVPANIC_PANICKED)
        power->request(power->ctx, POWER_PANIC, 0);
    else if (value & PVPANIC_CRASH_LOADED)
        power->request(power->ctx, POWER_CRASH_LOAD, 0);
}

static void pvpanic_destroy(struct device *dev)
{
    device_fini(dev);
    free(container_of(dev, struct pvpanic, dev));
}

static const struct device_ops pvpanic_ops = {
    .read = pvpanic_read,
    .write = pvpanic_write,
    .reset = device_reset_nothing,
    .save = device_save_nothing,
    .load = device_load_nothing,
    .destroy = pvpanic_destroy,
};

int pvpanic_create(const struct power_port *power, struct device **ret)
{
    struct pvpanic *chip = calloc(1, sizeof(*chip));

    if (!chip)
        return -ENOMEM;
    device_init(&chip->dev, "pvpanic", &pvpanic_ops, NULL);
    chip->power = *power;
    *ret = &chip->dev;
    return 0;
}
