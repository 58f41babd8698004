// SPDX-License-Identifier: Apache-2.0
/* Reads and writes every port, and memory where there is none, with garbage. Only the ports that
 * end the machine are left alone. The machine must run on, and nothing may answer where nothing
 * is. */
#include "lib/apic.h"

#define HOLE UINT64_C(0xf0000000)
enum { CONSOLE_FIRST = 0x3f8, CONSOLE_LAST = 0x3ff, PORTS = 0x10000 };

static bool ends_the_machine(unsigned port)
{
    return (port >= 0xf1 && port <= 0xf7) || (port >= 0x5d && port <= 0x64) ||
           (port >= 0x502 && port <= 0x505) || (port >= 0x5fd && port <= 0x607) ||
           (port >= 0xcf6 && port <= 0xcff);
}

static void abuse_ports(void)
{
    for (unsigned port = 0; port < PORTS; port += port < 0x1000 ? 1 : 97) {
        if (ends_the_machine(port) || (port + 4 > CONSOLE_FIRST && port <= CONSOLE_LAST))
            continue;
        (void)in8((uint16_t)port);
        (void)in32((uint16_t)port);
        out8((uint16_t)port, 0xa5);
        out16((uint16_t)port, 0xffff);
        out32((uint16_t)port, 0x12345678);
    }
    check(true, "garbage on every port is survived");
    check(in8(0x2f8) == 0xff && in32(0x1234) == UINT32_MAX, "where nothing is, all bits are ones");
}

/* The console's registers are the way we speak, so they are put right again. */
static void abuse_serial(void)
{
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned port = CONSOLE_FIRST + 1; port <= CONSOLE_LAST; port++) {
            out8((uint16_t)port, round == 0 ? 0x7f : round == 1 ? 0 : 0xff);
            (void)in8((uint16_t)port);
            (void)in32((uint16_t)port);
        }
    }
    out8(CONSOLE_FIRST + 3, 0x03); /* 8 bits, no divisor latch */
    out8(CONSOLE_FIRST + 4, 0x0b); /* no loopback */
    out8(CONSOLE_FIRST + 2, 0x07);
    out8(CONSOLE_FIRST + 1, 0);
    check(true, "garbage in the serial port is survived");
    out8(CONSOLE_FIRST + 7, 0x5a);
    check(in8(CONSOLE_FIRST + 7) == 0x5a, "its scratch register echoes");
}

static void abuse_memory(void)
{
    for (uint64_t address = HOLE; address < 0xfec00000; address += 0x3ffff1) {
        (void)read8(address);
        (void)read64(address);
        write64(address, UINT64_MAX);
        write16(address, 0);
    }
    check(read64(HOLE) == UINT64_MAX, "memory that is not there reads as ones");
    check(read32(HOLE + 0xffd) == UINT32_MAX, "also across a page");
}

static void abuse_ioapic(void)
{
    const uint64_t base = UINT64_C(0xfec00000);

    for (unsigned index = 0; index < 256; index++) {
        write32(base, index);
        write32(base + 0x10, 0x0001ffff); /* masked: nobody takes interrupts here */
        write32(base + 0x10, UINT32_MAX);
        write32(base + 0x40, index);
        (void)read32(base + 0x10);
        (void)read64(base + index);
        write64(base + index, UINT64_MAX);
    }
    write32(base, 1);
    check((read32(base + 0x10) & 0xff) == 0x20, "the I/O APIC survives garbage");
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    interrupts_disable();
    abuse_ports();
    abuse_serial();
    abuse_memory();
    abuse_ioapic();
}
