// SPDX-License-Identifier: Apache-2.0
/* Where the program begins, and what a C library would have had. */
#include <linux/fcntl.h>

#include "sys.h"

_Noreturn void agent_main(void);

#ifdef __x86_64__
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n and $-16, %rsp\n call agent_main\n");
#else
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x30, #0\n bl agent_main\n");
#endif

_Noreturn void sys_exit(int status)
{
    for (;;)
        (void)SYS(exit_group, status);
}

void sys_sleep_ms(unsigned ms)
{
    const struct sys_timespec time = { ms / 1000, (int64_t)(ms % 1000) * 1000000 };

    (void)SYS(nanosleep, &time, NULL);
}

uint64_t sys_clock_ns(long clock)
{
    struct sys_timespec time = { 0, 0 };

    (void)SYS(clock_gettime, clock, &time);
    return (uint64_t)time.seconds * 1000000000 + (uint64_t)time.nanoseconds;
}

uint64_t sys_now_ms(void)
{
    const long monotonic = 1;

    return sys_clock_ns(monotonic) / 1000000;
}

void sys_set_time_ns(uint64_t ns)
{
    const long realtime = 0;
    const struct sys_timespec time = { (int64_t)(ns / 1000000000), (int64_t)(ns % 1000000000) };

    (void)SYS(clock_settime, realtime, &time);
}

/* The compiler calls these four by itself. */
void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
    return memmove(to, from, len);
}

void *memmove(void *to, const void *from, size_t len)
{
    unsigned char *out = to;
    const unsigned char *in = from;

#ifdef __x86_64__
    if (out <= in || out >= in + len) {
        void *end = to;
        size_t words = len / 8;

        /* Words, as an emulated CPU takes as long for a byte. */
        len %= 8;
        __asm__ volatile("rep movsq" : "+D"(end), "+S"(in), "+c"(words) : : "memory");
        __asm__ volatile("rep movsb" : "+D"(end), "+S"(in), "+c"(len) : : "memory");
        return to;
    }
#endif
    if (out <= in) {
        for (size_t i = 0; i < len; i++)
            ((volatile unsigned char *)out)[i] = in[i];
    } else {
        for (size_t i = len; i > 0; i--)
            ((volatile unsigned char *)out)[i - 1] = in[i - 1];
    }
    return to;
}

void *memset(void *at, int byte, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((volatile unsigned char *)at)[i] = (unsigned char)byte;
    return at;
}

int memcmp(const void *a, const void *b, size_t len)
{
    const unsigned char *left = a, *right = b;

    for (size_t i = 0; i < len; i++) {
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    }
    return 0;
}

size_t strlen(const char *text)
{
    const volatile char *at = text;

    while (*at)
        at++;
    return (size_t)(at - text);
}

bool text_equals(const char *a, const char *b)
{
    size_t len = strlen(a);

    return len == strlen(b) && memcmp(a, b, len) == 0;
}

bool text_starts_with(const char *text, const char *start)
{
    size_t len = strlen(start);

    return strlen(text) >= len && memcmp(text, start, len) == 0;
}

bool text_contains(const char *text, size_t len, const char *part)
{
    size_t part_len = strlen(part);

    for (size_t at = 0; at + part_len <= len; at++) {
        if (memcmp(text + at, part, part_len) == 0)
            return true;
    }
    return false;
}

size_t text_join(char *to, size_t size, const char *const *parts)
{
    size_t len = 0;

    for (; *parts; parts++) {
        for (const char *at = *parts; *at && len + 1 < size; at++)
            to[len++] = *at;
    }
    to[len] = '\0';
    return len;
}

const char *text_number(char *digits, uint64_t number)
{
    char reversed[20];
    size_t count = 0;

    do {
        reversed[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (size_t i = 0; i < count; i++)
        digits[i] = reversed[count - 1 - i];
    digits[count] = '\0';
    return digits;
}

long read_text(const char *path, char *text, size_t size)
{
    int fd = (int)sys_open(path, 0);
    if (fd < 0)
        return fd;
    long len = SYS(read, fd, text, size - 1);
    sys_close(&fd);
    if (len < 0)
        return len;
    if (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    return len;
}

long write_text(const char *path, const char *text)
{
    int fd = (int)sys_open(path, O_WRONLY);
    if (fd < 0)
        return fd;
    long put = SYS(write, fd, text, strlen(text));
    sys_close(&fd);
    return put < 0 ? put : 0;
}

void say(const char *const *parts)
{
    char line[256] = "hutch-agent: ";
    size_t start = strlen(line);
    size_t len = start + text_join(line + start, sizeof(line) - start - 1, parts);
    int fd = (int)sys_open("/dev/console", O_WRONLY | O_NOCTTY);

    line[len++] = '\n';
    if (fd >= 0)
        (void)SYS(write, fd, line, len);
    sys_close(&fd);
}
