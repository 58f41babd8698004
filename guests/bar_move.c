// SPDX-License-Identifier: Apache-2.0
/* Moves the disk's BAR about, as an operating system may, while the disk is in use: by the same
 * CPU, and by another one if there is one. */
#include <linux/virtio_pci.h>

#include "lib/apic.h"
#include "lib/virtio.h"

#define WINDOW_BASE UINT32_C(0xc0000000)
enum { SECTOR = 512, MOVES = 16, MIB = 1 << 20 };
enum { STATUS_OFFSET = VIRTIO_PCI_COMMON_STATUS, RUNNING = 0xf };

static struct ring ring;
static struct virtio disk;
static uint8_t buffer[SECTOR];
static uint64_t common, notify; /* where they are in the BAR */
static volatile uint64_t near, far, accesses, surprises;
static volatile uint8_t is_over, is_gone;

static bool disk_works(void)
{
    memset(buffer, 0xff, 8);
    return blk_request(&disk, &ring, VIRTIO_BLK_T_IN, 5, buffer, SECTOR) == VIRTIO_BLK_S_OK &&
           *(uint64_t *)buffer == 5;
}

static uint32_t bar_size(void)
{
    uint32_t address = (uint32_t)disk.bar;

    pci_decode(disk.slot, false);
    pci_set_bar(disk.slot, 0, UINT32_MAX);
    uint32_t size = ~(uint32_t)pci_bar(disk.slot, 0) + 1;
    pci_set_bar(disk.slot, 0, address);
    pci_decode(disk.slot, true);
    return size;
}

/* To @address, with decoding off meanwhile, as is proper, or on. */
static void move(uint32_t address, bool keep_decoding)
{
    pci_decode(disk.slot, keep_decoding);
    pci_set_bar(disk.slot, 0, address);
    pci_decode(disk.slot, true);
    virtio_locate(&disk);
}

static void wander(bool keep_decoding, const char *claim)
{
    bool all_worked = true;

    for (unsigned i = 0; i < MOVES; i++) {
        move(WINDOW_BASE + (i * 37 % 400 + 64) * MIB, keep_decoding);
        all_worked = all_worked && disk_works();
    }
    check(all_worked, claim);
}

/* The other CPU reads the disk's status at both places, and rings its doorbell, as fast as it
 * can. It may find the disk there or nothing. */
static void hammer(unsigned n)
{
    (void)n;
    for (; !is_over; accesses++) {
        uint64_t place = accesses & 1 ? near : far;
        uint8_t status = read8(place);

        if (status != 0xff && status != RUNNING)
            surprises++;
        write16(place - STATUS_OFFSET - common + notify, 0);
    }
    is_gone = true;
    halt_for_ever();
}

static void move_under_fire(uint64_t home)
{
    common = disk.common - disk.bar;
    notify = disk.notify - disk.bar;
    near = home + common + STATUS_OFFSET;
    far = near + 256 * MIB;
    start_cpus(hammer);
    check(wait_until(accesses > 0), "the other CPU uses the disk");
    for (unsigned i = 0; i < MOVES; i++)
        move((uint32_t)home + (i & 1 ? 0 : 256 * MIB), i & 2);
    is_over = true;
    check(wait_until(is_gone), "the other CPU comes to its end");
    check(surprises == 0, "it saw the disk or nothing");
    check(disk_works(), "the disk works after that");
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    if (!virtio_find(&disk, VIRTIO_ID_BLOCK, 0) || disk.is_mmio)
        give_up("there is a disk on PCI");
    check(virtio_bring_up(&disk, 0, &ring) && disk_works(), "the disk works where it was placed");

    uint64_t home = disk.bar;
    uint32_t size = bar_size();
    check(size >= 4096 && !(size & (size - 1)), "the BAR tells its size, a power of two");
    check(disk_works(), "the disk works after that");

    move((uint32_t)home + 256 * MIB, false);
    check(disk.bar == home + 256 * MIB && disk_works(), "the disk works at another place");
    check(read32(home) == UINT32_MAX, "nothing answers where it was");

    wander(false, "it works wherever it is moved");
    wander(true, "it works wherever it is moved while it decodes");

    pci_decode(disk.slot, false);
    check(read32(disk.bar) == UINT32_MAX, "with decoding off nothing answers");
    virtio_notify(&disk, 0);
    pci_decode(disk.slot, true);
    check(disk_works(), "with decoding on again the disk works");
    move((uint32_t)home, false);
    check(disk_works(), "the disk works back at home");
    apic_enable();
    if (cpu_count() == 2)
        move_under_fire(home);
}
