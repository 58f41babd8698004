// SPDX-License-Identifier: Apache-2.0
/* The chips of a PC, as the guest is told of them. */
#include "machine_private.h"
#include "mem/layout.h"

void board_place_chips(struct board *board, const struct vm *vm)
{
    (void)vm;
    board->serial = (struct board_chip){ LAYOUT_SERIAL, LAYOUT_GSI_SERIAL };
    board->rtc.address = LAYOUT_PORT_RTC;
    board->pvpanic.address = LAYOUT_PORT_PVPANIC;
    board->reset_port = LAYOUT_PORT_RESET_CONTROL;
    board->acpi_registers = (struct board_chip){ LAYOUT_PORT_ACPI, LAYOUT_GSI_ACPI };
}
