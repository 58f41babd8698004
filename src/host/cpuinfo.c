// SPDX-License-Identifier: Apache-2.0
/* /proc/cpuinfo, of which the first CPU is enough: the flags are those that all have. */
#include "host/cpuinfo.h"

#include <string.h>

#include "host/fd.h"

enum { CPUINFO_MAX = 64 << 20 };

bool cpuinfo_has_flag(const char *name)
{
    AUTO_FREE char *text = NULL;
    size_t len = strlen(name);

    if (fd_read_file("/proc/cpuinfo", CPUINFO_MAX, &text, NULL))
        return false;
    char *flags = strstr(text, "\nflags");
    char *end = flags ? strchr(flags + 1, '\n') : NULL;
    if (end)
        *end = '\0';
    for (const char *at = flags; at && (at = strstr(at, name)); at += len) {
        if (at[-1] == ' ' && (at[len] == ' ' || !at[len]))
            return true;
    }
    return false;
}
