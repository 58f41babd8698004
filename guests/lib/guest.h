// SPDX-License-Identifier: Apache-2.0
/* What every guest program has: registers, a console, and a verdict.
 *
 * A guest says on the serial port what it saw, one line for each claim: "ok CLAIM" or
 * "not ok CLAIM", and ends through the debug-exit port with the number of claims that failed. It
 * may run where guest kernel code is emulated at some million instructions a second, by an
 * emulator that does not know all of them, so it is short and uses no SSE.
 *
 * The header of the machine (x86_64.h, arm64.h) has what its CPU can do, with these names in all of
 * them: relax(), halt_for_ever(), ticks(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include "x86_64.h"
#else
#include "arm64.h"
#endif

/* Memory-mapped registers; one plain instruction each. The compiler must not see how one address
 * comes from another: on Arm it would count on while it loads, which no hypervisor can follow. */
static inline uint64_t plain_address(uint64_t address)
{
    __asm__("" : "+r"(address));
    return address;
}
static inline uint8_t read8(uint64_t address)
{
    return *(volatile uint8_t *)plain_address(address);
}
static inline uint16_t read16(uint64_t address)
{
    return *(volatile uint16_t *)plain_address(address);
}
static inline uint32_t read32(uint64_t address)
{
    return *(volatile uint32_t *)plain_address(address);
}
static inline uint64_t read64(uint64_t address)
{
    return *(volatile uint64_t *)plain_address(address);
}
static inline void write8(uint64_t address, uint8_t value)
{
    *(volatile uint8_t *)plain_address(address) = value;
}
static inline void write16(uint64_t address, uint16_t value)
{
    *(volatile uint16_t *)plain_address(address) = value;
}
static inline void write32(uint64_t address, uint32_t value)
{
    *(volatile uint32_t *)plain_address(address) = value;
}
static inline void write64(uint64_t address, uint64_t value)
{
    *(volatile uint64_t *)plain_address(address) = value;
}

static inline void compiler_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}
/* The program itself, with the kernel's command line. */
void guest_main(const char *cmdline);

/* The value of NAME=VALUE on the command line, copied (cut to @size); "" if there is none. */
const char *option(const char *cmdline, const char *name, char *buf, size_t size);
uint64_t option_number(const char *cmdline, const char *name, uint64_t otherwise);

/* %s %u %x %lx %c */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One claim of the test. */
void check(bool is_true, const char *claim);
/* Ends the machine with the number of claims that failed. */
__attribute__((noreturn)) void finish(void);
/* Ends the machine at once, with a reason. */
__attribute__((noreturn)) void give_up(const char *why);

/* Waits until @condition is true or two seconds passed; an expression. */
#define wait_until(condition)                                                                      \
    ({                                                                                             \
        uint64_t end_ = deadline(2000);                                                            \
        while (!(condition) && ticks() < end_)                                                     \
            relax();                                                                               \
        (condition);                                                                               \
    })
/* A value of ticks() some time from now. */
uint64_t deadline(uint64_t ms);

/* The machine's own, in x86_64.c or arm64.c: a character on the serial port, and the end by the
 * debug-exit device. */
void put_char(char c);
void end_machine(unsigned value);

void *memset(void *to, int byte, size_t len);
void *memcpy(void *to, const void *from, size_t len);
int memcmp(const void *a, const void *b, size_t len);
int strcmp(const char *a, const char *b);
