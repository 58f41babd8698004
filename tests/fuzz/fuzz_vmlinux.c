// SPDX-License-Identifier: Apache-2.0
/* Any bytes as what a bzImage had packed: loaded and moved, or not; then the image is. Either way
 * the CPU starts inside guest RAM, which is small, so that distances reach its end. */
#include <asm/bootparam.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "boot/boot.h"
#include "host/fd.h"
#include "mem/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM_SIZE = 16 << 20, PLACE = 2 << 20, INIT_SIZE = 4 << 20 };
enum { HEADER_OFFSET = 0x1f1, SETUP_SIZE = 1024, IMAGE_SIZE = 2048 };

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    if (fd < 0 || fd_write_full(fd, data, size) < 0)
        abort();
    return fd;
}

static int image_file(void)
{
    uint8_t image[IMAGE_SIZE] = { 0 };
    const struct setup_header header = {
        .setup_sects = 1,
        .syssize = (IMAGE_SIZE - SETUP_SIZE) / 16,
        .boot_flag = 0xaa55,
        .jump = 0x6aeb,
        .header = 0x53726448,
        .version = 0x20f,
        .loadflags = LOADED_HIGH,
        .initrd_addr_max = 0x7fffffff,
        .kernel_alignment = PLACE,
        .relocatable_kernel = 1,
        .xloadflags = XLF_KERNEL_64,
        .cmdline_size = 2047,
        .pref_address = PLACE,
        .init_size = INIT_SIZE,
    };

    memcpy(image + HEADER_OFFSET, &header, sizeof(header));
    return file_of(image, sizeof(image));
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
