// SPDX-License-Identifier: Apache-2.0
/* The disk as a driver sees it: on a real file, and on a back-end that answers when it is told. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "block_harness.h"
#include "host/state.h"
#include "log_capture.h"
#include "virtio/blk.h"
#include "virtio_driver.h"

#define FEATURE(bit) (UINT64_C(1) << (bit))
#define USUAL_FEATURES                                                                             \
    (FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_BLK_F_CONFIG_WCE) |                              \
     FEATURE(VIRTIO_RING_F_INDIRECT_DESC))

enum {
    SECTORS = 2048,
    NO_STATUS = 0xee,      /* what a status byte holds before the device writes it */
    MAX_BUFFERS = 126 + 2, /* of data, as seg_max says, with header and status */
    MAX_HELD = 512,
};

#define SECTOR ((size_t)SECTOR_SIZE)

/* --- a back-end that keeps what it gets until complete() --- */

struct held {
    struct block_backend base;
    struct block_events events;
    struct block_request *requests[MAX_HELD];
    unsigned count, flushes;
    bool is_attached;
    enum block_op last_op;
};

static void held_submit(struct block_backend *backend, struct block_request *request)
{
    struct held *held = (struct held *)backend;

    assert_true(held->count < MAX_HELD);
    held->requests[held->count++] = request;
    held->last_op = request->op;
}

static void held_flush_submissions(struct block_backend *backend)
{
    ((struct held *)backend)->flushes++;
}

static int held_attach(struct block_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                       const struct block_events *events)
{
    (void)loop;
    (void)guard;
    ((struct held *)backend)->events = *events;
    ((struct held *)backend)->is_attached = true;
    return 0;
}

static void held_detach(struct block_backend *backend)
{
    ((struct held *)backend)->is_attached = false;
}

static const struct block_backend_ops held_ops = {
    .submit = held_submit,
    .flush_submissions = held_flush_submissions,
    .attach = held_attach,
    .detach = held_detach,
};

static void held_init(struct held *held)
{
    *held = (struct held){ .base = { .ops = &held_ops,
                                     .sector_count = SECTORS,
                                     .block_size = SECTOR_SIZE,
                                     .physical_block_size = 4096,
                                     .can_discard = true,
                                     .can_write_zeroes = true,
                                     .has_volatile_cache = true } };
}

/* Completes all that was there when it was called, as one batch. */
static void held_complete(struct held *held, struct virtio_dev *vdev, int err)
{
    struct block_request *requests[MAX_HELD];
    unsigned count = held->count;

    memcpy(requests, held->requests, sizeof(requests));
    held->count = 0;
    pthread_mutex_lock(&vdev->lock);
    for (unsigned i = 0; i < count; i++)
        requests[i]->done(requests[i], err);
    held->events.batch_done(held->events.ctx);
    pthread_mutex_unlock(&vdev->lock);
}

/* --- a disk and its driver --- */

struct disk {
    struct driver driver;
    struct block_backend *file; /* owned; NULL: held is used */
    struct held held;
    struct driver_queue *queue;
    uint8_t *status;
    gpa_t status_gpa;
};

static void disk_start(struct disk *disk, struct block_backend *backend, unsigned queues,
                       uint64_t features)
{
    struct blk_params params = {
        .name = "disk 'test'",
        .mem = disk->driver.mem,
        .loop = disk->driver.loop,
        .backend = backend,
        .serial = "hutch-serial-1234567", /* all 20 bytes of it */
        .queue_count = queues,
    };
    struct virtio_dev *vdev;

    disk->file = backend == &disk->held.base ? NULL : backend;
    assert_int_equal(blk_create(&params, &vdev), 0);
    driver_start(&disk->driver, vdev, features);
    disk->queue = &disk->driver.queues[0];
    disk->status_gpa = driver_alloc(&disk->driver, 1);
    disk->status = driver_at(&disk->driver, disk->status_gpa, 1);
}

static void disk_open_file(struct disk *disk, bool read_only)
{
    struct block_file_params params = { .path = image, .read_only = read_only };
    struct block_backend *backend;

    unlink(image);
    image_make(image, SECTORS * SECTOR);
    driver_init(&disk->driver);
    assert_int_equal(block_file_open(&params, &backend), 0);
    disk_start(disk, backend, 1, USUAL_FEATURES);
}

static void disk_open_held(struct disk *disk, unsigned queues, uint64_t features)
{
    driver_init(&disk->driver);
    held_init(&disk->held);
    disk_start(disk, &disk->held.base, queues, features);
}

static void disk_close(struct disk *disk)
{
    driver_fini(&disk->driver);
    block_backend_destroy(disk->file);
}

static gpa_t put_header(struct disk *disk, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr header = { .type = htole32(type), .sector = htole64(sector) };

    return driver_put(&disk->driver, &header, sizeof(header));
}

