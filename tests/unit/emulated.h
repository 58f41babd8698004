// SPDX-License-Identifier: Apache-2.0
/* Programs of another architecture are tested under qemu-user, which passes most of what they ask
 * of the kernel on, but not all. What needs the rest is skipped there, with the reason.
 * Include it behind cmocka.h. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "skip.h"

/* meson sets the variable when tests run by a cross file's exe_wrapper. */
static inline bool is_emulated(void)
{
    return getenv("MESON_EXE_WRAPPER") != NULL;
}

static inline void skip_if_emulated(const char *missing)
{
    char reason[100];

    if (is_emulated()) {
        (void)snprintf(reason, sizeof(reason), "qemu-user has no %s", missing);
        skip_because(reason);
    }
}
