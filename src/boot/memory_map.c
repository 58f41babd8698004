// SPDX-License-Identifier: Apache-2.0
/* What a guest on a PC is told of its memory: which is RAM, and which only looks free.
 *
 * Windows for PCI are not listed; the ACPI tables describe them. The configuration space is, as
 * Linux uses it before it reads ACPI's namespace only if the memory map reserves it. */
#include "image.h"

#include <errno.h>

#include "host/log.h"
#include "mem/layout.h"

gpa_t memory_low_end(uint64_t ram_size)
{
    return ram_size < LAYOUT_RAM_LOW_MAX ? ram_size : LAYOUT_RAM_LOW_MAX;
}

struct boot_range memory_high(uint64_t ram_size)
{
    return (struct boot_range){ LAYOUT_RAM_HIGH, ram_size - memory_low_end(ram_size) };
}

size_t memory_map_fill(uint64_t ram_size, struct memory_range map[MEMORY_MAP_MAX])
{
    const gpa_t low_end = memory_low_end(ram_size);
    size_t count = 0;

    map[count++] = (struct memory_range){ 0, LAYOUT_LOW_RAM_END, MEMORY_RAM };
    map[count++] = (struct memory_range){ LAYOUT_LOW_RAM_END, LAYOUT_ACPI_BASE - LAYOUT_LOW_RAM_END,
                                          MEMORY_RESERVED };
    map[count++] = (struct memory_range){ LAYOUT_ACPI_BASE, LAYOUT_ACPI_SIZE, MEMORY_ACPI };
    map[count++] =
        (struct memory_range){ LAYOUT_MPTABLE_BASE, LAYOUT_MPTABLE_SIZE, MEMORY_RESERVED };
    if (low_end > LAYOUT_KERNEL_BASE)
        map[count++] =
            (struct memory_range){ LAYOUT_KERNEL_BASE, low_end - LAYOUT_KERNEL_BASE, MEMORY_RAM };
    map[count++] = (struct memory_range){ LAYOUT_ECAM_BASE, LAYOUT_ECAM_SIZE, MEMORY_RESERVED };
    map[count++] = (struct memory_range){ LAYOUT_KVM_IDENTITY_MAP, 16 * KIB, MEMORY_RESERVED };
    if (ram_size > low_end)
        map[count++] = (struct memory_range){ LAYOUT_RAM_HIGH, ram_size - low_end, MEMORY_RAM };
    return count;
}

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
