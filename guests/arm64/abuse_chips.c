// SPDX-License-Identifier: Apache-2.0
/* Reads and writes the chips' registers, and memory where there is none, with garbage. Only what
 * ends the machine is left alone. The machine must run on, and nothing may answer where nothing
 * is. */
#include "../lib/guest.h"

#define HOLE UINT64_C(0x06000000)
#define HOLE_END UINT64_C(0x07000000)
enum { CHIP_SIZE = 0x1000 };

static void abuse_chip(uint64_t base, const char *claim)
{
    for (uint64_t offset = 0; offset < CHIP_SIZE; offset += offset < 0x440 ? 1 : 61) {
        (void)read8(base + offset);
        write8(base + offset, 0xa5);
        if (offset % 4 == 0) {
            (void)read16(base + offset);
            (void)read32(base + offset);
            write16(base + offset, 0xffff);
            write32(base + offset, 0x12345678);
        }
        if (offset % 8 == 0) {
            (void)read64(base + offset);
            write64(base + offset, UINT64_MAX);
        }
    }
    check(true, claim);
}

/* The console's registers are the way we speak, so they are put right again. */
static void abuse_serial(void)
{
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned reg = 1; reg < 8; reg++) {
            write8(SERIAL_BASE + reg, round == 0 ? 0x7f : round == 1 ? 0 : 0xff);
            (void)read8(SERIAL_BASE + reg);
        }
    }
    (void)read64(SERIAL_BASE);
    write8(SERIAL_BASE + 3, 0x03); /* 8 bits, no divisor latch */
    write8(SERIAL_BASE + 4, 0x0b); /* no loopback */
    write8(SERIAL_BASE + 2, 0x07);
    write8(SERIAL_BASE + 1, 0);
    check(true, "garbage in the serial port is survived");
    write8(SERIAL_BASE + 7, 0x5a);
    check(read8(SERIAL_BASE + 7) == 0x5a, "its scratch register echoes");
}

static void abuse_memory(void)
{
    for (uint64_t address = HOLE; address < HOLE_END; address += 0x3fff8) {
        (void)read8(address);
        (void)read64(address);
        write64(address, UINT64_MAX);
        write16(address, 0);
    }
    check(read64(HOLE) == UINT64_MAX, "memory that is not there reads as ones");
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    abuse_chip(RTC_BASE, "garbage in the clock is survived");
    abuse_chip(GPIO_BASE, "garbage in the lines is survived");
    abuse_serial();
    abuse_memory();
}
