// SPDX-License-Identifier: Apache-2.0
/* The host's calls for files, as far as a guest's word gets: how a name in a folder, and an inode
 * of the guest's, becomes a descriptor.
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
 * process, are empty folders for the guest. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_tree.h"

enum { COMPONENT_MAX = 255 }; /* NAME_MAX of every file system */

/* File systems that <linux/magic.h> does not know (statfs(2)). */
#define CONFIGFS_TYPE 0x62656570U
#define FUSECTL_TYPE 0x65735543U
#define MQUEUE_TYPE 0x19800202U
#define RPC_PIPEFS_TYPE 0x67596969U

bool fs_name_is_valid(const char *name)
{
    size_t len = strnlen(name, COMPONENT_MAX + 1);

    return len > 0 && len <= COMPONENT_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

int fs_open_at(const struct fs_inode *folder, const char *name, int flags, mode_t mode)
{
    const struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    };
    int fd = (int)syscall(SYS_openat2, folder->fd, name, &how, sizeof(how));

    return fd < 0 ? -errno : fd;
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

int fs_stat(int fd, const char *name, struct statx *stx)
{
    const int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    const unsigned wanted = STATX_BASIC_STATS | STATX_MNT_ID | STATX_BTIME;

    return syscall(SYS_statx, fd, name, flags, wanted, stx) < 0 ? -errno : 0;
}

struct fs_inode fs_inode_like(const struct statx *stx, int fd)
{
    return (struct fs_inode){
        .dev = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor,
        .ino = stx->stx_ino,
        .mount_id = stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0,
        .birth = (uint64_t)stx->stx_btime.tv_sec << 30 | stx->stx_btime.tv_nsec,
        .type = stx->stx_mode & S_IFMT,
        .fd = fd,
    };
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
