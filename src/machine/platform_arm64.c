// SPDX-License-Identifier: Apache-2.0
/* An Arm machine: what a kernel finds by its device tree, which the boot loader writes. */
#include "devices/arm_chips.h"
#include "devices/pc_chips.h"
#include "host/log.h"
#include "machine_private.h"
#include "mem/layout.h"

enum { DEBUG_EXIT_SIZE = 4, PVPANIC_SIZE = 2, SERIAL_SIZE = 8 };

/* The kernel's PSCI driver resets warm by SYSTEM_RESET2, which KVM has from Linux 5.19 on. */
bool platform_reset_is_panic(const struct machine *machine, bool is_warm)
{
    (void)machine;
    return is_warm;
}

int platform_add_chips(struct machine *machine)
{
    const struct power_port power = machine_power_port(machine);
    struct pl031_params rtc = {
        .irq = machine_pin(&machine->pins[LAYOUT_GSI_RTC], machine->vm, LAYOUT_GSI_RTC),
        .loop = machine->loop,
    };
    struct irq_line gpio_irq =
        machine_pin(&machine->pins[LAYOUT_GSI_GPIO], machine->vm, LAYOUT_GSI_GPIO);
    struct device *chip = NULL;
    int err = machine_place_chip(machine, machine->memory, pl031_create(&rtc, &chip), &chip,
                                 LAYOUT_RTC, LAYOUT_CHIP_SIZE);

    if (!err)
        err = machine_place_chip(machine, machine->memory, debug_exit_create(&power, &chip), &chip,
                                 LAYOUT_DEBUG_EXIT, DEBUG_EXIT_SIZE);
    if (!err)
        err = machine_place_chip(machine, machine->memory, pvpanic_create(&power, &chip), &chip,
                                 LAYOUT_PVPANIC, PVPANIC_SIZE);
    if (!err)
        err = machine_place_chip(machine, machine->memory, pl061_create(&gpio_irq, &chip), &chip,
                                 LAYOUT_GPIO, LAYOUT_CHIP_SIZE);
    if (err)
        return log_errno(err, "the machine's chips");
    machine->power_button = chip;
    return 0;
}

void platform_press_power_button(struct device *chip)
{
    pl061_press(chip, LAYOUT_GPIO_POWER);
}

int platform_place_serial(struct machine *machine, struct device *serial)
{
    return bus_add(machine->memory, LAYOUT_SERIAL, SERIAL_SIZE, serial, 0);
}

int platform_write_tables(struct machine *machine)
{
    (void)machine;
    return 0;
}
