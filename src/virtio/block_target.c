// SPDX-License-Identifier: Apache-2.0
/* One request on an image, with system calls that wait: what a thread of block_threads.c does.
 *
 * All ways by which a transfer can end early are here: short reads and writes are continued, the
 * end of a file that shrank is told from an error, buffers that O_DIRECT refuses are copied
 * through an aligned one of bounded size, and zeroes are written by the cheapest means that the
 * file system knows, which is found out by trying. */
#include "block_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtio/virtqueue.h"

/* The buffer for unaligned transfers, and one step of writing zeroes; bytes, a multiple of any
 * alignment. */
enum { STEP_SIZE = 256 * 1024 };

void block_request_advance(struct block_request *request, uint64_t done)
{
    request->offset += done;
    request->len -= done;
    request->iov_count = (unsigned)iov_skip(&request->iov, request->iov_count, done);
}

bool block_target_takes(const struct block_target *target, const struct block_request *request)
{
    if (!target->is_direct)
        return true;
    if (request->offset % target->offset_align)
        return false;
    for (unsigned i = 0; i < request->iov_count; i++)
        if ((uintptr_t)request->iov[i].iov_base % target->memory_align ||
            request->iov[i].iov_len % target->offset_align)
            return false;
    return true;
}

/* Makes sense of what a read or write of @wanted bytes returned, with errno. Returns the bytes
 * that are through, 0 to try again, or -errno. */
static ssize_t check_transfer(const struct block_target *target, enum block_op op, ssize_t done,
                              size_t wanted)
{
    if (done < 0)
        return errno == EINTR ? 0 : -errno;
    if (done == 0)
        return op == BLOCK_READ ? -ENODATA : -EIO;
    /* O_DIRECT stops inside a unit only at the end of a file. */
    if ((size_t)done < wanted && target->is_direct && (size_t)done % target->offset_align)
        return op == BLOCK_READ ? -ENODATA : -EIO;
    return done;
}

static int transfer(const struct block_target *target, struct block_request *request,
                    const atomic_bool *stop)
{
    while (request->len > 0) {
        ssize_t done =
            request->op == BLOCK_READ
                ? preadv(target->fd, request->iov, (int)request->iov_count, (off_t)request->offset)
                : pwritev(target->fd, request->iov, (int)request->iov_count,
                          (off_t)request->offset);

        done = check_transfer(target, request->op, done, request->len);
        if (done < 0)
            return (int)done;
        block_request_advance(request, (uint64_t)done);
        if (atomic_load(stop))
            return -ECANCELED;
    }
    return 0;
}

static int transfer_by_copying(const struct block_target *target, struct block_request *request,
                               const atomic_bool *stop, void *buf)
{
    while (request->len > 0) {
        size_t len = request->len < STEP_SIZE ? (size_t)request->len : STEP_SIZE;
        off_t offset = (off_t)request->offset;
        ssize_t done;

        if (request->op == BLOCK_READ) {
            done = pread(target->fd, buf, len, offset);
        } else {
            (void)iov_read(request->iov, request->iov_count, 0, buf, len);
            done = pwrite(target->fd, buf, len, offset);
        }
        done = check_transfer(target, request->op, done, len);
        if (done < 0)
            return (int)done;
        if (request->op == BLOCK_READ)
            (void)iov_write(request->iov, request->iov_count, 0, buf, (size_t)done);
        block_request_advance(request, (uint64_t)done);
        if (atomic_load(stop))
            return -ECANCELED;
    }
    return 0;
}

static int run_transfer(const struct block_target *target, struct block_request *request,
                        const atomic_bool *stop)
{
    if (block_target_takes(target, request))
        return transfer(target, request, stop);
    if (request->offset % target->offset_align || request->len % target->offset_align)
        return -EINVAL;

    void *buf = mmap(NULL, STEP_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buf == MAP_FAILED)
        return -ENOMEM;
    int err = transfer_by_copying(target, request, stop, buf);
    munmap(buf, STEP_SIZE);
    return err;
}

static int allocate(int fd, int mode, const struct block_request *request)
{
    int result;

    do
        result = fallocate(fd, mode, (off_t)request->offset, (off_t)request->len);
    while (result < 0 && errno == EINTR);
    if (result < 0 && errno == ENOSYS)
        return -EOPNOTSUPP;
    return result < 0 ? -errno : 0;
}

/* The same, unless the file system is known not to support it; notes it if that is so. */
static int try_to_allocate(int fd, int mode, const struct block_request *request,
                           atomic_bool *is_unsupported)
{
    if (atomic_load(is_unsupported))
        return -EOPNOTSUPP;

    int err = allocate(fd, mode, request);

    if (err == -EOPNOTSUPP)
        atomic_store(is_unsupported, true);
    return err;
}

/* A hint: it is no error if nothing comes of it. */
static int run_discard(struct block_target *target, const struct block_request *request)
{
    int err = 0;

    if (target->is_device) {
        uint64_t range[2] = { request->offset, request->len };

        if (ioctl(target->fd, BLKDISCARD, range) < 0)
            err = -errno;
    } else {
        err = try_to_allocate(target->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, request,
                              &target->cannot_punch);
    }
    return err == -EOPNOTSUPP ? 0 : err;
}

static int write_plain_zeroes(const struct block_target *target, struct block_request *request,
                              const atomic_bool *stop)
{
    /* Only ever read, so that the kernel backs it with its one page of zeroes. */
    void *zeroes = mmap(NULL, STEP_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int err = 0;

    if (zeroes == MAP_FAILED)
        return -ENOMEM;
    while (!err && request->len > 0) {
        size_t len = request->len < STEP_SIZE ? (size_t)request->len : STEP_SIZE;
        ssize_t done = pwrite(target->fd, zeroes, len, (off_t)request->offset);

        done = check_transfer(target, BLOCK_WRITE, done, len);
        if (done < 0) {
            err = (int)done;
            break;
        }
        request->offset += (uint64_t)done;
        request->len -= (uint64_t)done;
        if (atomic_load(stop))
            err = -ECANCELED;
    }
    munmap(zeroes, STEP_SIZE);
    return err;
}

/* On a block device, punching a hole writes zeroes by unmapping, if the device can; and a zero
 * range is written by the device or, failing that, by the kernel. */
static int run_write_zeroes(struct block_target *target, struct block_request *request,
                            const atomic_bool *stop)
{
    int err = -EOPNOTSUPP;

    if (request->may_unmap)
        err = try_to_allocate(target->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, request,
                              &target->cannot_punch);
    if (err == -EOPNOTSUPP)
        err =
            try_to_allocate(target->fd, FALLOC_FL_ZERO_RANGE, request, &target->cannot_zero_range);
    if (err == -EOPNOTSUPP)
        err = write_plain_zeroes(target, request, stop);
    return err;
}

int block_target_run(struct block_target *target, struct block_request *request,
                     const atomic_bool *stop)
{
    switch (request->op) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return run_transfer(target, request, stop);
    case BLOCK_FLUSH:
        return target->flush_is_nothing || fdatasync(target->fd) == 0 ? 0 : -errno;
    case BLOCK_DISCARD:
        return run_discard(target, request);
    case BLOCK_WRITE_ZEROES:
        return run_write_zeroes(target, request, stop);
    }
    return -EINVAL;
}
