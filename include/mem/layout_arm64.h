// SPDX-License-Identifier: Apache-2.0
/* The address space of an arm64 machine.
 *
 *   0x0800_0000 .. 64 KiB    GIC distributor
 *   0x0801_0000 .. 8 KiB     GICv2 CPU interface
 *   0x0808_0000 .. 128 KiB   GICv3 ITS
 *   0x0900_0000 ..           serial port, RTC, GPIO, pvpanic, debug exit: 64 KiB each
 *   0x0a00_0000 ..           virtio-mmio slots, 4 KiB each
 *   0x0b00_0000 .. 64 KiB    where KVM tells each CPU how much time was stolen from it
 *   0x1000_0000 .. 512 MiB   32-bit window for PCI BARs
 *   0x3000_0000 .. 1 MiB     PCI configuration space (ECAM), bus 0
 *   0x4000_0000 .. 64 MiB    GICv3 redistributors, 128 KiB for each of up to 512 CPUs
 *   0x8000_0000 ..           RAM, in one piece
 *
 * Chips lie 64 KiB apart, so that a host or a guest with pages of 64 KiB can tell them apart.
 * Interrupt numbers (GSIs) are shared peripheral interrupts from 0 on: SPI n is INTID 32 + n. */
#pragma once

#define LAYOUT_GIC_DIST_BASE UINT64_C(0x08000000)
#define LAYOUT_GIC_DIST_SIZE (64 * KIB)
#define LAYOUT_GIC_CPU_BASE UINT64_C(0x08010000) /* GICv2 only */
#define LAYOUT_GIC_CPU_SIZE (8 * KIB)
#define LAYOUT_GIC_ITS_BASE UINT64_C(0x08080000) /* GICv3 only, as what follows */
#define LAYOUT_GIC_ITS_SIZE (128 * KIB)
#define LAYOUT_GIC_REDIST_BASE UINT64_C(0x40000000)
#define LAYOUT_GIC_REDIST_STRIDE (128 * KIB)
#define LAYOUT_GIC_REDIST_MAX 512

#define LAYOUT_SERIAL UINT64_C(0x09000000)
#define LAYOUT_RTC UINT64_C(0x09010000)
#define LAYOUT_GPIO UINT64_C(0x09020000)
#define LAYOUT_PVPANIC UINT64_C(0x09030000)
#define LAYOUT_DEBUG_EXIT UINT64_C(0x09040000)
#define LAYOUT_CHIP_SIZE (4 * KIB) /* of the PrimeCells: RTC and GPIO */

#define LAYOUT_VIRTIO_MMIO_BASE UINT64_C(0x0a000000)
#define LAYOUT_VIRTIO_MMIO_STRIDE UINT64_C(0x1000)
#define LAYOUT_VIRTIO_MMIO_SIZE UINT64_C(0x200)
#define LAYOUT_VIRTIO_MMIO_MAX 24
#define LAYOUT_VIRTIO_MMIO_BY_CMDLINE false /* they are in the device tree */
#define LAYOUT_HAS_MSI false                /* a GICv2 takes none */

/* 64 bytes for each CPU (Arm DEN0057), in a whole page of any host. */
#define LAYOUT_STOLEN_TIME_BASE UINT64_C(0x0b000000)
#define LAYOUT_STOLEN_TIME_SIZE (64 * KIB)
#define LAYOUT_STOLEN_TIME_STRIDE 64

#define LAYOUT_PCI32_BASE UINT64_C(0x10000000)
#define LAYOUT_PCI32_SIZE (512 * MIB)
#define LAYOUT_ECAM_BASE UINT64_C(0x30000000)
#define LAYOUT_ECAM_SIZE (1 * MIB)
#define LAYOUT_PORT_PCI_CONFIG 0 /* there are no ports */

#define LAYOUT_RAM_BASE UINT64_C(0x80000000)

/* COMMAND_LINE_SIZE of Linux on arm64, with its NUL. */
#define LAYOUT_CMDLINE_MAX UINT64_C(2048)

/* Shared peripheral interrupts. */
#define LAYOUT_GSI_SERIAL 0
#define LAYOUT_GSI_RTC 1
#define LAYOUT_GSI_GPIO 2
#define LAYOUT_GSI_PCI_INTX 4 /* four of them: slot and pin share them in turn */
#define LAYOUT_GSI_VIRTIO_MMIO 8
#define LAYOUT_GSI_COUNT 32

/* The line of the GPIO chip that is the power button. */
#define LAYOUT_GPIO_POWER 3