/* Adds one request in the usual layout: header, data, status. Returns its head. */
static uint16_t disk_add(struct disk *disk, unsigned queue, uint32_t type, uint64_t sector,
                         gpa_t data, uint32_t len)
{
    bool is_write = type != VIRTIO_BLK_T_IN && type != VIRTIO_BLK_T_GET_ID;
    struct driver_buffer buffers[3] = {
        { put_header(disk, type, sector), sizeof(struct virtio_blk_outhdr), false },
        { data, len, !is_write },
        { disk->status_gpa, 1, true },
    };

    if (len == 0)
        buffers[1] = buffers[2];
    return driver_add(&disk->driver.queues[queue], buffers, len ? 3 : 2);
}

/* Kicks and waits. Returns the status; @written may be NULL. */
static uint8_t disk_finish(struct disk *disk, uint32_t *written)
{
    *disk->status = NO_STATUS;
    driver_kick(disk->queue);
    driver_wait_used(disk->queue, NULL, written);
    return *disk->status;
}

static uint8_t disk_do(struct disk *disk, uint32_t type, uint64_t sector, gpa_t data, uint32_t len)
{
    disk_add(disk, 0, type, sector, data, len);
    return disk_finish(disk, NULL);
}

static uint8_t disk_do_buffers(struct disk *disk, const struct driver_buffer *buffers,
                               unsigned count)
{
    driver_add_indirect(disk->queue, buffers, count);
    return disk_finish(disk, NULL);
}

static uint8_t disk_do_ranges(struct disk *disk, uint32_t type,
                              const struct virtio_blk_discard_write_zeroes *ranges, uint32_t len)
{
    return disk_do(disk, type, 0, driver_put(&disk->driver, ranges, len), len);
}

static uint8_t disk_do_range(struct disk *disk, uint32_t type, uint64_t sector, uint32_t count,
                             uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes range = { htole64(sector), htole32(count),
                                                     htole32(flags) };

    return disk_do_ranges(disk, type, &range, sizeof(range));
}

static uint8_t image_byte(uint64_t sector, unsigned offset)
{
    uint8_t byte;

    image_read(image, (off_t)(sector * SECTOR + offset), &byte, 1);
    return byte;
}

static uint8_t sector_fill(uint64_t sector)
{
    return (uint8_t)(sector % 250 + 1);
}

/* --- what it says of itself --- */

static void says_what_it_is(void **state)
{
    struct virtio_blk_config config = { 0 };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 4, USUAL_FEATURES);
    struct virtio_dev *vdev = disk.driver.vdev;

    virtio_dev_read_config(vdev, 0, &config, vdev->config_size);

    assert_int_equal(vdev->device_id, VIRTIO_ID_BLOCK);
    assert_int_equal(le64toh(config.capacity), SECTORS);
    assert_int_equal(le32toh(config.seg_max), 126);
    assert_int_equal(le32toh(config.blk_size), 512);
    assert_int_equal(config.physical_block_exp, 3);
    assert_int_equal(le16toh(config.min_io_size), 8);
    assert_int_equal(le16toh(config.num_queues), 4);
    assert_int_equal(config.wce, 1);
    assert_true(le32toh(config.max_discard_sectors) > 0);
    assert_int_equal(le32toh(config.max_discard_seg), 32);
    assert_int_equal(le32toh(config.discard_sector_alignment), 8);
    assert_true(le32toh(config.max_write_zeroes_sectors) > 0);
    assert_int_equal(config.write_zeroes_may_unmap, 1);
    assert_true(vdev->device_features & FEATURE(VIRTIO_BLK_F_MQ));
    assert_false(vdev->device_features & FEATURE(VIRTIO_BLK_F_RO));
    disk_close(&disk);
}

static void tells_the_blocks_of_its_back_end(void **state)
{
    struct virtio_blk_config config = { 0 };
    struct disk disk;
    (void)state;
    driver_init(&disk.driver);
    held_init(&disk.held);
    disk.held.base.block_size = 4096;
    disk.held.base.physical_block_size = 16384;
    disk_start(&disk, &disk.held.base, 1, USUAL_FEATURES);
    struct virtio_dev *vdev = disk.driver.vdev;

    virtio_dev_read_config(vdev, 0, &config, vdev->config_size);

    assert_true(vdev->device_features & FEATURE(VIRTIO_BLK_F_BLK_SIZE));
    assert_true(vdev->device_features & FEATURE(VIRTIO_BLK_F_TOPOLOGY));
    assert_int_equal(le32toh(config.blk_size), 4096);
    assert_int_equal(config.physical_block_exp, 2);
    assert_int_equal(le16toh(config.min_io_size), 4);
    assert_int_equal(le64toh(config.capacity), SECTORS); /* always of 512 bytes */
    disk_close(&disk);
}

