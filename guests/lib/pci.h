// SPDX-License-Identifier: Apache-2.0
/* PCI functions of bus 0 through ECAM. A slot's function is function 0. */
#pragma once

#include <linux/pci_regs.h>

#include "guest.h"

#define ECAM_BASE UINT64_C(0xe0000000)
enum { PCI_SLOTS = 32 };

static inline uint64_t pci_address(unsigned slot, unsigned offset)
{
    return ECAM_BASE + ((uint64_t)slot << 15) + offset;
}
static inline uint8_t pci_read8(unsigned slot, unsigned offset)
{
    return read8(pci_address(slot, offset));
}
static inline uint16_t pci_read16(unsigned slot, unsigned offset)
{
    return read16(pci_address(slot, offset));
}
static inline uint32_t pci_read32(unsigned slot, unsigned offset)
{
    return read32(pci_address(slot, offset));
}
static inline void pci_write8(unsigned slot, unsigned offset, uint8_t value)
{
    write8(pci_address(slot, offset), value);
}
static inline void pci_write16(unsigned slot, unsigned offset, uint16_t value)
{
    write16(pci_address(slot, offset), value);
}
static inline void pci_write32(unsigned slot, unsigned offset, uint32_t value)
{
    write32(pci_address(slot, offset), value);
}

/* The next capability with ID @id behind @after (0: the first one), or 0. */
unsigned pci_find_capability(unsigned slot, uint8_t id, unsigned after);
/* Where memory BAR @bar points to. */
uint64_t pci_bar(unsigned slot, unsigned bar);
void pci_set_bar(unsigned slot, unsigned bar, uint32_t address);
/* Lets the function answer for its BARs, or not. */
void pci_decode(unsigned slot, bool on);
