// SPDX-License-Identifier: Apache-2.0
/* Interrupts of a guest. Handlers are in start.S, one per vector; they count here. */
#include "apic.h"

enum {
    MSR_APIC_BASE = 0x1b,
    APIC_BASE_X2APIC = 3 << 10, /* enabled, and in x2APIC mode */
    MSR_X2APIC_ID = 0x802,
    MSR_X2APIC_EOI = 0x80b,
    MSR_X2APIC_SPURIOUS = 0x80f,
    MSR_X2APIC_IRR = 0x820,
    MSR_X2APIC_ICR = 0x830,
    SPURIOUS_ENABLE = 0x1ff,
    ICR_INIT = 0x4500,
    ICR_STARTUP = 0x4600,
    ICR_ALL_BUT_SELF = 3 << 18,
};

#define IOAPIC_BASE UINT64_C(0xfec00000)
enum { IOAPIC_LEVEL = 1 << 15, IOAPIC_MASKED = 1 << 16 };

enum { TRAMPOLINE_ADDRESS = 0x8000, STACK_SIZE = 4096, MAX_CPUS = 64 };

struct gate {
    uint16_t offset_low, selector, type, offset_middle;
    uint32_t offset_high, reserved;
};

extern const uint8_t trampoline[], trampoline_end[];
extern const uint64_t trampoline_entry[], trampoline_stacks[];

static struct gate idt[VECTOR_FIRST + VECTOR_COUNT];
static volatile unsigned counts[VECTOR_COUNT];
static void (*volatile calls[VECTOR_COUNT])(unsigned count);
static uint8_t stacks[MAX_CPUS * STACK_SIZE] __attribute__((aligned(16)));

void apic_enable(void)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    wrmsr(MSR_X2APIC_SPURIOUS, SPURIOUS_ENABLE);
}

uint32_t apic_id(void)
{
    return (uint32_t)rdmsr(MSR_X2APIC_ID);
}

void apic_send(uint32_t id, uint8_t vector)
{
    wrmsr(MSR_X2APIC_ICR, (uint64_t)id << 32 | 0x4000 | vector);
}

bool apic_is_pending(uint8_t vector)
{
    return rdmsr(MSR_X2APIC_IRR + vector / 32) >> vector % 32 & 1;
}

/* Called by the handlers in start.S, of which there is one per vector. */
void count_interrupt(uint64_t index);
extern const uint64_t interrupt_handlers[VECTOR_COUNT];

void count_interrupt(uint64_t index)
{
    unsigned count = ++counts[index];

    if (calls[index])
        calls[index](count);
    wrmsr(MSR_X2APIC_EOI, 0);
}

static void set_gate(unsigned vector, uint64_t offset)
{
    idt[vector] = (struct gate){ .offset_low = (uint16_t)offset,
                                 .selector = 0x10,
                                 .type = 0x8e00,
                                 .offset_middle = (uint16_t)(offset >> 16),
                                 .offset_high = (uint32_t)(offset >> 32) };
}

void interrupts_enable(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };

    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        set_gate(VECTOR_FIRST + i, interrupt_handlers[i]);
    __asm__ volatile("lidt %0; sti" : : "m"(pointer) : "memory");
}

void interrupts_disable(void)
{
    __asm__ volatile("cli" ::: "memory");
}

unsigned interrupt_count(uint8_t vector)
{
    return counts[vector - VECTOR_FIRST];
}

void interrupts_call(uint8_t vector, void (*fn)(unsigned count))
{
    calls[vector - VECTOR_FIRST] = fn;
}

void interrupts_wait(void)
{
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}

static void ioapic_write(uint8_t index, uint32_t value)
{
    write32(IOAPIC_BASE, index);
    write32(IOAPIC_BASE + 0x10, value);
}

void ioapic_route(unsigned pin, uint8_t vector, bool is_level)
{
    ioapic_write((uint8_t)(0x11 + 2 * pin), apic_id() << 24);
    ioapic_write((uint8_t)(0x10 + 2 * pin), vector | (is_level ? IOAPIC_LEVEL : 0));
}

void ioapic_mask(unsigned pin)
{
    ioapic_write((uint8_t)(0x10 + 2 * pin), IOAPIC_MASKED);
}

unsigned cpu_count(void)
{
    return cpuid(0xb, 1).ebx & 0xffff;
}

/* Where the trampoline keeps a value. */
static uint64_t trampoline_slot(const void *where)
{
    return TRAMPOLINE_ADDRESS + (uint64_t)((const uint8_t *)where - trampoline);
}

void start_cpus(void (*entry)(unsigned n))
{
    memcpy((void *)TRAMPOLINE_ADDRESS, trampoline, (size_t)(trampoline_end - trampoline));
    write64(trampoline_slot(trampoline_entry), (uint64_t)entry);
    write64(trampoline_slot(trampoline_stacks), (uint64_t)stacks);
    compiler_barrier();
    wrmsr(MSR_X2APIC_ICR, ICR_ALL_BUT_SELF | ICR_INIT);
    wrmsr(MSR_X2APIC_ICR, ICR_ALL_BUT_SELF | ICR_STARTUP | TRAMPOLINE_ADDRESS >> 12);
    wrmsr(MSR_X2APIC_ICR, ICR_ALL_BUT_SELF | ICR_STARTUP | TRAMPOLINE_ADDRESS >> 12);
}
