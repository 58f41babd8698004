// SPDX-License-Identifier: Apache-2.0
/* A PC without most of what PCs had: hardware-reduced ACPI, an MP table for kernels without it. */
#include <errno.h>

#include "boot/acpi.h"
#include "boot/mptable.h"
#include "devices/pc_chips.h"
#include "host/log.h"
#include "machine_private.h"
#include "mem/layout.h"

/* A PC's memory word 0x472 tells its firmware that a reset is a warm reboot, if it is 0x1234. */
#define WARM_MARK_GPA UINT64_C(0x472)
enum { WARM_MARK = 0x1234 };

bool platform_reset_is_panic(const struct machine *machine, bool is_warm)
{
    uint16_t mark = 0;

    return is_warm ||
           (!guest_mem_read(machine->mem, WARM_MARK_GPA, &mark, sizeof(mark)) && mark == WARM_MARK);
}

int platform_add_chips(struct machine *machine)
{
    const struct power_port power = machine_power_port(machine);
    struct acpi_params acpi = {
        .irq = machine_pin(&machine->pins[LAYOUT_GSI_ACPI], machine->vm, LAYOUT_GSI_ACPI),
        .power = power,
    };
    struct device *chip = NULL;
    int err =
        machine_place_chip(machine, machine->ports, rtc_create(&chip), &chip, LAYOUT_PORT_RTC, 2);

    if (!err)
        err = machine_place_chip(machine, machine->ports, reset_control_create(&power, &chip),
                                 &chip, LAYOUT_PORT_RESET_CONTROL, 1);
    if (!err)
        err = machine_place_chip(machine, machine->ports, debug_exit_create(&power, &chip), &chip,
                                 LAYOUT_PORT_DEBUG_EXIT, 4);
    if (!err)
        err = machine_place_chip(machine, machine->ports, pvpanic_create(&power, &chip), &chip,
                                 LAYOUT_PORT_PVPANIC, 1);
    if (!err)
        err = machine_place_chip(machine, machine->ports, i8042_create(&power, &chip), &chip,
                                 LAYOUT_PORT_I8042, 1);
    if (!err)
        err = bus_add(machine->ports, LAYOUT_PORT_I8042 + 4, 1, chip, 4);
    if (!err)
        err = machine_place_chip(machine, machine->ports, acpi_registers_create(&acpi, &chip),
                                 &chip, LAYOUT_PORT_ACPI, 8);
    if (err)
        return log_errno(err, "the PC's chips");
    machine->power_button = chip;
    return 0;
}

void platform_press_power_button(struct device *chip)
{
    acpi_press_power_button(chip);
}

int platform_place_serial(struct machine *machine, struct device *serial)
{
    return bus_add(machine->ports, LAYOUT_SERIAL, 8, serial, 0);
}

int platform_write_tables(struct machine *machine)
{
    const struct board *board = &machine->board;
    uint8_t *area = guest_mem_at(machine->mem, LAYOUT_ACPI_BASE, LAYOUT_ACPI_SIZE);
    uint8_t *mp_area = guest_mem_at(machine->mem, LAYOUT_MPTABLE_BASE, LAYOUT_MPTABLE_SIZE);

    if (!area || !mp_area)
        return log_errno(-ENOMEM, "ACPI tables");
    int used = acpi_build(board, LAYOUT_ACPI_BASE, area, LAYOUT_ACPI_SIZE);
    if (used < 0)
        return log_errno(used, "ACPI tables for %u vCPUs", board->cpu_count);
    used = mptable_build(board, LAYOUT_MPTABLE_BASE, mp_area, LAYOUT_MPTABLE_SIZE);
    return used < 0 ? log_errno(used, "MP table for %u vCPUs", board->cpu_count) : 0;
}
