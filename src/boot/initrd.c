// SPDX-License-Identifier: Apache-2.0
/* Where the initrd goes: as high as possible, so that the kernel has room to unpack itself, but
 * below 4 GiB while there is room, as every kernel can reach it there. */
#include "image.h"

#include <errno.h>

#include "host/log.h"
#include "mem/layout.h"

#define INITRD_ALIGN UINT64_C(0x1000)

static uint64_t align_up(uint64_t value)
{
    return (value + INITRD_ALIGN - 1) & ~(INITRD_ALIGN - 1);
}

/* The highest aligned place for @size bytes between @floor and @end; 0: none. */
static gpa_t place_below(gpa_t floor, gpa_t end, uint64_t size)
{
    if (end < floor || size > end - floor)
        return 0;
    gpa_t start = (end - size) & ~(INITRD_ALIGN - 1);
    return start >= floor ? start : 0;
}

static gpa_t place(const struct boot_job *job, const struct initrd_limits *limits)
{
    const gpa_t low_end = memory_low_end(job->board->ram_size);
    gpa_t start = place_below(limits->floor, limits->ceiling < low_end ? limits->ceiling : low_end,
                              job->initrd.size);

    if (!start && limits->may_be_above_4g && job->board->ram_size > low_end) {
        start = place_below(LAYOUT_RAM_HIGH, LAYOUT_RAM_HIGH + (job->board->ram_size - low_end),
                            job->initrd.size);
    }
    return start;
}

/* The RAM that has room for it above @floor, in whole MiB. */
static uint64_t needed_mib(const struct boot_job *job, gpa_t floor)
{
    return (align_up(floor) + align_up(job->initrd.size) + MIB - 1) / MIB;
}

static int refuse(const struct boot_job *job, const struct initrd_limits *limits)
{
    const uint64_t needed = needed_mib(job, limits->floor);

    if (needed <= limits->ceiling / MIB && needed <= LAYOUT_RAM_LOW_MAX / MIB) {
        log_error("initrd '%s': its %ju bytes and the kernel need %ju MiB of RAM to start, the "
                  "guest has %ju MiB; give it more with --memory",
                  job->initrd.path, (uintmax_t)job->initrd.size, (uintmax_t)needed,
                  (uintmax_t)(job->board->ram_size / MIB));
    } else {
        log_error("initrd '%s': its %ju bytes do not fit between the kernel and 0x%jx, the "
                  "highest address that this kernel takes an initrd at; make it smaller",
                  job->initrd.path, (uintmax_t)job->initrd.size, (uintmax_t)limits->ceiling - 1);
    }
    return -ENOMEM;
}

int initrd_load(const struct boot_job *job, const struct initrd_limits *limits,
                struct boot_range *ret)
{
    struct boot_range range = { 0 };

    if (job->initrd.fd >= 0) {
        range.start = place(job, limits);
        range.size = job->initrd.size;
        if (!range.start)
            return refuse(job, limits);
        int err = boot_file_load(&job->initrd, 0, range.size, job, range.start);
        if (err)
            return err;
    }
    *ret = range;
    return 0;
}
