// SPDX-License-Identifier: Apache-2.0
/* What a guest needs of a PC: its start, serial port, end and clock. */
#include "guest.h"

enum { SERIAL = 0x3f8, SERIAL_STATUS = SERIAL + 5, SERIAL_STATUS_EMPTY = 0x20 };
enum { DEBUG_EXIT = 0xf4 };

/* Offsets in Linux's boot parameters and in PVH's start info. */
enum { BOOT_PARAMS_CMDLINE = 0x228, START_INFO_CMDLINE = 24 };

/* Both called by start.S. */
void guest_start(uint64_t boot_params);
void guest_start_pvh(uint64_t start_info);

void guest_start(uint64_t boot_params)
{
    guest_main((const char *)(uint64_t)read32(boot_params + BOOT_PARAMS_CMDLINE));
    finish();
}

void guest_start_pvh(uint64_t start_info)
{
    guest_main((const char *)read64(start_info + START_INFO_CMDLINE));
    finish();
}

void *memset(void *to, int byte, size_t len)
{
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(byte) : "memory");
    return start;
}

void *memcpy(void *to, const void *from, size_t len)
{
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
    return start;
}

void put_char(char c)
{
    while (!(in8(SERIAL_STATUS) & SERIAL_STATUS_EMPTY))
        relax();
    out8(SERIAL, (uint8_t)c);
}

void end_machine(unsigned value)
{
    out32(DEBUG_EXIT, value);
}

/* The frequency is in the hypervisor's timing leaf; without it a guess is good enough. */
uint64_t deadline(uint64_t ms)
{
    static uint64_t khz;

    if (!khz)
        khz = cpuid(0x40000000, 0).eax >= 0x40000010 ? cpuid(0x40000010, 0).eax : 0;
    if (!khz)
        khz = 3000000;
    return ticks() + khz * ms;
}
