// SPDX-License-Identifier: Apache-2.0
/* Ends its machine in the way that `how=` on the command line says, or does not (loop, halt). */
#include "lib/apic.h"

enum {
    PORT_I8042 = 0x64,
    PORT_DEBUG_EXIT = 0xf4,
    PORT_PVPANIC = 0x505,
    PORT_SLEEP_CONTROL = 0x600,
    PORT_EVENTS = 0x604,
    PORT_RESET_CONTROL = 0xcf9,
};

enum { PIN_EVENTS = 9, VECTOR_EVENTS = 0x41, EVENT_POWER_BUTTON = 1 };
enum { SLEEP_S5 = 5 << 2 | 1 << 5 };

static void fault_without_idt(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none = { 0, 0 };

    __asm__ volatile("lidt %0; xor %%ecx, %%ecx; div %%ecx"
                     :
                     : "m"(none)
                     : "eax", "ecx", "edx", "memory");
}

/* Goes on where there is no memory: in the window for PCI devices. */
static void run_into_nowhere(void)
{
    __asm__ volatile("jmp *%0" : : "r"(UINT64_C(0xd0000000)));
}

static void on_event(unsigned count)
{
    (void)count;
    if (in32(PORT_EVENTS) & EVENT_POWER_BUTTON)
        out8(PORT_SLEEP_CONTROL, SLEEP_S5);
}

/* Sleeps until the power button is pressed. */
static void wait_for_button(void)
{
    apic_enable();
    interrupts_call(VECTOR_EVENTS, on_event);
    interrupts_enable();
    ioapic_route(PIN_EVENTS, VECTOR_EVENTS, true);
    say("waiting\n");
    for (;;)
        interrupts_wait();
}

/* In 16 MiB that nothing else is in. */
static void write_memory_without_end(void)
{
    for (uint64_t offset = 0;; offset += 4096)
        write8(0x1000000 + (offset & 0xffffff), 1);
}

static const struct {
    const char *name;
    uint16_t port;
    uint8_t value;
} endings[] = {
    { "poweroff", PORT_SLEEP_CONTROL, SLEEP_S5 },
    { "reset-control", PORT_RESET_CONTROL, 6 },
    { "i8042", PORT_I8042, 0xfe },
    { "panic", PORT_PVPANIC, 1 },
    { "crash-load", PORT_PVPANIC, 2 },
};

void guest_main(const char *cmdline)
{
    char how[32];

    option(cmdline, "how", how, sizeof(how));
    say("ending: %s\n", how);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (strcmp(how, endings[i].name) == 0)
            out8(endings[i].port, endings[i].value);
    }
    if (strcmp(how, "exit") == 0)
        out32(PORT_DEBUG_EXIT, (uint32_t)option_number(cmdline, "value", 0));
    else if (strcmp(how, "triple-fault") == 0)
        fault_without_idt();
    else if (strcmp(how, "lost") == 0)
        run_into_nowhere();
    else if (strcmp(how, "button") == 0)
        wait_for_button();
    else if (strcmp(how, "loop") == 0)
        write_memory_without_end();
    halt_for_ever();
}
