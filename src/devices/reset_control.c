// SPDX-License-Identifier: Apache-2.0
/* The reset control register of PC chipsets (port 0xcf9; Intel ICH, 13.7.5).
 *
 * Bit 1 chooses between a soft and a hard reset, bit 3 adds a power cycle, and bit 2 does it when
 * it goes from 0 to 1. All resets are the same to us. */
#include <errno.h>
#include <stdlib.h>

#include "devices/pc_chips.h"
#include "host/state.h"

enum { RESET_CONTROL_STATE_VERSION = 1 };

enum { CONTROL_WRITABLE = 0x0e, CONTROL_RESET_CPU = 0x04 };

struct reset_control_state {
    uint8_t control;
};

struct reset_control {
    struct device dev;
    struct reset_control_state state;
    struct power_port power;
};

static struct reset_control *reset_control_of(struct device *dev)
{
    return container_of(dev, struct reset_control, dev);
}

static uint64_t reset_control_read(struct device *dev, uint64_t offset, unsigned size)
{
    return offset == 0 && size == 1 ? reset_control_of(dev)->state.control : 0;
}

static void reset_control_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct reset_control *chip = reset_control_of(dev);
    uint8_t old = chip->state.control;

    if (offset != 0 || size != 1)
        return;
    chip->state.control = value & CONTROL_WRITABLE;
    if (value & ~old & CONTROL_RESET_CPU)
        chip->power.request(chip->power.ctx, POWER_RESET, 0);
}

static void reset_control_reset(struct device *dev)
{
    reset_control_of(dev)->state = (struct reset_control_state){ .control = 0 };
}

static int reset_control_save(struct device *dev, struct state_writer *out)
{
    struct reset_control *chip = reset_control_of(dev);

    return state_save(out, "reset-control", RESET_CONTROL_STATE_VERSION, &chip->state,
                      sizeof(chip->state));
}

static int reset_control_load(struct device *dev, struct state_reader *in)
{
    struct reset_control_state state;

    int err = state_load(in, "reset-control", RESET_CONTROL_STATE_VERSION, &state, sizeof(state));
    if (err)
        return err;
    if (state.control & ~CONTROL_WRITABLE)
        return -EBADMSG;
    reset_control_of(dev)->state = state;
    return 0;
}

static void reset_control_destroy(struct device *dev)
{
    device_fini(dev);
    free(reset_control_of(dev));
}

static const struct device_ops reset_control_ops = {
    .read = reset_control_read,
    .write = reset_control_write,
    .reset = reset_control_reset,
    .save = reset_control_save,
    .load = reset_control_load,
    .destroy = reset_control_destroy,
};

int reset_control_create(const struct power_port *power, struct device **ret)
{
    struct reset_control *chip = calloc(1, sizeof(*chip));

    if (!chip)
        return -ENOMEM;
    device_init(&chip->dev, "reset-control", &reset_control_ops, NULL);
    chip->power = *power;
    *ret = &chip->dev;
    return 0;
}
