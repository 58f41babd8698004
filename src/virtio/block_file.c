// SPDX-License-Identifier: Apache-2.0
/* A raw image file or a host block device as a disk.
 *
 * How this works: opening finds out what the file is and can do, says what is wrong with it in
 * the user's words, and locks it. After that a request goes one of two ways. Reads and writes
 * of moderate size are tried without waiting by block_uring.c first, where the host has io_uring;
 * everything else, and what that could not finish, is done by the threads of block_threads.c. A
 * file on tmpfs takes a shorter way (block_inline.c): it never waits, but io_uring cannot know, as
 * tmpfs has no RWF_NOWAIT (seen on Linux 6.1 and 6.18). */
#include "virtio/block_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "block_engine.h"
#include "devices/device.h"
#include "host/fd.h"
#include "host/log.h"

enum {
    PAGE = 4096,
    QUICK_MAX_COPIED = 256 * 1024, /* bytes */
    QUICK_MAX_DIRECT = 4 * 1024 * 1024,
};

struct block_file {
    struct block_backend base;
    struct block_target target;
    struct block_uring *uring; /* NULL: not used */
    struct block_inline inl;
    bool is_in_memory; /* inl is used */
    struct block_threads *threads;
};

static struct block_file *to_file(struct block_backend *backend)
{
    return container_of(backend, struct block_file, base);
}

/* --- requests --- */

/* Whether a request may be tried on the loop's thread. A large one may not: what is in the host's
 * memory would be copied there, for which all devices wait, and a guest may ask for gigabytes. */
static bool is_quick(const struct block_file *file, const struct block_request *request)
{
    uint64_t max = file->target.is_direct ? QUICK_MAX_DIRECT : QUICK_MAX_COPIED;

    return (request->op == BLOCK_READ || request->op == BLOCK_WRITE) && request->len <= max &&
           block_target_takes(&file->target, request);
}

static void block_file_submit(struct block_backend *backend, struct block_request *request)
{
    struct block_file *file = to_file(backend);
    bool quick = is_quick(file, request);

    if (quick && file->is_in_memory)
        block_inline_submit(&file->inl, request);
    else if (!quick || !file->uring || !block_uring_submit(file->uring, request))
        block_threads_submit(file->threads, request);
}

static void block_file_flush_submissions(struct block_backend *backend)
{
    struct block_file *file = to_file(backend);

    if (file->uring)
        block_uring_flush(file->uring);
    block_threads_flush(file->threads);
    block_inline_flush(&file->inl);
}

static int block_file_attach(struct block_backend *backend, struct loop *loop,
                             pthread_mutex_t *guard, const struct block_events *events)
{
    struct block_file *file = to_file(backend);
    int err = block_threads_attach(file->threads, loop, guard, events);

    file->inl.events = *events;
    if (!err && file->uring)
        err = block_uring_attach(file->uring, loop, guard, events, file->threads);
    return err;
}

static void block_file_detach(struct block_backend *backend)
{
    struct block_file *file = to_file(backend);

    if (file->uring)
        block_uring_detach(file->uring);
    block_threads_detach(file->threads);
    file->inl.queued = (struct block_list){ 0 };
}

static void block_file_destroy(struct block_backend *backend)
{
    struct block_file *file = to_file(backend);

    block_uring_destroy(file->uring);
    block_threads_destroy(file->threads);
    fd_close(&file->target.fd); /* and with it the lock */
    free(file);
}

static const struct block_backend_ops block_file_ops = {
    .submit = block_file_submit,
    .flush_submissions = block_file_flush_submissions,
    .attach = block_file_attach,
    .detach = block_file_detach,
    .destroy = block_file_destroy,
};

/* --- opening --- */

static int explain_open_error(int err, const struct block_file_params *params)
{
    const char *path = params->path;

    switch (err) {
    case -ENOENT:
        log_error("disk '%s': no such file; to make an empty one: truncate -s 10G '%s'", path,
                  path);
        return err;
    case -EACCES:
    case -EPERM:
    case -EROFS:
        if (!params->read_only && access(path, R_OK) == 0) {
            log_error("disk '%s': %s for writing; open it with ',readonly', or get write "
                      "permission",
                      path, strerror(-err));
        } else {
            log_error("disk '%s': %s; get read permission on it and on the folders above it", path,
                      strerror(-err));
        }
        return err;
    case -EBUSY:
        log_error(
            "disk '%s': in use by the host or by another program (is it mounted?); unmount it, or "
            "open it with ',readonly'",
            path);
        return err;
    case -EINVAL:
        if (params->cache == BLOCK_CACHE_NONE) {
            log_error("disk '%s': its file system has no direct I/O; leave out cache=none", path);
            return err;
        }
        break;
    }
    return log_errno(err, "disk '%s': open", path);
}

