// SPDX-License-Identifier: Apache-2.0
/* What a guest is told of its memory: which is RAM, and which only looks free.
 *
 * Windows for PCI are not listed; the ACPI tables describe them. The configuration space is, as
 * Linux uses it before it reads ACPI's namespace only if the memory map reserves it. */
#include "image.h"

#include "mem/layout.h"

gpa_t memory_low_end(uint64_t ram_size)
{
    return ram_size < LAYOUT_RAM_LOW_MAX ? ram_size : LAYOUT_RAM_LOW_MAX;
}

size_t memory_map_fill(uint64_t ram_size, struct memory_range map[MEMORY_MAP_MAX])
{
    const gpa_t low_end = memory_low_end(ram_size);
    size_t count = 0;

    map[count++] = (struct memory_range){ 0, LAYOUT_LOW_RAM_END, MEMORY_RAM };
    map[count++] = (struct memory_range){ LAYOUT_LOW_RAM_END, LAYOUT_ACPI_BASE - LAYOUT_LOW_RAM_END,
                                          MEMORY_RESERVED };
    map[count++] = (struct memory_range){ LAYOUT_ACPI_BASE, LAYOUT_ACPI_SIZE, MEMORY_ACPI };
    map[count++] =
        (struct memory_range){ LAYOUT_MPTABLE_BASE, LAYOUT_MPTABLE_SIZE, MEMORY_RESERVED };
    if (low_end > LAYOUT_KERNEL_BASE)
        map[count++] =
            (struct memory_range){ LAYOUT_KERNEL_BASE, low_end - LAYOUT_KERNEL_BASE, MEMORY_RAM };
    map[count++] = (struct memory_range){ LAYOUT_ECAM_BASE, LAYOUT_ECAM_SIZE, MEMORY_RESERVED };
    map[count++] = (struct memory_range){ LAYOUT_KVM_IDENTITY_MAP, 16 * KIB, MEMORY_RESERVED };
    if (ram_size > low_end)
        map[count++] = (struct memory_range){ LAYOUT_RAM_HIGH, ram_size - low_end, MEMORY_RAM };
    return count;
}
