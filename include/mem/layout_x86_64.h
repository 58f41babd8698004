// SPDX-License-Identifier: Apache-2.0
/* The address space of an x86-64 machine.
 *
 *   0 .. 3 GiB                RAM, as much of it as there is
 *   0xc000_0000 .. 512 MiB    32-bit window for PCI BARs
 *   0xe000_0000 .. 1 MiB      PCI configuration space (ECAM), bus 0
 *   0xfea0_0000 ..            virtio-mmio slots, one page each
 *   0xfec0_0000, 0xfee0_0000  I/O APIC, local APICs (in the kernel)
 *   0xfffb_c000 .. 16 KiB     KVM's identity map and TSS pages on Intel hosts
 *   4 GiB ..                  the rest of the RAM
 *
 * In the first MiB the loader puts what the guest reads at its start: GDT, page tables, boot
 * parameters, command line; the ACPI tables lie in the classic BIOS area, where a kernel looks
 * for the RSDP even if nobody told it, and so does the MP table, in the upper half of that area. */
#pragma once

#define LAYOUT_RAM_LOW_MAX (3 * GIB)
#define LAYOUT_RAM_HIGH (4 * GIB)
#define LAYOUT_PCI32_BASE UINT64_C(0xc0000000)
#define LAYOUT_PCI32_SIZE (512 * MIB)
#define LAYOUT_ECAM_BASE UINT64_C(0xe0000000)
#define LAYOUT_ECAM_SIZE (1 * MIB)
#define LAYOUT_VIRTIO_MMIO_BASE UINT64_C(0xfea00000)
#define LAYOUT_VIRTIO_MMIO_STRIDE UINT64_C(0x1000)
#define LAYOUT_VIRTIO_MMIO_SIZE UINT64_C(0x200)
#define LAYOUT_IOAPIC_BASE UINT64_C(0xfec00000)
#define LAYOUT_LAPIC_BASE UINT64_C(0xfee00000)
#define LAYOUT_KVM_IDENTITY_MAP UINT64_C(0xfffbc000)
#define LAYOUT_KVM_TSS UINT64_C(0xfffbd000)

/* The first MiB. */
#define LAYOUT_GDT UINT64_C(0x500)
#define LAYOUT_PVH_START_INFO UINT64_C(0x6000)
#define LAYOUT_BOOT_PARAMS UINT64_C(0x7000) /* Linux's zero page */
#define LAYOUT_PAGE_TABLES UINT64_C(0x9000) /* PML4, PDPT, four PDs: the first 4 GiB, identity */
#define LAYOUT_PAGE_TABLES_SIZE UINT64_C(0x6000)
#define LAYOUT_CMDLINE UINT64_C(0x20000)
#define LAYOUT_CMDLINE_MAX UINT64_C(0x10000)
#define LAYOUT_SETUP_DATA UINT64_C(0x30000) /* for Linux: a device tree */
#define LAYOUT_SETUP_DATA_SIZE UINT64_C(0x20000)
#define LAYOUT_LOW_RAM_END UINT64_C(0x9fc00) /* usable RAM below 1 MiB ends here */
#define LAYOUT_ACPI_BASE UINT64_C(0xe0000)
#define LAYOUT_ACPI_SIZE UINT64_C(0x1e000)
#define LAYOUT_MPTABLE_BASE UINT64_C(0xfe000)
#define LAYOUT_MPTABLE_SIZE UINT64_C(0x2000) /* for 255 CPUs and 31 PCI slots */
#define LAYOUT_KERNEL_BASE UINT64_C(0x100000)

/* Port addresses. */
#define LAYOUT_PORT_I8042 0x60 /* data; command at 0x64 */
#define LAYOUT_PORT_RTC 0x70
#define LAYOUT_PORT_DEBUG_EXIT 0xf4
#define LAYOUT_SERIAL 0x3f8 /* COM1 */
#define LAYOUT_PORT_PVPANIC 0x505
#define LAYOUT_PORT_ACPI 0x600 /* sleep control, sleep status, event register */
#define LAYOUT_PORT_PCI_CONFIG 0xcf8
#define LAYOUT_PORT_RESET_CONTROL 0xcf9

/* Global system interrupts (I/O APIC pins 0 to 23). */
#define LAYOUT_GSI_SERIAL 4
#define LAYOUT_GSI_ACPI 9
#define LAYOUT_GSI_PCI_INTX 16 /* four of them: slot and pin share them in turn */
#define LAYOUT_GSI_COUNT 24

/* The most virtio-mmio devices that there are free interrupt pins for. */
#define LAYOUT_VIRTIO_MMIO_MAX 14
/* A guest without ACPI knows of them by nothing else. */
#define LAYOUT_VIRTIO_MMIO_BY_CMDLINE true
#define LAYOUT_HAS_MSI true
