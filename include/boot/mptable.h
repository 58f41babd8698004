// SPDX-License-Identifier: Apache-2.0
/* The MP table (Intel MultiProcessor Specification 1.4): CPUs, buses, I/O APIC and interrupt pins,
 * for kernels that run without ACPI. Those that have ACPI do not read it.
 *
 * Written from the same list as the ACPI tables, so that both say the same. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "boot/board.h"
#include "mem/guest_mem.h"

/* Builds the floating pointer and the table behind it into @buf of @size bytes, to be placed at
 * guest address @base (16-byte aligned), where the specification lets a kernel look: in
 * 0xf0000-0xfffff.
 *
 * Returns the number of bytes used, 0 if there are more CPUs than such a table can name (255;
 * nothing is written then), or -ENOSPC. */
int mptable_build(const struct board *board, gpa_t base, uint8_t *buf, size_t size);
