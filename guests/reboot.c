// SPDX-License-Identifier: Apache-2.0
/* Reboots `lives=` times over, each time with requests to its disk under way, and checks in every
 * life that it finds the disk as new, and on it what the life before has flushed.
 *
 * Sector 0 of the disk counts the lives; the others are as in blk.c. */
#include "lib/virtio.h"

enum { SECTOR = 512, PORT_RESET_CONTROL = 0xcf9, REQUESTS = RING_SIZE / 3, LARGE = 128 * SECTOR };

static struct ring ring;
static struct virtio disk;
static uint8_t buffer[SECTOR] __attribute__((aligned(16)));
static uint8_t large[REQUESTS][LARGE] __attribute__((aligned(16)));
static struct virtio_blk_outhdr headers[REQUESTS];
static uint8_t statuses[REQUESTS];

static bool transfer(uint32_t type, uint64_t sector)
{
    return blk_request(&disk, &ring, type, sector, buffer, SECTOR) == VIRTIO_BLK_S_OK;
}

/* Has a lot read, and waits for nothing. */
static void leave_requests(void)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        uint16_t at = (uint16_t)(3 * i);

        headers[i] = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
        ring_set(&ring, at, &headers[i], sizeof(headers[i]), VRING_DESC_F_NEXT, at + 1);
        ring_set(&ring, at + 1, large[i], LARGE, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, at + 2);
        ring_set(&ring, at + 2, &statuses[i], 1, VRING_DESC_F_WRITE, 0);
        ring_offer(&ring, at);
    }
    virtio_notify(&disk, 0);
}

void guest_main(const char *cmdline)
{
    uint64_t sectors = option_number(cmdline, "sectors", 0);
    uint64_t lives = option_number(cmdline, "lives", 3), *life = (uint64_t *)buffer;

    if (!virtio_find(&disk, VIRTIO_ID_BLOCK, 0))
        give_up("there is a disk");
    check(virtio_status(&disk) == 0, "the disk is as after power-on");
    check(virtio_bring_up(&disk, FEATURE(VIRTIO_BLK_F_FLUSH), &ring), "the disk comes up");
    check(transfer(VIRTIO_BLK_T_IN, sectors - 1) && *life == sectors - 1, "it has its content");
    check(transfer(VIRTIO_BLK_T_IN, 0), "the lives are counted");
    say("life %lu\n", *life);
    if (++*life == lives)
        finish();
    check(transfer(VIRTIO_BLK_T_OUT, 0), "the count goes up");
    check(transfer(VIRTIO_BLK_T_FLUSH, 0), "and is flushed");
    leave_requests();
    out8(PORT_RESET_CONTROL, 6);
    halt_for_ever();
}
