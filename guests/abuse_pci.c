// SPDX-License-Identifier: Apache-2.0
/* Does to PCI, to MSI-X and to a virtio device's registers what no driver would: BARs on RAM, on
 * configuration space, on each other; garbage in every register; vectors that lead nowhere. RAM
 * must stay as it is, and the disk must work when its BAR is put back. */
#include <linux/virtio_pci.h>

#include "lib/apic.h"
#include "lib/virtio.h"

enum { SECTOR = 512, CONFIG_SIZE = 256, ECAM_FUNCTION_SIZE = 4096, STORM = 100, VECTOR = 0x45 };

static struct ring ring;
static struct virtio disk, rng;
static uint8_t data[SECTOR];
static volatile uint64_t canary[512] __attribute__((aligned(4096)));
static uint8_t saved[PCI_SLOTS][CONFIG_SIZE];

static bool works(void)
{
    memset(data, 0xff, 8);
    return blk_request(&disk, &ring, VIRTIO_BLK_T_IN, 9, data, SECTOR) == VIRTIO_BLK_S_OK &&
           *(uint64_t *)data == 9;
}

static bool works_after_reset(void)
{
    return virtio_bring_up(&disk, 0, &ring) && works();
}

static void go_home(uint64_t home)
{
    pci_decode(disk.slot, false);
    pci_set_bar(disk.slot, 0, (uint32_t)home);
    pci_decode(disk.slot, true);
    virtio_locate(&disk);
}

static bool canary_lives(void)
{
    for (unsigned i = 0; i < sizeof(canary) / sizeof(canary[0]); i++) {
        if (canary[i] != i * UINT64_C(0x0101010101010101))
            return false;
    }
    return true;
}

static void abuse_bar(void)
{
    uint64_t home = disk.bar;
    const struct {
        uint64_t address;
        const char *claim;
    } places[] = {
        { (uint64_t)canary & ~0x3fffu, "a BAR on RAM leaves RAM as it is" },
        { 0, "a BAR at 0 is survived" },
        { ECAM_BASE, "a BAR on configuration space is survived" },
        { 0xfec00000, "a BAR on the I/O APIC is survived" },
        { 0xfee00000, "a BAR on the local APIC is survived" },
        { 0xffffc000, "a BAR at the end of 4 GiB is survived" },
        { rng.bar, "a BAR on another BAR is survived" },
    };

    for (unsigned i = 0; i < sizeof(canary) / sizeof(canary[0]); i++)
        canary[i] = i * UINT64_C(0x0101010101010101);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        pci_set_bar(disk.slot, 0, (uint32_t)places[i].address);
        bool lives = canary_lives();
        bool answers = pci_read16(0, PCI_VENDOR_ID) != 0xffff &&
                       pci_read16(disk.slot, PCI_VENDOR_ID) == 0x1af4;
        go_home(home);
        check(lives && answers && works(), places[i].claim);
    }
    check(virtio_bring_up(&rng, 0, &ring), "the other device works, too");
    check(works_after_reset(), "and the disk after it");
    for (unsigned i = 0; i < STORM; i++)
        pci_decode(disk.slot, i & 1);
    go_home(home);
    check(works(), "decoding switched on and off quickly is survived");
}

/* Every byte of every function, by every size, with all ones and zeroes; BARs are put back. */
static void abuse_config_space(void)
{
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        bool exists = pci_read16(slot, PCI_VENDOR_ID) != 0xffff;

        for (unsigned at = 0; exists && at < CONFIG_SIZE; at++)
            saved[slot][at] = pci_read8(slot, at);
        for (unsigned at = 0; exists && at < CONFIG_SIZE; at += 4) {
            pci_write32(slot, at, UINT32_MAX);
            pci_write16(slot, at + 1, 0x5aa5);
            pci_write8(slot, at + 3, 0);
            pci_write32(slot, at, 0);
        }
        (void)pci_read32(slot, ECAM_FUNCTION_SIZE - 4);
        (void)read64(pci_address(slot, CONFIG_SIZE - 2));
        pci_write32(slot, ECAM_FUNCTION_SIZE - 4, UINT32_MAX);
        write64(pci_address(slot, CONFIG_SIZE - 4), UINT64_MAX);
        check(!exists || pci_read16(slot, PCI_VENDOR_ID) == *(uint16_t *)saved[slot],
              "a function stays what it is");
        for (unsigned at = 0; exists && at < CONFIG_SIZE; at += 4)
            pci_write32(slot, at, *(uint32_t *)(saved[slot] + at));
    }
    virtio_locate(&disk);
    check(works_after_reset(), "the disk works after garbage in configuration space");
}

