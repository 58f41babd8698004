// SPDX-License-Identifier: Apache-2.0
/* One line a message, to stderr, in one write.
 *
 * Whoever reads stderr may have stopped to, as one who reads the guest's output as well and has
 * enough of it: he must not keep a machine from its end. */
#include "host/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/fd.h"

/* A line is at most as long as a pipe takes in one piece. */
enum { LINE_MAX_LEN = PIPE_BUF, SMALL_TEXT_MAX = 512, PATIENCE_MS = 2000 };

#define PREFIX "hutch: "
#define CUT " [...] "

static _Atomic int shown_level = LOG_LEVEL_WARN;
static _Atomic bool is_stuck; /* nobody took the last line */

void log_set_level(enum log_level level)
{
    atomic_store(&shown_level, (int)level);
}

/* Whether UTF-8 for U+0080 to U+009F begins at @at, which some terminals obey. */
static bool is_c1(const char *at)
{
    return at[0] == '\xc2' && ((unsigned char)at[1] & 0xe0) == 0x80;
}

/* How many bytes show the one at @at in @text: what would break the line or command the terminal
 * (names of files may hold it) is written as \\n or \\033. */
static size_t shown_len(const char *text, const char *at)
{
    unsigned char c = (unsigned char)*at;
    bool is_control = c < ' ' || c == 0x7f || is_c1(at) || (at > text && is_c1(at - 1));

    return !is_control ? 1 : c == '\n' ? 2 : 4;
}

static size_t add_shown(char *line, size_t len, const char *text, const char *at)
{
    size_t need = shown_len(text, at);

    if (need == 1)
        line[len] = *at;
    else if (need == 2)
        memcpy(line + len, "\\n", need);
    else
        (void)snprintf(line + len, need + 1, "\\%03o", (unsigned)(unsigned char)*at);
    return len + need;
}

/* The last part of @text that is shown in at most @room bytes. */
static const char *find_tail(const char *text, size_t room)
{
    const char *at = text + strlen(text);

    for (size_t used = 0; at > text; at--) {
        used += shown_len(text, at - 1);
        if (used > room)
            break;
    }
    return at;
}

/* Puts @text behind @line, in at most @room bytes: what is too long loses its middle, as a message
 * names the thing at its beginning and the cause at its end. @line has a byte more for a NUL. */
static size_t add_text(char *line, size_t len, size_t room, const char *text)
{
    const char *at = text, *end = text + strlen(text), *tail = find_tail(text, room);

    if (tail > text) {
        size_t head_room = (room - strlen(CUT)) / 2, used = 0;

        tail = find_tail(text, room - strlen(CUT) - head_room);
        for (; (used += shown_len(text, at)) <= head_room; at++)
            len = add_shown(line, len, text, at);
        memcpy(line + len, CUT, strlen(CUT));
        len += strlen(CUT);
        at = tail;
    }
    for (; at < end; at++)
        len = add_shown(line, len, text, at);
    return len;
}

/* All of the message. Without memory: its beginning, which is in @small. */
__attribute__((format(printf, 1, 0))) static char *format_text(const char *format, va_list args,
                                                               char *small, size_t size)
{
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(small, size, format, args);
    char *text = len >= (int)size ? malloc((size_t)len + 1) : NULL;
    if (text)
        (void)vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

/* The first line that nobody takes waits for a while, those behind it do not. */
static void write_out(const char *line, size_t len)
{
    struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
    int ready;

    do {
        ready = poll(&room, 1, atomic_load(&is_stuck) ? 0 : PATIENCE_MS);
    } while (ready < 0 && errno == EINTR);
    atomic_store(&is_stuck, ready == 0);
    if (ready == 0)
        return;
    /* Nobody is left to tell if stderr is gone. */
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}

__attribute__((format(printf, 1, 0))) static void write_line(const char *format, va_list args,
                                                             const char *cause)
{
    /* The carriage return costs nothing in cooked mode and keeps the columns right in raw mode,
     * where nobody turns a newline into both. */
    const char *end = isatty(STDERR_FILENO) ? "\r\n" : "\n";
    char small[SMALL_TEXT_MAX] = "", line[LINE_MAX_LEN] = PREFIX;
    AUTO_FREE char *text = format_text(format, args, small, sizeof(small));
    size_t cause_len = cause ? strlen(": ") + strlen(cause) : 0;
    size_t room = sizeof(line) - strlen(PREFIX) - cause_len - sizeof("\r\n");

    size_t len = add_text(line, strlen(line), room, text ? text : small);
    char *at = line + len;
    if (cause)
        at = stpcpy(stpcpy(at, ": "), cause);
    at = stpcpy(at, end);
    write_out(line, (size_t)(at - line));
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
