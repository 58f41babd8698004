// SPDX-License-Identifier: Apache-2.0
/* Opens what the user named, finds the loader for it and lets it work. */
#include "boot/boot.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "boot/fdt.h"
#include "host/fd.h"
#include "host/log.h"
#include "image.h"

int cmdline_check(const struct boot_job *job, uint64_t max)
{
    const size_t len = strlen(job->cmdline);

    if (len <= max)
        return 0;
    log_error("kernel command line: %zu bytes, and kernel '%s' takes %ju; shorten it", len,
              job->kernel.path, (uintmax_t)max);
    return -E2BIG;
}

int boot_write_fdt(const struct boot_job *job, const struct boot_range *initrd, gpa_t gpa,
                   size_t room, size_t *ret)
{
    const struct fdt_params params = {
        .board = job->board,
        .cmdline = job->cmdline,
        .initrd_start = initrd->start,
        .initrd_size = initrd->size,
    };
    void *place = guest_mem_at(job->mem, gpa, room);
    int len = place ? fdt_build(&params, place, room) : -EFAULT;

    if (len < 0)
        return log_errno(len, "device tree for %u CPUs", job->board->cpu_count);
    int err = job->fdt_fd < 0 ? 0 : fd_write_full(job->fdt_fd, place, (size_t)len);
    if (err)
        return log_errno(err, "copy of the device tree");
    *ret = (size_t)len;
    return 0;
}

/* NULL: there is none for this file. */
static const struct boot_loader *find_loader(const struct boot_file *kernel)
{
    for (const struct boot_loader *const *at = boot_loaders; *at; at++) {
        if ((*at)->recognises(kernel))
            return *at;
    }
    return NULL;
}

static int run_loader(const struct boot_job *job, struct cpu_entry *ret)
{
    const struct boot_loader *loader = find_loader(&job->kernel);

    if (!loader)
        return foreign_refuse(&job->kernel);
    log_debug("kernel '%s': %s", job->kernel.path, loader->name);
    return loader->load(job, ret);
}

int boot_files_open(const char *kernel, const char *initrd, struct boot_files *ret)
{
    struct boot_file kernel_file, initrd_file = { .fd = -1 };
    int err = boot_file_open("kernel", kernel, &kernel_file);

    if (err)
        return err;
    if (initrd) {
        err = boot_file_open("initrd", initrd, &initrd_file);
        if (err) {
            boot_file_close(&kernel_file);
            return err;
        }
    }
    *ret = (struct boot_files){ kernel, initrd, kernel_file.fd, initrd_file.fd, -1 };
    return 0;
}

static int unpack_kernel(void *ctx, int *ret)
{
    const struct boot_file *kernel = ctx;

    return find_loader(kernel)->unpack(kernel, ret);
}

/* By what tells a file from all others, and from what it was before. */
static int identify(const struct boot_file *kernel, uint64_t *key)
{
    struct stat st;

    if (fstat(kernel->fd, &st))
        return -errno;
    const int64_t facts[] = { (int64_t)st.st_dev, (int64_t)st.st_ino, st.st_size,
                              st.st_mtim.tv_sec,  st.st_mtim.tv_nsec, st.st_ctim.tv_sec,
                              st.st_ctim.tv_nsec };
    *key = file_cache_key(0, facts, sizeof(facts));
    *key = file_cache_key(*key, kernel->head, sizeof(kernel->head));
    return 0;
}

void boot_files_unpack(struct boot_files *files, const struct file_cache *cache)
{
    struct boot_file kernel;
    uint64_t key = 0;

    if (!cache->folder || boot_file_examine("kernel", files->kernel, files->kernel_fd, &kernel))
        return;
    const struct boot_loader *loader = find_loader(&kernel);
    if (loader && loader->unpack && !identify(&kernel, &key))
        (void)file_cache_get(cache, key, unpack_kernel, &kernel, &files->unpacked_fd);
}

void boot_files_close(struct boot_files *files)
{
    fd_close(&files->unpacked_fd);
    fd_close(&files->initrd_fd);
    fd_close(&files->kernel_fd);
}

int boot_load(struct guest_mem *mem, const struct boot_config *in, struct cpu_entry *ret)
{
    struct boot_job job = {
        .mem = mem,
        .cmdline = in->cmdline,
        .board = in->board,
        .has_fdt = in->has_fdt,
        .fdt_fd = in->fdt_fd,
        .kernel = { .fd = -1 },
        .initrd = { .fd = -1 },
        .unpacked_fd = in->files->unpacked_fd,
    };
    const struct boot_files *files = in->files;
    int err = boot_file_examine("kernel", files->kernel, files->kernel_fd, &job.kernel);

    if (!err && files->initrd_fd >= 0)
        err = boot_file_examine("initrd", files->initrd, files->initrd_fd, &job.initrd);
    return err ? err : run_loader(&job, ret);
}
