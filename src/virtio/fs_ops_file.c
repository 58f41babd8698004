// SPDX-License-Identifier: Apache-2.0
/* FUSE operations on files that are open. Data goes between the file and the guest's memory
 * directly. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_fuse.h"
#include "host/fd.h"

#ifndef RWF_APPEND
#include <linux/fs.h> /* musl */
#endif

/* Of one FUSE_COPY_FILE_RANGE, which nobody can interrupt; the guest asks for the rest. */
#define COPY_MAX (UINT64_C(64) << 20)

/* --- opening --- */

/* Not O_APPEND: what was written through a mapping comes back by any handle, and has its place. */
int fs_open_flags(uint32_t guest_flags)
{
    return (int)(guest_flags & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC));
}

bool fs_has_writeback(const struct fs_fuse *fuse)
{
    return atomic_load(&fuse->init_flags) & FUSE_WRITEBACK_CACHE;
}

/* A guest that writes later, in whole pages, reads what it does not have of them. */
int fs_flags_of_handle(const struct fs_fuse *fuse, int flags)
{
    bool is_to_be_read = fs_has_writeback(fuse) && (flags & O_ACCMODE) == O_WRONLY;

    return is_to_be_read ? (flags & ~O_ACCMODE) | O_RDWR : flags;
}

static bool can_be_read(int fd)
{
    return (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
}

int fs_reply_open(struct fs_call *call, struct fs_inode *inode, int fd)
{
    bool is_unchanged = fs_inode_is_unchanged(call->share, inode, fd);
    bool is_direct =
        call->share->cache == FS_CACHE_NONE || (fs_has_writeback(call->fuse) && !can_be_read(fd));
    uint64_t id;
    int err = fs_handle_add(call->share, inode, fd, &id);

    if (err)
        return err;
    struct fuse_open_out *out = fs_reply_add(call, sizeof(*out));
    out->fh = id;
    if (is_direct)
        out->open_flags = FOPEN_DIRECT_IO;
    else if (call->share->cache == FS_CACHE_ALWAYS || is_unchanged)
        out->open_flags = FOPEN_KEEP_CACHE;
    return 0;
}

/* Takes the set-user and set-group bits off, as a write by anybody but root does; the host's
 * kernel does it for an ordinary user. */
static int drop_set_ids(const struct fs_share *share, int fd)
{
    struct stat st;

    if (!share->applies_ids)
        return 0;
    if (fstat(fd, &st))
        return -errno;
    mode_t drop = fs_set_ids(st.st_mode);
    return drop && fchmod(fd, st.st_mode & 07777 & ~drop) ? -errno : 0;
}

int fs_op_open(struct fs_call *call)
{
    const struct fuse_open_in *in = call->arg;
    int flags = fs_open_flags(in->flags);
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);

    if (writes && call->share->read_only)
        return -EROFS;
    if (S_ISDIR(call->inode->type))
        return -EISDIR;
    int fd = fs_open_inode(call->share, call->inode, fs_flags_of_handle(call->fuse, flags));
    if (fd == -EACCES)
        fd = fs_open_inode(call->share, call->inode, flags);
    if (fd < 0)
        return fd;
    if ((flags & O_TRUNC) && (in->open_flags & FUSE_OPEN_KILL_SUIDGID))
        (void)drop_set_ids(call->share, fd);
    return fs_reply_open(call, call->inode, fd);
}

int fs_op_release(struct fs_call *call)
{
    const struct fuse_release_in *in = call->arg;

    return fs_handle_close(call->share, in->fh, false);
}

/* ENOSYS spares the guest's kernel to ask at every close. */
int fs_op_flush(struct fs_call *call)
{
    const struct fuse_flush_in *in = call->arg;
    struct fs_handle *handle;

    if (!call->share->flush_has_value)
        return -ENOSYS;
    int err = fs_handle_get(call->share, in->fh, false, &handle);
    if (err)
        return err;
    int copy = fcntl(handle->fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0 || close(copy))
        err = -errno;
    fs_handle_put(call->share, handle);
    return err;
}

int fs_sync_handle(struct fs_call *call, bool is_folder)
{
    const struct fuse_fsync_in *in = call->arg;
    struct fs_handle *handle;
    int err = fs_handle_get(call->share, in->fh, is_folder, &handle);

    if (err)
        return err;
    bool data_only = in->fsync_flags & FUSE_FSYNC_FDATASYNC;
    if (data_only ? fdatasync(handle->fd) : fsync(handle->fd))
        err = -errno;
    fs_handle_put(call->share, handle);
    return err;
}

int fs_op_fsync(struct fs_call *call)
{
    return fs_sync_handle(call, false);
}

/* --- reading and writing --- */

/* Shortens the row to @len bytes, which it has at least. */
static size_t cut_data(struct fs_call *call, size_t len)
{
    size_t count = 0, left = len;

    while (left > 0) {
        struct iovec *part = &call->data[count++];

        if (part->iov_len > left)
            part->iov_len = left;
        left -= part->iov_len;
    }
    return count;
}

enum way { READ, WRITE, APPEND };

