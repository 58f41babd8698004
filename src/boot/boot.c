// SPDX-License-Identifier: Apache-2.0
/* Opens what the user named, finds the loader for it and lets it work. */
#include "boot/boot.h"

#include <errno.h>

#include "host/fd.h"
#include "host/log.h"
#include "image.h"
#include "mem/layout.h"

/* Every kind of kernel that can be booted. */
static const struct boot_loader *const loaders[] = {
    &bzimage_loader,
    &elf_loader,
};

int kernel_check_span(const struct boot_job *job, const struct boot_range *span)
{
    const gpa_t end = memory_low_end(job->board->ram_size);

    if (span->start < LAYOUT_KERNEL_BASE) {
        log_error("kernel '%s': wants to lie at 0x%jx, but the first MiB is not free for kernels; "
                  "link it to 1 MiB or above",
                  job->kernel.path, (uintmax_t)span->start);
        return -ENOEXEC;
    }
    if (span->start > LAYOUT_RAM_LOW_MAX || span->size > LAYOUT_RAM_LOW_MAX - span->start) {
        log_error("kernel '%s': wants 0x%jx bytes at 0x%jx, where no machine of ours has RAM",
                  job->kernel.path, (uintmax_t)span->size, (uintmax_t)span->start);
        return -ENOEXEC;
    }
    if (span->start + span->size > end) {
        log_error("kernel '%s': needs %ju MiB of RAM to start, the guest has %ju MiB; give it "
                  "more with --memory",
                  job->kernel.path, (uintmax_t)((span->start + span->size + MIB - 1) / MIB),
                  (uintmax_t)(job->board->ram_size / MIB));
        return -ENOMEM;
    }
    return 0;
}

int boot_run(const struct boot_job *job, struct cpu_entry *ret)
{
    for (size_t i = 0; i < sizeof(loaders) / sizeof(loaders[0]); i++) {
        if (!loaders[i]->recognises(&job->kernel))
            continue;
        log_debug("kernel '%s': %s", job->kernel.path, loaders[i]->name);
        return loaders[i]->load(job, ret);
    }
    return foreign_refuse(&job->kernel);
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
    *ret = (struct boot_files){ kernel, initrd, kernel_file.fd, initrd_file.fd };
    return 0;
}

void boot_files_close(struct boot_files *files)
{
    fd_close(&files->initrd_fd);
    fd_close(&files->kernel_fd);
}

int boot_load(struct guest_mem *mem, const struct boot_config *in, struct cpu_entry *ret)
{
    struct boot_job job = {
        .mem = mem,
        .cmdline = in->cmdline,
        .board = in->board,
        .kernel = { .fd = -1 },
        .initrd = { .fd = -1 },
    };
    const struct boot_files *files = in->files;
    int err = boot_file_examine("kernel", files->kernel, files->kernel_fd, &job.kernel);

    if (!err && files->initrd_fd >= 0)
        err = boot_file_examine("initrd", files->initrd, files->initrd_fd, &job.initrd);
    return err ? err : boot_run(&job, ret);
}
