// SPDX-License-Identifier: Apache-2.0
/* Locking of images, so that two virtual machines do not eat one disk.
 *
 * OFD locks belong to the open file, not to the process: they work between two disks of one
 * process too, and vanish with the descriptor. They cover the whole file and so collide with the
 * locks on single bytes that QEMU takes. The kernel does not say who holds one (its process is
 * -1), but /proc/PID/fdinfo/FD lists the locks of each descriptor; that of a file with our inode
 * is the holder, if we may look at it. */
#include "block_engine.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"

enum { FDINFO_MAX = 64 * 1024 };

/* Whether descriptor @fd_name of process @pid_name is @file with a lock on it. */
static bool holds_lock(const char *pid_name, const char *fd_name, const struct stat *file)
{
    AUTO_FREE char *text = NULL;
    char path[64 + 2 * NAME_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid_name, fd_name);
    if (stat(path, &st) < 0 || st.st_dev != file->st_dev || st.st_ino != file->st_ino)
        return false;
    snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid_name, fd_name);
    return fd_read_file(path, FDINFO_MAX, &text, NULL) == 0 && strstr(text, "\nlock:");
}

static bool process_holds_lock(const char *pid_name, const struct stat *file)
{
    char path[32 + NAME_MAX];
    struct dirent *entry;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%s/fd", pid_name);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    while (!found && (entry = readdir(dir)))
        found =
            isdigit((unsigned char)entry->d_name[0]) && holds_lock(pid_name, entry->d_name, file);
    closedir(dir);
    return found;
}

/* Returns the process that holds a lock on the file, or 0 if that cannot be known. */
static pid_t find_holder(int fd)
{
    struct dirent *entry;
    struct stat file;
    pid_t holder = 0;

    if (fstat(fd, &file) < 0)
        return 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        return 0;
    while (!holder && (entry = readdir(dir)))
        if (isdigit((unsigned char)entry->d_name[0]) && process_holds_lock(entry->d_name, &file))
            holder = (pid_t)strtol(entry->d_name, NULL, 10);
    closedir(dir);
    return holder;
}

int block_lock(int fd, bool read_only, pid_t *holder)
{
    struct flock lock = { .l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return -errno;
    *holder = find_holder(fd);
    return -EAGAIN;
}
