// SPDX-License-Identifier: Apache-2.0
/* What stands behind a virtio-blk disk: sectors on the host.
 *
 * Requests are handed over with submit(), start at the latest at flush_submissions(), run in any
 * order and at the same time, and come back through their done function on the loop's thread
 * with the guard held that the backend was given. submit() itself never calls done. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct loop;

enum { SECTOR_SIZE = 512 };

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

/* Owned by whoever submits it; stays where it is until done is called. */
struct block_request {
    enum block_op op;
    uint64_t offset;         /* bytes; inside the disk, as the submitter checked */
    uint64_t len;            /* bytes */
    const struct iovec *iov; /* of READ and WRITE; len bytes in all */
    unsigned iov_count;
    bool may_unmap; /* of WRITE_ZEROES: the space may be given back */
    /* @err: 0 or -errno. */
    void (*done)(struct block_request *request, int err);
};

struct block_backend;

struct block_backend_ops {
    void (*submit)(struct block_backend *backend, struct block_request *request);
    void (*flush_submissions)(struct block_backend *backend);
    /* Tells whom to call back and under which lock; once, before the first submit(). Returns 0 or
     * -errno. */
    int (*attach)(struct block_backend *backend, struct loop *loop, pthread_mutex_t *guard);
    /* Waits for what is under way (without calling done), then frees. Half-built is fine. */
    void (*destroy)(struct block_backend *backend);
};

struct block_backend {
    const struct block_backend_ops *ops;
    uint64_t sector_count; /* of SECTOR_SIZE */
    uint32_t block_size;   /* the host's preferred unit, bytes; a power of two from 512 */
    bool read_only;
    bool can_discard, can_write_zeroes;
    bool has_volatile_cache; /* what is written survives a power loss only after a flush */
};

enum block_cache {
    BLOCK_CACHE_WRITEBACK, /* the host's page cache; flush is fdatasync */
    BLOCK_CACHE_NONE,      /* O_DIRECT; flush is fdatasync */
    BLOCK_CACHE_UNSAFE,    /* the page cache, and flush does nothing */
};

struct block_file_params {
    const char *path;
    bool read_only;
    enum block_cache cache;
};

/* Opens a raw image file or a block device, locks it (OFD lock: exclusive for writing, shared for
 * reading), and logs what is wrong with it. Returns 0 or -errno. */
int block_file_open(const struct block_file_params *params, struct block_backend **ret);
