// SPDX-License-Identifier: Apache-2.0
/* Does to a disk's virtqueue what no driver would. After each abuse the disk must be as the
 * specification wants it (needing a reset, or answering), and work again after a reset.
 *
 * `ram=` on the command line is the size of RAM in MiB. */
#include <linux/virtio_pci.h>

#include "lib/virtio.h"

#define ECAM UINT64_C(0xe0000000)
enum { SECTOR = 512, STORM = 300, MIB = 1 << 20 };
enum { NEXT = VRING_DESC_F_NEXT, WRITE = VRING_DESC_F_WRITE, INDIRECT = VRING_DESC_F_INDIRECT };

static struct ring ring __attribute__((aligned(4096)));
static struct vring_desc table[64] __attribute__((aligned(16)));
static struct virtio_blk_outhdr header;
static uint8_t data[SECTOR], status;
static struct virtio disk;
static uint64_t ram_end;

static bool needs_reset(void)
{
    return wait_until(virtio_status(&disk) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static bool works(void)
{
    memset(data, 0xff, 8);
    return blk_request(&disk, &ring, VIRTIO_BLK_T_IN, 7, data, SECTOR) == VIRTIO_BLK_S_OK &&
           *(uint64_t *)data == 7;
}

static bool works_after_reset(void)
{
    return virtio_bring_up(&disk, FEATURE(VIRTIO_RING_F_INDIRECT_DESC), &ring) && works();
}

/* A chain of a header, data and a status, to be spoilt. */
static void prepare(uint32_t type)
{
    header = (struct virtio_blk_outhdr){ .type = type, .sector = 1 };
    status = 0xff;
    ring_set(&ring, 0, &header, sizeof(header), NEXT, 1);
    ring_set(&ring, 1, data, SECTOR, NEXT | (type == VIRTIO_BLK_T_IN ? WRITE : 0), 2);
    ring_set(&ring, 2, &status, 1, WRITE, 0);
}

/* Offers chain 0, which must break the ring. */
static void must_break(const char *what)
{
    ring_offer(&ring, 0);
    virtio_notify(&disk, 0);
    say("# %s\n", what);
    check(needs_reset(), "a broken ring needs a reset");
    check(works_after_reset(), "the disk works after a reset");
}

/* Offers chain 0, which must be answered, with whatever. */
static void must_answer(const char *what)
{
    ring_offer(&ring, 0);
    virtio_notify(&disk, 0);
    say("# %s\n", what);
    check(ring_wait(&ring), "a strange request is answered");
    check(works(), "the disk goes on working");
}

static void abuse_chains(void)
{
    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 1, data, SECTOR, NEXT | WRITE, 1);
    must_break("a descriptor that is its own next");

    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 2, &status, 1, NEXT | WRITE, 0);
    must_break("a chain that is a circle");

    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 1, data, SECTOR, NEXT | WRITE, RING_SIZE);
    must_break("a next index past the ring");

    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 1, data, SECTOR, NEXT | WRITE, 0xffff);
    must_break("the largest next index");

    prepare(VIRTIO_BLK_T_OUT);
    ring_set(&ring, 2, &status, 1, NEXT | WRITE, 3);
    ring_set(&ring, 3, data, 16, 0, 0);
    must_break("a readable buffer behind a writable one");
}

static void abuse_heads(void)
{
    ring_offer(&ring, RING_SIZE);
    virtio_notify(&disk, 0);
    check(needs_reset() && works_after_reset(), "a head past the ring needs a reset");

    ring_offer(&ring, 0xffff);
    virtio_notify(&disk, 0);
    check(needs_reset() && works_after_reset(), "the largest head needs a reset");

    ring.avail.idx += RING_SIZE + 1;
    virtio_notify(&disk, 0);
    check(needs_reset() && works_after_reset(), "more entries than the ring has need a reset");

    ring.avail.idx -= 1;
    virtio_notify(&disk, 0);
    check(needs_reset() && works_after_reset(), "an index that goes back needs a reset");
}

static void abuse_addresses(void)
{
    static const struct {
        uint64_t address;
        uint32_t len;
        const char *what;
    } places[] = {
        { UINT64_C(0xffffffffffffff00), SECTOR, "a buffer that wraps around" },
        { UINT64_C(0xffffffffffffffff), UINT32_MAX, "a buffer at the end of all addresses" },
        { UINT64_C(0xe0000000), SECTOR, "a buffer in PCI configuration space" },
        { UINT64_C(0xfee00000), SECTOR, "a buffer on the local APIC" },
        { UINT64_C(0x0000800000000000), SECTOR, "a buffer far outside RAM" },
        { 0, UINT32_MAX, "a buffer of 4 GiB" },
    };

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        prepare(VIRTIO_BLK_T_IN);
        ring_set(&ring, 1, (void *)places[i].address, places[i].len, NEXT | WRITE, 2);
        must_break(places[i].what);
    }
    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 1, (void *)(ram_end - SECTOR / 2), SECTOR, NEXT | WRITE, 2);
    must_break("a buffer across the end of RAM");

    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 2, (void *)ram_end, 1, WRITE, 0);
    must_break("a status byte just past RAM");
}

