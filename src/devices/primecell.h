// SPDX-License-Identifier: Apache-2.0
/* What Arm's PrimeCells have in common: how registers are accessed, and by which the bus of the
 * guest's kernel knows them (Arm DDI 0190, 3.3.11 and 3.3.12). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { PRIMECELL_SIZE = 0x1000, PRIMECELL_ID = 0xfe0 };

/* Whether an access is one to a register: to its lowest bytes, or to all four. */
static inline bool primecell_is_register(uint64_t offset, unsigned size)
{
    return offset < PRIMECELL_SIZE && offset % 4 == 0 && size <= 4;
}

/* The identification registers: part number @part by Arm (0x41), in its first revision, and the
 * mark of a PrimeCell. */
static inline uint8_t primecell_id(uint16_t part, uint64_t offset)
{
    const uint8_t id[] = {
        (uint8_t)part, (uint8_t)(0x10 | part >> 8), 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1,
    };

    return id[(offset - PRIMECELL_ID) / 4];
}

/* What of a 32-bit register an access of @size bytes sees or brings. */
static inline uint32_t primecell_cut(uint64_t value, unsigned size)
{
    return size < 4 ? (uint32_t)value & ((1u << 8 * size) - 1) : (uint32_t)value;
}
