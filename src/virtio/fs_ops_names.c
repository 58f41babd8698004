// SPDX-License-Identifier: Apache-2.0
/* FUSE operations on names in a folder: finding, making, moving and removing files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_fuse.h"
#include "host/fd.h"

#ifndef RENAME_NOREPLACE
#include <linux/fs.h> /* musl */
#endif

enum { MODE_BITS = 07777 };

/* --- what is told of a file --- */

void fs_fill_entry(struct fs_call *call, struct fs_inode *inode, const struct statx *stx,
                   struct fuse_entry_out *entry)
{
    const struct fs_inode *folder = call->inode;

    fs_fill_attr(stx, &entry->attr);
    entry->nodeid = inode->id;
    entry->entry_valid = entry->attr_valid = fs_valid_seconds(call->share);
    if (S_ISDIR(inode->type) &&
        (inode->dev != folder->dev || inode->mount_id != folder->mount_id) &&
        (atomic_load(&call->fuse->init_flags) & FUSE_SUBMOUNTS)) {
        /* The guest mounts it by itself, with a device number of its own. Kernels before 6.8 forget
         * it while that mount uses it. */
        entry->attr.flags |= FUSE_ATTR_SUBMOUNT;
        fs_inode_pin(call->share, inode);
    }
}

static int reply_lookup(struct fs_call *call, const char *name)
{
    struct fs_inode *inode;
    struct statx stx;
    int err = fs_lookup(call->share, call->inode, name, &inode, &stx);

    if (err)
        return err;
    fs_fill_entry(call, inode, &stx, fs_reply_add(call, sizeof(struct fuse_entry_out)));
    fs_inode_put(call->share, inode);
    return 0;
}

/* That there is no such file holds as long as that there is one: compilers look for a header in
 * each of their folders again and again. */
int fs_op_lookup(struct fs_call *call)
{
    int err = reply_lookup(call, call->name[0]);

    if (err != -ENOENT || fs_valid_seconds(call->share) == 0)
        return err;
    struct fuse_entry_out *entry = fs_reply_add(call, sizeof(*entry)); /* of inode 0 */
    entry->entry_valid = fs_valid_seconds(call->share);
    return 0;
}

int fs_op_forget(struct fs_call *call)
{
    const struct fuse_forget_in *in = call->arg;

    fs_inode_forget(call->share, call->header.nodeid, in->nlookup);
    return 0;
}

int fs_op_batch_forget(struct fs_call *call)
{
    const struct fuse_batch_forget_in *in = call->arg;
    size_t there = call->rest_len / sizeof(struct fuse_forget_one);

    for (size_t i = 0; i < in->count && i < there; i++) {
        struct fuse_forget_one one;

        memcpy(&one, call->rest + i * sizeof(one), sizeof(one));
        fs_inode_forget(call->share, one.nodeid, one.nlookup);
    }
    return 0;
}

int fs_op_readlink(struct fs_call *call)
{
    size_t room = call->room < PATH_MAX ? call->room : PATH_MAX;

    if (!S_ISLNK(call->inode->type) || room == 0)
        return -EINVAL;
    ssize_t len = readlinkat(call->inode->fd, "", (char *)call->reply, room);
    if (len < 0)
        return -errno;
    call->reply_len = (size_t)len;
    return 0;
}

/* --- making files --- */

/* Ready to make name[0] as the guest's user. fs_act_as_ourselves() is due if it returns 0. */
static int begin_create(const struct fs_call *call)
{
    int err = fs_check_name(call->share, call->inode, call->name[0]);

    return err ? err : fs_act_as(call->share, call->header.uid, call->header.gid);
}

/* That no link is made on the way to what is hidden, symbolic or as another one's second name. */
static int check_new_link(const struct fs_call *call)
{
    return fs_name_is_way(call->share, call->inode, call->name[0]) ? -EACCES : 0;
}

/* @result: what the host's call said. Answers with what was made. */
static int end_create(struct fs_call *call, int result)
{
    int err = result < 0 ? -errno : 0;

    fs_act_as_ourselves(call->share);
    return err ? err : reply_lookup(call, call->name[0]);
}

int fs_op_symlink(struct fs_call *call)
{
    size_t len = strlen(call->name[1]);
    int err = len == 0 ? -ENOENT : len >= PATH_MAX ? -ENAMETOOLONG : check_new_link(call);

    if (!err)
        err = begin_create(call);
    if (err)
        return err;
    return end_create(call, symlinkat(call->name[1], call->inode->fd, call->name[0]));
}

/* Of devices only 0:0, which overlayfs marks a removed file with: it opens nothing. */
static bool may_be_made(const struct fuse_mknod_in *in)
{
    switch (in->mode & S_IFMT) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
        return true;
    case S_IFCHR:
        return in->rdev == 0;
    default:
        return false;
    }
}

int fs_op_mknod(struct fs_call *call)
{
    const struct fuse_mknod_in *in = call->arg;
    int err = may_be_made(in) ? begin_create(call) : -EPERM;

    if (err)
        return err;
    return end_create(call,
                      mknodat(call->inode->fd, call->name[0], in->mode & (S_IFMT | MODE_BITS), 0));
}

int fs_op_mkdir(struct fs_call *call)
{
    const struct fuse_mkdir_in *in = call->arg;
    int err = begin_create(call);

    if (err)
        return err;
    return end_create(call, mkdirat(call->inode->fd, call->name[0], in->mode & MODE_BITS));
}