static void offer_table(uint64_t address, uint32_t len, uint16_t flags)
{
    ring_set(&ring, 0, (void *)address, len, flags, 1);
}

static void prepare_table(void)
{
    prepare(VIRTIO_BLK_T_IN);
    memcpy(table, ring.desc, 3 * sizeof(table[0]));
}

static void abuse_indirect(void)
{
    prepare_table();
    offer_table((uint64_t)table, 3 * sizeof(table[0]), INDIRECT);
    must_answer("a table as it should be");

    prepare_table();
    offer_table((uint64_t)table, 3 * sizeof(table[0]) + 1, INDIRECT);
    must_break("a table of no whole descriptors");

    prepare_table();
    offer_table((uint64_t)table, 0, INDIRECT);
    must_break("an empty table");

    prepare_table();
    offer_table((uint64_t)table, 3 * sizeof(table[0]), INDIRECT | NEXT);
    must_break("a table with a next descriptor");

    prepare_table();
    memcpy(table + 8, table, 3 * sizeof(table[0])); /* good, but for where it is */
    table[0] = (struct vring_desc){ (uint64_t)(table + 8), 3 * sizeof(table[0]), INDIRECT, 0 };
    offer_table((uint64_t)table, sizeof(table[0]), INDIRECT);
    must_break("a table in a table");

    prepare_table();
    table[1].next = 3;
    offer_table((uint64_t)table, 3 * sizeof(table[0]), INDIRECT);
    must_break("a next index past the table");

    prepare_table();
    table[2].flags |= NEXT;
    offer_table((uint64_t)table, 3 * sizeof(table[0]), INDIRECT);
    must_break("a table that is a circle");

    prepare_table();
    offer_table(ram_end - 16, 32, INDIRECT);
    must_break("a table across the end of RAM");

    prepare_table();
    offer_table(0, UINT32_MAX & ~15u, INDIRECT);
    must_break("a table of 4 GiB");
}

static void abuse_requests(void)
{
    prepare(VIRTIO_BLK_T_IN);
    header.sector = UINT64_MAX;
    must_answer("a sector past all disks");

    prepare(0xffffffff);
    must_answer("a request of no known type");

    prepare(VIRTIO_BLK_T_OUT);
    ring_set(&ring, 0, &header, 3, NEXT, 1);
    must_answer("a header of 3 bytes, continued in the data");

    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 0, &header, 7, NEXT, 2);
    must_answer("half a header");

    prepare(VIRTIO_BLK_T_DISCARD);
    memset(data, 0xff, sizeof(data));
    must_answer("a discard of everything and more");

    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 1, ring.desc, SECTOR, NEXT | WRITE, 2);
    ring_offer(&ring, 0); /* the disk writes over its own ring */
    virtio_notify(&disk, 0);
    (void)ring_wait(&ring);
    check(works_after_reset(), "a ring overwritten by the disk works after a reset");
}

/* No way to answer, so the device may only use the chain up or give up. */
static void abuse_answers(void)
{
    prepare(VIRTIO_BLK_T_IN);
    ring_set(&ring, 0, &header, sizeof(header), 0, 0);
    ring_offer(&ring, 0);
    virtio_notify(&disk, 0);
    check(wait_until(*(volatile uint16_t *)&ring.used.idx != ring.seen ||
                     virtio_status(&disk) & VIRTIO_CONFIG_S_NEEDS_RESET),
          "a request without room for a status comes to an end");
    check(works_after_reset(), "the disk works after that");

    ring_set(&ring, 0, data, 0, 0, 0);
    ring_offer(&ring, 0);
    virtio_notify(&disk, 0);
    (void)virtio_status(&disk);
    check(works_after_reset(), "an empty chain is survived");
}

static void break_queue(uint16_t size, uint64_t desc, uint64_t avail, uint64_t used,
                        const char *claim)
{
    bool was_refused;

    (void)virtio_negotiate(&disk, 0);
    ring_init(&ring);
    virtio_place_queue(&disk, 0, size, desc, avail, used);
    virtio_enable_queue(&disk, 0);
    virtio_start(&disk);
    virtio_notify(&disk, 0);
    was_refused = virtio_status(&disk) & VIRTIO_CONFIG_S_NEEDS_RESET;
    check(was_refused && works_after_reset(), claim);
}