static void abuse_config_ports(void)
{
    for (unsigned i = 0; i < 64; i++) {
        out32(0xcf8, 0x80000000u | i * 0x01234567u);
        (void)in32(0xcfc);
        (void)in16(0xcfd);
        (void)in8(0xcff);
    }
    out8(0xcf8, 0xff);
    out32(0xcf8, 0);
    out32(0xcfc, UINT32_MAX);
    check(in32(0xcfc) == UINT32_MAX, "the configuration ports off read as all ones");
    out32(0xcf8, 0x80000000u | disk.slot << 11);
    check(in16(0xcfc) == 0x1af4, "and on show the disk");
    out32(0xcf8, 0);
}

/* Reads and writes of every size all over the BAR. */
static void abuse_registers(void)
{
    (void)virtio_negotiate(&disk, 0);
    for (unsigned at = 0; at < 0x4000; at += at < 0x80 ? 1 : 61) {
        (void)read8(disk.bar + at);
        (void)read16(disk.bar + at);
        (void)read32(disk.bar + at);
        (void)read64(disk.bar + at);
        write64(disk.bar + at, UINT64_MAX);
        write32(disk.bar + at, 0x80000001);
        write16(disk.bar + at, 0x4321);
        write8(disk.bar + at, 0xfe);
    }
    write32(disk.config + 0x100000 - 0x200, 1);
    check(works_after_reset(), "garbage in every register is survived");
}

static void abuse_selectors(void)
{
    write16(disk.common + VIRTIO_PCI_COMMON_Q_SELECT, 0xffff);
    check(read16(disk.common + VIRTIO_PCI_COMMON_Q_SIZE) == 0, "a queue that is not has no size");
    write16(disk.common + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
    write32(disk.common + VIRTIO_PCI_COMMON_DFSELECT, UINT32_MAX);
    check(read32(disk.common + VIRTIO_PCI_COMMON_DF) == 0, "features past the last are 0");
    check(!virtio_use_vector(&disk, 0, 0x7ff), "a vector past the table is not taken");
    check(read16(disk.common + VIRTIO_PCI_COMMON_Q_MSIX) == 0xffff, "and reads back as none");
    check(works_after_reset(), "the disk works after that");
}

static void abuse_vectors(void)
{
    static const struct {
        uint32_t low, high, data;
    } messages[] = {
        { 0, 0, 0 },
        { UINT32_MAX, UINT32_MAX, UINT32_MAX },
        { 0x1000, 0, 0x41 },
        { 0xfee00000, UINT32_MAX, 0x41 },
        { 0xfeefffff, 0, 0xffff },
        { 0xe0000000, 0, 0 },
    };
    uint64_t entry = disk.msix_table + PCI_MSIX_ENTRY_SIZE;
    bool all_worked = true;

    check(virtio_use_vector(&disk, 0, 1), "a vector of the table is taken");
    for (unsigned i = 0; i < STORM; i++) {
        const unsigned which = i % (sizeof(messages) / sizeof(messages[0]));

        write32(entry, messages[which].low);
        write32(entry + 4, messages[which].high);
        write32(entry + 8, messages[which].data & ~0x700u); /* no INIT, no NMI: it is us */
        write32(entry + 12, i & 8 ? 1 : 0);
        if (i % 8 == 0)
            all_worked = all_worked && works();
    }
    check(all_worked, "messages that lead nowhere are survived");
    write32(disk.msix_table + 0x1000, UINT32_MAX); /* pending bits: read-only */
    write64(disk.msix_table + 0xff8, UINT64_MAX);

    apic_enable();
    virtio_set_vector(&disk, 1, VECTOR);
    check(works() && wait_until(apic_is_pending(VECTOR)), "a proper message arrives after them");
}

static void abuse_pending(void)
{
    uint64_t control = disk.msix_table + PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;

    virtio_set_vector(&disk, 1, VECTOR + 1);
    write32(control, PCI_MSIX_ENTRY_CTRL_MASKBIT);
    check(works() && !apic_is_pending(VECTOR + 1), "a masked vector sends nothing");
    for (uint64_t end = deadline(5); ticks() < end;)
        relax();
    write32(control, 0);
    check(wait_until(apic_is_pending(VECTOR + 1)), "what was pending is sent when unmasked");
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    interrupts_disable();
    if (!virtio_find(&disk, VIRTIO_ID_BLOCK, 0) || !virtio_find(&rng, VIRTIO_ID_RNG, 0) ||
        disk.is_mmio)
        give_up("there are a disk and an entropy device on PCI");
    check(works_after_reset(), "the disk works");
    abuse_bar();
    abuse_config_space();
    abuse_config_ports();
    abuse_registers();
    abuse_selectors();
    abuse_vectors();
    abuse_pending();
}
