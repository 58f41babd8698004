// SPDX-License-Identifier: Apache-2.0
/* The chips of a PC under a stream of register accesses.
 *
 * Four bytes are one step: which chip, what to do, where, and a value. The chips stand on a port
 * bus, at their places in a PC. Besides what the sanitizers find, a chip that is saved and loaded
 * must save the same state again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devices/bus.h"
#include "devices/pc_chips.h"
#include "devices/serial_16550.h"
#include "host/state.h"
#include "mem/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP_SIZE = 4, CHIP_COUNT = 7 };

enum { SERIAL, RTC, I8042, RESET_CONTROL, DEBUG_EXIT, PVPANIC, ACPI };

static const struct {
    uint16_t port, size;
} places[CHIP_COUNT] = {
    [SERIAL] = { LAYOUT_SERIAL, 8 },
    [RTC] = { LAYOUT_PORT_RTC, 2 },
    [I8042] = { LAYOUT_PORT_I8042, 5 },
    [RESET_CONTROL] = { LAYOUT_PORT_RESET_CONTROL, 1 },
    [DEBUG_EXIT] = { LAYOUT_PORT_DEBUG_EXIT, 4 },
    [PVPANIC] = { LAYOUT_PORT_PVPANIC, 1 },
    [ACPI] = { LAYOUT_PORT_ACPI, 8 },
};

struct machine {
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

    *m = (struct machine){ .sink_has_room = true };
    check(serial_create(&serial, &m->chips[SERIAL]) == 0);
    check(rtc_create(&m->chips[RTC]) == 0);
    check(i8042_create(&power, &m->chips[I8042]) == 0);
    check(reset_control_create(&power, &m->chips[RESET_CONTROL]) == 0);
    check(debug_exit_create(&power, &m->chips[DEBUG_EXIT]) == 0);
    check(pvpanic_create(&power, &m->chips[PVPANIC]) == 0);
    check(acpi_registers_create(&acpi, &m->chips[ACPI]) == 0);
    check(bus_create(&m->bus) == 0);
    for (unsigned i = 0; i < CHIP_COUNT; i++)
        check(bus_add(m->bus, places[i].port, places[i].size, m->chips[i], 0) == 0);
}

static void machine_fini(struct machine *m)
{
    for (unsigned i = 0; i < CHIP_COUNT; i++)
        device_destroy(m->chips[i]);
    bus_destroy(m->bus);
}

static void save_and_load(struct device *chip)
{
    struct state_writer first = { .data = NULL }, second = { .data = NULL };

    check(chip->ops->save(chip, &first) == 0);
    struct state_reader in = { .data = first.data, .len = first.len };
    check(chip->ops->load(chip, &in) == 0);
    check(in.position == in.len);
    check(chip->ops->save(chip, &second) == 0);
    check(first.len == second.len);
    /* The serial port's transmitter may go on when it is loaded. */
    if (first.len && strcmp(chip->name, "com1") != 0)
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

static void step(struct machine *m, const uint8_t bytes[STEP_SIZE])
{
    unsigned chip = bytes[0] % CHIP_COUNT;
    unsigned access_size = 1U << (bytes[1] >> 6);
    uint64_t port = places[chip].port + bytes[2] % (places[chip].size + 1U);
    uint64_t value = bytes[3] * UINT64_C(0x0101010101010101);

    switch (bytes[1] % 8) {
    case 0:
    case 1:
        (void)bus_read(m->bus, port, access_size, &value);
        break;
    case 2:
    case 3:
        (void)bus_write(m->bus, port, access_size, value);
        break;
    case 4:
        serial_step(m, bytes[2], bytes[3]);
        break;
    case 5:
        save_and_load(m->chips[chip]);
        break;
    case 6:
        load_corrupt(m->chips[chip], bytes[2], bytes[3]);
        break;
    default:
        if (bytes[2] & 1)
            m->chips[chip]->ops->reset(m->chips[chip]);
        else
            acpi_press_power_button(m->chips[ACPI]);
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
