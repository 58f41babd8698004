// SPDX-License-Identifier: Apache-2.0
/* A folder of the host that a guest shares: made, looked up in, and ended. Why nothing leads out of
 * it is told in fs_host.c, and what of it does not exist for the guest in fs_hidden.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_tree.h"
#include "host/fd.h"
#include "host/log.h"

enum {
    RESERVED_FDS = 256,    /* for the rest of the machine */
    FDS_MIN = 64,          /* with fewer a guest can do nothing */
    FDS_MAX = 1024 * 1024, /* an inode costs the host a KiB */
};

int fs_lookup(struct fs_share *share, struct fs_inode *folder, const char *name,
              struct fs_inode **ret, struct statx *stx)
{
    if (folder->is_opaque || fs_name_is_hidden(share, folder, name))
        return -ENOENT;
    /* One call for what the guest asks of again; @name is one component, whatever it is of. */
    int err = fs_stat(folder->fd, name, stx);
    if (err || fs_inode_find(share, stx, folder, name, ret))
        return err;
    int fd = fs_open_at(folder, name, O_PATH, 0);
    return fd < 0 ? fd : fs_inode_adopt(share, fd, folder, name, ret, stx);
}

void fs_forget_all(struct fs_share *share)
{
    pthread_mutex_lock(&share->lock);
    fs_handles_close(share);
    fs_inodes_forget(share);
    pthread_mutex_unlock(&share->lock);
}

/* --- making one --- */

static size_t raise_fd_limit(void)
{
    const struct rlimit most = { FDS_MAX, FDS_MAX };
    struct rlimit limit;

    (void)setrlimit(RLIMIT_NOFILE, &most); /* root may do that */
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return FDS_MIN;
    rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        limit.rlim_cur = soft;
    return limit.rlim_cur > FDS_MAX ? FDS_MAX : (size_t)limit.rlim_cur;
}

static size_t fd_budget(unsigned share_count)
{
    size_t limit = raise_fd_limit();
    size_t budget =
        limit > RESERVED_FDS ? (limit - RESERVED_FDS) / (share_count ? share_count : 1) : FDS_MIN;

    return budget < FDS_MIN ? FDS_MIN : budget;
}

/* Network file systems say at the close that there was no room for what was written. */
static bool close_can_fail(int fd)
{
    struct statfs st;

    if (fstatfs(fd, &st))
        return true;
    return st.f_type == NFS_SUPER_MAGIC || st.f_type == SMB2_SUPER_MAGIC ||
           st.f_type == CIFS_SUPER_MAGIC || st.f_type == FUSE_SUPER_MAGIC;
}

static int open_folders(struct fs_share *share, const char *path)
{
    AUTO_CLOSE int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return log_errno(-errno, "folder '%s'", path);
    if (fs_is_kernels(folder)) {
        log_error("folder '%s': a file system of the kernel's, which is not shared", path);
        return -EINVAL;
    }
    share->flush_has_value = close_can_fail(folder);
    share->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int root = share->proc_fd < 0 ? -errno : fs_open_again(share, folder);
    int err = root < 0 ? root : fs_inodes_init(share, root);
    return err ? log_errno(err, "folder '%s'", path) : 0;
}

int fs_share_open(const struct fs_share_params *params, struct fs_share **ret)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct fs_share *share = calloc(1, sizeof(*share));

    if (!share)
        return log_errno(-ENOMEM, "folder '%s'", params->path);
    pthread_mutex_init(&share->lock, NULL);
    share->proc_fd = -1;
    share->read_only = params->read_only;
    share->cache = params->cache;
    share->applies_ids = geteuid() == 0;
    share->fd_max = fd_budget(params->share_count);
    if (share->applies_ids)
        (void)syscall(SYS_capget, &header, share->caps);
    int err = fs_hidden_init(&share->hidden, params->hidden);
    err = err ? log_errno(err, "folder '%s'", params->path) : open_folders(share, params->path);
    if (err) {
        fs_share_destroy(share);
        return err;
    }
    *ret = share;
    return 0;
}

void fs_share_destroy(struct fs_share *share)
{
    if (!share)
        return;
    fs_forget_all(share);
    fs_inodes_fini(share);
    fs_table_fini(&share->handles);
    fs_hidden_fini(&share->hidden);
    fd_close(&share->proc_fd);
    pthread_mutex_destroy(&share->lock);
    free(share);
}
