// SPDX-License-Identifier: Apache-2.0
/* What the tests of every machine's address map share. Included after <cmocka.h>. */
#pragma once

#include <stdint.h>

#include "mem/layout.h"

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

/* @taken: a bit for each interrupt of another device. */
static void assert_virtio_mmio_interrupts_are_free(uint64_t taken)
{
    for (unsigned slot = 0; slot < LAYOUT_VIRTIO_MMIO_MAX; slot++) {
        unsigned pin = layout_virtio_mmio_gsi(slot);
        assert_true(pin < LAYOUT_GSI_COUNT);
        assert_false(taken & UINT64_C(1) << pin);
        taken |= UINT64_C(1) << pin;
    }
}
