// SPDX-License-Identifier: Apache-2.0
/* What a guest needs of an Arm machine: its start, serial port, end, clock, and other CPUs. */
#include "guest.h"

enum { SERIAL_STATUS = 5, SERIAL_STATUS_EMPTY = 0x20 };
enum { MAX_CPUS = 64, STACK_SIZE = 4096 };

/* Of a flattened device tree (Devicetree Specification, 5). */
enum { FDT_STRUCTURE_OFFSET = 8, FDT_STRINGS_OFFSET = 12 };
enum { FDT_BEGIN_NODE = 1, FDT_END_NODE = 2, FDT_PROP = 3, FDT_NOP = 4 };

static uint8_t stacks[MAX_CPUS * STACK_SIZE] __attribute__((aligned(16)));

/* What a CPU that is started finds by its argument. */
static struct start {
    uint64_t stack_top;
    void (*entry)(unsigned n);
    uint64_t n;
} starts[MAX_CPUS];

extern void secondary_start(void); /* in arm64.S */

/* Called there. */
void guest_start(uint64_t fdt);

static uint32_t fdt_number(uint64_t address)
{
    return __builtin_bswap32(read32(address));
}

/* The string of property "bootargs", of which there is one; "" without it. */
static const char *find_bootargs(uint64_t fdt)
{
    uint64_t at = fdt + fdt_number(fdt + FDT_STRUCTURE_OFFSET);
    uint64_t strings = fdt + fdt_number(fdt + FDT_STRINGS_OFFSET);

    for (;;) {
        uint32_t token = fdt_number(at);
        at += 4;
        if (token == FDT_BEGIN_NODE) {
            while (read8(at))
                at++;
            at = (at + 4) & ~UINT64_C(3);
        } else if (token == FDT_PROP) {
            uint32_t len = fdt_number(at), name = fdt_number(at + 4);
            if (strcmp((const char *)(strings + name), "bootargs") == 0)
                return (const char *)(at + 8);
            at = (at + 8 + len + 3) & ~UINT64_C(3);
        } else if (token != FDT_END_NODE && token != FDT_NOP) {
            return "";
        }
    }
}

void guest_start(uint64_t fdt)
{
    guest_main(find_bootargs(fdt));
    finish();
}

/* The compiler would make calls of themselves out of plain loops. */
void *memset(void *to, int byte, size_t len)
{
    for (volatile uint8_t *p = to; len; len--)
        *p++ = (uint8_t)byte;
    return to;
}

void *memcpy(void *to, const void *from, size_t len)
{
    const uint8_t *q = from;

    for (volatile uint8_t *p = to; len; len--)
        *p++ = *q++;
    return to;
}

void put_char(char c)
{
    while (!(read8(SERIAL_BASE + SERIAL_STATUS) & SERIAL_STATUS_EMPTY))
        relax();
    write8(SERIAL_BASE, (uint8_t)c);
}

void end_machine(unsigned value)
{
    write32(DEBUG_EXIT_BASE, value);
}

uint64_t deadline(uint64_t ms)
{
    uint64_t frequency;

    __asm__("mrs %0, cntfrq_el0" : "=r"(frequency));
    return ticks() + frequency / 1000 * ms;
}

int64_t start_cpu(uint64_t affinity, void (*entry)(unsigned n), unsigned n)
{
    starts[n] = (struct start){ (uint64_t)&stacks[(n + 1) * STACK_SIZE], entry, n };
    return psci_call(PSCI_CPU_ON, affinity, (uint64_t)secondary_start, (uint64_t)&starts[n]);
}
