// SPDX-License-Identifier: Apache-2.0
/* FUSE operations on what is said of a file: attributes, and extended ones. */
#include <errno.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs_fuse.h"
#include "host/fd.h"

enum { DAY_SECONDS = 24 * 3600 };

/* --- attributes --- */

uint64_t fs_valid_seconds(const struct fs_share *share)
{
    switch (share->cache) {
    case FS_CACHE_AUTO:
        return 1;
    case FS_CACHE_ALWAYS:
        return DAY_SECONDS;
    case FS_CACHE_NONE:
        break;
    }
    return 0;
}

/* As the guest's kernel packs a device number into 32 bits (new_encode_dev()). */
static uint32_t pack_dev(uint32_t major, uint32_t minor)
{
    return (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

void fs_fill_attr(const struct statx *stx, struct fuse_attr *attr)
{
    *attr = (struct fuse_attr){
        .ino = stx->stx_ino,
        .size = stx->stx_size,
        .blocks = stx->stx_blocks,
        .atime = (uint64_t)stx->stx_atime.tv_sec,
        .mtime = (uint64_t)stx->stx_mtime.tv_sec,
        .ctime = (uint64_t)stx->stx_ctime.tv_sec,
        .atimensec = stx->stx_atime.tv_nsec,
        .mtimensec = stx->stx_mtime.tv_nsec,
        .ctimensec = stx->stx_ctime.tv_nsec,
        .mode = stx->stx_mode,
        .nlink = stx->stx_nlink,
        .uid = stx->stx_uid,
        .gid = stx->stx_gid,
        .rdev = pack_dev(stx->stx_rdev_major, stx->stx_rdev_minor),
        .blksize = stx->stx_blksize,
    };
}

static int reply_attr(struct fs_call *call)
{
    struct statx stx;
    int err = fs_stat(call->inode->fd, "", &stx);

    if (err)
        return err;
    struct fuse_attr_out *out = fs_reply_add(call, sizeof(*out));
    out->attr_valid = fs_valid_seconds(call->share);
    fs_fill_attr(&stx, &out->attr);
    return 0;
}

int fs_op_getattr(struct fs_call *call)
{
    return reply_attr(call);
}

static int set_mode(const struct fs_call *call, mode_t mode)
{
    if (S_ISLNK(call->inode->type))
        return -EOPNOTSUPP;
    int err = fchmodat(call->share->proc_fd, fs_proc_name(call->inode->fd).text, mode & 07777, 0);
    return err ? -errno : 0;
}

static int set_owner(const struct fs_call *call, const struct fuse_setattr_in *in)
{
    uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
    gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

    return fchownat(call->inode->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? -errno
                                                                                        : 0;
}

static int truncate_handle(const struct fs_call *call, uint64_t id, off_t size)
{
    struct fs_handle *handle;
    int err = fs_handle_get(call->share, id, false, &handle);

    if (err)
        return err;
    if (ftruncate(handle->fd, size))
        err = -errno;
    fs_handle_put(call->share, handle);
    return err;
}

static int set_size(const struct fs_call *call, const struct fuse_setattr_in *in)
{
    if (in->size > INT64_MAX)
        return -EFBIG;
    if (in->valid & FATTR_FH)
        return truncate_handle(call, in->fh, (off_t)in->size);
    if (!S_ISREG(call->inode->type))
        return -EINVAL;
    AUTO_CLOSE int fd = fs_open_inode(call->share, call->inode, O_WRONLY);
    if (fd < 0)
        return fd;
    return ftruncate(fd, (off_t)in->size) ? -errno : 0;
}

static struct timespec time_to_set(bool is_given, bool is_now, uint64_t sec, uint32_t nsec)
{
    if (!is_given)
        return (struct timespec){ .tv_nsec = UTIME_OMIT };
    if (is_now)
        return (struct timespec){ .tv_nsec = UTIME_NOW };
    /* Beyond a second are numbers with a meaning, as these two. */
    return (struct timespec){ .tv_sec = (time_t)sec, .tv_nsec = nsec > 999999999 ? 0 : (long)nsec };
}

static int set_times(const struct fs_call *call, const struct fuse_setattr_in *in)
{
    const struct timespec times[2] = {
        time_to_set(in->valid & FATTR_ATIME, in->valid & FATTR_ATIME_NOW, in->atime, in->atimensec),
        time_to_set(in->valid & FATTR_MTIME, in->valid & FATTR_MTIME_NOW, in->mtime, in->mtimensec),
    };
    /* A link's own as well: where /proc leads is not followed any further. */
    int err = utimensat(call->share->proc_fd, fs_proc_name(call->inode->fd).text, times, 0);

    return err ? -errno : 0;
}

mode_t fs_set_ids(mode_t mode)
{
    return mode & (S_ISUID | (mode & S_IXGRP ? S_ISGID : 0));
}

/* What a change of owner or size by anybody but root takes off. */
static int drop_set_ids(const struct fs_call *call)
{
    struct stat st;

    if (!S_ISREG(call->inode->type) || fstat(call->inode->fd, &st) || !fs_set_ids(st.st_mode))
        return 0;
    return set_mode(call, st.st_mode & ~fs_set_ids(st.st_mode));
}

int fs_op_setattr(struct fs_call *call)
{
    const struct fuse_setattr_in *in = call->arg;
    int err = 0;

    if (in->valid & (FATTR_UID | FATTR_GID))
        err = set_owner(call, in);
    if (!err && (in->valid & FATTR_SIZE))
        err = set_size(call, in);
    if (!err && (in->valid & FATTR_KILL_SUIDGID) && !(in->valid & FATTR_MODE))
        err = drop_set_ids(call);
    if (!err && (in->valid & FATTR_MODE))
        err = set_mode(call, in->mode);
    if (!err && (in->valid & (FATTR_ATIME | FATTR_MTIME)))
        err = set_times(call, in);
    return err ? err : reply_attr(call);
}

/* --- extended attributes --- */

/* What a guest may set: its users' own, and access lists. The rest mean something to the host's
 * kernel: who may become root by a program (security.*), or what overlayfs believes (trusted.*). */
static bool may_be_set(const char *name)
{
    return !strncmp(name, XATTR_USER_PREFIX, XATTR_USER_PREFIX_LEN) ||
           !strcmp(name, "system.posix_acl_access") || !strcmp(name, "system.posix_acl_default");
}

int fs_op_setxattr(struct fs_call *call)
{
    const struct fuse_setxattr_in *in = call->arg; /* only its first two fields are there */

    if (!may_be_set(call->name[0]))
        return -EOPNOTSUPP;
    if (in->size > call->rest_len || (in->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE)))
        return -EINVAL;
    int err = setxattr(fs_proc_path(call->inode->fd).text, call->name[0], call->rest, in->size,
                       (int)in->flags);
    return err ? -errno : 0;
}

int fs_op_removexattr(struct fs_call *call)
{
    if (!may_be_set(call->name[0]))
        return -EOPNOTSUPP;
    return removexattr(fs_proc_path(call->inode->fd).text, call->name[0]) ? -errno : 0;
}

/* @len: of the value, which is in the reply's buffer if @size is not 0, or -1 with errno. */
static int reply_value(struct fs_call *call, ssize_t len, uint32_t size)
{
    if (len < 0)
        return -errno;
    if (size) {
        call->reply_len = (size_t)len;
        return call->room ? 0 : -ERANGE; /* then it was asked for the length alone */
    }
    if (call->room < sizeof(struct fuse_getxattr_out))
        return -EINVAL;
    struct fuse_getxattr_out *out = fs_reply_add(call, sizeof(*out));
    out->size = (uint32_t)len;
    return 0;
}

int fs_op_getxattr(struct fs_call *call)
{
    const struct fuse_getxattr_in *in = call->arg;
    size_t room = in->size < call->room ? in->size : call->room;

    return reply_value(
        call, getxattr(fs_proc_path(call->inode->fd).text, call->name[0], call->reply, room),
        in->size);
}

int fs_op_listxattr(struct fs_call *call)
{
    const struct fuse_getxattr_in *in = call->arg;
    size_t room = in->size < call->room ? in->size : call->room;

    return reply_value(
        call, listxattr(fs_proc_path(call->inode->fd).text, (char *)call->reply, room), in->size);
}
