// SPDX-License-Identifier: Apache-2.0
/* The parts of the address map that depend on the machine's size: RAM is one piece. */
#include <assert.h>

#include "mem/layout.h"

static_assert(LAYOUT_GSI_VIRTIO_MMIO + LAYOUT_VIRTIO_MMIO_MAX <= LAYOUT_GSI_COUNT,
              "every virtio-mmio slot has an interrupt of its own");

static_assert(LAYOUT_GIC_REDIST_MAX * LAYOUT_STOLEN_TIME_STRIDE <= LAYOUT_STOLEN_TIME_SIZE,
              "every CPU has its record of stolen time");

int layout_add_ram(struct guest_mem *mem, uint64_t size)
{
    return guest_mem_add(mem, LAYOUT_RAM_BASE, size);
}

gpa_t layout_virtio_mmio_base(unsigned slot)
{
    assert(slot < LAYOUT_VIRTIO_MMIO_MAX);
    return LAYOUT_VIRTIO_MMIO_BASE + slot * LAYOUT_VIRTIO_MMIO_STRIDE;
}

unsigned layout_virtio_mmio_gsi(unsigned slot)
{
    assert(slot < LAYOUT_VIRTIO_MMIO_MAX);
    return LAYOUT_GSI_VIRTIO_MMIO + slot;
}