static void offers_no_more_than_its_back_end_can(void **state)
{
    struct disk disk;
    (void)state;
    driver_init(&disk.driver);
    held_init(&disk.held);
    disk.held.base.can_discard = disk.held.base.can_write_zeroes = false;
    disk.held.base.read_only = true;
    disk_start(&disk, &disk.held.base, 1, 0);
    uint64_t features = disk.driver.vdev->device_features;

    assert_false(features & FEATURE(VIRTIO_BLK_F_DISCARD));
    assert_false(features & FEATURE(VIRTIO_BLK_F_WRITE_ZEROES));
    assert_false(features & FEATURE(VIRTIO_BLK_F_MQ));
    assert_true(features & FEATURE(VIRTIO_BLK_F_RO));
    assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    disk_close(&disk);
}

static void tells_its_serial(void **state)
{
    struct disk disk;
    uint32_t written;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t data = driver_alloc(&disk.driver, 32);
    char *text = driver_at(&disk.driver, data, 32);

    disk_add(&disk, 0, VIRTIO_BLK_T_GET_ID, 0, data, VIRTIO_BLK_ID_BYTES);
    assert_int_equal(disk_finish(&disk, &written), VIRTIO_BLK_S_OK);
    assert_memory_equal(text, "hutch-serial-1234567\0\0", 22);
    assert_int_equal(written, VIRTIO_BLK_ID_BYTES + 1);

    memset(text, 0, 32);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_GET_ID, 0, data, 5), VIRTIO_BLK_S_OK);
    assert_memory_equal(text, "hutch\0", 6);
    disk_close(&disk);
}

/* --- reading and writing a file --- */

static void reads_what_the_file_has(void **state)
{
    struct disk disk;
    uint32_t written;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t gpa = driver_alloc(&disk.driver, 4 * SECTOR);
    const uint8_t *data = driver_at(&disk.driver, gpa, 4 * SECTOR);

    disk_add(&disk, 0, VIRTIO_BLK_T_IN, SECTORS - 4, gpa, 4 * SECTOR);
    assert_int_equal(disk_finish(&disk, &written), VIRTIO_BLK_S_OK);

    assert_int_equal(written, 4 * SECTOR + 1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(data[i * SECTOR], sector_fill(SECTORS - 4 + i));
    disk_close(&disk);
}

static void what_it_writes_is_in_the_file(void **state)
{
    struct disk disk;
    uint32_t written;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t gpa = driver_alloc(&disk.driver, 2 * SECTOR);
    memset(driver_at(&disk.driver, gpa, 2 * SECTOR), 0xab, 2 * SECTOR);

    disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 10, gpa, 2 * SECTOR);
    assert_int_equal(disk_finish(&disk, &written), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);

    assert_int_equal(written, 1);
    assert_int_equal(image_byte(9, 511), sector_fill(9));
    assert_int_equal(image_byte(10, 0), 0xab);
    assert_int_equal(image_byte(11, 511), 0xab);
    assert_int_equal(image_byte(12, 0), sector_fill(12));
    disk_close(&disk);
}

static void discards_and_writes_zeroes_in_several_ranges(void **state)
{
    const struct virtio_blk_discard_write_zeroes ranges[] = {
        { htole64(0), htole32(8), 0 },
        { htole64(100), htole32(1), 0 },
        { htole64(SECTORS - 16), htole32(16), 0 },
    };
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);

    assert_int_equal(disk_do_ranges(&disk, VIRTIO_BLK_T_WRITE_ZEROES, ranges, sizeof(ranges)),
                     VIRTIO_BLK_S_OK);
    assert_int_equal(
        disk_do_range(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 200, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
        VIRTIO_BLK_S_OK);
    assert_int_equal(image_byte(0, 0), 0);
    assert_int_equal(image_byte(7, 511), 0);
    assert_int_equal(image_byte(8, 0), sector_fill(8));
    assert_int_equal(image_byte(100, 0), 0);
    assert_int_equal(image_byte(101, 0), sector_fill(101));
    assert_int_equal(image_byte(SECTORS - 1, 511), 0);
    assert_int_equal(image_byte(207, 511), 0);
    if (disk.driver.vdev->device_features & FEATURE(VIRTIO_BLK_F_DISCARD)) {
        assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_DISCARD, 1000, 800, 0), VIRTIO_BLK_S_OK);
        assert_int_equal(image_byte(999, 511), sector_fill(999));
        assert_int_equal(image_byte(1000, 0), 0);
    }
    disk_close(&disk);
}

