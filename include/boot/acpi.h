// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables (ACPI 6.4, hardware-reduced): RSDP, XSDT, FADT, MADT, MCFG, DSDT.
 *
 * Written from the list of what the machine has placed where (board.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "boot/board.h"
#include "mem/guest_mem.h"

/* Builds the tables into @buf of @size bytes, to be placed at guest address @base (16-byte
 * aligned). The RSDP comes first. Returns the number of bytes used, or -ENOSPC. */
int acpi_build(const struct board *board, gpa_t base, uint8_t *buf, size_t size);
