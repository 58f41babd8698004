// SPDX-License-Identifier: Apache-2.0
/* What the machine has placed where: the one list from which the guest is told of it, by ACPI
 * tables, an MP table or a device tree, so that all of them say the same.
 *
 * Plain data. The machine fills it in while it places devices; nothing is probed or assumed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BOARD_MAX_VIRTIO_MMIO = 32 };

/* A chip: where its registers are (a port on a PC, memory elsewhere), and its interrupt. */
struct board_chip {
    uint64_t address; /* 0: there is none */
    uint32_t gsi;     /* ports of a PC without an interrupt: 0 */
};

struct board_virtio_mmio {
    uint64_t base, size;
    uint32_t gsi; /* level-triggered, active high */
};

/* The Arm Generic Interrupt Controller. */
struct board_gic {
    unsigned version; /* 2 or 3; 0: there is none */
    bool has_its;     /* version 3 only: there are message-signalled interrupts */
    uint64_t dist_base, dist_size;
    uint64_t cpu_base, cpu_size;         /* version 2 */
    uint64_t redist_base, redist_stride; /* version 3: one for each CPU, in a row */
    uint64_t its_base, its_size;         /* if there is one */
};

struct board {
    uint64_t ram_base, ram_size; /* bytes; a PC has a hole in it, of which the layout tells */
    uint32_t cpu_count;
    uint64_t *cpu_ids; /* cpu_count of them: APIC IDs, or MPIDR affinity fields */
    bool has_pci;
    unsigned pci_slot_count; /* used ones, from slot 0 (the bridge) on */
    uint64_t ecam_base;
    uint64_t pci32_base, pci32_size; /* window for BARs */
    uint32_t intx_gsi;               /* the first of four, level-triggered, active high */
    struct board_chip serial;        /* 16550A */
    struct board_chip rtc;           /* MC146818 on a PC, PL031 on Arm */
    struct board_chip pvpanic;
    struct board_virtio_mmio virtio_mmio[BOARD_MAX_VIRTIO_MMIO];
    size_t virtio_mmio_count;

    /* A PC's. */
    struct board_chip acpi_registers; /* of acpi_registers_create(), level-triggered */
    uint64_t reset_port;              /* the reset control register: write 6 */

    /* An Arm machine's. */
    struct board_gic gic;
    struct board_chip gpio;   /* PL061, ... */
    unsigned gpio_power_line; /* ... of which this line is the power button */
    bool has_pmu;             /* the CPUs count their events (PMUv3) */
    uint64_t page_sizes;      /* that their address translation has, ORed; 0: not known */
};