static void a_read_only_disk_is_not_written(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, true);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    memset(driver_at(&disk.driver, gpa, SECTOR_SIZE), 0xab, SECTOR_SIZE);

    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 0, gpa, SECTOR_SIZE), VIRTIO_BLK_S_OK);
    assert_int_equal(image_byte(0, 0), sector_fill(0));
    disk_close(&disk);
}

static void a_file_that_shrank_gives_errors_and_no_more(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    assert_int_equal(truncate(image, 100 * SECTOR), 0);

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 100 + i, gpa, SECTOR_SIZE),
                         VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 99, gpa, SECTOR_SIZE), VIRTIO_BLK_S_OK);
    disk_close(&disk);
}

/* --- layouts: a driver may cut a request as it likes (2.7.4) --- */

static void the_header_may_come_in_single_bytes(void **state)
{
    struct driver_buffer buffers[18];
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t header = put_header(&disk, VIRTIO_BLK_T_IN, 5);
    gpa_t data = driver_alloc(&disk.driver, SECTOR_SIZE);
    for (unsigned i = 0; i < 16; i++)
        buffers[i] = (struct driver_buffer){ header + i, 1, false };
    buffers[16] = (struct driver_buffer){ data, SECTOR_SIZE, true };
    buffers[17] = (struct driver_buffer){ disk.status_gpa, 1, true };

    assert_int_equal(disk_do_buffers(&disk, buffers, 18), VIRTIO_BLK_S_OK);

    assert_int_equal(*(uint8_t *)driver_at(&disk.driver, data, 1), sector_fill(5));
    disk_close(&disk);
}

static void header_and_data_may_share_a_buffer(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t header = put_header(&disk, VIRTIO_BLK_T_OUT, 5);
    gpa_t data = driver_alloc(&disk.driver, SECTOR_SIZE); /* directly behind it */
    memset(driver_at(&disk.driver, data, SECTOR_SIZE), 0xcd, SECTOR_SIZE);
    assert_int_equal(data, header + 16);
    struct driver_buffer buffers[] = { { header, 16 + SECTOR_SIZE, false },
                                       { disk.status_gpa, 1, true } };

    assert_int_equal(disk_do_buffers(&disk, buffers, 2), VIRTIO_BLK_S_OK);

    assert_int_equal(image_byte(5, 0), 0xcd);
    assert_int_equal(image_byte(5, 511), 0xcd);
    disk_close(&disk);
}

static void data_and_status_may_share_a_buffer(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t in = driver_alloc(&disk.driver, SECTOR_SIZE + 1);
    uint8_t *data = driver_at(&disk.driver, in, SECTOR_SIZE + 1);
    struct driver_buffer buffers[] = { { put_header(&disk, VIRTIO_BLK_T_IN, 6), 16, false },
                                       { in, SECTOR_SIZE + 1, true } };
    data[SECTOR_SIZE] = NO_STATUS;

    driver_add(disk.queue, buffers, 2);
    driver_kick(disk.queue);
    driver_wait_used(disk.queue, NULL, NULL);

    assert_int_equal(data[0], sector_fill(6));
    assert_int_equal(data[SECTOR_SIZE - 1], sector_fill(6));
    assert_int_equal(data[SECTOR_SIZE], VIRTIO_BLK_S_OK);
    disk_close(&disk);
}

static void data_may_come_in_as_many_buffers_as_seg_max_says(void **state)
{
    struct driver_buffer buffers[MAX_BUFFERS];
    const unsigned segments = MAX_BUFFERS - 2, len = 256; /* 63 sectors in all */
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t data = driver_alloc(&disk.driver, (size_t)segments * len);
    buffers[0] = (struct driver_buffer){ put_header(&disk, VIRTIO_BLK_T_IN, 20), 16, false };
    for (unsigned i = 0; i < segments; i++) /* from back to front */
        buffers[1 + i] =
            (struct driver_buffer){ data + (gpa_t)(segments - 1 - i) * len, len, true };
    buffers[MAX_BUFFERS - 1] = (struct driver_buffer){ disk.status_gpa, 1, true };

    assert_int_equal(disk_do_buffers(&disk, buffers, MAX_BUFFERS), VIRTIO_BLK_S_OK);

    const uint8_t *bytes = driver_at(&disk.driver, data, (size_t)segments * len);
    assert_int_equal(bytes[(size_t)(segments - 1) * len], sector_fill(20));
    assert_int_equal(bytes[0], sector_fill(82));
    disk_close(&disk);
}

/* Header, data and status in the same bytes: senseless, and harmless. */
static void more_buffers_than_seg_max_are_an_error(void **state)
{
    struct driver_buffer buffers[MAX_BUFFERS + 1];
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t data = driver_alloc(&disk.driver, SECTOR_SIZE);
    buffers[0] = (struct driver_buffer){ put_header(&disk, VIRTIO_BLK_T_IN, 20), 16, false };
    for (unsigned i = 1; i < MAX_BUFFERS; i++)
        buffers[i] =
            (struct driver_buffer){ data, i == 1 ? SECTOR_SIZE - (MAX_BUFFERS - 2) : 1, true };
    buffers[MAX_BUFFERS] = (struct driver_buffer){ disk.status_gpa, 1, true };

    assert_int_equal(disk_do_buffers(&disk, buffers, MAX_BUFFERS + 1), VIRTIO_BLK_S_IOERR);
    disk_close(&disk);
}

