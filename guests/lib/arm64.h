// SPDX-License-Identifier: Apache-2.0
/* What a guest does with an Arm CPU: calls of the firmware (PSCI) and system registers. */
#pragma once

#include <stdint.h>

/* Where the chips are (mem/layout_arm64.h). */
#define SERIAL_BASE UINT64_C(0x09000000)
#define RTC_BASE UINT64_C(0x09010000)
#define GPIO_BASE UINT64_C(0x09020000)
#define PVPANIC_BASE UINT64_C(0x09030000)
#define DEBUG_EXIT_BASE UINT64_C(0x09040000)

/* Functions of PSCI (Arm DEN0022). */
#define PSCI_VERSION UINT64_C(0x84000000)
#define PSCI_CPU_ON UINT64_C(0xc4000003)
#define PSCI_SYSTEM_OFF UINT64_C(0x84000008)
#define PSCI_SYSTEM_RESET UINT64_C(0x84000009)
#define PSCI_SYSTEM_RESET2 UINT64_C(0x84000012)

static inline int64_t psci_call(uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
    register uint64_t x0 __asm__("x0") = function;
    register uint64_t x1 __asm__("x1") = a;
    register uint64_t x2 __asm__("x2") = b;
    register uint64_t x3 __asm__("x3") = c;

    __asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
    return (int64_t)x0;
}

/* The affinity fields of MPIDR_EL1, by which PSCI knows a CPU. */
static inline uint64_t cpu_affinity(void)
{
    uint64_t mpidr;
    __asm__ volatile("mrs %0, mpidr_el1" : "=r"(mpidr));
    return mpidr & UINT64_C(0xff00ffffff);
}

static inline uint64_t ticks(void)
{
    uint64_t value;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(value) : : "memory");
    return value;
}
static inline void relax(void)
{
    __asm__ volatile("yield" ::: "memory");
}
__attribute__((noreturn)) static inline void halt_for_ever(void)
{
    for (;;)
        __asm__ volatile("wfi" ::: "memory");
}

/* Starts CPU @affinity, which calls @entry(@n) on a stack of its own; @n is below 64. Returns what
 * PSCI answers: 0 or a negative number. */
int64_t start_cpu(uint64_t affinity, void (*entry)(unsigned n), unsigned n);
