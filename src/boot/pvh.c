// SPDX-License-Identifier: Apache-2.0
/* The start info of the PVH entry: Xen's way to enter a kernel in 32-bit protected mode with
 * paging off, which Linux and the BSDs take from any hypervisor
 * (xen.git, public/arch-x86/hvm/start_info.h, version 1). */
#include "image.h"

#include <assert.h>
#include <errno.h>

#include "host/log.h"
#include "mem/layout.h"

enum { START_INFO_MAGIC = 0x336ec578, START_INFO_VERSION = 1 };

struct pvh_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;
    uint64_t cmdline;
    uint64_t rsdp;
    uint64_t memory_map;
    uint32_t memory_map_count;
    uint32_t reserved;
};
static_assert(sizeof(struct pvh_start_info) == 56, "as in start_info.h");

struct pvh_module {
    uint64_t start;
    uint64_t size;
    uint64_t cmdline;
    uint64_t reserved;
};

struct pvh_memory {
    uint64_t start;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};

/* Everything the start info refers to, in one piece behind it. */
struct pvh_block {
    struct pvh_start_info info;
    struct pvh_module initrd;
    struct pvh_memory map[MEMORY_MAP_MAX];
};
static_assert(LAYOUT_PVH_START_INFO + sizeof(struct pvh_block) <= LAYOUT_BOOT_PARAMS,
              "the start info ends where the boot parameters start");

int pvh_write(const struct boot_job *job, const struct boot_range *initrd)
{
    struct memory_range map[MEMORY_MAP_MAX];
    size_t count = memory_map_fill(job->board->ram_size, map);
    struct pvh_block block = {
        .info = {
            .magic = START_INFO_MAGIC,
            .version = START_INFO_VERSION,
            .module_count = initrd->size > 0,
            .modules = LAYOUT_PVH_START_INFO + offsetof(struct pvh_block, initrd),
            .cmdline = LAYOUT_CMDLINE,
            .rsdp = LAYOUT_ACPI_BASE,
            .memory_map = LAYOUT_PVH_START_INFO + offsetof(struct pvh_block, map),
            .memory_map_count = (uint32_t)count,
        },
        .initrd = { .start = initrd->start, .size = initrd->size },
    };

    for (size_t i = 0; i < count; i++)
        block.map[i] = (struct pvh_memory){ map[i].start, map[i].size, map[i].type, 0 };
    int err = guest_mem_write(job->mem, LAYOUT_PVH_START_INFO, &block, sizeof(block));
    return err ? log_errno(err, "start info: no RAM at 0x%jx", (uintmax_t)LAYOUT_PVH_START_INFO)
               : 0;
}
