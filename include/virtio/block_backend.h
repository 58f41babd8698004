// SPDX-License-Identifier: Apache-2.0
/* What stands behind a virtio-blk disk: sectors on the host.
 *
 * A back-end outlives its devices: who opened it destroys it, and until then lends it to one
 * device after the other, each from attach() to detach(). So an image stays open, and locked, when
 * a reboot of the guest replaces the device.
 *
 * Requests are handed over with submit(), start at the latest at flush_submissions(), run in any
 * order and at the same time, and come back through their done function on the loop's thread
 * with the guard held that the backend was given: from the loop, or from within
 * flush_submissions() if they could be served at once. submit() itself never calls done, and a
 * done function may submit() again.
 *
 * A flush covers the writes that were done before it was submitted, no others. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct loop;

enum { SECTOR_SIZE = 512 };

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

/* Owned by whoever submits it; stays where it is until done is called. While the backend has it,
 * it moves offset, len and iov along with the bytes that are through, so that after a failure
 * they tell where it failed. */
struct block_request {
    enum block_op op;
    bool may_unmap;     /* of WRITE_ZEROES: the space may be given back */
    uint64_t offset;    /* bytes; inside the disk, as the submitter checked */
    uint64_t len;       /* bytes */
    struct iovec *iov;  /* of READ and WRITE; len bytes in all */
    unsigned iov_count; /* at most IOV_MAX */
    /* @err: 0, -ENODATA if the disk has become shorter than sector_count says, or -errno. */
    void (*done)(struct block_request *request, int err);
    /* The backend's, while it has the request. */
    struct block_request *next;
    int err;
};

/* Told to the owner of the backend, with the guard held. */
struct block_events {
    /* After a row of done calls: the time to interrupt the guest, once for all of them. May call
     * flush_submissions(). */
    void (*batch_done)(void *ctx);
    void *ctx;
};

struct block_backend;

struct block_backend_ops {
    void (*submit)(struct block_backend *backend, struct block_request *request);
    void (*flush_submissions)(struct block_backend *backend);
    /* Tells whom to call back and under which lock, before the first submit(). Not twice without a
     * detach() between, which is due after a failure, too. Returns 0 or -errno. */
    int (*attach)(struct block_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                  const struct block_events *events);
    /* Waits for what is under way and forgets the rest, without calling done. From then on the
     * requests, their buffers, the guard and the loop may go; what was written stays written. Not
     * with the guard held, and not while the loop runs on another thread. Harmless if nobody is
     * attached. */
    void (*detach)(struct block_backend *backend);
    /* Detaches, then closes and frees. Half-built is fine. */
    void (*destroy)(struct block_backend *backend);
};

struct block_backend {
    const struct block_backend_ops *ops;
    uint64_t sector_count;        /* of SECTOR_SIZE */
    uint32_t block_size;          /* the unit to use, bytes; a power of two from 512 */
    uint32_t physical_block_size; /* the unit that is written in one piece; at least block_size */
    bool read_only;
    bool can_discard, can_write_zeroes;
    bool has_volatile_cache; /* what is written survives a power loss only after a flush */
};

/* Calls the destroy operation. NULL is fine. */
void block_backend_destroy(struct block_backend *backend);

enum block_cache {
    BLOCK_CACHE_WRITEBACK, /* the host's page cache; flush is fdatasync */
    BLOCK_CACHE_NONE,      /* O_DIRECT; flush is fdatasync */
    BLOCK_CACHE_UNSAFE,    /* the page cache, and flush does nothing */
};

enum block_engine {
    BLOCK_ENGINE_AUTO,    /* the best for the file that the host lets us use */
    BLOCK_ENGINE_URING,   /* io_uring, or fail */
    BLOCK_ENGINE_THREADS, /* threads alone */
};

struct block_file_params {
    const char *path;
    bool read_only;
    enum block_cache cache;
    enum block_engine engine;
};

/* Opens a raw image file or a block device, locks it (OFD lock: exclusive for writing, shared for
 * reading), and logs what is wrong with it. Returns 0 or -errno.
 *
 * The disk has the size that the file has now. If the file grows, the disk does not. If it
 * shrinks, what is gone reads as an error (not as zeroes: the data is lost, and the guest should
 * know), and writing there makes the file longer again. */
int block_file_open(const struct block_file_params *params, struct block_backend **ret);
