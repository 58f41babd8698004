// SPDX-License-Identifier: Apache-2.0
/* What the tests of every machine's address map share. Included after <cmocka.h>. */
#pragma once

#include <stdint.h>

#include "mem/layout.h"
#include "mem_fixture.h"

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
