// SPDX-License-Identifier: Apache-2.0
/* The address map of an Arm machine. */
#include "mem/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "layout_fixture.h"

static void ram_is_one_region_from_its_base_up(void **state)
{
    assert_int_equal(layout_add_ram(*state, 6 * GIB), 0);

    assert_int_equal(guest_mem_region_count(*state), 1);
    assert_int_equal(guest_mem_region(*state, 0)->gpa, LAYOUT_RAM_BASE);
    assert_int_equal(guest_mem_region(*state, 0)->size, 6 * GIB);
}

static void no_part_overlaps_another_or_ram(void **state)
{
    const struct {
        gpa_t base;
        uint64_t size;
    } parts[] = {
        { LAYOUT_GIC_DIST_BASE, LAYOUT_GIC_DIST_SIZE },
        { LAYOUT_GIC_CPU_BASE, LAYOUT_GIC_CPU_SIZE },
        { LAYOUT_GIC_ITS_BASE, LAYOUT_GIC_ITS_SIZE },
        { LAYOUT_VIRTIO_MMIO_BASE, LAYOUT_VIRTIO_MMIO_MAX * LAYOUT_VIRTIO_MMIO_STRIDE },
        { LAYOUT_STOLEN_TIME_BASE, LAYOUT_STOLEN_TIME_SIZE },
        { LAYOUT_PCI32_BASE, LAYOUT_PCI32_SIZE },
        { LAYOUT_ECAM_BASE, LAYOUT_ECAM_SIZE },
        { LAYOUT_GIC_REDIST_BASE, LAYOUT_GIC_REDIST_MAX * LAYOUT_GIC_REDIST_STRIDE },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        for (size_t j = 0; j < i; j++)
            assert_true(parts[i].base >= parts[j].base + parts[j].size ||
                        parts[j].base >= parts[i].base + parts[i].size);
        assert_true(parts[i].base + parts[i].size <= LAYOUT_RAM_BASE);
    }
}

static void virtio_mmio_slots_have_interrupts_of_their_own(void **state)
{
    (void)state;

    assert_virtio_mmio_interrupts_are_free(1U << LAYOUT_GSI_SERIAL | 1U << LAYOUT_GSI_RTC |
                                           1U << LAYOUT_GSI_GPIO | 0xfU << LAYOUT_GSI_PCI_INTX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ram_is_one_region_from_its_base_up, make_mem, drop_mem),
        cmocka_unit_test(no_part_overlaps_another_or_ram),
        cmocka_unit_test(virtio_mmio_slots_have_interrupts_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
