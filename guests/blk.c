// SPDX-License-Identifier: Apache-2.0
/* A driver's view of a disk: identity, reading, writing, flushing, and the ends of the disk.
 *
 * The disk has `sectors=` sectors, each of which starts with its number as 8 bytes. */
#include "lib/apic.h"
#include "lib/virtio.h"

enum { SECTOR = 512, VECTOR = 0x44 };

static struct ring ring;
static uint8_t buffer[8 * SECTOR] __attribute__((aligned(16)));
static struct virtio disk;

static uint64_t word(unsigned sector)
{
    return *(uint64_t *)(buffer + sector * SECTOR);
}

static int request(uint32_t type, uint64_t sector, uint32_t len)
{
    return blk_request(&disk, &ring, type, sector, buffer, len);
}

static void identify(const char *serial, uint64_t sectors)
{
    check(read64(disk.config) == sectors, "the disk tells its size");
    memset(buffer, 0xee, 32);
    check(request(VIRTIO_BLK_T_GET_ID, 0, 20) == VIRTIO_BLK_S_OK, "GET_ID is answered");
    check(strcmp((char *)buffer, serial) == 0, "the serial number is the one given");
    check(buffer[20] == 0xee, "nothing is written behind it");
}

static void read_and_write(uint64_t sectors)
{
    check(request(VIRTIO_BLK_T_IN, 0, 2 * SECTOR) == VIRTIO_BLK_S_OK, "two sectors are read");
    check(word(0) == 0 && word(1) == 1, "they are the first two");
    check(request(VIRTIO_BLK_T_IN, sectors - 1, SECTOR) == VIRTIO_BLK_S_OK &&
              word(0) == sectors - 1,
          "the last sector is read");
    memset(buffer, 0x5a, SECTOR);
    check(request(VIRTIO_BLK_T_OUT, 3, SECTOR) == VIRTIO_BLK_S_OK, "a sector is written");
    check(request(VIRTIO_BLK_T_FLUSH, 0, 0) == VIRTIO_BLK_S_OK, "a flush is answered");
    memset(buffer, 0, SECTOR);
    check(request(VIRTIO_BLK_T_IN, 3, SECTOR) == VIRTIO_BLK_S_OK &&
              word(0) == UINT64_C(0x5a5a5a5a5a5a5a5a),
          "what was written is read");
}

static void go_wrong(uint64_t sectors)
{
    check(request(VIRTIO_BLK_T_IN, sectors, SECTOR) == VIRTIO_BLK_S_IOERR,
          "a read past the end fails");
    check(request(VIRTIO_BLK_T_IN, sectors - 1, 2 * SECTOR) == VIRTIO_BLK_S_IOERR,
          "a read across the end fails");
    check(request(VIRTIO_BLK_T_OUT, UINT64_MAX, SECTOR) == VIRTIO_BLK_S_IOERR,
          "a write to the largest sector number fails");
    check(request(VIRTIO_BLK_T_IN, 0, SECTOR - 1) == VIRTIO_BLK_S_IOERR,
          "half a sector cannot be read");
    check(request(0x1234, 0, SECTOR) == VIRTIO_BLK_S_UNSUPP, "an unknown request is unsupported");
}

static void interrupt(void)
{
    if (disk.is_mmio) {
        check(read32(disk.isr) & 1, "the interrupt status tells of a used buffer");
        return;
    }
    apic_enable();
    virtio_set_vector(&disk, 1, VECTOR);
    check(virtio_use_vector(&disk, 0, 1), "the queue takes an MSI-X vector");
    check(!apic_is_pending(VECTOR), "no interrupt before a request");
    (void)request(VIRTIO_BLK_T_IN, 0, SECTOR);
    check(wait_until(apic_is_pending(VECTOR)), "a request ends with the interrupt");
}

void guest_main(const char *cmdline)
{
    uint64_t sectors = option_number(cmdline, "sectors", 16);
    char serial[21];

    option(cmdline, "serial", serial, sizeof(serial));
    if (!virtio_find(&disk, VIRTIO_ID_BLOCK, 0))
        give_up("there is a disk");
    check(virtio_bring_up(&disk, FEATURE(VIRTIO_BLK_F_FLUSH), &ring), "the disk comes up");
    identify(serial, sectors);
    read_and_write(sectors);
    go_wrong(sectors);
    interrupt();
    check(virtio_reset(&disk), "the disk is reset");
    check(virtio_bring_up(&disk, 0, &ring) && request(VIRTIO_BLK_T_IN, 1, SECTOR) == 0 &&
              word(0) == 1,
          "and comes up again");
}
