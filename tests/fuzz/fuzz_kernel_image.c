// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a kernel image: refused, or loaded such that the CPU starts inside guest RAM; a
 * bzImage is unpacked as well. The guest is small, so that images of little more than headers reach
 * its limits. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "boot/boot.h"
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

static void boot(struct guest_mem *mem, const struct boot_config *config)
{
    struct cpu_entry entry;

    if (boot_load(mem, config, &entry) == 0 &&
        (!guest_mem_at(mem, entry.address, 1) || !guest_mem_at(mem, entry.argument, 1)))
        abort();
}

static void unpack_kernel(struct boot_files *files)
{
    struct boot_file kernel;

    if (boot_file_examine("kernel", files->kernel, files->kernel_fd, &kernel))
        return;
    for (const struct boot_loader *const *at = boot_loaders; *at; at++) {
        if ((*at)->unpack && (*at)->recognises(&kernel) && files->unpacked_fd < 0)
            (void)(*at)->unpack(&kernel, &files->unpacked_fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t initrd[INITRD_SIZE];
    const struct board board = { .ram_size = RAM_SIZE };
    struct boot_files files = { "kernel", "initrd", file_of(data, size),
                                file_of(initrd, sizeof(initrd)), -1 };
    const struct boot_config config = {
        .files = &files, .cmdline = "console=ttyS0", .board = &board, .fdt_fd = -1
    };
    struct guest_mem *mem = NULL;

    if (guest_mem_create(GUEST_MEM_PRIVATE, &mem) || layout_add_ram(mem, RAM_SIZE))
        abort();
    boot(mem, &config);
    unpack_kernel(&files);
    if (files.unpacked_fd >= 0)
        boot(mem, &config);
    boot_files_close(&files);
    guest_mem_destroy(mem);
    return 0;
}
