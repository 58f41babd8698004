// SPDX-License-Identifier: Apache-2.0
/* Where the initrd goes: as high as possible, so that the kernel has room to unpack itself, but in
 * the RAM that the kernel lies in (on a PC below 4 GiB) while there is room, as every kernel can
 * reach it there. */
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
    const gpa_t end = limits->ceiling < limits->end ? limits->ceiling : limits->end;
    const struct boot_range *next = &limits->next;
    gpa_t start = place_below(limits->floor, end, job->initrd.size);

    if (!start && next->size > 0)
        start = place_below(next->start, next->start + next->size, job->initrd.size);
    return start;
}

static int refuse(const struct boot_job *job, const struct initrd_limits *limits)
{
    const gpa_t ram_base = job->board->ram_base;
    const uint64_t needed = align_up(limits->floor) - ram_base + align_up(job->initrd.size);

    if (needed <= limits->ceiling - ram_base) {
        log_error("initrd '%s': its %ju bytes and the kernel need %ju MiB of RAM to start, the "
                  "guest has %ju MiB; give it more with --memory",
                  job->initrd.path, (uintmax_t)job->initrd.size,
                  (uintmax_t)((needed + MIB - 1) / MIB), (uintmax_t)(job->board->ram_size / MIB));
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
