// SPDX-License-Identifier: Apache-2.0
/* What goes out comes back: through registers of chips, and what a person types on the serial port,
 * up to the end of a line. */
#include "../lib/guest.h"

enum { STATUS = 5, SCRATCH = 7, STATUS_DATA_READY = 1 };
enum { GPIO_DIRECTION = 0x400, PRIMECELL_ID = 0xff0, RTC_MATCH = 4 };

static void echo_registers(void)
{
    bool bytes = true, words = true;

    for (unsigned i = 0; i < 256; i += 15) {
        write8(SERIAL_BASE + SCRATCH, (uint8_t)i);
        bytes = bytes && read8(SERIAL_BASE + SCRATCH) == i;
        write32(RTC_BASE + RTC_MATCH, i * 0x01010101);
        words = words && read32(RTC_BASE + RTC_MATCH) == i * 0x01010101;
    }
    check(bytes, "a register of a byte echoes");
    check(words, "a register of four bytes echoes");
    write8(GPIO_BASE + GPIO_DIRECTION, 0xf0);
    write8(GPIO_BASE + (0x50 << 2), 0xff);
    check(read8(GPIO_BASE + (0xff << 2)) == 0x50, "the outputs that were selected are high");
    write8(GPIO_BASE + GPIO_DIRECTION, 0);
}

static void check_ids(void)
{
    static const uint8_t id[] = { 0x0d, 0xf0, 0x05, 0xb1 };
    bool all = true;

    for (unsigned i = 0; i < 4; i++)
        all = all && read32(RTC_BASE + PRIMECELL_ID + 4 * i) == id[i] &&
              read32(GPIO_BASE + PRIMECELL_ID + 4 * i) == id[i];
    check(all, "the clock and the lines are PrimeCells");
}

static void echo_line(void)
{
    char line[80];
    unsigned len = 0;

    while (len + 1 < sizeof(line)) {
        while (!(read8(SERIAL_BASE + STATUS) & STATUS_DATA_READY))
            relax();
        line[len] = (char)read8(SERIAL_BASE);
        if (line[len] == '\n' || line[len] == '\r')
            break;
        len++;
    }
    line[len] = '\0';
    say("you said: %s\n", line);
}

void guest_main(const char *cmdline)
{
    echo_registers();
    check_ids();
    if (option_number(cmdline, "lines", 0))
        say("listening\n");
    for (uint64_t lines = option_number(cmdline, "lines", 0); lines; lines--)
        echo_line();
}
