// SPDX-License-Identifier: Apache-2.0
/* The guest's memory, and what may be in its way.
 *
 * It is taken as the guest touches it, but not for free: a KVM that shadows the guest's page tables
 * keeps 8 bytes for each page from the start, which is 2 GiB for 1 TiB. A machine of hundreds of
 * times the host's memory would take all of that before its first instruction, in one system call
 * that no signal ends; so there is a limit. */
#include <errno.h>
#include <sys/resource.h>

#include "host/fd.h"
#include "host/limits.h"
#include "host/log.h"
#include "machine_private.h"
#include "mem/layout.h"

/* KVM's tables of 1/512 take half of the host's memory then. */
enum { MAX_OVERCOMMIT = 256 };

int machine_check_memory(const struct config *config)
{
    uint64_t host = limits_memory("");

    if (!host || config->memory_size / MAX_OVERCOMMIT <= host)
        return 0;
    log_error("%ju MiB of memory: KVM's tables for so much could take %ju MiB of the %ju MiB that "
              "this host has for us; --memory=%juM is the most",
              (uintmax_t)(config->memory_size / MIB),
              (uintmax_t)(config->memory_size / MAX_OVERCOMMIT / 2 / MIB), (uintmax_t)(host / MIB),
              (uintmax_t)(host / MIB * MAX_OVERCOMMIT));
    return -EINVAL;
}

/* Whether the kernel promises no more memory than it has: MAP_NORESERVE means nothing to it then.
 */
static bool host_counts_promises(void)
{
    AUTO_FREE char *text = NULL;

    return !fd_read_file("/proc/sys/vm/overcommit_memory", 64, &text, NULL) && text[0] == '2';
}

static int explain_failure(const struct config *config, int err)
{
    uintmax_t size = config->memory_size / MIB;
    struct rlimit limit;

    if (err == -ENOMEM && !getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY)
        log_error("%ju MiB of guest memory: our address space may have %ju MiB; raise that limit "
                  "(ulimit -v unlimited) or take less (--memory)",
                  size, (uintmax_t)limit.rlim_cur / MIB);
    else if (err == -ENOMEM && host_counts_promises())
        log_error("%ju MiB of guest memory: this host promises no more memory than it has; allow "
                  "that (sudo sysctl vm.overcommit_memory=0) or take less (--memory)",
                  size);
    else
        (void)log_errno(err, "%ju MiB of guest memory", size);
    return err;
}

int machine_make_memory(const struct config *config, struct guest_mem **ret)
{
    struct guest_mem *mem = NULL;
    int err = guest_mem_create(GUEST_MEM_PRIVATE, &mem);

    if (!err)
        err = layout_add_ram(mem, config->memory_size);
    if (err) {
        guest_mem_destroy(mem);
        return explain_failure(config, err);
    }
    *ret = mem;
    return 0;
}
