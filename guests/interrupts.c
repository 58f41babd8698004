// SPDX-License-Identifier: Apache-2.0
/* Interrupts on the first CPU: to itself, from a wire of the I/O APIC (the serial port's), and by
 * the local APIC's timer. Seen without taking them, and then taken if `take=1`. */
#include "lib/apic.h"

enum { SERIAL_IRQ_ENABLE = 0x3f9, SERIAL_PIN = 4, IRQ_TRANSMITTER_EMPTY = 2 };
enum { MSR_X2APIC_LVT_TIMER = 0x832, MSR_TSC_DEADLINE = 0x6e0, TIMER_TSC_DEADLINE = 2 << 17 };
enum { VECTOR_SELF = 0x40, VECTOR_EDGE = 0x41, VECTOR_LEVEL = 0x42, VECTOR_TIMER = 0x43 };

static void look(void)
{
    apic_send(0, VECTOR_SELF);
    check(wait_until(apic_is_pending(VECTOR_SELF)), "an interrupt to itself arrives");

    ioapic_route(SERIAL_PIN, VECTOR_EDGE, false);
    out8(SERIAL_IRQ_ENABLE, IRQ_TRANSMITTER_EMPTY);
    check(wait_until(apic_is_pending(VECTOR_EDGE)), "the serial port's edge arrives");
    out8(SERIAL_IRQ_ENABLE, 0);
    ioapic_mask(SERIAL_PIN);

    check((cpuid(1, 0).ecx >> 24 & 1) == 1, "there is a TSC deadline timer");
    wrmsr(MSR_X2APIC_LVT_TIMER, TIMER_TSC_DEADLINE | VECTOR_TIMER);
    wrmsr(MSR_TSC_DEADLINE, deadline(2));
    check(!apic_is_pending(VECTOR_TIMER), "the timer does not fire at once");
    check(wait_until(apic_is_pending(VECTOR_TIMER)), "the timer fires");
}

/* Leaves the wire high twice. A handler that always did would be called for ever. */
static void end_level(unsigned count)
{
    if (count == 3)
        out8(SERIAL_IRQ_ENABLE, 0);
}

static void take(void)
{
    interrupts_enable();
    check(wait_until(interrupt_count(VECTOR_SELF) == 1), "what was pending is taken");
    check(wait_until(interrupt_count(VECTOR_TIMER) == 1), "the timer's is taken");

    interrupts_call(VECTOR_LEVEL, end_level);
    ioapic_route(SERIAL_PIN, VECTOR_LEVEL, true);
    out8(SERIAL_IRQ_ENABLE, IRQ_TRANSMITTER_EMPTY);
    check(wait_until(interrupt_count(VECTOR_LEVEL) >= 3), "a level comes again while it is high");
    for (uint64_t end = deadline(5); ticks() < end;)
        relax();
    check(interrupt_count(VECTOR_LEVEL) == 3, "and no more once it fell");

    interrupts_disable();
    wrmsr(MSR_TSC_DEADLINE, deadline(5));
    unsigned count = interrupt_count(VECTOR_TIMER);
    interrupts_wait();
    check(interrupt_count(VECTOR_TIMER) == count + 1, "the timer ends a halt");
}

void guest_main(const char *cmdline)
{
    interrupts_disable();
    apic_enable();
    look();
    if (option_number(cmdline, "take", 0))
        take();
}
