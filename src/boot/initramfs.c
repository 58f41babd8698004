// SPDX-License-Identifier: Apache-2.0
/* Writes an archive of the format "newc": for each file a header of hexadecimal digits, its name
 * with a NUL, and its bytes, each of the latter two filled up to 4 bytes with zeroes. All is
 * written as it comes; nothing is kept but where the archive ends. */
#include "boot/initramfs.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "boot/modules.h"
#include "host/fd.h"

enum { HEADER_LEN = 110, COPY_SIZE = 64 << 10, ALIGNMENT = 4 };
enum { CONSOLE_MAJOR = 5, CONSOLE_MINOR = 1 }; /* Linux: admin-guide/devices.txt */

struct initramfs {
    int fd;
    uint64_t size;        /* of what was written */
    unsigned inode_count; /* each file has a number of its own, or it would be a link */
};

struct entry {
    const char *path;
    unsigned mode; /* with the type */
    const void *data;
    size_t len;
    unsigned major, minor; /* of a device */
};

static int put(struct initramfs *initramfs, const void *data, size_t len)
{
    int err = fd_write_full(initramfs->fd, data, len);

    if (!err)
        initramfs->size += len;
    return err;
}

/* Fills up to where the next header or data may begin. */
static int put_padding(struct initramfs *initramfs)
{
    static const char zeroes[ALIGNMENT];
    size_t over = initramfs->size % ALIGNMENT;

    return over ? put(initramfs, zeroes, ALIGNMENT - over) : 0;
}

static int put_entry(struct initramfs *initramfs, const struct entry *entry)
{
    char head[HEADER_LEN + PATH_MAX];
    const unsigned link_count = S_ISDIR(entry->mode) ? 2 : 1;

    if (entry->len > UINT32_MAX)
        return -EFBIG;
    if (strlen(entry->path) >= PATH_MAX)
        return -ENAMETOOLONG;
    int len = snprintf(head, sizeof(head),
                       "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x"
                       "%08x%s",
                       initramfs->inode_count++, entry->mode, 0, 0, link_count, 0,
                       (unsigned)entry->len, 0, 0, entry->major, entry->minor,
                       (unsigned)strlen(entry->path) + 1, 0, entry->path);
    int err = put(initramfs, head, (size_t)len + 1);
    if (!err)
        err = put_padding(initramfs);
    if (!err)
        err = put(initramfs, entry->data, entry->len);
    return err ? err : put_padding(initramfs);
}

/* --- the parts --- */

static int put_base(struct initramfs *initramfs, int base)
{
    AUTO_FREE char *buf = malloc(COPY_SIZE);
    struct stat st;

    if (!buf)
        return -ENOMEM;
    if (fstat(base, &st))
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    uint64_t size = (uint64_t)st.st_size;
    while (initramfs->size < size) {
        uint64_t left = size - initramfs->size;
        size_t len = left < COPY_SIZE ? (size_t)left : COPY_SIZE;
        int err = fd_pread_full(base, buf, len, (off_t)initramfs->size);
        if (!err)
            err = put(initramfs, buf, len);
        if (err)
            return err;
    }
    return put_padding(initramfs);
}

int initramfs_create(int base, struct initramfs **ret)
{
    struct initramfs *initramfs = calloc(1, sizeof(*initramfs));

    if (!initramfs)
        return -ENOMEM;
    initramfs->inode_count = 1;
    initramfs->fd = memfd_create("hutch-initramfs", MFD_CLOEXEC);
    int err = initramfs->fd < 0 ? -errno : 0;
    if (!err && base >= 0)
        err = put_base(initramfs, base);
    if (err) {
        initramfs_destroy(initramfs);
        return err;
    }
    *ret = initramfs;
    return 0;
}

void initramfs_destroy(struct initramfs *initramfs)
{
    if (initramfs)
        fd_close(&initramfs->fd);
    free(initramfs);
}

int initramfs_add_folder(struct initramfs *initramfs, const char *path, unsigned mode)
{
    return put_entry(initramfs, &(struct entry){ .path = path, .mode = S_IFDIR | mode });
}

int initramfs_add_file(struct initramfs *initramfs, const char *path, unsigned mode,
                       const void *data, size_t len)
{
    return put_entry(
        initramfs,
        &(struct entry){ .path = path, .mode = S_IFREG | mode, .data = data, .len = len });
}

int initramfs_add_link(struct initramfs *initramfs, const char *path, const char *target)
{
    return put_entry(initramfs, &(struct entry){ .path = path,
                                                 .mode = S_IFLNK | 0777,
                                                 .data = target,
                                                 .len = strlen(target) });
}

int initramfs_add_console(struct initramfs *initramfs)
{
    const struct entry console = { .path = "dev/console",
                                   .mode = S_IFCHR | 0600,
                                   .major = CONSOLE_MAJOR,
                                   .minor = CONSOLE_MINOR };
    int err = initramfs_add_folder(initramfs, "dev", 0755);

    return err ? err : put_entry(initramfs, &console);
}

/* --- modules --- */

/* A module's name in the archive, unpacked: "ext4.ko" of "kernel/fs/ext4/ext4.ko.xz". */
static int file_name(const char *path, char name[NAME_MAX + 1])
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    int len = snprintf(name, NAME_MAX + 1, "%.*s.ko", (int)strcspn(base, "."), base);

    return len > NAME_MAX ? -ENAMETOOLONG : 0;
}

static int add_module(struct initramfs *initramfs, const struct modules *modules, const char *path)
{
    char name[NAME_MAX + 1], place[NAME_MAX + 16];
    void *data = NULL;
    size_t len = 0;

    int err = file_name(path, name);
    if (!err)
        err = modules_read(modules, path, &data, &len);
    if (err)
        return err;
    (void)snprintf(place, sizeof(place), "modules/%s", name);
    err = initramfs_add_file(initramfs, place, 0600, data, len);
    modules_free(data);
    return err;
}

static int add_order(struct initramfs *initramfs, const char *const *plan, size_t count)
{
    char *text = NULL, name[NAME_MAX + 1];
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!file_name(plan[i], name))
            (void)fprintf(out, "%s\n", name);
    }
    int err = fclose(out) ? -ENOMEM : 0;
    if (!err)
        err = initramfs_add_file(initramfs, "modules/order", 0600, text, len);
    free(text);
    return err;
}

int initramfs_add_modules(struct initramfs *initramfs, const struct modules *modules)
{
    const char *const *plan;
    size_t count = modules_plan(modules, &plan);
    int err = initramfs_add_folder(initramfs, "modules", 0755);

    for (size_t i = 0; !err && i < count; i++)
        err = add_module(initramfs, modules, plan[i]);
    return err ? err : add_order(initramfs, plan, count);
}

int initramfs_finish(struct initramfs *initramfs, int *ret)
{
    int err = put_entry(initramfs, &(struct entry){ .path = "TRAILER!!!" });

    if (!err)
        *ret = take_fd(&initramfs->fd);
    return err;
}

struct file_cache initramfs_cache(const char *folder)
{
    return (struct file_cache){ folder, ".cpio", 16 };
}
