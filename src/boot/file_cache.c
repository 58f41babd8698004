// SPDX-License-Identifier: Apache-2.0
/* FOLDER/KEY.ENDING, whose time of change is that of its last use. A new one is written under a
 * name that begins with a dot, and renamed; what a killed process left of that goes with the next.
 */
#include "boot/file_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/folder.h"

enum { COPY_SIZE = 64 << 10, NAME_LEN = 32, DAY_S = 24 * 3600, LEFTOVER_S = 3600 };

/* FNV-1a: the user's own files need no hash that withstands an enemy. */
uint64_t file_cache_key(uint64_t key, const void *data, size_t len)
{
    const uint64_t start = UINT64_C(0xcbf29ce484222325), prime = UINT64_C(0x100000001b3);
    const uint8_t *bytes = data;

    key ^= start;
    for (size_t i = 0; i < len; i++)
        key = (key ^ bytes[i]) * prime;
    return key ^ start;
}

static void name_file(const struct file_cache *cache, uint64_t key, char name[NAME_LEN])
{
    (void)snprintf(name, NAME_LEN, "%016jx%s", (uintmax_t)key, cache->ending);
}

static int open_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int file_cache_find(const struct file_cache *cache, uint64_t key, int *ret)
{
    AUTO_CLOSE int dir = open_folder(cache->folder);
    char name[NAME_LEN];
    struct stat st;

    if (dir < 0)
        return dir;
    name_file(cache, key, name);
    AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || !st.st_size)
        return -ENOENT;
    (void)futimens(fd, NULL);
    *ret = take_fd(&fd);
    return 0;
}

/* --- storing --- */

static bool is_zero(const char *buf, size_t len)
{
    return len == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0);
}

/* What is zero becomes a hole, which takes no room and can be passed over. */
static int put(int to, const char *buf, size_t len, off_t at)
{
    if (is_zero(buf, len))
        return 0;
    return lseek(to, at, SEEK_SET) < 0 ? -errno : fd_write_full(to, buf, len);
}

static int copy(int from, int to)
{
    AUTO_FREE char *buf = malloc(COPY_SIZE);
    struct stat st;
    off_t at = 0;
    int err = 0;

    if (!buf)
        return -ENOMEM;
    if (fstat(from, &st))
        return -errno;
    while (!err && at < st.st_size) {
        size_t len = st.st_size - at < COPY_SIZE ? (size_t)(st.st_size - at) : COPY_SIZE;
        err = fd_pread_full(from, buf, len, at);
        if (!err)
            err = put(to, buf, len, at);
        at += (off_t)len;
    }
    if (!err && ftruncate(to, st.st_size))
        err = -errno;
    /* Or after a crash of the host the name could be there without the bytes. */
    return !err && fsync(to) ? -errno : err;
}

/* Whether a file of ours is of no use any more. */
static bool is_stale(const char *name, const struct stat *st, time_t now)
{
    time_t age_s = now - st->st_mtime;

    return name[0] == '.' ? age_s > LEFTOVER_S : age_s > (time_t)FILE_CACHE_DAYS * DAY_S;
}

static bool is_ours(const struct file_cache *cache, const char *name)
{
    const char *ending = strrchr(name, '.');

    return !strncmp(name, ".new.", 5) || (ending && !strcmp(ending, cache->ending));
}

/* Removes what is stale. Returns how many are left, with the name of the oldest. */
static size_t remove_stale(const struct file_cache *cache, DIR *dir, char oldest[NAME_LEN])
{
    struct dirent *entry;
    time_t oldest_time = 0;
    size_t count = 0;

    while ((entry = readdir(dir))) {
        struct stat st;
        const char *name = entry->d_name;
        if (!is_ours(cache, name) || fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        if (is_stale(name, &st, time(NULL))) {
            (void)unlinkat(dirfd(dir), name, 0);
            continue;
        }
        bool counts = name[0] != '.' && strlen(name) < NAME_LEN;
        if (counts && (!count || st.st_mtime < oldest_time)) {
            oldest_time = st.st_mtime;
            memcpy(oldest, name, strlen(name) + 1);
        }
        count += counts;
    }
    return count;
}

/* One is added at a time, so one that goes is enough, unless several processes add at once. */
static void make_room(const struct file_cache *cache)
{
    char oldest[NAME_LEN];
    size_t count = SIZE_MAX;

    for (unsigned i = 0; i < cache->max && count > cache->max; i++) {
        DIR *dir = opendir(cache->folder);
        if (!dir)
            return;
        count = remove_stale(cache, dir, oldest);
        if (count > cache->max)
            (void)unlinkat(dirfd(dir), oldest, 0);
        (void)closedir(dir);
    }
}

int file_cache_store(const struct file_cache *cache, uint64_t key, int fd)
{
    char name[NAME_LEN], path[PATH_MAX], place[PATH_MAX];
    int err = folder_make(cache->folder, 0700);

    if (err)
        return err;
    name_file(cache, key, name);
    if (snprintf(path, sizeof(path), "%s/.new.XXXXXX", cache->folder) >= (int)sizeof(path) ||
        snprintf(place, sizeof(place), "%s/%s", cache->folder, name) >= (int)sizeof(place))
        return -ENAMETOOLONG;
    AUTO_CLOSE int file = mkostemp(path, O_CLOEXEC);
    if (file < 0)
        return -errno;
    err = copy(fd, file);
    if (!err && rename(path, place))
        err = -errno;
    if (err)
        (void)unlink(path);
    make_room(cache);
    return err;
}

int file_cache_get(const struct file_cache *cache, uint64_t key, int (*make)(void *ctx, int *ret),
                   void *ctx, int *ret)
{
    if (cache->folder && !file_cache_find(cache, key, ret))
        return 0;
    int err = make(ctx, ret), kept;

    /* What was made may be in memory, and what is kept need not be. */
    if (!err && cache->folder && !file_cache_store(cache, key, *ret) &&
        !file_cache_find(cache, key, &kept)) {
        fd_close(ret);
        *ret = kept;
    }
    return err;
}
