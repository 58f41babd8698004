// SPDX-License-Identifier: Apache-2.0
/* What every guest program has: ports, registers, a console, and a verdict.
 *
 * A guest says on the serial port what it saw, one line for each claim: "ok CLAIM" or
 * "not ok CLAIM", and ends through the debug-exit port with the number of claims that failed. It
 * may run where guest kernel code is emulated at some million instructions a second, by an
 * emulator that does not know all of them, so it is short and uses no SSE. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline uint16_t in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

/* Memory-mapped registers; one instruction each. */
static inline uint8_t read8(uint64_t address)
{
    return *(volatile uint8_t *)address;
}
static inline uint16_t read16(uint64_t address)
{
    return *(volatile uint16_t *)address;
}
static inline uint32_t read32(uint64_t address)
{
    return *(volatile uint32_t *)address;
}
static inline uint64_t read64(uint64_t address)
{
    return *(volatile uint64_t *)address;
}
static inline void write8(uint64_t address, uint8_t value)
{
    *(volatile uint8_t *)address = value;
}
static inline void write16(uint64_t address, uint16_t value)
{
    *(volatile uint16_t *)address = value;
}
static inline void write32(uint64_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}
static inline void write64(uint64_t address, uint64_t value)
{
    *(volatile uint64_t *)address = value;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return low | (uint64_t)high << 32;
}
static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}
static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return low | (uint64_t)high << 32;
}
struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};
static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}
static inline void compiler_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}
static inline void relax(void)
{
    __asm__ volatile("pause" ::: "memory");
}
__attribute__((noreturn)) static inline void halt_for_ever(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
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
        while (!(condition) && rdtsc() < end_)                                                     \
            relax();                                                                               \
        (condition);                                                                               \
    })
/* A TSC value some time from now. */
uint64_t deadline(uint64_t ms);

void *memset(void *to, int byte, size_t len);
void *memcpy(void *to, const void *from, size_t len);
int memcmp(const void *a, const void *b, size_t len);
int strcmp(const char *a, const char *b);