static int refuse_type(const char *path, mode_t mode)
{
    if (S_ISDIR(mode))
        log_error("disk '%s': a directory, not an image file or block device", path);
    else
        log_error("disk '%s': neither a regular file nor a block device", path);
    return S_ISDIR(mode) ? -EISDIR : -ENOTBLK;
}

static int open_image(const struct block_file_params *params, struct block_target *target)
{
    int flags = O_CLOEXEC | (params->read_only ? O_RDONLY : O_RDWR);
    struct stat st;

    /* Before opening, which would wait for the other end of a pipe. */
    if (stat(params->path, &st) < 0)
        return explain_open_error(-errno, params);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return refuse_type(params->path, st.st_mode);
    target->is_device = S_ISBLK(st.st_mode);
    target->is_direct = params->cache == BLOCK_CACHE_NONE;
    if (target->is_direct)
        flags |= O_DIRECT;
    if (target->is_device && !params->read_only)
        flags |= O_EXCL; /* refuses a device that is mounted */
    target->fd = open(params->path, flags);
    if (target->fd < 0)
        return explain_open_error(-errno, params);
    if (fstat(target->fd, &st) < 0)
        return log_errno(-errno, "disk '%s': stat", params->path);
    if (target->is_device ? !S_ISBLK(st.st_mode) : !S_ISREG(st.st_mode))
        return refuse_type(params->path, st.st_mode); /* it was exchanged meanwhile */
    return 0;
}

/* The name of a process, or "?". */
static void read_process_name(pid_t pid, char *name, size_t size)
{
    AUTO_FREE char *text = NULL;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    if (fd_read_file(path, PAGE, &text, NULL))
        text = NULL;
    snprintf(name, size, "%.*s", text ? (int)strcspn(text, "\n") : 1, text ? text : "?");
}

static int lock_image(const struct block_file_params *params, const struct block_target *target)
{
    char name[64];
    pid_t holder = 0;
    int err = block_lock(target->fd, params->read_only, &holder);

    if (!err)
        return 0;
    if (err != -EAGAIN) {
        log_warn("disk '%s': cannot be locked here (%s), so nothing keeps a second virtual "
                 "machine off it",
                 params->path, strerror(-err));
        return 0;
    }
    if (holder) {
        read_process_name(holder, name, sizeof(name));
        log_error("disk '%s': in use by process %d ('%s')", params->path, (int)holder, name);
    } else {
        log_error("disk '%s': locked by another process", params->path);
    }
    return err;
}

/* Size and units. */
static int measure_image(struct block_file *file, const char *path)
{
    struct block_backend *base = &file->base;
    uint64_t size = 0;
    struct stat st;

    base->block_size = SECTOR_SIZE;
    base->physical_block_size = PAGE;
    if (file->target.is_device) {
        unsigned physical = 0;
        int logical = 0;

        if (ioctl(file->target.fd, BLKGETSIZE64, &size) < 0 ||
            ioctl(file->target.fd, BLKSSZGET, &logical) < 0 ||
            ioctl(file->target.fd, BLKPBSZGET, &physical) < 0)
            return log_errno(-errno, "disk '%s': size of the device", path);
        base->block_size = (uint32_t)logical;
        base->physical_block_size = physical < (unsigned)logical ? (uint32_t)logical : physical;
    } else {
        if (fstat(file->target.fd, &st) < 0)
            return log_errno(-errno, "disk '%s': stat", path);
        size = (uint64_t)st.st_size;
    }
    if (size == 0) {
        log_error("disk '%s': empty; to give it a size: truncate -s 10G '%s'", path, path);
        return -EINVAL;
    }
    if (size % base->block_size) {
        log_error("disk '%s': %" PRIu64 " bytes, not whole sectors of %u; to fill it up: "
                  "truncate -s %%%u '%s'",
                  path, size, base->block_size, base->block_size, path);
        return -EINVAL;
    }
    base->sector_count = size / SECTOR_SIZE;
    return 0;
}

/* Writing beyond the limit would be our death (SIGXFSZ), not an error. The disk never grows, so
 * once is enough to look. */
static int check_size_limit(const struct block_file *file, const char *path)
{
    struct rlimit limit;
    uint64_t size = file->base.sector_count * SECTOR_SIZE;

    if (file->base.read_only || file->target.is_device || getrlimit(RLIMIT_FSIZE, &limit) < 0 ||
        limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur)
        return 0;
    log_error("disk '%s': %" PRIu64 " bytes, but the file size limit is %ju; raise it (ulimit -f "
              "unlimited)",
              path, size, (uintmax_t)limit.rlim_cur);
    return -EFBIG;
}

