// SPDX-License-Identifier: Apache-2.0
/* A disk with a driver: on a real file, or on a back-end that answers when it is told.
 * Included after cmocka.h. */
#pragma once

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

#include "block_harness.h"
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

struct held {
    struct block_backend base;
    struct block_events events;
    struct block_request *requests[MAX_HELD];
    unsigned count, flushes;
    bool is_attached;
    enum block_op last_op;
};

static inline void held_submit(struct block_backend *backend, struct block_request *request)
{
    struct held *held = (struct held *)backend;

    assert_true(held->count < MAX_HELD);
    held->requests[held->count++] = request;
    held->last_op = request->op;
}

static inline void held_flush_submissions(struct block_backend *backend)
{
    ((struct held *)backend)->flushes++;
}

static inline int held_attach(struct block_backend *backend, struct loop *loop,
                              pthread_mutex_t *guard, const struct block_events *events)
{
    (void)loop;
    (void)guard;
    ((struct held *)backend)->events = *events;
    ((struct held *)backend)->is_attached = true;
    return 0;
}

static inline void held_detach(struct block_backend *backend)
{
    ((struct held *)backend)->is_attached = false;
}

static const struct block_backend_ops held_ops = {
    .submit = held_submit,
    .flush_submissions = held_flush_submissions,
    .attach = held_attach,
    .detach = held_detach,
};

static inline void held_init(struct held *held)
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
static inline void held_complete(struct held *held, struct virtio_dev *vdev, int err)
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

struct disk {
    struct driver driver;
    struct block_backend *file; /* owned; NULL: held is used */
    struct held held;
    struct driver_queue *queue;
    uint8_t *status;
    gpa_t status_gpa;
};

static inline void disk_start(struct disk *disk, struct block_backend *backend, unsigned queues,
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

static inline void disk_open_file(struct disk *disk, bool read_only)
{
    struct block_file_params params = { .path = image, .read_only = read_only };
    struct block_backend *backend;

    unlink(image);
    image_make(image, SECTORS * SECTOR);
    driver_init(&disk->driver);
    assert_int_equal(block_file_open(&params, &backend), 0);
    disk_start(disk, backend, 1, USUAL_FEATURES);
}

static inline void disk_open_held(struct disk *disk, unsigned queues, uint64_t features)
{
    driver_init(&disk->driver);
    held_init(&disk->held);
    disk_start(disk, &disk->held.base, queues, features);
}

static inline void disk_close(struct disk *disk)
{
    driver_fini(&disk->driver);
    block_backend_destroy(disk->file);
}

static inline gpa_t put_header(struct disk *disk, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr header = { .type = htole32(type), .sector = htole64(sector) };

    return driver_put(&disk->driver, &header, sizeof(header));
}

/* Adds one request in the usual layout: header, data, status. Returns its head. */
static inline uint16_t disk_add(struct disk *disk, unsigned queue, uint32_t type, uint64_t sector,
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
static inline uint8_t disk_finish(struct disk *disk, uint32_t *written)
{
    *disk->status = NO_STATUS;
    driver_kick(disk->queue);
    driver_wait_used(disk->queue, NULL, written);
    return *disk->status;
}

static inline uint8_t disk_do(struct disk *disk, uint32_t type, uint64_t sector, gpa_t data,
                              uint32_t len)
{
    disk_add(disk, 0, type, sector, data, len);
    return disk_finish(disk, NULL);
}

static inline uint8_t disk_do_ranges(struct disk *disk, uint32_t type,
                                     const struct virtio_blk_discard_write_zeroes *ranges,
                                     uint32_t len)
{
    return disk_do(disk, type, 0, driver_put(&disk->driver, ranges, len), len);
}

static inline uint8_t disk_do_range(struct disk *disk, uint32_t type, uint64_t sector,
                                    uint32_t count, uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes range = { htole64(sector), htole32(count),
                                                     htole32(flags) };

    return disk_do_ranges(disk, type, &range, sizeof(range));
}
