// SPDX-License-Identifier: Apache-2.0
/* Reads the tables that firmware leaves to a kernel, as bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t number_at(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, bytes, size);
    return value;
}

/* Of a table that is right: 0. */
static inline uint8_t sum(const uint8_t *bytes, size_t len)
{
    uint8_t total = 0;

    while (len--)
        total = (uint8_t)(total + *bytes++);
    return total;
}
