// SPDX-License-Identifier: Apache-2.0
/* Whether the kernel knows openat2(): qemu-user, which runs tests of another architecture, does not
 * pass it on before version 9.1. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* If it does not, tells the reader of TAP that the whole program is skipped. */
static inline bool has_openat2(void)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC };
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));

    if (fd >= 0) {
        (void)close(fd);
        return true;
    }
    if (errno != ENOSYS)
        return true;
    (void)printf("1..0 # SKIP there is no openat2 here\n");
    return false;
}
