// SPDX-License-Identifier: Apache-2.0
/* A guest in C: from its start to its verdict, with the little that it needs of a C library. */
#include "guest.h"

#include <stdarg.h>

static unsigned failed;

int memcmp(const void *a, const void *b, size_t len)
{
    const uint8_t *x = a, *y = b;

    for (size_t i = 0; i < len; i++) {
        if (x[i] != y[i])
            return x[i] - y[i];
    }
    return 0;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

static void put_number(uint64_t value, unsigned base)
{
    char digits[20];
    unsigned count = 0;

    do
        digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (count)
        put_char(digits[--count]);
}

static void put_string(const char *s)
{
    while (*s)
        put_char(*s++);
}

void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            put_char(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            put_string(va_arg(args, const char *));
            break;
        case 'u':
            put_number(va_arg(args, unsigned), 10);
            break;
        case 'x':
            put_number(va_arg(args, unsigned), 16);
            break;
        case 'l':
            format++;
            put_number(va_arg(args, uint64_t), 16);
            break;
        case 'c':
            put_char((char)va_arg(args, int));
            break;
        }
    }
    va_end(args);
}

void check(bool is_true, const char *claim)
{
    say("%s %s\n", is_true ? "ok" : "not ok", claim);
    failed += !is_true;
}

void finish(void)
{
    say("done\n");
    end_machine(failed);
    halt_for_ever();
}

void give_up(const char *why)
{
    check(false, why);
    finish();
}

/* Where the value of NAME= starts, or NULL. */
static const char *find_option(const char *cmdline, const char *name)
{
    for (const char *word = cmdline; *word; word++) {
        const char *c = word, *n = name;

        if (word != cmdline && word[-1] != ' ')
            continue;
        while (*n && *c == *n)
            c++, n++;
        if (!*n && *c == '=')
            return c + 1;
    }
    return NULL;
}

const char *option(const char *cmdline, const char *name, char *buf, size_t size)
{
    const char *value = find_option(cmdline, name);
    size_t len = 0;

    while (value && value[len] && value[len] != ' ' && len + 1 < size) {
        buf[len] = value[len];
        len++;
    }
    buf[len] = '\0';
    return buf;
}

uint64_t option_number(const char *cmdline, const char *name, uint64_t otherwise)
{
    const char *value = find_option(cmdline, name);
    uint64_t number = 0;

    if (!value || *value < '0' || *value > '9')
        return otherwise;
    for (; *value >= '0' && *value <= '9'; value++)
        number = number * 10 + (uint64_t)(*value - '0');
    return number;
}
