// SPDX-License-Identifier: Apache-2.0
/* Eight general-purpose lines (PL061; Arm DDI 0190), of which buttons use some as inputs.
 *
 * How a press works: the line goes high, which is an edge that a driver can have an interrupt for.
 * It goes low, which is another, when the driver has read that it was high. Thus a press is seen
 * however late the driver comes to look, and its end too, without any time that could be too short
 * for a slow guest or too long for somebody who waits. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "devices/arm_chips.h"
#include "host/state.h"
#include "primecell.h"

enum { PL061_PART = 0x061, PL061_STATE_VERSION = 1 };

/* Bits 9 to 2 of an offset below this select the lines that an access is about. */
enum { DATA_END = 0x400 };

enum pl061_register {
    GPIO_DIRECTION = 0x400, /* 1: output */
    GPIO_SENSE = 0x404,     /* 1: level */
    GPIO_BOTH_EDGES = 0x408,
    GPIO_EVENT = 0x40c, /* 1: high or rising */
    GPIO_MASK = 0x410,  /* 1: interrupts */
    GPIO_RAW = 0x414,
    GPIO_MASKED = 0x418,
    GPIO_CLEAR = 0x41c,
    GPIO_FUNCTION = 0x420,
};

/* A bit for each line. */
struct pl061_state {
    uint8_t inputs; /* high ones: pressed buttons */
    uint8_t outputs;
    uint8_t direction, sense, both_edges, event, mask, function;
    uint8_t edges; /* seen, and not cleared */
};

struct pl061 {
    struct device dev;
    struct pl061_state state;
    struct irq_line irq;
};

static struct pl061 *pl061_of(struct device *dev)
{
    return container_of(dev, struct pl061, dev);
}

static uint8_t line_levels(const struct pl061_state *state)
{
    return (uint8_t)((state->inputs & ~state->direction) | (state->outputs & state->direction));
}

/* Lines that are at the level which is to interrupt, or had the edge which is to. */
static uint8_t raw_interrupts(const struct pl061_state *state)
{
    uint8_t levels = (uint8_t) ~(line_levels(state) ^ state->event);

    return (uint8_t)((levels & state->sense) | (state->edges & ~state->sense));
}

static void update_irq(struct pl061 *gpio)
{
    irq_line_set(&gpio->irq, raw_interrupts(&gpio->state) & gpio->state.mask);
}

static void set_inputs(struct pl061 *gpio, uint8_t inputs)
{
    struct pl061_state *state = &gpio->state;
    uint8_t before = line_levels(state);

    state->inputs = inputs;
    uint8_t now = line_levels(state);
    uint8_t awaited = (uint8_t)(state->both_edges | ~(now ^ state->event));
    state->edges |= (before ^ now) & awaited & (uint8_t)~state->sense;
    update_irq(gpio);
}

/* Buttons that were seen pressed are let go. */
static uint8_t read_data(struct pl061 *gpio, uint8_t lines)
{
    uint8_t levels = line_levels(&gpio->state) & lines;

    set_inputs(gpio, gpio->state.inputs & (uint8_t) ~(lines & ~gpio->state.direction));
    return levels;
}

static uint8_t read_register(struct pl061 *gpio, uint64_t offset)
{
    const struct pl061_state *state = &gpio->state;

    if (offset < DATA_END)
        return read_data(gpio, (uint8_t)(offset >> 2));
    switch (offset) {
    case GPIO_DIRECTION:
        return state->direction;
    case GPIO_SENSE:
        return state->sense;
    case GPIO_BOTH_EDGES:
        return state->both_edges;
    case GPIO_EVENT:
        return state->event;
    case GPIO_MASK:
        return state->mask;
    case GPIO_RAW:
        return raw_interrupts(state);
    case GPIO_MASKED:
        return raw_interrupts(state) & state->mask;
    case GPIO_FUNCTION:
        return state->function;
    default:
        return offset >= PRIMECELL_ID ? primecell_id(PL061_PART, offset) : 0;
    }
}

static uint64_t pl061_read(struct device *dev, uint64_t offset, unsigned size)
{
    return primecell_is_register(offset, size) ? read_register(pl061_of(dev), offset) : 0;
}

static void write_register(struct pl061_state *state, uint64_t offset, uint8_t value)
{
    uint8_t lines = (uint8_t)(offset >> 2);

    if (offset < DATA_END) {
        state->outputs = (uint8_t)((state->outputs & ~lines) | (value & lines));
        return;
    }
    switch (offset) {
    case GPIO_DIRECTION:
        state->direction = value;
        break;
    case GPIO_SENSE:
        state->sense = value;
        break;
    case GPIO_BOTH_EDGES:
        state->both_edges = value;
        break;
    case GPIO_EVENT:
        state->event = value;
        break;
    case GPIO_MASK:
        state->mask = value;
        break;
    case GPIO_CLEAR:
        state->edges &= (uint8_t)~value;
        break;
    case GPIO_FUNCTION:
        state->function = value;
        break;
    }
}

static void pl061_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct pl061 *gpio = pl061_of(dev);

    if (!primecell_is_register(offset, size))
        return;
    write_register(&gpio->state, offset, (uint8_t)value);
    update_irq(gpio);
}

void pl061_press(struct device *dev, unsigned line)
{
    struct pl061 *gpio = pl061_of(dev);

    assert(line < PL061_LINE_COUNT);
    set_inputs(gpio, gpio->state.inputs | (uint8_t)(1u << line));
}

static void pl061_reset(struct device *dev)
{
    struct pl061 *gpio = pl061_of(dev);

    gpio->state = (struct pl061_state){ 0 };
    update_irq(gpio);
}

static int pl061_save(struct device *dev, struct state_writer *out)
{
    struct pl061 *gpio = pl061_of(dev);

    return state_save(out, "pl061", PL061_STATE_VERSION, &gpio->state, sizeof(gpio->state));
}

/* Any state can be. */
static int pl061_load(struct device *dev, struct state_reader *in)
{
    struct pl061 *gpio = pl061_of(dev);
    int err = state_load(in, "pl061", PL061_STATE_VERSION, &gpio->state, sizeof(gpio->state));

    if (!err)
        update_irq(gpio);
    return err;
}

static void pl061_destroy(struct device *dev)
{
    device_fini(dev);
    free(pl061_of(dev));
}

static const struct device_ops pl061_ops = {
    .read = pl061_read,
    .write = pl061_write,
    .reset = pl061_reset,
    .save = pl061_save,
    .load = pl061_load,
    .destroy = pl061_destroy,
};

int pl061_create(const struct irq_line *irq, struct device **ret)
{
    struct pl061 *gpio = calloc(1, sizeof(*gpio));

    if (!gpio)
        return -ENOMEM;
    device_init(&gpio->dev, "pl061", &pl061_ops, NULL);
    gpio->irq = *irq;
    *ret = &gpio->dev;
    return 0;
}
