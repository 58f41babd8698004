// SPDX-License-Identifier: Apache-2.0
/* Preloaded into hutch, lets the FAIL_AT-th allocation of memory fail; those after it succeed, so
 * that what follows a failure is seen. glibc's own names for its allocators stand behind. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

/* Threads may race for a count: then another one fails, which is as good. */
static long allocations_left = -1;

static bool is_to_fail(void)
{
    static const char name[] = "FAIL_AT=";

    if (allocations_left < 0) {
        allocations_left = 0;
        for (char **at = environ; at && *at; at++) {
            if (!strncmp(*at, name, sizeof(name) - 1))
                allocations_left = strtol(*at + sizeof(name) - 1, NULL, 10);
        }
    }
    if (allocations_left == 0 || --allocations_left > 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return is_to_fail() ? NULL : __libc_malloc(size);
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's are reserved */
void *calloc(size_t count, size_t size)
{
    return is_to_fail() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return is_to_fail() ? NULL : __libc_realloc(block, size);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
