// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables (ACPI 6.4, hardware-reduced): RSDP, XSDT, FADT, MADT, MCFG, DSDT.
 *
 * Written from the list of what the machine has placed where; nothing is probed or assumed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/guest_mem.h"

enum { ACPI_MAX_VIRTIO_MMIO = 32 };

struct acpi_virtio_mmio {
    uint64_t base, size;
    uint32_t gsi; /* level-triggered, active high */
};

struct acpi_config {
    uint32_t cpu_count;
    const uint32_t *apic_ids; /* cpu_count of them; above 254 they are told as x2APIC */
    bool has_pci;
    unsigned pci_slot_count; /* used ones, from slot 0 (the bridge) on */
    uint64_t ecam_base;
    uint64_t pci32_base, pci32_size; /* windows for BARs */
    uint32_t intx_gsi;               /* the first of four, level-triggered, active high */
    bool has_serial;
    uint16_t serial_port;
    uint32_t serial_gsi;
    uint16_t register_port; /* of acpi_registers_create() */
    uint32_t event_gsi;     /* of the generic event device, level-triggered */
    uint16_t reset_port;    /* the reset control register: write 6 */
    uint16_t rtc_port;
    uint16_t pvpanic_port; /* 0: none */
    struct acpi_virtio_mmio virtio_mmio[ACPI_MAX_VIRTIO_MMIO];
    size_t virtio_mmio_count;
};

/* Builds the tables into @buf of @size bytes, to be placed at guest address @base (16-byte
 * aligned). The RSDP comes first. Returns the number of bytes used, or -ENOSPC. */
int acpi_build(const struct acpi_config *config, gpa_t base, uint8_t *buf, size_t size);
