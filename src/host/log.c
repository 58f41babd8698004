// SPDX-License-Identifier: Apache-2.0
/* One line a message, to stderr, in one write. */
#include "host/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 1024 };

static _Atomic int shown_level = LOG_LEVEL_WARN;

void log_set_level(enum log_level level)
{
    atomic_store(&shown_level, (int)level);
}

/* Copies @text behind @line, with what would break the line or command the terminal (names of files
 * may hold it) written as \n or \033. What does not fit is left out. */
static size_t add_visibly(char *line, size_t len, size_t room, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        bool is_control = *c < ' ' || *c == 0x7f;
        size_t need = !is_control ? 1 : *c == '\n' ? 2 : 4;

        if (len + need >= room)
            break;
        if (!is_control)
            line[len] = (char)*c;
        else if (*c == '\n')
            memcpy(line + len, "\\n", need);
        else
            (void)snprintf(line + len, room - len, "\\%03o", *c);
        len += need;
    }
    line[len] = '\0';
    return len;
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
    char text[LINE_MAX_LEN] = "", line[LINE_MAX_LEN] = "hutch: ";
    size_t room = sizeof(line) - strlen("\r\n");
    size_t text_len = printed_len(vsnprintf(text, sizeof(text), format, args), sizeof(text));

    if (cause)
        (void)snprintf(text + text_len, sizeof(text) - text_len, ": %s", cause);
    size_t len = add_visibly(line, strlen(line), room, text);
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
