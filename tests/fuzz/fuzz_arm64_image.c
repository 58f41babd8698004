// SPDX-License-Identifier: Apache-2.0
/* Any bytes as an arm64 kernel image, on whatever machine this runs: refused, or loaded such that
 * the CPU starts inside guest RAM and finds a device tree there. The guest is small, so that
 * images of little more than headers reach its limits. */
#include <libfdt.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "boot/fdt.h"
#include "boot/image.h"
#include "host/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM_SIZE = 8 << 20, INITRD_SIZE = 5000 };
#define RAM_BASE UINT64_C(0x80000000)

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    if (fd < 0 || fd_write_full(fd, data, size) < 0)
        abort();
    return fd;
}

static void boot(const struct boot_job *job)
{
    struct cpu_entry entry;

    if (!arm64_image_loader.recognises(&job->kernel) || arm64_image_loader.load(job, &entry))
        return;
    const void *fdt = guest_mem_at(job->mem, entry.argument, FDT_SIZE_MAX);
    if (!guest_mem_at(job->mem, entry.address, 1) || !fdt || fdt_check_full(fdt, FDT_SIZE_MAX))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t initrd[INITRD_SIZE];
    static uint64_t cpu_id;
    const struct board board = { .ram_base = RAM_BASE,
                                 .ram_size = RAM_SIZE,
                                 .cpu_count = 1,
                                 .cpu_ids = &cpu_id,
                                 .gic = { .version = 3 } };
    struct boot_job job = { .cmdline = "console=ttyS0", .board = &board, .fdt_fd = -1 };
    int kernel_fd = file_of(data, size), initrd_fd = file_of(initrd, sizeof(initrd));

    if (guest_mem_create(GUEST_MEM_PRIVATE, &job.mem) ||
        guest_mem_add(job.mem, RAM_BASE, RAM_SIZE) ||
        boot_file_examine("initrd", "initrd", initrd_fd, &job.initrd))
        abort();
    if (boot_file_examine("kernel", "kernel", kernel_fd, &job.kernel) == 0)
        boot(&job);
    fd_close(&kernel_fd);
    fd_close(&initrd_fd);
    guest_mem_destroy(job.mem);
    return 0;
}
