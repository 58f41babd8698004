// SPDX-License-Identifier: Apache-2.0
/* The kernel command line, in the first MiB. A kernel cuts a longer one off without a word, so we
 * refuse it. */
#include "image.h"

#include <errno.h>
#include <string.h>

#include "host/log.h"
#include "mem/layout.h"

int cmdline_write(const struct boot_job *job, uint64_t max)
{
    const size_t len = strlen(job->cmdline);

    if (max > LAYOUT_CMDLINE_MAX - 1)
        max = LAYOUT_CMDLINE_MAX - 1;
    if (len > max) {
        log_error("kernel command line: %zu bytes, and kernel '%s' takes %ju; shorten it", len,
                  job->kernel.path, (uintmax_t)max);
        return -E2BIG;
    }
    int err = guest_mem_write(job->mem, LAYOUT_CMDLINE, job->cmdline, len + 1);
    return err ? log_errno(err, "kernel command line: no RAM at 0x%jx", (uintmax_t)LAYOUT_CMDLINE)
               : 0;
}
