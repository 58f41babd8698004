// SPDX-License-Identifier: Apache-2.0
/* What goes out comes back: through a register behind ports, one behind memory, and what a person
 * types on the serial port, up to the end of a line. */
#include "lib/pci.h"

enum { SERIAL = 0x3f8, STATUS = SERIAL + 5, SCRATCH = SERIAL + 7, STATUS_DATA_READY = 1 };

static void echo_registers(void)
{
    bool ports = true, memory = true;

    for (unsigned i = 0; i < 256; i += 15) {
        out8(SCRATCH, (uint8_t)i);
        ports = ports && in8(SCRATCH) == i;
        pci_write8(0, PCI_INTERRUPT_LINE, (uint8_t)i);
        memory = memory && pci_read8(0, PCI_INTERRUPT_LINE) == i;
    }
    check(ports, "a register behind a port echoes");
    check(memory, "a register behind memory echoes");
}

static void echo_line(void)
{
    char line[80];
    unsigned len = 0;

    while (len + 1 < sizeof(line)) {
        while (!(in8(STATUS) & STATUS_DATA_READY))
            relax();
        line[len] = (char)in8(SERIAL);
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
    if (option_number(cmdline, "lines", 0))
        say("listening\n");
    for (uint64_t lines = option_number(cmdline, "lines", 0); lines; lines--)
        echo_line();
}
