// SPDX-License-Identifier: Apache-2.0
/* Catches what hutch says on stderr during a part of a test. */
#pragma once

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "host/fd.h"

struct log_capture {
    int reader, saved;
    char said[2 * PIPE_BUF];
};

/* Returns 0 or -1. */
static inline int log_capture_begin(struct log_capture *capture)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return -1;
    capture->reader = ends[0];
    capture->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (capture->saved < 0 || dup2(ends[1], STDERR_FILENO) < 0)
        return -1;
    return close(ends[1]);
}

/* What was said since the last time. */
static inline const char *log_capture_read(struct log_capture *capture)
{
    ssize_t len = read(capture->reader, capture->said, sizeof(capture->said) - 1);

    capture->said[len > 0 ? len : 0] = '\0';
    return capture->said;
}

static inline void log_capture_end(struct log_capture *capture)
{
    (void)dup2(capture->saved, STDERR_FILENO);
    fd_close(&capture->saved);
    fd_close(&capture->reader);
}