static void buffers_may_overlap(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t header = put_header(&disk, VIRTIO_BLK_T_IN, 7);
    uint8_t *bytes = driver_at(&disk.driver, header, 16);
    struct driver_buffer buffers[] = { { header, 16, false },
                                       { header, SECTOR_SIZE, true },
                                       { header, SECTOR_SIZE, true },
                                       { header, 1, true } };
    driver_alloc(&disk.driver, SECTOR_SIZE);

    driver_add(disk.queue, buffers, 4);
    driver_kick(disk.queue);
    driver_wait_used(disk.queue, NULL, NULL);

    assert_int_equal(bytes[0], VIRTIO_BLK_S_OK);
    assert_true(bytes[1] == sector_fill(7) || bytes[1] == sector_fill(8));
    disk_close(&disk);
}

static void a_chain_without_a_status_byte_breaks_the_device(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    struct driver_buffer buffer = { put_header(&disk, VIRTIO_BLK_T_FLUSH, 0), 16, false };

    driver_add(disk.queue, &buffer, 1);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);

    assert_true(virtio_dev_read_status(disk.driver.vdev) & VIRTIO_CONFIG_S_NEEDS_RESET);
    disk_close(&disk);
}

static void a_short_header_is_an_error(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    struct driver_buffer buffers[] = { { put_header(&disk, VIRTIO_BLK_T_FLUSH, 0), 15, false },
                                       { disk.status_gpa, 1, true } };

    assert_int_equal(disk_do_buffers(&disk, buffers, 2), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do_buffers(&disk, buffers + 1, 1), VIRTIO_BLK_S_IOERR);
    disk_close(&disk);
}

/* --- abuse --- */

static void refuses_sectors_that_are_not_on_the_disk(void **state)
{
    static const uint64_t sectors[] = { SECTORS,    SECTORS - 1,     SECTORS + 1,
                                        UINT64_MAX, UINT64_MAX - 1,  UINT64_MAX / 2,
                                        1ull << 55, (1ull << 55) - 1 };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, 2 * SECTOR);

    for (unsigned i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
        assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, sectors[i], gpa, 2 * SECTOR),
                         VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_OUT, sectors[i], gpa, 2 * SECTOR),
                         VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_range(&disk, VIRTIO_BLK_T_DISCARD, sectors[i], 2, 0),
                         VIRTIO_BLK_S_IOERR);
    }
    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void refuses_parts_of_sectors(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, 2 * SECTOR);

    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 0, gpa, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 0, gpa, 511), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_OUT, 0, gpa, 513), VIRTIO_BLK_S_IOERR);
    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void nothing_to_transfer_is_done_at_once(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_OUT, SECTORS, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_IN, SECTORS + 1, 0, 0), VIRTIO_BLK_S_IOERR);
    disk_close(&disk);
}

