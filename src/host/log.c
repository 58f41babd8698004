// SPDX-License-Identifier: Apache-2.0
/* One line a message, to stderr, in one write. */
#include "host/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 1024 };

static _Atomic int shown_level = LOG_LEVEL_WARN;

void log_set_level(enum log_level level)
{
    atomic_store(&shown_level, (int)level);
}

/* How much of a buffer snprintf() filled, given what it returned. */
static size_t printed_len(int printed, size_t room)
{
    if (printed < 0)
        return 0;
    return (size_t)printed < room ? (size_t)printed : room - 1;
}

__attribute__((format(printf, 1, 0))) static void write_line(const char *format, va_list args,
                                                             const char *cause)
{
    /* The carriage return costs nothing in cooked mode and keeps the columns right in raw mode,
     * where nobody turns a newline into both. */
    const char *end = isatty(STDERR_FILENO) ? "\r\n" : "\n";
    char line[LINE_MAX_LEN] = "hutch: ";
    size_t room = sizeof(line) - strlen("\r\n"), len = strlen(line);

    len += printed_len(vsnprintf(line + len, room - len, format, args), room - len);
    if (cause)
        len += printed_len(snprintf(line + len, room - len, ": %s", cause), room - len);
    len += (size_t)(stpcpy(line + len, end) - (line + len));
    /* Nobody is left to tell if stderr is gone. */
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}

void log_write(enum log_level level, const char *format, ...)
{
    va_list args;

    if ((int)level > atomic_load(&shown_level))
        return;
    va_start(args, format);
    write_line(format, args, NULL);
    va_end(args);
}

int log_errno(int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(format, args, strerror(-err));
    va_end(args);
    return err;
}
