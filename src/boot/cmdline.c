// SPDX-License-Identifier: Apache-2.0
/* The kernel command line of a PC, in the first MiB. */
#include "image.h"

#include <string.h>

#include "host/log.h"
#include "mem/layout.h"

int cmdline_write(const struct boot_job *job, uint64_t max)
{
    int err = cmdline_check(job, max < LAYOUT_CMDLINE_MAX - 1 ? max : LAYOUT_CMDLINE_MAX - 1);

    if (err)
        return err;
    err = guest_mem_write(job->mem, LAYOUT_CMDLINE, job->cmdline, strlen(job->cmdline) + 1);
    return err ? log_errno(err, "kernel command line: no RAM at 0x%jx", (uintmax_t)LAYOUT_CMDLINE)
               : 0;
}
