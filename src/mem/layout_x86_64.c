// SPDX-License-Identifier: Apache-2.0
/* The parts of the address map that depend on the machine's size: RAM goes around the 32-bit
 * hole. */
#include "mem/layout.h"

#include <assert.h>

int layout_add_ram(struct guest_mem *mem, uint64_t size)
{
    uint64_t low = size < LAYOUT_RAM_LOW_MAX ? size : LAYOUT_RAM_LOW_MAX;
    int err = guest_mem_add(mem, 0, low);

    if (!err && size > low)
        err = guest_mem_add(mem, LAYOUT_RAM_HIGH, size - low);
    return err;
}

gpa_t layout_virtio_mmio_base(unsigned slot)
{
    assert(slot < LAYOUT_VIRTIO_MMIO_MAX);
    return LAYOUT_VIRTIO_MMIO_BASE + slot * LAYOUT_VIRTIO_MMIO_STRIDE;
}

unsigned layout_virtio_mmio_gsi(unsigned slot)
{
    /* Pins that no legacy device is expected on; 16 up are free when there is no PCI. */
    static const uint8_t pins[LAYOUT_VIRTIO_MMIO_MAX] = { 5,  6,  7,  10, 11, 16, 17,
                                                          18, 19, 20, 21, 22, 23, 12 };

    assert(slot < LAYOUT_VIRTIO_MMIO_MAX);
    return pins[slot];
}
