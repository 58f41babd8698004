// SPDX-License-Identifier: Apache-2.0
/* A folder of the host, from which nothing leads out.
 *
 * How this works: the guest never gives a path. It names an inode that it was told of, which is an
 * open O_PATH descriptor here, and at most one name in it. A name with a slash, "." and ".." are
 * refused; what is left is opened relative to the descriptor by openat2(), beneath it, with no link
 * followed. So however the guest, or a process of the host, renames folders and puts links in their
 * place meanwhile, what a name reaches was in that folder when it was opened; and the first of all
 * descriptors is the root.
 *
 * An O_PATH descriptor opens nothing. What the guest wants to read is opened a second time through
 * /proc/self/fd, which leads to the very file, and only if that is a regular file or a folder: the
 * devices, sockets and pipes of the host are shown and never opened. File systems in the folder by
 * which the kernel is asked and told things (/proc, /sys), where a file can be the memory of a
 * process, are empty folders for the guest.
 *
 * Who we are: as an ordinary user the host checks everything against that user, and what the guest
 * makes belongs to him. As root, which the guest would otherwise create files as, a thread takes
 * the guest's user and group (setfsuid(), the thread's own) while it creates one, which is never
 * for an instant somebody else's. It may do so wherever root may: whether the user may as well was
 * checked by the guest's kernel, as all else is, which knows its users and all of their groups. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
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
    COMPONENT_MAX = 255,   /* NAME_MAX of every file system */
};

/* File systems that <linux/magic.h> does not know (statfs(2)). */
#define CONFIGFS_TYPE 0x62656570U
#define FUSECTL_TYPE 0x65735543U
#define MQUEUE_TYPE 0x19800202U
#define RPC_PIPEFS_TYPE 0x67596969U

/* --- names --- */

bool fs_name_is_valid(const char *name)
{
    size_t len = strnlen(name, COMPONENT_MAX + 1);

    return len > 0 && len <= COMPONENT_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static int open_beneath(int folder, const char *name, int flags, mode_t mode)
{
    const struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    };
    int fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof(how));

    return fd < 0 ? -errno : fd;
}

int fs_open_at(const struct fs_inode *folder, const char *name, int flags, mode_t mode)
{
    return open_beneath(folder->fd, name, flags, mode);
}

struct fs_proc_name fs_proc_name(int fd)
{
    struct fs_proc_name name;

    (void)snprintf(name.text, sizeof(name.text), "%d", fd);
    return name;
}

struct fs_proc_name fs_proc_path(int fd)
{
    struct fs_proc_name name;

    (void)snprintf(name.text, sizeof(name.text), "/proc/self/fd/%d", fd);
    return name;
}

int fs_open_inode(const struct fs_share *share, const struct fs_inode *inode, int flags)
{
    if (S_ISLNK(inode->type))
        return -ELOOP;
    if (inode->is_opaque && !S_ISDIR(inode->type))
        return -EACCES;
    if (!S_ISREG(inode->type) && !S_ISDIR(inode->type))
        return -ENXIO;
    /* Nor does anybody wait for a lease on a file. */
    int fd = openat(share->proc_fd, fs_proc_name(inode->fd).text, flags | O_CLOEXEC | O_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

int fs_open_again(const struct fs_share *share, int fd)
{
    int again = openat(share->proc_fd, fs_proc_name(fd).text, O_PATH | O_CLOEXEC);

    return again < 0 ? -errno : again;
}

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

bool fs_is_kernels(int fd)
{
    static const uint32_t types[] = {
        PROC_SUPER_MAGIC,     SYSFS_MAGIC,        DEBUGFS_MAGIC,        TRACEFS_MAGIC,
        SECURITYFS_MAGIC,     SELINUX_MAGIC,      SMACK_MAGIC,          CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC,  DEVPTS_SUPER_MAGIC, BPF_FS_MAGIC,         EFIVARFS_MAGIC,
        PSTOREFS_MAGIC,       NSFS_MAGIC,         RDTGROUP_SUPER_MAGIC, BINFMTFS_MAGIC,
        BINDERFS_SUPER_MAGIC, XENFS_SUPER_MAGIC,  CONFIGFS_TYPE,        FUSECTL_TYPE,
        MQUEUE_TYPE,          RPC_PIPEFS_TYPE,
    };
    struct statfs st;

    if (fstatfs(fd, &st))
        return true;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if ((uint32_t)st.f_type == types[i])
            return true;
    return false;
}

/* --- who we are --- */

/* With the user go root's rights over files (capabilities(7), "Effect of user ID changes"), and
 * come back with him; those to reach any folder are taken back at once. */
static void keep_reach(const struct fs_share *share)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
    const uint32_t reach = 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;
    const uint32_t files = 1U << CAP_CHOWN | 1U << CAP_FOWNER | 1U << CAP_FSETID |
                           1U << CAP_LINUX_IMMUTABLE | 1U << CAP_MKNOD;

    memcpy(caps, share->caps, sizeof(caps));
    caps[0].effective &= ~files | reach;
    caps[1].effective &= ~(uint32_t)CAP_TO_MASK(CAP_MAC_OVERRIDE);
    (void)syscall(SYS_capset, &header, caps); /* without, what the host lets the user do is done */
}

int fs_act_as(const struct fs_share *share, uid_t uid, gid_t gid)
{
    if (!share->applies_ids)
        return 0;
    (void)setfsgid(gid);
    (void)setfsuid(uid);
    /* They say who we were: asked again with nonsense, who we are. */
    if ((gid_t)setfsgid((gid_t)-1) == gid && (uid_t)setfsuid((uid_t)-1) == uid) {
        if (uid != 0)
            keep_reach(share);
        return 0;
    }
    fs_act_as_ourselves(share);
    return -EPERM;
}

void fs_act_as_ourselves(const struct fs_share *share)
{
    if (!share->applies_ids)
        return;
    (void)setfsuid(geteuid());
    (void)setfsgid(getegid());
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
    share->folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (share->folder_fd < 0)
        return -errno;
    share->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (share->proc_fd < 0)
        return -errno;
    int root = fs_open_again(share, share->folder_fd);
    if (root < 0)
        return root;
    share->flush_has_value = close_can_fail(root);
    return fs_inodes_init(share, root);
}

int fs_share_open(const struct fs_share_params *params, struct fs_share **ret)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct fs_share *share = calloc(1, sizeof(*share));

    if (!share)
        return log_errno(-ENOMEM, "folder '%s'", params->path);
    pthread_mutex_init(&share->lock, NULL);
    share->folder_fd = share->proc_fd = -1;
    share->read_only = params->read_only;
    share->cache = params->cache;
    share->applies_ids = geteuid() == 0;
    share->fd_max = fd_budget(params->share_count);
    if (share->applies_ids)
        (void)syscall(SYS_capget, &header, share->caps);
    int err = fs_hidden_init(&share->hidden, params->hidden);
    if (!err)
        err = open_folders(share, params->path);
    if (err) {
        (void)log_errno(err, "folder '%s'", params->path);
    } else if (fs_is_kernels(share->folder_fd)) {
        log_error("folder '%s': a file system of the kernel's, which is not shared", params->path);
        err = -EINVAL;
    }
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
    fs_inodes_fini(share);
    fs_hidden_fini(&share->hidden);
    fd_close(&share->proc_fd);
    fd_close(&share->folder_fd);
    pthread_mutex_destroy(&share->lock);
    free(share);
}
