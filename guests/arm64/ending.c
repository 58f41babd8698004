// SPDX-License-Identifier: Apache-2.0
/* Ends its machine in the way that `how=` on the command line says, or does not (loop, halt). */
#include "../lib/guest.h"

enum { GPIO_POWER = 1 << 3 };

/* By the lines' levels, without an interrupt; what a driver sees of edges is Linux's to test. */
static void wait_for_button(void)
{
    say("waiting\n");
    while (!read32(GPIO_BASE + (GPIO_POWER << 2)))
        relax();
    check(read32(GPIO_BASE + (GPIO_POWER << 2)) == 0, "the button is let go once it was seen");
    psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
}

/* With two registers at once: the CPU does not tell KVM which. */
static void write_a_pair(void)
{
    __asm__ volatile("stp xzr, xzr, [%0]" : : "r"(SERIAL_BASE) : "memory");
}

/* In 16 MiB that nothing else is in. */
static void write_memory_without_end(void)
{
    for (uint64_t offset = 0;; offset += 4096)
        write8(0x81000000 + (offset & 0xffffff), 1);
}

void guest_main(const char *cmdline)
{
    char how[32];

    option(cmdline, "how", how, sizeof(how));
    say("ending: %s\n", how);
    if (strcmp(how, "poweroff") == 0)
        psci_call(PSCI_SYSTEM_OFF, 0, 0, 0);
    else if (strcmp(how, "reset") == 0)
        psci_call(PSCI_SYSTEM_RESET, 0, 0, 0);
    else if (strcmp(how, "warm-reset") == 0)
        psci_call(PSCI_SYSTEM_RESET2, 0, 0, 0);
    else if (strcmp(how, "panic") == 0)
        write8(PVPANIC_BASE, 1);
    else if (strcmp(how, "crash-load") == 0)
        write8(PVPANIC_BASE, 2);
    else if (strcmp(how, "exit") == 0)
        end_machine((unsigned)option_number(cmdline, "value", 0));
    else if (strcmp(how, "pair") == 0)
        write_a_pair();
    else if (strcmp(how, "button") == 0)
        wait_for_button();
    else if (strcmp(how, "loop") == 0)
        write_memory_without_end();
    halt_for_ever();
}
