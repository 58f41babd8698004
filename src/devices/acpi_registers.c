// SPDX-License-Identifier: Apache-2.0
/* The registers of hardware-reduced ACPI: going to sleep, and the events of the generic event
 * device (ACPI 6.4, 4.8.3.7 and 5.6.9).
 *
 * Sleeping is one state, S5. The event register is ours to define, and the method in the DSDT
 * that reads it comes from the same code base. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "devices/pc_chips.h"
#include "host/state.h"

enum { ACPI_STATE_VERSION = 1 };

enum { OFFSET_SLEEP_CONTROL = 0, OFFSET_EVENTS = 4 };

enum { SLEEP_ENABLE = 0x20, SLEEP_TYPE_SHIFT = 2, SLEEP_TYPE_MASK = 7 };

struct acpi_state {
    uint32_t events; /* that the guest has not read yet */
};

struct acpi_registers {
    struct device dev;
    struct acpi_state state;
    struct irq_line irq;
    struct power_port power;
};

static struct acpi_registers *acpi_of(struct device *dev)
{
    return container_of(dev, struct acpi_registers, dev);
}

static void acpi_set_events(struct acpi_registers *acpi, uint32_t events)
{
    acpi->state.events = events;
    irq_line_set(&acpi->irq, events != 0);
}

static uint64_t acpi_registers_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct acpi_registers *acpi = acpi_of(dev);
    uint32_t events = acpi->state.events;

    /* Sleep control reads as 0, and sleep status too: nothing ever woke up. */
    if (offset != OFFSET_EVENTS || size > 4)
        return 0;
    acpi_set_events(acpi, 0);
    return events;
}

static void acpi_registers_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct acpi_registers *acpi = acpi_of(dev);

    if (offset != OFFSET_SLEEP_CONTROL || size != 1 || !(value & SLEEP_ENABLE))
        return;
    if ((value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == ACPI_SLEEP_TYPE_S5)
        acpi->power.request(acpi->power.ctx, POWER_OFF, 0);
}

void acpi_press_power_button(struct device *dev)
{
    struct acpi_registers *acpi = acpi_of(dev);

    acpi_set_events(acpi, acpi->state.events | ACPI_EVENT_POWER_BUTTON);
}

static void acpi_registers_reset(struct device *dev)
{
    acpi_set_events(acpi_of(dev), 0);
}

static int acpi_registers_save(struct device *dev, struct state_writer *out)
{
    struct acpi_registers *acpi = acpi_of(dev);

    return state_save(out, "acpi-registers", ACPI_STATE_VERSION, &acpi->state, sizeof(acpi->state));
}

static int acpi_registers_load(struct device *dev, struct state_reader *in)
{
    struct acpi_state state;

    int err = state_load(in, "acpi-registers", ACPI_STATE_VERSION, &state, sizeof(state));
    if (err)
        return err;
    if (state.events & ~(uint32_t)ACPI_EVENT_POWER_BUTTON)
        return -EBADMSG;
    acpi_set_events(acpi_of(dev), state.events);
    return 0;
}

static void acpi_registers_destroy(struct device *dev)
{
    device_fini(dev);
    free(acpi_of(dev));
}

static const struct device_ops acpi_registers_ops = {
    .read = acpi_registers_read,
    .write = acpi_registers_write,
    .reset = acpi_registers_reset,
    .save = acpi_registers_save,
    .load = acpi_registers_load,
    .destroy = acpi_registers_destroy,
};

int acpi_registers_create(const struct acpi_params *params, struct device **ret)
{
    struct acpi_registers *acpi = calloc(1, sizeof(*acpi));

    if (!acpi)
        return -ENOMEM;
    device_init(&acpi->dev, "acpi-registers", &acpi_registers_ops, NULL);
    acpi->irq = params->irq;
    acpi->power = params->power;
    *ret = &acpi->dev;
    return 0;
}
