// SPDX-License-Identifier: Apache-2.0
/* Where everything lies in the guest's physical address space: one header for each architecture,
 * with these names in all of them:
 *
 *   LAYOUT_PCI32_BASE, _SIZE          32-bit window for PCI BARs
 *   LAYOUT_ECAM_BASE, _SIZE           PCI configuration space, bus 0
 *   LAYOUT_VIRTIO_MMIO_SIZE, _MAX     virtio-mmio slots
 *   LAYOUT_VIRTIO_MMIO_BY_CMDLINE     does acpi=off hide them from the guest?
 *   LAYOUT_HAS_MSI                    do all hosts give guests message-signalled interrupts?
 *   LAYOUT_CMDLINE_MAX                bytes of a kernel command line, with its NUL
 *   LAYOUT_GSI_COUNT, _PCI_INTX       interrupt wires: how many, and the first of four for PCI
 *   LAYOUT_SERIAL, LAYOUT_GSI_SERIAL  the first serial port */
#pragma once

#include "mem/guest_mem.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#if defined(__x86_64__)
#include "mem/layout_x86_64.h"
#elif defined(__aarch64__)
#include "mem/layout_arm64.h"
#endif

/* Adds @size bytes of RAM (whole MiB) to @mem, where the layout has it.
 * Returns 0 or what guest_mem_add() failed with. */
int layout_add_ram(struct guest_mem *mem, uint64_t size);

/* Where virtio-mmio slot @slot (below LAYOUT_VIRTIO_MMIO_MAX) is, and its interrupt. */
gpa_t layout_virtio_mmio_base(unsigned slot);
unsigned layout_virtio_mmio_gsi(unsigned slot);
