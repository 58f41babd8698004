// SPDX-License-Identifier: Apache-2.0
/* The files of modules: read and unpacked, told from others, and what one is called in the kernel's
 * configuration. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "boot/file_cache.h"
#include "boot/unpack.h"
#include "host/fd.h"
#include "modules_private.h"

static int fill(int fd, size_t size, void *room, size_t *ret)
{
    const struct unpack_input input = { fd, 0, size };
    enum unpack_format format;
    uint8_t head[4] = { 0 };

    int err = fd_pread_full(fd, head, size < sizeof(head) ? size : sizeof(head), 0);
    if (err)
        return err;
    if (unpack_recognise(head, &format))
        return unpack(format, &input, room, MODULE_SIZE_MAX, ret);
    err = fd_pread_full(fd, room, size, 0);
    if (!err)
        *ret = size;
    return err;
}

/* Since Linux 6.3 modules.order names the object that a module is linked from. */
static int open_module(const struct modules *modules, const char *path)
{
    char file[PATH_MAX + 1];
    size_t len = strlen(path);
    bool is_object = modules->is_tree && len > 2 && !strcmp(path + len - 2, ".o");

    (void)snprintf(file, sizeof(file), "%.*s%s", (int)(is_object ? len - 2 : len), path,
                   is_object ? ".ko" : "");
    return openat(modules->folder, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

bool modules_identify(const struct modules *modules, uint64_t *key)
{
    bool is_packed = false;

    for (size_t i = 0; i < modules->plan_count; i++) {
        const char *path = modules->plan[i], *ending = strrchr(path, '.');
        AUTO_CLOSE int fd = open_module(modules, path);
        struct stat st;
        if (fd < 0 || fstat(fd, &st))
            return false;
        const int64_t facts[] = { st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                                  (int64_t)st.st_ino };
        *key = file_cache_key(*key, path, strlen(path) + 1);
        *key = file_cache_key(*key, facts, sizeof(facts));
        is_packed |= ending && strcmp(ending, ".ko") != 0 && strcmp(ending, ".o") != 0;
    }
    return is_packed;
}

int modules_read(const struct modules *modules, const char *path, void **data, size_t *len)
{
    AUTO_CLOSE int fd = open_module(modules, path);
    struct stat st;

    if (fd < 0 || fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if (st.st_size > MODULE_SIZE_MAX)
        return -EFBIG;
    /* How large it will be is not known before: only what is used of this becomes memory. */
    void *room = mmap(NULL, MODULE_SIZE_MAX, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return -errno;
    int err = fill(fd, (size_t)st.st_size, room, len);
    if (err)
        modules_free(room);
    else
        *data = room;
    return err;
}

void modules_free(void *data)
{
    if (data)
        (void)munmap(data, MODULE_SIZE_MAX);
}

const char *modules_option(const char *name)
{
    static const char *const options[][2] = {
        { "ext4", "EXT4_FS" },
        { "fuse", "FUSE_FS" },
        { "overlay", "OVERLAY_FS" },
        { "virtio_blk", "VIRTIO_BLK" },
        { "virtio_console", "VIRTIO_CONSOLE" },
        { "virtio_mmio", "VIRTIO_MMIO" },
        { "virtio_net", "VIRTIO_NET" },
        { "virtio_pci", "VIRTIO_PCI" },
        { "virtio_rng", "HW_RANDOM_VIRTIO" },
        { "virtiofs", "VIRTIO_FS" },
        { "vmw_vsock_virtio_transport", "VIRTIO_VSOCKETS" },
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (!module_compare_names(options[i][0], name))
            return options[i][1];
    }
    return NULL;
}
