// SPDX-License-Identifier: Apache-2.0
/* Linux's zero page (struct boot_params): what a boot loader tells a Linux/x86 kernel that is
 * entered at its 64-bit entry point (Documentation/arch/x86/boot.rst, "64-bit boot protocol"). */
#include "image.h"

#include <asm/bootparam.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "boot/fdt.h"
#include "host/log.h"
#include "mem/layout.h"

enum { LOADER_TYPE_UNASSIGNED = 0xff };

static_assert(sizeof(struct boot_params) == 4096, "the zero page is one page");
static_assert(sizeof(struct setup_data) % FDT_ALIGN == 0, "the tree is aligned behind it");
static_assert(MEMORY_MAP_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "the map fits into the zero page");

static void write_memory_map(struct boot_params *params, uint64_t ram_size)
{
    struct memory_range map[MEMORY_MAP_MAX];
    size_t count = memory_map_fill(ram_size, map);

    for (size_t i = 0; i < count; i++) {
        params->e820_table[i] = (struct boot_e820_entry){
            .addr = map[i].start,
            .size = map[i].size,
            .type = map[i].type,
        };
    }
    params->e820_entries = (uint8_t)count;
}

static void write_initrd(struct boot_params *params, const struct boot_range *initrd)
{
    params->hdr.ramdisk_image = (uint32_t)initrd->start;
    params->hdr.ramdisk_size = (uint32_t)initrd->size;
    params->ext_ramdisk_image = (uint32_t)(initrd->start >> 32);
    params->ext_ramdisk_size = (uint32_t)(initrd->size >> 32);
}

/* One element of the list of data that boot_params has no field for: the device tree. */
static int write_setup_data(const struct boot_job *job, const struct boot_range *initrd)
{
    struct setup_data data = { .next = 0, .type = SETUP_DTB };
    size_t len;
    int err = boot_write_fdt(job, initrd, LAYOUT_SETUP_DATA + sizeof(data),
                             LAYOUT_SETUP_DATA_SIZE - sizeof(data), &len);

    if (err)
        return err;
    data.len = (uint32_t)len;
    return guest_mem_write(job->mem, LAYOUT_SETUP_DATA, &data, sizeof(data));
}

int zero_page_write(const struct boot_job *job, const struct setup_header *header,
                    const struct boot_range *initrd)
{
    struct boot_params *params = guest_mem_at(job->mem, LAYOUT_BOOT_PARAMS, sizeof(*params));

    if (!params)
        return log_errno(-EFAULT, "boot parameters: no RAM at 0x%jx",
                         (uintmax_t)LAYOUT_BOOT_PARAMS);
    memset(params, 0, sizeof(*params));
    params->hdr = *header;
    params->hdr.type_of_loader = LOADER_TYPE_UNASSIGNED;
    params->hdr.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE;
    params->hdr.setup_data = job->has_fdt ? LAYOUT_SETUP_DATA : 0;
    params->acpi_rsdp_addr = LAYOUT_ACPI_BASE;
    write_initrd(params, initrd);
    write_memory_map(params, job->board->ram_size);
    return job->has_fdt ? write_setup_data(job, initrd) : 0;
}
