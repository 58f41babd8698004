// SPDX-License-Identifier: Apache-2.0
/* The disk as the driver finds it: features, configuration space, state. What it asks for is done
 * in blk_request.c. */
#include "virtio/blk.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "blk_private.h"
#include "devices/device.h"
#include "host/loop.h"
#include "host/state.h"

enum { STATE_VERSION = 1 };

/* What the driver can read of the device, as far as we offer it: up to secure erase. */
#define CONFIG_SIZE (offsetof(struct virtio_blk_config, unused1) + 3)

#define FEATURE(bit) (UINT64_C(1) << (bit))

static struct blk *to_blk(struct virtio_dev *vdev)
{
    return container_of(vdev, struct blk, vdev);
}

/* --- configuration space, status, state --- */

static uint8_t log2_of(uint32_t power_of_two)
{
    return (uint8_t)__builtin_ctz(power_of_two);
}

static void blk_config_read(struct virtio_dev *vdev, uint32_t offset, void *data, uint32_t len)
{
    const struct blk *blk = to_blk(vdev);
    const struct block_backend *backend = blk->backend;
    uint32_t blocks = backend->physical_block_size / backend->block_size;
    struct virtio_blk_config config = {
        .capacity = htole64(blk->state.sector_count),
        .seg_max = htole32(BLK_SEG_MAX),
        .blk_size = htole32(backend->block_size),
        .physical_block_exp = log2_of(blocks),
        .min_io_size = htole16((uint16_t)blocks),
        .wce = blk_is_writeback(blk),
        .num_queues = htole16((uint16_t)vdev->queue_count),
    };

    if (backend->can_discard) {
        config.max_discard_sectors = htole32(BLK_RANGE_MAX_SECTORS);
        config.max_discard_seg = htole32(BLK_RANGES_MAX);
        config.discard_sector_alignment = htole32(backend->physical_block_size / SECTOR_SIZE);
    }
    if (backend->can_write_zeroes) {
        config.max_write_zeroes_sectors = htole32(BLK_RANGE_MAX_SECTORS);
        config.max_write_zeroes_seg = htole32(BLK_RANGES_MAX);
        config.write_zeroes_may_unmap = 1;
    }
    memcpy(data, (const uint8_t *)&config + offset, len);
}

static void blk_config_write(struct virtio_dev *vdev, uint32_t offset, const void *data,
                             uint32_t len)
{
    const uint32_t wce = offsetof(struct virtio_blk_config, wce);

    if (virtio_dev_has_feature(vdev, VIRTIO_BLK_F_CONFIG_WCE) && offset <= wce &&
        wce - offset < len)
        to_blk(vdev)->state.writeback = ((const uint8_t *)data)[wce - offset] != 0;
}

/* What the state is after a reset. A disk without a volatile cache says writethrough, which
 * spares the driver its flushes. */
static void reset_state(struct blk *blk)
{
    blk->state.sector_count = blk->backend->sector_count;
    blk->state.writeback = blk->backend->has_volatile_cache;
}

static void blk_reset(struct virtio_dev *vdev)
{
    struct blk *blk = to_blk(vdev);

    blk->interrupts = 0;
    blk->starved = 0;
    reset_state(blk);
}

static int blk_save(struct virtio_dev *vdev, struct state_writer *out)
{
    const struct blk *blk = to_blk(vdev);

    return state_save(out, "blk", STATE_VERSION, &blk->state, sizeof(blk->state));
}

static int blk_load(struct virtio_dev *vdev, struct state_reader *in)
{
    struct blk *blk = to_blk(vdev);
    struct blk_state state;
    int err = state_load(in, "blk", STATE_VERSION, &state, sizeof(state));

    if (err)
        return err;
    if (state.sector_count != blk->backend->sector_count || state.writeback > 1)
        return -EBADMSG;
    blk->state = state;
    return 0;
}

/* --- making one --- */

static void blk_destroy(struct virtio_dev *vdev)
{
    struct blk *blk = to_blk(vdev);

    blk->backend->ops->detach(blk->backend); /* then nothing is under way any more */
    blk_free_pool(blk);
    virtio_dev_fini(vdev);
    free(blk);
}

static void blk_queue_notify(struct virtio_dev *vdev, unsigned index)
{
    blk_serve_queue(to_blk(vdev), index);
}

static const struct virtio_dev_ops blk_ops = {
    .config_read = blk_config_read,
    .config_write = blk_config_write,
    .queue_notify = blk_queue_notify,
    .reset = blk_reset,
    .save = blk_save,
    .load = blk_load,
    .destroy = blk_destroy,
};

/* FLUSH and CONFIG_WCE are offered whether there is a cache or not (5.2.5.2), so that a saved
 * state fits a disk with another cache mode. */
static uint64_t offered_features(const struct block_backend *backend, unsigned queue_count)
{
    uint64_t features = FEATURE(VIRTIO_BLK_F_SEG_MAX) | FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
                        FEATURE(VIRTIO_BLK_F_TOPOLOGY) | FEATURE(VIRTIO_BLK_F_FLUSH) |
                        FEATURE(VIRTIO_BLK_F_CONFIG_WCE);

    if (backend->read_only)
        features |= FEATURE(VIRTIO_BLK_F_RO);
    if (backend->can_discard)
        features |= FEATURE(VIRTIO_BLK_F_DISCARD);
    if (backend->can_write_zeroes)
        features |= FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
    if (queue_count > 1)
        features |= FEATURE(VIRTIO_BLK_F_MQ);
    return features;
}

static int blk_build(struct blk *blk, const struct blk_params *params)
{
    const struct virtio_dev_params vdev_params = {
        .name = params->name,
        .device_id = VIRTIO_ID_BLOCK,
        .config_size = CONFIG_SIZE,
        .device_features = offered_features(blk->backend, params->queue_count),
        .queue_count = params->queue_count,
        .queue_size = BLK_QUEUE_SIZE,
        .ops = &blk_ops,
        .mem = params->mem,
        .loop = params->loop,
    };
    const struct block_events events = { .batch_done = blk_batch_done, .ctx = blk };
    int err = virtio_dev_init(&blk->vdev, &vdev_params);

    if (!err)
        err = blk_make_pool(blk);
    if (!err)
        err = blk->backend->ops->attach(blk->backend, params->loop, &blk->vdev.lock, &events);
    return err;
}

int blk_create(const struct blk_params *params, struct virtio_dev **ret)
{
    struct blk *blk = calloc(1, sizeof(*blk));

    if (!blk)
        return -ENOMEM;
    blk->backend = params->backend;
    memcpy(blk->serial, params->serial, sizeof(blk->serial));
    reset_state(blk);

    int err = blk_build(blk, params);

    if (err) {
        blk_destroy(&blk->vdev);
        return err;
    }
    *ret = &blk->vdev;
    return 0;
}

void block_backend_destroy(struct block_backend *backend)
{
    if (backend)
        backend->ops->destroy(backend);
}
