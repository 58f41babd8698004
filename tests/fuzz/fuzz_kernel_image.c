// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a kernel image: refused, or loaded such that the CPU starts inside guest RAM. The
 * guest is small, so that images of little more than headers reach its limits. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "boot/image.h"
#include "host/fd.h"
#include "mem/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM_SIZE = 8 << 20, INITRD_SIZE = 5000 };

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    if (fd < 0 || fd_write_full(fd, data, size) < 0)
        abort();
    return fd;
}

static void boot(struct boot_job *job)
{
    struct cpu_entry entry;

    if (boot_run(job, &entry) == 0 &&
        (!guest_mem_at(job->mem, entry.address, 1) || !guest_mem_at(job->mem, entry.argument, 1)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t initrd[INITRD_SIZE];
    const struct board board = { .ram_size = RAM_SIZE };
    struct boot_job job = {
        .cmdline = "console=ttyS0",
        .board = &board,
        .kernel = { .fd = -1 },
        .initrd = { .fd = -1 },
    };

    if (guest_mem_create(GUEST_MEM_PRIVATE, &job.mem) || layout_add_ram(job.mem, RAM_SIZE) ||
        boot_file_adopt("initrd", "initrd", file_of(initrd, sizeof(initrd)), &job.initrd))
        abort();
    if (boot_file_adopt("kernel", "kernel", file_of(data, size), &job.kernel) == 0)
        boot(&job);
    boot_file_close(&job.kernel);
    boot_file_close(&job.initrd);
    guest_mem_destroy(job.mem);
    return 0;
}
