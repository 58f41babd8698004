// SPDX-License-Identifier: Apache-2.0
/* The requests of a disk's driver.
 *
 * How this works: a chain becomes a struct blk_request from a pool, is checked, and is answered
 * at once or handed to the back-end, in batches: a wake-up submits all that the driver has queued
 * with one flush_submissions(), and a batch of completions interrupts the driver once per queue.
 *
 *   free       in the pool; the pool's size bounds what a guest can make us keep
 *   running    with the back-end, once, or several times in turn: a discard of several ranges,
 *              or a write that is followed by a flush because the driver wants it stable
 *   answered   status written, chain pushed: free again
 *
 * When the pool is empty, chains stay in their queue, and the queue is served again after the
 * next batch of completions.
 *
 * Which writes are stable (5.2.6.2): with the cache in writeback mode those that a flush came
 * after, in writethrough mode all of them. A flush covers the writes that were answered before it
 * was sent, so nothing waits for writes that are still running. A driver that does not know
 * VIRTIO_BLK_F_FLUSH gets writethrough. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "blk_private.h"
#include "devices/device.h"
#include "host/log.h"

enum {
    POOL_SIZE = 128,     /* requests under way, of all queues */
    STATUS_PENDING = -1, /* beside VIRTIO_BLK_S_*: the back-end has the request */
};

/* --- the pool --- */

int blk_make_pool(struct blk *blk)
{
    void *pool = mmap(NULL, POOL_SIZE * sizeof(blk->pool[0]), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pool == MAP_FAILED)
        return -errno;
    blk->pool = pool;
    return 0;
}

void blk_free_pool(struct blk *blk)
{
    if (blk->pool)
        munmap(blk->pool, POOL_SIZE * sizeof(blk->pool[0]));
}

static bool pool_is_empty(const struct blk *blk)
{
    return !blk->free && blk->pool_used == POOL_SIZE;
}

static struct blk_request *take_request(struct blk *blk)
{
    struct blk_request *request = blk->free;

    if (request)
        blk->free = request->next_free;
    else
        request = &blk->pool[blk->pool_used++];
    return request;
}

static void release_request(struct blk *blk, struct blk_request *request)
{
    request->next_free = blk->free;
    blk->free = request;
}

/* --- running and answering --- */

bool blk_is_writeback(const struct blk *blk)
{
    if (!virtio_dev_has_feature(&blk->vdev, VIRTIO_BLK_F_FLUSH))
        return false;
    return !virtio_dev_has_feature(&blk->vdev, VIRTIO_BLK_F_CONFIG_WCE) || blk->state.writeback;
}

static void answer(struct blk *blk, struct blk_request *request, uint8_t status)
{
    *request->status = status;
    virtio_dev_push(&blk->vdev, request->queue, request->head, request->written);
    blk->interrupts |= UINT32_C(1) << request->queue;
    release_request(blk, request);
}

static void submit(struct blk *blk, struct blk_request *request)
{
    blk->has_unflushed = true;
    blk->backend->ops->submit(blk->backend, &request->io);
}

static void submit_next_range(struct blk *blk, struct blk_request *request)
{
    const struct virtio_blk_discard_write_zeroes *range = &request->ranges[request->next_range++];

    request->io.offset = le64toh(range->sector) * SECTOR_SIZE;
    request->io.len = (uint64_t)le32toh(range->num_sectors) * SECTOR_SIZE;
    request->io.may_unmap = le32toh(range->flags) & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
    submit(blk, request);
}

static void log_failure(struct blk *blk, const struct block_request *io, int err)
{
    static const char *const names[] = {
        [BLOCK_READ] = "reading",
        [BLOCK_WRITE] = "writing",
        [BLOCK_FLUSH] = "flushing",
        [BLOCK_DISCARD] = "discarding",
        [BLOCK_WRITE_ZEROES] = "writing zeroes",
    };

    if (blk->has_logged)
        return;
    blk->has_logged = true;
    /* It was told the size (virtio 1.2, 5.2.4), and does not know the field. */
    if (err == -EINVAL && (io->offset | io->len) % blk->backend->block_size) {
        log_error("%s: the guest's driver uses parts of blocks, which the host has in one piece of "
                  "%" PRIu32 " bytes; it gets I/O errors (said once); without cache=none, the host "
                  "can divide them",
                  blk->vdev.name, blk->backend->block_size);
        return;
    }
    log_error("%s: %s at byte %" PRIu64 ": %s; the guest gets I/O errors (said once)",
              blk->vdev.name, names[io->op], io->offset,
              err == -ENODATA ? "it has become shorter" : strerror(-err));
}