static ssize_t transfer_once(int fd, const struct iovec *iov, size_t count, off_t at, enum way way)
{
    switch (way) {
    case READ:
        return preadv(fd, iov, (int)count, at);
    case WRITE:
        return pwritev(fd, iov, (int)count, at);
    case APPEND:
        break;
    }
    /* musl has no name for it; the offset is in two halves, the upper one for 32 bits only. */
    return syscall(SYS_pwritev2, fd, iov, count, at, 0L, RWF_APPEND);
}

/* Until all is through, or nothing more goes. Returns how much went, or -errno if nothing did. */
static ssize_t transfer(struct fs_call *call, int fd, uint64_t offset, size_t len, enum way way)
{
    struct iovec *iov = call->data;
    size_t count = cut_data(call, len), done = 0;

    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return -EINVAL;
    while (done < len) {
        off_t at = (off_t)(offset + done);
        ssize_t part = transfer_once(fd, iov, count, at, way);

        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            return done ? (ssize_t)done : -errno;
        if (part == 0)
            break;
        done += (size_t)part;
        count = iov_skip(&iov, count, (size_t)part);
    }
    return (ssize_t)done;
}

int fs_op_read(struct fs_call *call)
{
    const struct fuse_read_in *in = call->arg;
    size_t len = in->size < call->data_len ? in->size : call->data_len;
    struct fs_handle *handle;
    int err = fs_handle_get(call->share, in->fh, false, &handle);

    if (err)
        return err;
    ssize_t done = transfer(call, handle->fd, in->offset, len, READ);
    fs_handle_put(call->share, handle);
    if (done < 0)
        return (int)done;
    call->reply_len = (size_t)done;
    return 0;
}

/* Where what is appended goes. RWF_APPEND finds out by itself, and nobody can come in between, but
 * Linux 6.1's overlayfs does not pass it on to the file below. */
static uint64_t end_of_file(int fd, uint64_t otherwise)
{
    struct stat st;

    return fstat(fd, &st) ? otherwise : (uint64_t)st.st_size;
}

int fs_op_write(struct fs_call *call)
{
    const struct fuse_write_in *in = call->arg;
    struct fs_handle *handle;

    if (in->size > call->data_len)
        return -EINVAL;
    int err = fs_handle_get(call->share, in->fh, false, &handle);
    if (err)
        return err;
    bool appends = (in->flags & O_APPEND) && !(in->write_flags & FUSE_WRITE_CACHE);
    uint64_t at = appends ? end_of_file(handle->fd, in->offset) : in->offset;
    ssize_t done = transfer(call, handle->fd, at, in->size, appends ? APPEND : WRITE);
    if (done >= 0 && (in->write_flags & FUSE_WRITE_KILL_SUIDGID))
        (void)drop_set_ids(call->share, handle->fd);
    fs_handle_put(call->share, handle);
    if (done < 0)
        return (int)done;
    struct fuse_write_out *out = fs_reply_add(call, sizeof(*out));
    out->size = (uint32_t)done;
    return 0;
}

int fs_op_fallocate(struct fs_call *call)
{
    const struct fuse_fallocate_in *in = call->arg;
    const uint32_t known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
    struct fs_handle *handle;

    if (in->mode & ~known)
        return -EOPNOTSUPP;
    int err = fs_handle_get(call->share, in->fh, false, &handle);
    if (err)
        return err;
    if (fallocate(handle->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length))
        err = -errno;
    fs_handle_put(call->share, handle);
    return err;
}

int fs_op_lseek(struct fs_call *call)
{
    const struct fuse_lseek_in *in = call->arg;
    struct fs_handle *handle;

    if (fs_has_writeback(call->fuse))
        return -ENOSYS; /* the host has holes where the guest has not written yet */
    /* Where the guest's own position is it knows best. */
    if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
        return -EINVAL;
    int err = fs_handle_get(call->share, in->fh, false, &handle);
    if (err)
        return err;
    off_t offset = lseek(handle->fd, (off_t)in->offset, (int)in->whence);
    if (offset < 0)
        err = -errno;
    fs_handle_put(call->share, handle);
    if (err)
        return err;
    struct fuse_lseek_out *out = fs_reply_add(call, sizeof(*out));
    out->offset = (uint64_t)offset;
    return 0;
}

int fs_op_copy_file_range(struct fs_call *call)
{
    const struct fuse_copy_file_range_in *in = call->arg;
    off_t from_offset = (off_t)in->off_in, to_offset = (off_t)in->off_out;
    uint64_t len = in->len < COPY_MAX ? in->len : COPY_MAX;
    struct fs_handle *from, *to;

    if (in->flags)
        return -EINVAL;
    int err = fs_handle_get(call->share, in->fh_in, false, &from);
    if (err)
        return err;
    err = fs_handle_get(call->share, in->fh_out, false, &to);
    if (!err) {
        ssize_t done = copy_file_range(from->fd, &from_offset, to->fd, &to_offset, len, 0);
        if (done < 0)
            err = -errno;
        else
            ((struct fuse_write_out *)fs_reply_add(call, sizeof(struct fuse_write_out)))->size =
                (uint32_t)done;
        fs_handle_put(call->share, to);
    }
    fs_handle_put(call->share, from);
    return err;
}
