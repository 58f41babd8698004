// SPDX-License-Identifier: Apache-2.0
/* The small chips that a PC has besides its serial port and its PCI bus: each a create function.
 *
 * All return 0 or -errno, and a device that is the caller's to destroy. */
#pragma once

#include "devices/device.h"
#include "devices/irq.h"

/* MC146818 real-time clock with its CMOS RAM, at index port 0 and data port 1. It shows the
 * host's UTC time; a guest that sets it only moves its own offset. No alarm, no interrupt. */
int rtc_create(struct device **ret);

/* The keyboard controller, reduced to what resets a PC: command 0xfe at offset 4 requests
 * POWER_RESET; data at offset 0 reads as 0. */
int i8042_create(const struct power_port *power, struct device **ret);

/* The reset control register of PC chipsets (port 0xcf9): a write that raises bit 2 requests
 * POWER_RESET. */
int reset_control_create(const struct power_port *power, struct device **ret);

/* The port a test guest ends its machine through: a write of any size requests POWER_DEBUG_EXIT
 * with the value. */
int debug_exit_create(const struct power_port *power, struct device **ret);

/* pvpanic (Linux: drivers/misc/pvpanic): reads give the supported events, writes announce one. */
int pvpanic_create(const struct power_port *power, struct device **ret);

/* The hardware-reduced ACPI registers: sleep control at offset 0, sleep status at 1 (ACPI 6.4,
 * 4.8.3.7), and at 4 the event register of the generic event device, which reads as the pending
 * ACPI_EVENT_* bits and clears them. */
enum { ACPI_EVENT_POWER_BUTTON = 1 };
enum { ACPI_SLEEP_TYPE_S5 = 5 };
struct acpi_params {
    struct irq_line irq; /* high while an event is pending */
    struct power_port power;
};
int acpi_registers_create(const struct acpi_params *params, struct device **ret);
/* Presses the power button. The device is locked by the caller. */
void acpi_press_power_button(struct device *dev);
