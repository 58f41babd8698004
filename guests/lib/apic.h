// SPDX-License-Identifier: Apache-2.0
/* The local APIC in x2APIC mode (Intel SDM volume 3, 11.12), the I/O APIC, and the other CPUs. */
#pragma once

#include "guest.h"

/* Vectors that interrupt_count() counts; below them are the CPU's own. */
enum { VECTOR_FIRST = 0x40, VECTOR_COUNT = 8 };

/* Switches this CPU's APIC on, in x2APIC mode. */
void apic_enable(void);
uint32_t apic_id(void);
/* Sends @vector to the CPU with APIC ID @id. */
void apic_send(uint32_t id, uint8_t vector);

/* Whether @vector waits for this CPU, with interrupts off; a way to see an interrupt without
 * taking it. */
bool apic_is_pending(uint8_t vector);

/* Takes interrupts from now on: each vector from VECTOR_FIRST is counted and ended. */
void interrupts_enable(void);
void interrupts_disable(void);
unsigned interrupt_count(uint8_t vector);
/* Calls @fn with each interrupt of @vector, before it ends. */
void interrupts_call(uint8_t vector, void (*fn)(unsigned count));
/* Sleeps until an interrupt was taken; interrupts are off before and after. */
void interrupts_wait(void);

/* Routes pin @pin of the I/O APIC to @vector on the first CPU. */
void ioapic_route(unsigned pin, uint8_t vector, bool is_level);
void ioapic_mask(unsigned pin);

/* How many CPUs the package has, as CPUID says. */
unsigned cpu_count(void);
/* Starts all other CPUs, which call @entry(n), n from 0, each on a stack of its own. */
void start_cpus(void (*entry)(unsigned n));