static void abuse_places(void)
{
    uint64_t desc = (uint64_t)ring.desc, avail = (uint64_t)&ring.avail, used = (uint64_t)&ring.used;

    break_queue(0, desc, avail, used, "a queue of size 0 is refused");
    break_queue(3, desc, avail, used, "a queue of size 3 is refused");
    break_queue(0x8000, desc, avail, used, "a queue of size 32768 is refused");
    break_queue(RING_SIZE, desc + 1, avail, used, "a misaligned ring is refused");
    break_queue(RING_SIZE, desc, avail + 1, used, "a misaligned available ring is refused");
    break_queue(RING_SIZE, desc, avail, used + 2, "a misaligned used ring is refused");
    break_queue(RING_SIZE, ECAM, avail, used, "a ring in PCI configuration space is refused");
    break_queue(RING_SIZE, desc, ram_end - 4, used, "a ring across the end of RAM is refused");
    break_queue(RING_SIZE, desc, avail, UINT64_C(0xfffffffffffffffc),
                "a ring that wraps around is refused");
}

static void abuse_status(void)
{
    (void)virtio_reset(&disk);
    virtio_set_status(&disk, VIRTIO_CONFIG_S_DRIVER_OK);
    check(!(virtio_status(&disk) & VIRTIO_CONFIG_S_DRIVER_OK),
          "DRIVER_OK out of order is not taken");
    (void)virtio_reset(&disk);
    virtio_set_status(&disk, 0xff);
    check(works_after_reset(), "all status bits at once are survived");

    (void)virtio_reset(&disk);
    virtio_set_status(&disk, 3);
    virtio_write_features(&disk, UINT64_MAX);
    virtio_set_status(&disk, 11);
    check(!(virtio_status(&disk) & VIRTIO_CONFIG_S_FEATURES_OK),
          "features that were not offered are refused");
    (void)virtio_reset(&disk);
    virtio_set_status(&disk, 3);
    virtio_write_features(&disk, 0);
    virtio_set_status(&disk, 11);
    check(!(virtio_status(&disk) & VIRTIO_CONFIG_S_FEATURES_OK),
          "a driver without VERSION_1 is refused");
    check(works_after_reset(), "the disk works after that");
}

static void abuse_running_queue(void)
{
    struct ring *elsewhere = (struct ring *)0x3000000;

    virtio_place_queue(&disk, 0, 2, (uint64_t)elsewhere, (uint64_t)elsewhere, (uint64_t)elsewhere);
    virtio_write_features(&disk, 0);
    check(works(), "a queue that runs cannot be moved");
    virtio_notify(&disk, 0xffff);
    virtio_notify(&disk, 999);
    check(works(), "a notification for no queue is nothing");
    for (unsigned i = 0; i < STORM; i++)
        virtio_notify(&disk, 0);
    check(works(), "a storm of notifications is survived");
    ring.avail.flags = 0xffff;
    check(works(), "strange flags of the available ring are survived");
}

/* Many requests at once, and a reset or the end of the queue while they are under way. */
static void abuse_reset(void)
{
    bool was_reset = true;

    for (unsigned round = 0; round < 20; round++) {
        prepare(VIRTIO_BLK_T_IN);
        for (unsigned i = 0; i < RING_SIZE; i++)
            ring_offer(&ring, 0);
        virtio_notify(&disk, 0);
        was_reset = was_reset && virtio_reset(&disk);
        was_reset = was_reset && virtio_bring_up(&disk, 0, &ring);
    }
    check(was_reset, "a reset comes to its end with requests under way");
    check(works(), "the disk works after that");
}

static void abuse_before_start(void)
{
    (void)virtio_negotiate(&disk, 0);
    virtio_notify(&disk, 0);
    virtio_set_queue(&disk, 0, &ring);
    prepare(VIRTIO_BLK_T_IN);
    ring_offer(&ring, 0);
    virtio_notify(&disk, 0);
    virtio_notify(&disk, 0);
    for (uint64_t end = deadline(20); ticks() < end;)
        relax();
    check(ring.used.idx == 0, "a device that was not started does nothing");
    virtio_start(&disk);
    virtio_notify(&disk, 0);
    check(ring_wait(&ring), "once started it takes what was there before");
    check(works(), "and works");
}

static void (*const abuses[])(void) = {
    abuse_chains,        abuse_heads,   abuse_addresses,    abuse_indirect,
    abuse_requests,      abuse_answers, abuse_places,       abuse_status,
    abuse_running_queue, abuse_reset,   abuse_before_start,
};

void guest_main(const char *cmdline)
{
    ram_end = option_number(cmdline, "ram", 256) * MIB;
    if (!virtio_find(&disk, VIRTIO_ID_BLOCK, 0))
        give_up("there is a disk");
    check(works_after_reset(), "the disk works");
    for (size_t i = 0; i < sizeof(abuses) / sizeof(abuses[0]); i++)
        abuses[i]();
}
