// SPDX-License-Identifier: Apache-2.0
/* Any bytes as what a bzImage had packed: loaded and moved, or not; then the image is. Either way
 * the CPU starts inside guest RAM, which is small, so that distances reach its end. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../unit/boot_images.h"
#include "boot/boot.h"
#include "host/fd.h"
#include "mem/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM_SIZE = 16 << 20, PLACE = 2 << 20 };

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    if (fd < 0 || fd_write_full(fd, data, size) < 0)
        abort();
    return fd;
}

static int image_file(void)
{
    struct test_bzimage image = bzimage_make();

    image.header.pref_address = PLACE;
    return file_of(image.bytes, sizeof(image.bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct board board = { .ram_size = RAM_SIZE };
    struct boot_files files = { "kernel", NULL, image_file(), -1, file_of(data, size) };
    const struct boot_config config = {
        .files = &files, .cmdline = "console=ttyS0", .board = &board, .fdt_fd = -1
    };
    struct guest_mem *mem = NULL;
    struct cpu_entry entry;

    if (guest_mem_create(GUEST_MEM_PRIVATE, &mem) || layout_add_ram(mem, RAM_SIZE) ||
        boot_load(mem, &config, &entry) || !guest_mem_at(mem, entry.address, 1))
        abort();
    boot_files_close(&files);
    guest_mem_destroy(mem);
    return 0;
}