int fs_op_link(struct fs_call *call)
{
    const struct fuse_link_in *in = call->arg;
    struct fs_inode *old;
    int err = check_new_link(call);

    if (!err)
        err = fs_check_name(call->share, call->inode, call->name[0]);
    if (!err)
        err = fs_inode_get(call->share, in->oldnodeid, &old);
    if (err)
        return err;
    /* By its descriptor's name: AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH. */
    if (linkat(call->share->proc_fd, fs_proc_name(old->fd).text, call->inode->fd, call->name[0],
               AT_SYMLINK_FOLLOW))
        err = -errno;
    fs_inode_put(call->share, old);
    return err ? err : reply_lookup(call, call->name[0]);
}

/* Answers with the file that @fd has open, and a handle of it. */
static int reply_created(struct fs_call *call, int fd, const char *name)
{
    AUTO_CLOSE int own = fd;
    struct fs_inode *inode, *folder = name ? call->inode : NULL;
    struct statx stx;
    int path_fd = fs_open_again(call->share, fd);
    int err =
        path_fd < 0 ? path_fd : fs_inode_adopt(call->share, path_fd, folder, name, &inode, &stx);

    if (err)
        return err;
    fs_fill_entry(call, inode, &stx, fs_reply_add(call, sizeof(struct fuse_entry_out)));
    err = fs_reply_open(call, inode, take_fd(&own));
    if (err)
        fs_inode_forget(call->share, inode->id, 1);
    fs_inode_put(call->share, inode);
    return err;
}

/* A file that is there, which the guest took for missing, is not opened: whether its user may was
 * not asked, and a link there would lead on. ESTALE has its kernel look again, and do as with any
 * file. */
int fs_op_create(struct fs_call *call)
{
    const struct fuse_create_in *in = call->arg;
    int flags = fs_flags_of_handle(call->fuse, fs_open_flags(in->flags));
    int err = begin_create(call);

    if (err)
        return err;
    int fd = fs_open_at(call->inode, call->name[0], flags | O_CREAT | O_EXCL | O_NONBLOCK,
                        in->mode & MODE_BITS);
    fs_act_as_ourselves(call->share);
    if (fd >= 0)
        return reply_created(call, fd, call->name[0]);
    return fd == -EEXIST && !(in->flags & O_EXCL) ? -ESTALE : fd;
}

int fs_op_tmpfile(struct fs_call *call)
{
    const struct fuse_create_in *in = call->arg;
    int flags = fs_open_flags(in->flags) & ~O_TRUNC;
    int err = fs_act_as(call->share, call->header.uid, call->header.gid);

    if (err)
        return err;
    if ((flags & O_ACCMODE) == O_RDONLY)
        flags |= O_RDWR;
    int fd = fs_open_at(call->inode, ".", flags | O_TMPFILE | (int)(in->flags & O_EXCL),
                        in->mode & MODE_BITS);
    fs_act_as_ourselves(call->share);
    return fd < 0 ? fd : reply_created(call, fd, NULL);
}

/* --- moving and removing --- */

static int remove_name(struct fs_call *call, int flags)
{
    int err = fs_check_name(call->share, call->inode, call->name[0]);

    if (!err)
        fs_inode_revive(call->share, call->inode, call->name[0]);
    if (!err && unlinkat(call->inode->fd, call->name[0], flags))
        err = -errno;
    return err;
}

/* A symbolic link of the host's on the way to what is hidden. */
static bool is_guide(const struct fs_call *call)
{
    struct statx stx;

    return fs_name_is_way(call->share, call->inode, call->name[0]) &&
           !fs_stat(call->inode->fd, call->name[0], &stx) && S_ISLNK(stx.stx_mode);
}

int fs_op_unlink(struct fs_call *call)
{
    return is_guide(call) ? -EACCES : remove_name(call, 0);
}

int fs_op_rmdir(struct fs_call *call)
{
    return remove_name(call, AT_REMOVEDIR);
}

static int rename_to(struct fs_call *call, uint64_t folder_id, uint32_t flags)
{
    struct fs_inode *folder;
    int err = fs_inode_get(call->share, folder_id, &folder);

    if (err)
        return err;
    err = fs_check_name(call->share, call->inode, call->name[0]);
    if (!err)
        err = fs_check_name(call->share, folder, call->name[1]);
    if (!err && (fs_name_is_way(call->share, call->inode, call->name[0]) ||
                 fs_name_is_way(call->share, folder, call->name[1])))
        err = -EXDEV; /* mv(1) copies then */
    if (!err) {
        fs_inode_revive(call->share, call->inode, call->name[0]);
        fs_inode_revive(call->share, folder, call->name[1]);
    }
    if (!err && syscall(SYS_renameat2, call->inode->fd, call->name[0], folder->fd, call->name[1],
                        flags) < 0)
        err = -errno;
    fs_inode_put(call->share, folder);
    return err;
}

int fs_op_rename(struct fs_call *call)
{
    const struct fuse_rename_in *in = call->arg;

    return rename_to(call, in->newdir, 0);
}

int fs_op_rename2(struct fs_call *call)
{
    const struct fuse_rename2_in *in = call->arg;
    const uint32_t known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

    return in->flags & ~known ? -EINVAL : rename_to(call, in->newdir, in->flags);
}
