// SPDX-License-Identifier: Apache-2.0
/* The chips of a PC and of an Arm machine under a stream of register accesses.
 *
 * Four bytes are one step: which chip, what to do, where, and a value. The chips stand on one bus,
 * those of a PC at their places there. Besides what the sanitizers find, a chip that is saved and
 * loaded must save the same state again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devices/arm_chips.h"
#include "devices/bus.h"
#include "devices/pc_chips.h"
#include "devices/serial_16550.h"
#include "host/loop.h"
#include "host/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP_SIZE = 4 };

enum chip {
    SERIAL,
    RTC,
    I8042,
    RESET_CONTROL,
    DEBUG_EXIT,
    PVPANIC,
    ACPI,
    PL031,
    PL061,
    CHIP_COUNT,
};

static const struct {
    uint32_t address, size;
} places[CHIP_COUNT] = {
    [SERIAL] = { 0x3f8, 8 },        [RTC] = { 0x70, 2 },           [I8042] = { 0x60, 5 },
    [RESET_CONTROL] = { 0xcf9, 1 }, [DEBUG_EXIT] = { 0xf4, 4 },    [PVPANIC] = { 0x505, 1 },
    [ACPI] = { 0x600, 8 },          [PL031] = { 0x10000, 0x1000 }, [PL061] = { 0x20000, 0x1000 },
};

struct machine {
    struct loop *loop; /* never run: no alarm comes within an input's time */
    struct bus *bus;
    struct device *chips[CHIP_COUNT];
    bool sink_has_room;
    uint64_t events;
};

static void check(bool claim)
{
    if (!claim)
        abort();
}

static void note_irq(void *ctx, bool high)
{
    ((struct machine *)ctx)->events += high;
}

static void note_power(void *ctx, enum power_event event, uint32_t value)
{
    ((struct machine *)ctx)->events += event + value;
}

static bool take_bytes(void *ctx, const uint8_t *data, size_t len)
{
    struct machine *m = ctx;

    check(len > 0 && len <= 16);
    m->events += data[len - 1];
    return m->sink_has_room;
}

/* The worst a sink can do: it comes back with more at once. */
static void send_more(void *ctx)
{
    struct machine *m = ctx;
    static const uint8_t text[20] = "more than one FIFO";

    check(serial_receive(m->chips[SERIAL], text, m->events % sizeof(text)) <= 16);
}

static void machine_init(struct machine *m)
{
    const struct irq_line irq = { note_irq, m };
    const struct power_port power = { note_power, m };
    const struct serial_params serial = { "com1", irq, { take_bytes, send_more, m } };
    const struct acpi_params acpi = { irq, power };
    struct pl031_params pl031 = { .irq = irq };

    *m = (struct machine){ .sink_has_room = true };
    check(loop_create(&m->loop) == 0);
    pl031.loop = m->loop;
    check(serial_create(&serial, &m->chips[SERIAL]) == 0);
    check(rtc_create(&m->chips[RTC]) == 0);
    check(i8042_create(&power, &m->chips[I8042]) == 0);
    check(reset_control_create(&power, &m->chips[RESET_CONTROL]) == 0);
    check(debug_exit_create(&power, &m->chips[DEBUG_EXIT]) == 0);
    check(pvpanic_create(&power, &m->chips[PVPANIC]) == 0);
    check(acpi_registers_create(&acpi, &m->chips[ACPI]) == 0);
    check(pl031_create(&pl031, &m->chips[PL031]) == 0);
    check(pl061_create(&irq, &m->chips[PL061]) == 0);
    check(bus_create(&m->bus) == 0);
    for (unsigned i = 0; i < CHIP_COUNT; i++)
        check(bus_add(m->bus, places[i].address, places[i].size, m->chips[i], 0) == 0);
}

static void machine_fini(struct machine *m)
{
    for (unsigned i = 0; i < CHIP_COUNT; i++)
        device_destroy(m->chips[i]);
    bus_destroy(m->bus);
    loop_destroy(m->loop);
}

static void save_and_load(struct machine *m, enum chip which)
{
    struct device *chip = m->chips[which];
    struct state_writer first = { .data = NULL }, second = { .data = NULL };

    check(chip->ops->save(chip, &first) == 0);
    struct state_reader in = { .data = first.data, .len = first.len };
    check(chip->ops->load(chip, &in) == 0);
    check(in.position == in.len);
    check(chip->ops->save(chip, &second) == 0);
    check(first.len == second.len);
    /* When they are loaded, the transmitter may go on, and the alarm's second may have come. */
    if (first.len && which != SERIAL && which != PL031)
        check(memcmp(first.data, second.data, first.len) == 0);
    state_writer_fini(&first);
    state_writer_fini(&second);
}

/* Loads a state with @value at byte @where of it. */
static void load_corrupt(struct device *chip, uint8_t where, uint8_t value)
{
    struct state_writer out = { .data = NULL };
    enum { HEADER = 48 };

    check(chip->ops->save(chip, &out) == 0);
    if (out.len > HEADER)
        out.data[HEADER + where % (out.len - HEADER)] = value;
    struct state_reader in = { .data = out.data, .len = out.len };
    if (chip->ops->load(chip, &in))
        chip->ops->reset(chip);
    state_writer_fini(&out);
}

static void serial_step(struct machine *m, uint8_t where, uint8_t value)
{
    struct device *serial = m->chips[SERIAL];
    const uint8_t bytes[32] = { value, where };

    switch (where % 4) {
    case 0:
        check(serial_receive(serial, bytes, value % 32) <= 16);
        break;
    case 1:
        serial_receive_break(serial);
        break;
    case 2:
        m->sink_has_room = value & 1;
        break;
    default:
        serial_transmit_ready(serial);
        break;
    }
}

static void press_buttons(struct machine *m, uint8_t value)
{
    acpi_press_power_button(m->chips[ACPI]);
    pl061_press(m->chips[PL061], value % PL061_LINE_COUNT);
}

static void step(struct machine *m, const uint8_t bytes[STEP_SIZE])
{
    enum chip chip = bytes[0] % CHIP_COUNT;
    unsigned access_size = 1U << (bytes[1] >> 6);
    unsigned where = bytes[0] / CHIP_COUNT * 256U + bytes[2];
    uint64_t address = places[chip].address + where % (places[chip].size + 1);
    uint64_t value = bytes[3] * UINT64_C(0x0101010101010101);

    switch (bytes[1] % 8) {
    case 0:
    case 1:
        (void)bus_read(m->bus, address, access_size, &value);
        break;
    case 2:
    case 3:
        (void)bus_write(m->bus, address, access_size, value);
        break;
    case 4:
        serial_step(m, bytes[2], bytes[3]);
        break;
    case 5:
        save_and_load(m, chip);
        break;
    case 6:
        load_corrupt(m->chips[chip], bytes[2], bytes[3]);
        break;
    default:
        if (bytes[2] & 1)
            m->chips[chip]->ops->reset(m->chips[chip]);
        else
            press_buttons(m, bytes[3]);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine m;

    machine_init(&m);
    for (size_t i = 0; i + STEP_SIZE <= size; i += STEP_SIZE)
        step(&m, data + i);
    machine_fini(&m);
    return 0;
}
