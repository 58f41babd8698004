// SPDX-License-Identifier: Apache-2.0
/* Capabilities and BARs of PCI functions. */
#include "pci.h"

enum { MAX_CAPABILITIES = 48 };

unsigned pci_find_capability(unsigned slot, uint8_t id, unsigned after)
{
    unsigned at = pci_read8(slot, after ? after + 1 : PCI_CAPABILITY_LIST);

    for (unsigned i = 0; at && i < MAX_CAPABILITIES; i++) {
        if (pci_read8(slot, at) == id)
            return at;
        at = pci_read8(slot, at + 1);
    }
    return 0;
}

uint64_t pci_bar(unsigned slot, unsigned bar)
{
    unsigned offset = PCI_BASE_ADDRESS_0 + 4 * bar;
    uint32_t low = pci_read32(slot, offset);
    uint64_t address = low & ~0xfu;

    if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64)
        address |= (uint64_t)pci_read32(slot, offset + 4) << 32;
    return address;
}

void pci_set_bar(unsigned slot, unsigned bar, uint32_t address)
{
    pci_write32(slot, PCI_BASE_ADDRESS_0 + 4 * bar, address);
}

void pci_decode(unsigned slot, bool on)
{
    uint16_t command = pci_read16(slot, PCI_COMMAND) & ~PCI_COMMAND_MEMORY;

    pci_write16(slot, PCI_COMMAND, command | PCI_COMMAND_MASTER | (on ? PCI_COMMAND_MEMORY : 0));
}