/* Whether O_DIRECT works in units of @align bytes; by trying, as there is no other way that all
 * kernels and file systems have. */
static bool direct_works(int fd, void *buf, size_t align)
{
    return pread(fd, buf, align, 0) >= 0 || errno != EINVAL;
}

static int find_alignment(struct block_file *file, const char *path)
{
    struct block_target *target = &file->target;
    uint32_t align = file->base.block_size;

    target->memory_align = target->offset_align = 1;
    if (!target->is_direct)
        return 0;

    size_t size = 2 * (size_t)align;
    uint8_t *buf = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (buf == MAP_FAILED)
        return log_errno(-ENOMEM, "disk '%s'", path);
    bool works = direct_works(target->fd, buf + align, align);
    munmap(buf, size);
    if (!works) {
        log_error("disk '%s': direct I/O is not possible there in sectors of %u bytes; leave out "
                  "cache=none",
                  path, align);
        return -EINVAL;
    }
    target->memory_align = target->offset_align = align;
    return 0;
}

/* What the kernel says of the device, or of the device that it is a partition of. */
static bool device_can_discard(int fd)
{
    static const char *const places[] = { "queue", "../queue" };
    struct stat st;

    if (fstat(fd, &st) < 0)
        return false;
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        AUTO_FREE char *text = NULL;
        char path[96];

        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/discard_max_bytes", major(st.st_rdev),
                 minor(st.st_rdev), places[i]);
        if (fd_read_file(path, PAGE, &text, NULL) == 0)
            return strtoull(text, NULL, 10) > 0;
    }
    return false;
}

static void find_abilities(struct block_file *file)
{
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    struct block_target *target = &file->target;
    struct block_backend *base = &file->base;

    if (base->read_only)
        return;
    base->can_write_zeroes = true; /* by hand, at the worst; cheaper than if the guest sent them */
    if (target->is_device) {
        base->can_discard = device_can_discard(target->fd);
        return;
    }
    /* A hole behind the end changes nothing, and tells. */
    off_t end = (off_t)(base->sector_count * SECTOR_SIZE);

    if (fallocate(target->fd, punch, end, PAGE) < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        atomic_store(&target->cannot_punch, true);
    base->can_discard = !atomic_load(&target->cannot_punch);
}

static bool is_on_tmpfs(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static int start_engines(struct block_file *file, const struct block_file_params *params)
{
    const char *engine = "threads";
    int err = block_threads_create(&file->target, &file->threads);

    if (err)
        return log_errno(err, "disk '%s'", params->path);
    file->inl.target = &file->target;
    file->is_in_memory = params->engine == BLOCK_ENGINE_AUTO && is_on_tmpfs(file->target.fd);
    if (file->is_in_memory) {
        engine = "in memory";
    } else if (params->engine != BLOCK_ENGINE_THREADS) {
        err = block_uring_create(file->target.fd, &file->uring);
        if (err && params->engine == BLOCK_ENGINE_URING)
            return log_errno(err, "disk '%s': io_uring", params->path);
        if (err)
            log_info("disk '%s': io_uring: %s", params->path, strerror(-err));
        else
            engine = "io_uring";
    }
    log_info("disk '%s': %" PRIu64 " bytes%s, %s", params->path,
             file->base.sector_count * SECTOR_SIZE, params->read_only ? ", read-only" : "", engine);
    return 0;
}

static int block_file_build(struct block_file *file, const struct block_file_params *params)
{
    int err = open_image(params, &file->target);

    file->base.read_only = params->read_only;
    file->base.has_volatile_cache = !params->read_only && params->cache != BLOCK_CACHE_UNSAFE;
    file->target.flush_is_nothing = params->cache == BLOCK_CACHE_UNSAFE;
    if (!err)
        err = lock_image(params, &file->target);
    if (!err)
        err = measure_image(file, params->path);
    if (!err)
        err = check_size_limit(file, params->path);
    if (!err)
        err = find_alignment(file, params->path);
    if (err)
        return err;
    find_abilities(file);
    return start_engines(file, params);
}

int block_file_open(const struct block_file_params *params, struct block_backend **ret)
{
    struct block_file *file = calloc(1, sizeof(*file));

    if (!file)
        return log_errno(-ENOMEM, "disk '%s'", params->path);
    file->base.ops = &block_file_ops;
    file->target.fd = -1;
    atomic_init(&file->target.cannot_punch, false);
    atomic_init(&file->target.cannot_zero_range, false);

    int err = block_file_build(file, params);

    if (err) {
        block_file_destroy(&file->base);
        return err;
    }
    *ret = &file->base;
    return 0;
}
