// SPDX-License-Identifier: Apache-2.0
/* The device tree (Devicetree Specification 0.4; bindings: Linux, Documentation/devicetree), in
 * its flattened form.
 *
 * Written from the list of what the machine has placed where (board.h). On an Arm machine it is all
 * that a kernel learns of it. On a PC, where ACPI has the devices, it says what boots there. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "boot/board.h"
#include "mem/guest_mem.h"

/* What an arm64 kernel maps for it at most. */
enum { FDT_SIZE_MAX = 2 << 20, FDT_ALIGN = 8 };

struct fdt_params {
    const struct board *board;
    const char *cmdline;
    gpa_t initrd_start;
    uint64_t initrd_size; /* 0: there is none */
};

/* Builds the tree into @buf of @size bytes (8-byte aligned), with fresh seeds for the kernel's
 * random numbers. Returns the number of bytes used, -ENOSPC, or -errno if there are no random
 * numbers to be had. */
int fdt_build(const struct fdt_params *params, void *buf, size_t size);
