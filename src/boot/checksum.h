// SPDX-License-Identifier: Apache-2.0
/* The checksum of firmware tables, ACPI's and the older ones: all bytes together make 0. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What a checksum byte must be, given the table with 0 in its place. */
static inline uint8_t checksum(const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return (uint8_t)-sum;
}
