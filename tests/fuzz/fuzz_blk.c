// SPDX-License-Identifier: Apache-2.0
/* Chains of a hostile driver, through a virtqueue and virtio-blk to a file in memory.
 *
 * The input is what the driver writes: a byte of choices, then the descriptors in a short form,
 * then bytes for the headers and tables that they point to. Each round gets a device of its own
 * and runs until nothing is under way. */
#include <endian.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/loop.h"
#include "virtio/blk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RAM_SIZE = 256 * 1024,
    RING_SIZE = 32,
    DESC_AT = 0,
    AVAIL_AT = 0x400,
    USED_AT = 0x600,
    FREE_AT = 0x1000, /* where the rest of the input goes */
    DISK_SIZE = 128 * 1024,
};

/* Bits of the first byte of the input. */
enum {
    CHOICE_THREADS = 1,
    CHOICE_READ_ONLY = 2,
    CHOICE_WRITETHROUGH = 4,
    CHOICE_EVENT_IDX = 8,
    CHOICE_RESET = 16, /* while requests are under way */
    CHOICE_NO_CACHE = 32,
    CHOICE_URING = 64, /* where the host lets us */
};

/* A descriptor as the input has it. */
struct short_desc {
    uint16_t addr, len; /* in units of @unit bytes */
    uint8_t unit;       /* as a power of two, up to 31 */
    uint8_t flags;
    uint8_t next;
    uint8_t avail; /* what the available ring has at the same index */
};

struct machine {
    struct guest_mem *mem;
    struct loop *loop;
    struct loop_source *tick;
    struct block_backend *backend;
    struct virtio_dev *vdev;
};

static void check(int err)
{
    if (err) {
        fprintf(stderr, "fuzz_blk: cannot set up: %s\n", strerror(-err));
        exit(1);
    }
}

static int make_image(void)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, DISK_SIZE) < 0)
        check(-1);
    return fd;
}

static void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

static void run(struct machine *machine, uint64_t ns)
{
    check(loop_set_timer(machine->tick, ns));
    check(loop_run(machine->loop));
}

static void build(struct machine *machine, int image, unsigned choices)
{
    char path[64];
    struct block_file_params file = {
        .path = path,
        .read_only = choices & CHOICE_READ_ONLY,
        .cache = choices & CHOICE_NO_CACHE ? BLOCK_CACHE_UNSAFE : BLOCK_CACHE_WRITEBACK,
        .engine = choices & CHOICE_THREADS ? BLOCK_ENGINE_THREADS
                  : choices & CHOICE_URING ? BLOCK_ENGINE_URING
                                           : BLOCK_ENGINE_AUTO,
    };
    struct blk_params params = { .name = "disk", .serial = "serial", .queue_count = 1 };

    snprintf(path, sizeof(path), "/proc/self/fd/%d", image);
    check(guest_mem_create(GUEST_MEM_PRIVATE, &machine->mem));
    check(guest_mem_add(machine->mem, 0, RAM_SIZE));
    check(loop_create(&machine->loop));
    check(loop_add_timer(machine->loop, NULL, stop_loop, machine->loop, &machine->tick));
    machine->backend = NULL;
    if (file.engine == BLOCK_ENGINE_URING && block_file_open(&file, &machine->backend))
        file.engine = BLOCK_ENGINE_AUTO;
    if (!machine->backend)
        check(block_file_open(&file, &machine->backend));
    params.backend = machine->backend;
    params.mem = machine->mem;
    params.loop = machine->loop;
    check(blk_create(&params, &machine->vdev));
}

static void demolish(struct machine *machine)
{
    virtio_dev_destroy(machine->vdev);
    block_backend_destroy(machine->backend);
    loop_destroy(machine->loop);
    guest_mem_destroy(machine->mem);
}

/* Writes the rings. Returns how much of the input it took. */
static size_t write_rings(uint8_t *ram, const uint8_t *data, size_t size)
{
    struct vring_desc *desc = (struct vring_desc *)(void *)(ram + DESC_AT);
    struct vring_avail *avail = (struct vring_avail *)(void *)(ram + AVAIL_AT);
    uint16_t count = 0;
    struct short_desc in;

    for (; count < RING_SIZE && (count + 1) * sizeof(in) <= size; count++) {
        memcpy(&in, data + count * sizeof(in), sizeof(in));
        desc[count].addr = htole64((uint64_t)in.addr << (in.unit % 32));
        desc[count].len = htole32((uint32_t)in.len << (in.unit % 32 / 2));
        desc[count].flags = htole16(in.flags % 8);
        desc[count].next = htole16(in.next);
        avail->ring[count] = htole16(in.avail);
    }
    avail->idx = htole16(count);
    return count * sizeof(in);
}

static void start(struct virtio_dev *vdev, unsigned choices)
{
    uint64_t features = vdev->device_features;
    struct virtqueue *vq;

    if (choices & CHOICE_WRITETHROUGH)
        features &= ~(UINT64_C(1) << VIRTIO_BLK_F_FLUSH);
    if (!(choices & CHOICE_EVENT_IDX))
        features &= ~(UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX);
    virtio_dev_write_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    virtio_dev_write_features(vdev, 0, (uint32_t)features);
    virtio_dev_write_features(vdev, 1, (uint32_t)(features >> 32));
    virtio_dev_write_status(vdev, vdev->state.status | VIRTIO_CONFIG_S_FEATURES_OK);
    vq = virtio_dev_writable_queue(vdev, 0);
    if (!vq)
        check(-1);
    vq->state.size = RING_SIZE;
    vq->state.desc = DESC_AT;
    vq->state.avail = AVAIL_AT;
    vq->state.used = USED_AT;
    virtio_dev_enable_queue(vdev, 0);
    virtio_dev_write_status(vdev, vdev->state.status | VIRTIO_CONFIG_S_DRIVER_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int image = -1;
    struct machine machine;

    if (size < 1 + sizeof(struct short_desc))
        return 0;
    if (image < 0)
        image = make_image();

    unsigned choices = *data++;
    size_t taken;

    size--;
    build(&machine, image, choices);
    uint8_t *ram = guest_mem_at(machine.mem, 0, RAM_SIZE);
    taken = write_rings(ram, data, size);
    size = size - taken < RAM_SIZE - FREE_AT ? size - taken : RAM_SIZE - FREE_AT;
    memcpy(ram + FREE_AT, data + taken, size);
    start(machine.vdev, choices);

    run(&machine, 0);
    if (choices & CHOICE_RESET)
        virtio_dev_write_status(machine.vdev, 0);
    for (unsigned ms = 0; machine.vdev->requests_in_flight > 0; ms++) {
        if (ms == 4000)
            abort(); /* a request was lost */
        run(&machine, 1000000);
    }
    demolish(&machine);
    return 0;
}
