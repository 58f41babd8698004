// SPDX-License-Identifier: Apache-2.0
/* Linux without a C library: system calls, and the few functions on memory and texts that the
 * agent needs. Every call returns what the kernel does: a negative errno is a failure. */
#pragma once

#include <asm/unistd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/syscall.h"

/* Linux fixes these for all architectures that hutch runs on. */
enum {
    SYS_AT_FDCWD = -100,
    SYS_CLOEXEC = 02000000,
    SYS_NONBLOCK = 04000,
    SYS_POLLIN = 1,
    SYS_POLLOUT = 4,
    SYS_POLLERR = 8,
    SYS_POLLHUP = 16,
};

struct sys_pollfd {
    int32_t fd;
    int16_t events, revents;
};

struct sys_timespec {
    int64_t seconds, nanoseconds;
};

#define SYS(name, ...) SYS_PAD(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0)
#define SYS_PAD(number, a, b, c, d, e, ...)                                                        \
    sys_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

static inline long sys_open(const char *path, long flags)
{
    return SYS(openat, SYS_AT_FDCWD, path, flags | SYS_CLOEXEC, 0);
}

static inline void sys_close(int *fd)
{
    if (*fd >= 0)
        (void)SYS(close, *fd);
    *fd = -1;
}

_Noreturn void sys_exit(int status);
void sys_sleep_ms(unsigned ms);
uint64_t sys_clock_ns(long clock);
uint64_t sys_now_ms(void);
void sys_set_time_ns(uint64_t ns);

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *at, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *text);

bool text_equals(const char *a, const char *b);
bool text_starts_with(const char *text, const char *start);
/* Whether @part is in the @len bytes. */
bool text_contains(const char *text, size_t len, const char *part);
/* Puts the texts, up to a NULL, behind each other, cut to @size with the NUL. Returns the length.
 */
size_t text_join(char *to, size_t size, const char *const *parts);
/* @digits gets the number; at least 21 bytes. Returns @digits. */
const char *text_number(char *digits, uint64_t number);

#define TEXT_JOIN(to, ...) text_join(to, sizeof(to), (const char *const[]){ __VA_ARGS__, NULL })

/* Reads a small file as a text without the newline at its end. Returns its length or -errno. */
long read_text(const char *path, char *text, size_t size);
/* Writes a text into a file of the kernel's, at once. Returns 0 or -errno. */
long write_text(const char *path, const char *text);

/* A line of the agent's onto the console: the @parts in a row, which end in NULL. */
void say(const char *const *parts);
#define SAY(...) say((const char *const[]){ __VA_ARGS__, NULL })