static void unknown_requests_are_unsupported(void **state)
{
    static const uint32_t types[] = { 2, 3, 5, 7, 9, 10, 12, 14, 15, 16, 0x80000000, UINT32_MAX };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        assert_int_equal(disk_do(&disk, types[i], 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
    disk_close(&disk);
}

static void refuses_ranges_out_of_bounds(void **state)
{
    static const struct virtio_blk_discard_write_zeroes many[33] = { 0 };
    const uint32_t one = sizeof(many[0]);
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    for (uint32_t type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES; type += 2) {
        assert_int_equal(disk_do(&disk, type, 0, 0, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_ranges(&disk, type, many, 33 * one), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_ranges(&disk, type, many, one - 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_ranges(&disk, type, many, one + 1), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_range(&disk, type, 0, 0, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_range(&disk, type, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(disk_do_range(&disk, type, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(disk_do_range(&disk, type, 0, 8, UINT32_MAX), VIRTIO_BLK_S_UNSUPP);
    }
    /* Unmapping is what a discard does anyway; the flag is not for it (5.2.6.1). */
    assert_int_equal(
        disk_do_range(&disk, VIRTIO_BLK_T_DISCARD, 0, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
        VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void a_bad_range_keeps_the_good_ones_from_being_done(void **state)
{
    const struct virtio_blk_discard_write_zeroes ranges[] = {
        { htole64(0), htole32(8), 0 },
        { htole64(SECTORS), htole32(8), 0 },
    };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    assert_int_equal(disk_do_ranges(&disk, VIRTIO_BLK_T_DISCARD, ranges, sizeof(ranges)),
                     VIRTIO_BLK_S_IOERR);

    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void errors_of_the_host_are_io_errors(void **state)
{
    static const int errors[] = { -EIO, -ENOSPC, -ENODATA, -EFBIG, -EDQUOT };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);

    for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        *disk.status = NO_STATUS;
        disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE);
        driver_kick(disk.queue);
        driver_settle(&disk.driver);
        held_complete(&disk.held, disk.driver.vdev, errors[i]);
        driver_wait_used(disk.queue, NULL, NULL);
        assert_int_equal(*disk.status, VIRTIO_BLK_S_IOERR);
    }
    disk_close(&disk);
}

static void says_so_if_the_driver_uses_parts_of_blocks(void **state)
{
    struct log_capture log;
    struct disk disk;
    (void)state;
    driver_init(&disk.driver);
    held_init(&disk.held);
    disk.held.base.block_size = 4096;
    disk_start(&disk, &disk.held.base, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    assert_int_equal(log_capture_begin(&log), 0);

    *disk.status = NO_STATUS;
    disk_add(&disk, 0, VIRTIO_BLK_T_IN, 8, gpa, SECTOR_SIZE);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);
    held_complete(&disk.held, disk.driver.vdev, -EINVAL);
    driver_wait_used(disk.queue, NULL, NULL);

    const char *said = log_capture_read(&log);
    log_capture_end(&log);
    assert_int_equal(*disk.status, VIRTIO_BLK_S_IOERR);
    assert_non_null(strstr(said, "parts of blocks, which the host has in one piece of 4096 bytes"));
    assert_non_null(strstr(said, "without cache=none"));
    disk_close(&disk);
}

/* --- stable writes (5.2.6.2) --- */

/* Whether a write is answered only after a flush of the back-end. */
static bool write_is_made_stable(struct disk *disk)
{
    gpa_t gpa = driver_alloc(&disk->driver, SECTOR_SIZE);
    bool flushed = false;

    *disk->status = NO_STATUS;
    disk_add(disk, 0, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE);
    driver_kick(disk->queue);
    driver_settle(&disk->driver);
    assert_int_equal(disk->held.count, 1);
    held_complete(&disk->held, disk->driver.vdev, 0);
    if (disk->held.count == 1) {
        assert_int_equal(disk->held.last_op, BLOCK_FLUSH);
        assert_int_equal(*disk->status, NO_STATUS);
        held_complete(&disk->held, disk->driver.vdev, 0);
        flushed = true;
    }
    driver_wait_used(disk->queue, NULL, NULL);
    assert_int_equal(*disk->status, VIRTIO_BLK_S_OK);
    return flushed;
}

static void set_writeback(struct disk *disk, uint8_t value)
{
    virtio_dev_write_config(disk->driver.vdev, offsetof(struct virtio_blk_config, wce), &value, 1);
}

static uint8_t get_writeback(struct disk *disk)
{
    uint8_t value;

    virtio_dev_read_config(disk->driver.vdev, offsetof(struct virtio_blk_config, wce), &value, 1);
    return value;
}

static void writes_wait_for_no_flush_if_the_driver_sends_its_own(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, FEATURE(VIRTIO_BLK_F_FLUSH));
    assert_false(write_is_made_stable(&disk));
    disk_close(&disk);
}

static void writes_are_stable_for_a_driver_that_cannot_flush(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, 0);
    assert_true(write_is_made_stable(&disk));
    disk_close(&disk);

    disk_open_held(&disk, 1, FEATURE(VIRTIO_BLK_F_CONFIG_WCE));
    assert_int_equal(get_writeback(&disk), 0);
    set_writeback(&disk, 1);
    assert_true(write_is_made_stable(&disk));
    disk_close(&disk);
}

static void the_driver_chooses_the_cache_mode(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);

    assert_int_equal(get_writeback(&disk), 1);
    assert_false(write_is_made_stable(&disk));
    set_writeback(&disk, 0);
    assert_int_equal(get_writeback(&disk), 0);
    assert_true(write_is_made_stable(&disk));
    set_writeback(&disk, 1);
    assert_false(write_is_made_stable(&disk));
    disk_close(&disk);
}

static void a_disk_without_a_cache_never_flushes(void **state)
{
    struct disk disk;
    (void)state;
    driver_init(&disk.driver);
    held_init(&disk.held);
    disk.held.base.has_volatile_cache = false;
    disk_start(&disk, &disk.held.base, 1, USUAL_FEATURES);

    assert_int_equal(get_writeback(&disk), 0);
    assert_false(write_is_made_stable(&disk));
    assert_int_equal(disk_do(&disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(disk.held.count, 0);
    disk_close(&disk);
}

static void a_flush_does_not_wait_for_writes_under_way(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);

    disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE);
    disk_add(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);

    assert_int_equal(disk.held.count, 2);
    disk_close(&disk);
}

/* --- many at once --- */

static void a_batch_is_one_submission_and_one_interrupt(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    for (unsigned i = 0; i < 20; i++)
        disk_add(&disk, 0, VIRTIO_BLK_T_IN, i, gpa, SECTOR_SIZE);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);
    assert_int_equal(disk.held.count, 20);
    assert_int_equal(disk.held.flushes, 1);

    held_complete(&disk.held, disk.driver.vdev, 0);

    assert_int_equal(disk.driver.queue_interrupts[0], 1);
    assert_int_equal(disk.held.flushes, 1);
    disk_close(&disk);
}

static unsigned count_used(struct disk *disk, unsigned queues)
{
    unsigned count = 0;

    for (unsigned i = 0; i < queues; i++)
        while (driver_take_used(&disk->driver.queues[i], NULL, NULL))
            count++;
    return count;
}

/* Three queues of 42 three-buffer chains fit the pool, four do not. */
static void what_exceeds_the_pool_waits_in_its_queue(void **state)
{
    const unsigned queues = 4, each = 42;
    struct disk disk;
    (void)state;
    disk_open_held(&disk, queues, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);

    for (unsigned q = 0; q < queues; q++) {
        for (unsigned i = 0; i < each; i++)
            disk_add(&disk, q, VIRTIO_BLK_T_IN, i, gpa, SECTOR_SIZE);
        driver_kick(&disk.driver.queues[q]);
    }
    driver_settle(&disk.driver);
    assert_int_equal(disk.held.count, 128);
    assert_int_equal(disk.driver.vdev->requests_in_flight, 128);

    held_complete(&disk.held, disk.driver.vdev, 0);
    driver_settle(&disk.driver);
    assert_int_equal(disk.held.count, queues * each - 128);
    held_complete(&disk.held, disk.driver.vdev, 0);

    assert_int_equal(count_used(&disk, queues), queues * each);
    assert_int_equal(disk.driver.vdev->requests_in_flight, 0);
    disk_close(&disk);
}

static void each_queue_is_answered_on_itself(void **state)
{
    const unsigned queues = BLK_MAX_QUEUES;
    struct disk disk;
    (void)state;
    disk_open_held(&disk, queues, USUAL_FEATURES);
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    for (unsigned q = 0; q < queues; q++) {
        disk_add(&disk, q, VIRTIO_BLK_T_IN, q, gpa, SECTOR_SIZE);
        driver_kick(&disk.driver.queues[q]);
    }
    driver_settle(&disk.driver);
    assert_int_equal(disk.held.count, queues);

    held_complete(&disk.held, disk.driver.vdev, 0);

    for (unsigned q = 0; q < queues; q++) {
        assert_int_equal(disk.driver.queue_interrupts[q], 1);
        assert_true(driver_take_used(&disk.driver.queues[q], NULL, NULL));
    }
    disk_close(&disk);
}

/* --- reset, save and load --- */

static void a_reset_waits_for_the_host_and_then_starts_anew(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    struct virtio_dev *vdev = disk.driver.vdev;
    gpa_t gpa = driver_alloc(&disk.driver, SECTOR_SIZE);
    set_writeback(&disk, 0);
    *disk.status = NO_STATUS;
    disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 0, gpa, SECTOR_SIZE);
    disk_add(&disk, 0, VIRTIO_BLK_T_OUT, 1, gpa, SECTOR_SIZE);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);
    assert_int_equal(vdev->requests_in_flight, 2);

    virtio_dev_write_status(vdev, 0);
    assert_int_not_equal(virtio_dev_read_status(vdev), 0);
    held_complete(&disk.held, vdev, 0);

    assert_int_equal(virtio_dev_read_status(vdev), 0);
    assert_int_equal(disk.held.count, 0); /* nobody waits for these to be stable */
    assert_int_equal(*disk.status, NO_STATUS);
    assert_int_equal(le16toh(disk.queue->used->idx), 0);
    assert_int_equal(disk.driver.queue_interrupts[0], 0);

    driver_start(&disk.driver, vdev, USUAL_FEATURES);
    assert_int_equal(get_writeback(&disk), 1);
    assert_false(write_is_made_stable(&disk));
    disk_close(&disk);
}

static void a_disk_may_go_while_requests_are_under_way(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_file(&disk, false);
    gpa_t gpa = driver_alloc(&disk.driver, 256 * SECTOR);
    for (unsigned i = 0; i < 40; i++)
        disk_add(&disk, 0, i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 0, gpa, 256 * SECTOR);
    driver_kick(disk.queue);
    driver_run(&disk.driver, 0);
    disk_close(&disk);
}

static void its_state_survives_saving_and_loading(void **state)
{
    struct state_writer out = { 0 };
    struct disk disk, copy;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    set_writeback(&disk, 0);
    assert_int_equal(virtio_dev_save(disk.driver.vdev, &out), 0);

    disk_open_held(&copy, 1, USUAL_FEATURES);
    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(virtio_dev_load(copy.driver.vdev, &in), 0);

    assert_int_equal(get_writeback(&copy), 0);
    state_writer_fini(&out);
    disk_close(&copy);
    disk_close(&disk);
}

static void refuses_the_state_of_a_disk_of_another_size(void **state)
{
    struct state_writer out = { 0 };
    struct disk disk, copy;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    assert_int_equal(virtio_dev_save(disk.driver.vdev, &out), 0);

    driver_init(&copy.driver);
    held_init(&copy.held);
    copy.held.base.sector_count = SECTORS - 1;
    disk_start(&copy, &copy.held.base, 1, USUAL_FEATURES);
    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(virtio_dev_load(copy.driver.vdev, &in), -EBADMSG);

    state_writer_fini(&out);
    disk_close(&copy);
    disk_close(&disk);
}

static void cannot_be_saved_while_requests_are_under_way(void **state)
{
    struct state_writer out = { 0 };
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    disk_add(&disk, 0, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
    driver_kick(disk.queue);
    driver_settle(&disk.driver);

    assert_int_equal(virtio_dev_save(disk.driver.vdev, &out), -EBUSY);

    state_writer_fini(&out);
    disk_close(&disk);
}

static void a_disk_gives_its_back_end_back(void **state)
{
    struct disk disk;
    (void)state;
    disk_open_held(&disk, 1, USUAL_FEATURES);
    assert_true(disk.held.is_attached);

    disk_close(&disk);

    assert_false(disk.held.is_attached);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_it_is),
        cmocka_unit_test(tells_the_blocks_of_its_back_end),
        cmocka_unit_test(says_so_if_the_driver_uses_parts_of_blocks),
        cmocka_unit_test(offers_no_more_than_its_back_end_can),
        cmocka_unit_test(tells_its_serial),
        cmocka_unit_test(reads_what_the_file_has),
        cmocka_unit_test(what_it_writes_is_in_the_file),
        cmocka_unit_test(discards_and_writes_zeroes_in_several_ranges),
        cmocka_unit_test(a_read_only_disk_is_not_written),
        cmocka_unit_test(a_file_that_shrank_gives_errors_and_no_more),
        cmocka_unit_test(the_header_may_come_in_single_bytes),
        cmocka_unit_test(header_and_data_may_share_a_buffer),
        cmocka_unit_test(data_and_status_may_share_a_buffer),
        cmocka_unit_test(data_may_come_in_as_many_buffers_as_seg_max_says),
        cmocka_unit_test(more_buffers_than_seg_max_are_an_error),
        cmocka_unit_test(buffers_may_overlap),
        cmocka_unit_test(a_chain_without_a_status_byte_breaks_the_device),
        cmocka_unit_test(a_short_header_is_an_error),
        cmocka_unit_test(refuses_sectors_that_are_not_on_the_disk),
        cmocka_unit_test(refuses_parts_of_sectors),
        cmocka_unit_test(nothing_to_transfer_is_done_at_once),
        cmocka_unit_test(unknown_requests_are_unsupported),
        cmocka_unit_test(refuses_ranges_out_of_bounds),
        cmocka_unit_test(a_bad_range_keeps_the_good_ones_from_being_done),
        cmocka_unit_test(errors_of_the_host_are_io_errors),
        cmocka_unit_test(writes_wait_for_no_flush_if_the_driver_sends_its_own),
        cmocka_unit_test(writes_are_stable_for_a_driver_that_cannot_flush),
        cmocka_unit_test(the_driver_chooses_the_cache_mode),
        cmocka_unit_test(a_disk_without_a_cache_never_flushes),
        cmocka_unit_test(a_flush_does_not_wait_for_writes_under_way),
        cmocka_unit_test(a_batch_is_one_submission_and_one_interrupt),
        cmocka_unit_test(what_exceeds_the_pool_waits_in_its_queue),
        cmocka_unit_test(each_queue_is_answered_on_itself),
        cmocka_unit_test(a_reset_waits_for_the_host_and_then_starts_anew),
        cmocka_unit_test(a_disk_may_go_while_requests_are_under_way),
        cmocka_unit_test(its_state_survives_saving_and_loading),
        cmocka_unit_test(refuses_the_state_of_a_disk_of_another_size),
        cmocka_unit_test(cannot_be_saved_while_requests_are_under_way),
        cmocka_unit_test(a_disk_gives_its_back_end_back),
    };

    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