static bool must_become_stable(const struct blk *blk, const struct blk_request *request)
{
    return (request->io.op == BLOCK_WRITE || request->io.op == BLOCK_WRITE_ZEROES) &&
           blk->backend->has_volatile_cache && !blk_is_writeback(blk);
}

/* The back-end has finished. Called with the device locked. */
static void handle_done(struct block_request *io, int err)
{
    struct blk_request *request = container_of(io, struct blk_request, io);
    struct blk *blk = request->blk;

    if (!virtio_dev_is_running(&blk->vdev)) {
        release_request(blk, request);
        virtio_dev_end_request(&blk->vdev);
        return;
    }
    if (err) {
        log_failure(blk, io, err);
    } else if (request->next_range < request->range_count) {
        submit_next_range(blk, request);
        return;
    } else if (must_become_stable(blk, request)) {
        request->io.op = BLOCK_FLUSH;
        submit(blk, request);
        return;
    }
    answer(blk, request, err ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
    virtio_dev_end_request(&blk->vdev);
}

static void flush_submissions(struct blk *blk)
{
    if (blk->has_unflushed) {
        blk->has_unflushed = false;
        blk->backend->ops->flush_submissions(blk->backend);
    }
}

static void flush_interrupts(struct blk *blk)
{
    while (blk->interrupts) {
        unsigned queue = (unsigned)__builtin_ctz(blk->interrupts);

        blk->interrupts &= ~(UINT32_C(1) << queue);
        virtio_dev_flush_interrupt(&blk->vdev, queue);
    }
}

/* Also called from within flush_submissions(). */
void blk_batch_done(void *ctx)
{
    struct blk *blk = ctx;

    flush_submissions(blk);
    flush_interrupts(blk);
    while (blk->starved) {
        unsigned queue = (unsigned)__builtin_ctz(blk->starved);

        blk->starved &= ~(UINT32_C(1) << queue);
        virtio_dev_notify(&blk->vdev, queue);
    }
}

/* --- checking and starting; these return VIRTIO_BLK_S_* or STATUS_PENDING --- */

static bool is_on_disk(const struct blk *blk, uint64_t sector, uint64_t count)
{
    uint64_t end = blk->state.sector_count;

    return sector <= end && count <= end - sector;
}

static int start(struct blk *blk, struct blk_request *request, enum block_op op)
{
    request->io.op = op;
    virtio_dev_begin_request(&blk->vdev);
    if (request->range_count > 0)
        submit_next_range(blk, request);
    else
        submit(blk, request);
    return STATUS_PENDING;
}

static int start_transfer(struct blk *blk, struct blk_request *request, enum block_op op,
                          uint64_t sector, const struct iovec *data, size_t count, uint32_t len)
{
    if (op == BLOCK_WRITE && blk->backend->read_only)
        return VIRTIO_BLK_S_IOERR;
    if (len % SECTOR_SIZE || !is_on_disk(blk, sector, len / SECTOR_SIZE))
        return VIRTIO_BLK_S_IOERR;
    if (len == 0)
        return VIRTIO_BLK_S_OK;
    if (count > BLK_SEG_MAX)
        return VIRTIO_BLK_S_IOERR;
    memcpy(request->data, data, count * sizeof(data[0]));
    request->io.offset = sector * SECTOR_SIZE;
    request->io.len = len;
    request->io.iov = request->data;
    request->io.iov_count = (unsigned)count;
    return start(blk, request, op);
}

static int start_flush(struct blk *blk, struct blk_request *request)
{
    if (!blk->backend->has_volatile_cache)
        return VIRTIO_BLK_S_OK;
    return start(blk, request, BLOCK_FLUSH);
}

static int check_range(const struct blk *blk, enum block_op op,
                       const struct virtio_blk_discard_write_zeroes *range)
{
    uint32_t known = op == BLOCK_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    uint32_t count = le32toh(range->num_sectors);

    if (le32toh(range->flags) & ~known)
        return VIRTIO_BLK_S_UNSUPP;
    if (count == 0 || count > BLK_RANGE_MAX_SECTORS ||
        !is_on_disk(blk, le64toh(range->sector), count))
        return VIRTIO_BLK_S_IOERR;
    return VIRTIO_BLK_S_OK;
}

static int start_ranges(struct blk *blk, struct blk_request *request, enum block_op op,
                        const struct iovec *data, size_t count, uint32_t len)
{
    bool is_offered =
        op == BLOCK_DISCARD ? blk->backend->can_discard : blk->backend->can_write_zeroes;
    uint32_t range_count = len / sizeof(request->ranges[0]);

    if (!is_offered)
        return VIRTIO_BLK_S_UNSUPP;
    if (len % sizeof(request->ranges[0]) || range_count == 0 || range_count > BLK_RANGES_MAX)
        return VIRTIO_BLK_S_IOERR;
    (void)iov_read(data, count, 0, request->ranges, len);
    for (uint32_t i = 0; i < range_count; i++) {
        int status = check_range(blk, op, &request->ranges[i]);

        if (status != VIRTIO_BLK_S_OK)
            return status;
    }
    request->range_count = (uint16_t)range_count;
    return start(blk, request, op);
}

/* Takes the last writable byte off the chain and returns where it is. */
static uint8_t *take_status_byte(struct virtqueue_chain *chain)
{
    struct iovec *last = &virtqueue_writable(chain)[chain->writable_count - 1];

    last->iov_len--;
    chain->writable_bytes--;
    if (last->iov_len == 0)
        chain->writable_count--;
    return (uint8_t *)last->iov_base + last->iov_len;
}

static int start_chain(struct blk *blk, struct blk_request *request, struct virtqueue_chain *chain)
{
    struct iovec *out = virtqueue_readable(chain), *in = virtqueue_writable(chain);
    struct virtio_blk_outhdr header;

    if (iov_read(out, chain->readable_count, 0, &header, sizeof(header)) != sizeof(header))
        return VIRTIO_BLK_S_IOERR;

    size_t out_count = iov_skip(&out, chain->readable_count, sizeof(header));
    uint32_t out_bytes = chain->readable_bytes - (uint32_t)sizeof(header);
    uint64_t sector = le64toh(header.sector);

    switch (le32toh(header.type)) {
    case VIRTIO_BLK_T_IN:
        return start_transfer(blk, request, BLOCK_READ, sector, in, chain->writable_count,
                              chain->writable_bytes);
    case VIRTIO_BLK_T_OUT:
        return start_transfer(blk, request, BLOCK_WRITE, sector, out, out_count, out_bytes);
    case VIRTIO_BLK_T_FLUSH:
        return start_flush(blk, request);
    case VIRTIO_BLK_T_GET_ID:
        (void)iov_write(in, chain->writable_count, 0, blk->serial, sizeof(blk->serial));
        return VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_DISCARD:
        return start_ranges(blk, request, BLOCK_DISCARD, out, out_count, out_bytes);
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return start_ranges(blk, request, BLOCK_WRITE_ZEROES, out, out_count, out_bytes);
    default:
        return VIRTIO_BLK_S_UNSUPP;
    }
}

static void handle_chain(struct blk *blk, unsigned queue, struct virtqueue_chain *chain)
{
    if (chain->writable_bytes == 0) {
        virtio_dev_needs_reset(&blk->vdev, "a request without a byte for its status");
        return;
    }

    struct blk_request *request = take_request(blk);

    request->io = (struct block_request){ .done = handle_done };
    request->blk = blk;
    request->head = chain->head;
    request->queue = (uint16_t)queue;
    /* The status is the last byte, so a request answered has all its bytes written. */
    request->written = chain->writable_bytes;
    request->range_count = request->next_range = 0;
    request->status = take_status_byte(chain);

    int status = start_chain(blk, request, chain);

    if (status != STATUS_PENDING)
        answer(blk, request, (uint8_t)status);
}

void blk_serve_queue(struct blk *blk, unsigned index)
{
    while (!pool_is_empty(blk) && virtio_dev_pop(&blk->vdev, index, &blk->chain))
        handle_chain(blk, index, &blk->chain);
    if (pool_is_empty(blk))
        blk->starved |= UINT32_C(1) << index;
    flush_submissions(blk);
    flush_interrupts(blk);
}
