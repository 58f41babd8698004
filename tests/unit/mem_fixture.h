// SPDX-License-Identifier: Apache-2.0
/* Guest RAM as a test's state, without any region. Included after <cmocka.h>. */
#pragma once

#include "mem/guest_mem.h"

static int make_mem(void **state)
{
    struct guest_mem *mem;

    if (guest_mem_create(GUEST_MEM_PRIVATE, &mem))
        return -1;
    *state = mem;
    return 0;
}

static int drop_mem(void **state)
{
    guest_mem_destroy(*state);
    return 0;
}
