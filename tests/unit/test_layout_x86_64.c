// SPDX-License-Identifier: Apache-2.0
/* The address map of a PC. */
#include "mem/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "layout_fixture.h"

static void ram_is_split_around_the_32_bit_hole(void **state)
{
    assert_int_equal(layout_add_ram(*state, 6 * GIB), 0);

    assert_int_equal(guest_mem_region_count(*state), 2);
    assert_int_equal(guest_mem_region(*state, 0)->size, LAYOUT_RAM_LOW_MAX);
    assert_int_equal(guest_mem_region(*state, 1)->gpa, 4 * GIB);
    assert_int_equal(guest_mem_region(*state, 1)->size, 3 * GIB);
    assert_null(guest_mem_at(*state, LAYOUT_PCI32_BASE, 1));
}

static void small_ram_is_one_region(void **state)
{
    assert_int_equal(layout_add_ram(*state, 128 * MIB), 0);

    assert_int_equal(guest_mem_region_count(*state), 1);
}

static void virtio_mmio_slots_have_interrupts_of_their_own(void **state)
{
    (void)state;

    assert_virtio_mmio_interrupts_are_free(1U << LAYOUT_GSI_SERIAL | 1U << LAYOUT_GSI_ACPI);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ram_is_split_around_the_32_bit_hole, make_mem, drop_mem),
        cmocka_unit_test_setup_teardown(small_ram_is_one_region, make_mem, drop_mem),
        cmocka_unit_test(virtio_mmio_slots_have_interrupts_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
