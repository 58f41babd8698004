// SPDX-License-Identifier: Apache-2.0
/* The ends of a device's wires in a unit test, and its registers by short names.
 *
 * Included after <cmocka.h>. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/irq.h"
#include "host/state.h"

/* An irq_line's set function; @ctx is a bool. */
static inline void note_irq(void *ctx, bool high)
{
    *(bool *)ctx = high;
}

/* What a power_port was asked for. */
struct power_notes {
    unsigned count;
    enum power_event event;
    uint32_t value;
};

static inline void note_power(void *ctx, enum power_event event, uint32_t value)
{
    struct power_notes *notes = ctx;

    notes->count++;
    notes->event = event;
    notes->value = value;
}

static inline uint64_t read_reg(struct device *dev, uint64_t offset, unsigned size)
{
    return dev->ops->read(dev, offset, size);
}

static inline void write_reg(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    dev->ops->write(dev, offset, size, value);
}

static inline uint8_t in8(struct device *dev, uint64_t offset)
{
    return (uint8_t)dev->ops->read(dev, offset, 1);
}

static inline void out8(struct device *dev, uint64_t offset, uint8_t value)
{
    dev->ops->write(dev, offset, 1, value);
}

/* Saves @from and loads that into @to. Returns what the load returned. */
static inline int carry_over(struct device *from, struct device *to)
{
    struct state_writer out = { .data = NULL };

    assert_int_equal(from->ops->save(from, &out), 0);
    struct state_reader in = { .data = out.data, .len = out.len };
    int err = to->ops->load(to, &in);
    if (!err)
        assert_int_equal(in.position, in.len);
    state_writer_fini(&out);
    return err;
}
