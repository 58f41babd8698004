// SPDX-License-Identifier: Apache-2.0
/* Which lines of the kernel's log, as /dev/kmsg gives them (Linux: Documentation/ABI/testing/
 * dev-kmsg), tell of a fault of the kernel's own or of a process that it killed for want of
 * memory. */
#include <asm/errno.h>

#include "agent.h"

enum { LINES_MAX = 16 }; /* read at a time */

/* Whether a line is the head of a fault's report, of which there are many: "Oops: 0002 [#1] SMP",
 * "general protection fault, ...: 0000 [#1]", "Internal error: Oops: ... [#1]", and the line in
 * front of it; or one of the checks that a kernel has built in. A CPU that is late can be a slow
 * host's. */
static bool tells_of_fault(const char *text, size_t len)
{
    if (text_contains(text, len, "BUG: "))
        return !text_contains(text, len, "lockup") && !text_contains(text, len, "DEBUG: ");
    return text_contains(text, len, "kernel BUG at ") || text_contains(text, len, " [#1]");
}

/* A record is "priority,number,time,flags;text", and lines that do not matter here. Returns the
 * length of the text, which is 0 if a program said it, and not the kernel. */
static size_t text_of(const char *record, size_t len, const char **ret)
{
    size_t at = 0, end;

    if (record[0] > '7' || (len > 1 && record[1] != ','))
        return 0;
    while (at < len && record[at] != ';')
        at++;
    at += at < len;
    for (end = at; end < len && record[end] != '\n'; end++)
        ;
    *ret = record + at;
    return end - at;
}

bool kernel_log_read(int fd,
                     void (*tell)(void *ctx, enum agent_event event, const char *text, size_t len),
                     void *ctx)
{
    static char record[8192];
    const char *text = record;

    for (int lines = 0; lines < LINES_MAX; lines++) {
        long got = SYS(read, fd, record, sizeof(record));

        if (got <= 0 && got != -EPIPE) /* EPIPE: it was too fast for us */
            return false;
        size_t len = got > 0 ? text_of(record, (size_t)got, &text) : 0;
        if (text_contains(text, len, "ut of memory: Killed process"))
            tell(ctx, AGENT_EVENT_OOM, text, len);
        else if (tells_of_fault(text, len))
            tell(ctx, AGENT_EVENT_OOPS, text, len);
    }
    return true;
}
