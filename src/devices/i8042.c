// SPDX-License-Identifier: Apache-2.0
/* The keyboard controller without a keyboard: the one command that resets a PC.
 *
 * It is always ready and never has data, and it answers no probe: a guest is better told by ACPI
 * that there is no keyboard controller at all. It has no state. */
#include <errno.h>
#include <stdlib.h>

#include "devices/pc_chips.h"

enum { OFFSET_COMMAND = 4, COMMAND_PULSE_RESET = 0xfe };

struct i8042 {
    struct device dev;
    struct power_port power;
};

static uint64_t i8042_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)dev, (void)offset, (void)size;
    return 0; /* as a status: both buffers empty */
}

static void i8042_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8042 *i8042 = container_of(dev, struct i8042, dev);

    if (offset == OFFSET_COMMAND && size == 1 && value == COMMAND_PULSE_RESET)
        i8042->power.request(i8042->power.ctx, POWER_RESET, 0);
}

static void i8042_destroy(struct device *dev)
{
    device_fini(dev);
    free(container_of(dev, struct i8042, dev));
}

static const struct device_ops i8042_ops = {
    .read = i8042_read,
    .write = i8042_write,
    .reset = device_reset_nothing,
    .save = device_save_nothing,
    .load = device_load_nothing,
    .destroy = i8042_destroy,
};

int i8042_create(const struct power_port *power, struct device **ret)
{
    struct i8042 *i8042 = calloc(1, sizeof(*i8042));

    if (!i8042)
        return -ENOMEM;
    device_init(&i8042->dev, "i8042", &i8042_ops, NULL);
    i8042->power = *power;
    *ret = &i8042->dev;
    return 0;
}
